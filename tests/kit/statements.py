"""The plant's two statements for tests, written beside a file or folder with their signatures; any part replaced by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kit.pki import NOW, Pki, Signer, p7s
from kit.trust import OFFICER, RECOVERY, RULE, believed, person
from sealwright.artifact.acceptance import Acceptance, acceptance_bytes
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over
from sealwright.artifact.receiving import Comparison, Evidence, Grade, Receiving, receiving_bytes
from sealwright.artifact.sums import FileEntry
from sealwright.artifact.tree import manifest_of_tree
from sealwright.trust.belief import Believed
from sealwright.trust.toml import Toml

SIGNED_BY = (".p7s", ".pq.p7s", ".manifest", ".manifest.p7s", ".received.manifest", ".received.manifest.p7s")


class Plant:
    """A maker's PKI and a plant's, with the plant's people, and the trust file that knows both."""

    def __init__(self) -> None:
        self.maker, self.own = Pki.make(), Pki.make("Plant")
        self.release = self.maker.leaf("release")
        self.anna, self.bert, self.carl = (self.own.leaf(name) for name in ("anna", "bert", "carl"))
        self.people: list[Toml] = [
            person("olga", OFFICER),
            person("rolf", RECOVERY),
            person("vendor-1", self.release),
            person("p-1", self.anna, organisation="Plant"),
            person("p-2", self.bert, organisation="Plant"),
            person("p-3", self.carl, organisation="Plant"),
        ]

    def trust(self, *rules: Mapping[str, Toml], **changes: Toml) -> Believed:
        """A trust file with these rules."""
        anchors: list[Toml] = [
            {"name": "root", "environment": "production", "certificate": self.maker.root.pem},
            {"name": "plant", "environment": "production", "certificate": self.own.root.pem},
        ]
        parts: dict[str, Toml] = {"anchor": anchors, "person": self.people, "rule": [dict(one) for one in rules]}
        return believed(self.maker, **(parts | changes))


MAKER: dict[str, Toml] = {"anchors": ["root"]}
PLANT: dict[str, Toml] = {"slot": "plant", "anchors": ["plant"], "persons": ["p-1", "p-2"]}
RECEIVER: dict[str, Toml] = {**PLANT, "count": 0}


def rule(*signers: Mapping[str, Toml], **changes: Toml) -> dict[str, Toml]:
    """A rule that these sign."""
    return {**RULE, "signer": [dict(one) for one in signers], **changes}


def accept(path: Path, signer: Signer, person: str = "p-1", **changes: object) -> Acceptance:
    """An acceptance of what lies there, signed. changes: parts of it."""
    named = [path.with_name(path.name + suffix) for suffix in SIGNED_BY]
    acceptance = Acceptance(
        HashName.SHA256,
        path.name.encode(),
        Over.TREE if path.is_dir() else Over.FILE,
        None if path.is_dir() else Digest.of(path.read_bytes()).value,
        tuple(sorted(FileEntry(one.name.encode(), Digest.of(one.read_bytes()).value) for one in named if one.exists())),
        NOW,
        person,
    )
    acceptance = replace(acceptance, **changes)  # type: ignore[arg-type]
    text = acceptance_bytes(acceptance)
    path.with_name(f"{path.name}.plant.manifest").write_bytes(text)
    path.with_name(f"{path.name}.plant.manifest.p7s").write_bytes(p7s(signer, text, kind="acceptance"))
    return acceptance


def receiving_of(path: Path, persons: tuple[str, ...] = ("p-1",), **changes: object) -> Receiving:
    """A receiving record of what lies there, with one piece of evidence, which is written."""
    kept = path.with_name(f"{path.name}.received")
    kept.mkdir(exist_ok=True)
    (kept / "mail.eml").write_bytes(b"It is ours. Kind regards")
    contents = (
        manifest_of_tree(str(path), HashName.SHA256, Claims())
        if path.is_dir()
        else Manifest(
            HashName.SHA256,
            Over.FILE,
            Claims(),
            (FileEntry(path.name.encode(), Digest.of(path.read_bytes()).value),),
            total_bytes=path.stat().st_size,
        )
    )
    record = Receiving(
        path.name.encode(),
        Grade.COMPARED,
        "https://vendor.example/drive",
        NOW,
        persons,
        contents,
        (Evidence("mail", b"mail.eml", Digest.of((kept / "mail.eml").read_bytes()).value, 24),),
        Comparison("sha256", contents.files[0].digest, "telephone"),
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def receive(path: Path, *signers: Signer, persons: tuple[str, ...] = ("p-1",), **changes: object) -> Receiving:
    """The same, written and signed by each person."""
    record = receiving_of(path, persons, **changes)
    text = receiving_bytes(record)
    path.with_name(f"{path.name}.received.manifest").write_bytes(text)
    for signer, person_ in zip(signers, record.persons, strict=True):
        signature = path.with_name(path.name + record.signature_suffix(person_))
        signature.write_bytes(p7s(signer, text, kind="receiving"))
    return record
