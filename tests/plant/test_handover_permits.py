"""A permit at the engineering station: it counts for the one serial number, once, and the record names it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.engineering import installations, recorded, vendor_tool
from kit.manifests import claimed
from kit.permits import DEVICE, PRODUCT, PermitPlant, permit_for, presented, write_permit
from kit.pki import NOW
from kit.records import recorder
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import HandoverRefused
from sealwright.plant.handover import Device, Ended, hand_over, prepare
from sealwright.plant.installation import Stage
from sealwright.plant.vendortool import Tool
from sealwright.trust.state import update_state
from sealwright.trust.verify import Remember, Request, Verifier


@pytest.fixture(scope="module")
def tool() -> Iterator[Path]:
    with vendor_tool() as program:
        yield program


def test_a_permit_counts_for_one_serial_number_and_once(tool: Path, tmp_path: Path) -> None:
    plant = PermitPlant()
    for name in ("made", "state", "records"):
        (tmp_path / name).mkdir()
    file = claimed(tmp_path / "made", plant.release, Claims(PRODUCT, "2.4", 7))
    digest = Digest.of(file.read_bytes())
    permit = write_permit(tmp_path / "permits", permit_for(digest, "drive.bin"), p_1=plant.one)

    def load(number: int, serial: str, *permits: Path, program: Path = tool) -> Ended:
        request = Request(
            clock=NOW,
            state=str(tmp_path / "state"),
            device=serial,
            permits=tuple(map(presented, permits)),
            remember=Remember.PROVED,
        )
        place = tmp_path / f"place-{number}"
        place.mkdir(mode=0o700)
        prepared = prepare(str(file), str(place), Device(serial), "", Verifier(plant.trust(), request))
        loading = Tool((str(program), str(tmp_path / "device"), "{file}"))
        return hand_over(prepared, Device(serial), loading, recorder(tmp_path / "records"))

    unsafe = tmp_path / "unsafe"
    unsafe.write_text("#!/bin/sh\n")
    unsafe.chmod(0o777)
    with pytest.raises(HandoverRefused):  # nothing was given to anybody, and the permit is as good as before
        load(0, DEVICE, permit, program=unsafe)
    stages = [load(1, DEVICE).stage, load(2, "pump-4712", permit).stage, load(3, DEVICE, permit).stage]
    assert stages == [Stage.REFUSED, Stage.REFUSED, Stage.DONE]
    assert load(4, DEVICE, permit).stage is Stage.REFUSED
    assert [one.stage for one in installations(tmp_path / "records")] == [
        Stage.REFUSED, Stage.REFUSED, Stage.BEGUN, Stage.DONE, Stage.REFUSED,
    ]  # fmt: skip
    named = [one.record.facts.permit for one in recorded(tmp_path / "records") if one.record is not None]
    assert [one.device if one is not None else "" for one in named] == ["", "", DEVICE, DEVICE, ""]


@pytest.mark.parametrize("how", ["spent", "newer"])
def test_what_another_station_did_between_the_verdict_and_the_tool_counts(tool: Path, tmp_path: Path, how: str) -> None:
    plant = PermitPlant()
    for name in ("made", "state", "records", "one", "two"):
        (tmp_path / name).mkdir(mode=0o700)
    file = claimed(tmp_path / "made", plant.release, Claims(PRODUCT, "2.4", 7))
    permits = [write_permit(tmp_path / "permits", permit_for(Digest.of(file.read_bytes()), "drive.bin"), p_1=plant.one)]
    state, device = str(tmp_path / "state"), Device(DEVICE)
    request = Request(
        clock=NOW, state=state, device=DEVICE, permits=tuple(map(presented, permits)), remember=Remember.PROVED
    )
    loading = Tool((str(tool), str(tmp_path / "device"), "{file}"))
    first, second = (
        prepare(str(file), str(tmp_path / place), device, "", Verifier(plant.trust(), request))
        for place in ("one", "two")
    )
    if how == "newer":  # and a verdict that needs no permit
        first, second = (
            one._replace(judged=one.judged._replace(verdict=one.judged.verdict._replace(permitted=None)))
            for one in (first, second)
        )
    assert hand_over(first, device, loading, recorder(tmp_path / "records")).stage is Stage.DONE
    if how == "newer":
        update_state(state, lambda kept: kept.having_proved(PRODUCT, 8))
    ended = hand_over(second, device, loading, recorder(tmp_path / "records"))
    assert ended.stage is Stage.REFUSED
    code = "SW-PERMIT-SPENT" if how == "spent" else "SW-GENERATION-OLD"
    assert code in {one.code for one in ended.begun.verdict.findings}
