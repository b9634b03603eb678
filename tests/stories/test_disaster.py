"""The disaster drill (docs/disaster.md): a burnt server, a lost token, a lost officer; verdicts before and after.

SoftHSM tokens stand for the hardware; OpenSSL says the same as we wherever it can.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.network import fingerprint
from kit.openssl import cms_verify, run
from sealwright.cli.main import main

Type = Callable[..., str]
PIN = "739164"
TRUSTED, REJECTED = "trusted", "rejected"


@pytest.fixture
def type_(capfd: pytest.CaptureFixture[str]) -> Type:
    """Type one command, as the page has it: what it printed. code: how it must end."""

    def call(*arguments: str | Path, code: int = 0) -> str:
        ended = main([str(argument) for argument in arguments])
        shown = capfd.readouterr()
        assert ended == code, shown.out + shown.err
        return shown.out + shown.err

    return call


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tokens, for the authority, for signing, and the second one in the safe; a home with a key in each and one for backups."""
    folder = tmp_path_factory.mktemp("disaster")
    pin, home = folder / "pin.txt", folder / "ca"
    pin.write_text(PIN + "\n")
    pin.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        at_tokens(folder, patch)
        for label in ("authority", "first", "second"):
            make = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "99999999"]
            subprocess.run(make, check=True, capture_output=True)
        made = ["--pin-file", str(pin)]
        assert main(["init", str(home), "--title", "works", "--token", "pkcs11:token=authority", *made]) == 0
        for token in ("first", "second"):
            key = f"pkcs11:token={token};object=line-{token}"
            assert main(["key", "create", key, "--algorithm", "p256", *made]) == 0
            named = ["--home", str(home), "--name", f"line-{token}", "--key", key]
            assert main(["key", "import-certificate", "--own-authority", *named, *made]) == 0
        assert main(["key", "enrol", "backup", "--home", str(home), *made]) == 0
    return folder


def at_tokens(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Point SoftHSM at the tokens of a folder."""
    (folder / "tokens").mkdir(exist_ok=True)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))


@pytest.fixture
def tokens(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tokens and the home for one test; the file with their PIN."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    at_tokens(tmp_path, monkeypatch)
    return tmp_path / "pin.txt"


def lose(token: str) -> None:
    """It is gone."""
    subprocess.run(["softhsm2-util", "--delete-token", "--token", token], check=True, capture_output=True)


@pytest.fixture
def house(type_: Type, tokens: Path, tmp_path: Path) -> Path:
    """The home, and a plant that was given its trust file."""
    home, plant = tmp_path / "ca", tmp_path / "plant"
    plant.mkdir()
    shutil.copy(home / "ca.pem", plant / "ca.pem")
    type_("trust", "install", home / "trust.toml", "--to", plant, *fingerprint(home / "trust.toml"))
    assert tokens.exists()
    return home


def signed(type_: Type, home: Path, name: str, key: str, pin: Path) -> Path:
    path = home.parent / name
    path.write_bytes(name.encode())
    type_("sign", path, "--home", home, "--key", key, "--pin-file", pin)
    return path


def judged(capfd: pytest.CaptureFixture[str], path: Path) -> str:
    """What the plant says of a file."""
    main(["verify", str(path), "--trust", str(path.parent / "plant" / "trust.toml"), "--json"])
    return str(json.loads(capfd.readouterr().out)["outcome"])


def test_a_burnt_server(
    type_: Type, house: Path, tokens: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stick, new = tmp_path / "ca.tar", tmp_path / "new"
    before = signed(type_, house, "before.bin", "line-first", tokens)
    type_("ca", "crl", "--home", house, "--pin-file", tokens)
    type_("home", "backup", "--home", house, "--out", stick, "--pin-file", tokens)
    type_("home", "backup", "--check", stick, "--ca", tmp_path / "plant" / "ca.pem")
    between = signed(type_, house, "between.bin", "line-first", tokens)
    type_("ca", "crl", "--home", house, "--pin-file", tokens)
    paper = tmp_path / "paper.txt"
    paper.write_text(type_("home", "checkpoint", "--home", house))
    copy = shutil.copy(house / "journal" / "journal.jsonl", tmp_path / "journal-copy.jsonl")
    shutil.rmtree(house)

    # restored, and locked: the keys are in their tokens, and sign nothing
    type_("home", "restore", stick, "--to", new, "--ca", tmp_path / "plant" / "ca.pem")
    after = tmp_path / "after.bin"
    after.write_bytes(b"after.bin")
    said = type_("sign", after, "--home", new, "--key", "line-first", "--pin-file", tokens, code=1)
    assert "home unlock" in said
    assert "WRONG    restored" in type_("doctor", "--home", new, code=1)
    assert not Path(f"{after}.p7s").exists()

    # the paper is newer; the journal's copy helps, the register's is gone: the officers say so
    assert "newer than the backup" in type_("home", "unlock", "--home", new, "--checkpoint", paper, code=1)
    assert "register are missing" in type_(
        "home", "unlock", "--home", new, "--checkpoint", paper, "--entries", copy, code=1
    )
    loss = tmp_path / "loss.toml"
    type_("home", "loss", "--home", new, "--out", loss, "--reason", "server burnt on 3 May", "--checkpoint", paper)
    assert "at least to entry" in loss.read_text()
    type_("home", "loss", "--sign", loss, "--home", new, "--person", "officer", "--pin-file", tokens)
    assert "at least 2 persons" in type_("home", "unlock", "--home", new, "--loss", loss, code=1)
    type_("home", "loss", "--sign", loss, "--home", new, "--person", "recovery", "--pin-file", tokens)
    assert cms_verify(Path(f"{loss}.officer.p7s"), loss, new / "certificates" / "officer.pem")[0]
    type_("home", "unlock", "--home", new, "--loss", loss)

    type_("sign", after, "--home", new, "--key", "line-first", "--pin-file", tokens)
    assert [judged(capfd, path) for path in (before, between, after)] == [TRUSTED] * 3
    assert all(
        cms_verify(Path(f"{path}.p7s"), path, tmp_path / "plant" / "ca.pem")[0] for path in (before, between, after)
    )
    assert "NOT KNOWN" in type_("cert", "list", "--home", new)
    assert "NOT CONTAINED" in type_("home", "checkpoint", "--home", new, "--check", paper, code=1)
    # no list has a number that one in the gap may have had, and a plant that saw that one takes the new
    type_("ca", "crl", "--home", new, "--pin-file", tokens)
    ok, number = run(
        ["openssl", "crl", "-inform", "DER", "-in", new / "trust.d" / "intermediate.crl", "-noout", "-crlnumber"]
    )
    assert ok
    assert int(number.split("=")[1], 16) == 1002


@pytest.mark.parametrize(("reason", "old"), [("keyCompromise", REJECTED), ("cessationOfOperation", TRUSTED)])
def test_a_lost_token(
    type_: Type, house: Path, tokens: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], reason: str, old: str
) -> None:
    first = signed(type_, house, "first.bin", "line-first", tokens)
    assert judged(capfd, first) == TRUSTED
    lose("first")
    stolen = tmp_path / "next.bin"
    stolen.write_bytes(b"next.bin")
    type_("sign", stolen, "--home", house, "--key", "line-first", "--pin-file", tokens, code=1)
    second = signed(type_, house, "second.bin", "line-second", tokens)  # at once: nothing is to be set up
    assert [judged(capfd, path) for path in (first, second)] == [TRUSTED, TRUSTED]

    time.sleep(max(0.0, first.stat().st_mtime + 3 - time.time()))  # a token's time is known to a second
    type_("cert", "revoke", "line-first", "--home", house, "--reason", reason, "--pin-file", tokens)
    bundle, plant = tmp_path / "revocations.zip", tmp_path / "plant"
    type_("trust", "bundle", house / "trust.toml", "--out", bundle)
    type_("trust", "install", bundle, "--to", plant)
    assert [judged(capfd, path) for path in (first, second)] == [old, TRUSTED]
    crl = tmp_path / "crl.pem"
    made = x509.load_der_x509_crl((house / "trust.d" / "intermediate.crl").read_bytes())
    crl.write_bytes(made.public_bytes(Encoding.PEM))
    for name, good in (("line-first", False), ("line-second", True)):
        chain = house / "certificates" / f"{name}.pem"
        accepted, said = run(["openssl", "verify", "-CAfile", house / "ca.pem", "-crl_check", "-CRLfile", crl,
                              "-untrusted", chain, chain])  # fmt: skip
        assert accepted is good, said


def officers(type_: Type, folder: Path) -> dict[str, Path]:
    """Four persons with a home each, and the public half of their key."""
    for person in ("eva", "jan", "mia", "safe", "ute"):
        type_("init", folder / person)
        shutil.copy(folder / person / "certificates" / "officer.pem", folder / f"{person}.pem")
    return {person: folder / person for person in ("eva", "jan", "mia", "safe", "ute")}


def test_officers_with_keys_of_their_own_record_a_loss(type_: Type, tmp_path: Path) -> None:
    homes = officers(type_, tmp_path)
    home, desk, stick = tmp_path / "ca", tmp_path / "desk" / "trust.toml", tmp_path / "ca.tar"
    desk.parent.mkdir()
    type_("init", home)
    named = [word for who in ("eva", "jan", "mia") for word in ("--officer", f"{who}={tmp_path / who}.pem")]
    type_("trust", "new", desk, *named, "--threshold", "2", "--recovery", f"safe={tmp_path / 'safe'}.pem",
          "--organisation", "works")  # fmt: skip
    (home / "trust.toml").unlink()
    (home / "trust.toml.officer.p7s").unlink()
    shutil.copy(desk, home / "trust.toml")
    type_("key", "enrol", "backup", "--home", home)

    def attempt(*who: str, code: int = 0) -> str:
        stick.unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
        type_("home", "backup", "--home", home, "--out", stick)
        type_("home", "restore", stick, "--to", tmp_path / "new", "--ca", home / "ca.pem")
        for old in tmp_path.glob("loss.toml*"):
            old.unlink()
        type_("home", "loss", "--home", tmp_path / "new", "--out", tmp_path / "loss.toml", "--reason", "burnt")
        for person in who:
            type_("home", "loss", "--sign", tmp_path / "loss.toml", "--home", homes[person], "--person", person)
        return type_("home", "unlock", "--home", tmp_path / "new", "--loss", tmp_path / "loss.toml", code=code)

    assert "its officers did not sign it" in attempt("eva", "jan", code=1)
    for who in ("eva", "jan"):
        type_("trust", "sign", home / "trust.toml", "--home", homes[who], "--person", who)
    assert "signed has eva" in attempt("eva", code=1)
    assert "signed has eva, safe" in attempt("eva", "safe", code=1)  # the threshold is of officers
    assert "signed has eva" in attempt("eva", "ute", code=1)  # nobody knows ute
    attempt("jan", "mia")


def test_a_lost_officer_and_two_of_three_lost(type_: Type, tmp_path: Path) -> None:
    homes = officers(type_, tmp_path)
    trust, plant = tmp_path / "desk" / "trust.toml", tmp_path / "plant"
    trust.parent.mkdir()
    plant.mkdir()
    named = [word for who in ("eva", "jan", "mia") for word in ("--officer", f"{who}={tmp_path / who}.pem")]
    type_("trust", "new", trust, *named, "--threshold", "2", "--recovery", f"safe={tmp_path / 'safe'}.pem",
          "--organisation", "works")  # fmt: skip
    for who in ("eva", "jan"):
        type_("trust", "sign", trust, "--home", homes[who], "--person", who)
    type_("trust", "install", trust, "--to", plant, *fingerprint(trust))

    # mia is gone with her token: the two others sign a version without her
    type_("trust", "new", "--next", trust)
    type_("trust", "remove", trust, "officer", "mia")
    type_("trust", "sign", trust, "--home", homes["eva"], "--person", "eva")
    type_("trust", "install", trust, "--to", plant, code=1)  # one of two is not enough
    type_("trust", "sign", trust, "--home", homes["jan"], "--person", "jan")
    type_("trust", "install", trust, "--to", plant)
    assert "version = 2" in (plant / "trust.toml").read_text()

    # eva and jan are lost too: the sealed key replaces them, and no plant is visited
    type_("trust", "new", "--next", trust)
    type_("trust", "add", trust, "person", "ute", "--organisation", "works")
    type_("trust", "add", trust, "officer", "ute", "--key", tmp_path / "ute.pem")
    type_("trust", "remove", trust, "officer", "eva", "--threshold", "1")
    type_("trust", "remove", trust, "officer", "jan", "--threshold", "1")
    type_("trust", "sign", trust, "--home", homes["ute"], "--person", "ute")
    type_("trust", "install", trust, "--to", plant, code=1)  # whoever is new cannot appoint themselves
    type_("trust", "sign", trust, "--home", homes["safe"], "--person", "safe")
    type_("trust", "install", trust, "--to", plant)
    assert "version = 3" in (plant / "trust.toml").read_text()
    assert cms_verify(plant / "trust.toml.safe.p7s", plant / "trust.toml", tmp_path / "safe.pem")[0]
