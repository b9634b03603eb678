"""A number worked out by a second process: the same one whether there is a second process, none, or one that dies."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path

import pytest

from sealwright.artifact.aside import ASIDE_FROM, Aside
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.errors import ChangedWhileRead

SIZE = ASIDE_FROM + 3


def crc(source: OpenArtifact) -> int:
    total = 0
    for block in source.blocks([(0, SIZE)]):
        total = zlib.crc32(block, total)
    return total


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests in parallel has threads."""
    monkeypatch.setattr(threading, "active_count", lambda: 1)


@pytest.mark.usefixtures("single")
def test_the_child_says_what_would_be_found_here(artifact: Path) -> None:
    wanted = zlib.crc32(artifact.read_bytes())
    with open_artifact(str(artifact)) as source:
        with Aside(source, SIZE, crc) as aside:
            assert aside.child > 0
            assert crc(source) == aside.result() == wanted  # both read at the same time, each at its own place
        with pytest.raises(ChildProcessError):
            os.waitpid(aside.child, os.WNOHANG)


@pytest.mark.usefixtures("single")
def test_a_child_that_dies_is_not_missed(artifact: Path) -> None:
    wanted = zlib.crc32(artifact.read_bytes())
    with open_artifact(str(artifact)) as source, Aside(source, SIZE, crc) as aside:
        os.kill(aside.child, 9)
        assert aside.result() == wanted


@pytest.mark.usefixtures("single")
def test_the_child_reads_the_file_that_was_opened_and_not_one_that_took_its_name(artifact: Path) -> None:
    wanted = zlib.crc32(artifact.read_bytes())
    with open_artifact(str(artifact)) as source:
        other = artifact.with_name("other")
        other.write_bytes(bytes(SIZE))
        os.replace(other, artifact)
        with Aside(source, SIZE, crc) as aside:
            assert aside.child > 0
            assert aside.result() == wanted


@pytest.mark.usefixtures("single")
def test_what_cannot_be_read_is_told_here(artifact: Path) -> None:
    with open_artifact(str(artifact)) as source:
        assert crc(source) >= 0
        os.truncate(artifact, SIZE // 2)
        with Aside(source, SIZE, crc) as aside, pytest.raises(ChangedWhileRead):
            aside.result()


def test_beside_other_threads_and_for_small_files_there_is_no_child(artifact: Path) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        with open_artifact(str(artifact)) as source, Aside(source, SIZE, crc) as aside:
            assert aside.child < 0
            assert aside.result() == zlib.crc32(artifact.read_bytes())
    finally:
        done.set()
        other.join()
    with open_artifact(str(artifact)) as source, Aside(source, ASIDE_FROM - 1, crc) as aside:
        assert aside.child < 0
