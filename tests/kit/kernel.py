"""A kernel that decides about modules: Debian's own, in QEMU with Secure Boot, in a unified image with what we put into its first files.

    said = booted(folder, image, variables)

It believes the certificates in the firmware's db (Debian's patches to Linux let them count for modules), and takes no unsigned module.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from kit.openssl import run
from kit.ovmf import STUB, boot

FOLDER = Path(sys.prefix) / "share" / "linux"
KERNEL, MODULE = FOLDER / "vmlinuz", FOLDER / "crc7.ko"
BUSYBOX = Path("/bin/busybox")
LIMIT_S = 280
# an emulated processor is slow at what it is told on the serial line, and has no use for mitigations
_COMMAND_LINE = "console=ttyS0 module.sig_enforce=1 panic=-1 quiet no_timer_check tsc=reliable mitigations=off"
_LAST = "every module was tried"
_INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir /proc
/bin/busybox mount -t proc proc /proc
for path in /modules/*; do
    name=$(/bin/busybox basename $path .ko)
    if /bin/busybox insmod $path && /bin/busybox rmmod crc7; then echo "module $name: loaded"; else echo "module $name: refused"; fi
done
echo {_LAST}
/bin/busybox poweroff -f
"""


def image(folder: Path, modules: Mapping[str, Path]) -> Path:
    """A unified kernel image, unsigned, whose first program tries to load each module and says what came of it."""
    root = folder / "root"
    for name in ("bin", "modules"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    (root / "init").write_text(_INIT)
    (root / "init").chmod(0o755)
    for name, module in modules.items():
        shutil.copy(module, root / "modules" / f"{name}.ko")
    files = folder / "initrd"
    listing = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*"))).encode()
    with files.open("wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=listing, stdout=out, check=True)
    (folder / "cmdline").write_text(_COMMAND_LINE + "\0")
    path = folder / "linux.efi"
    sections = ((".cmdline", folder / "cmdline", 0x30000), (".linux", KERNEL, 0x2000000), (".initrd", files, 0x4000000))
    words = [
        word
        for name, file, address in sections
        for word in ("--add-section", f"{name}={file}", "--change-section-vma", f"{name}={address:#x}")
    ]
    made, said = run(["objcopy", *words, STUB, path])
    assert made, said
    return path


def booted(folder: Path, signed: Path, variables: Path) -> dict[str, str]:
    """What the kernel did with each module: "loaded" or "refused"."""
    done = boot(folder, {"EFI/BOOT/BOOTX64.EFI": signed}, variables, _LAST, limit_s=LIMIT_S)
    assert done.reached, done.words
    return dict(re.findall(r"^module (\w+): (\w+)", done.words, re.MULTILINE))
