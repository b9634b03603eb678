"""The files that a service for hawkBit's clients offers: bytes that were compared, whoever writes to them meanwhile."""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from sealwright.errors import ChangedWhileRead, RepositoryRefused, SealwrightError
from sealwright.service.hawkbitfiles import BLOCK, RepositoryFiles

DATA = os.urandom(2 * BLOCK + 100)


@dataclass
class Shelf:
    """One file of a repository."""

    path: Path
    target: TargetFile
    files: RepositoryFiles

    def read(self) -> bytes:
        """The whole of it, as it is served."""
        with self.files.opened(self.target) as served:
            return b"".join(served.read(at) for at in range(0, self.target.length, BLOCK))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    target = TargetFile.from_data("drives/vx-200/1.0.0/system.swu", DATA, ["sha256"])
    path = tmp_path / "targets" / "drives" / "vx-200" / "1.0.0" / f"{target.hashes['sha256']}.system.swu"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return Shelf(path, target, RepositoryFiles(str(tmp_path)))


def test_a_file_is_served_from_any_offset_as_it_was_compared(shelf: Shelf) -> None:
    assert shelf.read() == DATA
    with shelf.files.opened(shelf.target) as served:
        assert served.read(BLOCK + 7) == DATA[BLOCK + 7 : 2 * BLOCK]
        assert served.read(2 * BLOCK + 99) == DATA[-1:]


def test_a_byte_that_changes_by_a_mapping_is_not_served_although_the_file_s_times_stay(shelf: Shelf) -> None:
    """A150: a page that is dirty already takes further writes without a change of any time."""
    with shelf.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = DATA
        assert shelf.read() == DATA
        mapped[BLOCK + 5 : BLOCK + 10] = bytes(5)
        with pytest.raises(SealwrightError) as refused:
            shelf.read()
        # by its block, or by its times where the kernel has written the page meanwhile
        assert isinstance(refused.value, ChangedWhileRead | RepositoryRefused)
        mapped[:] = DATA
        assert shelf.read() == DATA


def test_a_file_of_another_length_is_refused_before_it_is_read(shelf: Shelf) -> None:
    """A sparse file of a tebibyte costs its owner nothing; read whole, it would keep the service for an hour."""
    assert shelf.read() == DATA
    os.truncate(shelf.path, 1 << 40)
    with pytest.raises(RepositoryRefused, match="not as long"):
        shelf.files.sums(shelf.target)
    os.truncate(shelf.path, len(DATA))
    assert shelf.read() == DATA


def test_a_file_that_is_read_whole_keeps_nobody_from_one_that_was(shelf: Shelf) -> None:
    assert shelf.read() == DATA
    with shelf.files._reading:
        reader = threading.Thread(target=shelf.files.sums, args=(shelf.target,), daemon=True)
        reader.start()
        reader.join(20)
        assert not reader.is_alive()


def test_a_link_in_a_file_s_place_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    """A150: also one that leads to the same bytes; a second name of the file itself is the file."""
    second = tmp_path / "second"
    os.link(shelf.path, second)
    assert shelf.read() == DATA
    shelf.path.unlink()
    shelf.path.symlink_to(second)
    with pytest.raises(SealwrightError):
        shelf.read()
