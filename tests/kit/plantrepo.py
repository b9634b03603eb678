"""A plant with a repository of its own beside its maker's: it offers what it accepted, and has none of the files."""

from __future__ import annotations

from pathlib import Path

from kit.agents import NOW, PLACE, PURPOSES, Maker, Site, site
from kit.pki import DAY, p7s
from kit.statements import accept
from kit.trust import OFFICER, RECOVERY, RULE, person
from sealwright.release.channels import Named
from sealwright.trust.toml import Toml

NAME = "nordhof"
BOTH: dict[str, Toml] = {
    **RULE,
    "signer": [
        {"anchors": ["root"], "purposes": ["updatePackageSigning"]},
        {"slot": "plant", "anchors": ["plant"], "persons": ["anna"]},
    ],
}
EITHER: dict[str, Toml] = {**RULE, **PURPOSES}


def following(folder: Path, maker: Maker, plant: Maker, rule: dict[str, Toml] | None = None, **keys: str) -> Site:
    """A device that follows both. rule: of its trust file, EITHER where none is given; keys: of agent.toml's top."""
    anchors: list[Toml] = [
        {"name": "root", "environment": "production", "certificate": maker.pki.root.pem},
        {"name": "plant", "environment": "production", "certificate": plant.pki.root.pem},
    ]
    people: list[Toml] = [
        person("olga", OFFICER),
        person("rolf", RECOVERY),
        person("vendor-1", maker.signer),
        person("anna", plant.signer, organisation="Plant"),
    ]
    table = f'[plant]\nrepository = "{NAME}"\nrepositories = ["{plant.repository.folder}"]\n'
    roots: list[Toml] = [{"name": NAME, "root": str(plant.repository.root_digest)}]
    trust: dict[str, Toml] = {"anchor": anchors, "person": people, "rule": [rule or EITHER], "repository": roots}
    return site(folder, maker, extra=table, trust=trust, **keys)


def accepted(plant: Maker, maker: Maker, release: Named) -> None:
    """The plant's acceptance of a release, among its repository's targets; published by `offer`."""
    path = maker.folder / "made" / release.version
    at = NOW - DAY / 2
    accept(path, plant.signer, "anna", accepted=at)
    text = path.with_name(f"{path.name}.plant.manifest").read_bytes()
    path.with_name(f"{path.name}.plant.manifest.p7s").write_bytes(p7s(plant.signer, text, kind="acceptance", at=at))
    for beside in sorted(path.parent.glob(f"{path.name}.plant.manifest*")):
        plant.repository.put(f"{PLACE}/{beside.name}", beside.read_bytes())
        beside.unlink()
