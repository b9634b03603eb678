"""For formats.py, in a process of its own: a signing home, a large and a small artifact of a format, and its real verifier's command lines.

The command lines lie in FOLDER/judge-large.json and judge-small.json, with SIGNED where the signed artifact is meant.
Usage: artifacts.py FORMAT FOLDER MiB
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


from kit.archives import SECRET, key_store
from kit.house import Backend, House, Maker
from kit.modules import INFO
from kit.openssl import run
from kit.pki import Pki
from kit.rows import judge_fit
from kit.uboot import fit
from kit.updates import archive, bundle, description, updater
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main as sealwright
from sealwright.formats.kmod import MARK
from sealwright.formats.rauc import read_bundle
from sealwright.keys.key import KeyKind

BIN = str(Path(sys.executable).parent)
PKI = Pki.make()
PE_AT, HEADERS = 0x40, 0x180


def noise(size: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    return os.urandom(1 << 20) * (size >> 20)


def make_file(folder: Path, size: int) -> Path:
    """Any file."""
    path = folder / "any.bin"
    path.write_bytes(noise(size))
    return path


def make_pe(folder: Path, size: int) -> Path:
    """A program of one section."""
    path = folder / "any.efi"
    header = struct.pack("<2s58xI", b"MZ", PE_AT) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    header += struct.pack("<HBBIIIII", 0x20B, 14, 0, size, 0, 0, 0x1000, 0x1000)
    header += struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x40_0000, 0x1000, 0x20, *[0] * 7, size + 0x1000, HEADERS, 0, 10,
                          *[0] * 6, 16)  # fmt: skip
    header += bytes(128) + struct.pack("<8sIIIIIIHHI", b".text", size, 0x1000, size, HEADERS, 0, 0, 0, 0, 0x6000_0020)
    path.write_bytes(header.ljust(HEADERS, b"\0") + noise(size))
    return path


def make_script(folder: Path, size: int) -> Path:
    """Lines of PowerShell."""
    path = folder / "any.ps1"
    line = b"Write-Host 'measured at the oven of line 3'\r\n"
    path.write_bytes(line * (size // len(line)))
    return path


def make_jar(folder: Path, size: int) -> Path:
    """Four members, stored."""
    path = folder / "any.jar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for number in range(4):
            new.writestr(f"lib/{number}.bin", noise(size)[: size // 4])
    return path


def make_module(folder: Path, size: int) -> Path:
    """An object with a section of that size."""
    path = folder / "any.ko"
    (folder / "data").write_bytes(noise(size))
    (folder / "any.s").write_text('.section .data\n.incbin "data"\n')
    made, words = run(["gcc", "-c", "any.s", "-o", path], cwd=folder)
    assert made, words
    return path


def make_bundle(form: str) -> Callable[[Path, int], Path]:
    """RAUC's own, signed by another."""
    return lambda folder, size: bundle(folder, updater(PKI), form, os.urandom(size))


def make_update(folder: Path, size: int) -> Path:
    """One image."""
    image = noise(size)
    return archive(folder, files={"sw-description": description(image), "fw.bin": image})


def judge_rauc(maker: Maker, path: Path) -> list[str]:
    """RAUC for the signature, and the kernel's check of the payload where RAUC leaves it to the kernel."""
    command = f"rauc --keyring={maker.root_pem} info --no-check-time SIGNED"
    with open_artifact(str(path)) as source:
        verity = read_bundle(source).verity
    if verity is not None:
        command += (
            f" && /sbin/veritysetup verify SIGNED SIGNED {verity.root.hex()} --no-superblock --hash-offset={verity.data_bytes}"
            f" --salt={verity.salt.hex()} --data-blocks={verity.data_bytes // 4096} --data-block-size=4096"
            " --hash-block-size=4096 --hash=sha256 --format=1"
        )
    return ["sh", "-c", command]


def judge_module(maker: Maker, path: Path) -> list[str]:
    """Cut as the kernel cuts, then OpenSSL. Signatures of one key are of one size."""
    signed = path.with_name(f"first-{path.name}")
    words = ["sign", str(path), "--home", str(maker.house.home), "--key", maker.name, "--format", "kmod"]
    assert sealwright([*words, "--out", str(signed)]) == 0
    ending = signed.read_bytes()[-len(MARK) - INFO.size :]
    size = INFO.unpack(ending[: INFO.size])[-1]
    cms, all_of_it = maker.house.folder / "cms", size + len(ending)
    return [
        "sh", "-c", f"tail -c {all_of_it} SIGNED | head -c {size} > {cms} && head -c -{all_of_it} SIGNED | "
        f"openssl cms -verify -inform DER -in {cms} -content /dev/stdin -binary -CAfile {maker.certificate_pem} "
        f"-certfile {maker.certificate_pem} -purpose any -partial_chain -no_check_time -out /dev/null",
    ]  # fmt: skip


def judge_authenticode(maker: Maker, _: Path) -> list[str]:
    """Both kinds of file."""
    root = str(maker.root_pem)
    return ["osslsigncode", "verify", "-CAfile", root, "-TSA-CAfile", root, "-in", "SIGNED"]


def judge_jar(maker: Maker, _: Path) -> list[str]:
    """The certificate above the signer's is trusted."""
    store = key_store(maker.house.folder / "trusted.p12", maker.certificates[1:])
    return ["jarsigner", "-verify", "-strict", "-keystore", str(store), "-storepass", SECRET, "SIGNED"]


def judge_tree(maker: Maker, path: Path) -> list[str]:
    """The control tree is made by asking once."""
    judge_fit(path, maker)
    return [f"{BIN}/fit_check_sign", "-f", "SIGNED", "-k", str(maker.house.folder / f"{maker.name}.dtb")]


def judge_file(maker: Maker, _: Path) -> list[str]:
    """OpenSSL."""
    return ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "SIGNED.p7s", "-content", "SIGNED",
            "-CAfile", str(maker.root_pem), "-purpose", "any", "-no_check_time", "-out", "/dev/null"]  # fmt: skip


FORMATS: dict[str, tuple[KeyKind, Callable[[Path, int], Path], Callable[[Maker, Path], list[str]]]] = {
    "detached": (KeyKind.P256, make_file, judge_file),
    "pe": (KeyKind.RSA3072, make_pe, judge_authenticode),
    "powershell": (KeyKind.P256, make_script, judge_authenticode),
    "jar": (KeyKind.P256, make_jar, judge_jar),
    "kmod": (KeyKind.RSA3072, make_module, judge_module),
    "mcuboot": (
        KeyKind.P256,
        make_file,
        lambda maker, _: [f"{BIN}/imgtool", "verify", "-k", str(maker.public_pem), "SIGNED"],
    ),
    "fit": (KeyKind.RSA3072, lambda folder, size: fit(folder, "-E", kernel=noise(size)), judge_tree),
    "rauc-plain": (KeyKind.P256, make_bundle("plain"), judge_rauc),
    "rauc-verity": (KeyKind.P256, make_bundle("verity"), judge_rauc),
    # it answers by its words alone, which the tests read; here it is only timed
    "swupdate": (
        KeyKind.P256,
        make_update,
        lambda maker, _: ["sh", "-c", f"swupdate -c -k {maker.keyring_pem} -i SIGNED -H board:1.0 || true"],
    ),
}


def main() -> None:
    """Make them."""
    form, folder, mebibytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    kind, make, judge = FORMATS[form]
    maker = House.make(folder, Backend.FILE).maker("jar" if form == "detached" else form.partition("-")[0], kind)
    for which, size in (("large", mebibytes << 20), ("small", 1 << 20)):
        made = folder / f"making-{which}"
        made.mkdir()
        path = make(made, size)
        plain = path.rename(folder / f"{which}{path.suffix}")
        (folder / f"judge-{which}.json").write_text(json.dumps(judge(maker, plain)))
    (folder / "key").write_text(maker.name)


if __name__ == "__main__":
    main()
