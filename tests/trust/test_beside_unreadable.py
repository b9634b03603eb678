"""What lies beside a good file and cannot be read counts for nothing, as what is no signature does: it improves no verdict and stops none.

RULES 4: "a bad one is a finding and never improves a verdict". Else whoever may put a file into a folder stops what runs there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.pki import Pki, p7s
from kit.trust import RULE, believed, codes, judge, signed_file
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES
from sealwright.trust.toml import Toml
from sealwright.trust.verdict import Outcome, Purpose

PKI = Pki.make()
RELEASE = PKI.leaf("release")
PLANT_PKI = Pki.make("Plant")
PLANT = PLANT_PKI.leaf("acceptance")


def junk(path: Path) -> None:
    path.write_bytes(b"junk")


def huge(path: Path) -> None:
    path.write_bytes(b"\x30" * (MAX_ENVELOPE_BYTES + 1))


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nothing")


def fifo(path: Path) -> None:
    os.mkfifo(path)


UNREADABLE = [junk, huge, folder, dangling, fifo]


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize(
    ("suffix", "code"),
    [
        (".tsr", "SW-TIMESTAMP-UNREADABLE"),
        (".plant.p7s", "SW-SIGNATURE-IGNORED"),
        (".pq.p7s", "SW-SIGNATURE-IGNORED"),
    ],
)
@pytest.mark.parametrize("make", UNREADABLE)
def test_what_cannot_be_read_beside_a_good_signature_is_a_warning(
    tmp_path: Path, make: Callable[[Path], None], suffix: str, code: str, purpose: Purpose
) -> None:
    path = signed_file(tmp_path, RELEASE)
    assert judge(path, believed(PKI), purpose=purpose).outcome is Outcome.TRUSTED
    make(path.with_name(path.name + suffix))
    verdict = judge(path, believed(PKI), purpose=purpose)
    assert verdict.outcome is Outcome.TRUSTED, codes(verdict)
    assert [(one.code, one.severity.value) for one in verdict.findings if one.severity != "note"] == [(code, "warning")]


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("make", UNREADABLE)
def test_the_makers_signature_that_cannot_be_read_is_none(
    tmp_path: Path, make: Callable[[Path], None], purpose: Purpose
) -> None:
    path = signed_file(tmp_path, RELEASE)
    signature = path.with_name(f"{path.name}.p7s")
    signature.unlink()
    make(signature)
    assert judge(path, believed(PKI), purpose=purpose).outcome is Outcome.REJECTED


@pytest.mark.parametrize("make", UNREADABLE)
def test_a_rule_that_wants_the_plants_signature_takes_none_that_cannot_be_read(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = signed_file(tmp_path, RELEASE)
    signature = path.with_name(f"{path.name}.plant.p7s")
    signers: list[Toml] = [{"anchors": ["root"]}, {"slot": "plant", "anchors": ["plant"]}]
    anchors: list[Toml] = [
        {"name": "root", "environment": "production", "certificate": PKI.root.pem},
        {"name": "plant", "environment": "production", "certificate": PLANT_PKI.root.pem},
    ]
    people: list[Toml] = [
        {"id": "olga", "organisation": "ACME"},
        {"id": "rolf", "organisation": "ACME"},
        {"id": "v", "organisation": "ACME", "keys": [RELEASE.key_digest]},
        {"id": "p", "organisation": "Plant", "keys": [PLANT.key_digest]},
    ]
    trust = believed(PKI, anchor=anchors, person=people, rule=[{**RULE, "signer": signers}])
    signature.write_bytes(p7s(PLANT, path.read_bytes()))
    assert judge(path, trust).outcome is Outcome.TRUSTED, codes(judge(path, trust))
    signature.unlink()
    make(signature)
    assert judge(path, trust).outcome is Outcome.REJECTED
