"""A whole machine: Debian's kernel in QEMU with Python and the agent on a read-only disk, and disks of its own that keep what was synced.

    machine = Machine.made(folder)
    disk = ext4_disk(folder / "data.img", tree, megabytes=48)
    machine.boot("resume", disk, at=tree)          # the disk is mounted where `tree` lies here, so every path means the same
    machine.cut("install", disk, at=tree, word="point 17")

A cut is kill -9 of the emulator: what the guest's kernel had not yet written is lost as it is when a plug is pulled. What runs inside is
`inmachine.py`. The processor is emulated, so a start of Python costs seconds.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import sealwright
from kit.kernel import BUSYBOX, FOLDER

LIMIT_S = 240.0
ENDS = "machine: ended with "
STARTED = "machine: started"
STARTS = 3  # an emulated processor that gets too little of a busy one sometimes stops a kernel before it can say why
REPOSITORY = Path(__file__).resolve().parents[2]
_DISTRIBUTIONS = REPOSITORY / "requirements" / "agent.txt"
_STICK_MODULES = ("fat", "vfat", "nls_cp437", "nls_ascii")  # in the order in which they are loaded
_KIT = ("__init__.py", "powercut.py", "inmachine.py")
_LEFT_OUT = shutil.ignore_patterns(
    "site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "config-*", "turtledemo"
)
_COMMAND_LINE = (
    "root=/dev/nvme0n1 ro init=/init console=ttyS0 panic=-1 quiet no_timer_check tsc=reliable mitigations=off"
)
# the kernel hands words it does not know to the first program as its environment
_INIT = """#!/bin/busybox sh
echo "{started}"
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs -o mode=1777 tmp /tmp
/bin/busybox mkdir -p "$MACHINE_AT"
export PATH=/bin HOME=/tmp LANG=C.UTF-8
mount /dev/nvme1n1 "$MACHINE_AT" || exit 1
if [ -e /dev/nvme2n1 ]; then
    for module in /modules/*; do insmod $module; done
    mkdir -p "$MACHINE_STICK"
    mount -t vfat /dev/nvme2n1 "$MACHINE_STICK" || exit 1
fi
{python} -I /init.py
echo "{ends}$?"
[ -e /dev/nvme2n1 ] && umount "$MACHINE_STICK"
umount "$MACHINE_AT"
[ -e /tmp/reboot ] && reboot -f
poweroff -f
"""
_PROGRAM = """import sys
sys.path[:0] = {paths!r}
from kit.inmachine import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a boot came to. code: of the task, None where the machine was cut off before; words: what was said; starts: how often it was
    switched on until its first program ran."""

    code: int | None
    words: str
    starts: int


@dataclass(frozen=True, slots=True)
class Machine:
    """root: its read-only disk; kernel: Debian's."""

    root: Path
    kernel: Path

    @classmethod
    def made(cls, folder: Path, linux: Path = FOLDER) -> Machine:
        """The disk with Python, what the agent imports, and the tasks. linux: what scripts/debian-kernel made; the modules of a stick in it."""
        tree = folder / "root"
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "modules", "lib64", "mnt"):
            (tree / name).mkdir(parents=True)
        shutil.copy(BUSYBOX, tree / "bin" / "busybox")
        for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split():
            if name != "busybox":
                (tree / "bin" / name).symlink_to("busybox")
        (tree / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        for number, name in enumerate(_STICK_MODULES):
            if (linux / f"{name}.ko").is_file():
                shutil.copy(linux / f"{name}.ko", tree / "modules" / f"{number}-{name}.ko")
        python = _python_into(tree)
        paths = _packages_into(tree / "packages")
        (tree / "init.py").write_text(_PROGRAM.format(paths=paths))
        init = tree / "init"
        init.write_text(_INIT.replace("{python}", str(python)).replace("{ends}", ENDS).replace("{started}", STARTED))
        init.chmod(0o755)
        image = ext4_disk(folder / "root.img", tree, megabytes=220)
        shutil.rmtree(tree)
        return cls(image, linux / "vmlinuz")

    def boot(self, task: str, disk: Path, at: Path, *, stick: Path | None = None) -> Ran:
        """Start it, let it do a task to the end, and switch it off. at: where the disk is mounted; stick: a FAT medium, at `at`.stick."""
        return self._run(task, disk, at, stick, until=None, options=("-no-reboot",))

    def restart(self, task: str, disk: Path, at: Path) -> Ran:
        """The same, and it may start itself again; each boot begins the task anew."""
        return self._run(task, disk, at, None, until=None, options=())

    def cut(self, task: str, disk: Path, at: Path, *, word: str) -> Ran:
        """The same with the power cut off as soon as it says a word."""
        return self._run(task, disk, at, None, until=word, options=("-no-reboot",))

    def _run(
        self, task: str, disk: Path, at: Path, stick: Path | None, *, until: str | None, options: Sequence[str]
    ) -> Ran:
        environment = f"MACHINE_AT={at} MACHINE_TASK={task} MACHINE_STICK={stick_place(at)}"
        arguments = [
            "qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "max", "-m", "384", "-nographic", "-nodefaults", "-serial", "stdio",
            "-monitor", "none", "-net", "none", *options, "-kernel", str(self.kernel), "-append", f"{_COMMAND_LINE} {environment}",
        ]  # fmt: skip
        disks = [(self.root, "on"), (disk, "off"), *([(stick, "off")] if stick is not None else [])]
        for number, (path, read_only) in enumerate(disks):
            arguments += [
                "-drive", f"if=none,id=d{number},format=raw,cache=writeback,readonly={read_only},file={path}",
                "-device", f"nvme,drive=d{number},serial=d{number}",
            ]  # fmt: skip
        starts, words = 0, ""
        while STARTED not in words and starts < STARTS:
            starts += 1
            words = _said_by(arguments, until)
        found = re.search(re.escape(ENDS) + r"(\d+)", words)
        return Ran(int(found[1]) if found else None, words, starts)


def stick_place(at: Path) -> Path:
    """Where a stick is mounted in the machine: beside the disk, whose path it knows."""
    return at.with_name(f"{at.name}.stick")


def ext4_disk(image: Path, tree: Path, *, megabytes: int) -> Path:
    """A disk with what a folder holds, owned by root where this user maps itself to it."""
    image.unlink(missing_ok=True)
    command = ["mke2fs", "-q", "-t", "ext4", "-d", str(tree), "-E", "root_owner=0:0", str(image), f"{megabytes}M"]
    if os.geteuid() != 0:
        command = ["unshare", "-r", *command]
    subprocess.run(command, check=True, capture_output=True)
    return image


def _python_into(tree: Path) -> Path:
    """This Python with its library and what both are linked with, at the same places; the program's path."""
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, _inside(tree, library), ignore=_LEFT_OUT, symlinks=True)
    shutil.copy(program, _inside(tree, program))
    _linked_into(tree, [program, *sorted(library.glob("lib-dynload/*.so"))])
    return program


def _packages_into(packages: Path) -> list[str]:
    """What the agent needs, as installed here, our own code and the task; where Python finds them."""
    names = re.findall(r"^([A-Za-z0-9._-]+)==", _DISTRIBUTIONS.read_text(), re.MULTILINE)
    packages.mkdir()
    linked: list[Path] = []
    for name in names:
        for file in metadata.distribution(name).files or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or not source.is_file():
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)  # its time tells that the compiled file beside it is still its own
            if ".so" in source.name:
                linked.append(source)
    shutil.copytree(Path(sealwright.__file__).parent, packages / "sealwright", ignore=_LEFT_OUT)
    (packages / "kit").mkdir()
    for one in _KIT:
        shutil.copy2(Path(__file__).with_name(one), packages / "kit" / one)
    _linked_into(packages.parent, linked)
    return ["/packages"]


def _linked_into(tree: Path, programs: Sequence[Path]) -> None:
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    # a library that a wheel brings lies beside it and has its path already
    for path in sorted({Path(one) for one in re.findall(r"(?:=> |^\t)(/\S+)", said, re.MULTILINE)}):
        target = _inside(tree, path)
        if "site-packages" not in path.parts and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def _inside(tree: Path, path: Path) -> Path:
    target = tree / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _said_by(arguments: Sequence[str], word: str | None) -> str:
    """What a machine says to its end, or until it says a word and its power is cut off."""
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return _heard(process, word, time.monotonic() + LIMIT_S)
    finally:
        process.kill()
        process.wait()


def _heard(process: subprocess.Popen[bytes], word: str | None, until: float) -> str:
    assert process.stdout is not None
    heard = b""
    while time.monotonic() < until:
        ready, _, _ = select.select([process.stdout], [], [], 1)
        if not ready:
            continue
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            break
        heard += part
        if word is not None and word.encode() in heard:
            break
    return heard.decode(errors="replace").replace("\r", "")
