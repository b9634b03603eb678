"""FIT images and control trees of U-Boot, and U-Boot's own verifier, compiled from its sources by `make install`."""

from __future__ import annotations

import sys
from pathlib import Path

from kit.openssl import run

_IMAGES = """kernel { description = "k"; data = /incbin/("kernel.bin"); type = "kernel"; arch = "arm"; os = "linux"; compression = "none";
    load = <0x8000>; entry = <0x8000>; hash-1 { algo = "sha256"; }; };
  fdt-1 { description = "f"; data = /incbin/("board.dtb"); type = "flat_dt"; arch = "arm"; compression = "none"; hash-1 { algo = "sha256"; }; };"""
_SIGNATURE = 'signature-%d { algo = "sha256,rsa3072"; key-name-hint = "dev"; sign-images = "fdt", "kernel"; };'
KERNEL = bytes(range(256)) * 16


def compiled(folder: Path, text: str, name: str) -> Path:
    """A device tree."""
    (folder / f"{name}.dts").write_text(f"/dts-v1/;\n{text}\n")
    path = folder / f"{name}.dtb"
    made, words = run(["dtc", "-q", "-O", "dtb", "-o", path, folder / f"{name}.dts"])
    assert made, words
    return path


def fit(folder: Path, *options: str, configurations: int = 1, signatures: int = 1, kernel: bytes = KERNEL) -> Path:
    """An unsigned FIT of mkimage, with room for signatures in each configuration; -E puts the data behind the tree."""
    folder.mkdir(exist_ok=True)
    compiled(folder, '/ { model = "board"; };', "board")
    (folder / "kernel.bin").write_bytes(kernel)
    nodes = " ".join(_SIGNATURE % number for number in range(1, signatures + 1))
    each = "\n".join(
        f'conf-{number} {{ description = "c"; kernel = "kernel"; fdt = "fdt-1"; {nodes} }};'
        for number in range(1, configurations + 1)
    )
    (folder / "image.its").write_text(
        f'/dts-v1/;\n/ {{ description = "plant image"; #address-cells = <1>;\n images {{ {_IMAGES} }};\n'
        f' configurations {{ default = "conf-1"; {each} }}; }};\n'
    )
    path = folder / "image.fit"
    made, words = run(["mkimage", *options, "-f", "image.its", "image.fit"], cwd=folder)
    assert made, words
    return path


def fit_check_sign(image: Path, control: Path, configuration: str = "") -> tuple[bool, str]:
    """U-Boot's own check. It proves nothing where the control tree requires no key."""
    which = ["-c", configuration] if configuration else []
    return run([Path(sys.executable).parent / "fit_check_sign", "-f", image, "-k", control, *which])
