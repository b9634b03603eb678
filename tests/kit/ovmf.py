"""The firmware itself: OVMF in QEMU, with Secure Boot, from a disk that a test fills. One boot takes about five seconds.

    variables = enrolled(folder, "pk.auth", "kek.auth", "db.auth")
    assert boot(folder, {"EFI/BOOT/BOOTX64.EFI": signed}, variables, until="HelloWorld").reached

KVM cannot run guests everywhere, so the processor is emulated (accel=tcg).
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kit.openssl import run

CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
HELLO = Path("/usr/lib/efitools/x86_64-linux-gnu/HelloWorld.efi")
REFUSED = "Access Denied"
NO_ENROLMENT = "Failed to wri"
LIMIT_S = 90
OWNER = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_END = b"-----END CERTIFICATE-----\n"
_ESCAPES = re.compile(rb"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Boot(NamedTuple):
    """What a boot said on the serial line. reached: whether it said what was waited for."""

    reached: bool
    words: str


def disk(folder: Path, files: Mapping[str, Path | bytes], size_mib: int = 4) -> Path:
    """A FAT disk with these files."""
    path = folder / f"disk-{len(list(folder.glob('disk-*')))}.img"
    path.write_bytes(b"")
    os.truncate(path, size_mib << 20)
    made, words = run(["mkfs.vfat", "-n", "TEST", path])
    assert made, words
    for name, content in files.items():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            run(["mmd", "-D", "s", "-i", path, "::" + "/".join(parts[:depth])])
        source = folder / "content"
        source.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        made, words = run(["mcopy", "-o", "-i", path, source, f"::{name}"])
        assert made, words
    return path


def boot(
    folder: Path,
    files: Mapping[str, Path | bytes],
    variables: Path,
    until: str = "starting Boot",
    *,
    restarts: int = 0,
    limit_s: float = LIMIT_S,
) -> Boot:
    """Start the firmware until it says `until`, or refuses the boot file. variables: changed by the firmware as it likes.

    restarts: how often the machine may reset before what it says counts.
    """
    image = disk(
        folder,
        files,
        4 + sum(len(c) if isinstance(c, bytes) else c.stat().st_size for c in files.values()) // (1 << 20) * 2,
    )
    arguments = [
        "qemu-system-x86_64", "-machine", "q35,smm=on,accel=tcg", "-m", "256", "-nographic", "-nodefaults", "-serial",
        "stdio", "-monitor", "none", "-net", "none", "-global", "driver=cfi.pflash01,property=secure,value=on",
        "-global", "ICH9-LPC.disable_s3=1", "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={CODE}",
        "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
        "-drive", f"format=raw,if=none,id=d,file={image}", "-device", "virtio-blk-pci,drive=d,bootindex=0",
    ]  # fmt: skip
    if not restarts:
        arguments.append("-no-reboot")
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return _listen(process, until, restarts, limit_s)
    finally:
        process.kill()
        process.wait()


def enrolled(folder: Path, platform_key: Path, exchange_key: Path, database: Path) -> Path:
    """Variables that the firmware itself took from signed updates, by way of systemd-boot in setup mode."""
    variables = folder / "variables.fd"
    shutil.copy(VARIABLES, variables)
    files: dict[str, Path | bytes] = {
        "EFI/BOOT/BOOTX64.EFI": SYSTEMD_BOOT,
        "loader/loader.conf": b"timeout 0\nsecure-boot-enroll force\n",
        "loader/keys/test/PK.auth": platform_key,
        "loader/keys/test/KEK.auth": exchange_key,
        "loader/keys/test/db.auth": database,
    }
    done = boot(folder, files, variables, until=REFUSED, restarts=1)
    assert done.reached, done.words  # after the restart systemd-boot itself, unsigned, is refused
    return variables


def with_keys(folder: Path, platform_key: Path, exchange_key: Path, *database: Path) -> Path:
    """Variables written without the firmware, for machines whose firmware is not what is tested. All are certificates in PEM."""
    variables = folder / "variables.fd"
    words: list[str | Path] = [
        Path(sys.executable).parent / "virt-fw-vars",
        "--input",
        VARIABLES,
        "--output",
        variables,
    ]
    for option, certificate in (
        ("--set-pk", platform_key),
        ("--add-kek", exchange_key),
        *(("--add-db", c) for c in database),
    ):
        lone = folder / f"lone-{certificate.name}"
        lone.write_bytes(certificate.read_bytes().partition(_END)[0] + _END)
        words += [option, OWNER, lone]
    made, said = run([*words, "--secure-boot"])
    assert made, said
    return variables


def shown(variables: Path) -> str:
    """What virt-fw-vars reads in the firmware's store."""
    read, words = run([Path(sys.executable).parent / "virt-fw-vars", "--input", variables, "--print", "--verbose"])
    assert read, words
    return words


def _listen(process: subprocess.Popen[bytes], until: str, restarts: int, limit_s: float) -> Boot:
    assert process.stdout is not None
    heard, deadline = b"", time.monotonic() + limit_s
    while time.monotonic() < deadline:
        ready, _, _ = select.select([process.stdout], [], [], 1)
        if ready:
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                break
            heard += part
        words = _ESCAPES.sub(b"", heard).decode(errors="replace")
        if until in words:
            return Boot(True, words)
        if (not restarts and REFUSED in words) or NO_ENROLMENT in words or "No bootable option" in words:
            return Boot(False, words)
    return Boot(False, _ESCAPES.sub(b"", heard).decode(errors="replace"))


def setvar(folder: Path, variable: str, update: Path, *, append: bool) -> Path:
    """An EFI program that gives an update of db or dbx to the firmware and prints the answer, unsigned."""
    shutil.copy(update, folder / "update.auth")
    source = Path(__file__).with_name("setvar.c")
    shutil.copy(source, folder / "setvar.c")
    attributes = 0x67 if append else 0x27
    steps = (
        ["gcc", "-c", "-fpic", "-ffreestanding", "-fno-stack-protector", "-fno-stack-check", "-fshort-wchar",
         "-mno-red-zone", "-maccumulate-outgoing-args", "-I/usr/include/efi", "-I/usr/include/efi/x86_64",
         f'-DVARIABLE=L"{variable}"', f"-DATTRIBUTES={attributes}", "setvar.c", "-o", "setvar.o"],
        ["ld", "-shared", "-Bsymbolic", "-L/usr/lib", "-T/usr/lib/elf_x86_64_efi.lds", "/usr/lib/crt0-efi-x86_64.o",
         "setvar.o", "-o", "setvar.so", "-lgnuefi", "-lefi"],
        ["objcopy", "-j", ".text", "-j", ".sdata", "-j", ".data", "-j", ".rodata", "-j", ".dynamic", "-j", ".dynsym",
         "-j", ".rel*", "-j", ".rela*", "-j", ".reloc", "--target=efi-app-x86_64", "setvar.so", "setvar.efi"],
    )  # fmt: skip
    for step in steps:
        made, words = run(step, cwd=folder)
        assert made, words
    return folder / "setvar.efi"


def unified(folder: Path, program: Path) -> Path:
    """systemd's stub with a program in the place of the kernel: what a unified kernel image is to the firmware.

    The stub starts images of version 1.0 or later, which Linux says of itself and the program gets written into its header.
    """
    kernel = bytearray(program.read_bytes())
    version_at = int.from_bytes(kernel[0x3C:0x40], "little") + 24 + 44
    kernel[version_at : version_at + 2] = b"\1\0"
    (folder / "kernel.efi").write_bytes(bytes(kernel))
    (folder / "cmdline").write_text("quiet\0")
    path = folder / "uki.efi"
    made, words = run(
        ["objcopy", "--add-section", f".cmdline={folder / 'cmdline'}", "--change-section-vma", ".cmdline=0x30000",
         "--add-section", f".linux={folder / 'kernel.efi'}", "--change-section-vma", ".linux=0x2000000", STUB, path]
    )  # fmt: skip
    assert made, words
    return path
