"""A key ceremony: officers attend a plan, every step is told, the transcript holds for what was made and for nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kit.openssl import cms_verify
from kit.openssl import run as program
from kit.tokens import PIN, another_token
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import CeremonyRefused, LimitExceeded, MalformedTrust, SealwrightError
from sealwright.keys.backends import destroy_key, import_key
from sealwright.keys.file import PrivateKey
from sealwright.keys.key import Provenance
from sealwright.keys.pin import Pin
from sealwright.signing.ceremonyplan import (
    KIND,
    attend,
    attended,
    new_nonce,
    parse_plan,
    read_attendance,
    read_plan,
    statement,
)
from sealwright.signing.home import open_home
from sealwright.signing.init import signed_text
from sealwright.signing.transcript import parse_transcript
from sealwright.trust.words import words

Run = Callable[..., str]
OFFICERS = ("eva", "jan", "ute")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one action of the ceremony that must end with an exit code; what it printed."""

    def call(*arguments: str | Path, code: int = 0, of: tuple[str, ...] = ("ca", "ceremony")) -> str:
        capsys.readouterr()
        try:
            found = main([*of, *(str(argument) for argument in arguments)])
        except SystemExit as cause:
            found = int(str(cause.code))
        shown = capsys.readouterr()
        assert found == code, shown
        return shown.out + shown.err

    return call


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An officer's home each, and a stranger's."""
    folder = tmp_path_factory.mktemp("officers")
    for name in (*OFFICERS, "mallory"):
        assert main(["init", str(folder / name), "--title", name]) == 0
    return {name: folder / name for name in (*OFFICERS, "mallory")}


def planned(run: Run, homes: dict[str, Path], path: Path, *more: str | Path) -> Path:
    """A plan of two of the three officers."""
    officers = [f"--officer={name}={homes[name]}/certificates/officer.pem" for name in OFFICERS]
    names = ("--title", "Line 3", "--organisation", "ACME", "--root", "ACME root", "--intermediate", "ACME CA")
    run("plan", path, *names, *officers, "--threshold", "2", *more)
    return path


def begun(run: Run, plan: Path) -> str:
    return str(json.loads(run("begin", plan, "--json"))["nonce"])


def come(run: Run, homes: dict[str, Path], plan: Path, nonce: str, *persons: str) -> list[Path]:
    """The attendance of persons, made in their homes."""
    files = [plan.with_name(f"{person}.{nonce[:6]}.p7s") for person in persons]
    for person, file in zip(persons, files, strict=True):
        run("attend", plan, "--nonce", nonce, "--home", homes[person], "--person", person, "--out", file)
    return files


def start(run: Run, homes: dict[str, Path], plan: Path, home: Path, *persons: str) -> tuple[str | Path, ...]:
    """The words of a run that these persons attend, with a nonce of its own."""
    nonce = begun(run, plan)
    return ("run", plan, "--home", home, "--nonce", nonce, "--attendance", *come(run, homes, plan, nonce, *persons))


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, homes: dict[str, Path]) -> Path:
    """A ceremony that was held: `plan.txt`, and the home `ca` with its transcript, signed by eva and jan."""
    folder = tmp_path_factory.mktemp("held")

    def call(*arguments: str | Path, code: int = 0) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main(["ca", "ceremony", *(str(argument) for argument in arguments)]) == code
        return out.getvalue()

    plan = planned(call, homes, folder / "plan.txt", "--step", "timestamp")
    nonce = begun(call, plan)
    present = come(call, homes, plan, nonce, "eva", "jan")
    (folder / "shown").write_text(
        call("run", plan, "--home", folder / "ca", "--nonce", nonce, "--attendance", *present, "--yes")
    )
    for person in ("eva", "jan"):
        call("sign", folder / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    return folder


@pytest.fixture
def copy(held: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(held, tmp_path / "held")
    return tmp_path / "held"


def check(run: Run, folder: Path, *more: str | Path, code: int = 0) -> str:
    transcript = folder / "ca" / "ceremony" / "transcript.txt"
    return run("check", transcript, "--plan", folder / "plan.txt", *(more or ("--home", folder / "ca")), code=code)


def test_a_ceremony_tells_every_step_with_the_digests_of_what_it_made(held: Path, run: Run) -> None:
    shown = (held / "shown").read_text()
    transcript = parse_transcript((held / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    assert [one.step for one in transcript.made] == ["root", "intermediate", "timestamp"]
    assert re.findall(r"^Step ([0-9]) of 4", shown, re.MULTILINE) == ["1", "2", "3", "4"]
    for made in transcript.made:
        assert str(made.certificate) in shown
        assert str(made.key) in shown
    assert words(read_plan(str(held / "plan.txt")).digest) in shown
    assert words(transcript.made[0].certificate) in shown
    assert {one.person for one in transcript.present} == {"eva", "jan"}
    home = open_home(str(held / "ca"))
    assert [(key.name, Digest.of(key.certificate)) for key in home.keys] == [
        (made.step, made.certificate) for made in transcript.made
    ]
    assert "DEVELOPMENT ONLY" in transcript.made[0].subject
    assert "holds, signed by eva, jan" in check(run, held)
    assert json.loads(check(run, held, "--json"))["signed"] == ["eva", "jan"]
    assert "was not asked: add --home" in run("check", held / "ca/ceremony/transcript.txt", "--plan", held / "plan.txt")


def test_what_a_ceremony_made_verifies_with_openssl_and_so_do_the_signatures_of_its_transcript(
    held: Path, homes: dict[str, Path]
) -> None:
    ca, transcript = held / "ca", held / "ca/ceremony/transcript.txt"
    intermediate = ca / "certificates/intermediate.pem"
    stamp = ca / "certificates/timestamp.pem"
    strict: list[str | Path] = ["openssl", "verify", "-x509_strict", "-CAfile", ca / "ca.pem"]
    assert program([*strict, "-untrusted", intermediate, "-purpose", "timestampsign", stamp])[0]
    for name, by in (("root", "root"), ("intermediate", "intermediate")):
        crl: list[str | Path] = ["openssl", "crl", "-inform", "DER", "-in", ca / f"trust.d/{name}.crl", "-noout"]
        assert "verify OK" in program([*crl, "-CAfile", ca / f"certificates/{by}.pem"])[1]
    for person in ("eva", "jan"):
        signature = transcript.with_name(f"transcript.txt.{person}.p7s")
        officer = homes[person] / "certificates/officer.pem"
        assert cms_verify(signature, transcript, officer)[0]
        assert not cms_verify(signature, held / "plan.txt", officer)[0]


def test_the_home_of_a_ceremony_is_one_to_work_with(
    copy: Path, tmp_path: Path, run: Run, homes: dict[str, Path]
) -> None:
    file = tmp_path / "app.bin"
    file.write_bytes(b"firmware")
    run("enrol", "file", "--home", copy / "ca", "--name", "release", of=("key",))
    run(file, "--home", copy / "ca", of=("sign",))
    assert "not in the transcript" not in check(run, copy), "what is certified later changes nothing"
    root, old = copy / "ca/ca.pem", copy / "old.pem"
    run("cross-sign", homes["eva"] / "ca.pem", "--home", copy / "ca", "--authority", "root", "--out", old, of=("ca",))
    assert root.read_bytes() != old.read_bytes()
    assert "not in the transcript: CN=eva root" in check(run, copy), "but whoever checks is told of authorities"


def test_a_backup_has_the_record_of_the_ceremony(copy: Path, tmp_path: Path, run: Run) -> None:
    run("enrol", "backup", "--home", copy / "ca", "--name", "backup", of=("key",))
    tar, root = tmp_path / "ca.tar", copy / "ca" / "ca.pem"
    assert "ceremony" not in run("backup", "--home", copy / "ca", "--out", tar, of=("home",))
    run("restore", tar, "--to", tmp_path / "restored", "--ca", root, of=("home",))
    transcript = tmp_path / "restored" / "ceremony" / "transcript.txt"
    assert "what it names is in" in run(
        "check", transcript, "--plan", copy / "plan.txt", "--home", tmp_path / "restored"
    )


def test_too_few_officers_make_nothing_and_one_officer_counts_once(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    nonce = begun(run, plan)
    eva, jan = come(run, homes, plan, nonce, "eva", "jan")
    again = tmp_path / "again.p7s"
    run("attend", plan, "--nonce", nonce, "--home", homes["eva"], "--person", "eva", "--out", again)
    start = ("run", plan, "--home", tmp_path / "ca", "--nonce", nonce, "--yes", "--attendance")
    for files in ([eva], [eva, eva], [eva, again]):
        assert "2 officers must attend, and here is eva" in run(*start, *files, code=1)
        assert not (tmp_path / "ca").exists()
    run(*start, eva, again, jan)
    assert (tmp_path / "ca/home.toml").exists()
    assert "something is there already" in run(*start, eva, jan, code=2)


def test_a_stranger_attends_nothing(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    nonce = begun(run, plan)
    eva, jan = come(run, homes, plan, nonce, "eva", "jan")
    parsed, now = read_plan(str(plan)), datetime.now(UTC)
    attend_as = ("attend", plan, "--nonce", nonce, "--out", tmp_path / "m.p7s", "--home")
    assert "is jan's in [officers]" in run(*attend_as, homes["eva"], "--person", "jan", code=2)
    assert "is mallory's in [officers]" in run(*attend_as, homes["mallory"], "--person", "mallory", code=2)
    home = open_home(str(homes["mallory"]))
    officer = next(key for key in home.keys if key.name == "officer")
    forged = signed_text(statement(parsed, nonce), KIND, "m.p7s", home, officer, now, None)
    files = read_attendance([str(eva), str(jan)])
    assert {one.person for one in attended(parsed, nonce, files, now)} == {"eva", "jan"}
    with pytest.raises(CeremonyRefused, match="the key of no officer"):
        attended(parsed, nonce, [*files, ("m.p7s", forged)], now)


def test_attendance_is_of_one_plan_one_nonce_and_one_day(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    nonce, other = begun(run, plan), begun(run, plan)
    files = come(run, homes, plan, nonce, "eva", "jan")
    parsed, now, read = read_plan(str(plan)), datetime.now(UTC), read_attendance([str(file) for file in files])
    assert len(attended(parsed, nonce, read, now + timedelta(hours=23))) == 2
    for late in (timedelta(hours=25), timedelta(minutes=-20)):
        with pytest.raises(CeremonyRefused, match="Begin again with a new nonce"):
            attended(parsed, nonce, read, now + late)
    start = ("run", "--home", tmp_path / "ca", "--yes", "--attendance", *files, "--nonce")
    assert "no attendance of this plan and nonce" in run(*start, other, plan, code=1)
    assert "64 hexadecimal digits" in run(*start, "5eed", plan, code=2)
    changed = tmp_path / "changed.txt"
    changed.write_text(plan.read_text().replace("threshold = 2", "threshold = 1"))
    assert "no attendance of this plan and nonce" in run(*start, nonce, changed, code=1)
    assert not (tmp_path / "ca").exists()
    run(*start, nonce, plan)


def test_a_signature_of_another_kind_is_no_attendance(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = read_plan(str(planned(run, homes, tmp_path / "plan.txt")))
    home, nonce, now = open_home(str(homes["eva"])), new_nonce(), datetime.now(UTC)
    officer = next(key for key in home.keys if key.name == "officer")
    (jan,) = read_attendance([str(come(run, homes, tmp_path / "plan.txt", nonce, "jan")[0])])
    text = statement(plan, nonce)
    assert attended(plan, nonce, [jan, ("eva", signed_text(text, KIND, "eva", home, officer, now, None))], now)
    for kind in ("trust", "transcript"):
        with pytest.raises(CeremonyRefused, match="no attendance"):
            attended(plan, nonce, [jan, ("eva", signed_text(text, kind, "eva", home, officer, now, None))], now)
    release = next(key for key in home.keys if key.name == "release")
    with pytest.raises(SealwrightError, match="enrolled for artifact"):
        signed_text(text, KIND, "eva", home, release, now, None)


def test_an_officer_may_attend_by_the_key_that_approves(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    mia = tmp_path / "mia"
    shutil.copytree(homes["eva"], mia)
    run("enrol", "approval", "--home", mia, "--name", "mia", of=("key",))
    keys = ("--officer", f"mia={mia}/certificates/mia.pem", "--threshold", "1")
    run("plan", tmp_path / "plan.txt", "--title", "one", "--root", "r", "--intermediate", "i", *keys)
    nonce = new_nonce()
    plan = attend(
        str(tmp_path / "plan.txt"), nonce, open_home(str(mia)), "mia", str(tmp_path / "mia.p7s"), datetime.now(UTC)
    )
    (present,) = attended(plan, nonce, read_attendance([str(tmp_path / "mia.p7s")]), datetime.now(UTC))
    assert present.person == "mia"


def test_whoever_does_not_agree_ends_the_ceremony_and_no_home_is_left(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    asked = start(run, homes, plan, tmp_path / "ca", "eva", "ute")
    for answers, where in (("", "before the first step"), ("y\nn\n", "step 1 (root)"), ("y\ny\ny\n", "step 3 (timest")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        assert where in run(*asked, code=1)
        assert not [path for path in tmp_path.iterdir() if path.name.endswith((".tmp", "ca"))]
    assert "a ceremony was run with it already" in run(*asked, "--yes", code=1), "the root was made"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 6))
    assert "Step 5 of 5" in run(*start(run, homes, plan, tmp_path / "ca", "eva", "ute"))


def test_an_altered_transcript_is_signed_by_nobody(copy: Path, run: Run, homes: dict[str, Path]) -> None:
    transcript = copy / "ca/ceremony/transcript.txt"
    text = transcript.read_text()
    assert "holds" in check(run, copy)
    transcript.write_text(text.replace("provenance = ", "provenance =  ", 1))
    said = check(run, copy, code=1)
    assert "signed has none of them (transcript.txt.eva.p7s, transcript.txt.jan.p7s counts for nobody)" in said
    transcript.write_text(text)
    transcript.with_name("transcript.txt.jan.p7s").rename(copy / "away")
    assert "signed has eva" in check(run, copy, code=1)
    shutil.copy(transcript.with_name("transcript.txt.eva.p7s"), transcript.with_name("transcript.txt.jan.p7s"))
    assert "signed has eva" in check(run, copy, code=1), "one officer twice"
    run("sign", transcript, "--home", homes["ute"], "--person", "ute")
    assert "signed has eva" in check(run, copy, code=1), "who was not there cannot say what was done"
    run("sign", transcript, "--home", homes["jan"], "--person", "jan")
    assert "signed by eva, jan" in check(run, copy)


def test_a_transcript_is_of_its_own_plan_and_home(
    copy: Path, run: Run, homes: dict[str, Path], tmp_path: Path, held: Path
) -> None:
    assert "what it names is in" in check(run, copy)
    other = planned(run, homes, tmp_path / "other.txt", "--step", "timestamp")
    transcript = copy / "ca/ceremony/transcript.txt"
    other.write_text(other.read_text() + "# looks the same\n")
    assert "it is of the plan" in run("check", transcript, "--plan", other, code=1)
    sign = ("sign", transcript, "--home", homes["ute"], "--person", "ute", "--plan")
    assert "it is of the plan" in run(*sign, other, code=1)
    run("init", tmp_path / "another", of=())
    assert "does not have the certificate of step 1" in check(run, copy, "--home", tmp_path / "another", code=1)
    (copy / "ca/ca.pem").write_text((homes["mallory"] / "ca.pem").read_text() + (held / "ca/ca.pem").read_text())
    assert "not the root that the ceremony made, alone" in check(run, copy, code=1)
    shutil.copy(held / "ca/ca.pem", copy / "ca/ca.pem")
    (copy / "ca/ceremony/attendance.1.p7s").unlink()
    assert "2 officers must attend" in check(run, copy, code=1)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('title = "Line 3"', 'title = "Line 4"', "title or threshold"),
        ("threshold = 2", "threshold = 1", "title or threshold"),
        ('"timestamp", ', "", "steps are not the plan's"),
        ('step = "timestamp"', 'step = "ocsp"', "steps are not the plan's"),
        ('person = "jan"', 'person = "eva"', "not enough officers"),
        ('authority = "intermediate"', 'authority = "root"', "first revocation lists"),
    ],
)
def test_no_officer_signs_a_transcript_that_does_not_follow_the_plan(
    copy: Path, run: Run, homes: dict[str, Path], old: str, new: str, why: str
) -> None:
    transcript = copy / "ca/ceremony/transcript.txt"
    sign = ("sign", transcript, "--home", homes["ute"], "--person", "ute")
    run(*sign)
    assert old in transcript.read_text()
    transcript.write_text(transcript.read_text().replace(old, new))
    assert why in run(*sign, code=1)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('title = "Line 3"', 'title = "Line 3"\ntitel = "x"', "unknown key `titel`; did you mean `title`"),
        ("threshold = 2", "threshold = 4", "at most the 3 different persons"),
        ('person = "jan"', 'person = "../jan"', "named like file names"),
        ('"root", "intermediate"', '"intermediate", "root"', "in this order"),
        ('"root", ', "", "in this order"),
        ('"timestamp"', '"timestamp", "party"', "in this order"),
        ('keys = "files"', 'keys = "files"\naccept_single_copy = "x"', "left out where no step is device-key"),
        ('keys = "files"', 'keys = "pkcs11:token=ca?pin-value=1234"', "without a PIN"),
        ('keys = "files"', 'keys = "pkcs11:token=ca;object=root"', "without an object"),
        ('keys = "files"', 'keys = "https://example"', "key string of a token"),
        ('root = "ACME root"', 'root = "ACME CA"', "another name than the root's"),
        ('root = "ACME root"', f'root = "{"x" * 65}"', "at most 64 characters"),
        ('algorithm = "p256"', 'algorithm = "sha1"', "must be one of"),
        ("# sealwright ceremony 1", "# sealwright ceremony 2", "first line"),
    ],
)
def test_a_plan_is_read_strictly(held: Path, old: str, new: str, why: str) -> None:
    text = (held / "plan.txt").read_text()
    assert parse_plan(text.encode(), "plan.txt").steps[0] == "root"
    assert old in text
    with pytest.raises(MalformedTrust, match=re.escape(why)):
        parse_plan(text.replace(old, new).encode(), "plan.txt")


def test_no_key_stands_twice_in_a_plan_and_a_hostile_plan_ends_quickly(held: Path) -> None:
    text = (held / "plan.txt").read_text()
    keys = re.findall(r"'''\n(.*?)'''", text, re.DOTALL)
    with pytest.raises(MalformedTrust, match="a different key each time"):
        parse_plan(text.replace(keys[1], keys[0]).encode(), "plan.txt")
    with pytest.raises(LimitExceeded):
        parse_plan(text.encode() + b"#" * (1 << 16), "plan.txt")
    for data in (
        b"",
        b"\xff\xfe",
        text.encode()[:200],
        text.encode() + b"\x00",
        b"# sealwright ceremony 1\nsteps = 7\n",
    ):
        with pytest.raises(MalformedTrust):
            parse_plan(data, "plan.txt")


def test_a_device_key_wants_a_second_copy_or_a_reason(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "device-key", "--device-format", "mcuboot")

    def asked() -> tuple[str | Path, ...]:
        return start(run, homes, plan, tmp_path / "ca", "eva", "jan")

    assert "no second copy of the key is shown" in run(*asked(), "--yes", code=1)
    safe = tmp_path / "safe.pem"
    assert "safe.pem" in run(*asked(), "--yes", "--second-copy", f"file:{safe}", code=1), "nothing lies there yet"
    shutil.copy(homes["eva"] / "keys/release.pem", safe)
    assert "another key than the device key" in run(*asked(), "--yes", "--second-copy", f"file:{safe}", code=1)
    assert not (tmp_path / "ca").exists()

    class Officer(io.StringIO):
        """Says yes, and carries the key to the safe when asked to; `linked` only pretends to."""

        linked = False

        def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
            for key in tmp_path.glob(".ca.*.tmp/keys/device.pem"):
                safe.unlink(missing_ok=True)
                safe.hardlink_to(key) if self.linked else shutil.copy(key, safe)
            return "y\n"

    officer = Officer()
    monkeypatch.setattr("sys.stdin", officer)
    officer.linked = True
    assert "lies where the first one lies" in run(*asked(), "--second-copy", f"file:{safe}", code=1)
    officer.linked = False
    assert "second copy: file" in run(*asked(), "--second-copy", f"file:{safe}")
    transcript = parse_transcript((tmp_path / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    assert "safe.pem" in transcript.made[-1].second_copy
    assert open_home(str(tmp_path / "ca")).keys[-1].construction == "digest:mcuboot"


def test_one_copy_is_enough_for_a_reason_that_the_transcript_repeats(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    reason = "trial boards, thrown away in May"
    plan = planned(run, homes, tmp_path / "plan.txt", "--accept-single-copy", reason)
    nonce = begun(run, plan)
    files = come(run, homes, plan, nonce, "jan", "ute")
    words_of_run = ("run", plan, "--home", tmp_path / "ca", "--nonce", nonce, "--attendance", *files, "--yes")
    assert f"ONE COPY of the device key: {reason}" in run(*words_of_run)
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    assert f'accept_single_copy = "{reason}"' in transcript.read_text()
    for person in ("jan", "ute"):
        run("sign", transcript, "--home", homes[person], "--person", person)
    assert reason in run("check", transcript, "--plan", plan, "--home", tmp_path / "ca")


def test_a_ceremony_in_a_token_with_a_device_key_of_which_two_tokens_have_copies(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, safe = another_token(), another_token()
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    # made on a machine of its own, and carried into both
    private = cast("PrivateKey", load_pem_private_key((homes["mallory"] / "keys/release.pem").read_bytes(), None))
    for one in (token, safe):
        import_key(f"{one};object=burnt", private, Pin(PIN))
    more = ("--token", token, "--device-key", f"{token};object=burnt", "--step", "timestamp")
    plan = planned(run, homes, tmp_path / "plan.txt", *more)

    def asked() -> tuple[str | Path, ...]:
        return (*start(run, homes, plan, tmp_path / "ca", "eva", "ute"), "--pin-file", pin, "--second-copy")

    assert "lies where the first one lies" in run(*asked(), f"{token};object=burnt", "--yes", code=1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\nn\n"))
    said = run(*asked(), f"{safe};object=burnt", code=1)
    assert "stopped before step 2" in said
    (left,) = re.findall(r"In the token remain: (pkcs11:\S+)\.", said)
    assert "already in the token" in run(*asked(), f"{safe};object=burnt", "--yes", code=1), (
        "a root of another day is not taken up"
    )
    destroy_key(left, Pin(PIN))
    run(*asked(), f"{safe};object=burnt", "--yes", "--json")
    transcript = parse_transcript((tmp_path / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    root, *_, device = transcript.made
    assert root.provenance == Provenance.HARDWARE_CLAIMED
    assert "CKA_NEVER_EXTRACTABLE: true" in root.attributes
    assert device.provenance == Provenance.HARDWARE_IMPORTED
    assert safe.removeprefix("pkcs11:token=") in device.second_copy
    for person in ("eva", "ute"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    assert "holds" in run("check", tmp_path / "ca/ceremony/transcript.txt", "--plan", plan, "--home", tmp_path / "ca")


def test_an_attendance_is_good_for_one_run_here_and_for_one_transcript_anywhere(
    copy: Path, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = copy / "plan.txt"
    words_of_run = start(run, homes, plan, tmp_path / "ca", "eva", "jan")
    run(*words_of_run, "--yes")
    (tmp_path / "ca").rename(tmp_path / "first")
    assert "a ceremony was run with it already" in run(*words_of_run, "--yes", code=1)
    assert not (tmp_path / "ca").exists()
    # another machine does not know of the first run
    elsewhere = [tmp_path / "elsewhere" / "ca" if word == tmp_path / "ca" else word for word in words_of_run]
    (tmp_path / "elsewhere").mkdir()
    run(*elsewhere, "--yes")
    one, two = (folder / "ceremony/transcript.txt" for folder in (tmp_path / "first", tmp_path / "elsewhere/ca"))
    for person in ("eva", "jan"):
        run("sign", one, "--home", homes[person], "--person", person)
        run("sign", one, "--home", homes[person], "--person", person)
        assert "signed another transcript of the same nonce" in run(
            "sign", two, "--home", homes[person], "--person", person, code=1
        )
    assert "holds" in run("check", one, "--plan", plan, "--home", tmp_path / "first")
    assert "signed has none of them" in run("check", two, "--plan", plan, code=1)


def test_of_one_attendance_no_two_transcripts_hold_even_if_officers_forget(
    copy: Path, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan, forgetful = copy / "plan.txt", {name: tmp_path / f"{name}-again" for name in ("eva", "jan")}
    for name, home in forgetful.items():
        shutil.copytree(homes[name], home)
    words_of_run = start(run, homes, plan, tmp_path / "one/ca", "eva", "jan")
    transcripts = []
    for number, keys in (("one", homes), ("two", forgetful)):
        (tmp_path / number).mkdir()
        run(*[tmp_path / number / "ca" if word == tmp_path / "one/ca" else word for word in words_of_run], "--yes")
        transcripts.append(tmp_path / number / "ca/ceremony/transcript.txt")
        for name in ("eva", "jan"):
            run("sign", transcripts[-1], "--home", keys[name], "--person", name)
    one, two = transcripts
    held_before = copy / "ca/ceremony/transcript.txt"
    assert run("check", one, held_before, "--plan", plan).count("holds, signed by eva, jan") == 2
    assert "of the same nonce" in run("check", one, two, "--plan", plan, code=1)


def test_of_three_who_attended_two_must_sign_so_that_no_two_transcripts_hold(
    copy: Path, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    plan.write_text(plan.read_text().replace("threshold = 2", "threshold = 1"))
    run(*start(run, homes, plan, tmp_path / "ca", "eva", "jan", "ute"), "--yes")
    transcript = tmp_path / "ca/ceremony/transcript.txt"
    run("sign", transcript, "--home", homes["ute"], "--person", "ute")
    assert "2 of the officers who attended (eva, jan, ute) must sign it" in run(
        "check", transcript, "--plan", plan, code=1
    )
    run("sign", transcript, "--home", homes["eva"], "--person", "eva")
    assert "signed by eva, ute" in run("check", transcript, "--plan", plan)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (r'provenance = "development"', 'provenance = "hardware-attested"', "says provenance hardware-attested"),
        (r'construction = "x509"', 'construction = "cms-attributes"', "says construction cms-attributes"),
        (r"until = ([0-9]{4})", "until = 2051", "says until 2051"),
        (r'subject = "CN=ACME root', 'subject = "CN=ACME r00t', "says subject CN=ACME r00t"),
        (r'serial = "[0-9a-f]', 'serial = "0', "does not have the certificate"),
        (r'(made\]\].*?)key = "sha256:....', r'\1key = "sha256:0000', "does not have the certificate"),
        (r'certificate = "sha256:....', 'certificate = "sha256:0000', "does not have the certificate"),
        (r'crl = "sha256:....', 'crl = "sha256:0000', "does not have the revocation list"),
        (r"(list\]\].*?)number = 1", r"\1number = 2", "does not have the revocation list"),
        (r"(list\]\].*?)until = ([0-9]{4})", r"\1until = 2051", "does not have the revocation list"),
        (r'nonce = "....', 'nonce = "0000', "no attendance of this plan and nonce"),
    ],
)
def test_every_line_that_a_home_can_tell_of_is_compared_with_it(
    copy: Path, run: Run, homes: dict[str, Path], old: str, new: str, why: str
) -> None:
    assert "what it names is in" in check(run, copy)
    transcript = copy / "ca/ceremony/transcript.txt"
    text = transcript.read_text()
    altered = re.sub(old, new, text, count=1, flags=re.DOTALL)
    assert altered != text
    transcript.write_text(altered)
    for person in ("eva", "jan"):  # officers who would sign anything
        memory = homes[person] / "ceremonies"
        before = {path: path.read_bytes() for path in memory.glob("*")}
        for path in before:
            path.unlink()
        run("sign", transcript, "--home", homes[person], "--person", person)
        for path in memory.glob("*"):
            path.unlink()
        for path, data in before.items():
            path.write_bytes(data)
    assert why in check(run, copy, code=1)


KILLED = """
import os, signal, sys
from sealwright.signing import ceremony
left = int(sys.argv[1])
for name in ("_make", "_first_lists", "_verify", "_keep"):
    def counted(*given, real=getattr(ceremony, name)):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*given)
    setattr(ceremony, name, counted)
from sealwright.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("after", range(1, 6))
def test_a_ceremony_that_is_killed_leaves_no_key_unnamed(
    after: int, tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt", "--step", "timestamp")
    words_of_run = start(run, homes, plan, tmp_path / "ca", "eva", "jan")
    command = [sys.executable, "-c", KILLED, str(after), "ca", "ceremony", *map(str, words_of_run), "--yes"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    (left,) = tmp_path.glob(".ca.*.tmp")
    assert list(left.glob("keys/*.pem"))
    assert not (tmp_path / "ca").exists()
    said = run(*words_of_run, "--yes", code=1)
    assert "never came to its end" in said
    assert f"removed, with the development keys in it: {left}" in said
    assert "a ceremony was run with it already" in said
    assert not left.exists()
    said = run(*start(run, homes, plan, tmp_path / "ca", "eva", "jan"), "--yes")
    assert "never came" not in said, "it is told once"


def test_keys_that_a_killed_ceremony_made_in_a_token_are_named(
    tmp_path: Path, homes: dict[str, Path], run: Run
) -> None:
    token, pin = another_token(), tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    plan = planned(run, homes, tmp_path / "plan.txt", "--token", token)
    words_of_run = [*start(run, homes, plan, tmp_path / "ca", "eva", "jan"), "--pin-file", pin, "--yes"]
    command = [sys.executable, "-c", KILLED, "2", "ca", "ceremony", *map(str, words_of_run)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    again = [*start(run, homes, plan, tmp_path / "ca", "eva", "jan"), "--pin-file", pin, "--yes"]
    said = run(*again, code=1)
    named = re.findall(r"still in its token, certified for nothing that counts; destroy it there: (pkcs11:\S+)", said)
    assert len(named) == 2
    assert "already in the token" in said
    for key in named:
        destroy_key(key, Pin(PIN))
    again = [*start(run, homes, plan, tmp_path / "ca", "eva", "jan"), "--pin-file", pin, "--yes"]
    assert "the ceremony is done" in run(*again)


def test_two_ceremonies_for_one_home_do_not_run_at_once(tmp_path: Path, homes: dict[str, Path], run: Run) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    first, second = (start(run, homes, plan, tmp_path / "ca", "eva", "jan") for _ in range(2))
    command = [sys.executable, "-m", "sealwright", "ca", "ceremony", *map(str, first)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as waiting:
        assert waiting.stdin is not None
        assert waiting.stderr is not None
        waiting.stderr.read(10)  # it asks whether to begin
        assert "another ceremony is at work" in run(*second, "--yes", code=1)
        waiting.stdin.write(b"y\n" * 8)
        waiting.stdin.flush()
        waiting.communicate(timeout=60)
    assert waiting.returncode == 0
