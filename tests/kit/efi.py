"""PE and EFI programs: real ones of packages, a tiny one whose every byte can be changed, and their real verifiers."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path

from kit.openssl import run
from kit.pki import NOW
from kit.samples import Sample

PROGRAMS = (
    Sample("systemd-bootx64.efi", "systemd-boot-efi", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
    Sample("linuxx64.efi.stub", "systemd-boot-efi", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"),
    Sample("grubx64.efi", "grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi/monolithic/grubx64.efi"),
)
SHIM = Sample("shimx64.efi", "shim-signed", "/usr/lib/shim/shimx64.efi.signed")
GRUB_OF_DEBIAN = Sample("grub.efi", "grub-efi-amd64-signed", "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed")
FALLBACK = Sample("fbx64.efi", "shim-helpers-amd64-signed", "/usr/lib/shim/fbx64.efi.signed")
UPDATER = Sample("fwupdx64.efi", "fwupd-amd64-signed", "/usr/libexec/fwupd/efi/fwupdx64.efi.signed")
PE_AT, OPTIONAL, DIRECTORY, SECTIONS = 0x40, 0x58, 0xE8, 0x148


CODE = b"\xc3" + bytes(63)


def tiny(text: bytes = CODE, extra: bytes = b"") -> bytes:
    """A PE32+ program of one section, and what lies behind it."""
    return program((b".text", text)) + extra


def program(*sections: tuple[bytes, bytes], gap: bytes = b"") -> bytes:
    """A PE32+ program of sections by name. gap: bytes that no section has, in front of the last one."""
    header = struct.pack("<2s58xI", b"MZ", PE_AT) + b"PE\0\0"
    header += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 240, 0x22)
    end = SECTIONS + 40 * len(sections)
    end += -end % 0x20
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0x40, 0, 0, 0x1000, 0x1000)
    optional += struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x40_0000, 0x1000, 0x20, 0, 0, 0, 0, 0, 0, 0,
                            0x1000 * (len(sections) + 1), end, 0, 10, 0, 0, 0, 0, 0, 0, 16)  # fmt: skip
    header += optional + bytes(16 * 8)
    body = b""
    for number, (name, data) in enumerate(sections, 1):
        if gap and number == len(sections):
            body += gap
        size, address, start = len(data), 0x1000 * number, end + len(body)
        header += struct.pack("<8sIIIIIIHHI", name, size, address, size, start, 0, 0, 0, 0, 0x6000_0020)
        body += data
    return header.ljust(end, b"\0") + body


def sbverify(program: Path, anchors: Path) -> tuple[bool, str]:
    """`sbverify --cert`: digest and signature value, not who signed; never `--list`, which verifies nothing."""
    return run(["sbverify", "--cert", anchors, program])


def osslsigncode(program: Path, anchors: Path, at: datetime = NOW) -> tuple[bool, str]:
    """`osslsigncode verify`, at a time."""
    return run(
        [
            "osslsigncode",
            "verify",
            "-time",
            str(int(at.timestamp())),
            "-CAfile",
            anchors,
            "-TSA-CAfile",
            anchors,
            "-in",
            program,
        ]
    )
