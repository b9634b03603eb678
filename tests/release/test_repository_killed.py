"""A publication killed (SIGKILL) before each of the system calls by which it changes a disk: clients always find the old repository or
the new one, and the next publication ends what was begun."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.repository import PRODUCT, folder_client, holders, home_in, now, published, release, repository, trust_of
from sealwright.keys.key import KeyKind
from sealwright.release.beginning import hold
from sealwright.release.intake import add_releases
from sealwright.release.staging import Staging
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import open_home

CALLS = ("write", "link", "replace", "rename", "unlink", "fsync", "fdatasync", "mkdir")
OLD, NEW = "drives/vx-200/1.4.2.manifest", "drives/vx-200/1.4.3.manifest"
PARTS = 4  # the points are dealt out to so many tests, which run side by side


def killed_at(point: int, desk: Path, home: Path) -> bool:
    """Publish in a child that is killed before its call of that number; False where it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            _die_at(point)
            published(Staging(str(desk)), open_home(str(home)))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _die_at(point: int) -> None:
    left = [point]

    def counted(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(os, name, call)

    for name in CALLS:
        counted(name)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_publication_killed_before_any_call_leaves_the_old_repository_or_the_new_one(
    tmp_path: Path, part: int
) -> None:
    home = home_in(tmp_path)
    staging = repository(tmp_path, home, ("1.4.2", 7))
    add_releases(staging, [str(release(tmp_path / "next", home, "1.4.3", 8))], PRODUCT, trust_of(home), now())
    points, seen = 0, set()
    for place in killed_publications(tmp_path, part):
        points += 1
        staging = Staging(str(place / "desk"))
        before = folder_client(place / "client", staging)
        assert before.get_targetinfo(OLD) is not None
        seen.add(before.get_targetinfo(NEW) is not None)
        published(staging, open_home(str(place / "home")))
        after = folder_client(place / "client", staging)  # a client with a memory: nothing went back
        assert after.get_targetinfo(NEW) is not None
        assert Staging(str(place / "desk")).staged_names == ()
    assert points >= 15
    assert seen == {False, True}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_publication_of_other_online_keys_that_was_killed_ends_the_next_time(tmp_path: Path, part: int) -> None:
    """Between the new root and its timestamp clients have to wait (no file can be exchanged with another one): here they are not asked."""
    home = home_in(tmp_path)
    staging = repository(tmp_path, home, ("1.4.2", 7))
    enrol_for(home, "repository", "next-online", None, now(), KeyKind.P256)
    home = open_home(home.folder)
    for role in ("snapshot", "timestamp"):
        hold(staging, role, holders(home, "next-online"), now())
    points = 0
    for place in killed_publications(tmp_path, part):
        points += 1
        staging = Staging(str(place / "desk"))
        published(staging, open_home(str(place / "home")))
        assert folder_client(place / "client", staging).get_targetinfo(OLD) is not None
        again = Staging(str(place / "desk"))
        assert again.staged_names == ()
        assert again.published is not None
        assert again.published.root.signed.version == 2
    assert points >= 10


def killed_publications(folder: Path, part: int) -> Iterator[Path]:
    """A copy of `desk` and `home` for each point of a part, in which a publication was killed there."""
    for point in range(1 + part, 10_000, PARTS):
        place = folder / str(point)
        shutil.copytree(folder / "desk", place / "desk")
        shutil.copytree(folder / "home", place / "home")
        if not killed_at(point, place / "desk", place / "home"):
            return
        yield place
        shutil.rmtree(place)
