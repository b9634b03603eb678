"""JSON for those who script it: one object a line, with fixed keys."""

from __future__ import annotations

import json

import pytest

from kit.verdicts import verdict
from sealwright.cli.jsonout import error_line, refused_line, verdict_line
from sealwright.errors import TrustRefused
from sealwright.findings import reject

KEYS = {
    "path", "outcome", "purpose", "exit_code", "headline", "findings", "signers", "rule", "mode", "contact", "times",
    "trust", "artifact", "format", "size", "claims", "coverage", "hypothetical", "accepted", "received", "permit", "record",
}  # fmt: skip


def test_a_verdict_is_one_line_with_every_key() -> None:
    line = verdict_line(verdict(), "")
    assert "\n" not in line
    value = json.loads(line)
    assert set(value) == KEYS
    assert (value["outcome"], value["exit_code"], value["purpose"]) == ("trusted", 0, "install")
    assert value["times"]["proved"] == "2026-11-01T12:00:00Z"
    assert value["times"]["floor"] is None
    assert value["claims"]["generation"] == 7
    assert value["coverage"] == [{"start": 0, "end": 1_048_576, "extent": "hashed", "reason": ""}]
    assert value["signers"][0]["accepted"] is True
    assert value["trust"]["version"] == 3


def test_a_finding_carries_code_subject_wanted_found_sentence_and_next_step() -> None:
    value = json.loads(verdict_line(verdict(reject("SW-HARDWARE-WRONG", "this device", "cpu-1", "cpu-2")), "x"))
    assert value["outcome"] == "rejected"
    assert value["findings"] == [
        {
            "code": "SW-HARDWARE-WRONG",
            "severity": "reject",
            "subject": "this device",
            "wanted": "cpu-1",
            "found": "cpu-2",
            "sentence": "this device: the hardware here is cpu-1, signed for is cpu-2",
            "next_step": "Take the file that is made for this hardware.",
        }
    ]


@pytest.mark.parametrize("name", ["Fräse.bin", "a\nb", "\udcff.bin", "\u202etxt.exe"])
def test_every_name_comes_back_as_it_was_and_the_line_is_plain_ascii(name: str) -> None:
    line = verdict_line(verdict(path=name), "")
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["path"] == name


def test_a_path_that_could_not_be_judged_has_the_same_first_keys() -> None:
    cause = TrustRefused("trust.toml", "nothing says that it is yours", "Give its fingerprint.")
    value = json.loads(refused_line("drive.bin", "install", cause, "the trust file is not believed here"))
    assert (value["path"], value["outcome"], value["exit_code"]) == ("drive.bin", "rejected", 1)
    assert value["findings"][0]["code"] == "SW-TRUST-NOT-BELIEVED"
    assert json.loads(error_line(cause))["error"]["next_step"] == "Give its fingerprint."
