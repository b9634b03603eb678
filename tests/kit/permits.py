"""Permits for tests, written and signed in a folder of their own; any part replaced by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from kit.pki import HOUR, NOW, Pki, Signer, p7s, person_key
from kit.trust import OFFICER, RECOVERY, believed, person
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.lookedat import LookedAt, PermitFollowUp, follow_up_bytes
from sealwright.artifact.permit import Excuse, Permit, PermitKind, permit_bytes
from sealwright.artifact.sums import FileEntry
from sealwright.formats.permitfiles import Presented, read_follow_up, read_permit
from sealwright.trust.belief import Believed
from sealwright.trust.toml import Toml
from sealwright.trust.verdict import Verdict
from sealwright.trust.verify import Request, verify_paths

DEVICE = "pump-4711"
PRODUCT = "VX-200 drive"
MAKER: dict[str, Toml] = {"anchors": ["root"]}
ACCEPTED: dict[str, Toml] = {"slot": "plant", "anchors": ["plant"], "persons": ["p-1"]}
ANY: dict[str, Toml] = {
    "name": "night shift",
    "kinds": ["break-glass", "downgrade", "unlock", "restore"],
    "persons": ["p-1", "p-2"],
    "longest": "12h",
    "follow_up": ["p-3", "p-4"],
}


class PermitPlant:
    """A maker, a plant and its people, each with a key for permits; the trust file that knows them."""

    def __init__(self) -> None:
        self.maker, self.own = Pki.make(), Pki.make("Plant")
        self.release, self.anna = self.maker.leaf("release"), self.own.leaf("anna")
        self.one, self.second, self.two, self.three, self.four, self.stranger = (person_key() for _ in range(6))
        self.people: list[Toml] = [
            person("olga", OFFICER),
            person("rolf", RECOVERY),
            person("vendor-1", self.release),
            person("p-1", self.anna, self.one, self.second, organisation="Plant"),
            person("p-2", self.two, organisation="Plant"),
            person("p-3", self.three, organisation="Plant"),
            person("p-4", self.four, organisation="Plant"),
        ]

    def trust(
        self, *permits: Mapping[str, Toml], of_rule: Mapping[str, Toml] | None = None, **changes: Toml
    ) -> Believed:
        """A trust file whose one rule wants maker and plant; permits: its [[permit]] sections, `ANY` where none is given; of_rule: its parts."""
        anchors: list[Toml] = [
            {"name": "root", "environment": "production", "certificate": self.maker.root.pem},
            {"name": "plant", "environment": "production", "certificate": self.own.root.pem},
        ]
        only: dict[str, Toml] = {
            "name": "firmware",
            "environment": "production",
            "signer": [MAKER, ACCEPTED],
            **(of_rule or {}),
        }
        parts: dict[str, Toml] = {
            "anchor": anchors,
            "person": self.people,
            "rule": [only],
            "permit": [dict(one) for one in permits or (ANY,)],
        }
        return believed(self.maker, **(parts | changes))


def permit_for(artifact: Digest, name: str = "drive.bin.manifest", **changes: object) -> Permit:
    """A break-glass permit of person p-1 for one artifact, good from an hour before NOW. changes: parts of it."""
    permit = Permit(
        HashName.SHA256,
        PermitKind.BREAK_GLASS,
        "plant-7",
        DEVICE,
        PRODUCT,
        tuple(Excuse),
        NOW - HOUR,
        NOW + 7 * HOUR,
        ("p-1",),
        "5b" * 16,
        Digest.of(b"salt 00\nthe pump stands\n"),
        (FileEntry(name.encode(), artifact.value),),
    )
    changed = replace(permit, **changes)  # type: ignore[arg-type]
    return replace(changed, excuses=tuple(sorted(set(changed.excuses) & changed.kind.excuses)))


def write_permit(folder: Path, permit: Permit, name: str = "drive.permit", **signers: Signer) -> Path:
    """The permit's file with the signatures of persons (`p_1=key`)."""
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / name, permit_bytes(permit)
    path.write_bytes(text)
    for who, signer in signers.items():
        sign_statement(path, who.replace("_", "-"), signer)
    return path


def sign_statement(path: Path, who: str, signer: Signer, kind: str = "permit") -> None:
    """One person's signature beside a statement."""
    path.with_name(f"{path.name}.{who}.p7s").write_bytes(p7s(signer, path.read_bytes(), kind=kind))


def write_follow_up(
    permit: Path, outcome: LookedAt = LookedAt.CONFIRMED, trust: str = "plant-7", **signers: Signer
) -> Path:
    """A follow-up of a permit, signed by persons."""
    text = permit.read_bytes()
    persons = tuple(sorted(who.replace("_", "-") for who in signers))
    entry = FileEntry(permit.name.encode(), Digest.of(text).value)
    path = permit.with_name(f"{permit.name}.follow-up")
    path.write_bytes(follow_up_bytes(PermitFollowUp(HashName.SHA256, trust, outcome, persons, entry)))
    for who, signer in signers.items():
        sign_statement(path, who.replace("_", "-"), signer, "permit-follow-up")
    return path


def presented(path: Path) -> Presented[Permit]:
    """A permit as `verify` reads it."""
    return read_permit(str(path))


def looked_at(path: Path) -> Presented[PermitFollowUp]:
    """A follow-up as `permit check` reads it."""
    return read_follow_up(str(path))


def judge_with(
    path: Path, trust: Believed, *permits: Path, at: datetime = NOW, device: str = DEVICE, **request: object
) -> Verdict:
    """The verdict on one path on a device that has permits."""
    asked = Request(clock=at, device=device, permits=tuple(map(presented, permits)), **request)  # type: ignore[arg-type]
    (verdict,) = verify_paths([str(path)], trust, asked)
    return verdict


def said(verdict: Verdict) -> list[str]:
    """The codes about permits, in their order."""
    return [finding.code for finding in verdict.findings if finding.code.startswith("SW-PERMIT-")]
