"""SWUpdate archives (.swu): a cpio whose first file says what is installed, and whose second signs it.

    swupdate -c -k ca.pem -i signed.swu        # with --cert-purpose codeSigning where the certificate has no S/MIME purpose

| member | to the signature |
| sw-description | hashed: the CMS is over exactly this file |
| sw-description.sig | signature, detached CMS in DER |
| every other file | hashed, by the SHA-256 that sw-description names |

1. A file of the archive that sw-description does not name is refused (A066), and so is one that it names and that is not there.
2. Checksums of the archive's checked form are computed as SWUpdate does.
Source: SWUpdate documentation, "Update images from verified source"; corelib/cpio_utils.c for the order of members.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import NamedTuple

from sealwright.artifact.aside import Aside
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.envelope.kinds import SWUPDATE
from sealwright.errors import MalformedArtifact, SealwrightError, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_but_one
from sealwright.formats.cpio import BLOCK, CHECKED, PLAIN, Archive, Member, byte_sum, member, read_archive
from sealwright.formats.format import (
    Candidate,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.swdescription import MAX_BYTES, Description, read_description

NAME = "swupdate"
DESCRIPTION = "sw-description"
SIGNATURE = "sw-description.sig"
MAX_CMS_BYTES = 1 << 20
_NEXT = "Ask its maker for the archive again."


class Update(NamedTuple):
    """archive: its members; text: sw-description, described: what it says; signature: the member, None where it is unsigned."""

    archive: Archive
    text: bytes
    described: Description
    signature: Member | None

    @property
    def rest(self) -> int:
        """Where what follows description and signature begins."""
        return self.signature.end if self.signature is not None else self.archive.members[0].end

    @property
    def files(self) -> tuple[Member, ...]:
        """The files that are installed."""
        return self.archive.members[2 if self.signature is not None else 1 :]


class SwUpdate:
    """The format for SWUpdate archives."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """A cpio whose first file is sw-description."""
        head = source.read_at(0, 110 + len(DESCRIPTION) + 1)
        return head[:6] in (PLAIN, CHECKED) and head[110:] == DESCRIPTION.encode() + b"\0"

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """MalformedArtifact for a file without SHA-256 in sw-description, or another one; UsageError for claims of its own."""
        with open_artifact(path) as source:
            update = read_update(source)
            refuse_but_one(path, update.signature is not None, existing, "SWUpdate reads one signature")
            if claims and claims != update.described.claims:
                raise UsageError(path, "its sw-description claims something else", "Leave out version and hardware.")
            for finding in _differences(source, update, os.path.basename(path), progress):
                raise MalformedArtifact(path, f"it is not what its sw-description says: {finding.found}", _NEXT)
            size = source.size
        digests = {name: Digest.of(update.text, name) for name in algorithms}
        coverage = Coverage.whole(size)
        described = update.described.claims
        return Prepared(NAME, SWUPDATE.name, path, digests, update.text, size, coverage, described, existing=existing)

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The archive with the signature as its second file."""
        with open_artifact(prepared.path) as source:
            return _written(source, read_update(source), sealed.envelope)

    def strip(self, path: str) -> Parts:
        """The archive without the signature."""
        with open_artifact(path) as source:
            update = read_update(source)
            if update.signature is None:
                raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
            return _written(source, update, b"")

    def extract(self, path: str, search: Search) -> Found:
        """The one signature, with what the delivered files are beside what sw-description says."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            update = read_update(source)
            if update.signature is None:
                return Found(path, source.size, (), None, structure=_structure(update))
            cms = source.read_at(update.signature.data, update.signature.size)
            envelope, findings = _envelope(cms, name)
            findings += tuple(_differences(source, update, name, search.progress))
            whole = watched_digests(source, search)
            size = source.size
        signers = envelope.signers if envelope is not None else ()
        wanted = {HashName.SHA256, *(one.digest.algorithm for one in signers if isinstance(one, Signer))}
        digests = {used: Digest.of(update.text, used) for used in wanted}
        candidate = Candidate(
            source=name,
            slot=Slot.MAKER,
            format=NAME,
            kind=SWUPDATE.name,
            envelope=envelope,
            digests=digests,
            artifact=digests[HashName.SHA256],
            claims=update.described.claims,
            coverage=_coverage(update, size),
            findings=findings,
            contents=(*digests.values(), *update.described.files.values(), *whole),
            name=name,
        )
        return Found(path, size, (candidate,), digests[HashName.SHA256], structure=_structure(update))


def read_update(source: OpenArtifact) -> Update:
    """Read the archive and its description; what SWUpdate wants first comes first."""
    archive = read_archive(source)
    members = archive.members
    if not members or members[0].name != DESCRIPTION:
        raise MalformedArtifact(source.path, f"byte 0: its first file is not {DESCRIPTION}", _NEXT)
    if members[0].size > MAX_BYTES:
        raise MalformedArtifact(source.path, f"a sw-description of {members[0].size} bytes", _NEXT)
    text = source.read_at(members[0].data, members[0].size)
    signature = members[1] if len(members) > 1 and members[1].name == SIGNATURE else None
    if any(one.name == SIGNATURE for one in members[2:]):
        raise MalformedArtifact(source.path, f"{SIGNATURE} is not its second file", _NEXT)
    if signature is not None and signature.size > MAX_CMS_BYTES:
        raise MalformedArtifact(source.path, f"byte {signature.start}: a signature of {signature.size} bytes", _NEXT)
    return Update(archive, text, read_description(text, source.path), signature)


def check_description(prepared: Prepared) -> None:
    """MalformedArtifact where the sw-description of a `Prepared` claims something else than it says."""
    if read_description(prepared.content or b"", prepared.path).claims != prepared.claims:
        raise MalformedArtifact(prepared.path, "its sw-description claims something else than was asked for", _NEXT)


def _differences(source: OpenArtifact, update: Update, name: str, progress: Progress | None) -> Iterator[Finding]:
    """What the archive holds beside what sw-description says."""
    wanted = dict(update.described.files)
    for one in update.files:
        digest = wanted.pop(one.name, None)
        if digest is None:
            yield reject("SW-PART-UNSIGNED", name, found=f"the file {one.name}, which sw-description does not name,")
            continue
        found, intact = _digest_and_checksum(source, one, progress)
        if found != digest:
            yield reject("SW-FILE-CHANGED", name, found=f"{one.name} must be {digest}, delivered is {found}")
        if not intact:
            yield _wrong_checksum(one, name)
    for missing in wanted:
        yield reject("SW-ARTIFACT-MALFORMED", name, found=f"{missing} is named in sw-description and not there")
    for one in update.archive.members:
        checked = one not in update.files and one.checksum is not None
        if checked and byte_sum(source, one.data, one.size) != one.checksum:
            yield _wrong_checksum(one, name)


def _digest_and_checksum(source: OpenArtifact, one: Member, progress: Progress | None) -> tuple[Digest, bool]:
    """SHA-256 of a file, and whether its checksum is right, where it has one."""
    span = [(one.data, one.data + one.size)]
    if one.checksum is None:
        return source.digest_ranges((HashName.SHA256,), span, b"", progress)[HashName.SHA256], True
    with Aside(source, one.size, lambda twin: byte_sum(twin, one.data, one.size)) as aside:
        digest = source.digest_ranges((HashName.SHA256,), span, b"", progress)[HashName.SHA256]
        return digest, aside.result() == one.checksum


def _wrong_checksum(one: Member, name: str) -> Finding:
    return reject("SW-ARTIFACT-MALFORMED", name, found=f"byte {one.start}: the checksum of {one.name} is wrong")


def _envelope(cms: bytes, name: str) -> tuple[Envelope | None, tuple[Finding, ...]]:
    try:
        envelope = read_envelope(cms, Profile.FOREIGN_CMS, name)
    except SealwrightError as cause:
        return None, (reject(cause.code, name, found=cause.what),)
    if envelope.content is not None or len(envelope.signers) != 1:
        said = f"{len(envelope.signers)} signers, or its content inside; SWUpdate wants every one to verify, so one is read"
        return envelope, (reject("SW-SIGNATURE-MALFORMED", name, found=said),)
    return envelope, ()


def _written(source: OpenArtifact, update: Update, cms: bytes) -> Parts:
    """Description, signature where there is one, the rest as it was, zeros up to a block."""
    archive = update.archive
    first = archive.members[0].end
    signature = member(SIGNATURE, cms, archive.form) if cms else b""
    rest = archive.end - update.rest
    return (
        FileRange(source.path, 0, first),
        signature,
        FileRange(source.path, update.rest, rest),
        bytes(-(first + len(signature) + rest) % BLOCK),
    )


def _coverage(update: Update, size: int) -> Coverage:
    ranges: list[Range] = []
    reason = "the archive's own headers; names are compared with sw-description"
    at = 0
    for one in update.archive.members:
        extent = Extent.SIGNATURE if one is update.signature else Extent.HASHED
        ranges += [
            Range(at, one.data, Extent.UNCOVERED, reason),
            Range(one.data, one.data + one.size, extent),
        ]
        at = one.data + one.size
    ranges.append(Range(at, size, Extent.UNCOVERED, reason))
    return Coverage(tuple(part for part in ranges if part.start < part.end))


def _structure(update: Update) -> tuple[str, ...]:
    return tuple(f"{one.name}, {one.size:,} bytes" for one in update.files[:64])
