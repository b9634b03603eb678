"""A vendor publishes, a plant accepts, a courier crosses the gap, twenty agents in two groups install by stages, one release is
withdrawn for a hole and refused afterwards even from an old stick; driven from outside by commands. Vendor and plant are two networks
without a way between them. What each step has to come to is written down in `EXPECTED`, and compared.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kit.network import network as alone
from kit.nginx import nginx
from sealwright.artifact.digest import Digest
from sealwright.release.channels import place

PRODUCT = "VX-200 drive"
PLACE = "drives/vx-200"
DEVICES = {f"gw-{number:02}": "line-1" if number < 10 else "line-2" for number in range(20)}
LINES = {line: [name for name, group in DEVICES.items() if group == line] for line in ("line-1", "line-2")}
PERCENT = 40
REPORTING = ("gw-00", "gw-19")

# Every step, who judges in it, and what that comes to: the codes are those of the findings or errors that refuse.
# drawn: the devices whose place in the roll-out is among the first 40 of 100; the others are not offered it yet.
EXPECTED: Mapping[str, Mapping[str, str]] = {
    "1.4.1 arrives, and nobody here accepted it": {
        "another plant's courier desk": "refused: SW-COURIER-REFUSED",
        "plant's release desk": "refused: SW-RELEASE-REFUSED",
        "plant's station": "refused: SW-ACCEPTANCE-MISSING",
    },
    "1.4.1 is accepted": {
        "plant's station": "trusted",
        "line-1": "nothing-offered",
        "line-2": "nothing-offered",
    },
    "1.4.1 is offered to line-1": {
        "line-1": "installed, runs 1.4.1",
        "line-2": "nothing-offered",
    },
    "1.4.1 is offered to all": {
        "line-1": "nothing-new, runs 1.4.1",
        "line-2": "installed, runs 1.4.1",
    },
    "1.4.2 is offered to 40 percent": {
        "drawn": "installed, runs 1.4.2",
        "not drawn": "nothing-new, runs 1.4.1",
    },
    "1.4.2 is withdrawn": {
        "drawn": "nothing-new, runs 1.4.2",
        "not drawn": "nothing-new, runs 1.4.1",
        "not drawn, at an old stick with 1.4.2": "refused: SW-REPOSITORY-REFUSED",
    },
    "a new device sees only the old stick": {
        "without the deny list": "installed, runs 1.4.2",
        "with the deny list": "refused: SW-DENIED-GENERATION, SW-RULE-NONE",
    },
    "1.4.3 is offered to all": {
        "line-1": "installed, runs 1.4.3",
        "line-2": "installed, runs 1.4.3",
        "gw-00, at an old stick with 1.4.1": "refused: SW-REPOSITORY-REFUSED",
    },
    "the reports come back": {
        "vendor's desk": "2 of 2 devices reported",
        "1.4.3, line-1": "1 of 1 run it, 0 wait",
        "1.4.3, line-2": "1 of 1 run it, 0 wait",
        "couriers": "courier-acme-1: 2, courier-acme-2: 2, courier-acme-3: 2, courier-nordhof-1: 0",
    },
}


def verdict_of(code: int, said: str) -> str:
    """What a command with --json came to, with the codes of what refuses."""
    told = json.loads(said.splitlines()[0])
    if "error" in told:
        return f"refused: {told['error']['code']}"
    judged = told.get("verdict") or told
    grave = (one["code"] for one in judged.get("findings", []) if one["severity"] in ("reject", "undecided"))
    codes = ", ".join(dict.fromkeys(grave))
    outcome = told.get("outcome", "done")
    runs = f", runs {told['installed']['version']}" if told.get("installed") else ""
    assert (code == 0) is (not codes and outcome != "rejected"), said
    return f"refused: {codes}{runs}" if codes else f"{outcome}{runs}"


@dataclass
class Network:
    """A network of its own: commands run in it, and reach nothing outside."""

    words: tuple[str, ...]

    def run(self, *words: object, code: int | None = 0) -> str:
        """What a command of Sealwright prints; it ends with that code."""
        done = self.done(*words)
        assert code is None or done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def done(self, *words: object) -> subprocess.CompletedProcess[str]:
        """A command of Sealwright that has ended."""
        command = [*self.words, sys.executable, "-m", "sealwright", *(str(word) for word in words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def judged(self, *words: object) -> str:
        """What it came to."""
        done = self.done(*words, "--json")
        assert done.stdout, done.stderr
        return verdict_of(done.returncode, done.stdout)


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
    """Both houses, the devices' folders, the stick; found: what each step came to, for each who judged in it."""

    folder: Path
    vendor: House
    plant: House
    stick: Path
    url: str = ""
    running: dict[str, str] = field(default_factory=dict)
    found: dict[str, dict[str, str]] = field(default_factory=dict)
    step: str = ""

    def begin(self, step: str) -> None:
        """What is noted from now on belongs to it."""
        self.step = step
        self.found[step] = {}

    def note(self, who: str, verdict: str) -> None:
        """What somebody's judgement came to."""
        self.found[self.step][who] = verdict

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

    def round(self, name: str, repositories: str = "") -> str:
        """One round of a device's agent, and what it came to."""
        config = self.device(name, repositories or self.url)
        verdict = self.plant.net.judged("agent", "install", "--yes", "--config", config)
        link = self.folder / "devices" / name / "state" / "current"
        self.running[name] = link.readlink().name if link.is_symlink() else ""
        return verdict

    def rounds(self, parts: Mapping[str, Collection[str]]) -> None:
        """Everybody's round: one verdict for all of a part, else that of each."""
        with ThreadPoolExecutor(2) as pool:
            verdicts = dict(zip(DEVICES, pool.map(self.round, DEVICES), strict=True))
        for part, names in parts.items():
            told = {verdicts[name] for name in names}
            self.note(part, told.pop() if len(told) == 1 else str({name: verdicts[name] for name in sorted(names)}))


def write_trust(story: Story) -> None:
    """The plant's trust file: Acme signs drives, the plant accepts them; Acme's couriers come in; the repository is the plant's own."""
    run, path = story.plant.net.run, story.trust
    for one in story.plant.home.glob("trust.toml"):
        shutil.copy(one, path)
    text = path.read_text()
    rules = text.index("[[rule]]")
    rest = text.index("[[interpreter]]")
    path.write_text(text[:rules] + text[rest:])
    run("trust", "add", path, "repository", story.plant.desk / "public" / "metadata" / "1.root.json")
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
    came = into / "couriers"
    devices = into / "devices.txt"
    devices.write_text("# sealwright devices 1\n" + "".join(register_line(story, name) for name in REPORTING))
    asked = ("release", "status", story.vendor.desk, "--reports", came, "--devices", devices, "--couriers", story.stick)
    lines = [json.loads(line) for line in story.vendor.net.run(*asked, "--json").splitlines()]
    (rolled,) = (one for one in lines if one["kind"] == "roll-out")
    story.note("vendor's desk", f"{rolled['devices'] - rolled['never']} of {rolled['devices']} devices reported")
    for offer in rolled["offers"]:
        for group in offer["groups"]:
            stands = f"{group['runs']} of {group['devices']} run it, {group['waits']} wait"
            story.note(f"{offer['version']}, {group['group']}", stands)
    couriers = {one["name"]: one["devices"] for one in lines if one["kind"] == "courier"}
    story.note("couriers", ", ".join(f"{name}: {number}" for name, number in sorted(couriers.items())))
    assert "line-1: 1 of 1 run it, 0 wait" in story.vendor.net.run(*asked)

    # a report that somebody changed on the way is named, and no longer counted
    (one,) = sorted(came.glob("*/*/reports/gw-19-*.report"), key=lambda path: int(path.stem.rpartition("-")[2]))[-1:]
    one.write_bytes(one.read_bytes().replace(b"1.4.3", b"1.4.9"))
    assert one.name in story.vendor.net.run(*asked, code=1)


def vendor_offers(story: Story) -> None:
    """The vendor offers 1.4.3 in the repository of its own, too."""
    run, desk, release = story.vendor.net.run, story.vendor.desk, story.vendor.folder / "releases" / "1.4.3"
    run("release", "add", desk, release, "--to", PLACE, "--trust", story.vendor.home / "trust.toml")
    run("release", "promote", desk, PLACE, "1.4.3", "--channel", "production")
    story.vendor.publish()


def register_line(story: Story, name: str) -> str:
    """Of a device, as the vendor enters it."""
    home = story.folder / "devices" / name / "home"
    (key,) = (
        one["key"]
        for one in map(json.loads, story.plant.net.run("key", "list", "--home", home, "--json").splitlines())
        if one.get("name") == "device"
    )
    return f"{name} {key} {DEVICES[name]} nordhof\n"


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

    story.begin("1.4.1 arrives, and nobody here accepted it")
    first = story.carry(story.release("1.4.1", 1), 1)
    other = ("courier", "unpack", story.stick / "courier-acme-1", "--into", story.folder / "other", "--as", "suedhof")
    (story.folder / "other").mkdir(mode=0o700)
    (story.folder / "other-state").mkdir(mode=0o700)
    told = plant.net.judged(*other, "--trust", story.trust, "--state", story.folder / "other-state")
    story.note("another plant's courier desk", told)
    add = ("release", "add", plant.desk, first, "--to", PLACE, "--trust", story.trust)
    story.note("plant's release desk", plant.net.judged(*add))
    station = ("verify", first, "--trust", story.trust, "--hardware", "vx-200")
    story.note("plant's station", plant.net.judged(*station))

    story.begin("1.4.1 is accepted")
    story.accept(first)
    story.note("plant's station", plant.net.judged(*station))
    plant.publish()
    story.rounds(LINES)

    story.begin("1.4.1 is offered to line-1")
    story.promote("1.4.1", "--group", "line-1")
    story.rounds(LINES)
    story.begin("1.4.1 is offered to all")
    story.promote("1.4.1")
    story.rounds(LINES)
    shutil.copytree(plant.desk / "public", story.folder / "old-stick")

    story.begin("1.4.2 is offered to 40 percent")
    second = story.carry(story.release("1.4.2", 2), 2)
    story.accept(second)
    story.promote("1.4.2", "--percent", PERCENT)
    manifest = Digest.of((second.parent / "1.4.2.manifest").read_bytes())
    drawn = {name for name in DEVICES if place(name, manifest) < PERCENT}
    parts = {"drawn": drawn, "not drawn": DEVICES.keys() - drawn}
    story.rounds(parts)
    shutil.copytree(plant.desk / "public", story.folder / "stick-with-1.4.2")
    old = str(story.folder / "stick-with-1.4.2")

    # a hole becomes known: nobody is offered it any more, and an old stick that still offers it is refused by whoever has seen that
    story.begin("1.4.2 is withdrawn")
    plant.net.run("release", "withdraw", plant.desk, PLACE, "1.4.2", "--advisory", "CVE-2026-1234")
    plant.publish()
    story.rounds(parts)
    left = min(parts["not drawn"])
    story.note("not drawn, at an old stick with 1.4.2", story.round(left, old))
    assert story.running[left] == "1.4.1"

    # a device that was never on the network does not know of the withdrawal: for it the deny entry of the trust file is there
    story.begin("a new device sees only the old stick")
    unaware, warned = [name for name in (f"new-{n}" for n in range(99)) if place(name, manifest) < PERCENT][:2]
    story.note("without the deny list", story.round(unaware, old))
    deny = plant.folder / "deny.toml"
    plant.net.run("trust", "new", deny, "--for", story.trust)
    plant.net.run("trust", "add", deny, "deny", "product", PRODUCT, "--below", 3, "--reason", "CVE-2026-1234")
    plant.net.run("trust", "sign", deny, "--home", plant.home, "--person", "officer")
    story.note("with the deny list", story.round(warned, old))
    assert (story.running[unaware], story.running[warned]) == ("1.4.2", "")

    story.begin("1.4.3 is offered to all")
    third = story.carry(story.release("1.4.3", 3), 3)
    story.accept(third)
    story.promote("1.4.3")
    story.rounds(LINES)
    story.note("gw-00, at an old stick with 1.4.1", story.round("gw-00", str(story.folder / "old-stick")))
    assert {story.running[name] for name in DEVICES} == {"1.4.3"}

    story.begin("the reports come back")
    vendor_offers(story)
    bring_back(story)
    assert story.found == EXPECTED
    status = plant.net.run("agent", "status", "--config", story.folder / "devices/gw-00/agent.toml", "--json")
    assert json.loads(status.splitlines()[0])["installed"]["version"] == "1.4.3"
