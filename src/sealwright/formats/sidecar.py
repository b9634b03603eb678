"""Signature files that lie beside what they sign (RULES 1): `NAME.p7s`, `NAME.plant.p7s`, `NAME.pq.p7s`, `NAME.tsr`."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, read_file, read_file_or_none
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.envelope.tsp import token_of_sidecar
from sealwright.errors import SealwrightError, UsageError
from sealwright.findings import Finding, reject, warning
from sealwright.formats.format import Search, Slot

MAX_ENVELOPE_BYTES = 1 << 20
SUFFIXES = {Slot.MAKER: ".p7s", Slot.PLANT: ".plant.p7s", Slot.PQ: ".pq.p7s"}
LATE_SUFFIX = ".tsr"
MANIFEST_SUFFIX = ".manifest"
RECORD_SUFFIX = ".ers"
MANIFEST_LINE = b"# sealwright manifest 1 "
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
    ".tlog-proof": re.compile(rb"c2sp\.org/tlog-proof@"),
}
_ENDINGS = (*_READ, *_BY_CONTENT)


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
    if not name.endswith(_ENDINGS):
        return False
    if any(name.removesuffix(ending) in files for ending in _READ if name.endswith(ending)):
        return True
    ending = next((one for one in _BY_CONTENT if name.endswith(one)), "")
    stem = name.removesuffix(ending)
    if not ending or not (stem in files or stem in folders):
        return False
    path = os.path.join(folder, name)
    return _BY_CONTENT[ending].match(_head(path)) is not None and (ending != IMA_LIST_SUFFIX or _is_list(path))


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
    """Whether an evidence record lies beside a file, or beside the manifest of a folder."""
    if search.beside is not None:
        return search.sees(path + RECORD_SUFFIX)
    if os.path.lexists(path + RECORD_SUFFIX):
        return True
    return os.path.isdir(path) and os.path.lexists(os.path.abspath(path) + MANIFEST_SUFFIX + RECORD_SUFFIX)


def read_sidecars(target: str, search: Search) -> list[Sidecar]:
    """All signature files of a target, or only the one named (UsageError if that one does not exist)."""
    if (signature := search.signature) is not None:
        data = read_file_or_none(signature, MAX_ENVELOPE_BYTES)
        if data is None:
            raise UsageError(signature, "there is no such signature file", "Check the path given with --signature.")
        return [_read(signature, slot_of(signature), data)]
    found = []
    for slot, suffix in SUFFIXES.items():
        path = target + suffix
        if search.sees(path) and (data := read_file_or_none(path, MAX_ENVELOPE_BYTES)) is not None:
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


def read_late_tokens(target: str, search: Search) -> tuple[tuple[bytes, ...], tuple[Finding, ...]]:
    """The timestamp tokens in `NAME.tsr`, a response or a bare token; what cannot be read is a warning, it proves nothing."""
    path = target + LATE_SUFFIX
    if not search.sees(path) or (data := read_file_or_none(path, MAX_ENVELOPE_BYTES)) is None:
        return (), ()
    try:
        return (token_of_sidecar(data, path),), ()
    except SealwrightError as cause:
        return (), (warning("SW-TIMESTAMP-UNREADABLE", os.path.basename(path), found=cause.what),)


def _read(path: str, slot: Slot, data: bytes) -> Sidecar:
    name = os.path.basename(path)
    try:
        return Sidecar(path, slot, read_envelope(data, Profile.OURS, name), ())
    except SealwrightError as cause:
        return Sidecar(path, slot, None, (reject(cause.code, name, found=cause.what),))
