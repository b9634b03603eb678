"""Makers' own headers: what is hashed, what is claimed, and every image that a device could read differently."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.layouts import (
    DRIVE,
    METER,
    PLC,
    drive_image,
    layout,
    meter_image,
    plc_image,
    sign_layout,
    trusting,
)
from kit.mutate import flips
from kit.pki import Pki, Signer
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.LAYOUT)
RSA = PKI.leaf("plc key", kind=KeyKind.RSA3072, construction=Construction.LAYOUT)
EVERY = {
    "drive": (DRIVE, drive_image(), BOOT),
    "plc": (PLC, plc_image(), RSA),
    "meter": (METER, meter_image(), BOOT),
}
TRUST = trusting(PKI, DRIVE, PLC, METER, known=(BOOT, RSA))


def signed(folder: Path, which: str, *, claims: Claims = Claims(), signer: Signer | None = None) -> Path:  # noqa: B008
    text, image, key = EVERY[which]
    plain = folder / f"{which}.bin"
    plain.write_bytes(image)
    return sign_layout(plain, signer or key, folder / f"{which}.signed", text, claims=claims)


@pytest.mark.parametrize("which", EVERY)
def test_an_image_is_trusted_by_the_layout_that_the_trust_file_names(tmp_path: Path, which: str) -> None:
    path = signed(tmp_path, which)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, f"layout:{layout(EVERY[which][0]).name}"), codes(verdict)
    assert verdict.coverage.ranges[-1].end == path.stat().st_size
    unknown = judge(path, believed(PKI, certificate=knowing(BOOT, RSA)))
    assert codes(unknown) == ["SW-SIGNATURE-MISSING"]


@pytest.mark.parametrize("which", EVERY)
def test_no_changed_byte_is_accepted(tmp_path: Path, which: str) -> None:
    path = signed(tmp_path, which)
    data = path.read_bytes()
    assert judge(path, TRUST).outcome is TRUSTED
    bad = tmp_path / "bad"
    accepted = []
    for at, changed in flips(data):
        bad.write_bytes(changed)
        if judge(bad, TRUST).outcome is TRUSTED:
            accepted.append(at)
    factory = range(len(data) - 16, len(data)) if which == "meter" else range(0)
    assert accepted == list(factory)
