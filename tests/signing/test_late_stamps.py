"""Signatures made while no authority answers: recorded as pending, stamped later, never lost and never twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.authorities import Authority, authority
from kit.modules import tiny_module
from kit.openssl import ts_verify
from kit.pki import Pki, p7s
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.errors import MalformedTrust
from sealwright.formats.format import Search
from sealwright.formats.sidecar import late_paths
from sealwright.log.journal import read_journal
from sealwright.pki.timestamppool import Limits, Pool
from sealwright.signing.home import home_text, open_home
from sealwright.signing.late import LateStamper, NotStamped, Stamped, signatures_of
from sealwright.signing.pending import overdue, read_pending
from sealwright.signing.privatepart import told
from sealwright.signing.stamps import PoolStamper

QUICK = Limits(try_s=1, total_s=2, rounds=1)
NOWHERE = "http://127.0.0.1:9/"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home)]) == 0
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware" * 100)
    return path


@pytest.fixture
def tsa() -> Iterator[Authority]:
    with authority() as one:
        yield one


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.pki.timestamppool.Limits", lambda: QUICK)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def value_of(signature: Path) -> bytes:
    (signer,) = read_envelope(signature.read_bytes(), Profile.OURS, "s").signers
    assert isinstance(signer, Signer)
    return signer.signature


def deferred(run: Run, path: Path, home: Path, *more: str | Path) -> dict[str, object]:
    code, out, err = run("sign", path, "--home", home, "--timestamp", NOWHERE, "--timestamp-later", "--json", *more)
    assert code == 3, err
    assert "sealwright stamp" in err
    return dict(json.loads(out))


def test_a_signature_made_in_an_outage_is_pending_and_stamped_later_and_openssl_agrees(
    run: Run, home: Path, drive: Path, tmp_path: Path, tsa: Authority
) -> None:
    assert run("sign", drive, "--home", home, "--timestamp", NOWHERE)[0] == 1
    assert not os.path.exists(f"{drive}.p7s")
    assert not list(read_pending(str(home)))
    answer = deferred(run, drive, home)
    assert (answer["outcome"], answer["timestamp"], answer["pending"]) == ("signed", None, 1)
    before = (tmp_path / "drive.bin.p7s").read_bytes()
    (item,) = read_pending(str(home))
    assert item.signature == Digest.of(value_of(tmp_path / "drive.bin.p7s"))
    code, out, _ = run("stamp", "--home", home, "--status", "--within", "1h")
    assert code == 0
    assert str(drive) in out
    assert run("stamp", "--home", home, "--all", "--timestamp", NOWHERE)[0] == 1
    assert list(read_pending(str(home))) == [item]
    code, out, _ = run("stamp", "--home", home, "--all", "--timestamp", tsa.url)
    assert code == 0
    assert "no verifier with this home's trust file accepts timestamps of" in out
    assert list(read_pending(str(home))) == []
    assert (tmp_path / "drive.bin.p7s").read_bytes() == before
    (tmp_path / "value").write_bytes(value_of(tmp_path / "drive.bin.p7s"))
    (tmp_path / "ca.pem").write_text(tsa.pki.root.pem)
    (tmp_path / "other.pem").write_text(Pki.make().root.pem)
    token = tmp_path / "drive.bin.tsr"
    assert ts_verify(token, tmp_path / "value", tmp_path / "ca.pem")[0]
    assert not ts_verify(token, tmp_path / "value", tmp_path / "other.pem")[0]
    assert not ts_verify(token, drive, tmp_path / "ca.pem")[0]
    data = token.read_bytes()
    token.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not ts_verify(token, tmp_path / "value", tmp_path / "ca.pem")[0]
    assert [e.type for e in read_journal(str(home / "journal"))][-2:] == ["pending", "stamped"]


def test_verify_sees_no_proved_time_before_and_one_after(run: Run, home: Path, drive: Path) -> None:
    deferred(run, drive, home)
    verify = ("verify", drive, "--trust", home / "trust.toml", "--json")
    assert json.loads(run(*verify)[1])["times"]["proved"] is None
    code, out, err = run("stamp", "--home", home, "--all", "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert (answer["outcome"], answer["authority"], answer["findings"]) == ("stamped", "local", [])
    assert json.loads(run(*verify)[1])["times"]["proved"] is not None


def test_a_signature_that_is_stamped_gets_a_second_proof_only_when_it_is_asked_for(
    run: Run, home: Path, drive: Path, tmp_path: Path, tsa: Authority
) -> None:
    assert run("sign", drive, "--home", home)[0] == 0
    assert "stamped already" in run("stamp", drive, "--home", home)[1]
    assert not os.path.exists(f"{drive}.tsr")
    again = ("stamp", drive, "--home", home, "--again", "--timestamp", tsa.url)
    assert run(*again)[0] == 0
    assert os.path.exists(f"{drive}.tsr")
    code, _, err = run(*again)
    assert code == 1
    assert "not stamped" in err, "the same authority proves nothing more"
    with authority() as other:
        assert run("stamp", drive, "--home", home, "--again", "--timestamp", other.url)[0] == 0
    assert late_paths(str(drive), Search()) == [f"{drive}.tsr", f"{drive}.2.tsr"]
    (standing,) = signatures_of(str(drive), None)
    assert len(standing.tokens) == 3
    assert run("verify", drive, "--trust", home / "trust.toml", "--quiet")[0] == 0
    assert "drive.bin.2.tsr" not in run("verify", "--recursive", tmp_path, "--trust", home / "trust.toml")[1]


def test_two_timestamps_of_distinct_authorities_are_embedded_and_both_read(
    run: Run, home: Path, drive: Path, tmp_path: Path, tsa: Authority
) -> None:
    with authority() as other:
        pool = ("--timestamp", tsa.url, "--timestamp", other.url, "--timestamps", "2")
        assert run("sign", drive, "--home", home, *pool)[0] == 0
        (standing,) = signatures_of(str(drive), None)
        assert len({token.certificate for token in standing.embedded}) == 2
        path = tmp_path / "second.bin"
        path.write_bytes(b"second")
        other.how = "down"
        assert run("sign", path, "--home", home, *pool)[0] == 1
        assert run("sign", path, "--home", home, *pool, "--timestamp-later")[0] == 3
        (item,) = read_pending(str(home))
        assert item.missing == 1
        assert run("stamp", "--home", home, "--all", "--timestamp", tsa.url)[0] == 1, "it has that one's already"
        other.how = "well"
        assert run("stamp", "--home", home, "--all", "--timestamp", tsa.url, "--timestamp", other.url)[0] == 0
    assert list(read_pending(str(home))) == []
    (standing,) = signatures_of(str(path), None)
    assert (len(standing.embedded), len(standing.late)) == (1, 1)


def test_a_token_after_the_end_of_the_certificate_is_not_written(tmp_path: Path, drive: Path) -> None:
    now = datetime.now(UTC)
    pki = Pki.make(at=now)
    signer = pki.leaf(days=2, at=now)
    Path(f"{drive}.p7s").write_bytes(p7s(signer, drive.read_bytes(), at=now))
    for at, clock in ((now + timedelta(days=3), now), (now, now + timedelta(days=3))):
        with authority(pki=pki, now=at) as ahead:
            (answer,) = LateStamper(PoolStamper(Pool([ahead.url], QUICK)), None, clock).stamp_file(
                str(drive), None, False
            )
        assert isinstance(answer, NotStamped)
        assert answer.error.code == "SW-TIMESTAMP-TOO-LATE"
    assert not os.path.exists(f"{drive}.tsr")
    with authority(pki=pki) as good:
        (answer,) = LateStamper(PoolStamper(Pool([good.url], QUICK)), None, now).stamp_file(str(drive), None, False)
    assert isinstance(answer, Stamped)


def test_a_makers_signature_is_stamped_without_a_home_and_several_want_a_name(
    run: Run, home: Path, drive: Path, tsa: Authority
) -> None:
    maker = Pki.make("Maker", at=datetime.now(UTC)).leaf(at=datetime.now(UTC))
    Path(f"{drive}.p7s").write_bytes(p7s(maker, drive.read_bytes(), at=datetime.now(UTC)))
    assert run("sign", drive, "--home", home, "--as", "plant", "--timestamp", "none")[0] == 0
    code, _, err = run("stamp", drive, "--timestamp", tsa.url)
    assert code == 1
    assert "--signature" in err
    assert run("stamp", drive, "--timestamp", tsa.url, "--signature", f"{drive}.p7s")[0] == 0
    (tsr := Path(f"{drive}.value")).write_bytes(value_of(Path(f"{drive}.p7s")))
    (ca := Path(f"{drive}.ca")).write_text(tsa.pki.root.pem)
    assert ts_verify(Path(f"{drive}.tsr"), tsr, ca)[0]
    drive.write_bytes(b"altered")
    code, _, err = run("stamp", drive, "--timestamp", tsa.url, "--signature", f"{drive}.p7s", "--again")
    assert code == 1, "a signature that does not fit its file is not stamped"


def test_a_file_that_was_moved_stays_pending_until_it_is_back_or_forgotten_with_a_reason(
    run: Run, home: Path, drive: Path, tmp_path: Path
) -> None:
    deferred(run, drive, home)
    os.rename(tmp_path / "drive.bin.p7s", tmp_path / "away")
    code, _, err = run("stamp", "--home", home, "--all")
    assert code == 1
    assert "is not there" in err
    assert "is not there" in run("stamp", "--home", home, "--status")[1]
    os.rename(tmp_path / "away", tmp_path / "drive.bin.p7s")
    saved = drive.read_bytes()
    drive.write_bytes(b"other")
    assert run("stamp", "--home", home, "--all")[0] == 1
    drive.write_bytes(saved)
    assert run("stamp", "--home", home, "--forget", drive)[0] == 2
    assert len(list(read_pending(str(home)))) == 1
    assert run("stamp", "--home", home, "--forget", drive, "--reason", "never released")[0] == 0
    assert list(read_pending(str(home))) == []
    last = list(read_journal(str(home / "journal")))[-1]
    reason = str(last.fields["reason"])
    assert (last.type, told(open_home(str(home)), reason)) == ("forgotten", "never released")
    for part in (home / "journal").rglob("*"):
        assert not part.is_file() or b"never released" not in part.read_bytes()
    (home / "private" / f"{reason.removeprefix('sha256:')}.json").unlink()
    assert told(open_home(str(home)), reason).startswith("a text that was erased (sha256:")
    assert len(list(read_journal(str(home / "journal"))))


def test_cron_and_doctor_hear_of_what_waits_too_long(run: Run, home: Path, drive: Path) -> None:
    deferred(run, drive, home)
    assert run("stamp", "--home", home, "--status", "--within", "1d")[0] == 0
    assert run("stamp", "--home", home, "--status", "--within", "0m")[0] == 1
    assert "pending timestamps" in run("doctor", "--home", home)[1]
    (item,) = read_pending(str(home))
    day = timedelta(days=1)
    assert not overdue(item, item.since + day, day)
    assert overdue(item, item.since + 2 * day, day)
    assert overdue(item, item.end - day / 2, 9999 * day)


def test_what_looks_for_timestamps_inside_alone_is_not_deferred(run: Run, home: Path, tmp_path: Path) -> None:
    script = tmp_path / "a.ps1"
    script.write_text("Get-Date\r\n")
    more = ("--format", "powershell", "--out", tmp_path / "signed.ps1", "--timestamp", NOWHERE)
    code, _, err = run("sign", script, "--home", home, *more, "--timestamp-later")
    assert code == 2
    assert "inside it alone" in err


def test_a_tree_and_a_whole_batch_are_deferred_and_stamped(
    run: Run, home: Path, tmp_path: Path, tsa: Authority
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(30):
        (tree / f"{number}.bin").write_bytes(bytes([number]))
    deferred(run, tree, home, "--product", "p", "--version", "1")
    code, _, _ = run(
        "sign", tree, "--home", home, "--recursive", "--timestamp", NOWHERE, "--timestamp-later", "--out", tmp_path
    )
    assert code == 3
    assert len(list(read_pending(str(home)))) == 31
    code, _, err = run("stamp", tree, "--home", home, "--timestamp", tsa.url)
    assert code == 0, err
    assert os.path.exists(f"{tree}.manifest.tsr")


def test_the_home_names_a_pool_and_whether_signatures_wait(run: Run, home: Path, drive: Path, tsa: Authority) -> None:
    assert open_home(str(home)).timestamp == ("local",)
    text = (home / "home.toml").read_text()
    pool = f'timestamp = ["{NOWHERE}", "{tsa.url}"]\nwhen_no_timestamp = "later"'
    (home / "home.toml").write_text(text.replace('timestamp = "local"', pool))
    read = open_home(str(home))
    assert (read.timestamp, read.stamps_later) == ((NOWHERE, tsa.url), True)
    assert "when_no_timestamp" in home_text(read)
    assert run("sign", drive, "--home", home)[0] == 0
    tsa.how = "down"
    assert run("sign", drive, "--home", home, "--replace")[0] == 3
    for wrong in ("timestamp = []", "timestamp = 7", 'timestamp = "local"\nwhen_no_timestamp = "never"'):
        (home / "home.toml").write_text(text.replace('timestamp = "local"', wrong))
        with pytest.raises(MalformedTrust):
            open_home(str(home))


def test_a_time_far_from_this_clock_is_said_and_counts(run: Run, home: Path, drive: Path) -> None:
    with authority(now=datetime.now(UTC) - timedelta(hours=3)) as slow:
        code, out, _ = run("sign", drive, "--home", home, "--timestamp", slow.url, "--json")
    assert code == 0
    found = {one["code"]: one for one in json.loads(out)["findings"]}
    assert set(found) == {"SW-TIMESTAMP-CLOCK", "SW-TIMESTAMP-STRANGER"}
    assert found["SW-TIMESTAMP-CLOCK"]["wanted"] != found["SW-TIMESTAMP-CLOCK"]["found"]


KILLER = """
import os, sys
from sealwright.cli.main import main
stop, count = int(sys.argv[1]), 0
def killed(name, real):
    def call(*arguments, **options):
        global count
        count += 1
        if count == stop:
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
for name in ("fsync", "fdatasync", "link", "replace", "unlink", "rename"):
    setattr(os, name, killed(name, getattr(os, name)))
code = main(sys.argv[2:])
print(count)
sys.exit(code)
"""


def killing(tmp_path: Path, stop: int, *words: str | Path) -> int:
    return subprocess.run(
        [sys.executable, "-c", KILLER, str(stop), *map(str, words)], capture_output=True, timeout=60, check=False
    ).returncode


def test_killed_between_any_two_durable_steps_nothing_is_lost_and_nothing_done_twice(
    run: Run, made_home: Path, tmp_path: Path
) -> None:
    for step in range(1, 40):
        place = tmp_path / f"s{step}"
        shutil.copytree(made_home, place / "home")
        (place / "f").write_bytes(b"x")
        words = ("sign", place / "f", "--home", place / "home", "--timestamp", NOWHERE, "--timestamp-later")
        code = killing(tmp_path, step, *words)
        waits = list(read_pending(str(place / "home")))
        if os.path.exists(place / "f.p7s"):
            assert [one.signature for one in waits] == [Digest.of(value_of(place / "f.p7s"))], step
        if code == 3:
            break
        assert code == -9
    else:
        raise AssertionError("it never came to its end")
    saved = place
    with authority() as tsa:
        for step in range(1, 40):
            place = tmp_path / f"t{step}"
            shutil.copytree(saved, place)
            home = str(place / "home")
            (item,) = read_pending(home)
            path = place / "home" / "pending" / item.name
            path.write_text(path.read_text().replace(str(saved), str(place)))
            code = killing(tmp_path, step, "stamp", "--home", home, "--all", "--timestamp", tsa.url)
            assert list(read_pending(home)) or os.path.exists(place / "f.tsr"), step
            seen, made = tsa.seen, os.path.exists(place / "f.tsr")
            if code == 0:
                break
            assert code == -9
            assert main(["stamp", "--home", home, "--all", "--timestamp", tsa.url]) == 0
            assert tsa.seen == seen + (0 if made else 1)
            assert list(read_pending(home)) == []
            assert late_paths(str(place / "f"), Search()) == [str(place / "f.tsr")]
        else:
            raise AssertionError("it never came to its end")


def test_late_timestamps_of_maker_and_plant_lie_side_by_side_and_nobody_complains_of_the_others(
    run: Run, home: Path, drive: Path
) -> None:
    for slot in ("maker", "plant"):
        assert run("sign", drive, "--home", home, "--as", slot, "--timestamp", "none")[0] == 0
    for suffix in (".p7s", ".plant.p7s"):
        assert run("stamp", drive, "--home", home, "--signature", f"{drive}{suffix}")[0] == 0
    assert late_paths(str(drive), Search()) == [f"{drive}.tsr", f"{drive}.2.tsr"]
    verify = ("verify", drive, "--trust", home / "trust.toml", "--json")
    assert "SW-TIMESTAMP-REFUSED" not in run(*verify)[1]
    assert run("sign", drive, "--home", home, "--replace", "--timestamp", "none")[0] == 0
    assert "SW-TIMESTAMP-REFUSED" in run(*verify)[1], "a timestamp over none of them is said"


def test_a_file_that_is_called_like_a_second_timestamp_keeps_its_own(run: Run, home: Path, drive: Path) -> None:
    other = Path(f"{drive}.2")
    other.write_bytes(b"another part of the same firmware")
    for path in (drive, other):
        assert run("sign", path, "--home", home, "--timestamp", "none")[0] == 0
        assert run("stamp", path, "--home", home)[0] == 0
    assert late_paths(str(drive), Search()) == [f"{drive}.tsr"]
    assert "SW-TIMESTAMP-REFUSED" not in run("verify", drive, other, "--trust", home / "trust.toml", "--json")[1]
    code, _, err = run("stamp", drive, "--home", home, "--again")
    assert code == 1
    assert "it would be the timestamp of" in err


def test_nothing_hides_behind_the_name_of_a_further_timestamp(
    run: Run, home: Path, drive: Path, tmp_path: Path
) -> None:
    assert run("sign", drive, "--home", home)[0] == 0
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("drive.bin", "drive.bin.p7s"):
        os.rename(tmp_path / name, folder / name)
    verify = ("verify", "--recursive", folder, "--trust", home / "trust.toml")
    assert run(*verify)[0] == 0
    (folder / "drive.bin.3.tsr").write_bytes(b"a program")
    assert run(*verify)[0] == 1, "no .tsr and no .2.tsr lead to it"


@pytest.mark.parametrize("data", [b"", b"{}", b"nonsense", b"[]", b'{"target":1}', b"\xff" * 100, b"{" * 60_000])
def test_a_damaged_entry_is_named_and_nothing_is_stamped_over_it(
    run: Run, home: Path, drive: Path, data: bytes
) -> None:
    deferred(run, drive, home)
    (item,) = read_pending(str(home))
    (home / "pending" / item.name).write_bytes(data)
    for words in (("--status",), ("--all",)):
        code, _, err = run("stamp", "--home", home, *words)
        assert code == 1
        assert item.name in err
    assert "WRONG" in run("doctor", "--home", home)[1]


def test_two_stamps_at_once_do_not_ask_twice(run: Run, home: Path, drive: Path, tsa: Authority) -> None:
    from sealwright.signing.pending import one_at_a_time

    deferred(run, drive, home)
    with one_at_a_time(str(home)):
        code, _, err = run("stamp", "--home", home, "--all", "--timestamp", tsa.url)
    assert code == 1
    assert "at work" in err
    assert tsa.seen == 0
    assert run("stamp", "--home", home, "--all", "--timestamp", tsa.url)[0] == 0


@pytest.mark.parametrize(
    "words",
    [(), ("f",), ("--all",), ("f", "--all", "--home", "HOME"), ("--status",), ("f", "--home", "HOME", "--timestamp", "local", "--timestamp", NOWHERE),
     ("f", "g", "--home", "HOME", "--signature", "s")],
)  # fmt: skip
def test_a_stamp_that_cannot_mean_anything_is_refused(run: Run, home: Path, words: tuple[str, ...]) -> None:
    assert run("stamp", *(str(home) if word == "HOME" else word for word in words))[0] == 2


def test_the_homes_own_authority_proves_nothing_more_by_stamping_again(run: Run, home: Path, drive: Path) -> None:
    assert run("sign", drive, "--home", home)[0] == 0
    code, _, err = run("stamp", drive, "--home", home, "--again")
    assert code == 1
    assert "has stamped it already" in err
    assert not os.path.exists(f"{drive}.tsr")


def test_a_home_that_was_copied_while_something_waits_stamps_it_there_too(run: Run, home: Path, drive: Path) -> None:
    deferred(run, drive, home)
    shutil.copytree(home, home.with_name("copy"))
    assert run("stamp", "--home", home, "--all")[0] == 0
    assert "stamped already" in run("stamp", "--home", home.with_name("copy"), "--all")[1]
    assert not os.path.exists(f"{drive}.2.tsr")
    assert not list(read_pending(str(home.with_name("copy"))))


@pytest.mark.parametrize("form", ["kmod", "ima"])
def test_a_bare_signature_is_deferred_with_its_timestamp_beside_it(
    run: Run, home: Path, tmp_path: Path, form: str
) -> None:
    assert run("key", "enrol", form, "--home", home, "--algorithm", "rsa3072")[0] == 0
    module = tmp_path / "m.ko"
    module.write_bytes(tiny_module())
    out = tmp_path / "signed.ko"
    deferred(run, module, home, "--format", form, "--out", out)
    code, _, err = run("stamp", "--home", home, "--all")
    assert code == 0, err
    assert os.path.exists(f"{out}.tsr")
    assert not list(read_pending(str(home)))


@pytest.mark.parametrize("name", [b"dr\xffive.bin", "Größe 100%.bin".encode(), b"a\nb.bin", b"%41.bin"])
def test_a_file_of_any_name_is_deferred_and_stamped(run: Run, home: Path, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"x")
    deferred(run, path, home)
    (item,) = read_pending(str(home))
    assert item.target == str(path)
    assert run("stamp", "--home", home, "--status")[0] == 0
    assert run("stamp", "--home", home, "--all")[0] == 0
    assert os.path.exists(f"{path}.tsr")
