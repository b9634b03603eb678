"""How often keys of a YubiHSM 2 signed, by the entries of its log as `yubihsm-shell` prints them (`audit get`, or `-a get-logs`).

    item:    50 -- cmd: 0x04 -- length:   17 -- session key: 0xffff -- target key: 0x0001 -- second key: 0xffff -- result: 0x84 -- tick: 139 -- hash: ebfae425…

Each hash is the first 16 octets of SHA-256 over the entry (big-endian) and the hash before it, so that entries between the first and the last one can
neither be changed nor left out. Numbers go up by one and begin again after 65535. The device keeps 62 entries: what is collected comes in several
files, in order, and entries that two of them have count once. Nothing in it is signed, and no entry has a time.
Without force-audit the device overwrites what nobody collected, which shows as a gap; with it, it stops.
Source: Yubico, YubiHSM 2 "GET LOG ENTRIES"; a sample from there is in the tests.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sealwright.artifact.source import read_file
from sealwright.errors import Unreadable
from sealwright.findings import Finding, reject

MAX_FILE_BYTES = 64 << 20
SIGNING = frozenset({0x47, 0x55, 0x56, 0x6A, 0x5D})  # PKCS#1, PSS, ECDSA, EdDSA, SSH certificate
_DONE = 0x80  # the result is the command with this bit, else an error
_NUMBERS = 1 << 16
_ENTRY = re.compile(
    r"item: +(\d{1,5}) -- cmd: (0x[0-9a-f]{2}) -- length: +(\d{1,5}) -- session key: (0x[0-9a-f]{4}) -- "
    r"target key: (0x[0-9a-f]{4}) -- second key: (0x[0-9a-f]{4}) -- result: (0x[0-9a-f]{2}) -- tick: (\d{1,10}) -- "
    r"hash: ([0-9a-f]{32})"
)
_AGAIN = "Give what yubihsm-shell printed, whole, in the order in which it was collected."


class Entry(NamedTuple):
    """One entry. data: as it is hashed, without the hash."""

    number: int
    command: int
    target: int
    result: int
    data: bytes
    hash: bytes


@dataclass(slots=True)
class Collected:
    """uses: of each object by its id in the device; findings: where entries do not continue one another."""

    uses: Counter[int] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


def yubihsm_uses(paths: Iterable[str]) -> Collected:
    """The signatures in the collected entries of one device. Raises Unreadable for what yubihsm-shell did not print."""
    collected = Collected()
    before: Entry | None = None
    for path in paths:
        entries = list(_entries(path))
        if before is not None and before in entries:
            entries = entries[entries.index(before) + 1 :]
        for entry in entries:
            if before is not None and not _continues(before, entry):
                found = f"{before.number} and {entry.number}"
                collected.findings.append(reject("SW-AUDIT-HSM-GAP", path, found=found))
            if entry.command in SIGNING and entry.result == entry.command | _DONE:
                collected.uses[entry.target] += 1
            before = entry
    return collected


def _continues(before: Entry, entry: Entry) -> bool:
    expected = hashlib.sha256(entry.data + before.hash).digest()[: len(entry.hash)]
    return entry.number == (before.number + 1) % _NUMBERS and entry.hash == expected


def _entries(path: str) -> Iterator[Entry]:
    """Every line that is an entry; other lines are the shell's own words, unless they look like one."""
    lines = read_file(path, MAX_FILE_BYTES).decode("utf-8", "replace").splitlines()
    found = 0
    for number, line in enumerate(lines, 1):
        if "item:" not in line:
            continue
        match = _ENTRY.fullmatch(line.strip())
        try:
            if match is None:
                raise ValueError("another line")
            fields = [int(one, 0) for one in match.groups()[:8]]
            data = struct.pack("!HBHHHHBL", *fields)
        except (ValueError, struct.error) as cause:
            raise Unreadable(f"{path} line {number}", "it is no entry of a YubiHSM's log", _AGAIN) from cause
        found += 1
        yield Entry(fields[0], fields[1], fields[4], fields[6], data, bytes.fromhex(match[9]))
    if not found:
        raise Unreadable(path, "no entry of a YubiHSM's log is in it", _AGAIN)
