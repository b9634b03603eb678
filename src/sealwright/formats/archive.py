"""`FILE.ers` beside an artifact, and what it may protect: the one list of data objects of a group (RULES 1; decision 0013).

In this order: the artifact (of a folder its manifest, or without one its receiving record), its manifest and list, its signature
files by slot, those of its manifest, late timestamps, what formats keep beside it, the log's proof, the plant's statements with
theirs. Each file is an object as it lies there; signatures and tokens inside a file are protected with it. The reports and the
evidence that statements list are bound by the statements and are no objects. Certificates and revocation lists are in the record itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, read_file, read_file_or_none
from sealwright.envelope.ers import MAX_BYTES, Record, read_record
from sealwright.errors import SealwrightError
from sealwright.formats.format import Found, Search
from sealwright.formats.known import BESIDE
from sealwright.formats.registry import find, plain_folder
from sealwright.formats.sidecar import (
    IMA_LIST_SUFFIX,
    LATE_SUFFIX,
    MANIFEST_SUFFIX,
    PROOF_SUFFIXES,
    RECEIVING_SUFFIX,
    STATEMENT_SUFFIXES,
    SUFFIXES,
    late_paths,
)

SUFFIX = ".ers"
XML_SIGNATURE = ".xmldsig"
LIST = ".list"  # of a tree's manifest
MAX_SMALL_BYTES = 1 << 20
MAX_COMPANION_BYTES = 512 << 20  # as large as the list of a tree may be
COMPANIONS = (
    MANIFEST_SUFFIX,
    ".manifest.list",
    *SUFFIXES.values(),
    *(MANIFEST_SUFFIX + suffix for suffix in SUFFIXES.values()),
    LATE_SUFFIX,
    MANIFEST_SUFFIX + LATE_SUFFIX,
    *(ending for endings in BESIDE.values() for ending in endings),
    *PROOF_SUFFIXES.values(),
    *(MANIFEST_SUFFIX + suffix for suffix in PROOF_SUFFIXES.values()),
)


class ArchiveObject(NamedTuple):
    """One data object. data: its bytes where they are few, so that signatures and tokens in it can be told; None of large ones."""

    name: str
    digests: dict[HashName, Digest]
    data: bytes | None = None

    def holds(self, value: bytes) -> bool:
        """Whether a signature value or token stands in it, as it is or in base64 (XML)."""
        if self.data is None:
            return False
        if value in self.data or not self.name.endswith(XML_SIGNATURE):
            return value in self.data
        from base64 import b64encode

        return b64encode(value) in b"".join(self.data.split())


class Archive(NamedTuple):
    """A record with the objects that lie here. record: None where it cannot be read, then problem says why.

    content: the artifact, or of a tree its manifest; tree: whether the files that are signed are no objects themselves.
    """

    name: str
    record: Record | None
    problem: str
    content: ArchiveObject
    companions: tuple[ArchiveObject, ...]
    tree: bool


def record_path(path: str) -> str:
    """Where the record of an artifact lies: beside a file, and of a folder beside its manifest, else its receiving record."""
    if not os.path.isdir(path):
        return path + SUFFIX
    folder = plain_folder(path)
    received = not os.path.lexists(folder + MANIFEST_SUFFIX) and os.path.lexists(folder + RECEIVING_SUFFIX)
    return folder + (RECEIVING_SUFFIX if received else MANIFEST_SUFFIX) + SUFFIX


def find_archived(path: str, search: Search) -> Found:
    """Everything that signs a path, as `find` says it, with its record and what that may protect.

    The bytes whose signatures are looked for are those that the record's hashes are compared with.
    """
    lies, data = record_path(path), None
    name, problem, record = os.path.basename(lies), "", None
    try:
        data = read_file_or_none(lies, MAX_BYTES)
        record = read_record(data, name) if data is not None else None
    except SealwrightError as cause:
        problem = cause.what
    wanted = {HashName.SHA256, *(record.digests if record is not None else ())}
    if path.endswith((MANIFEST_SUFFIX, IMA_LIST_SUFFIX)) and not _names_a_tree(path):
        return find(path, search)  # it stands for another artifact, beside which its record lies
    if (target := lies.removesuffix(SUFFIX)) != path or _names_a_tree(path):
        found = find(path, search)
        if not os.path.lexists(target):
            return found
        content = small_object(target, wanted)
        companions = tuple(companions_of(target, wanted, search.signature))
        return found._replace(archive=Archive(name, record, problem, content, companions, tree=True))
    with search.opened(path) as source:
        found = find(path, search._replace(source=source))
        digests = source.digests(wanted, search.progress)
    content = ArchiveObject(os.path.basename(path), digests)
    companions = tuple(companions_of(path, wanted, search.signature))
    return found._replace(archive=Archive(name, record, problem, content, companions, tree=False))


def companions_of(target: str, wanted: Collection[HashName], signature: str | None = None) -> Iterator[ArchiveObject]:
    """The files beside an artifact that belong to its group, in the order of the list; and a signature named elsewhere."""
    names = (LIST, *COMPANIONS) if target.endswith(MANIFEST_SUFFIX) else COMPANIONS
    more = [path for stem in (target, target + MANIFEST_SUFFIX) for path in late_paths(stem, Search())[1:]]
    paths = dict.fromkeys([*(target + suffix for suffix in names), *more, *_statement_files(target)])
    for path in paths:
        if path != target and os.path.isfile(path) and os.path.getsize(path) <= MAX_COMPANION_BYTES:
            with suppress(SealwrightError):  # what cannot be read is not protected, and said where it is needed
                yield small_object(path, wanted)
    if signature is not None and not signature.startswith(target):
        with suppress(SealwrightError):
            yield small_object(signature, wanted)


def _statement_files(target: str) -> Iterator[str]:
    """Where the plant's statements about an artifact lie, with their signatures, timestamps and log proofs."""
    folders = (target.removesuffix(suffix) for suffix in (RECEIVING_SUFFIX, MANIFEST_SUFFIX) if target.endswith(suffix))
    about = next((folder for folder in folders if os.path.isdir(folder)), target)
    for statement in (about + suffix for suffix in STATEMENT_SUFFIXES):
        if os.path.isfile(statement):
            yield statement
            signatures = signatures_of_record(about) if statement.endswith(RECEIVING_SUFFIX) else [f"{statement}.p7s"]
            yield from signatures
            yield from late_paths(statement, Search())
            yield from (one.removesuffix(".p7s") + ".tlog-proof" for one in signatures)


def signatures_of_record(about: str) -> list[str]:
    """The signature files of everybody whom the receiving record of a file or folder names; none where it cannot be read."""
    from sealwright.artifact.receiving import MAX_BYTES as MAX_RECORD_BYTES
    from sealwright.artifact.receiving import parse_receiving  # start-up time: few files have one

    try:
        record = parse_receiving(read_file(about + RECEIVING_SUFFIX, MAX_RECORD_BYTES), about)
    except SealwrightError:
        return []
    return [about + record.signature_suffix(person) for person in record.persons]


def small_object(path: str, wanted: Collection[HashName]) -> ArchiveObject:
    """One file as an object, read once."""
    with open_artifact(path) as source:
        digests = source.digests(wanted)
        data = source.read(MAX_SMALL_BYTES) if source.size <= MAX_SMALL_BYTES else None
        return ArchiveObject(os.path.basename(path), digests, data)


def _names_a_tree(path: str) -> bool:
    return path.endswith(MANIFEST_SUFFIX) and os.path.isdir(path.removesuffix(MANIFEST_SUFFIX))
