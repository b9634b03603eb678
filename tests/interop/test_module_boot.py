"""The kernel decides: Debian's, started with Secure Boot, loads the module we signed and refuses every other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.kernel import MODULE, booted, image
from kit.ovmf import with_keys
from sealwright.cli.main import main


def home(path: Path) -> Path:
    assert main(["init", str(path), "--algorithm", "rsa3072"]) == 0
    for name, form in (("pk", "uefi-variable"), ("kek", "uefi-variable"), ("kmod", "kmod")):
        assert main(["key", "enrol", form, "--home", str(path), "--name", name]) == 0
    return path


def signed(plain: Path, home: Path, form: str, out: Path) -> Path:
    assert main(["sign", str(plain), "--home", str(home), "--format", form, "--out", str(out)]) == 0
    return out


def flipped(path: Path, at: int, out: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    out.write_bytes(bytes(data))
    return out


@pytest.mark.timeout(400)
def test_the_kernel_loads_the_module_as_it_was_signed_and_no_other(tmp_path: Path) -> None:
    ours, strange = home(tmp_path / "home"), home(tmp_path / "stranger")
    plain = tmp_path / "plain.ko"
    assert main(["strip", str(MODULE), "--out", str(plain)]) == 0  # Debian's signature, which its kernel believes
    good = signed(plain, ours, "kmod", tmp_path / "good.ko")
    modules = {
        "good": good,
        "plain": plain,
        "content": flipped(good, plain.read_bytes().index(b"description=") + 13, tmp_path / "content.ko"),
        "signature": flipped(good, good.stat().st_size - 50, tmp_path / "signature.ko"),
        "stranger": signed(plain, strange, "kmod", tmp_path / "stranger.ko"),
    }
    kernel = signed(image(tmp_path, modules), ours, "pe", tmp_path / "signed.efi")
    variables = with_keys(
        tmp_path, *(ours / "certificates" / f"{name}.pem" for name in ("pk", "kek", "release", "kmod"))
    )
    assert booted(tmp_path, kernel, variables) == dict.fromkeys(modules, "refused") | {"good": "loaded"}
