"""A digest begun early is the digest of the bytes of the one open file, or an error; nobody sees that it was begun."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

import pytest

from sealwright.artifact import source as room
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import open_artifact, reading_ahead
from sealwright.errors import ChangedWhileRead, Unreadable

DATA = os.urandom(5 * 1024 * 1024 + 3)


class Counted:
    """Bytes told of."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, bytes_done: int) -> None:
        self.done += bytes_done


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(room, "AHEAD_FROM", 1024)
    path = tmp_path / "image.bin"
    path.write_bytes(DATA)
    return str(path)


@pytest.mark.parametrize("names", [{HashName.SHA256}, {HashName.SHA256, HashName.SHA512}, {HashName.SHA384}])
def test_the_digests_are_those_of_the_file(file: str, names: set[HashName]) -> None:
    interval, progress = sys.getswitchinterval(), Counted()
    with reading_ahead([file]), open_artifact(file) as source:
        assert source.read_at(2, 5) == DATA[2:7]
        assert source.digests(names, progress) == {name: Digest.of(DATA, name) for name in names}
        assert source.read_at(0, 4) == DATA[:4]
    assert progress.done >= len(DATA)
    assert sys.getswitchinterval() == interval
    assert "ahead" not in {thread.name for thread in threading.enumerate()}


def test_what_was_read_before_anybody_asked_is_told_too(file: str) -> None:
    progress = Counted()
    with reading_ahead([file]), open_artifact(file) as source:
        next(thread for thread in threading.enumerate() if thread.name == "ahead").join()
        source.digests({HashName.SHA256}, progress)
    assert progress.done == len(DATA)


@pytest.mark.parametrize("change", ["grown", "cut", "touched"])
def test_a_file_that_changes_meanwhile_is_refused(file: str, change: str) -> None:
    with reading_ahead([file]), open_artifact(file) as source:
        source.digests({HashName.SHA256})
    with reading_ahead([file]):
        if change == "grown":
            with open(file, "ab") as more:
                more.write(b"x")
        elif change == "cut":
            os.truncate(file, 1000)
        else:
            with open(file, "r+b") as other:
                other.write(b"X")
            os.utime(file, ns=(1, 1))
        with open_artifact(file) as source, pytest.raises(ChangedWhileRead):
            source.digests({HashName.SHA256})


def test_a_read_error_is_told_by_name(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "medium")

    with reading_ahead([file]), open_artifact(file) as source:
        assert source.digests({HashName.SHA256})
    monkeypatch.setattr(os, "preadv", broken)
    with reading_ahead([file]), open_artifact(file) as source, pytest.raises(Unreadable, match="read error"):
        source.digests({HashName.SHA256})


def test_what_nobody_took_over_is_closed_and_forgotten(file: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError), reading_ahead([file]):
        raise KeyError
    assert room._AHEAD == {}
    assert len(os.listdir("/proc/self/fd")) == before
    Path(file).write_bytes(b"another")
    with open_artifact(file) as source:
        assert source.digests({HashName.SHA256}) == {HashName.SHA256: Digest.of(b"another")}


def test_small_missing_and_several_files_are_left_for_later(file: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x")
    for paths in ([str(tmp_path / "small")], [str(tmp_path / "absent")], [str(tmp_path)], [file, file], []):
        with reading_ahead(paths):
            assert room._AHEAD == {}
