"""Signature files that lie beside what they sign (RULES 1): `NAME.p7s`, `NAME.plant.p7s`, `NAME.pq.p7s`, `NAME.tsr`.

Each signature has a log proof of its own: `NAME.tlog-proof` is the maker's, `NAME.plant.tlog-proof` and `NAME.pq.tlog-proof` the others'.
The plant's statements lie there too: `NAME.plant.manifest` and `NAME.received.manifest` with their signatures, and the evidence of
the second in the folder `NAME.received`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, read_file, read_file_or_none
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.envelope.tsp import read_token, token_of_sidecar
from sealwright.errors import LimitExceeded, OutputRefused, SealwrightError, UsageError
from sealwright.findings import Finding, Severity, reject, warning
from sealwright.formats.format import Candidate, Found, LogProofFile, Search, Slot

MAX_ENVELOPE_BYTES = 1 << 20
SUFFIXES = {Slot.MAKER: ".p7s", Slot.PLANT: ".plant.p7s", Slot.PQ: ".pq.p7s"}
LATE_SUFFIX = ".tsr"
PROOF_SUFFIXES = {Slot.MAKER: ".tlog-proof", Slot.PLANT: ".plant.tlog-proof", Slot.PQ: ".pq.tlog-proof"}
MAX_PROOF_BYTES = 256 * 1024
MAX_LATE = 8
_NUMBERED = re.compile(rf"(.+)\.([2-{MAX_LATE}])\.tsr\Z", re.DOTALL)
MANIFEST_SUFFIX = ".manifest"
ACCEPTANCE_SUFFIX = ".plant.manifest"
RECEIVING_SUFFIX = ".received.manifest"
STATEMENT_SUFFIXES = (ACCEPTANCE_SUFFIX, RECEIVING_SUFFIX)
EVIDENCE_SUFFIX = ".received"
RECORD_SUFFIX = ".ers"
MANIFEST_LINE = b"# sealwright manifest 1 "
OURS = b"# sealwright "
RESERVED = (".p7s", ".xmldsig", ".tsr", ".ers", ".tlog-proof", ".manifest", ".manifest.list")
IMA_LIST_SUFFIX = ".ima"
# what the verification of a file reads, or names if it cannot
_READ = (
    *SUFFIXES.values(),
    LATE_SUFFIX,
    MANIFEST_SUFFIX,
    *(MANIFEST_SUFFIX + suffix for suffix in (*SUFFIXES.values(), LATE_SUFFIX)),
    ".roothash.p7s",
    ".fsverity.p7s",
    ".xmldsig",
)
# endings that nothing reads there, or that belong to folders, or that are in use for other things too: what those files are like that belong to a signature
_BY_CONTENT = {
    ".sig": re.compile(rb"\x03\x02"),
    ".roothash": re.compile(rb"[0-9a-f]{64}\n?\Z"),
    IMA_LIST_SUFFIX: re.compile(rb"# file: "),
    MANIFEST_SUFFIX: re.compile(MANIFEST_LINE),
    ".manifest.list": re.compile(MANIFEST_LINE),
    ".ers": re.compile(rb"\x30"),
    **dict.fromkeys(reversed(PROOF_SUFFIXES.values()), re.compile(rb"c2sp\.org/tlog-proof@")),
}
_DER = (SUFFIXES[Slot.MAKER], LATE_SUFFIX)
_ENDINGS = (*_READ, *_BY_CONTENT)
# of names of signatures and what belongs to them; a survey asks every name for them
ENDINGS_RAW = tuple(os.fsencode(ending) for ending in _ENDINGS)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One signature file: its envelope, or None with the finding that says why it cannot be read."""

    path: str
    slot: Slot
    envelope: Envelope | None
    findings: tuple[Finding, ...]

    @property
    def algorithms(self) -> set[HashName]:
        """The digests its signers used."""
        if self.envelope is None:
            return set()
        return {signer.digest.algorithm for signer in self.envelope.signers if isinstance(signer, Signer)}


def is_beside(folder: str, name: str, files: Collection[str], folders: Collection[str]) -> bool:
    """Whether a name in a folder is that of a signature of something else there, so that it need not be judged itself.

    Nothing may be hidden so: what has such a name is read with the file it belongs to, or is like a signature (A066).
    files, folders: the names in the folder.
    """
    evidence = folder.endswith(EVIDENCE_SUFFIX)
    if not evidence and not name.endswith(_ENDINGS):
        return False
    if evidence or name.endswith(STATEMENT_SUFFIXES) or f"{RECEIVING_SUFFIX}." in name:
        from sealwright.formats.statementnames import is_of_statement  # start-up time: few files have one

        if is_of_statement(folder, name, files, folders):
            return True
    stems = [name.removesuffix(ending) for ending in _READ if name.endswith(ending)]
    stems = [stem for stem in stems if stem in files]
    if any(not is_beside(folder, stem, files, folders) for stem in stems):
        return True
    if stems:  # of a signature or statement, which is not judged itself: nobody reads it, so it must be like one
        return name.endswith(_DER) and _is_der(os.path.join(folder, name))
    if (numbered := _NUMBERED.match(name)) is not None and numbered[1] in files:
        # it is read with that file, if none is missing before it
        before = (
            f"{numbered[1]}{LATE_SUFFIX}",
            *(f"{numbered[1]}.{n}{LATE_SUFFIX}" for n in range(2, int(numbered[2]))),
        )
        return all(one in files for one in before) and (
            not is_beside(folder, numbered[1], files, folders) or _is_der(os.path.join(folder, name))
        )
    ending = next((one for one in _BY_CONTENT if name.endswith(one)), "")
    stem = name.removesuffix(ending)
    if not ending or not (stem in files or stem in folders):
        return False
    path = os.path.join(folder, name)
    return _BY_CONTENT[ending].match(_head(path)) is not None and (ending != IMA_LIST_SUFFIX or _is_list(path))


def _is_der(path: str) -> bool:
    return _head(path)[:1] == b"\x30"


def _is_list(path: str) -> bool:
    """Whether it is a list of IMA signatures, from the first line to the last."""
    from sealwright.formats.imalist import MAX_LIST_BYTES, read_list  # start-up time

    try:
        read_list(read_file(path, MAX_LIST_BYTES), path)
    except SealwrightError:
        return False
    return True


def _head(path: str) -> bytes:
    """The first bytes of a file; nothing of what cannot be read, which is judged and told then."""
    try:
        with open_artifact(path) as source:
            return source.read_at(0, 80)
    except SealwrightError:
        return b""


def signature_path(target: str, slot: Slot) -> str:
    """Where the signature of one slot lies."""
    return target + SUFFIXES[slot]


def slot_of(signature: str) -> Slot:
    """The slot a signature's name says; `NAME.p7s` and every other name is the maker's."""
    for slot in (Slot.PLANT, Slot.PQ):
        if signature.endswith(SUFFIXES[slot]):
            return slot
    return Slot.MAKER


def has_sidecar(target: str, search: Search) -> bool:
    """Whether some signature file lies beside a target."""
    return any(search.sees(target + suffix) for suffix in SUFFIXES.values())


def has_record(path: str, search: Search) -> bool:
    """Whether an evidence record lies beside a file, or beside the manifest or receiving record of a folder."""
    if search.beside is not None:
        return search.sees(path + RECORD_SUFFIX)
    if os.path.lexists(path + RECORD_SUFFIX):
        return True
    return os.path.isdir(path) and any(
        os.path.lexists(os.path.abspath(path) + suffix + RECORD_SUFFIX)
        for suffix in (MANIFEST_SUFFIX, RECEIVING_SUFFIX)
    )


def read_sidecars(target: str, search: Search) -> list[Sidecar]:
    """All signature files of a target, or only the one named (UsageError if that one does not exist).

    Where what cannot be read stops nothing (`Search.unreadable`), one is like what is no signature: it counts for nothing.
    """
    if (signature := search.signature) is not None:
        data = read_file_or_none(signature, MAX_ENVELOPE_BYTES)
        if data is None:
            raise UsageError(signature, "there is no such signature file", "Check the path given with --signature.")
        return [_read(signature, slot_of(signature), data)]
    found = []
    for slot, suffix in SUFFIXES.items():
        path = target + suffix
        if not search.sees(path):
            continue
        try:
            data = read_file_or_none(path, MAX_ENVELOPE_BYTES)
        except SealwrightError as cause:
            if search.unreadable is Severity.REJECT:
                raise
            found.append(Sidecar(path, slot, None, (reject(cause.code, os.path.basename(path), found=cause.what),)))
            continue
        if data is not None:
            found.append(_read(path, slot, data))
    return found


def read_bare_sidecar(
    data: bytes, digests: Mapping[HashName, Digest], certificates: Collection[bytes], name: str
) -> tuple[Envelope | None, tuple[Finding, ...]]:
    """A bare CMS over small content of which every digest is known, or None with the finding that says why it cannot be read."""
    from sealwright.envelope.bare import read_bare_cms  # start-up time: most signatures are not bare

    try:
        return read_bare_cms(data, digests.__getitem__, certificates, name), ()
    except SealwrightError as cause:
        return None, (reject(cause.code, name, found=cause.what),)


def late_paths(target: str, search: Search) -> list[str]:
    """`NAME.tsr`, `NAME.2.tsr`, … as far as they are there without a gap; where `NAME.2` is a file, `NAME.2.tsr` is its own."""
    found: list[str] = []
    for number in range(1, MAX_LATE + 1):
        stem = target if number == 1 else f"{target}.{number}"
        if not search.sees(stem + LATE_SUFFIX) or (number > 1 and search.sees(stem)):
            break
        found.append(stem + LATE_SUFFIX)
    return found


def next_late_path(target: str) -> str:
    """Where one more late timestamp of a target goes; LimitExceeded where there are as many as are read."""
    taken = len(late_paths(target, Search()))
    if taken == MAX_LATE:
        raise LimitExceeded(target, f"{taken} late timestamps", f"At most {MAX_LATE} are read.")
    stem = target if taken == 0 else f"{target}.{taken + 1}"
    if taken and os.path.lexists(stem):
        raise OutputRefused(
            stem + LATE_SUFFIX, f"it would be the timestamp of {stem}", "Move that file to another folder."
        )
    return stem + LATE_SUFFIX


def read_late_tokens(target: str, search: Search) -> tuple[tuple[bytes, ...], tuple[Finding, ...]]:
    """The timestamp tokens of `late_paths`, responses or bare tokens; what cannot be read is a warning, it proves nothing."""
    tokens: list[bytes] = []
    findings: list[Finding] = []
    for path in late_paths(target, search):
        data = None
        try:
            if (data := read_file_or_none(path, MAX_ENVELOPE_BYTES)) is None:
                break
            tokens.append(token_of_sidecar(data, path))
        except SealwrightError as cause:
            if data is None and search.unreadable is Severity.REJECT:
                raise
            findings.append(warning("SW-TIMESTAMP-UNREADABLE", os.path.basename(path), found=cause.what))
    return tuple(tokens), tuple(findings)


def own_late_tokens(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Where several signatures share the late timestamps beside them, each without those that are over another one.

    A token that is over none of them stays with all, so that it is said.
    """
    if len(candidates) < 2 or not any(candidate.late_tokens for candidate in candidates):
        return candidates
    values = [{signer.signature for signer in _signers(candidate)} for candidate in candidates]
    over = {
        token: [any(_is_over(token, value) for value in some) for some in values]
        for token in {token for candidate in candidates for token in candidate.late_tokens}
    }
    return tuple(
        candidate._replace(
            late_tokens=tuple(token for token in candidate.late_tokens if over[token][at] or not any(over[token]))
        )
        for at, candidate in enumerate(candidates)
    )


def _signers(candidate: Candidate) -> list[Signer]:
    return [one for one in candidate.envelope.signers if isinstance(one, Signer)] if candidate.envelope else []


def _is_over(token: bytes, value: bytes) -> bool:
    try:
        imprint = read_token(token, LATE_SUFFIX).imprint
    except SealwrightError:
        return False
    return Digest.of(value, imprint.algorithm) == imprint


def with_log_proofs(found: Found, target: str, search: Search) -> Found:
    """The candidates with the proofs beside them; one that cannot be read is a warning, it proves nothing.

    target: the artifact; what signs its manifest is proved beside the manifest.
    """
    if search.alone:
        return found
    paths = [_proof_path(candidate, target) for candidate in found.candidates]
    proofs = {path: _log_proof(path) for path in dict.fromkeys(paths) if search.sees(path)}
    if not proofs:
        return found
    candidates = []
    for candidate, path in zip(found.candidates, paths, strict=True):
        match proofs.get(path):
            case LogProofFile() as proof:
                candidates.append(candidate._replace(log_proof=proof))
            case Finding() as finding:
                candidates.append(candidate._replace(findings=(*candidate.findings, finding)))
            case None:
                candidates.append(candidate)
    return found._replace(candidates=tuple(candidates))


def _proof_path(candidate: Candidate, target: str) -> str:
    if candidate.statement is not None:
        signature = os.path.join(os.path.dirname(target), candidate.source)
        return signature.removesuffix(SUFFIXES[Slot.MAKER]) + PROOF_SUFFIXES[Slot.MAKER]
    return target + (MANIFEST_SUFFIX if candidate.format == "manifest" else "") + PROOF_SUFFIXES[candidate.slot]


def _log_proof(path: str) -> LogProofFile | Finding | None:
    name = os.path.basename(path)
    try:
        data = read_file_or_none(path, MAX_PROOF_BYTES)
    except SealwrightError as cause:
        return warning("SW-LOG-PROOF-REFUSED", name, found=cause.what)
    return None if data is None else LogProofFile(name, data)


def read_sidecar(path: str, slot: Slot) -> Sidecar | None:
    """One signature file; None where it is not there."""
    data = read_file_or_none(path, MAX_ENVELOPE_BYTES)
    return None if data is None else _read(path, slot, data)


def _read(path: str, slot: Slot, data: bytes) -> Sidecar:
    name = os.path.basename(path)
    try:
        return Sidecar(path, slot, read_envelope(data, Profile.OURS, name), ())
    except SealwrightError as cause:
        return Sidecar(path, slot, None, (reject(cause.code, name, found=cause.what),))
