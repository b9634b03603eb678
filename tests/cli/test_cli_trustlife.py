"""The officer's handbook (docs/trust-life.md) lived through: first file, change, an officer leaves, a stolen key, two officers lost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.openssl import run as program
from kit.tufrepo import TufRepository
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.trust.belief import load_trust
from sealwright.trust.trustfile import parse_trust

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command that must end with an exit code; what it printed."""

    def call(*arguments: str | Path, code: int = 0) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == code, capsys.readouterr()
        shown = capsys.readouterr()
        return shown.out + shown.err

    return call


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A signing home for each person; `PERSON/certificates/officer.pem` is what they hand out."""
    folder = tmp_path_factory.mktemp("homes")
    for name in ("eva", "jan", "ute", "safe"):
        assert main(["init", str(folder / name), "--title", name]) == 0
    return {name: folder / name for name in ("eva", "jan", "ute", "safe")}


def public(home: Path, key: str = "officer") -> Path:
    return home / "certificates" / f"{key}.pem"


@pytest.fixture
def first(homes: dict[str, Path], tmp_path: Path, run: Run) -> Path:
    """A first trust file of eva and jan (both sign), signed and installed in `tmp_path/etc`."""
    desk = tmp_path / "desk"
    desk.mkdir()
    trust = desk / "trust.toml"
    keys = [f"--officer=eva={public(homes['eva'])}", f"--officer=jan={public(homes['jan'])}"]
    run("trust", "new", trust, *keys, f"--recovery=safe={public(homes['safe'], 'recovery')}", "--title", "Line 3")
    run("trust", "add", trust, "anchor", homes["eva"] / "ca.pem", "--name", "eva", "--environment", "development")
    rule = ("--environment", "development", "--anchor", "eva", "--purpose", "updatePackageSigning")
    run("trust", "add", trust, "rule", "firmware", *rule, "--fresh-for", "90d")
    assert "DO NOT USE" in run("trust", "check", trust, code=1)
    sign(run, trust, homes, "eva", "jan")
    digest = json.loads(run("trust", "show", trust, "--json"))["digest"]
    run("trust", "install", trust, "--to", tmp_path / "etc", "--trust-fingerprint", digest)
    return trust


def sign(run: Run, path: Path, homes: dict[str, Path], *persons: str) -> None:
    for person in persons:
        run("trust", "sign", path, "--home", homes[person], "--person", person)


def installed(folder: Path) -> int:
    return load_trust(str(folder / "etc/trust.toml")).trust.version


def test_a_change_is_a_version_that_is_compared_signed_and_installed(
    first: Path, homes: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    said = run("trust", "add", first, "minimum", "pump", "7", code=2)
    assert "already signed" in said
    run("trust", "new", "--next", first)
    assert "is not signed by enough of its officers yet" in run("trust", "new", "--next", first, code=1)
    run("trust", "add", first, "minimum", "pump", "7")
    said = run("trust", "diff", first.parent / "trust.history/1.toml", first)
    assert "pump must be of generation 7 or newer (it was any)" in said
    run("trust", "install", first, "--to", tmp_path / "etc", code=1)
    sign(run, first, homes, "eva")
    run("trust", "install", first, "--to", tmp_path / "etc", code=1)
    sign(run, first, homes, "jan")
    run("trust", "install", first, "--to", tmp_path / "etc", "--dry-run")
    assert installed(tmp_path) == 1
    run("trust", "install", first, "--to", tmp_path / "etc")
    assert installed(tmp_path) == 2


def test_an_officer_leaves_and_another_comes_with_the_signatures_of_both_sides(
    first: Path, homes: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    run("trust", "new", "--next", first)
    run("trust", "add", first, "person", "jan", "--until", "2026-12-01T00:00:00Z")
    run("trust", "add", first, "person", "ute", "--organisation", "Line 3", "--role", "trust officer")
    run("trust", "add", first, "officer", "ute", "--key", public(homes["ute"]))
    run("trust", "remove", first, "officer", "jan")
    said = run("trust", "diff", first.parent / "trust.history/1.toml", first)
    assert "LOOK  ute becomes an officer" in said
    assert "jan is no officer any more" in said
    sign(run, first, homes, "eva", "ute")
    assert "the officers of version 1 must sign it" in run("trust", "install", first, "--to", tmp_path / "etc", code=1)
    assert "the officers of version 1 must sign it" in run("trust", "check", first, code=1)
    assert "is not safe's key in [officers]" in run(
        "trust", "sign", first, "--home", homes["jan"], "--person", "safe", code=2
    )
    assert installed(tmp_path) == 1
    sign(run, first, homes, "jan")
    assert "can be used" in run("trust", "check", first)
    run("trust", "install", first, "--to", tmp_path / "etc")
    assert installed(tmp_path) == 2
    run("trust", "new", "--next", first)
    run("trust", "sign", first, "--home", homes["jan"], "--person", "jan", code=2)


def test_two_officers_are_lost_and_the_sealed_key_replaces_them_without_a_visit(
    first: Path, homes: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    run("trust", "new", "--next", first)
    run("trust", "add", first, "person", "ute", "--organisation", "Line 3")
    run("trust", "add", first, "officer", "ute", "--key", public(homes["ute"]), "--threshold", "1")
    run("trust", "remove", first, "officer", "eva")
    run("trust", "remove", first, "officer", "jan")
    sign(run, first, homes, "safe", "ute")
    run("trust", "install", first, "--to", tmp_path / "etc")
    assert installed(tmp_path) == 2
    assert [f.code for f in load_trust(str(tmp_path / "etc/trust.toml")).findings] == ["SW-TRUST-RECOVERED"]
    run("trust", "new", "--next", first)
    sign(run, first, homes, "ute")
    run("trust", "install", first, "--to", tmp_path / "etc")
    assert load_trust(str(tmp_path / "etc/trust.toml")).findings == ()


def test_a_stolen_key_is_tried_on_the_inventory_and_stopped_by_a_stick(
    first: Path, homes: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    plant, etc = tmp_path / "plant", tmp_path / "etc"
    plant.mkdir()
    (plant / "drive.bin").write_bytes(b"firmware")
    run("sign", plant / "drive.bin", "--home", homes["eva"])
    judged = ("verify", plant / "drive.bin", "--trust", etc / "trust.toml")
    run(*judged)
    deny = first.parent / "deny.toml"
    run("trust", "new", deny, "--for", first)
    run("trust", "add", deny, "deny", "key", public(homes["eva"], "release"), "--reason", "laptop stolen")
    said = run("trust", "diff", first, "--deny", deny, "--inventory", plant, code=1)
    assert "1 would NO LONGER be trusted" in said
    assert "drive.bin" in said
    run("trust", "bundle", first, "--out", tmp_path / "r.zip", code=1)
    sign(run, deny, homes, "jan")
    assert "already signed" in run(
        "trust", "add", deny, "deny", "artifact", "sha256:" + "1" * 64, "--reason", "x", code=2
    )
    run("trust", "bundle", first, "--out", tmp_path / "r.zip")
    assert (tmp_path / "r.zip").stat().st_size < 4096
    run("trust", "install", tmp_path / "r.zip", "--to", etc)
    assert "its signer was withdrawn" in run(*judged, code=1)
    run("trust", "new", "--next", deny)
    run("trust", "remove", deny, "deny", "1")
    release = public(homes["eva"], "release")
    run(
        "trust",
        "add",
        deny,
        "deny",
        "key",
        release,
        "--since",
        "2060-01-01T00:00:00Z",
        "--reason",
        "found again, retired",
    )
    sign(run, deny, homes, "eva")
    run("trust", "bundle", first, "--out", tmp_path / "stick")
    run("trust", "install", tmp_path / "stick", "--to", etc)
    assert "the time of this signature is not proved" in run(*judged, code=1)  # no [[authority]] stands in this file
    assert "older than the installed version 2" in run("trust", "install", tmp_path / "r.zip", "--to", etc, code=1)


def test_a_makers_own_pki_is_taken_in_as_it_comes(first: Path, tmp_path: Path, run: Run) -> None:
    run("trust", "new", "--next", first)
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out root.pem -subj /CN=Acme -days 99"
    made, said = program(["openssl", *words.split()], cwd=tmp_path)
    assert made, said
    for words in (
        "x509 -in root.pem -outform DER -out root.der",
        "crl2pkcs7 -nocrl -certfile root.pem -out root.p7b",
        "crl2pkcs7 -nocrl -certfile root.pem -outform DER -out rootd.p7b",
        "pkey -in k.pem -pubout -out public.pem",
    ):
        made, said = program(["openssl", *words.split()], cwd=tmp_path)
        assert made, said
    made, said = program(["openssl", "x509", "-in", "root.pem", "-noout", "-fingerprint", "-sha256"], cwd=tmp_path)
    fingerprint = said.strip().rpartition("=")[2].replace(":", "").lower()
    before = first.read_text()
    for name in ("root.pem", "root.der", "root.p7b", "rootd.p7b"):
        said = run("trust", "add", first, "anchor", tmp_path / name, "--name", "acme", "--environment", "production")
        assert fingerprint in said.replace(" ", "")
        run("trust", "remove", first, "anchor", "acme")
        assert first.read_text() == before
    for name in ("k.pem", "public.pem", "nothing.pem", "."):
        run(
            "trust",
            "add",
            first,
            "anchor",
            tmp_path / name,
            "--name",
            "x",
            "--environment",
            "test",
            code=2 if name in ("k.pem", "public.pem") else 1,
        )
    assert first.read_text() == before
    (tmp_path / "both.pem").write_text((tmp_path / "root.pem").read_text() + public_text(first))
    said = run("trust", "add", first, "anchor", tmp_path / "both.pem", "--name", "x", "--environment", "test", code=2)
    assert "it holds 2 certificates" in said


def public_text(trust: Path) -> str:
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", trust.read_text(), re.DOTALL)
    assert found
    return found[0]


def test_every_kind_is_added_and_taken_out_again(first: Path, homes: dict[str, Path], run: Run) -> None:
    run("trust", "new", "--next", first)
    before = first.read_text()
    root, release = homes["jan"] / "ca.pem", public(homes["jan"], "release")
    key = "sha256:" + "a" * 64
    for words, out in (
        (("anchor", root, "--name", "jan", "--environment", "test", "--public"), ("anchor", "jan")),
        (("intermediate", release), ("intermediate", "2")),
        (("certificate", release), ("certificate", "2")),
        (("authority", root, "--name", "t", "--key", key, "--last-token", "2030-01-01T00:00:00Z"), ("authority", "t")),
        (("person", "x", "--organisation", "o", "--key", release, "--certificate", release), ("person", "x")),
        (("officer", "safe", "--recovery", "--key", public(homes["ute"])), ("recovery", "2")),
        (("crl-issuer", root, "--min-number", "3", "--max-age", "install=30d", "--max-age", "run=400d"), ("crl-issuer", "1")),
        (("rule", "r", "--environment", "development", "--anchor", "eva", "--product", "p", "--format", "pe", "--count", "2"), ("rule", "r")),
        (("deny", "key", release, "--reason", "x", "--since", "2026-01-01T00:00:00Z"), ("deny", "1")),
        (("deny", "certificate", release, "--reason", "x"), ("deny", "1")),
        (("deny", "artifact", key, "--reason", "x", "--format", "pe"), ("deny", key)),
        (("deny", "serial", "0a:0b", "--issuer", root, "--reason", "x"), ("deny", "0a:0b")),
        (("deny", "product", "pump", "--below", "3", "--reason", "x"), ("deny", "pump")),
        (("evidence", release, "--provenance", "hardware-imported", "--reason", "x", "--review", "2030-01-01T00:00:00Z"), ("evidence", "1")),
    ):  # fmt: skip
        run("trust", "add", first, *words)
        assert first.read_text() != before
        parse_trust(first.read_bytes(), "x")
        run("trust", "remove", first, *out)
        while words[0] in ("intermediate", "certificate") and first.read_text().count(f"[[{words[0]}]]"):
            run("trust", "remove", first, words[0], "1")
        assert first.read_text() == before, words
    run("trust", "remove", first, "anchor", "nobody", code=2)
    run("trust", "remove", first, "anchor", "eva", code=1)
    run("trust", "add", first, "person", "nobody", code=2)
    run("trust", "add", first, "deny", "key", "sha256:xy", "--reason", "x", code=1)
    assert first.read_text() == before


def test_a_repository_is_named_by_its_first_root_and_by_no_other(first: Path, tmp_path: Path, run: Run) -> None:
    repo = TufRepository(tmp_path / "repo", datetime.now(UTC))
    repo.publish()
    root = repo.folder / "metadata" / "1.root.json"
    digest = subprocess.run(["sha256sum", root], capture_output=True, text=True, check=True).stdout.split()[0]
    run("trust", "new", "--next", first)
    before = first.read_text()
    assert "1 of 1 keys" in run("trust", "add", first, "repository", root)
    assert parse_trust(first.read_bytes(), "x").tuf_root == repo.root_digest == Digest.parse(f"sha256:{digest}")
    run("trust", "add", first, "repository", f"sha256:{digest}")

    repo.root.version = 2
    repo.write_root()
    (tmp_path / "other").write_text("{}")
    named = first.read_text()
    for wrong, why in (
        (root.with_name("2.root.json"), "root version 2"),
        (root.with_name("timestamp.json"), "no root"),
        (tmp_path / "other", "no root of a repository"),
        ("sha256:abc", "no SHA-256 digest"),
        ("sha256:" + "b" * 64, "it names another repository"),
    ):
        assert why in run("trust", "add", first, "repository", wrong, code=2), wrong
    run("trust", "remove", first, "repository", "sha256:" + "b" * 64, code=2)
    assert first.read_text() == named
    run("trust", "remove", first, "repository", f"sha256:{digest}")
    assert first.read_text() == before


def test_a_further_repository_has_a_name(first: Path, tmp_path: Path, run: Run) -> None:
    repo = TufRepository(tmp_path / "repo", datetime.now(UTC))
    repo.publish()
    root = repo.folder / "metadata" / "1.root.json"
    run("trust", "new", "--next", first)
    before = first.read_text()
    run("trust", "add", first, "repository", root, "--name", "nordhof")
    run("trust", "add", first, "repository", root, "--name", "nordhof")
    trust = parse_trust(first.read_bytes(), "x")
    assert [(one.name, one.root) for one in trust.repositories] == [("nordhof", repo.root_digest)]
    assert trust.tuf_root is None
    named = first.read_text()
    other = "sha256:" + "b" * 64
    assert "another repository" in run("trust", "add", first, "repository", other, "--name", "nordhof", code=2)
    assert "two repositories have two roots" in run("trust", "add", first, "repository", root, code=1)
    run("trust", "remove", first, "repository", other, code=2)
    assert first.read_text() == named
    run("trust", "remove", first, "repository", "nordhof")
    assert first.read_text() == before


@pytest.mark.parametrize(
    "wrong",
    [
        ["--threshold", "0"],
        ["--threshold", "3"],
        ["--recovery-threshold", "0"],
        ["--officer=eva"],
        ["--days", "0"],
        ["--days", "99999999999"],
        ["--id", " x"],
        ["--title", "a\nb"],
        ["--recovery=eva={eva}"],
        ["--officer=\N{CYRILLIC SMALL LETTER IE}va={ute}"],
        ["--officer=EVA={ute}"],
        ["--officer=ute={eva}"],
    ],
)
def test_a106_a_first_file_that_no_verifier_would_take_is_not_written(
    wrong: list[str], homes: dict[str, Path], tmp_path: Path, run: Run
) -> None:
    keys = [f"--officer=eva={public(homes['eva'])}", f"--recovery=safe={public(homes['safe'])}"]
    filled = [word.format(eva=public(homes["eva"]), ute=public(homes["ute"])) for word in wrong]
    assert main(["trust", "new", str(tmp_path / "trust.toml"), *keys, *filled]) in (1, 2)
    assert list(tmp_path.iterdir()) == []
    run("trust", "new", tmp_path / "trust.toml", *keys)
    run("trust", "new", tmp_path / "trust.toml", *keys, code=1)


def test_a_crash_while_the_next_version_begins_loses_nothing(
    first: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, signatures = first.read_bytes(), {one.name for one in first.parent.glob("*.p7s")}
    monkeypatch.setattr("sealwright.cli.trustedit._unlink", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    run("trust", "new", "--next", first, code=130)
    assert parse_trust(first.read_bytes(), "x").version == 2
    assert (first.parent / "trust.history/1.toml").read_bytes() == text
    assert {one.name for one in first.parent.glob("*.p7s")} == signatures  # they count for nobody
    monkeypatch.undo()
    run("trust", "add", first, "minimum", "pump", "1")
    shutil.rmtree(first.parent / "trust.history")


def test_an_addition_is_told_in_words_and_as_an_object_where_that_is_asked(first: Path, run: Run) -> None:
    run("trust", "new", "--next", first)
    assert run("trust", "add", first, "minimum", "drive", "7").startswith(f"{first}: changed, not signed yet")
    assert json.loads(run("trust", "add", first, "minimum", "pump", "7", "--json"))["path"] == str(first)
    assert json.loads(run("trust", "add", "--json", first, "minimum", "fan", "7"))["path"] == str(first)


def test_a_folder_in_the_place_of_the_trust_file_is_told_which_file_is_meant(first: Path, run: Run) -> None:
    folder = first.parent
    for words in (("check", folder), ("show", folder), ("diff", folder, folder), ("bundle", folder, "--out", "x.zip")):
        assert f"Write {first}" in run("trust", *words, code=1)
    assert f"Write {first}" in run("verify", first, "--trust", folder, code=1)
    assert "signed by eva, jan" in run("trust", "check", first)


def test_a_file_in_the_place_of_the_folder_to_install_to_is_told_which_folder_is_meant(
    first: Path, tmp_path: Path, run: Run
) -> None:
    for to in (tmp_path / "etc" / "trust.toml", first):
        assert f"Write --to {to.parent}" in run("trust", "install", first, "--to", to, code=2)
    assert f"Write --to {tmp_path / 'new'}" in run(
        "trust", "install", first, "--to", tmp_path / "new" / "trust.toml", code=2
    )
    assert not (tmp_path / "new").exists()
    assert "installed version 1" in run("trust", "install", first, "--to", tmp_path / "etc")
