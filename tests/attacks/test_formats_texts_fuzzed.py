"""What stands inside formats and scripts: descriptions, manifests, declarations, variables, control trees (A168).

Bytes that nobody would write end in a value or a typed error, soon, whatever they are.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.mutate import LONG, changed, flips
from kit.pki import NOW
from kit.signedfiles import BOARD, RSA
from kit.uboot import compiled
from sealwright.device.declaration import Unclear, read_declaration
from sealwright.device.script import read_script
from sealwright.envelope.bare import bare_cms
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.formats.control_tree import with_required_key
from sealwright.formats.efi_variable import (
    SHA256,
    Entry,
    certificate_entry,
    check_content,
    lists_of,
    read_lists,
    read_update,
    signed_for,
    update_of,
)
from sealwright.formats.jarmanifest import read_manifest as read_jar_manifest
from sealwright.formats.raucmanifest import read_manifest as read_rauc_manifest
from sealwright.formats.swdescription import read_description

SECONDS = 2.0
WORDS = (
    b"{", b"}", b"(", b")", b"[", b"]", b'"', b"=", b":", b";", b",", b"\\", b"\n", b"\r", b"\0", b" ", b"/*", b"*/", b"//",
    b"#", b"0x", b"1e999", b"9" * 50, b"-", b"\xff", "\u202e".encode(), "\u0661".encode(), b"\\x41", b"true", b"NaN", b"L",
    b"Name: ", b"24:00", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"+25:00",
)  # fmt: skip
OWNER = uuid.UUID(int=7)
LISTS = lists_of([certificate_entry(RSA.certificate, OWNER, "c"), *[Entry(SHA256, OWNER, bytes(32))] * 2])
UPDATE = update_of(LISTS, NOW, bare_cms(RSA.signing, b"x" * 384, bag=(RSA.certificate,)))
SCRIPT = b"""#!/bin/sh
# sealwright-run: hosts = gw-01, gw-02
# sealwright-run: not-before = 2026-11-24T01:00:00Z
# sealwright-run: days = Tue, Wed
# sealwright-run: hours = 01:00-03:00
# sealwright-run: runs = 1
echo
"""
DESCRIPTION = b"""software = { version = "2026.1"; // c
 hardware-compatibility: [ "1.0", "1.2" ]; /* x */
 files: ( { filename = "fw.bin"; n = 0x10; b = true; f = 1.5e3; sha256 = "%s"; } ); }
""" % (b"0" * 64)
JSON = b'{"software": {"version": "1", "files": [{"filename": "a", "sha256": "%s"}]}}' % (b"0" * 64)
JAR = b"Manifest-Version: 1.0\r\nCreated-By: x\r\n\r\nName: a/b\r\n c\r\nSHA-256-Digest: VS8=\r\n\r\n"
RAUC = (
    b"[update]\ncompatible=plc\nversion=1\n\n[bundle]\nformat=verity\nverity-hash=%s\nverity-salt=%s\nverity-size=4096\n"
    % (
        b"a" * 64,
        b"b" * 64,
    )
)


def script(data: bytes) -> None:
    found, _ = read_script("a.sh", data)
    if found is not None:
        with suppress(Unclear):
            read_declaration(found).outside(datetime.now(UTC))


def lists(data: bytes) -> None:
    check_content("db", read_lists(data, "x"), append=False, subject="x")


def update(data: bytes) -> None:
    signed_for(read_update(data, "x"), "x")


TEXTS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "sw-description": (lambda data: read_description(data, "x"), DESCRIPTION),
    "sw-description in JSON": (lambda data: read_description(data, "x"), JSON),
    "jar manifest": (lambda data: read_jar_manifest(data, "x"), JAR),
    "rauc manifest": (lambda data: read_rauc_manifest(data, "x"), RAUC),
    "script": (script, SCRIPT),
    "signature lists": (lists, LISTS),
    "variable update": (update, UPDATE),
}


def any_bytes(sample: bytes, dice: random.Random) -> Iterator[bytes]:
    """Small changes, and words of the languages put anywhere."""
    few = [*changed(sample, dice)]
    yield from few if LONG else dice.sample(few, min(len(few), 150))
    for _ in range(20_000 if LONG else 150):
        made = sample
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(len(made) + 1)
            made = made[:at] + dice.choice(WORDS) + made[at + dice.choice((0, 0, 1, 3)) :]
        yield made


@pytest.mark.parametrize("name", TEXTS)
def test_a168_any_bytes_are_read_or_refused(name: str) -> None:
    read, sample = TEXTS[name]
    read(sample)
    for data in any_bytes(sample, random.Random(name)):
        started = time.monotonic()
        with suppress(SealwrightError):
            read(data)
        assert time.monotonic() - started < SECONDS


def test_a168_any_bytes_of_a_control_tree_take_a_key_or_are_refused(tmp_path: Path) -> None:
    text = '/ { model = "b"; signature { key-dev { required = "conf"; }; }; };'
    path = compiled(tmp_path, text, "control")
    for data in any_bytes(path.read_bytes(), random.Random("control")):
        path.write_bytes(data)
        with suppress(SealwrightError):
            with_required_key(str(path), BOARD.certificate, BOARD.signing.algorithm)


def test_a168_a_certificate_of_a_version_that_is_none_is_no_entry() -> None:
    """The library has an error of its own for it, which is no ValueError."""
    at = LISTS.index(b"\xa0\x03\x02\x01\x02") + 4
    assert read_lists(LISTS, "x")
    for number, bad in flips(LISTS):
        if number == at:
            with pytest.raises(MalformedArtifact, match="no certificate in DER"):
                read_lists(bad, "x")
