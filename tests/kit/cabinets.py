"""Cabinets: one that gcab makes, and a small one of stored bytes whose every field can be changed."""

from __future__ import annotations

import struct
from pathlib import Path

from kit.openssl import run
from sealwright.formats.cab import FOLDER, HEADER, MAGIC

RESERVE = struct.pack("<HBB20x", 20, 0, 0)


def cabinet(data: bytes = b"firmware", *, flags: int = 0, reserve: bytes = b"", folders: int = 1) -> bytes:
    """A cabinet of one stored file. reserve: sizes and bytes; folders: the others are empty."""
    files = HEADER.size + len(reserve) + FOLDER.size * folders
    name = struct.pack("<IIHHHH", len(data), 0, 0, 0x5D79, 0, 0x20) + b"drive.bin\0"
    block = struct.pack("<IHH", 0, len(data), len(data)) + data
    at = files + len(name)
    flags |= 4 if reserve else 0
    header = HEADER.pack(MAGIC, 0, at + len(block), 0, files, 0, 3, 1, folders, 1, flags, 7, 0)
    return header + reserve + FOLDER.pack(at, 1, 0) + FOLDER.pack(at, 0, 0) * (folders - 1) + name + block


def gcab(folder: Path, *options: str) -> Path:
    """A cabinet of two files as gcab makes it."""
    (folder / "a.bin").write_bytes(bytes(range(256)) * 30)
    (folder / "b.txt").write_bytes(b"text\r\n" * 50)
    made, words = run(["gcab", *options, "-c", "plain.cab", "a.bin", "b.txt"], cwd=folder)
    assert made, words
    return folder / "plain.cab"
