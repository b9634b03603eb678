"""A folder of records: nothing is overwritten, no two writers lose one, and a crash leaves a record whole or none."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.openssl import cms_verify
from kit.pki import Pki, Signer
from kit.records import recorder, signature_of, text_of, write
from kit.verdicts import NOW, verdict
from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedArtifact, OutputRefused
from sealwright.pki.profiles import RECORD_SIGNER
from sealwright.plant import recordfolder
from sealwright.plant.recordcheck import Check
from sealwright.plant.recorder import Judged
from sealwright.plant.recordfolder import append, end_of, stored
from sealwright.plant.recordreader import parse_record
from sealwright.trust.verdict import Outcome, Purpose


class Counting:
    """A progress that counts."""

    done = 0

    def advance(self, bytes_done: int) -> None:
        self.done += bytes_done


@pytest.fixture(scope="module")
def station() -> Signer:
    return Pki.make("Plant").leaf("pc7", profile=RECORD_SIGNER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "records").mkdir()
    return tmp_path / "records"


def numbers(folder: Path) -> list[int]:
    return [one.number for one in stored(str(folder))]


def wrong(folder: Path) -> list[str]:
    return [found.code for found in Check(str(folder)).findings(Counting())]


def test_each_record_names_the_one_before_it(folder: Path) -> None:
    write(folder, 3)
    records = [parse_record(text_of(folder, number).read_bytes(), "it") for number in (1, 2, 3)]
    assert [one.link.number for one in records] == [1, 2, 3]
    assert records[0].link.previous is None
    for number in (1, 2):
        assert records[number].link.previous == Digest.of(text_of(folder, number).read_bytes())
    assert len({one.link.folder for one in records}) == 1
    assert wrong(folder) == []


def test_the_thousandth_begins_a_folder(folder: Path) -> None:
    one = Judged(verdict(), None, NOW)
    for _ in range(21):
        recorder(folder).record([one] * 50)
    assert numbers(folder) == list(range(1, 1051))
    assert sorted(os.listdir(folder)) == ["000000", "000001"]
    assert len(os.listdir(folder / "000001")) == 51
    assert wrong(folder) == []


def test_openssl_reads_what_a_station_signed(folder: Path, tmp_path: Path, station: Signer) -> None:
    pki = Pki.make("Plant")
    own = pki.leaf("pc7", profile=RECORD_SIGNER)
    write(folder, 2, own)
    (tmp_path / "ca.pem").write_text(pki.root.pem)
    for number in (1, 2):
        assert cms_verify(signature_of(folder, number), text_of(folder, number), tmp_path / "ca.pem")[0]
    assert not cms_verify(signature_of(folder, 1), text_of(folder, 2), tmp_path / "ca.pem")[0]
    assert wrong(folder) == []


def test_many_threads_and_processes_at_once_lose_none(folder: Path) -> None:
    script = (
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "from kit.records import write\n"
        "for n in range(25): assert write(Path(sys.argv[1]), host=sys.argv[2])[0].path\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(folder), f"pc{n}"]) for n in range(4)]
    threads = [threading.Thread(target=write, args=(folder, 25)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.wait(timeout=120) for one in running] == [0] * 4
    assert numbers(folder) == list(range(1, 151))
    assert wrong(folder) == []
    hosts = [parse_record(one.text, "it").station.host for one in stored(str(folder))]
    assert {hosts.count(host) for host in ("pc0", "pc1", "pc2", "pc3")} == {25}


def test_a_number_that_another_writer_took_meanwhile_is_left_to_it(folder: Path) -> None:
    """Of a batch those before keep their numbers; the others are written, and signed, anew."""
    write(folder)
    rounds = []

    def sign(texts: list[bytes]) -> list[bytes]:
        rounds.append(len(texts))
        if len(rounds) == 1:  # between our look at the end and our rename
            for number in (2, 3):
                write(folder)
                assert number in numbers(folder)
        return [b""] * len(texts)

    one = Judged(verdict(path="/media/mine.bin"), None, NOW)
    rec = recorder(folder)
    paths = [found.path for found in recorder_with(rec, sign).record([one] * 3)]
    assert rounds == [3, 3]
    assert [Path(path).name for path in paths] == ["000000004", "000000005", "000000006"]
    assert wrong(folder) == []


def recorder_with(rec, sign):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(rec, sign=sign)


def test_a_folder_must_be_there_and_be_one(tmp_path: Path, folder: Path) -> None:
    write(folder)
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(folder)
    for name, why in (("nowhere", "no such folder"), ("file", "not a folder"), ("link", "symbolic link")):
        with pytest.raises(OutputRefused, match=why):
            end_of(str(tmp_path / name))
    assert numbers(folder) == [1]


def test_nothing_is_chained_to_a_record_that_is_damaged(folder: Path) -> None:
    write(folder, 2)
    good = text_of(folder, 2).read_bytes()
    text_of(folder, 2).write_bytes(good[:-1])
    with pytest.raises(MalformedArtifact):
        end_of(str(folder))
    (found,) = write(folder)
    assert (found.verdict.outcome, found.path) == (Outcome.REJECTED, "")
    assert found.verdict.findings[0].code == "SW-RECORD-NOT-WRITTEN"
    text_of(folder, 2).write_bytes(good)
    (found,) = write(folder)
    assert (found.verdict.outcome, Path(found.path).name) == (Outcome.TRUSTED, "000000003")


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync", "rename", "sync_folder"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
def test_whatever_fails_on_the_way_allows_no_install(
    folder: Path, call: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table of faults; the twin is the same verdict a moment later."""
    write(folder)

    def broken(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        if call == "sync_folder":
            patch.setattr(recordfolder, "sync_folder", broken)
        else:
            patch.setattr(recordfolder.os, call, broken)
        (found,) = write_to(folder)
    assert found.verdict.outcome is Outcome.REJECTED
    assert found.verdict.findings[0].code == "SW-RECORD-NOT-WRITTEN"
    assert str(folder) in found.verdict.findings[0].sentence
    left = [name for name in os.listdir(folder) if name.startswith(".new-")]
    assert left == []
    (found,) = write_to(folder)
    assert found.verdict.outcome is Outcome.TRUSTED
    assert wrong(folder) == []


def write_to(folder: Path, purpose: Purpose = Purpose.INSTALL):  # type: ignore[no-untyped-def]
    return recorder(folder).record([Judged(verdict(purpose=purpose), None, NOW)])


def test_a_full_disk_stops_no_plant(folder: Path) -> None:
    """What runs keeps running with a warning (IEC 62443-4-2 CR 2.10); what would be installed or restored is not."""
    folder.rmdir()
    wanted = {Purpose.INSTALL: Outcome.REJECTED, Purpose.RESTORE: Outcome.REJECTED, Purpose.RUN: Outcome.TRUSTED}
    for purpose, outcome in wanted.items():
        (found,) = write_to(folder, purpose)
        assert (found.verdict.outcome, found.path) == (outcome, "")
        assert found.verdict.findings[0].code == "SW-RECORD-NOT-WRITTEN"
    folder.mkdir()
    assert [write_to(folder, purpose)[0].verdict.outcome for purpose in wanted] == [Outcome.TRUSTED] * 3


def killed_at(folder: Path, pattern: str) -> None:
    """A writer that is killed at the first call of that name and argument, as by a power cut in between."""
    script = (
        "import os, signal, sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "from sealwright.plant import recordfolder\n"
        "from kit.records import write\n"
        f"name, after = {pattern!r}.split(':')\n"
        "where = os if hasattr(os, name) else recordfolder\n"
        "true = getattr(where, name)\n"
        "def dying(*a, **k):\n"
        "    if after == 'after': true(*a, **k)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "setattr(where, name, dying)\n"
        "write(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "pattern", [f"{call}:{when}" for call in ("fsync", "rename", "sync_folder") for when in ("before", "after")]
)
def test_a_crash_leaves_the_record_whole_or_none(folder: Path, pattern: str) -> None:
    write(folder)
    killed_at(folder, pattern)
    codes = set(wrong(folder))
    assert codes <= {"SW-RECORD-LEFTOVER"}
    assert numbers(folder) in ([1], [1, 2])
    assert (numbers(folder) == [1, 2]) is (pattern == "rename:after")
    write(folder)
    assert set(wrong(folder)) == codes
    assert numbers(folder) == list(range(1, len(numbers(folder)) + 1))


def traced(folder: Path) -> Iterator[str]:
    """The system calls of one writer that matter, in order."""
    script = (
        "import sys\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[1]), *sys.path]!r}\n"
        "from pathlib import Path\n"
        "from kit.records import write\n"
        "(found,) = write(Path(sys.argv[1]))\n"
        "print('VERDICT', flush=True)\n"
    )
    said = subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-e",
            "trace=rename,renameat,renameat2,fsync,write,mkdir",
            sys.executable,
            "-c",
            script,
            folder,
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    for line in said.splitlines():
        if str(folder) in line or "VERDICT" in line:
            yield re.sub(r"^\[pid +\d+\] ", "", line)


def test_the_record_is_on_disk_before_the_verdict_is_printed(folder: Path) -> None:
    write(folder)
    calls = [line.partition("(")[0] + (":VERDICT" if "VERDICT" in line else "") for line in traced(folder)]
    at = calls.index("rename")
    assert "write:VERDICT" in calls[at:]
    assert "fsync" in calls[:at]
    between = calls[at + 1 : calls.index("write:VERDICT")]
    assert between.count("fsync") == 2  # the thousand's folder, and the one above


def test_a_folder_in_the_place_of_the_next_number_is_not_written_over(folder: Path) -> None:
    write(folder)
    taken = folder / "000000" / "000000002"
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    (found,) = write(folder)
    assert found.verdict.outcome is Outcome.REJECTED
    assert os.listdir(taken) == ["notes.txt"]
    (taken / "notes.txt").unlink()
    taken.rmdir()
    assert write(folder)[0].verdict.outcome is Outcome.TRUSTED


def test_a_link_in_the_place_of_a_thousand_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "000000").symlink_to(tmp_path / "elsewhere")
    (found,) = write(folder)
    assert found.verdict.outcome is Outcome.REJECTED
    assert os.listdir(tmp_path / "elsewhere") == []
    (folder / "000000").unlink()
    assert write(folder)[0].verdict.outcome is Outcome.TRUSTED


def test_appending_nothing_writes_nothing(folder: Path) -> None:
    assert append(str(folder), [], lambda _: []) == []
    assert os.listdir(folder) == []
