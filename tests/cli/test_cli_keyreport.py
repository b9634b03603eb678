"""`key report`: declared and checked side by side, and never a guess."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.pki import NOW
from kit.tokens import PIN, another_token, softhsm, tpm
from sealwright.cli.main import main
from sealwright.keys.file import generate
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.signing.home import open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.keyreport import COLUMNS, NOT_CHECKED, Check, KeyRow, csv_text, html, markdown, report


@pytest.fixture
def pin_file(tmp_path: Path) -> str:
    path = tmp_path / "pin"
    path.write_text(PIN)
    path.chmod(0o600)
    return str(path)


def objects(said: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in map(json.loads, said.splitlines())}


def test_a_token_is_asked_now_and_offline_it_is_not_guessed(
    tmp_path: Path, pin_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    softhsm()
    token, home = another_token(), str(tmp_path / "home")
    init_home(home, InitOptions(NOW, "Line", "ACME", token, pin=Pin(PIN)))
    key = generate(KeyKind.P256).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "k.pem").write_bytes(key)
    take = ["key", "import", str(tmp_path / "k.pem"), "--home", home, "--name", "boot", "--pin-file", pin_file]
    assert main([*take, "--copies", "tape 7, until 2020-01-01", "--person", "eva"]) == 0
    artifact = tmp_path / "drive.bin"
    artifact.write_bytes(b"firmware")
    assert main(["sign", str(artifact), "--home", home, "--key", "boot", "--pin-file", pin_file]) == 0
    capsys.readouterr()
    assert main(["key", "report", "--home", home, "--pin-file", pin_file, "--json"]) == 1, (
        "a copy has outlived its date"
    )
    rows = objects(capsys.readouterr().out)
    assert list(rows["boot"]) == [*COLUMNS, "level"]
    assert (rows["release"]["declared"], rows["release"]["checked"]) == ("hardware-claimed", "hardware-claimed")
    assert "CKA_EXTRACTABLE=false" in rows["release"]["checked_how"]
    boot = rows["boot"]
    assert (boot["declared"], boot["checked"]) == ("hardware-imported", "hardware-imported")
    assert (boot["signatures"], boot["last_use"][:4].isdigit()) == (1, True)
    assert "eva" in boot["origin"]
    assert boot["copies"] == "tape 7, until 2020-01-01"
    assert "a copy is still outstanding" in boot["problems"]
    assert {name for name, row in rows.items() if row["level"] == "attention"} == {"boot"}
    assert pin_file in boot["may_use"]
    for part in Path(home, "journal").rglob("*"):
        assert not part.is_file() or b"tape 7" not in part.read_bytes()
    assert (
        main(
            ["key", "destroyed", "boot", "--home", home, "--copy", "tape 7, until 2020-01-01", "--person", "Eva Huber"]
        )
        == 2
    )
    assert main(["key", "destroyed", "boot", "--home", home, "--copy", "tape 8", "--person", "eva"]) == 2
    gone_by = ["--copy", "tape 7, until 2020-01-01", "--how", "burnt", "--person", "eva"]
    assert main(["key", "destroyed", "boot", "--home", home, *gone_by]) == 0
    capsys.readouterr()
    assert main(["key", "report", "--home", home, "--offline", "--json"]) == 0
    offline = objects(capsys.readouterr().out)
    assert offline["boot"]["copies"] == ""
    assert offline["boot"]["destroyed"].startswith("tape 7, until 2020-01-01 (")
    assert offline["boot"]["destroyed"].endswith(" burnt)")
    assert {row["checked"] for row in offline.values()} == {NOT_CHECKED}
    assert offline["boot"]["declared"] == "hardware-imported"
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "none.conf"))
    assert main(["key", "report", "--home", home, "--pin-file", pin_file, "--json"]) == 1
    gone = objects(capsys.readouterr().out)
    assert {row["checked"] for row in gone.values()} == {NOT_CHECKED}
    assert all("could not be checked" in row["problems"] for row in gone.values())


def test_a_key_that_is_not_what_was_declared_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    init_home(str(home), InitOptions(NOW, "Line", "ACME"))
    assert main(["key", "report", "--home", str(home)]) == 0
    text = (home / "home.toml").read_text()
    (home / "home.toml").write_text(text.replace('"development"', '"hardware-claimed"', 1))
    capsys.readouterr()
    assert main(["key", "report", "--home", str(home), "--json"]) == 1
    row = objects(capsys.readouterr().out)["root"]
    assert (row["declared"], row["checked"]) == ("hardware-claimed", "development")
    assert "declared hardware-claimed, but now it is development" in row["problems"]
    (home / "keys" / "release.pem").chmod(0o644)
    assert main(["key", "report", "--home", str(home), "--json"]) == 1
    row = objects(capsys.readouterr().out)["release"]
    assert row["checked"] == NOT_CHECKED
    assert "others by its mode" in row["may_use"]


def test_the_files_for_the_auditor_hold_every_column_and_no_foreign_markup(tmp_path: Path) -> None:
    home = tmp_path / "home"
    init_home(str(home), InitOptions(NOW, "<b>Line|1</b>", "ACME"))
    for ending in ("html", "md", "csv"):
        out = str(tmp_path / f"keys.{ending}")
        assert main(["key", "report", "--home", str(home), "--offline", "--out", out]) == 0
        assert main(["key", "report", "--home", str(home), "--offline", "--out", out]) == 1
        assert main(["key", "report", "--home", str(home), "--offline", "--out", out, "--replace"]) == 0
    page = (tmp_path / "keys.html").read_text()
    assert "<b>" not in page
    assert "Protection checked now" in page
    assert "<b>" not in (tmp_path / "keys.md").read_text()
    table = list(csv.DictReader((tmp_path / "keys.csv").open(newline="")))
    assert [row["name"] for row in table] == ["root", "intermediate", "release", "timestamp", "officer", "recovery"]
    assert main(["key", "report", "--home", str(home), "--out", str(tmp_path / "keys.doc")]) == 2


def test_a_spreadsheet_takes_no_text_for_a_formula() -> None:
    row = KeyRow(**dict.fromkeys(COLUMNS, "=cmd|x"))  # type: ignore[arg-type]
    (read,) = list(csv.DictReader(io.StringIO(csv_text([row]))))
    assert set(read.values()) == {"'=cmd|x"}
    assert "=cmd\\|x" in markdown("t", [row], NOW)
    assert "=cmd|x" in html("t", [row], NOW)


def test_rotation_is_due_before_the_certificate_ends(tmp_path: Path) -> None:
    init_home(str(tmp_path / "home"), InitOptions(NOW, "Line", "ACME"))
    home = open_home(str(tmp_path / "home"))
    for days, words in ((0, ""), (430, "rotation is due"), (500, "its certificate ended")):
        row = next(one for one in report(home, NOW + timedelta(days=days), None) if one.name == "release")
        assert words in row.problems
        assert ("rotation" in row.problems or "ended" in row.problems) is bool(words)


def test_a_key_in_a_tpm_is_asked_too(tmp_path: Path) -> None:
    tpm()
    (tmp_path / "tpm").mkdir()
    init_home(str(tmp_path / "home"), InitOptions(NOW, "Line", "ACME", f"tpm:{tmp_path / 'tpm'}"))
    rows = report(open_home(str(tmp_path / "home")), NOW, Check(lambda _: None))
    assert {(row.declared, row.checked) for row in rows} == {("hardware-claimed", "hardware-claimed")}
    assert all(".auth" in row.may_use for row in rows)


def test_a161_a_wrong_pin_is_tried_once_for_all_the_keys_of_a_token(tmp_path: Path) -> None:
    softhsm()
    home = str(tmp_path / "home")
    init_home(home, InitOptions(NOW, "Line", "ACME", another_token(), pin=Pin(PIN)))
    asked: list[str] = []

    def wrong(uri: str) -> Pin:
        asked.append(uri)
        return Pin("000000")

    rows = report(open_home(home), NOW, Check(wrong))
    assert len(asked) == 1
    assert all("tried once" in row.problems for row in rows)
    good = report(open_home(home), NOW, Check(lambda _: Pin(PIN)))
    assert {row.checked for row in good} == {"hardware-claimed"}
