"""Which names in a folder belong to the plant's statements about something else there, so that they need not be judged themselves.

What has such a name is read with the file it belongs to, which says so where it is wrong; and nothing may hide behind one (A066):
beside a folder, or what is not judged itself, only a statement as a whole counts, not what begins like one; a further person's signature only if the record names
that person; evidence only if the record lists it with this very content.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from functools import lru_cache

from sealwright.artifact.acceptance import MAX_BYTES as MAX_ACCEPTANCE_BYTES
from sealwright.artifact.acceptance import parse_acceptance
from sealwright.artifact.receiving import FOLDER_SUFFIX, MAX_BYTES, Receiving, parse_receiving
from sealwright.artifact.source import open_artifact, read_file
from sealwright.errors import SealwrightError
from sealwright.formats.sidecar import ACCEPTANCE_SUFFIX, RECEIVING_SUFFIX, STATEMENT_SUFFIXES, is_beside

_OF_A_PERSON = re.compile(rf"(.+){re.escape(RECEIVING_SUFFIX)}\.([^/]+)\.p7s\Z", re.DOTALL)


def received_by(folder: bytes, present: Collection[bytes]) -> bytes:
    """What the evidence in a folder is about, b"" where it is no folder of evidence. present: the names beside it.

    The record beside it has the name that a manifest of the folder would have, and is none.
    """
    stem = folder.removesuffix(os.fsencode(FOLDER_SUFFIX))
    there = stem != folder and stem in present and stem + os.fsencode(RECEIVING_SUFFIX) in present
    return stem if there else b""


def is_of_statement(folder: str, name: str, files: Collection[str], folders: Collection[str]) -> bool:
    """Whether a name is that of a statement, of a further signature of one, or of evidence. files, folders: the names in the folder."""
    for suffix in STATEMENT_SUFFIXES:
        stem = name.removesuffix(suffix)
        if stem != name and stem in files and not is_beside(folder, stem, files, folders):
            return True
        if stem != name and (stem in files or stem in folders):
            return _is_statement(os.path.join(folder, name), suffix)
    if (signature := _OF_A_PERSON.match(name)) is not None and (signature[1] in files or signature[1] in folders):
        record = _record(os.path.join(folder, signature[1] + RECEIVING_SUFFIX))
        return record is not None and name == signature[1] + _suffix(record, signature[2])
    return folder.endswith(FOLDER_SUFFIX) and _is_evidence(folder, name)


def _suffix(record: Receiving, person: str) -> str:
    return record.signature_suffix(person) if person in record.persons else ""


def _is_evidence(folder: str, name: str) -> bool:
    """Of a file that lies beside the folder, and is judged there with its record."""
    return os.path.isfile(folder.removesuffix(FOLDER_SUFFIX)) and is_listed_evidence(folder, name)


def is_listed_evidence(folder: str, name: str) -> bool:
    """Whether the receiving record beside a folder of evidence lists a file in it, with this very content."""
    stem = folder.removesuffix(FOLDER_SUFFIX)
    if stem == folder or os.path.islink(os.path.join(folder, name)):
        return False
    record = _record(stem + RECEIVING_SUFFIX)
    if record is None or os.fsdecode(record.name) != os.path.basename(stem):
        return False
    listed = {os.fsdecode(one.name): one.digest for one in record.evidence}
    if name not in listed:
        return False
    try:
        with open_artifact(os.path.join(folder, name)) as source:
            return source.digests((record.algorithm,))[record.algorithm].value == listed[name]
    except SealwrightError:
        return False


def _is_statement(path: str, suffix: str) -> bool:
    if suffix == RECEIVING_SUFFIX:
        return _record(path) is not None
    try:
        parse_acceptance(read_file(path, MAX_ACCEPTANCE_BYTES), path)
    except SealwrightError:
        return False
    return suffix == ACCEPTANCE_SUFFIX


def _record(path: str) -> Receiving | None:
    """A record that can be read, once for all the files that ask."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _read_record(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)  # a record may list half a million files
def _read_record(path: str, _inode: int, _size: int, _changed: int) -> Receiving | None:
    try:
        return parse_receiving(read_file(path, MAX_BYTES), path)
    except SealwrightError:
        return None
