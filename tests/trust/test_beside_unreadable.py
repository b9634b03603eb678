"""What lies beside a good file and cannot be read counts for nothing, as what is no signature does. It ends an installation, where
somebody is there to take it away (A071), and never what runs: else whoever may put a file into a folder stops the plant.
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


NO_FILES = [huge, folder, dangling, fifo]
UNREADABLE = [junk, *NO_FILES]


BESIDE = [
    (".tsr", "SW-TIMESTAMP-UNREADABLE"),
    (".plant.p7s", "SW-SIGNATURE-IGNORED"),
    (".pq.p7s", "SW-SIGNATURE-IGNORED"),
]


@pytest.mark.parametrize(
    ("purpose", "make"), [*((Purpose.RUN, one) for one in UNREADABLE), *((one, junk) for one in Purpose)]
)
@pytest.mark.parametrize(("suffix", "code"), BESIDE)
def test_what_cannot_be_read_beside_a_good_signature_is_a_warning_for_what_runs(
    tmp_path: Path, make: Callable[[Path], None], suffix: str, code: str, purpose: Purpose
) -> None:
    path = signed_file(tmp_path, RELEASE)
    assert judge(path, believed(PKI), purpose=purpose).outcome is Outcome.TRUSTED
    make(path.with_name(path.name + suffix))
    verdict = judge(path, believed(PKI), purpose=purpose)
    assert verdict.outcome is Outcome.TRUSTED, codes(verdict)
    assert [(one.code, one.severity.value) for one in verdict.findings if one.severity != "note"] == [(code, "warning")]


@pytest.mark.parametrize("purpose", [Purpose.INSTALL, Purpose.RESTORE])
@pytest.mark.parametrize("make", NO_FILES)
@pytest.mark.parametrize(("suffix", "_code"), BESIDE)
def test_what_is_no_file_beside_a_signature_ends_an_installation(
    tmp_path: Path, make: Callable[[Path], None], suffix: str, _code: str, purpose: Purpose
) -> None:
    path = signed_file(tmp_path, RELEASE)
    make(path.with_name(path.name + suffix))
    assert codes(judge(path, believed(PKI), purpose=purpose))[0] in ("SW-FILE-UNREADABLE", "SW-LIMIT")


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


@pytest.mark.parametrize("purpose", list(Purpose))
@pytest.mark.parametrize("make", UNREADABLE)
def test_a_rule_that_wants_the_plants_signature_takes_none_that_cannot_be_read(
    tmp_path: Path, make: Callable[[Path], None], purpose: Purpose
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
    assert judge(path, trust, purpose=purpose).outcome is Outcome.TRUSTED
    signature.unlink()
    make(signature)
    assert judge(path, trust, purpose=purpose).outcome is Outcome.REJECTED
