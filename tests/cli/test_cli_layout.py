"""Layouts from the command line: check, sign, verify, inspect, strip, and the commands that check an image by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from kit.layouts import DRIVE, METER, PLC, drive_image, meter_image, plc_image
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main

Printed = pytest.CaptureFixture[str]
IMAGES = {"acme-drive": (DRIVE, drive_image()), "nordic-plc": (PLC, plc_image()), "zeta-meter": (METER, meter_image())}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with keys for layouts, whose trust file names two of them."""
    home = tmp_path_factory.mktemp("layouts") / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "layout", "--home", str(home)]) == 0
    assert main(["key", "enrol", "layout", "--home", str(home), "--name", "rsa", "--algorithm", "rsa3072"]) == 0
    trust = home / "trust.toml"
    text = trust.read_text()
    for name in ("acme-drive", "zeta-meter"):
        layout = IMAGES[name][0]
        text += f'\n[[layout]]\nname = "{name}"\ndigest = "{Digest.of(layout.encode())}"\n'
        (home / "trust.d" / f"{name}.layout").write_text(layout)
    trust.write_text(text)
    for signature in home.glob("trust.toml.*.p7s"):
        signature.unlink()
    assert main(["trust", "sign", str(trust), "--home", str(home), "--person", "officer"]) == 0
    return home


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """A layout and an unsigned image of it."""
    text, data = IMAGES[name]
    layout, image = folder / f"{name}.layout", folder / "plain.bin"
    layout.write_text(text)
    image.write_bytes(data)
    return layout, image


def signed(folder: Path, home: Path, name: str, *options: str) -> Path:
    layout, image = made(folder, name)
    out = folder / "signed.bin"
    words = ["sign", str(image), "--home", str(home), "--layout", str(layout), "--out", str(out), *options]
    assert main(words) == 0
    return out


def test_an_image_is_signed_verified_inspected_and_stripped(tmp_path: Path, home: Path, capsys: Printed) -> None:
    out = signed(tmp_path, home, "acme-drive", "--generation", "7", "--version", "2.1.0")
    layout, trust = str(tmp_path / "acme-drive.layout"), str(home / "trust.toml")
    capsys.readouterr()
    assert main(["verify", str(out), "--trust", trust, "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["format"], verdict["claims"]["generation"]) == ("layout:acme-drive", 7)
    assert main(["inspect", str(out), "--layout", layout, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert {"name": "format", "value": "layout:acme-drive"} in facts
    assert {"name": "version", "value": "2.1.0"} in facts
    assert main(["inspect", str(out)]) == 0
    assert main(["strip", str(out), "--layout", layout, "--out", str(tmp_path / "bare.bin")]) == 0
    assert (tmp_path / "bare.bin").read_bytes()[64:128] == bytes(64)
    assert main(["verify", str(tmp_path / "bare.bin"), "--trust", trust]) == 1
    journal = (home / "journal").rglob("*")
    recorded = "".join(path.read_text() for path in journal if path.is_file())
    assert str(Digest.of(DRIVE.encode())) in recorded


def test_a_layout_the_trust_file_does_not_name_makes_no_signature(tmp_path: Path, home: Path, capsys: Printed) -> None:
    out = signed(tmp_path, home, "nordic-plc")
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 1
    assert "not signed" in capsys.readouterr().out


def test_format_and_layout_belong_together(tmp_path: Path, home: Path, capsys: Printed) -> None:
    layout, image = made(tmp_path, "acme-drive")
    words = ["sign", str(image), "--home", str(home), "--out", str(tmp_path / "out.bin")]
    assert main([*words, "--format", "layout"]) == 2
    assert main([*words, "--format", "pe", "--layout", str(layout)]) == 2
    assert "Name both, or neither" in capsys.readouterr().err
    assert main(["sign", str(image), "--home", str(home), "--layout", str(layout)]) == 2
    assert main([*words, "--format", "layout", "--layout", str(layout)]) == 0
    assert main([*words, "--layout", str(layout), "--key", "rsa"]) == 1
    assert main(["sign", str(tmp_path / "out.bin"), "--home", str(home), "--layout", str(layout),
                 "--out", str(tmp_path / "twice.bin")]) == 1  # fmt: skip
    assert "filled already" in capsys.readouterr().err
    assert not (tmp_path / "twice.bin").exists()


@pytest.mark.parametrize("name", IMAGES)
def test_the_commands_of_check_are_what_openssl_accepts(tmp_path: Path, home: Path, capsys: Printed, name: str) -> None:
    out = signed(tmp_path, home, name)
    capsys.readouterr()
    assert main(["layout", "check", str(tmp_path / f"{name}.layout"), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == name
    assert said["image"]["signed"] is True
    assert said["image"]["coverage"][-1]["end"] == out.stat().st_size
    key = home / "trust.d" / ("rsa.pem" if name == "nordic-plc" else "layout.pem")
    public = subprocess.run(
        ["openssl", "x509", "-in", str(key), "-noout", "-pubkey"], capture_output=True, check=True
    ).stdout
    (tmp_path / "public.pem").write_bytes(public)
    commands = "\n".join(["set -e -o pipefail", *said["image"]["commands"]])
    for change, expected in ((None, 0), (300, 1)):
        if change is not None:
            data = bytearray(out.read_bytes())
            data[change] ^= 1
            out.write_bytes(data)
        done = subprocess.run(["bash", "-c", commands], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == expected, done.stderr
    assert main(["layout", "check", str(tmp_path / f"{name}.layout"), str(out)]) in (0, 1)


def test_check_says_a_layout_in_words(tmp_path: Path, capsys: Printed) -> None:
    layout, image = made(tmp_path, "zeta-meter")
    assert main(["layout", "check", str(layout)]) == 0
    said = capsys.readouterr().out
    assert "from end - 16 to end: NOT COVERED: production data, written by the factory" in said
    assert f"digest {Digest.of(METER.encode())}" in said
    assert main(["layout", "check", str(layout), str(image)]) == 0
    assert "not signed: the place of the signature is empty" in capsys.readouterr().out


def test_a_name_that_would_steer_the_terminal_is_shown_as_code(tmp_path: Path, home: Path, capsys: Printed) -> None:
    out = signed(tmp_path, home, "acme-drive")
    evil = tmp_path / "a\x1b[2J'b.bin"
    evil.write_bytes(out.read_bytes())
    capsys.readouterr()
    assert main(["layout", "check", str(tmp_path / "acme-drive.layout"), str(evil)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_bad_layout_or_image_is_exit_code_1(tmp_path: Path, capsys: Printed) -> None:
    layout, image = made(tmp_path, "acme-drive")
    assert main(["layout", "check", str(layout), str(image)]) == 0
    image.write_bytes(drive_image() + b"!")
    assert main(["layout", "check", str(layout), str(image)]) == 1
    assert "its layout says" in capsys.readouterr().err
    layout.write_text(DRIVE.replace("at = 20", "at = 70"))
    assert main(["layout", "check", str(layout), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["findings" if "findings" in said.out else "error"]
    assert "inside a hashed part" in said.err
    assert main(["layout", "check", str(tmp_path / "none.layout")]) == 1


def test_trust_show_names_layouts_and_trust_check_wants_them_there(home: Path, capsys: Printed) -> None:
    beside = home / "trust.d" / "acme-drive.layout"
    assert main(["trust", "check", str(home / "trust.toml")]) == 0
    text = beside.read_text()
    beside.unlink()
    assert main(["trust", "check", str(home / "trust.toml")]) == 1
    assert "no file in trust.d has its digest" in capsys.readouterr().err
    beside.write_text(text)
    assert main(["trust", "show", str(home / "trust.toml")]) == 0
    assert f"acme-drive, described by {Digest.of(DRIVE.encode())}" in capsys.readouterr().out


@pytest.mark.parametrize("known", [True, False])
def test_an_image_that_was_signed_while_no_authority_answered_is_stamped_later(
    tmp_path: Path, home: Path, known: bool, capsys: Printed
) -> None:
    name = "acme-drive" if known else "nordic-plc"
    layout, image = made(tmp_path, name)
    out = tmp_path / "signed.bin"
    key = () if known else ("--key", "rsa")
    words = ["sign", str(image), "--home", str(home), "--layout", str(layout), "--out", str(out), *key]
    assert main([*words, "--timestamp", "http://127.0.0.1:9/", "--timestamp-later"]) == 3
    stamp = ["stamp", "--home", str(home), "--timestamp", "local"]
    if not known:
        assert main([*stamp, "--all"]) == 1, "no layout of the trust file, and none named"
        stamp += ["--layout", str(layout)]
    assert main([*stamp, "--all"]) == 0
    assert (tmp_path / "signed.bin.tsr").exists()
    capsys.readouterr()
    assert main(["stamp", "--home", str(home), "--status"]) == 0
    if known:
        assert main(["verify", str(out), "--trust", str(home / "trust.toml"), "--json"]) == 0
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert "proved" in json.dumps(told)
