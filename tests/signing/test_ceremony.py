"""A key ceremony: officers attend a plan, every step is told, the transcript holds for what was made and for nothing else."""

from __future__ import annotations

import io
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kit.ceremonies import Run, begin_to_run, begun, check, come, planned
from kit.openssl import cms_verify
from kit.openssl import run as program
from kit.tokens import PIN, another_token
from sealwright.artifact.digest import Digest
from sealwright.errors import CeremonyRefused, LimitExceeded, MalformedTrust, SealwrightError
from sealwright.keys.backends import destroy_key, import_key
from sealwright.keys.file import PrivateKey
from sealwright.keys.key import Provenance
from sealwright.keys.pin import Pin
from sealwright.signing.attendance import KIND, attend, attended, new_nonce, read_attendance, statement
from sealwright.signing.ceremonyplan import parse_plan, read_plan
from sealwright.signing.home import open_home
from sealwright.signing.init import signed_text
from sealwright.signing.transcript import parse_transcript
from sealwright.trust.words import words


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
    assert "is jan's in [officers] or [witnesses]" in run(*attend_as, homes["eva"], "--person", "jan", code=2)
    assert "is mallory's in [officers] or [witnesses]" in run(
        *attend_as, homes["mallory"], "--person", "mallory", code=2
    )
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
    plan = read_plan(str(tmp_path / "plan.txt"))
    attend(plan, nonce, open_home(str(mia)), "mia", str(tmp_path / "mia.p7s"), datetime.now(UTC))
    (present,) = attended(plan, nonce, read_attendance([str(tmp_path / "mia.p7s")]), datetime.now(UTC))
    assert present.person == "mia"


def test_whoever_does_not_agree_ends_the_ceremony_and_no_home_is_left(
    tmp_path: Path, homes: dict[str, Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(run, homes, tmp_path / "plan.txt")
    start = begin_to_run(run, homes, plan)
    for answers, where in (("", "before the first step"), ("y\nn\n", "step 1 (root)"), ("y\ny\ny\n", "step 3 (timest")):
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        assert where in run(*start, code=1)
        assert not [path for path in tmp_path.iterdir() if path.name.endswith((".tmp", ".ceremony", "ca"))]
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 6))
    assert "has used this nonce up" in run(*start, code=1), "something was made by it"
    assert "Step 5 of 5" in run(*begin_to_run(run, homes, plan))


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
    assert "signed by eva, ute" in check(run, copy)


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
        ('root = "ACME root"', 'root = "ACME CA"', "other names than the root's"),
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
    start = begin_to_run(run, homes, plan)
    assert "no second copy of the key is shown" in run(*start, "--yes", code=1)
    safe = tmp_path / "safe.pem"
    assert "safe.pem" in run(*start, "--yes", "--second-copy", f"file:{safe}", code=1), "nothing lies there yet"
    shutil.copy(homes["eva"] / "keys/release.pem", safe)
    start = begin_to_run(run, homes, plan)
    assert "another key than the device key" in run(*start, "--yes", "--second-copy", f"file:{safe}", code=1)
    assert not (tmp_path / "ca").exists()

    class Officer(io.StringIO):
        """Says yes, and carries the key to the safe when asked to; `linked` only pretends to."""

        linked = False

        def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
            for key in tmp_path.glob(".ca.*.ceremony/keys/device.pem"):
                safe.unlink(missing_ok=True)
                safe.hardlink_to(key) if self.linked else shutil.copy(key, safe)
            return "y\n"

    officer = Officer()
    monkeypatch.setattr("sys.stdin", officer)
    officer.linked = True
    start = begin_to_run(run, homes, plan)
    assert "lies where the first one lies" in run(*start, "--second-copy", f"file:{safe}", code=1)
    officer.linked = False
    start = begin_to_run(run, homes, plan)
    assert "second copy: file" in run(*start, "--second-copy", f"file:{safe}")
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
    start = ("run", plan, "--home", tmp_path / "ca", "--nonce", nonce, "--attendance", *files, "--yes")
    assert f"ONE COPY of the device key: {reason}" in run(*start)
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
    start = (*begin_to_run(run, homes, plan, "eva", "ute"), "--pin-file", pin, "--second-copy")
    assert "lies where the first one lies" in run(*start, f"{token};object=burnt", "--yes", code=1)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\nn\n"))
    said = run(*start, f"{safe};object=burnt", code=1)
    assert "stopped before step 2" in said
    (left,) = re.findall(r"In the token remain: (pkcs11:\S+)\.", said)
    start = (*begin_to_run(run, homes, plan, "eva", "ute"), "--pin-file", pin, "--second-copy")
    said = run(*start, f"{safe};object=burnt", "--yes", code=1)
    assert re.search(r"already in the token: pkcs11:\S+ \(left by the ceremony", said), (
        "a root of another day is not taken up"
    )
    assert "pkcs11-tool" in said
    destroy_key(left, Pin(PIN))
    run(*start, f"{safe};object=burnt", "--yes", "--json")
    transcript = parse_transcript((tmp_path / "ca/ceremony/transcript.txt").read_bytes(), "transcript")
    root, *_, device = transcript.made
    assert root.provenance == Provenance.HARDWARE_CLAIMED
    assert "CKA_NEVER_EXTRACTABLE: true" in root.attributes
    assert device.provenance == Provenance.HARDWARE_IMPORTED
    assert safe.removeprefix("pkcs11:token=") in device.second_copy
    for person in ("eva", "ute"):
        run("sign", tmp_path / "ca/ceremony/transcript.txt", "--home", homes[person], "--person", person)
    assert "holds" in run("check", tmp_path / "ca/ceremony/transcript.txt", "--plan", plan, "--home", tmp_path / "ca")
