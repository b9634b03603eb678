"""Receiving inspection: what a person says of a file or folder, checked as far as it can be, becomes the text of a receiving record.

    compared        --compare DIGEST or LIST, that came another way (--channel) than the file (--source)
    old-signature   --old-signature (or --list-signature, of the list) and --old-key, checked by openssl, gpgv or minisign
    uncompared      two persons and a reason
    found-in-use    origin unknown; from now on changes show

1. A file is read once: digests of all algorithms that somebody speaks of, and the copy that an old signature is checked over, come from one pass (A150).
2. Everything that is given is checked, whatever the grade: a digest or signature that does not hold refuses. Weak ones are recorded and give no grade.
3. Two ways that one attacker holds are one way: the same words, or two addresses of one server, compare nothing.
4. Nothing is written here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over
from sealwright.artifact.names import MAX_PART_BYTES, check_name, display
from sealwright.artifact.progress import Progress
from sealwright.artifact.receiving import (
    FOLDER_SUFFIX,
    MAX_PERSONS,
    Comparison,
    Grade,
    OldSignature,
    Receiving,
    receiving_bytes,
)
from sealwright.artifact.source import OpenArtifact, open_artifact, read_file
from sealwright.artifact.statement import MAX_LONG_TEXT, is_person
from sealwright.artifact.sums import MAX_TEXT, FileEntry
from sealwright.artifact.tree import manifest_of_tree
from sealwright.errors import (
    ChangedWhileRead,
    DiffersFromSource,
    NothingCompared,
    OldSignatureRefused,
    OutputRefused,
    ReceivingRefused,
    Unreadable,
    UsageError,
)
from sealwright.formats.registry import plain_folder
from sealwright.formats.sidecar import RESERVED
from sealwright.plant.comparing import Source, Wanted, check_same, check_strong, states
from sealwright.plant.evidence import Kept, put_together, read_evidence
from sealwright.plant.oldkinds import MAX_KEY_BYTES, MAX_SIGNATURE_BYTES, WEAK, Checked, Given, Kind, kind_of
from sealwright.plant.oldsignature import check_old_signature
from sealwright.plant.rawsignature import DIGESTS
from sealwright.plant.tools import Workshop
from sealwright.signing.sign import check_claims

SHA256 = HashName.SHA256.value
UNKNOWN_SOURCE = "unknown"
_HOST = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@]*@)?([^/:?#]+)", re.IGNORECASE)
_PASSWORD = re.compile(r"\s*[a-z][a-z0-9+.-]*://[^/@:]*:[^/@]*@", re.IGNORECASE)
_LONGEST_SUFFIX = len(".received.manifest.p7s") + 65  # a person's id has up to 64 characters
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person who receives says and names.

    source: URL or vendor; persons: ids, who signs now first; compare: a digest, or the path of a list; channel: by which way that came;
    listed_as: the name the list has for the file; list_signature: an old signature of the list; the rest are paths.
    """

    grade: Grade
    persons: tuple[str, ...]
    source: str = ""
    reason: str = ""
    compare: str | None = None
    channel: str = ""
    listed_as: str | None = None
    old_signature: str | None = None
    list_signature: str | None = None
    old_key: str | None = None
    evidence: tuple[str, ...] = ()
    claims: Claims = Claims()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found. path: of the file or folder; text: of the record, to be signed; kept: the files of its evidence folder."""

    path: str
    record: Receiving
    text: bytes
    kept: tuple[Kept, ...]


class _Looked(NamedTuple):
    """The artifact after its one pass. comparison, old: what was checked meanwhile."""

    contents: Manifest
    comparison: Comparison | None = None
    old: Checked | None = None


def inspect(path: str, asked: Asked, now: datetime, progress: Progress | None = None) -> Inspected:
    """Check everything and make the record's text. Raises ReceivingRefused and its kin, UsageError, Unreadable, LimitExceeded."""
    check_asked(asked)
    artifact = artifact_path(path)
    source = Source(asked.compare) if asked.compare is not None else None
    given = _given(asked)
    of_list = _check_list(source, given, asked) if asked.list_signature is not None else None
    kept = put_together(_kept(source, given), read_evidence(asked.evidence))
    if os.path.isdir(artifact):
        looked = _look_at_folder(artifact, asked, source, progress)
    else:
        looked = _look_at_file(artifact, asked, source, None if of_list is not None else given, progress)
    old = looked.old or of_list
    record = Receiving(
        name=os.fsencode(os.path.basename(artifact)),
        grade=asked.grade,
        source=asked.source or UNKNOWN_SOURCE,
        received=now,
        persons=asked.persons,
        contents=looked.contents,
        evidence=tuple(one.noted for one in kept),
        comparison=looked.comparison,
        old_signature=_noted(old) if old is not None else None,
        reason=asked.reason,
    )
    return Inspected(artifact, record, receiving_bytes(record), kept)


def artifact_path(path: str) -> str:
    """The path without separators at its end; UsageError for names that belong to records and signatures."""
    if not os.path.lexists(path):
        raise Unreadable(path, "there is no such file or folder", "Check the path.")
    plain = plain_folder(path) if os.path.isdir(path) else path
    name = os.path.basename(plain)
    if name.endswith((*RESERVED, FOLDER_SUFFIX)):
        raise UsageError(
            path, "names that end like this are kept for records and signatures", "Name what was received."
        )
    check_name(os.fsencode(name), path)
    if len(os.fsencode(name)) + _LONGEST_SUFFIX > MAX_PART_BYTES:
        raise UsageError(path, "its name is too long for that of its record", "Rename it to a shorter one.")
    return plain


def check_asked(asked: Asked) -> None:
    """UsageError for options that contradict each other, ReceivingRefused where the grade wants more."""
    check_claims(asked.claims)
    for option, text in (("--source", asked.source), ("--channel", asked.channel), ("--reason", asked.reason)):
        if text and (not text.strip() or len(text) > MAX_LONG_TEXT or display(text) != text):
            raise UsageError(option, "it is not readable", f"Write 1 to {MAX_LONG_TEXT} printable characters.")
    if _PASSWORD.match(asked.source) or _PASSWORD.match(asked.channel):
        raise UsageError(
            "--source", "it has a password in it, and would be read by everybody", "Leave the password out."
        )
    if (wrong := next((one for one in asked.persons if not is_person(one)), None)) is not None:
        raise UsageError("--person", f"{display(wrong[:70])} is no id", "Give the id that the trust file has.")
    if len(asked.persons) > MAX_PERSONS:
        raise UsageError("--person", f"{len(asked.persons)} are named", f"At most {MAX_PERSONS} sign a record.")
    if not asked.persons or len({one.casefold() for one in asked.persons}) != len(asked.persons):
        raise UsageError(
            "--person", "nobody is named, or somebody twice", "Name each person once, who signs now first."
        )
    signatures = [one for one in (asked.old_signature, asked.list_signature) if one is not None]
    if len(signatures) is not (0 if asked.old_key is None else 1):
        raise UsageError(
            "--old-signature",
            "one signature is checked with one key that you name",
            "Give --old-key as well, or neither.",
        )
    if asked.list_signature is not None and asked.compare is None:
        raise UsageError("--list-signature", "the list that it signs is not given", "Give the list with --compare.")
    if asked.compare is None and (asked.channel or asked.listed_as):
        raise UsageError("--channel", "there is nothing that came by it", "Give the digest or list with --compare.")
    if asked.compare is not None and not asked.channel:
        raise UsageError(
            "--compare", "by which way it came is not said", "Say it: --channel 'telephone, Ms. Huber, ACME support'"
        )
    if not asked.source and asked.grade is not Grade.FOUND_IN_USE:
        raise UsageError("--source", "where it came from is not said", "Give the address or the vendor's name.")
    if asked.grade is Grade.COMPARED and asked.compare is None:
        raise ReceivingRefused(
            "grade compared", "nothing is given to compare with", "Give the vendor's digest or list with --compare."
        )
    if asked.grade is Grade.COMPARED:
        _check_apart(asked)
    if asked.grade is Grade.OLD_SIGNATURE and not signatures:
        raise ReceivingRefused(
            "grade old-signature", "no signature is given", "Give it with --old-signature, and the key with --old-key."
        )
    if asked.grade is Grade.UNCOMPARED and (len(asked.persons) < 2 or not asked.reason):
        raise ReceivingRefused(
            "grade uncompared",
            "it wants two persons and a reason",
            "Name both with --person, who signs now first, and say with --reason why nothing could be compared.",
        )


def _check_apart(asked: Asked) -> None:
    """The two ways are not obviously one. Whether they are independent in truth, nobody can see from here."""
    one, other = (" ".join(text.casefold().split()) for text in (asked.source, asked.channel))
    hosts = [found[1].lower() for text in (asked.source, asked.channel) if (found := _HOST.match(text.strip()))]
    if one == other or (len(hosts) == 2 and hosts[0] == hosts[1]):
        raise ReceivingRefused(
            "--channel",
            f"the digest came from where the file came from ({display(hosts[0] if hosts else asked.source)}), so who can change one can change the other",
            "Ask the vendor another way (telephone, mail, paper), or receive it as uncompared.",
        )


def _given(asked: Asked) -> Given | None:
    path = asked.old_signature or asked.list_signature
    if path is None or asked.old_key is None:
        return None
    return Given(path, read_file(path, MAX_SIGNATURE_BYTES), asked.old_key, read_file(asked.old_key, MAX_KEY_BYTES))


def _check_list(source: Source | None, given: Given | None, asked: Asked) -> Checked:
    """An old signature of the list, whose digests then speak for the vendor."""
    if source is None or source.data is None or given is None:
        raise UsageError("--list-signature", "a digest that was told is no list", "Give the list with --compare.")
    found = states(DIGESTS)
    for state in found.values():
        state.update(source.data)
    with Workshop() as workshop:
        copy = workshop.place("content", source.data)
        old = check_old_signature(given, copy, {name: state.digest() for name, state in found.items()}, workshop)
    _check_old(old, given, asked)
    return replace(old, how=f"{old.how}, over the list {os.path.basename(source.subject)}")


def _kept(source: Source | None, given: Given | None) -> list[Kept]:
    """What was checked with is evidence too, so that anybody can check it again."""
    kept = []
    if source is not None and source.data is not None:
        kept.append(Kept("digest-list", os.path.basename(source.subject), source.data))
    if given is not None:
        kept.append(Kept("signature", os.path.basename(given.signature_path), given.signature))
        kept.append(Kept("key", os.path.basename(given.key_path), given.key))
    return kept


def _look_at_file(
    path: str, asked: Asked, source: Source | None, given: Given | None, progress: Progress | None
) -> _Looked:
    name = os.path.basename(path)
    wanted = source.wanted(asked.listed_as or name) if source is not None else None
    raw = given is not None and kind_of(given) is Kind.OPENSSL
    algorithms = {SHA256} | (wanted.algorithms if wanted else set()) | set(DIGESTS if raw else ())
    with ExitStack() as stack:
        artifact = stack.enter_context(open_artifact(path))
        workshop = stack.enter_context(Workshop()) if given is not None else None
        copy = workshop.path("content") if workshop is not None else None
        found = _read_once(artifact, algorithms, copy, progress)
        if wanted is not None:
            _check_compared(wanted, found, path, asked)
        old = None
        if given is not None and workshop is not None and copy is not None:
            workshop.expect(artifact.size)
            old = check_old_signature(given, copy, found, workshop)
            _check_old(old, given, asked)
        contents = Manifest(
            HashName.SHA256,
            Over.FILE,
            asked.claims,
            (FileEntry(os.fsencode(name), found[SHA256]),),
            total_bytes=artifact.size,
        )
    return _Looked(contents, _comparison(wanted, asked) if wanted is not None else None, old)


def _read_once(
    artifact: OpenArtifact, algorithms: Collection[str], copy: str | None, progress: Progress | None
) -> dict[str, bytes]:
    """All digests in one pass, and the same bytes as a private file. Raises ChangedWhileRead, Unreadable."""
    every = states(algorithms)
    try:
        with ExitStack() as stack:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            file = stack.enter_context(os.fdopen(os.open(copy, flags, 0o600), "wb")) if copy is not None else None
            for block in artifact.blocks([(0, artifact.size)], progress):
                for state in every.values():
                    state.update(block)
                if file is not None:
                    file.write(block)
    except OSError as cause:  # what cannot be read is another error already
        raise OutputRefused(
            copy or artifact.path,
            f"the private copy cannot be written ({cause.strerror})",
            "Make room where temporary files go, or name another place with TMPDIR.",
        ) from cause
    artifact.check_unchanged()
    return {name: state.digest() for name, state in every.items()}


def _check_compared(wanted: Wanted, found: dict[str, bytes], path: str, asked: Asked) -> None:
    check_same(wanted, found, path)
    if asked.grade is Grade.COMPARED or (asked.grade is Grade.OLD_SIGNATURE and asked.list_signature is not None):
        check_strong(wanted, path)


def _comparison(wanted: Wanted, asked: Asked) -> Comparison:
    """The strongest that was said, SHA-256 first, which everybody can compute."""
    strong = sorted(wanted.strong, key=lambda one: one.algorithm.value)
    if strong:
        return Comparison(strong[0].algorithm.value, strong[0].value, asked.channel)
    algorithm = max(wanted.weak)
    return Comparison(algorithm, wanted.weak[algorithm], asked.channel)


def _check_old(old: Checked, given: Given, asked: Asked) -> None:
    if old.weaknesses and asked.grade is Grade.OLD_SIGNATURE:
        raise OldSignatureRefused(given.signature_path, f"it holds, but {'; '.join(old.weaknesses)}", WEAK)


def _noted(old: Checked) -> OldSignature:
    weaknesses = tuple(sorted({display(one)[:MAX_TEXT] for one in old.weaknesses}))
    signer = display(old.signer).strip()[:MAX_TEXT] or "not named"
    return OldSignature(old.tool, old.key, signer, f"good: {old.how}"[:MAX_TEXT], weaknesses)


def _look_at_folder(path: str, asked: Asked, source: Source | None, progress: Progress | None) -> _Looked:
    """Every file is listed in the record; a list of digests must have all of them, and no more."""
    if asked.old_signature is not None:
        raise UsageError("--old-signature", "it is over one file, and this is a folder", "Receive that file by itself.")
    if asked.listed_as is not None:
        raise UsageError("--listed-as", "it is for one file, and this is a folder", "Leave it out.")
    contents = manifest_of_tree(path, HashName.SHA256, asked.claims, progress)
    if source is None:
        return _Looked(contents)
    if source.data is None:
        raise UsageError("--compare", "one digest says nothing of a folder's files", "Give a list of their digests.")
    if _is_inside(source.subject, path):
        raise NothingCompared(
            source.subject,
            "it came inside what it is about",
            "Have the list sent another way, and keep it outside the folder.",
        )
    members = source.by_member(os.path.basename(path))
    seen: set[str | None] = set()
    for entry in contents.files:
        name = os.fsdecode(entry.name)
        wanted = source.wanted_inside(members, name)
        seen.update(one.name for one in members[name])
        member = os.path.join(path, name)
        found = {SHA256: entry.digest}
        if wanted.algorithms - {SHA256}:
            found = _again(member, wanted, entry, progress)
        _check_compared(wanted, found, member, asked)
    if missing := [one.name for one in source.sums if one.name not in seen]:
        shown = ", ".join(display(one or "a file without a name") for one in missing[:_SHOWN])
        raise DiffersFromSource(
            path,
            f"{len(missing)} files that {source.subject} lists are not there: {shown}",
            "Have the delivery completed, or cut the list down to it and say so with --reason.",
        )
    return _Looked(contents, Comparison(SHA256, Digest.of(source.data).value, asked.channel))


def _again(path: str, wanted: Wanted, entry: FileEntry, progress: Progress | None) -> dict[str, bytes]:
    with open_artifact(path) as artifact:
        found = _read_once(artifact, wanted.algorithms | {SHA256}, None, progress)
    if found[SHA256] != entry.digest:
        raise ChangedWhileRead(
            path, "it changed while the folder was read", "Stop whatever writes to it, and try again."
        )
    return found


def _is_inside(path: str, folder: str) -> bool:
    real, root = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, root]) == root


def names_of(persons: Sequence[str]) -> str:
    """For people."""
    return ", ".join(display(one) for one in persons)
