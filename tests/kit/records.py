"""Folders of records for tests: written as `verify --record` writes them, by stations of a test's own PKI."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from kit.pki import NOW, Signer, p7s
from kit.verdicts import verdict
from sealwright.artifact.digest import Digest
from sealwright.findings import Finding
from sealwright.plant.recorder import Judged, Recorded, Recorder, unsigned
from sealwright.plant.recordfolder import place_of
from sealwright.plant.records import Asserted, Station
from sealwright.trust.verdict import Verdict

FILE_DIGEST = Digest.of(b"firmware")


def recorder(folder: Path, signer: Signer | None = None, host: str = "pc7", at: datetime = NOW) -> Recorder:
    """A station, with or without a key; at: what its signatures claim."""
    key = Digest.parse(signer.key_digest) if signer is not None else None

    def sign(texts: Sequence[bytes]) -> list[bytes]:
        assert signer is not None
        return [p7s(signer, text, kind="record", at=at) for text in texts]

    station = Station(host, "uid:1000", "0.1.0", key)
    return Recorder(str(folder), station, Asserted("", "CHG-1"), unsigned if signer is None else sign)


def write(
    folder: Path,
    count: int = 1,
    signer: Signer | None = None,
    *findings: Finding,
    host: str = "pc7",
    at: datetime = NOW,
    of: Verdict | None = None,
) -> list[Recorded]:
    """So many records of one verdict each, one after the other."""
    folder.mkdir(exist_ok=True)
    one = Judged(of or verdict(*findings), FILE_DIGEST, at)
    return [recorder(folder, signer, host, at).record([one])[0] for _ in range(count)]


def text_of(folder: Path, number: int) -> Path:
    """The text of a record."""
    return Path(place_of(str(folder), number)) / "record.txt"


def signature_of(folder: Path, number: int) -> Path:
    """Its signature."""
    return Path(place_of(str(folder), number)) / "record.txt.p7s"


def copied(folder: Path, target: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(folder, target))
