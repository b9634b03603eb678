"""Changing an authority's certificates is old or new after each crash, and the same command once more finishes it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from sealwright.cli.main import main
from sealwright.envelope.algorithms import key_digest
from sealwright.signing import authority, enrol
from sealwright.signing.home import REGISTER, KeyPurpose, open_home
from sealwright.signing.issued import read_register
from sealwright.signing.standing import StandingWatch

Say = Callable[..., tuple[int, list[dict[str, object]], str]]


class PowerCut(BaseException):
    """The machine stops here."""


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "kmod", "--home", str(home)]) == 0
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def say(home: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """A command on the home, with its exit code, lines of JSON and complaints."""

    def run(*words: str) -> tuple[int, list[dict[str, object]], str]:
        capsys.readouterr()
        code = main([*words, "--home", str(home), "--json"])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def power_cut(*_: object, **__: object) -> None:
    raise PowerCut


def current(home: Path, name: str) -> bytes:
    return next(key for key in open_home(str(home)).keys if key.name == name).certificate


def serials(home: Path) -> int:
    return len(read_register(str(home / REGISTER)).issued)


def test_every_command_on_certificates_speaks_json_with_times_in_utc(home: Path, say: Say) -> None:
    code, (renewed,), _ = say("cert", "renew", "release")
    assert code == 0
    assert str(renewed["until"]).endswith("Z")
    code, (rekeyed,), _ = say("cert", "rekey", "kmod", "--name", "kmod-2")
    assert code == 0
    assert str(rekeyed["old_signs_until"]).endswith("Z")
    for words in (["cert", "list"], ["cert", "show", "release"], ["cert", "hold", "release"], ["cert", "release", "release"],
                  ["cert", "retire", "release", "--until", "2099-01-01T00:00:00Z"], ["ca", "crl"],
                  ["cert", "revoke", "release", "--reason", "superseded"]):  # fmt: skip
        code, lines, complaint = say(*words)
        assert (code, complaint, bool(lines)) == (0, "", True), words
    code, lines, _ = say("cert", "expiring", "--within", "4000d")
    assert code == 1
    assert all(str(line["ends"]).endswith("Z") for line in lines)


@pytest.mark.parametrize("name", ["../../outside", "root", "kmod", "a/b", "Upper", ""])
def test_a_new_key_is_called_like_every_key_of_a_home(home: Path, say: Say, name: str) -> None:
    assert say("cert", "rekey", "kmod", "--name", "kmod-2")[0] == 0
    before, files = serials(home), sorted(home.parent.rglob("*.pem"))
    code, _, complaint = say("cert", "rekey", "release", "--name", name)
    assert code == 2 or code == 1
    assert "--name" in complaint
    assert serials(home) == before
    assert sorted(home.parent.rglob("*.pem")) == files


def test_a_power_cut_while_a_key_is_replaced_is_made_good_by_the_same_command(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serials(home)
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(authority, "save", power_cut)
        main(["cert", "rekey", "kmod", "--name", "kmod-2", "--home", str(home)])
    assert [key.name for key in open_home(str(home)).keys].count("kmod-2") == 0
    assert serials(home) == before + 1
    code, (told,), _ = say("cert", "rekey", "kmod", "--name", "kmod-2")
    assert code == 0
    assert serials(home) == before + 1, "the certificate of the first try is used"
    keys = {key.name: key for key in open_home(str(home)).keys}
    assert keys["kmod"].signs_until is not None
    assert str(key_digest(keys["kmod-2"].public_key)) == told["key"]
    assert (home / "trust.d" / "kmod-2.pem").exists()


def test_a_key_of_that_name_that_is_somebody_elses_is_not_taken_for_ones_own(home: Path, say: Say) -> None:
    assert say("cert", "rekey", "kmod", "--name", "kmod-2")[0] == 0
    assert main(["key", "create", f"file:{home / 'keys' / 'stranger.pem'}", "--algorithm", "p256"]) == 0
    before = serials(home)
    code, _, complaint = say("cert", "rekey", "release", "--name", "stranger")
    assert code != 0
    assert "stranger.pem" in complaint
    assert serials(home) == before


def test_a_power_cut_while_a_key_is_enrolled_is_made_good_by_the_same_command(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = serials(home)
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(enrol, "record", power_cut)
        main(["key", "enrol", "fit", "--home", str(home)])
    assert serials(home) == before + 1
    assert say("key", "enrol", "ima", "--name", "fit")[0] == 1, "its certificate says another construction"
    assert say("key", "enrol", "fit")[0] == 0
    assert serials(home) == before + 1


def test_a_key_left_without_a_certificate_is_named_with_what_to_do(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(enrol, "certify", power_cut)
        main(["key", "enrol", "fit", "--home", str(home)])
    code, _, complaint = say("key", "enrol", "fit")
    assert code == 1
    assert "delete it" in complaint
    (home / "keys" / "fit.pem").unlink()
    assert say("key", "enrol", "fit")[0] == 0


def test_a_power_cut_while_a_certificate_is_renewed_is_made_good_by_the_same_command(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, before = current(home, "release"), serials(home)
    with monkeypatch.context() as cut, pytest.raises(PowerCut):
        cut.setattr(authority, "save", power_cut)
        main(["cert", "renew", "release", "--home", str(home)])
    assert current(home, "release") == old
    assert serials(home) == before + 1
    assert say("cert", "renew", "release")[0] == 0
    assert current(home, "release") != old
    assert serials(home) == before + 1
    assert say("cert", "renew", "release")[0] == 0, "and a next one is a new one"
    assert serials(home) == before + 2


def doctor(say: Say, home: Path, name: str) -> dict[str, object]:
    _, lines, _ = say("doctor")
    return next(line for line in lines if line["check"] == name)


def test_a_revoked_authority_issues_nothing_and_makes_its_lists_all_the_same(home: Path, say: Say) -> None:
    assert say("key", "enrol", "fit")[0] == 0
    assert say("cert", "revoke", "intermediate", "--reason", "cACompromise")[0] == 0
    code, _, complaint = say("key", "enrol", "ima")
    assert code == 1
    assert "signing CA" in complaint
    assert "was revoked" in complaint
    code, _, complaint = say("cert", "renew", "release")
    assert code == 1
    assert "was revoked" in complaint
    assert say("ca", "crl")[0] == 0


def test_a_revoked_timestamp_key_stamps_nothing_here(home: Path, say: Say) -> None:
    first, second = home.parent / "first.bin", home.parent / "second.bin"
    for path in (first, second):
        path.write_bytes(b"firmware")
    assert say("sign", str(first))[0] == 0
    assert say("cert", "revoke", "timestamp", "--reason", "keyCompromise")[0] == 0
    code, _, complaint = say("sign", str(second))
    assert code == 1
    assert "key timestamp" in complaint
    assert not second.with_name("second.bin.p7s").exists()


@pytest.mark.parametrize(("service", "key"), [("tsa", "timestamp"), ("ocsp", "ocsp")])
def test_no_service_starts_with_a_revoked_key(home: Path, say: Say, service: str, key: str) -> None:
    assert say("key", "enrol", "ocsp")[0] == 0
    assert say("cert", "revoke", key, "--reason", "keyCompromise")[0] == 0
    options = ("--time-source", "none") if service == "tsa" else ()
    code, _, complaint = say("serve", service, "--listen", f"unix:{home.parent}/socket", *options)
    assert code == 1
    assert "its certificate was revoked" in complaint


def test_a_running_service_notices_that_its_own_key_is_revoked(home: Path, say: Say) -> None:
    now = datetime.now(UTC)
    watch = StandingWatch(open_home(str(home)), open_home(str(home)).key("timestamp", KeyPurpose.TIMESTAMP))
    assert watch.problem(now) == ""
    whole = (home / REGISTER / "journal.jsonl").read_bytes()
    assert say("cert", "revoke", "timestamp", "--reason", "keyCompromise")[0] == 0
    assert "keyCompromise" in watch.problem(now)
    (home / REGISTER / "journal.jsonl").write_bytes(whole)
    assert "forgotten" in watch.problem(now), "an older register does not bring it back"
    (home / REGISTER / "journal.jsonl").write_bytes(b"rubbish\n")
    assert "cannot be read" in watch.problem(now)


def test_a_key_on_hold_is_used_again_when_it_is_released(home: Path, say: Say) -> None:
    watch = StandingWatch(open_home(str(home)), open_home(str(home)).key("timestamp", KeyPurpose.TIMESTAMP))
    assert say("cert", "hold", "timestamp")[0] == 0
    assert "certificateHold" in watch.problem(datetime.now(UTC))
    assert say("cert", "release", "timestamp")[0] == 0
    assert watch.problem(datetime.now(UTC)) == ""


def test_doctor_tells_of_revoked_keys_and_of_a_revocation_that_is_on_no_list(home: Path, say: Say) -> None:
    assert doctor(say, home, "key release")["standing"] == "ok"
    assert doctor(say, home, "register")["standing"] == "ok"
    assert say("cert", "revoke", "release", "--reason", "keyCompromise", "--no-list")[0] == 0
    assert "keyCompromise" in str(doctor(say, home, "key release")["found"])
    told = doctor(say, home, "register")
    assert told["standing"] == "wrong"
    assert "ca crl" in str(told["fix"])
    assert say("ca", "crl", "--authority", "intermediate")[0] == 0
    assert doctor(say, home, "register")["standing"] == "ok"


def test_a_revoked_key_is_a_thing_to_do_until_another_one_serves(home: Path, say: Say) -> None:
    def sheet() -> tuple[int, dict[str, object]]:
        code, rows, _ = say("key", "report", "--offline")
        return code, next(row for row in rows if row["name"] == "release")

    code, row = sheet()
    assert (code, row["level"]) == (0, "fine")
    assert say("cert", "revoke", "release", "--reason", "keyCompromise")[0] == 0
    code, row = sheet()
    assert (code, row["level"]) == (1, "attention")
    assert "was revoked" in str(row["problems"])
    assert doctor(say, home, "key release")["standing"] == "wrong"
    assert say("key", "enrol", "file", "--name", "release-2")[0] == 0
    code, row = sheet()
    assert (code, row["level"]) == (0, "fine")
    assert "was revoked" in str(row["problems"])
    assert doctor(say, home, "key release")["standing"] == "ok"
    assert say("cert", "revoke", "release", "--reason", "keyCompromise")[0] == 2, "once for ever"


def test_doctor_tells_of_a_damaged_register(home: Path, say: Say) -> None:
    assert doctor(say, home, "register")["standing"] == "ok"
    path = home / REGISTER / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"issued"', b'"ISSUED"', 1))
    assert doctor(say, home, "register")["standing"] == "wrong"


def test_doctor_tells_of_a_change_of_keys_that_was_broken_off(
    home: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["rekey", "kmod", "--name", "kmod-2"], ["renew", "release"]):
        assert doctor(say, home, f"key {words[1]}")["standing"] == "ok"
        with monkeypatch.context() as cut, pytest.raises(PowerCut):
            cut.setattr(authority, "save", power_cut)
            main(["cert", *words, "--home", str(home)])
        assert "the same command" in str(doctor(say, home, f"key {words[1]}")["fix"])
        assert say("cert", *words)[0] == 0
        assert doctor(say, home, f"key {words[1]}")["standing"] == "ok"


def test_half_a_line_in_the_register_stops_nobody_who_only_reads_and_the_next_command_sets_it_aside(
    home: Path, say: Say
) -> None:
    path, artifact = home / REGISTER / "journal.jsonl", home.parent / "drive.bin"
    artifact.write_bytes(b"firmware")
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:40])
    told = doctor(say, home, "register")
    assert told["standing"] == "missing"
    assert "torn" in str(told["found"])
    assert say("sign", str(artifact))[0] == 0
    assert say("cert", "list")[0] == 0
    assert say("ca", "crl")[0] == 0
    assert doctor(say, home, "register")["standing"] == "ok"
    path.write_bytes(whole.replace(b"timestamp-authority", b"timestamp-Authority") + b"half")
    assert say("cert", "list")[0] == 1, "what is not whole before that is damage"


def test_a_key_that_signs_artifacts_gets_no_authority_certificate(home: Path, say: Say) -> None:
    key, request = home.parent / "line.key", home.parent / "line.csr"
    make = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run([*make, "-keyout", key, "-subj", "/CN=line 1", "-out", request], check=True, capture_output=True)
    issue = ("cert", "issue", str(request), "--provenance", "development", "--out")
    assert say(*issue, str(home.parent / "line.pem"), "--profile", "code-signer")[0] == 0
    for profile in ("root", "intermediate"):
        code, _, complaint = say(*issue, str(home.parent / "ca.pem"), "--profile", profile)
        assert code == 1
        assert "one owner and one purpose" in complaint


def test_a_key_that_another_pki_certified_gets_its_next_certificate_under_the_same_name(
    home: Path, say: Say, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service, key = tmp_path / "service", f"file:{tmp_path / 'ocsp.key'}"
    shutil.copytree(home, service)
    assert main(["key", "create", key, "--algorithm", "p256"]) == 0
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    capsys.readouterr()
    assert main(["key", "csr", key, "--subject", "CN=Plant OCSP"]) == 0
    (tmp_path / "ocsp.csr").write_text(capsys.readouterr().out)
    issue = ("cert", "issue", str(tmp_path / "ocsp.csr"), "--profile", "ocsp-responder", "--provenance", "development")
    assert say(*issue, "--days", "30", "--out", str(first))[0] == 0
    take = ["--home", str(service), "--name", "plant", "--key", key]
    assert main(["key", "import-certificate", str(first), *take, "--purpose", "ocsp"]) == 0
    assert main(["key", "import-certificate", str(first), *take, "--purpose", "ocsp"]) == 2, "it has that one"
    assert say("cert", "renew", "Plant OCSP", "--days", "60", "--out", str(second))[0] == 0
    assert main(["key", "import-certificate", str(second), *take]) == 2, "the name is taken for another purpose"
    assert main(["key", "import-certificate", str(second), *take, "--purpose", "ocsp"]) == 0
    assert x509.load_der_x509_certificate(current(service, "plant")) == x509.load_pem_x509_certificate(
        second.read_bytes()
    )
    assert main(["key", "import-certificate", str(first), *take, "--purpose", "ocsp"]) == 2, "never back"
    assert [one.name for one in open_home(str(service)).keys].count("plant") == 1
