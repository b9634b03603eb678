"""One small signed file of each format that keeps its signature inside, and the trust file that knows all their signers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from kit.archives import zipped
from kit.boards import FIRMWARE
from kit.efi import tiny
from kit.inside import sign_inside
from kit.modules import tiny_module
from kit.pki import Pki
from kit.trust import believed, knowing
from kit.uboot import fit
from kit.updates import archive, bundle, updater
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind

PKI = Pki.make()
RELEASE = updater(PKI)
RSA = PKI.leaf("release", kind=KeyKind.RSA3072)
BOOT = PKI.leaf("boot", construction=Construction.MCUBOOT)
MODULES = PKI.leaf("modules", construction=Construction.KMOD)
BOARD = PKI.leaf("board", kind=KeyKind.RSA3072, construction=Construction.FIT)
TRUST = believed(PKI, certificate=knowing(BOOT, MODULES, BOARD))
SCRIPT = b"\xef\xbb\xbfGet-Date\r\nGet-Item 'C:\\plant'\r\n"


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _pe(folder: Path) -> Path:
    return sign_inside(_written(folder / "plain.efi", tiny()), RSA, folder / "signed.efi", "pe")


def _mcuboot(folder: Path) -> Path:
    claims = Claims(version="1.2.3", generation=7)
    return sign_inside(_written(folder / "fw.bin", FIRMWARE), BOOT, folder / "fw.img", "mcuboot", claims=claims)


def _fit(folder: Path) -> Path:
    return sign_inside(fit(folder / "fit"), BOARD, folder / "signed.fit", "fit")


def _rauc(form: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        plain = bundle(folder, RELEASE, form, Random(1).randbytes(9000))
        return sign_inside(plain, RELEASE, folder / f"{form}-signed.raucb", "rauc", existing=Existing.REPLACE)

    return made


def _swupdate(folder: Path) -> Path:
    return sign_inside(archive(folder), RELEASE, folder / "signed.swu", "swupdate")


def _jar(folder: Path) -> Path:
    return sign_inside(zipped(folder / "plain.jar"), RELEASE, folder / "signed.jar", "jar")


def _powershell(folder: Path) -> Path:
    return sign_inside(_written(folder / "plain.ps1", SCRIPT), RELEASE, folder / "signed.ps1", "powershell")


def _kmod(folder: Path) -> Path:
    return sign_inside(_written(folder / "plain.ko", tiny_module()), MODULES, folder / "signed.ko", "kmod")


MAKERS: dict[str, Callable[[Path], Path]] = {
    "pe": _pe,
    "mcuboot": _mcuboot,
    "fit": _fit,
    "rauc": _rauc("plain"),
    "rauc-verity": _rauc("verity"),
    "swupdate": _swupdate,
    "jar": _jar,
    "powershell": _powershell,
    "kmod": _kmod,
}


def format_of(name: str) -> str:
    """The format of a sample."""
    return name.partition("-")[0]
