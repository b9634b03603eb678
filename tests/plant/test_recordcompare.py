"""A read-back compared with the record of its installation: signed by a station that counts, of this device, of an installation that was done."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kit.pki import Pki
from kit.records import FILE_DIGEST, recorder, signature_of, text_of
from kit.verdicts import NOW, verdict
from sealwright.artifact.digest import Digest
from sealwright.errors import HandoverRefused, MalformedArtifact, UsageError
from sealwright.findings import reject
from sealwright.plant.installation import Installation, Stage
from sealwright.plant.readback import Compared, Layout, Reading
from sealwright.plant.recordcheck import PinnedKeys
from sealwright.plant.recordcompare import compare_with_record
from sealwright.plant.recorder import Judged

PKI = Pki.make("Plant")
STATION, OTHER = PKI.leaf("station"), PKI.leaf("other")
STATIONS = PinnedKeys(frozenset({Digest.parse(STATION.key_digest)}))
DONE = Installation(Stage.DONE, "4711", component="boot", part=FILE_DIGEST)


def compared(
    folder: Path, of: Installation | None = DONE, found: bytes = b"firmware", serial: str = "4711", **how: object
) -> Compared:
    folder.mkdir(exist_ok=True)
    findings = (reject("SW-FILE-CHANGED", "drive.bin"),) if how.pop("is_refused", False) else ()
    signer = how.pop("signer", STATION)
    judged = Judged(verdict(*findings), None, NOW, of)
    recorder(folder, signer).record([judged])  # type: ignore[arg-type]
    (folder.parent / "back.bin").write_bytes(found)
    reading = Reading(str(folder.parent / "back.bin"), **how)  # type: ignore[arg-type]
    return compare_with_record(str(text_of(folder, 1).parent), serial, reading, STATIONS)


def test_the_digest_that_was_recorded_is_compared(tmp_path: Path) -> None:
    assert compared(tmp_path / "same").result.is_same
    result = compared(tmp_path / "other", found=b"firmwarf")
    assert (result.result.is_same, [one.code for one in result.findings]) == (False, ["SW-READBACK-OTHER"])


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"serial": "4712"}, "it is about the device 4711"),
        ({"of": replace(DONE, stage=Stage.BEGUN)}, "no installation that was done"),
        ({"of": replace(DONE, stage=Stage.FAILED)}, "no installation that was done"),
        ({"of": None}, "no installation that was done"),
        ({"is_refused": True}, "no installation that was done"),
        ({"of": replace(DONE, part=None)}, "no single file"),
        ({"signer": OTHER}, "was not named"),
        ({"signer": None}, "not signed"),
    ],
)
def test_a_record_that_counts_for_nothing_here_is_compared_with_nothing(
    how: dict[str, object], why: str, tmp_path: Path
) -> None:
    assert compared(tmp_path / "good").result.is_same
    with pytest.raises(HandoverRefused, match=why):
        compared(tmp_path / "bad", **how)  # type: ignore[arg-type]


def test_a_changed_record_is_refused(tmp_path: Path) -> None:
    records = tmp_path / "records"
    assert compared(records).result.is_same
    reading = Reading(str(tmp_path / "back.bin"))
    folder = text_of(records, 1).parent
    text = text_of(records, 1)
    good = text.read_bytes()
    text.write_bytes(good.replace(b"# serial 4711", b"# serial 4712"))
    with pytest.raises(HandoverRefused, match="does not hold"):
        compare_with_record(str(folder), "4712", reading, STATIONS)
    text.write_bytes(good[:-3])
    with pytest.raises(MalformedArtifact):
        compare_with_record(str(folder), "4711", reading, STATIONS)
    text.write_bytes(good)
    signature_of(records, 1).unlink()
    with pytest.raises(HandoverRefused, match="there is none"):
        compare_with_record(str(folder), "4711", reading, STATIONS)
    shutil.rmtree(folder)
    with pytest.raises(MalformedArtifact):
        compare_with_record(str(folder), "4711", reading, STATIONS)


def test_a_record_knows_no_layout(tmp_path: Path) -> None:
    assert compared(tmp_path / "exact").result.is_same
    with pytest.raises(UsageError, match="a digest alone"):
        compared(tmp_path / "memory", layout=Layout.MEMORY)
