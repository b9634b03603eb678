"""Kernel modules: the smallest ELF object, and one that a compiler made."""

from __future__ import annotations

import struct
from pathlib import Path

from kit.openssl import run

SOURCE = 'int init_module(void) { return 0; }\nstatic const char license[] __attribute__((section(".modinfo"), used)) = "license=GPL";\n'


def tiny_module() -> bytes:
    """An ELF64 relocatable object of no sections."""
    ident = b"\x7fELF" + bytes((2, 1, 1, 0)) + bytes(8)
    return ident + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 0, 0, 64, 0, 0, 64, 0, 0)


def compiled_module(folder: Path, name: str = "probe") -> Path:
    """An object that `modinfo` reads."""
    (folder / f"{name}.c").write_text(SOURCE)
    path = folder / f"{name}.ko"
    made, words = run(["gcc", "-c", "-o", path, folder / f"{name}.c"])
    assert made, words
    return path
