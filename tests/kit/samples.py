"""Real artifacts of plants: firmware as distributions build it, a Zephyr image, and small projects as engineers' tools write them.

The packages that `make install` puts on the machine are the cache: nothing is fetched when tests run.

    for sample in SAMPLES:
        path = sample.copy_to(folder)
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

ZEPHYR = "zephyr_4_4_0_hci_uart_nrf52dk_default"


@dataclass(frozen=True, slots=True)
class Sample:
    """One file of an installed package: its name here, who carries it, where it lies (a Python package: inside of it)."""

    name: str
    package: str
    path: str

    @property
    def source(self) -> Path:
        """Where it lies on this machine; FileNotFoundError names the package that is missing."""
        place = Path(self.path)
        if not place.is_absolute():
            spec = importlib.util.find_spec(self.package)
            place = Path(spec.origin).parent / self.path if spec and spec.origin else place
        if not place.is_file():
            raise FileNotFoundError(f"{self.name}: package {self.package} is not installed. Run: make install")
        return place

    def copy_to(self, folder: Path) -> Path:
        """A copy that a test may sign and alter."""
        return Path(shutil.copyfile(self.source, folder / self.name))


SAMPLES = (
    Sample("u-boot-arm.bin", "u-boot-qemu", "/usr/lib/u-boot/qemu_arm/u-boot.bin"),
    Sample("u-boot-arm64.bin", "u-boot-qemu", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"),
    Sample("opensbi.bin", "opensbi", "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"),
    Sample("opensbi.elf", "opensbi", "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.elf"),
    Sample("seabios.bin", "seabios", "/usr/share/seabios/bios-256k.bin"),
    Sample("zephyr.hex", ZEPHYR, "firmware.hex"),
)

PROJECT = {
    "plc/main.xml": '<?xml version="1.0" encoding="utf-8"?>\n'
    '<project xmlns="http://www.plcopen.org/xml/tc6_0201"><types><dataTypes/><pous/></types></project>\n',
    "hmi/flows.json": '[{"id": "oven1", "type": "inject", "topic": "proofing/temperature", "payload": "38"}]\n',
    "opcua/line3.NodeSet2.xml": '<UANodeSet xmlns="http://opcfoundation.org/UA/2011/03/UANodeSet.xsd"/>\n',
    "recipes/Bäckerei rye.csv": "name;temperature\r\nrye;230\r\n",
    "drives/parameters.bin": "\x00\x01\x02",
}


def project(folder: Path) -> Path:
    """A small automation project below `folder`: texts of several tools, a name with a space and an umlaut, an empty folder."""
    root = folder / "line-3"
    for name, text in PROJECT.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode())
    (root / "spare").mkdir()
    return root
