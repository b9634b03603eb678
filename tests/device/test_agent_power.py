"""Power cuts at every write of an installation: the old release or the new one, whole and led to, and the next round finishes (A152).

The work is everything behind the fetching: copy, verdict, slot, installers, link, health, memory. Each point is before or after one call
that changes the disk. It takes longer than other tests because it has some three hundred points, each in a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.agents import PRODUCT, Maker, Site, program, site
from kit.powercut import dropped_at, killed_at, points
from sealwright.device.agent import agent_at
from sealwright.device.agentstate import parse_state
from sealwright.device.round import Doing
from sealwright.device.taking import take
from sealwright.release.channels import Named
from sealwright.trust.belief import load_trust
from sealwright.trust.state import read_state

PARTS = 8
LEAST_POINTS = 200
DESCRIPTION = (
    "# sealwright release 1\nenforces = 2\n"
    "[[component]]\nname = 'boot'\npath = 'boot.bin'\n"
    "[[component]]\nname = 'application'\npath = 'application'\n"
)
Cut = Callable[[int, Path, Callable[[], None]], int]


@dataclass
class Scene:
    """A device with one release installed and the next one staged, which can be put back to that."""

    device: Site
    offered: Named
    kept: Path

    @classmethod
    def made(cls, folder: Path) -> Scene:
        """The device has a flash that its installer writes durably and its health check compares."""
        maker = Maker.at(folder / "maker")
        flash = folder / "flash"
        write = program(folder / "write", f'cp "$1" {flash}.new && mv {flash}.new {flash}')
        old = program(folder / "old", f"echo 1.0.0 > {flash}.new && mv {flash}.new {flash}")
        health = program(folder / "healthy", f'test "$(cat {flash})" = "$(cat {folder}/device/state/current/boot.bin)"')
        installers = (
            f"[[installer]]\ncomponent = 'boot'\nkind = 'exec'\ninstall = ['{write}', '{{file}}']\nundo = ['{old}']\n"
            "[[installer]]\ncomponent = 'application'\nkind = 'folder'\n"
        )
        extra = f"[health]\ncommand = ['{health}']\ntries = 1\n"
        device = site(folder / "device", maker, installers=installers, extra=extra)
        first, second = (
            maker.release(version, number, files=files(version), description=DESCRIPTION)
            for number, version in ((1, "1.0.0"), (2, "1.1.0"))
        )
        maker.offer(first)
        assert device.install() == "installed"
        maker.offer(second)
        assert device.round(Doing.DRY_RUN).outcome == "would-install"
        copy(device.state, folder / "kept")
        return cls(device, second, folder / "kept")

    @property
    def flash(self) -> Path:
        """What the installer writes."""
        return self.device.folder.parent / "flash"

    @property
    def trouble(self) -> str:
        """What the agent wants somebody to look at."""
        return parse_state((self.device.state / "agent.json").read_bytes(), "agent.json").trouble

    def put_back(self) -> None:
        """As it was before the installation."""
        for one in self.device.state.iterdir():
            shutil.rmtree(one) if one.is_dir() and not one.is_symlink() else one.unlink()
        copy(self.kept, self.device.state)
        self.flash.write_text("1.0.0\n")

    def work(self) -> None:
        """What is cut off: a round behind its fetching."""
        with agent_at(self.device.config) as agent:
            done = take(agent, self.offered, load_trust(agent.config.trust), Doing.INSTALL, lambda *_: True)
            assert done.outcome == "installed"

    def check_startable(self) -> str:
        """The link leads to a whole release, the old one or the new one."""
        version = self.device.version
        assert version in ("1.0.0", "1.1.0")
        for name, data in files(version).items():
            assert (self.device.current / name).read_bytes() == data
        return version

    def check_recovers(self) -> str:
        """At its next start the agent knows what is there, nothing is between, and nothing advanced too early."""
        with agent_at(self.device.config) as agent:
            state = agent.state
        assert state.pending is None
        assert state.installed is not None
        version = self.check_startable()
        assert state.installed.release.version == version
        generations = read_state(str(self.device.state / "memory")).generations
        assert generations[PRODUCT] == state.installed.release.generation
        assert self.flash.read_text().strip() == version
        return version


def copy(source: Path, target: Path) -> None:
    """With owners, as the fetch process needs its own."""
    subprocess.run(["cp", "-aT", source, target], check=True)


def files(version: str) -> dict[str, bytes]:
    return {
        "boot.bin": f"{version}\n".encode(),
        **{f"application/part{n}": f"{version} {n}\n".encode() * 50 for n in range(6)},
        "application/common": b"the same in both\n" * 100,
    }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.made(tmp_path_factory.mktemp("power"))


def test_an_installation_has_hundreds_of_points_at_which_it_can_be_cut_off(scene: Scene) -> None:
    scene.put_back()
    assert points(scene.device.state, scene.work) >= LEAST_POINTS
    assert scene.check_recovers() == "1.1.0"


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_any_point_leaves_the_old_release_or_the_new_one(scene: Scene, part: int) -> None:
    seen = cut_at_each(scene, part, killed_at)
    assert seen <= {"1.0.0", "1.1.0"}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_disk_that_drops_what_was_not_synced_does_too(scene: Scene, part: int) -> None:
    """The twin: the same points, and behind each only what fsync and syncfs promised."""
    seen = cut_at_each(scene, part, dropped_at)
    assert seen <= {"1.0.0", "1.1.0"}


def cut_at_each(scene: Scene, part: int, cut: Cut) -> set[str]:
    seen, point = set(), part + 1
    while True:
        scene.put_back()
        code = cut(point, scene.device.state, scene.work)
        if code == 0:
            break
        assert code == -9, f"point {point}"
        scene.check_startable()
        seen.add(scene.check_recovers())
        assert scene.trouble == ""
        point += PARTS
    assert point > LEAST_POINTS
    return seen


def test_a_second_cut_while_the_first_is_being_mended_is_mended_too(scene: Scene) -> None:
    """Every seventh point, and in the mending of each a cut at every third."""

    def mend() -> None:
        with agent_at(scene.device.config):
            pass

    cuts = 0
    for first in range(1, 10_000, 7):
        scene.put_back()
        if killed_at(first, scene.device.state, scene.work) == 0:
            break
        for second in range(1, 200, 3):
            if killed_at(second, scene.device.state, mend) == 0:
                break
            cuts += 1
            scene.check_startable()
        scene.check_recovers()
    assert cuts > 20


def test_after_any_cut_the_next_round_installs_the_release(scene: Scene) -> None:
    for point in range(5, 10_000, 40):
        scene.put_back()
        if killed_at(point, scene.device.state, scene.work) == 0:
            break
        assert scene.device.round().outcome in ("installed", "nothing-new")
        assert scene.check_startable() == "1.1.0"
    assert os.path.islink(scene.device.current)
