"""A maker with a repository, and a device whose agent takes releases from it; every part is real."""

from __future__ import annotations

import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kit.manifests import manifest_pair
from kit.pki import Pki, Signer
from kit.trust import OFFICER, RULE, trust_parts, write_trust
from kit.tufrepo import TufRepository
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.device.agent import Agent, agent_at
from sealwright.device.agentconfig import AgentConfig, load_config
from sealwright.device.round import Doing, Round
from sealwright.release.channels import Channels, Named, Offer, Withdrawn, channels_bytes
from sealwright.trust.toml import Toml

PRODUCT = "VX-200 drive"
HARDWARE = "VX-200 rev C"
PLACE = "drives/vx-200"
NOW = datetime.now(UTC).replace(microsecond=0)
PURPOSES = {"signer": [{"anchors": ["root"], "purposes": ["updatePackageSigning"]}]}
PLAIN = "# sealwright release 1\n[[component]]\nname = 'application'\npath = 'application'\n"


@dataclass
class Maker:
    """Signs releases and publishes them."""

    folder: Path
    pki: Pki
    signer: Signer
    repository: TufRepository
    serial: int = 0
    offers: list[Offer] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path) -> Maker:
        """A new maker with an empty repository."""
        pki = Pki.make(at=NOW - timedelta(days=30))
        signer = pki.leaf("release", at=NOW - timedelta(days=10))
        return cls(folder, pki, signer, TufRepository(folder / "repository", NOW))

    def release(
        self,
        version: str,
        generation: int,
        *,
        files: Mapping[str, bytes] | None = None,
        description: str = PLAIN,
        product: str | None = PRODUCT,
        hardware: tuple[str, ...] = (HARDWARE,),
        signer: Signer | None = None,
    ) -> Named:
        """A signed release, among the repository's targets; published by `offer`."""
        folder = self.folder / "made" / version
        contents = files if files is not None else {"application/start": version.encode() * 100}
        for name, data in {**contents, "release.toml": description.encode()}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        claims = Claims(product, version, generation, hardware, "production")
        manifest = manifest_pair(folder, signer or self.signer, claims, at=NOW - timedelta(days=1))
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.repository.put(f"{PLACE}/{version}/{path.relative_to(folder)}", path.read_bytes())
        for beside in folder.parent.glob(f"{version}.manifest*"):
            self.repository.put(f"{PLACE}/{beside.name}", beside.read_bytes())
        return Named(version, generation, Digest.of(manifest.read_bytes()))

    def offer(self, *releases: Named, channel: str = "production", percent: int = 100) -> None:
        """Publish that these are what the channel offers."""
        self.offers = [Offer(channel, release, percent, ()) for release in releases]
        self.publish()

    def withdraw(self, release: Named, advisory: str = "CVE-2026-1234") -> None:
        """Publish that nobody is to install it any more."""
        self.withdrawn.append(Withdrawn(release, advisory))
        self.publish()

    def publish(self) -> None:
        """The channels as they are now."""
        self.serial += 1
        channels = Channels(PRODUCT, self.serial, tuple(self.offers), tuple(self.withdrawn))
        self.repository.put(f"{PLACE}/channels.json", channels_bytes(channels))
        self.repository.publish()

    def let_end(self, when: datetime) -> None:
        """Publish metadata that ends then; the next publication ends as usual."""
        usual, self.repository.timestamp.expires = self.repository.timestamp.expires, when
        self.repository.publish()
        self.repository.timestamp.expires = usual


@dataclass
class Site:
    """A device with its agent.toml, and the programs that it names."""

    folder: Path
    maker: Maker
    path: Path

    @property
    def state(self) -> Path:
        """The agent's folder."""
        return self.folder / "state"

    @property
    def current(self) -> Path:
        """The link to the installed release."""
        return self.state / "current"

    @property
    def config(self) -> AgentConfig:
        """agent.toml, read."""
        return load_config(str(self.path))

    def round(self, doing: Doing = Doing.INSTALL, clock: Callable[[], datetime] | None = None) -> Round:
        """One round with everybody's consent."""
        with agent_at(self.config, clock=clock) as agent:
            return agent.round(doing, lambda *_: True)

    def install(self) -> str:
        """A round; how it ended."""
        return self.round().outcome.value

    def with_agent(self, work: Callable[[Agent], Round]) -> Round:
        """Something else that an agent does."""
        with agent_at(self.config) as agent:
            return work(agent)

    @property
    def version(self) -> str:
        """The release that the link leads to; "" where there is none."""
        return self.current.readlink().name if self.current.is_symlink() else ""

    def codes(self, done: Round) -> list[str]:
        """What refused a round's release."""
        assert done.verdict is not None
        return [one.code for one in done.verdict.findings if one.severity in ("reject", "undecided")]


def program(path: Path, text: str) -> Path:
    """A shell script that an agent may run."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def site(
    folder: Path,
    maker: Maker,
    *,
    extra: str = "",
    installers: str = "",
    trust: Mapping[str, Toml] | None = None,
    **keys: str,
) -> Site:
    """A device. extra: more tables; installers: [[installer]] tables, one `folder` for the application where there are none; keys: of the top table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "state").mkdir(mode=0o755)
    write_device_trust(folder, maker, **(trust or {}))
    values = {
        "device": '"gw-17"',
        "serial": '"4711"',
        "hardware": f'"{HARDWARE}"',
        "product": f'"{PRODUCT}"',
        "path": f'"{PLACE}"',
        "group": '"line-1"',
        "channel": '"production"',
        "repositories": f'["{maker.repository.folder}"]',
        "trust": f'"{folder}/trust.toml"',
        "state": f'"{folder}/state"',
        "user": '"nobody"',
        "consent": '"auto"',
    } | keys
    top = "".join(f"{name} = {value}\n" for name, value in values.items())
    plain = "[[installer]]\ncomponent = 'application'\nkind = 'folder'\n"
    path = folder / "agent.toml"
    path.write_text(f"# sealwright agent 1\n{top}{installers or plain}{extra}")
    return Site(folder, maker, path)


def write_device_trust(folder: Path, maker: Maker, **changes: Toml) -> None:
    """The device's trust file, which names the repository's root."""
    day = timedelta(days=1)
    parts = trust_parts(
        maker.pki,
        **{
            "issued": NOW - 5 * day,
            "expires": NOW + 300 * day,
            "tuf_root": str(maker.repository.root_digest),
            "rule": [{**RULE, **PURPOSES}],
            **changes,
        },
    )
    write_trust(folder, parts, olga=OFFICER)


PYTHON = sys.executable
