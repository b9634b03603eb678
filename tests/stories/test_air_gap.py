"""A vendor publishes, a plant accepts, a courier crosses the gap, twenty agents in two groups install by stages, one release is
withdrawn for a hole and refused afterwards even from an old stick; driven from outside by commands. Vendor and plant are two networks
without a way between them. What each step has to come to is written down in `EXPECTED`, and compared.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kit.network import network as alone
from kit.nginx import nginx
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import parse_report
from sealwright.release.channels import place

PRODUCT = "VX-200 drive"
PLACE = "drives/vx-200"
DEVICES = {f"gw-{number:02}": "line-1" if number < 10 else "line-2" for number in range(20)}
PERCENT = 40
REPORTING = ("gw-00", "gw-19")

# what the agents say at each step, and what runs afterwards
EXPECTED: Mapping[str, Mapping[str, int]] = {
    "before anything is accepted": {"": 20},
    "1.4.1 for line-1": {"1.4.1": 10, "": 10},
    "1.4.1 for all": {"1.4.1": 20},
    "1.4.3 for all": {"1.4.3": 20},
}


@dataclass
class Network:
    """A network of its own: commands run in it, and reach nothing outside."""

    words: tuple[str, ...]

    def run(self, *words: object, code: int | None = 0, cwd: Path | None = None) -> str:
        """What a command of Sealwright prints; it ends with that code."""
        command = [*self.words, sys.executable, "-m", "sealwright", *(str(word) for word in words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)
        assert code is None or done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr


@contextmanager
def network() -> Iterator[Network]:
    """One with nothing but its own loopback, as root; without root this one."""
    with alone() as words:
        yield Network(words)


@dataclass
class House:
    """A folder with a signing home and a release desk, in a network."""

    folder: Path
    net: Network

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def desk(self) -> Path:
        return self.folder / "desk"

    def begin(self) -> None:
        """A home, keys for the roles of a repository, and an empty repository that is published."""
        self.folder.mkdir(mode=0o700)
        self.net.run("init", self.home)
        for name in ("repo-root", "repo-targets", "repo-online"):
            self.net.run("key", "enrol", "repository", "--home", self.home, "--name", name)
        keys = ("--root", "repo-root", "--targets", "repo-targets", "--online", "repo-online", "--line", "drives")
        self.net.run("release", "init", self.desk, "--home", self.home, *keys)

    def publish(self) -> str:
        """Sign what is staged and publish it."""
        self.net.run("release", "sign", self.desk, "--home", self.home, code=None)
        return self.net.run("release", "publish", self.desk, "--home", self.home)


@dataclass
class Story:
    """Both houses, the devices' folders, the stick."""

    folder: Path
    vendor: House
    plant: House
    stick: Path
    url: str = ""
    running: dict[str, str] = field(default_factory=dict)

    @property
    def trust(self) -> Path:
        """The plant's trust file, which its devices use."""
        return self.plant.folder / "trust.toml"

    def release(self, version: str, generation: int, text: str = "") -> Path:
        """The vendor makes and signs one."""
        folder = self.vendor.folder / "releases" / version
        (folder / "application").mkdir(parents=True)
        (folder / "application" / "start").write_text(text or f"firmware {version}\n" * 100)
        (folder / "release.toml").write_text(
            '# sealwright release 1\n[[component]]\nname = "application"\npath = "application"\n'
        )
        self.vendor.net.run(
            "release", "create", folder, "--home", self.vendor.home, "--product", PRODUCT,
            "--generation", generation, "--hardware", "vx-200", "--environment", "development",
        )  # fmt: skip
        return folder

    def carry(self, release: Path, number: int) -> Path:
        """Over the gap, and accepted by the plant: where it lies there."""
        self.stick.mkdir(exist_ok=True)
        self.vendor.net.run(
            "courier", "pack", self.stick, "--from", "acme", "--to", "nordhof", "--home", self.vendor.home,
            "--file", release, "--number", number,
        )  # fmt: skip
        name = f"courier-acme-{number}"
        self.plant.net.run(
            "courier", "unpack", self.stick / name, "--into", self.plant.folder / "transfer", "--as", "nordhof",
            "--trust", self.trust, "--state", self.plant.folder / "memory",
        )  # fmt: skip
        return self.plant.folder / "transfer" / "couriers" / name / name / "files" / release.name

    def accept(self, release: Path) -> None:
        """By the plant's acceptance officer, then into the plant's own repository."""
        self.plant.net.run("accept", release, "--home", self.plant.home, "--trust", self.trust)
        self.plant.net.run("release", "add", self.plant.desk, release, "--to", PLACE, "--trust", self.trust)

    def promote(self, version: str, *more: object) -> None:
        self.plant.net.run("release", "promote", self.plant.desk, PLACE, version, "--channel", "production", *more)
        self.plant.publish()

    def device(self, name: str, repositories: str) -> Path:
        """A device's agent.toml, with the plant's trust file in a folder of its own."""
        folder = self.folder / "devices" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            (folder / "state").mkdir()
        for old in folder.glob("trust*"):
            old.unlink()
        for path in (*self.trust.parent.glob("trust.toml*"), *self.trust.parent.glob("deny.toml*")):
            shutil.copy(path, folder)
        config = folder / "agent.toml"
        values = {
            "device": name, "serial": name, "hardware": "vx-200", "product": PRODUCT, "path": PLACE,
            "group": DEVICES.get(name, "line-1"), "channel": "production", "trust": f"{folder}/trust.toml",
            "state": f"{folder}/state", "user": "nobody", "consent": "auto",
        }  # fmt: skip
        top = "".join(f'{key} = "{value}"\n' for key, value in values.items())
        config.write_text(
            f'# sealwright agent 1\n{top}repositories = ["{repositories}"]\n'
            '[[installer]]\ncomponent = "application"\nkind = "folder"\n'
            + (self.reporting(folder) if name in REPORTING else "")
        )
        return config

    def reporting(self, folder: Path) -> str:
        """The device's own key and spool, made once."""
        if not (folder / "home").exists():
            self.plant.net.run("init", folder / "home")
            self.plant.net.run("key", "enrol", "report", "--home", folder / "home", "--name", "device")
            (folder / "reports").mkdir(mode=0o700)
        couriers = self.plant.folder / "transfer" / "couriers"
        return f'[report]\nhome = "{folder}/home"\nspool = "{folder}/reports"\ncouriers = "{couriers}"\n'

    def round(self, name: str, repositories: str = "") -> tuple[int, str]:
        """One round of a device's agent: its exit code, and what it said."""
        config = self.device(name, repositories or self.url)
        words = [*self.plant.net.words, sys.executable, "-m", "sealwright", "agent", "install", "--yes", "--config"]
        done = subprocess.run([*words, str(config)], capture_output=True, text=True, check=False, timeout=120)
        link = self.folder / "devices" / name / "state" / "current"
        self.running[name] = link.readlink().name if link.is_symlink() else ""
        return done.returncode, done.stdout + done.stderr

    def rounds(self, step: str) -> dict[str, tuple[int, str]]:
        """Everybody's round; what runs then is what was expected."""
        with ThreadPoolExecutor(2) as pool:
            answers = dict(zip(DEVICES, pool.map(self.round, DEVICES), strict=True))
        assert Counter(self.running[name] for name in DEVICES) == EXPECTED[step], (step, answers)
        return answers


def write_trust(story: Story) -> None:
    """The plant's trust file: Acme signs drives, the plant accepts them; Acme's couriers come in; the repository is the plant's own."""
    run, path = story.plant.net.run, story.trust
    for one in story.plant.home.glob("trust.toml"):
        shutil.copy(one, path)
    text = path.read_text()
    rules = text.index("[[rule]]")
    rest = text.index("[[interpreter]]")
    root = next((story.plant.desk / "public" / "metadata").glob("1.root.json"))
    first, body = (text[:rules] + text[rest:]).split("\n", 1)
    path.write_text(f'{first}\ntuf_root = "{Digest.of(root.read_bytes())}"\n{body}')
    run("trust", "add", path, "anchor", story.vendor.home / "ca.pem", "--name", "acme", "--environment", "development")
    purpose = ("--environment", "development", "--anchor", "acme", "--purpose", "updatePackageSigning")
    run("trust", "add", path, "rule", "drives", *purpose, "--product", PRODUCT, "--plant", "root")
    run("trust", "add", path, "rule", "couriers", *purpose, "--product", "courier from acme")
    run("trust", "sign", path, "--home", story.plant.home, "--person", "officer")
    # at the vendor the plant's couriers come in, and nothing else of the plant's
    path = story.vendor.folder / "trust.toml"
    shutil.copy(story.vendor.home / "trust.toml", path)
    run(
        "trust", "add", path, "anchor", story.plant.home / "ca.pem", "--name", "nordhof", "--environment", "development"
    )
    purpose = ("--environment", "development", "--anchor", "nordhof", "--purpose", "updatePackageSigning")
    run("trust", "add", path, "rule", "couriers", *purpose, "--product", "courier from nordhof")
    run("trust", "sign", path, "--home", story.vendor.home, "--person", "officer")


def bring_back(story: Story) -> None:
    """The devices' reports go out as releases came in, and the vendor reads who runs what and which couriers arrived."""
    reports = story.folder / "reports"
    reports.mkdir()
    for name in REPORTING:
        for path in (story.folder / "devices" / name / "reports").glob(f"{name}-*.report*"):
            shutil.copy(path, reports)
    story.plant.net.run(
        "courier", "pack", story.stick, "--from", "nordhof", "--to", "acme", "--home", story.plant.home,
        "--reports", reports, "--number", 1,
    )  # fmt: skip
    into = story.vendor.folder / "incoming"
    into.mkdir(mode=0o700)
    (into / "state").mkdir()
    story.vendor.net.run(
        "courier", "unpack", story.stick / "courier-nordhof-1", "--into", into, "--as", "acme",
        "--trust", story.vendor.folder / "trust.toml", "--state", into / "state",
    )  # fmt: skip
    came = into / "couriers/courier-nordhof-1/courier-nordhof-1/reports"
    assert "made" in story.vendor.net.run("report", "show", came)
    reported = [parse_report(path.read_bytes(), path.name) for path in came.glob("*.report")]
    newest = {one.device: one for one in sorted(reported, key=lambda one: one.number)}
    assert {name: one.running[0].version for name, one in newest.items()} == dict.fromkeys(REPORTING, "1.4.3")
    assert all(len(one.couriers) == 3 for one in newest.values())


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with ExitStack() as stack:
        tmp_path.chmod(0o755)
        vendor = House(tmp_path / "vendor", stack.enter_context(network()))
        plant = House(tmp_path / "plant", stack.enter_context(network()))
        made = Story(tmp_path, vendor, plant, tmp_path / "stick")
        for house in (vendor, plant):
            house.begin()
            house.publish()
        for name in ("transfer", "memory"):
            (plant.folder / name).mkdir(mode=0o700)
        write_trust(made)
        made.url = stack.enter_context(nginx(plant.desk / "public", tmp_path / "nginx", plant.net.words))
        yield made


def test_releases_cross_the_gap_and_never_go_backwards(story: Story) -> None:
    vendor, plant = story.vendor, story.plant
    if vendor.net.words:  # the plant's server is out of the vendor's reach
        seen = subprocess.run(
            [*vendor.net.words, "curl", "-sS", "--max-time", "5", story.url],
            capture_output=True,
            text=True,
            check=False,
        )
        assert seen.returncode == 7, seen.stderr

    first = story.carry(story.release("1.4.1", 1), 1)
    refused = plant.net.run("release", "add", plant.desk, first, "--to", PLACE, "--trust", story.trust, code=1)
    assert "would not install it" in refused
    plant.net.run("verify", first, "--trust", story.trust, "--hardware", "vx-200", code=1)
    vendor.net.run("courier", "unpack", story.stick, "--into", story.stick, "--as", "suedhof",
                   "--trust", vendor.home / "trust.toml", "--state", vendor.folder, code=1)  # fmt: skip

    story.accept(first)
    plant.net.run("verify", first, "--trust", story.trust, "--hardware", "vx-200")
    plant.publish()
    answers = story.rounds("before anything is accepted")
    assert {code for code, _ in answers.values()} == {0}

    story.promote("1.4.1", "--group", "line-1")
    story.rounds("1.4.1 for line-1")
    story.promote("1.4.1")
    story.rounds("1.4.1 for all")
    shutil.copytree(plant.desk / "public", story.folder / "old-stick")

    second = story.carry(story.release("1.4.2", 2), 2)
    story.accept(second)
    story.promote("1.4.2", "--percent", PERCENT)
    manifest = Digest.of((second.parent / "1.4.2.manifest").read_bytes())
    drawn = {name for name in DEVICES if place(name, manifest) < PERCENT}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(story.round, DEVICES))
    assert {name for name, version in story.running.items() if version == "1.4.2"} == drawn
    assert {story.running[name] for name in DEVICES if name not in drawn} <= {"1.4.1"}
    shutil.copytree(plant.desk / "public", story.folder / "stick-with-1.4.2")

    # a hole becomes known: nobody is offered it any more, and an old stick that still offers it is refused by whoever has seen that
    plant.net.run("release", "withdraw", plant.desk, PLACE, "1.4.2", "--advisory", "CVE-2026-1234")
    plant.publish()
    left = next(name for name in DEVICES if name not in drawn)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(story.round, DEVICES))
    assert {name for name, version in story.running.items() if version == "1.4.2"} == drawn
    code, said = story.round(left, str(story.folder / "stick-with-1.4.2"))
    assert code == 1, said
    assert story.running[left] == "1.4.1"
    assert re.search(r"version|older", said), said

    # a device that was never on the network does not know of the withdrawal: for it the deny entry of the trust file is there
    old = str(story.folder / "stick-with-1.4.2")
    unaware, told = [name for name in (f"new-{n}" for n in range(99)) if place(name, manifest) < PERCENT][:2]
    assert story.round(unaware, old)[0] == 0
    assert story.running[unaware] == "1.4.2"
    deny = plant.folder / "deny.toml"
    plant.net.run("trust", "new", deny, "--for", story.trust)
    plant.net.run("trust", "add", deny, "deny", "product", PRODUCT, "--below", 3, "--reason", "CVE-2026-1234")
    plant.net.run("trust", "sign", deny, "--home", plant.home, "--person", "officer")
    code, said = story.round(told, old)
    assert code == 1, said
    assert "SW-PRODUCT-DENIED" in said or "CVE-2026-1234" in said, said
    assert story.running[told] == ""

    third = story.carry(story.release("1.4.3", 3), 3)
    story.accept(third)
    story.promote("1.4.3")
    story.rounds("1.4.3 for all")
    code, said = story.round("gw-00", str(story.folder / "old-stick"))
    assert code == 1, said
    assert story.running["gw-00"] == "1.4.3"
    bring_back(story)
    status = plant.net.run("agent", "status", "--config", story.folder / "devices/gw-00/agent.toml", "--json")
    assert "1.4.3" in status
    json.loads(status.splitlines()[0])
