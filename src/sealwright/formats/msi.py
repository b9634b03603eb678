"""Windows Installer packages (`.msi`, `.msp`, `.mst`) with Authenticode signatures.

    osslsigncode verify -CAfile ca.pem -in signed.msi

A package is a compound file (`compoundfile.py`). Its root storage holds two streams of the signature, which are not hashed:

| stream | holds |
| `\\5DigitalSignature` | PKCS #7 |
| `\\5MsiDigitalSignatureEx` | the pre-hash: of the names, sizes, state bits, times and classes of everything else |

The digest is of the pre-hash and then of every stream's bytes, sorted by name; a storage's class stands behind what it holds.

Without `MsiDigitalSignatureEx` the digest is of the bytes alone, one stream behind the other. Then a table can be renamed, so
that the installer finds none of its launch conditions, or bytes can move from a stream to the next: such a signature is shown
and does not count. It must not: a signature with the pre-hash becomes one without it when its second stream gets another name
that sorts first, for then the pre-hash is a stream's bytes like others. Source: [MS-CFB]; what signtool and osslsigncode write.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import AUTHENTICODE
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_but_one, refuse_claims
from sealwright.formats.authenticode import (
    Authenticode,
    candidates_of,
    indirect_data,
    read_authenticode,
    wanted_digests,
)
from sealwright.formats.compoundfile import (
    MAX_FILE_BYTES,
    CompoundFile,
    Item,
    Span,
    Type,
    check_nothing_hidden,
    order,
    read_compound_file,
    root_class,
    shown,
)
from sealwright.formats.compoundfile_write import written
from sealwright.formats.format import (
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    watched_digests,
)

NAME = "msi"
MAX_SIGNATURE_BYTES = 1 << 20
# the classes of packages, patches and transforms: 000C1084, 000C1086 and 000C1082-0000-0000-C000-000000000046
_CLASSES = frozenset(bytes.fromhex(f"{kind}100c0000000000c000000000000046") for kind in ("84", "86", "82"))
# SpcSipInfo: type 1.3.6.1.4.1.311.2.1.30, version 1, Windows Installer's GUID 000C10F1-0000-0000-C000-000000000046, five zeros
_SIP_INFO = bytes.fromhex(
    "3032060a2b06010401823702011e30240201010410f1100c0000000000c000000000000046020100020100020100020100020100"
)
_SIGNATURE = "\5DigitalSignature".encode("utf-16-le")
_EXTENDED = "\5MsiDigitalSignatureEx".encode("utf-16-le")
_OURS = (_SIGNATURE, _EXTENDED)
_TABLES = "where the streams are: checked, and laid out anew by a signer"
_SPARE = "belongs to nothing: only zero bytes"


class Package(NamedTuple):
    """signature, extended: the two streams, None where they are not there; root: the storage without them."""

    file: CompoundFile
    root: Item
    signature: Item | None
    extended: Item | None

    @property
    def hashed(self) -> list[Span]:
        """What follows the pre-hash in the digest, in order."""
        return list(_content(self.root))

    @property
    def spare(self) -> list[Span]:
        """What must be zero: bytes of nothing, and what the pre-hash leaves out of the signature's own entries."""
        entries = [(item.at + 96, item.at + 116) for item in (self.signature, self.extended) if item is not None]
        return [*self.file.spare, *entries]

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        marks = [(start, end, Extent.HASHED, "") for start, end in [*self.hashed, *_described(self.root)]]
        marks += [(start, end, Extent.UNCOVERED, _SPARE) for start, end in self.spare]
        for stream in (self.signature, self.extended):
            marks += [(start, end, Extent.SIGNATURE, "") for start, end in (stream.spans if stream else ())]
        ranges: list[Range] = []
        at = 0
        for start, end, extent, reason in sorted(mark for mark in marks if mark[0] < mark[1]):
            if start > at:
                ranges.append(Range(at, start, Extent.UNCOVERED, _TABLES))
            if ranges and ranges[-1][1:] == (start, extent, reason):
                ranges[-1] = ranges[-1]._replace(end=end)
            else:
                ranges.append(Range(start, end, extent, reason))
            at = end
        if at < self.file.size:
            ranges.append(Range(at, self.file.size, Extent.UNCOVERED, _TABLES))
        return Coverage(tuple(ranges))

    def prehash(self, name: HashName) -> Digest:
        """Of what is said about storages and streams; the content of `MsiDigitalSignatureEx`."""
        return Digest.of(b"".join(_metadata(self.root)), name)

    def digest(self, source: OpenArtifact, name: HashName, progress: Progress | None = None) -> Digest:
        """What SpcIndirectDataContent of a package with pre-hash binds."""
        return self._digest(source, name, self.prehash(name).value, progress)

    def delivered(self, source: OpenArtifact, name: HashName, progress: Progress | None = None) -> Digest:
        """The same for the package as it is: without the pre-hash where it is signed without."""
        front = b"" if self.extended is None else self.prehash(name).value
        return self._digest(source, name, front, progress)

    def _digest(self, source: OpenArtifact, name: HashName, front: bytes, progress: Progress | None) -> Digest:
        return source.digest_ranges((name,), self.hashed, b"", progress, front)[name]


class Msi:
    """The format for Windows Installer's packages."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """By the class of its root storage: other programs keep their documents in compound files too."""
        return root_class(source) in _CLASSES

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims and for `--add`; MalformedArtifact for a package that readers could read differently."""
        refuse_claims(path, claims, "a package has its version in its database, and no field for a generation")
        (name,) = algorithms
        with open_artifact(path) as source:
            package = read_package(source)
            refuse_but_one(path, package.signature is not None, existing, "a package has one signature")
            if package.file.size + 2 * MAX_SIGNATURE_BYTES > MAX_FILE_BYTES:
                raise LimitExceeded(
                    path,
                    f"{package.file.size} bytes",
                    "Put its files into cabinets beside it, and sign the folder of both.",
                )
            digest = package.digest(source, name, progress)
        content = indirect_data(_SIP_INFO, digest)
        digests = {name: AUTHENTICODE.digest(content, name)}
        coverage = package.coverage
        return Prepared(
            NAME, AUTHENTICODE.name, path, digests, content, package.file.size, coverage, claims, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The package made anew with the two streams."""
        with open_artifact(prepared.path) as source:
            package = read_package(source)
        (name,) = prepared.digests
        new = ((_SIGNATURE, sealed.envelope), (_EXTENDED, package.prehash(name).value))
        added = tuple(Item(called, Type.STREAM, size=len(data), data=data) for called, data in new)
        root = package.root._replace(children=package.root.children + added)
        return written(prepared.path, package.file.sector, root)

    def strip(self, path: str) -> Parts:
        """The package made anew without the two streams: every other as it was, not each where it was before it was signed."""
        with open_artifact(path) as source:
            package = read_package(source)
        if package.signature is None:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        return written(path, package.file.sector, package.root)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate and those nested in it, or none."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            package = read_package(source)
            structure = tuple(_structure(package))
            if package.signature is None:
                return Found(path, source.size, (), None, structure=structure)
            check_nothing_hidden(source, package.spare)
            found = read_authenticode(_read(source, package.signature), (_SIP_INFO[2:],), name)
            extended = _read(source, package.extended) if package.extended is not None else None
            delivered = {one: package.delivered(source, one, search.progress) for one in wanted_digests(found, search)}
            whole = watched_digests(source, search)
        artifact = delivered[HashName.SHA256]
        candidates = tuple(
            candidate._replace(findings=(*candidate.findings, *_unbound(package, one, extended, name)))
            for one, candidate in zip(
                found, candidates_of(found, NAME, name, delivered, package.coverage, whole), strict=True
            )
        )
        return Found(path, package.file.size, candidates, artifact, structure=structure)


def read_package(source: OpenArtifact) -> Package:
    """MalformedArtifact with the offset where it is no package, or where readers could find another signature than we do."""
    if root_class(source) not in _CLASSES:
        raise MalformedArtifact(source.path, "at byte 0: it is no package of Windows Installer", "Check its format.")
    file = read_compound_file(source)
    streams: dict[bytes, Item] = {}
    for item in file.root.children:
        for name in _OURS:
            if order(item.name) == order(name):
                if item.name != name or item.type is not Type.STREAM or not 0 < item.size <= MAX_SIGNATURE_BYTES:
                    said = f"{shown(item.name)} is not a stream of that name of at most {MAX_SIGNATURE_BYTES} bytes"
                    raise MalformedArtifact(source.path, f"at byte {item.at}: {said}", "Ask its maker for it again.")
                streams[name] = item
    if _EXTENDED in streams and _SIGNATURE not in streams:
        at = streams[_EXTENDED].at
        raise MalformedArtifact(
            source.path, f"at byte {at}: a pre-hash without signature", "Ask its maker for it again."
        )
    others = tuple(item for item in file.root.children if item.name not in _OURS)
    return Package(file, file.root._replace(children=others), streams.get(_SIGNATURE), streams.get(_EXTENDED))


def _unbound(package: Package, one: Authenticode, extended: bytes | None, name: str) -> Iterator[Finding]:
    """Why names, sizes and times of the streams are not what the signature is about."""
    if extended is None:
        found = "what names and sizes its streams have, for want of MsiDigitalSignatureEx,"
        yield reject("SW-PART-UNSIGNED", name, found=found)
    elif one.indirect is not None and extended != package.prehash(one.indirect.digest.algorithm).value:
        found = "MsiDigitalSignatureEx is not the pre-hash of the names, sizes and times in the package"
        yield reject("SW-FILE-CHANGED", name, found=found)


def _content(storage: Item) -> Iterator[Span]:
    for item in sorted(storage.children, key=_hashing_order):
        if item.type is Type.STREAM:
            yield from item.spans
        else:
            yield from _content(item)
    yield storage.at + 80, storage.at + 96


def _metadata(item: Item) -> Iterator[bytes]:
    if item.type is not Type.ROOT:
        yield item.name
    yield item.size.to_bytes(4, "little") if item.type is Type.STREAM else item.clsid
    yield item.state
    if item.type is not Type.ROOT:
        yield item.created + item.modified
    for child in sorted(item.children, key=_hashing_order):
        yield from _metadata(child)


def _described(item: Item) -> Iterator[Span]:
    """Where the pre-hash's fields are in the directory; a storage's class is in `_content` already."""
    at = item.at
    if item.type is Type.ROOT:
        yield at + 96, at + 100
    else:
        yield at, at + len(item.name)
        yield at + 96, at + 116
    if item.type is Type.STREAM:
        yield at + 120, at + 124
    for child in item.children:
        yield from _described(child)


def _hashing_order(item: Item) -> bytes:
    return item.name


def _read(source: OpenArtifact, stream: Item) -> bytes:
    return b"".join(source.read_at(start, end - start) for start, end in stream.spans)


def _structure(package: Package) -> Iterator[str]:
    file = package.file
    yield f"compound file, sectors of {file.sector} bytes"
    yield f"{_streams(package.root)} streams, {sum(end - start for start, end in package.hashed):,} bytes hashed"
    if package.signature is not None:
        yield f"MsiDigitalSignatureEx: {'yes' if package.extended is not None else 'no'}"


def _streams(item: Item) -> int:
    return 1 if item.type is Type.STREAM else sum(map(_streams, item.children))
