"""The firmware decides: OVMF enrols our variables, starts what we signed, and refuses everything else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit.ovmf import HELLO, boot, enrolled, setvar, shown, unified
from sealwright.cli.main import main

SAID = "HelloWorld"


class House:
    """A home with keys for PK, KEK and programs, and a second one whose db certificate the firmware does not know."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home, self.stranger = folder / "home", folder / "stranger"
        for home in (self.home, self.stranger):
            assert main(["init", str(home), "--algorithm", "rsa3072"]) == 0
            for name in ("pk", "kek"):
                assert main(["key", "enrol", "uefi-variable", "--home", str(home), "--name", name]) == 0
        self.auth("PK", "pk", certificate="pk")
        self.auth("KEK", "pk", certificate="kek")
        self.auth("db", "kek", certificate="release")

    def auth(
        self, variable: str, key: str, *options: str, certificate: str = "", image: Path | None = None,
        home: Path | None = None, of: Path | None = None, name: str = "", how: str = "--certificate",
    ) -> Path:  # fmt: skip
        """A signed update."""
        home, of = home or self.home, of or self.home
        lists, out = self.folder / f"{name or variable}.esl", self.folder / f"{name or variable}.auth"
        what = [how, str(of / "certificates" / f"{certificate}.pem")] if image is None else ["--hash", str(image)]
        assert main(["secure-boot", "list", *what, "--owner", "plant.example", "--out", str(lists), "--replace"]) == 0
        words = ["secure-boot", "sign", str(lists), "--variable", variable, "--home", str(home), "--key", key]
        assert main([*words, "--out", str(out), "--replace", *options]) == 0
        return out

    def signed(self, program: Path, home: Path | None = None) -> Path:
        """The program with a signature inside."""
        out = program.with_name(program.name + ".signed")
        words = [
            "sign",
            str(program),
            "--home",
            str(home or self.home),
            "--format",
            "pe",
            "--out",
            str(out),
            "--replace",
        ]
        assert main(words) == 0
        return out


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("house"))


@pytest.fixture(scope="module")
def firmware(house: House) -> Path:
    """Variables that the firmware took from our updates."""
    return enrolled(house.folder, *(house.folder / f"{name}.auth" for name in ("PK", "KEK", "db")))


@pytest.fixture
def variables(firmware: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(firmware, tmp_path / "variables.fd"))


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    return Path(shutil.copy(HELLO, tmp_path / "hello.efi"))


def starts(folder: Path, program: Path, variables: Path, until: str = SAID) -> bool:
    return boot(folder, {"EFI/BOOT/BOOTX64.EFI": program}, variables, until).reached


def test_the_firmware_holds_what_we_signed(firmware: Path) -> None:
    words = shown(firmware)
    for name in ("home pk", "home kek", "home release"):
        assert name in words


def test_a_program_starts_only_as_it_was_signed(house: House, hello: Path, variables: Path, tmp_path: Path) -> None:
    signed = house.signed(hello)
    assert starts(tmp_path, signed, variables)
    assert not starts(tmp_path, hello, variables)
    data = bytearray(signed.read_bytes())
    data[0x3000] ^= 1
    altered = tmp_path / "altered.efi"
    altered.write_bytes(bytes(data))
    assert not starts(tmp_path, altered, variables)
    assert not starts(tmp_path, house.signed(hello, house.stranger), variables)


def test_a_unified_kernel_image_starts_what_is_inside(
    house: House, hello: Path, variables: Path, tmp_path: Path
) -> None:
    image = unified(tmp_path, hello)
    assert not starts(tmp_path, image, variables)
    assert starts(tmp_path, house.signed(image), variables)


def test_an_image_in_dbx_is_refused_though_it_is_signed(
    house: House, hello: Path, variables: Path, tmp_path: Path
) -> None:
    signed = house.signed(hello)
    assert starts(tmp_path, signed, variables)
    update = house.auth("dbx", "kek", "--append", image=hello)
    program = house.signed(setvar(tmp_path, "dbx", update, append=True))
    assert starts(tmp_path, program, variables, "SetVariable: Success")
    assert not starts(tmp_path, signed, variables)


@pytest.mark.parametrize("how", ["--certificate", "--certificate-digest"])
def test_all_that_a_certificate_in_dbx_signed_is_refused(
    house: House, hello: Path, variables: Path, tmp_path: Path, how: str
) -> None:
    signed = house.signed(hello)
    assert starts(tmp_path, signed, variables)
    update = house.auth("dbx", "kek", "--append", certificate="release", name="signer", how=how)
    program = house.signed(setvar(tmp_path, "dbx", update, append=True))
    assert starts(tmp_path, program, variables, "SetVariable: Success")
    assert not starts(tmp_path, signed, variables)
    assert not starts(tmp_path, program, variables)


def test_db_takes_updates_that_kek_signed_and_no_others(
    house: House, hello: Path, variables: Path, tmp_path: Path
) -> None:
    foreign = house.signed(hello, house.stranger)
    options = {"certificate": "release", "of": house.stranger, "name": "more"}
    wrong = house.auth("db", "kek", "--append", home=house.stranger, **options)  # type: ignore[arg-type]
    program = house.signed(setvar(tmp_path, "db", wrong, append=True))
    assert starts(tmp_path, program, variables, "SetVariable: Security Policy Violation")
    assert not starts(tmp_path, foreign, variables)
    right = house.auth("db", "kek", "--append", **options)  # type: ignore[arg-type]
    program = house.signed(setvar(tmp_path, "db", right, append=True))
    assert starts(tmp_path, program, variables, "SetVariable: Success")
    assert starts(tmp_path, foreign, variables)


def test_an_altered_platform_key_is_not_enrolled(house: House, tmp_path: Path) -> None:
    data = bytearray((house.folder / "PK.auth").read_bytes())
    data[300] ^= 1
    altered = tmp_path / "PK.auth"
    altered.write_bytes(bytes(data))
    with pytest.raises(AssertionError, match="Failed to wri"):
        enrolled(tmp_path, altered, house.folder / "KEK.auth", house.folder / "db.auth")
