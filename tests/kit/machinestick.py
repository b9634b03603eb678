"""A stick with FAT in the emulated machine, as the kernel itself mounts it: what each command does with one.

    for row, told in on_fat(machine, folder): ...

Debian's `mkfs.vfat` makes the file system and mtools fills it, so that this system's kernel need not have FAT.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.gap import make_gap, run
from kit.inmachine import COMMANDS
from kit.machine import Machine, ext4_disk, stick_place
from kit.machinedevice import MachineDevice, said

STICK_MB = 64
FOLDERS = ("transfer", "state", "private", "station")
CARRIED = {
    "reserved": ("a:b.bin", "plain.bin"),
    "cases": ("A.bin", "a.bin"),
    "long": ("Größe " + "ü" * 100 + ".bin",),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A command on a stick. code: how it has to end; says: what it has to say, where it is to be more than its exit code."""

    words: tuple[str, ...]
    code: int
    says: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """How a command ended. good: as its row wants."""

    row: Row
    code: int
    words: str

    @property
    def good(self) -> bool:
        """Whether it ended so and said that."""
        return self.code == self.row.code and self.row.says in self.words


def on_fat(machine: Machine, folder: Path) -> Iterator[Told]:
    """Each command of the table in one boot. folder: a new one."""
    tree, image = folder / "tree", folder / "stick.img"
    tree.mkdir(parents=True)
    table = _prepared(tree, image)
    (tree / COMMANDS).write_text(json.dumps([row.words for row in table]))
    ran = machine.boot("commands:", ext4_disk(folder / "disk.img", tree, megabytes=250), tree, stick=image)
    told = said(ran)
    if len(told) != len(table):
        raise AssertionError(ran.words)
    for row, one in zip(table, told, strict=True):
        yield Told(row, int(one["code"]), one["out"] + one["err"])


def _prepared(tree: Path, image: Path) -> tuple[Row, ...]:
    """A home, a gap's receiver and a device, whose repository and signed file lie on the stick."""
    make_gap(tree)
    home, stick = tree / "home", stick_place(tree)
    for name in FOLDERS:
        (tree / name).mkdir(mode=0o700)
    for kind, names in CARRIED.items():
        (tree / kind).mkdir()
        for number, name in enumerate(names):
            (tree / kind / name).write_bytes(b"%d" % number)
    for name, size in (("above", 5 << 30), ("full", (STICK_MB + 6) << 20)):
        with (tree / name).open("wb") as out:
            out.truncate(size)
    device = MachineDevice.made(tree / "device")
    agent = device.site.path
    agent.write_text(agent.read_text().replace(str(device.site.maker.repository.folder), f"{stick}/repository"))
    signed = tree / "app.bin"
    signed.write_bytes(b"application" * 1000)
    assert run("sign", signed, "--home", home) == 0
    (tree / "signed").mkdir()
    for one in tree.glob("app.bin*"):
        shutil.copy(one, tree / "signed")
    image.write_bytes(b"")
    os.truncate(image, STICK_MB << 20)
    subprocess.run(["mkfs.vfat", "-F", "32", image], check=True, capture_output=True)
    onto = [
        device.site.maker.repository.folder,
        home / "trust.toml",
        *home.glob("trust.toml.*"),
        *tree.glob("app.bin*"),
    ]
    subprocess.run(["mcopy", "-s", "-i", image, *onto, "::"], check=True)
    for name in ("clean", "share", "written"):
        subprocess.run(["mmd", "-i", image, f"::{name}"], check=True)
    return _table(tree, home, stick, agent)


def _table(tree: Path, home: Path, stick: Path, agent: Path) -> tuple[Row, ...]:
    trust = f"--trust {home}/trust.toml"
    pack = f"--from acme --to nordhof --home {home}"
    to = f"--as nordhof {trust}"
    believed = f"{to} --state {tree}/state"
    rows = (
        (f"agent install --yes --config {agent}", 0, "1.1.0"),
        (f"verify {stick}/app.bin {trust}", 0, "allowed"),
        (f"sign {stick}/app.bin --home {home} --replace", 0, ""),
        (f"courier pack {stick} {pack} --repository {tree}/repo --product drives/vx-200 --number 41", 0, ""),
        (f"courier unpack {stick} --into {tree}/transfer {believed}", 0, "4 files of releases"),
        (
            f"courier pack {stick}/one.courier {pack} --repository {tree}/repo --product drives/vx-200 --number 42",
            0,
            "",
        ),
        (f"courier unpack {stick}/one.courier --into {tree}/transfer {believed}", 0, "4 files of releases"),
        (f"courier pack {stick} {pack} --file {tree}/long --number 43", 0, ""),
        (f"courier unpack {stick}/courier-acme-43 --into {tree}/transfer {believed}", 0, ""),
        (f"courier unpack {stick}/courier-acme-43 --into {stick}/into {believed}", 1, "keeps no owners (vfat)"),
        (f"courier unpack {stick}/courier-acme-43 --into {tree}/transfer {to} --state {stick}", 1, "(vfat)"),
        (f"courier pack {stick} {pack} --file {tree}/reserved --number 44", 1, "no files of that name"),
        (f"courier pack {stick}/reserved.courier {pack} --file {tree}/reserved --number 45", 0, ""),
        (f"courier unpack {stick}/reserved.courier --into {tree}/transfer {believed}", 0, ""),
        (f"courier pack {stick} {pack} --file {tree}/cases --number 46", 1, "does not tell A from a"),
        (f"courier pack {stick} {pack} --file {tree}/above --number 47", 1, "FAT ends at 4 GiB"),
        (f"courier pack {stick}/above.courier {pack} --file {tree}/above --number 48", 1, "FAT ends at 4 GiB"),
        (f"courier pack {stick} {pack} --file {tree}/full --number 49", 1, "the medium is full"),
        (f"courier pack {stick}/full.courier {pack} --file {tree}/full --number 50", 1, "the medium is full"),
        (f"courier pack {stick}/after.courier {pack} --file {tree}/app.bin --number 51", 0, ""),
        (f"station --once {stick} {trust} --state {tree}/station --private {tree}/private", 1, "app.bin"),
        (f"station --once {tree}/signed {trust} --state {tree}/station --write {stick}/written", 0, "ALLOWED"),
        (f"verify {stick}/written/app.bin {trust}", 0, "allowed"),
        (f"handover share {tree}/app.bin --stick {stick}/clean {trust}", 0, "read back and found the same"),
        (f"handover share {tree}/app.bin --to {stick}/share {trust}", 1, "(vfat)"),
        (f"verify {stick}/app.bin --trust {stick}/trust.toml", 1, "not believed"),
    )
    return tuple(Row(tuple(words.split()), code, says) for words, code, says in rows)
