"""Kernel modules: the smallest ELF object, one that a compiler made, and OpenSSL that checks them by the kernel's rules."""

from __future__ import annotations

import struct
from pathlib import Path

from kit.openssl import run
from sealwright.formats.kmod import MARK

INFO = struct.Struct(">BBBBB3sI")
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


def as_the_kernel(path: Path, certificate: Path, folder: Path) -> tuple[bool, str]:
    """Cut where the kernel cuts; OpenSSL verifies the CMS over what stands in front of it, with a certificate it is given."""
    data = path.read_bytes()
    if not data.endswith(MARK):
        return False, "no mark"
    size = INFO.unpack_from(data, len(data) - len(MARK) - INFO.size)[-1]
    end = len(data) - len(MARK) - INFO.size
    (folder / "cms").write_bytes(data[end - size : end])
    (folder / "body").write_bytes(data[: end - size])
    return run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", folder / "cms", "-content", folder / "body", "-binary",
         "-CAfile", certificate, "-certfile", certificate, "-purpose", "any", "-partial_chain", "-no_check_time",
         "-out", "/dev/null"]
    )  # fmt: skip
