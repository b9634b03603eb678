"""`verify --record` and `sealwright record` as people and programs type them: no verdict without its record, exit codes, logbook."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import pytest

from kit.openssl import cms_verify, sums
from kit.signedfiles import MAKERS
from sealwright.cli import verify as verify_command
from sealwright.cli.main import main
from sealwright.plant import recorder, stationkey

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command: exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that signs files and records, and a signed file."""
    folder = tmp_path_factory.mktemp("plant")
    home = str(folder / "home")
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "record", "--home", home, "--name", "station"]) == 0
    (folder / "drive.bin").write_bytes(b"firmware\n" * 100)
    assert main(["sign", str(folder / "drive.bin"), "--home", home, "--product", "line 3", "--version", "2.4"]) == 0
    return folder


@pytest.fixture
def plant(made: Path, tmp_path: Path) -> Path:
    for name in ("home", "drive.bin", "drive.bin.manifest", "drive.bin.manifest.p7s"):
        copy = shutil.copytree if (made / name).is_dir() else shutil.copy
        copy(made / name, tmp_path / name)
    (tmp_path / "records").mkdir()
    return tmp_path


def verify(plant: Path, *more: str | Path, signed: bool = True) -> list[str | Path]:
    words: list[str | Path] = ["verify", plant / "drive.bin", "--trust", plant / "home" / "trust.toml"]
    words += ["--record", plant / "records", *more]
    return words + (["--station-home", plant / "home"] if signed else [])


def record(plant: Path, number: int = 1) -> Path:
    return plant / "records" / "000000" / f"{number:09}" / "record.txt"


def test_a_verdict_leaves_a_record_that_openssl_and_sha256sum_check(run: Run, plant: Path) -> None:
    code, out, said = run(*verify(plant))
    assert (code, "a new chain of records begins there" in said) == (0, True)
    assert f"Record: {record(plant).parent}\n" in out
    ca, text = plant / "home" / "ca.pem", record(plant)
    sealed = text.with_name("record.txt.p7s")
    assert cms_verify(sealed, text, ca)[0]
    assert sums(text, plant)[0]
    good = text.read_bytes()
    text.write_bytes(good.replace(b"install", b"restore"))
    assert not cms_verify(sealed, text, ca)[0]
    text.write_bytes(good)
    (plant / "drive.bin").write_bytes(b"firmwarf\n" * 100)
    assert not sums(text, plant)[0]


def test_what_is_refused_is_recorded_too(run: Run, plant: Path) -> None:
    assert run(*verify(plant))[0] == 0
    (plant / "drive.bin").write_bytes(b"changed")
    code, out, said = run(*verify(plant))
    assert (code, said) == (1, "")
    assert out.startswith("DO NOT INSTALL: the file was changed\n")
    text = record(plant, 2).read_text()
    assert "# outcome rejected\n" in text
    assert "# finding reject SW-FILE-CHANGED 1\n" in text
    assert f"# file sha256:{hashlib.sha256(b'changed').hexdigest()}\n" in text
    assert run("record", "check", plant / "records", "--trust", plant / "home" / "trust.toml")[0] == 0


def test_inspect_shows_what_a_record_says_and_refuses_one_that_was_changed(run: Run, plant: Path) -> None:
    (plant / "drive.bin").write_bytes(b"changed")
    assert run(*verify(plant, "--person", "p-17", "--change", "CHG-4711"))[0] == 1
    digest = hashlib.sha256(b"changed").hexdigest()
    code, out, err = run("inspect", record(plant))
    assert (code, err) == (0, "")
    for words in (
        "installation record",
        "rejected, asked for: install",
        "drive.bin",
        f"sha256:{digest}",
        "reject SW-FILE-CHANGED, times: 1",
        "p-17",
        "CHG-4711",
        "1 of the chain ",
        "account uid:",
        ", by clock",
    ):
        assert words in out
    code, out, _ = run("inspect", record(plant), "--json")
    shown = {one["name"]: one["value"] for one in json.loads(out)["facts"]}
    assert (shown["outcome"], shown["record before"]) == ("rejected, asked for: install", "none")
    record(plant).write_bytes(record(plant).read_bytes().replace(b"# outcome rejected", b"# outcome allowed"))
    code, out, err = run("inspect", record(plant))
    assert (code, "it is no record" in err) == (1, True)
    assert "asked for" not in out


def test_a_name_with_escape_sequences_in_a_record_never_reaches_the_screen_raw(run: Run, plant: Path) -> None:
    hostile = plant / "a\x1b[2Jb\n# outcome trusted.bin"
    hostile.write_bytes(b"x")
    words = ["verify", hostile, "--trust", plant / "home" / "trust.toml", "--record", plant / "records"]
    assert run(*words)[0] == 1
    code, out, _ = run("inspect", record(plant))
    assert code == 0
    assert "\x1b" not in out
    (about,) = [line for line in out.splitlines() if line.split()[:1] == ["about"]]
    assert "outcome trusted.bin" in about


def test_programs_are_told_where_the_record_is(run: Run, plant: Path) -> None:
    _, out, _ = run(*verify(plant, "--json"))
    assert json.loads(out)["record"] == str(record(plant).parent)
    _, out, _ = run("verify", plant / "drive.bin", "--trust", plant / "home" / "trust.toml", "--json")
    assert json.loads(out)["record"] is None


def test_many_paths_are_recorded_in_batches_and_in_order(run: Run, plant: Path) -> None:
    names = [f"f{number:03}.bin" for number in range(150)]
    (plant / "many").mkdir()
    for name in names:
        (plant / "many" / name).write_bytes(name.encode())
    assert run("sign", plant / "many", "--home", plant / "home", "--recursive", "--timestamp", "none")[0] == 0
    (plant / "many" / "f077.bin").write_bytes(b"changed")
    words = ["verify", plant / "many", "--recursive", "--trust", plant / "home" / "trust.toml", "--json"]
    code, out, _ = run(*words, "--record", plant / "records", "--station-home", plant / "home")
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [one["outcome"] for one in told].count("rejected") == 1
    for number, one in enumerate(told, 1):
        text = Path(one["record"], "record.txt").read_text()
        assert one["record"] == str(record(plant, number).parent)
        assert f"# name {os.path.basename(one['path'])}\n" in text
        assert f"# outcome {one['outcome']}\n" in text
    code, out, _ = run("record", "check", plant / "records", "--trust", plant / "home" / "trust.toml", "--json")
    assert (code, json.loads(out)["records"]) == (0, 150)


@pytest.mark.parametrize("form", sorted(MAKERS))
def test_the_whole_files_digest_is_recorded_whatever_of_it_is_signed(
    run: Run, plant: Path, tmp_path: Path, form: str
) -> None:
    (tmp_path / "in").mkdir()
    path = MAKERS[form](tmp_path / "in")
    run("verify", path, "--trust", plant / "home" / "trust.toml", "--record", plant / "records")
    assert f"# file sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n" in record(plant).read_text()
    assert sums(record(plant), path.parent)[0]


def test_a_folder_is_checked_by_the_manifest_that_its_record_names(run: Run, plant: Path) -> None:
    (plant / "project").mkdir()
    (plant / "project" / "a.cfg").write_text("a")
    assert run("sign", plant / "project", "--home", plant / "home")[0] == 0
    words = ["verify", plant / "project", "--trust", plant / "home" / "trust.toml", "--record", plant / "records"]
    assert run(*words)[0] == 0
    assert record(plant).read_text().endswith("  project.manifest\n")
    assert sums(record(plant), plant)[0]
    assert sums(plant / "project.manifest", plant / "project")[0]


def test_a_manifest_named_in_the_place_of_what_it_lists_is_judged_the_same(run: Run, plant: Path) -> None:
    """`verify NAME.manifest` means NAME, with a record and without; a changed member is refused both times."""
    (plant / "project").mkdir()
    (plant / "project" / "a.cfg").write_text("a")
    assert run("sign", plant / "project", "--home", plant / "home")[0] == 0
    trust = ["--trust", plant / "home" / "trust.toml"]
    for wanted in (0, 1):
        for name in ("project.manifest", "project", "drive.bin.manifest", "drive.bin"):
            plain = run("verify", plant / name, *trust, "--json")
            told = run("verify", plant / name, *trust, "--json", "--record", plant / "records")
            assert plain[0] == told[0] == wanted, name
            found = json.loads(told[1])
            text = Path(found.pop("record"), "record.txt").read_text()
            assert {code["code"] for code in found["findings"]} == {c["code"] for c in json.loads(plain[1])["findings"]}
            stem = name.removesuffix(".manifest")
            assert f"# name {stem}{'/' if stem == 'project' else ''}\n" in text
        (plant / "project" / "a.cfg").write_text("b")
        (plant / "drive.bin").write_bytes(b"changed")


def test_ids_are_recorded_as_said_and_names_are_no_ids(run: Run, plant: Path) -> None:
    assert run(*verify(plant, "--person", "eva", "--change", "CHG-4711"))[0] == 0
    text = record(plant).read_text()
    assert "# person eva\n# change CHG-4711\n" in text
    assert f"# account uid:{os.getuid()}\n" in text
    for words in (("--person", "Eva Müller"), ("--change", "a\nb"), ("--change", "x" * 65)):
        code, _, said = run(*verify(plant, *words))
        assert (code, "it is no id" in said) == (2, True)
    assert not record(plant, 2).exists()


def test_what_makes_no_sense_is_said_before_anything_is_judged(run: Run, plant: Path) -> None:
    trust = ["verify", plant / "drive.bin", "--trust", plant / "home" / "trust.toml"]
    assert run(*trust)[0] == 0
    for words in (
        [*trust, "--station-home", plant / "home"],
        [*trust, "--change", "CHG-1"],
        [*trust, "--record", plant / "records", "--at", "2031-01-01T00:00:00Z"],
        [*trust, "--record", plant / "records", "--station-key", "station"],
        [*trust, "--record", plant / "records", "--station-home", plant / "home", "--station-key", "release"],
        [*trust, "--record", plant / "records", "--station-home", plant / "home", "--station-key", "nobody"],
        [*trust, "--record", plant / "records", "--station-home", plant],
    ):
        code, out, said = run(*words)
        assert (code, out) == (2, ""), said
    assert os.listdir(plant / "records") == []


def test_a_home_without_a_record_key_says_how_to_make_one(run: Run, plant: Path) -> None:
    assert run("init", plant / "bare")[0] == 0
    code, _, said = run(*verify(plant, "--station-home", plant / "bare", signed=False))
    assert code == 2
    assert f"sealwright key enrol record --home {plant / 'bare'} --name station" in said
    assert run("key", "enrol", "record", "--home", plant / "bare", "--name", "station")[0] == 0
    assert run(*verify(plant, "--station-home", plant / "bare", signed=False))[0] == 0


def test_no_install_without_a_record(run: Run, plant: Path) -> None:
    (plant / "records").rmdir()
    for more in ((), ("--json",), ("--quiet",)):
        code, out, _ = run(*verify(plant, *more))
        assert code == 1
        assert "record could not be written" in out
    code, out, _ = run(*verify(plant, "--purpose", "run"))
    assert code == 0
    assert "record could not be written" in out
    (plant / "records").mkdir()
    assert run(*verify(plant))[0] == 0


def test_a_key_that_fails_on_the_way_allows_no_install(run: Run, plant: Path) -> None:
    key = plant / "home" / "keys" / "station.pem"
    key.rename(plant / "away.pem")
    code, out, _ = run(*verify(plant))
    assert (code, "SW-RECORD-NOT-WRITTEN" in run(*verify(plant, "--details"))[1]) == (1, True)
    assert out.startswith("DO NOT INSTALL: its installation record could not be written\n")
    assert os.listdir(plant / "records") == []
    (plant / "away.pem").rename(key)
    assert run(*verify(plant))[0] == 0


def sealwright(plant: Path, *around: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    words = [*around, sys.executable, "-m", "sealwright", *map(str, verify(plant, signed=False))]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False)


def test_a_full_disk_allows_no_install(plant: Path) -> None:
    """A file system with room for a few records and no more; the twin is the first one, and the one after room was made."""
    script = (
        'mount -t tmpfs -o size=1m,nr_inodes=14 tmpfs "$0" || exit 99\n'
        'n=0; while "$@" > "$0.out" 2>&1; do n=$((n+1)); [ $n -lt 40 ] || exit 98; done\n'
        'head -1 "$0.out"; echo "after $n"\n'
        'rm -r "$0/000000/$(ls "$0/000000" | tail -1)"; "$@" > /dev/null 2>&1; echo "then $?"\n'
    )
    done = sealwright(plant, "unshare", "--mount", "sh", "-c", script, str(plant / "records"))
    lines = done.stdout.splitlines()
    assert lines[0] == "DO NOT INSTALL: its installation record could not be written", done
    assert int(lines[1].split()[1]) > 2
    assert lines[2] == "then 0"


def test_a_read_only_medium_allows_no_install(plant: Path) -> None:
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" || exit 99\n"$@"'
    done = sealwright(plant, "unshare", "--mount", "sh", "-c", script, str(plant / "records"))
    assert done.returncode == 1
    assert "the medium is read-only" in done.stdout
    assert sealwright(plant).returncode == 0


def test_a_folder_of_somebody_else_allows_no_install(plant: Path) -> None:
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    with tempfile.TemporaryDirectory() as name:  # pytest shuts the folders above its own to others
        open_to_all = Path(shutil.copytree(plant, Path(name) / "plant"))
        for path in (Path(name), open_to_all, open_to_all / "home"):
            path.chmod(0o755)
        done = sealwright(open_to_all, *nobody)
        assert done.returncode == 1, done
        assert "this user may not write there" in done.stdout
        os.chown(open_to_all / "records", 65534, 65534)
        done = sealwright(open_to_all, *nobody)
        assert done.returncode == 0, done
        assert "# account uid:65534\n" in record(open_to_all).read_text()


def test_no_key_backend_is_loaded_where_no_station_key_is_given(plant: Path) -> None:
    script = (
        "import sys\nfrom sealwright.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted(name for name in sys.modules if name.startswith(('sealwright.keys', 'sealwright.signing', 'pkcs11', 'tpm2'))))"
    )
    words = [sys.executable, "-c", script, *map(str, verify(plant, signed=False))]
    done = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_list_is_chosen_by_what_the_records_say(run: Run, plant: Path) -> None:
    assert run(*verify(plant))[0] == 0
    digest = hashlib.sha256((plant / "drive.bin").read_bytes()).hexdigest()
    (plant / "drive.bin").write_bytes(b"changed")
    assert run(*verify(plant, signed=False))[0] == 1
    since = json.loads(run("record", "list", plant / "records", "--json")[1].splitlines()[0])["judged"]["time"]

    def numbers(*words: str) -> list[int]:
        code, out, _ = run("record", "list", plant / "records", *words, "--json")
        assert code == 0
        return [json.loads(line)["number"] for line in out.splitlines()]

    assert numbers() == [1, 2]
    assert numbers("--outcome", "trusted") == [1]
    assert numbers("--outcome", "undecided") == []
    assert numbers("--artifact", digest) == numbers("--artifact", f"sha256:{digest}") == [1]
    assert numbers("--product", "line 3")[:1] == [1]
    assert numbers("--product", "line 4") == []
    assert numbers("--since", since) == [1, 2]
    assert numbers("--since", "2099-01-01T00:00:00Z") == []
    assert numbers("--until", since) == []
    assert numbers("--host", os.uname().nodename) == [1, 2]
    code, out, _ = run("record", "list", plant / "records", "--outcome", "rejected")
    assert (code, "rejected  install  drive.bin" in out, "unsigned" in out) == (0, True, True)
    assert run("record", "list", plant / "records", "--artifact", "xyz")[0] == 2
    assert run("record", "list", plant / "nowhere")[0] == 1


def test_the_check_says_what_it_did_not_check_and_gives_the_line_to_keep(run: Run, plant: Path) -> None:
    assert run(*verify(plant))[0] == 0
    records, station = plant / "records", plant / "home" / "certificates" / "station.pem"
    code, out, _ = run("record", "check", records)
    assert (code, "Signatures were not checked" in out) == (0, True)
    code, out, _ = run("record", "check", records, "--key", station)
    assert (code, "not checked" in out) == (0, False)
    line = out.splitlines()[-1].strip()
    (plant / "line.txt").write_text(line + "\n")
    assert run(*verify(plant))[0] == 0
    for contains in (line, plant / "line.txt"):
        assert run("record", "check", records, "--key", station, "--contains", contains)[0] == 0
    for number in (1, 2):
        shutil.rmtree(record(plant, number).parent)
    code, out, _ = run("record", "check", records, "--key", station, "--contains", line)
    assert (code, "does not contain what was written down" in out) == (1, True)


def test_an_empty_folder_is_not_called_whole(run: Run, plant: Path) -> None:
    for more in ((), ("--json",)):
        assert run("record", "check", plant / "records", *more)[0] == 1
    for action in ("list", "export"):
        code, out, err = run("record", action, plant / "records")
        assert (code, "no record in it" in out + err) == (1, True)
    assert run(*verify(plant))[0] == 0
    code, out, _ = run("record", "list", plant / "records", "--product", "nothing of this name")
    assert (code, "fits" in out) == (0, True)
    assert run("record", "check", plant / "records")[0] == 0


@pytest.mark.parametrize(
    ("year", "written", "remarks"), [(1970, True, ["SW-RECORD-UNTRUE"]), (2026, True, []), (2099, False, [])]
)
def test_a_hostile_clock_makes_no_record_that_looks_right(
    run: Run, plant: Path, monkeypatch: pytest.MonkeyPatch, year: int, written: bool, remarks: list[str]
) -> None:
    """1970: signed, judged by the floor, and remarked. 2099: the station's certificate has ended, so nothing is signed or installed."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            now = datetime.now(tz)
            return now if year == 2026 else now.replace(year=year, day=1)

    with monkeypatch.context() as patch:
        for module in (verify_command, recorder, stationkey):
            patch.setattr(module, "datetime", Clock)
        code, out, _ = run(*verify(plant, "--details", "--purpose", "run"))
    assert record(plant).exists() is written
    assert ("SW-RECORD-NOT-WRITTEN" in out) is not written
    assert code == 0
    if not written:
        return
    text = record(plant).read_text()
    assert f"# clock {year}-" in text
    assert f"# judged {datetime.now(UTC):%Y-%m}" in text
    _, out, _ = run("record", "check", plant / "records", "--trust", plant / "home" / "trust.toml", "--json")
    told = [json.loads(line) for line in out.splitlines()]
    assert [one["code"] for one in told if "code" in one] == remarks
    assert told[-1]["problems"] == 0


def test_a_station_of_another_pki_is_enrolled_with_its_certificate(run: Run, plant: Path) -> None:
    """As docs/records.md shows it; an artifact's certificate of the same authority makes no station."""
    ca = plant / "home"
    for profile, wanted in (("code-signer", 1), ("record-signer", 0)):
        uri, home, records = f"file:{plant / profile}.key", plant / f"{profile}-home", plant / f"{profile}-records"
        records.mkdir()
        assert run("init", home)[0] == 0
        assert run("key", "create", uri)[0] == 0
        (plant / "pc7.csr").write_text(run("key", "csr", uri, "--subject", "CN=pc7")[1])
        issue = ["cert", "issue", plant / "pc7.csr", "--home", ca, "--profile", profile, "--provenance", "development"]
        assert run(*issue, "--out", plant / f"{profile}.pem")[0] == 0
        name = ["--name", "station", "--purpose", "record"]
        assert run("key", "import-certificate", plant / f"{profile}.pem", "--home", home, "--key", uri, *name)[0] == 0
        words = ["verify", plant / "drive.bin", "--trust", ca / "trust.toml", "--record", records]
        assert run(*words, "--station-home", home)[0] == 0
        assert run("record", "check", records, "--trust", ca / "trust.toml")[0] == wanted


def test_verifications_at_once_with_one_key_lose_no_record(run: Run, plant: Path) -> None:
    words = [sys.executable, "-m", "sealwright", *map(str, verify(plant)), "--quiet"]
    words[4:4] = [str(plant / "drive.bin")] * 2
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    running = [subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [one.wait(timeout=120) for one in running] == [0] * 5
    known = ["--trust", plant / "home" / "trust.toml", "--station-home", plant / "home"]
    code, out, _ = run("record", "check", plant / "records", *known, "--json")
    assert (code, json.loads(out)["records"]) == (0, 15)


def test_the_stations_journal_misses_what_was_removed_from_the_share(run: Run, plant: Path) -> None:
    """Who can write to the folder and not to the station's home cannot take the newest records away unseen."""
    for _ in range(3):
        assert run(*verify(plant))[0] == 0
    words = ["record", "check", plant / "records", "--trust", plant / "home" / "trust.toml"]
    asked = [*words, "--station-home", plant / "home"]
    assert run(*words)[0] == run(*asked)[0] == 0
    shutil.rmtree(record(plant, 3).parent)
    assert run(*words)[0] == 0
    code, out, _ = run(*asked)
    assert (code, "it ends at 2, the station's journal has signed 3" in out) == (1, True)
    assert run("record", "check", plant / "records", "--station-home", plant)[0] == 2


def test_keys_are_named_by_digest_certificate_or_public_key(run: Run, plant: Path) -> None:
    assert run(*verify(plant))[0] == 0
    records, certificate = plant / "records", plant / "home" / "certificates" / "station.pem"
    public = plant / "public.pem"
    subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout", "-out", public], check=True)
    digest = next(line[6:] for line in record(plant).read_text().splitlines() if line.startswith("# key "))
    for key in (digest, certificate, public):
        assert run("record", "check", records, "--key", key)[0] == 0
    other = plant / "home" / "certificates" / "release.pem"
    assert run("record", "check", records, "--key", other)[0] == 1
    assert run("record", "check", records, "--key", other, "--key", certificate)[0] == 0
    for bad in ("sha256:12", plant / "drive.bin"):
        assert run("record", "check", records, "--key", bad)[0] == 2
    assert run("record", "check", records, "--key", digest, "--trust", plant / "home" / "trust.toml")[0] == 2


def test_the_logbook_has_what_cip_010_asks_for(run: Run, plant: Path) -> None:
    assert run(*verify(plant, "--person", "eva", "--change", "CHG-1"))[0] == 0
    (plant / "drive.bin").write_bytes(b"changed")
    assert run(*verify(plant, signed=False))[0] == 1
    book = plant / "logbook.csv"
    assert run("record", "export", plant / "records", "--out", book)[0] == 0
    good, bad = list(csv.DictReader(io.StringIO(book.read_text(), newline="")))
    assert (good["source_identity_verified"], good["integrity_verified"], good["outcome"]) == ("yes", "yes", "trusted")
    assert (good["check"], good["artifact"], good["change_as_stated"]) == ("before install", "drive.bin", "CHG-1")
    assert good["record_digest"] == f"sha256:{hashlib.sha256(record(plant).read_bytes()).hexdigest()}"
    assert good["judged_at"].endswith("Z")
    assert good["source_key"].startswith("sha256:")
    assert (bad["source_identity_verified"], bad["integrity_verified"], bad["outcome"]) == ("no", "no", "rejected")
    assert (bad["findings"].partition("(")[0], bad["record_key"]) == ("SW-FILE-CHANGED", "unsigned")
    assert run("record", "export", plant / "records", "--out", book)[0] == 1
    assert run("record", "export", plant / "records", "--out", book, "--replace", "--outcome", "trusted")[0] == 0
    assert len(book.read_text().splitlines()) == 2
    code, out, _ = run("record", "export", plant / "records")
    assert (code, len(out.splitlines())) == (0, 3)
    assert run("record", "export", plant / "records", "--json")[0] == 2
    code, out, _ = run("record", "export", plant / "records", "--out", plant / "b.csv", "--json")
    assert (code, json.loads(out)["records"]) == (0, 2)


def test_a_record_that_cannot_be_read_is_named_and_not_passed_over(run: Run, plant: Path) -> None:
    for _ in range(2):
        assert run(*verify(plant))[0] == 0
    assert run("record", "list", plant / "records")[0] == 0
    record(plant, 1).write_bytes(b"# sealwright record 1\n")
    for words in (("list",), ("list", "--json"), ("export",), ("export", "--out", plant / "b.csv")):
        code, _, said = run("record", words[0], plant / "records", *words[1:])
        assert (code, "cannot be read" in said) == (1, True)
    assert len((plant / "b.csv").read_text().splitlines()) == 2


def test_a_record_key_signs_nothing_else_and_no_other_key_signs_records(run: Run, plant: Path) -> None:
    code, _, said = run("sign", plant / "drive.bin", "--home", plant / "home", "--key", "station", "--replace")
    assert (code, "it is enrolled for record" in said) == (2, True)
    code, _, said = run(*verify(plant, "--station-home", plant / "home", "--station-key", "release", signed=False))
    assert (code, "it is enrolled for artifact" in said) == (2, True)


def test_a_record_is_not_signed_as_a_file(run: Run, plant: Path) -> None:
    assert run(*verify(plant))[0] == 0
    text = shutil.copy(record(plant), plant / "copy.txt")
    code, _, said = run("sign", text, "--home", plant / "home")
    assert (code, "begins like a Sealwright" in said) == (1, True)
    (plant / "copy.txt").write_text("no" + record(plant).read_text())
    assert run("sign", text, "--home", plant / "home")[0] == 0
