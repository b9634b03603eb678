"""What a device gave back, compared with what was signed: every byte, and the first one that differs is named.

`exact`: the same bytes, file by file where it is a folder.
`memory`: the memory that an Intel HEX or S-record file means (formats/hexfile.py), against such a file or plain bytes that begin at the
same address. Gaps between its records are erased flash, 0xFF, and must be that in the device too.
Whatever the device gives back beyond the end is a difference, unless a padding was declared: then it must be that byte, all of it.
What is read back is read once, and digested while it is compared. A device, or the program that reads it, can lie: then it says what it was
given. Nothing here proves what runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.artifact.walk import walk_tree
from sealwright.errors import UsageError
from sealwright.findings import Finding, Severity, note, reject
from sealwright.formats.hexfile import memory_blocks, read_memory, syntax_of
from sealwright.plant.installation import ReadBack

MAX_NAMED = 100


class Layout(StrEnum):
    """How the two are compared."""

    EXACT = "exact"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read back, and how it is to be taken. padding: the byte that may follow, None where nothing may."""

    path: str
    layout: Layout = Layout.EXACT
    padding: int | None = None


class Compared(NamedTuple):
    """The result, and what differs or is to be said of it."""

    result: ReadBack
    findings: tuple[Finding, ...]


def compare(signed: str, reading: Reading) -> Compared:
    """Compare a signed file or folder with what was read back. Raises what reading raises, MalformedArtifact for what is no memory image."""
    if os.path.isdir(signed) != os.path.isdir(reading.path):
        kind = "a folder" if os.path.isdir(signed) else "a file"
        raise UsageError(reading.path, f"what was signed is {kind}", "Name what was read back of it.")
    if os.path.isdir(signed):
        if reading.layout is not Layout.EXACT or reading.padding is not None:
            raise UsageError(reading.path, "a folder is compared file by file", "Leave out --as and --padding.")
        findings = tuple(_folder(signed, reading.path))
        return Compared(ReadBack(not findings, None), findings)
    with open_artifact(signed) as ours, open_artifact(reading.path) as theirs:
        state = hashlib.sha256()
        findings = tuple(_file(ours, theirs, reading, state))
        theirs.check_unchanged()
    is_same = not any(one.severity is Severity.REJECT for one in findings)
    return Compared(ReadBack(is_same, Digest(HashName.SHA256, state.digest())), findings)


def _file(ours: OpenArtifact, theirs: OpenArtifact, reading: Reading, state: hashlib._Hash) -> Iterator[Finding]:
    name, base, gaps = display(os.path.basename(reading.path)), 0, 0
    wanted: Iterable[bytes | memoryview] = ours.blocks([(0, ours.size)])
    found: Iterable[bytes | memoryview] = theirs.blocks([(0, theirs.size)])
    if reading.layout is Layout.MEMORY:
        memory = read_memory(ours)
        wanted, base, gaps = memory_blocks(ours), memory.start, memory.gaps
        if syntax_of(theirs) is not None:
            other = read_memory(theirs)
            found = memory_blocks(theirs)
            if other.start != base:
                yield reject("SW-READBACK-ADDRESS", name, f"{base:#x}", f"{other.start:#x}")
    digested = _digested(found, state)
    yield from _difference(name, base, filter(None, map(bytes, wanted)), digested, reading.padding)
    for _ in digested:  # the digest is of everything that was read back
        pass
    if gaps:
        yield note("SW-READBACK-GAPS", name, found=f"{gaps:,}")


def _digested(blocks: Iterable[bytes | memoryview], state: hashlib._Hash) -> Iterator[bytes]:
    for block in filter(None, map(bytes, blocks)):
        state.update(block)
        yield block


def _difference(
    name: str, base: int, wanted: Iterator[bytes], found: Iterator[bytes], padding: int | None
) -> Iterator[Finding]:
    """The first difference, or what there is beyond the end."""
    ours = theirs = b""
    at = base
    while True:
        ours, theirs = ours or next(wanted, b""), theirs or next(found, b"")
        size = min(len(ours), len(theirs))
        if not size:
            break
        if ours[:size] != theirs[:size]:
            first = next(index for index in range(size) if ours[index] != theirs[index])
            where = f"{name} at {at + first:#x}"
            yield reject("SW-READBACK-DIFFERS", where, f"{ours[first]:02x}", f"{theirs[first]:02x}")
            return
        ours, theirs, at = ours[size:], theirs[size:], at + size
    if ours:
        yield reject("SW-READBACK-SHORT", name, found=f"{at:#x}")
        return
    beyond = 0
    while theirs:
        strange = theirs.lstrip(b"" if padding is None else bytes([padding]))
        if strange:
            where = f"{at + beyond + len(theirs) - len(strange):#x}"
            yield reject("SW-READBACK-LONGER", name, f"{padding:02x}" if padding is not None else "nothing", where)
            return
        beyond += len(theirs)
        theirs = next(found, b"")
    if beyond:
        yield note("SW-READBACK-PADDED", name, f"{padding:02x}", f"{beyond:,}")


def _folder(signed: str, readback: str) -> Iterator[Finding]:
    ours, theirs = walk_tree(signed), walk_tree(readback)
    links = {one.name: one.target for one in ours.links}, {one.name: one.target for one in theirs.links}
    present, listed = {*theirs.files}, {*ours.files}
    for count, finding in enumerate(_members(signed, readback, listed, present, links)):
        if count == MAX_NAMED:
            yield reject("SW-READBACK-MORE", display(os.path.basename(readback)), found=str(MAX_NAMED))
            return
        yield finding


def _members(
    signed: str,
    readback: str,
    listed: set[bytes],
    present: set[bytes],
    links: tuple[dict[bytes, bytes], dict[bytes, bytes]],
) -> Iterator[Finding]:
    for name in sorted(listed | present | links[0].keys() | links[1].keys()):
        if (name in listed or name in links[0]) and not (name in present or name in links[1]):
            yield reject("SW-READBACK-MISSING", display(name))
        elif name in present and name in listed:
            parts = os.fsdecode(name).split("/")
            with (
                open_artifact(os.path.join(signed, *parts)) as ours,
                open_artifact(os.path.join(readback, *parts)) as theirs,
            ):
                wanted, found = ours.blocks([(0, ours.size)]), theirs.blocks([(0, theirs.size)])
                yield from _difference(display(name), 0, map(bytes, wanted), map(bytes, found), None)
                theirs.check_unchanged()
        elif not (name in links[0] and links[0][name] == links[1].get(name)):
            yield reject("SW-READBACK-EXTRA", display(name))
