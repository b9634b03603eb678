"""Logs of AWS CloudTrail and the YubiHSM 2, as their makers document them: no account and no device was there to ask."""

from __future__ import annotations

import gzip
import hashlib
import json
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealwright.errors import LimitExceeded, Unreadable
from sealwright.log import cloudtrail
from sealwright.log.cloudtrail import cloudtrail_uses
from sealwright.log.yubihsm import yubihsm_uses

ARN = "arn:aws:kms:us-west-2:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"
KEYS = {ARN: "sha256:release"}


def event(number: int, **changed: object) -> dict[str, object]:
    """An event of KMS's documentation, with a time and an id of its own."""
    made: dict[str, object] = {
        "eventVersion": "1.08",
        "userIdentity": {"type": "IAMUser", "principalId": "EX_PRINCIPAL_ID", "userName": "Alice"},
        "eventTime": f"2022-03-07T22:36:{number:02}Z",
        "eventSource": "kms.amazonaws.com",
        "eventName": "Sign",
        "awsRegion": "us-west-2",
        "requestParameters": {
            "messageType": "DIGEST",
            "keyId": "0987dcba-09fe-87dc-65ba-ab0987654321",
            "signingAlgorithm": "ECDSA_SHA_256",
        },
        "responseElements": None,
        "requestID": f"request-{number}",
        "eventID": f"event-{number}",
        "readOnly": True,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": ARN}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
    }
    return made | changed


def trail(path: Path, events: list[dict[str, object]]) -> str:
    data = json.dumps({"Records": events}).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def test_cloudtrails_signatures_are_counted_once_each(tmp_path: Path) -> None:
    one = trail(tmp_path / "1.json.gz", [event(1), event(2), event(3, eventName="Verify")])
    two = trail(
        tmp_path / "2.json",
        [
            event(2),  # delivered twice
            event(4, errorCode="AccessDenied"),
            event(5, eventSource="s3.amazonaws.com"),
            event(6, resources=[{"type": "AWS::KMS::Key", "ARN": ARN.replace("0987", "1234")}]),
            event(7),
        ],
    )
    assert cloudtrail_uses([one, two], KEYS) == {"sha256:release": 3}
    since = datetime(2022, 3, 7, 22, 36, 2, tzinfo=UTC)
    assert cloudtrail_uses([one, two], KEYS, since, since.replace(second=7)) == {"sha256:release": 1}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense", b"[]", b"{}", b'{"Records": {}}', b'{"Records": [1]}', b'{"Records": [{}]}', b"[" * 100_000,
        json.dumps({"Records": [event(1, resources=[])]}).encode(),
        json.dumps({"Records": [event(1, resources=None)]}).encode(),
        json.dumps({"Records": [event(1, eventTime="yesterday")]}).encode(),
        json.dumps({"Records": [event(1, eventID=7)]}).encode(),
        gzip.compress(b'{"Records": []}', mtime=0)[:-3], gzip.compress(b'{"Records": []}', mtime=0) + b"more", b"\x1f\x8bnonsense",
    ],
)  # fmt: skip
def test_what_is_no_file_of_cloudtrail_counts_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "trail.json"
    assert cloudtrail_uses([trail(path, [event(1)])], KEYS) == {"sha256:release": 1}
    path.write_bytes(data)
    with pytest.raises(Unreadable):
        cloudtrail_uses([str(path)], KEYS)


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trail(tmp_path / "trail.json.gz", [event(1)] * 10)
    assert cloudtrail_uses([path], KEYS) == {"sha256:release": 1}
    monkeypatch.setattr(cloudtrail, "MAX_TEXT_BYTES", 1000)
    with pytest.raises(LimitExceeded):
        cloudtrail_uses([path], KEYS)


# a sample that Yubico prints in the documentation of GET LOG ENTRIES, by a device of theirs
YUBICO = """0 unlogged boots found
0 unlogged authentications found
Found 6 items
item:    46 -- cmd: 0x4b -- length:  234 -- session key: 0x0001 -- target key: 0xcf94 -- second key: 0x997e -- result: 0xcb -- tick: 335725 -- hash: 415f51f1f035a1b713e730e4464e4033
item:    47 -- cmd: 0x4c -- length:   77 -- session key: 0x0001 -- target key: 0xaff7 -- second key: 0xffff -- result: 0xcc -- tick: 351714 -- hash: 5496a60d478c2b9c801d8d32ca66b554
item:    48 -- cmd: 0x00 -- length:    0 -- session key: 0xffff -- target key: 0x0000 -- second key: 0x0000 -- result: 0x00 -- tick: 0 -- hash: 14ac7747ba9bbb243cfc70befeb5349b
item:    49 -- cmd: 0x03 -- length:   10 -- session key: 0xffff -- target key: 0x0001 -- second key: 0xffff -- result: 0x83 -- tick: 139 -- hash: b20a8f25c025e693a8e869b433294a20
item:    50 -- cmd: 0x04 -- length:   17 -- session key: 0xffff -- target key: 0x0001 -- second key: 0xffff -- result: 0x84 -- tick: 139 -- hash: ebfae425c319ac7a0afbb8b92597de7c
item:    51 -- cmd: 0x67 -- length:    2 -- session key: 0x0001 -- target key: 0xffff -- second key: 0xffff -- result: 0xe7 -- tick: 697 -- hash: 2e395d1b706668737e1d2215813db47e
"""
SIGN_ECDSA, SIGN_EDDSA, ERROR = 0x56, 0x6A, 0x7F


def continued(
    *commands: tuple[int, int, int], number: int = 51, before: str = "2e395d1b706668737e1d2215813db47e"
) -> str:
    """More entries after such a sample: command, target key, result."""
    lines, last = [], bytes.fromhex(before)
    for command, target, result in commands:
        number = (number + 1) % 65536
        data = struct.pack("!HBHHHHBL", number, command, 34, 1, target, 0xFFFF, result, 700)
        last = hashlib.sha256(data + last).digest()[:16]
        lines.append(
            f"item: {number:5} -- cmd: 0x{command:02x} -- length: {34:4} -- session key: 0x0001 -- target key: 0x{target:04x} -- "
            f"second key: 0xffff -- result: 0x{result:02x} -- tick: 700 -- hash: {last.hex()}\n"
        )
    return "".join(lines)


MORE = continued(
    (SIGN_ECDSA, 0x65, SIGN_ECDSA | 0x80), (SIGN_ECDSA, 0x65, ERROR), (SIGN_EDDSA, 0x66, SIGN_EDDSA | 0x80),
    (SIGN_ECDSA, 0x65, SIGN_ECDSA | 0x80),
)  # fmt: skip


def files(folder: Path, *texts: str) -> list[str]:
    for number, text in enumerate(texts):
        (folder / f"{number}.log").write_text(text)
    return [str(folder / f"{number}.log") for number in range(len(texts))]


def test_a_yubihsms_signatures_are_counted_in_a_chain_that_its_maker_printed(tmp_path: Path) -> None:
    collected = yubihsm_uses(files(tmp_path, YUBICO + MORE))
    assert (collected.uses, collected.findings) == ({0x65: 2, 0x66: 1}, [])
    overlapping = yubihsm_uses(files(tmp_path, YUBICO, YUBICO + MORE, MORE))
    assert (overlapping.uses, overlapping.findings) == ({0x65: 2, 0x66: 1}, [])


def test_entry_numbers_begin_again_after_the_last_one(tmp_path: Path) -> None:
    signed = (SIGN_ECDSA, 0x65, SIGN_ECDSA | 0x80)
    text = continued(signed, signed, signed, number=65533)
    assert "item:     0 " in text
    assert yubihsm_uses(files(tmp_path, text)).findings == []


LINES = (YUBICO + MORE).splitlines(keepends=True)


@pytest.mark.parametrize(
    "text",
    [
        "".join(LINES[:5] + LINES[6:]),
        "".join(LINES[:-2] + LINES[-1:]),
        (YUBICO + MORE).replace("target key: 0x0066", "target key: 0x0065"),
        (YUBICO + MORE).replace("tick: 139", "tick: 140"),
        (YUBICO + MORE).replace("result: 0x7f", "result: 0xd6"),
    ],
)
def test_entries_that_were_taken_away_or_changed_break_the_chain(tmp_path: Path, text: str) -> None:
    assert yubihsm_uses(files(tmp_path, YUBICO + MORE)).findings == []
    found = yubihsm_uses(files(tmp_path, text)).findings
    assert {one.code for one in found} == {"SW-AUDIT-HSM-GAP"}


@pytest.mark.parametrize(
    "text",
    ["", "Found 0 items\n", "item: 1\n", YUBICO[:-9], YUBICO.replace("item:    46", "item: 70000"),
     YUBICO.replace("tick: 697", "tick: 9999999999")],
)  # fmt: skip
def test_what_yubihsm_shell_did_not_print_counts_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unreadable):
        yubihsm_uses(files(tmp_path, text))
