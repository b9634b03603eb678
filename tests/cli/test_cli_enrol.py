"""Keys for formats: made and certified by the home, found by verifiers, and never used for anything else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from kit.boards import FIRMWARE
from kit.modules import tiny_module
from sealwright.cli.main import main
from sealwright.pki.oids import ARC


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    assert main(["init", str(home), "--organisation", "ACME"]) == 0
    return home


def sign(home: Path, form: str, *options: str) -> tuple[int, Path]:
    source = home.parent / f"plain.{form}"
    source.write_bytes(tiny_module() if form == "kmod" else FIRMWARE)
    out = home.parent / f"signed.{form}"
    return main(["sign", str(source), "--home", str(home), "--format", form, "--out", str(out), *options]), out


def verify(home: Path, path: Path, *options: str) -> int:
    return main(["verify", str(path), "--trust", str(home / "trust.toml"), *options])


@pytest.mark.parametrize(("form", "options"), [("mcuboot", ["--version", "1.2.3"]), ("kmod", [])])
def test_a_home_signs_for_devices_once_it_has_a_key_for_them(
    home: Path, form: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = sign(home, form, *options)
    assert code == 2
    assert f"sealwright key enrol {form}" in capsys.readouterr().err
    assert not out.exists()
    assert main(["key", "enrol", form, "--home", str(home)]) == 0
    assert str(home / "trust.d" / f"{form}.pem") in capsys.readouterr().out
    assert sign(home, form, *options)[0] == 0
    assert verify(home, out) == 0
    shutil.rmtree(home / "trust.d")
    capsys.readouterr()
    assert verify(home, out) == 1
    assert "it is not known who signed it" in capsys.readouterr().out


def test_the_certificate_says_what_the_key_is_for(home: Path) -> None:
    assert main(["key", "enrol", "mcuboot", "--home", str(home), "--name", "boards-2026", "--algorithm", "p384"]) == 0
    leaf, above = x509.load_pem_x509_certificates((home / "trust.d" / "boards-2026.pem").read_bytes())
    leaf.verify_directly_issued_by(above)
    policies = leaf.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert f"{ARC}.3.2" in [policy.policy_identifier.dotted_string for policy in policies]
    assert "O=ACME" in leaf.subject.rfc4514_string()
    assert sign(home, "mcuboot", "--version", "1.0.0", "--key", "boards-2026")[0] == 0
    assert verify(home, home.parent / "signed.mcuboot") == 0


def test_a_key_is_refused_for_what_it_is_not_enrolled_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "enrol", "mcuboot", "--home", str(home)]) == 0
    assert sign(home, "mcuboot", "--version", "1.0.0")[0] == 0
    (home.parent / "drive.bin").write_bytes(FIRMWARE)
    assert main(["sign", str(home.parent / "drive.bin"), "--home", str(home), "--key", "mcuboot"]) == 1
    assert "enrolled for digest:mcuboot, and a file wants cms-attributes" in capsys.readouterr().err
    assert sign(home, "mcuboot", "--version", "1.0.0", "--key", "release", "--replace")[0] == 1
    assert "enrolled for cms-attributes, and a mcuboot wants digest:mcuboot" in capsys.readouterr().err
    assert main(["sign", str(home.parent / "drive.bin"), "--home", str(home)]) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["mcuboot", "--name", "release"], "called so already"),
        (["mcuboot", "--name", "Boards!"], "not made of a-z"),
        (["mcuboot", "--algorithm", "rsa3072"], "no verifier of mcuboot reads it"),
        (["kmod", "--algorithm", "ed25519"], "no verifier of kmod reads it"),
    ],
)
def test_an_enrolment_that_cannot_serve_leaves_nothing(
    home: Path, words: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in home.rglob("*"))
    assert main(["key", "enrol", *words, "--home", str(home)]) in (1, 2)
    assert why in capsys.readouterr().err
    assert sorted(path.name for path in home.rglob("*")) == before


def test_a_certificate_of_another_pki_is_enrolled_for_a_construction(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = home.parent / "other"
    assert main(["init", str(other)]) == 0
    assert main(["key", "enrol", "mcuboot", "--home", str(other)]) == 0
    words = [
        "key",
        "import-certificate",
        str(other / "trust.d" / "mcuboot.pem"),
        "--home",
        str(home),
        "--name",
        "board",
    ]
    words += ["--key", f"file:{other / 'keys' / 'mcuboot.pem'}", "--construction", "digest:mcuboot"]
    assert main([*words, "--purpose", "trust"]) == 2
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["construction"] == "digest:mcuboot"
    assert sign(home, "mcuboot", "--version", "1.0.0")[0] == 0
    assert verify(other, home.parent / "signed.mcuboot") == 0
    # its anchor is the other house's
    assert verify(home, home.parent / "signed.mcuboot") == 1


def test_a_timestamp_for_a_bare_signature_lies_beside(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "enrol", "mcuboot", "--home", str(home)]) == 0
    code, out = sign(home, "mcuboot", "--version", "1.0.0", "--timestamp", "local")
    assert code == 0
    assert out.with_name(out.name + ".tsr").exists()
    capsys.readouterr()
    assert verify(home, out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["times"]["proved"] is not None
    out.with_name(out.name + ".tsr").unlink()
    assert verify(home, out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["times"]["proved"] is None


def test_installing_a_trust_file_brings_the_certificates_along(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "enrol", "mcuboot", "--home", str(home)]) == 0
    assert sign(home, "mcuboot", "--version", "1.0.0")[0] == 0
    assert main(["trust", "show", str(home / "trust.toml"), "--json"]) == 0
    fingerprint = json.loads(capsys.readouterr().out.splitlines()[-1])["digest"]
    state = home.parent / "state"
    words = ["trust", "install", str(home / "trust.toml"), "--to", str(state), "--trust-fingerprint", fingerprint]
    assert main(words) == 0
    assert (state / "trust.d" / "mcuboot.pem").read_bytes() == (home / "trust.d" / "mcuboot.pem").read_bytes()
    (home / "trust.d" / "mcuboot.pem").write_text("-----BEGIN CERTIFICATE-----\nbroken\n")
    assert verify(home, home.parent / "signed.mcuboot") == 1
