"""The plant's two statements as texts: one canonical form, read back as written, refused where they do not say what they must."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kit.mutate import flips, truncations
from kit.openssl import sums
from sealwright.artifact.acceptance import Acceptance, Report, acceptance_bytes, parse_acceptance
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Link, Manifest, Over
from sealwright.artifact.receiving import (
    Comparison,
    Evidence,
    Grade,
    OldSignature,
    Receiving,
    parse_receiving,
    receiving_bytes,
)
from sealwright.artifact.sums import FileEntry
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SUM, OTHER = bytes(range(32)), bytes(32)
ACCEPTED = Acceptance(
    HashName.SHA256,
    b"drive.bin",
    Over.FILE,
    SUM,
    (FileEntry(b"drive.bin.p7s", OTHER),),
    NOON,
    "p-17",
    lines=("line 3", "line-4"),
    hardware=("drive-x",),
    not_before=NOON,
    until=NOON.replace(year=2027),
    reports=(Report(b"FAT report.pdf", SUM), Report(b"elsewhere.pdf", OTHER)),
    beside=(b"FAT report.pdf",),
    note=Digest.of(b"salt and words"),
)
FILE = Manifest(HashName.SHA256, Over.FILE, Claims("drive"), (FileEntry(b"drive.bin", SUM),), total_bytes=4711)
TREE = Manifest(
    HashName.SHA256,
    Over.TREE,
    Claims(),
    (FileEntry(b"bin/start", SUM), FileEntry(b"setup.ini", OTHER)),
    executables=(b"bin/start",),
    folders=(b"logs",),
    links=(Link(b"current", b"bin"),),
    total_bytes=99,
)
RECEIVED = Receiving(
    b"drive.bin",
    Grade.COMPARED,
    "https://vendor.example/downloads/drive.bin?v=2 1",
    NOON,
    ("p-17",),
    FILE,
    evidence=(Evidence("mail", b"confirmation.eml", OTHER, 2311), Evidence("web-page", b"page.html", SUM, 0)),
    comparison=Comparison("md5", bytes(16), "telephone"),
    old_signature=OldSignature("gpgv 2.2.40", "0123 CDEF", "ACME", "good", ("SHA-1", "short key")),
    reason="as the maintenance contract says",
)
OF_A_FOLDER = replace(RECEIVED, name=b"project", contents=TREE)
UNCOMPARED = replace(
    RECEIVED, grade=Grade.UNCOMPARED, persons=("p-17", "p-4"), comparison=None, old_signature=None, evidence=()
)

words = some.text(min_size=1, max_size=30).filter(lambda text: text.isprintable() and text.strip() != "")
digests = some.binary(min_size=32, max_size=32)
people = some.from_regex(r"[A-Za-z0-9@+_][A-Za-z0-9_.@+-]{0,20}", fullmatch=True)
times = some.datetimes(datetime(2000, 1, 1), datetime(2900, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))
names = some.from_regex(r"r[a-z0-9 ä_-]{0,20}\.doc", fullmatch=True).map(str.encode)


@given(
    times,
    people,
    some.sets(words, max_size=3),
    some.sets(words, max_size=3),
    some.dictionaries(names, digests),
    digests,
)
def test_an_acceptance_is_read_as_it_was_written(
    at: datetime, person: str, lines: set[str], hardware: set[str], reports: dict[bytes, bytes], digest: bytes
) -> None:
    bound = tuple(Report(name, reports[name]) for name in sorted(reports))
    acceptance = replace(
        ACCEPTED,
        accepted=at,
        person=person,
        lines=tuple(sorted(lines)),
        hardware=tuple(sorted(hardware)),
        artifact=digest,
        reports=bound,
        beside=tuple(report.name for report in bound[::2]),
    )
    assert parse_acceptance(acceptance_bytes(acceptance), "a") == acceptance


@given(times, some.lists(people, min_size=2, max_size=8, unique=True), words, words, some.dictionaries(names, digests))
def test_a_receiving_record_is_read_as_it_was_written(
    at: datetime, persons: list[str], source: str, reason: str, kept: dict[bytes, bytes]
) -> None:
    evidence = tuple(Evidence("mail", name, kept[name], len(name)) for name in sorted(kept))
    for record in (RECEIVED, OF_A_FOLDER, UNCOMPARED):
        changed = replace(record, received=at, persons=tuple(persons), source=source, reason=reason, evidence=evidence)
        assert parse_receiving(receiving_bytes(changed), "r") == changed


@pytest.mark.parametrize("statement", [ACCEPTED, RECEIVED, OF_A_FOLDER, UNCOMPARED], ids=["a", "r", "folder", "two"])
def test_every_flipped_byte_and_every_cut_is_refused_or_is_another_canonical_text(
    statement: Acceptance | Receiving,
) -> None:
    text = _text(statement)
    for changed in (*(one for bit in (1, 0x20, 0x80) for _, one in flips(text, bit=bit)), *truncations(text)):
        try:
            read = _read(statement, changed)
        except SealwrightError:
            continue
        assert read != statement
        assert _text(read) == changed


@pytest.mark.parametrize(
    ("accepted", "changed"),
    [
        (ACCEPTED, replace(ACCEPTED, name=b"a/drive.bin")),
        (ACCEPTED, replace(ACCEPTED, name=b"..")),
        (ACCEPTED, replace(ACCEPTED, artifact=None)),
        (ACCEPTED, replace(ACCEPTED, over=Over.LIST)),
        (ACCEPTED, replace(ACCEPTED, person="../p")),
        (ACCEPTED, replace(ACCEPTED, person="")),
        (ACCEPTED, replace(ACCEPTED, person="p" * 65)),
        (ACCEPTED, replace(ACCEPTED, lines=("b", "a"))),
        (ACCEPTED, replace(ACCEPTED, lines=("a", "a"))),
        (ACCEPTED, replace(ACCEPTED, lines=(" ",))),
        (ACCEPTED, replace(ACCEPTED, lines=("a\nb",))),
        (ACCEPTED, replace(ACCEPTED, lines=("a" * 201,))),
        (ACCEPTED, replace(ACCEPTED, lines=tuple(f"line {number:03}" for number in range(101)))),
        (ACCEPTED, replace(ACCEPTED, until=NOON)),
        (ACCEPTED, replace(ACCEPTED, reports=(Report(b"drive.bin", SUM),), beside=())),
        (ACCEPTED, replace(ACCEPTED, reports=(Report(b"x/y.pdf", SUM),), beside=())),
        (ACCEPTED, replace(ACCEPTED, reports=tuple(Report(b"%03d" % n, SUM) for n in range(51)), beside=())),
        (ACCEPTED, replace(ACCEPTED, signed_by=(FileEntry(b"other.bin.p7s", SUM),))),
        (ACCEPTED, replace(ACCEPTED, signed_by=(FileEntry(b"DRIVE.bin", SUM),))),
        (ACCEPTED, replace(ACCEPTED, signed_by=tuple(FileEntry(b"drive.bin.%02d" % n, SUM) for n in range(21)))),
        (
            replace(ACCEPTED, artifact=None, over=Over.TREE),
            replace(ACCEPTED, artifact=None, over=Over.TREE, signed_by=()),
        ),
        (RECEIVED, replace(RECEIVED, comparison=None)),
        (RECEIVED, replace(RECEIVED, grade=Grade.OLD_SIGNATURE, old_signature=None)),
        (RECEIVED, replace(RECEIVED, source="")),
        (RECEIVED, replace(RECEIVED, source="x" * 501)),
        (RECEIVED, replace(RECEIVED, persons=())),
        (RECEIVED, replace(RECEIVED, persons=tuple(f"p{number}" for number in range(9)))),
        (RECEIVED, replace(RECEIVED, name=b"other.bin")),
        (RECEIVED, replace(RECEIVED, comparison=Comparison("MD5 sum", bytes(16), "telephone"))),
        (RECEIVED, replace(RECEIVED, comparison=Comparison("md5", b"", "telephone"))),
        (RECEIVED, replace(RECEIVED, comparison=Comparison("md5", bytes(16), ""))),
        (RECEIVED, replace(RECEIVED, evidence=(Evidence("Mail", b"x", SUM, 1),))),
        (RECEIVED, replace(RECEIVED, evidence=(Evidence("mail", b"x/y", SUM, 1),))),
        (RECEIVED, replace(RECEIVED, evidence=(Evidence("mail", b"x", SUM, -1),))),
        (RECEIVED, replace(RECEIVED, evidence=(Evidence("mail", b"b", SUM, 1), Evidence("mail", b"a", SUM, 1)))),
        (RECEIVED, replace(RECEIVED, evidence=(Evidence("mail", b"A", SUM, 1), Evidence("mail", b"a", SUM, 1)))),
        (RECEIVED, replace(RECEIVED, evidence=tuple(Evidence("mail", b"%03d" % n, SUM, 1) for n in range(201)))),
        (UNCOMPARED, replace(UNCOMPARED, persons=("p-17",))),
        (UNCOMPARED, replace(UNCOMPARED, persons=("p-17", "p-17"))),
        (UNCOMPARED, replace(UNCOMPARED, reason="")),
        (OF_A_FOLDER, replace(OF_A_FOLDER, contents=replace(TREE, over=Over.LIST))),
        (OF_A_FOLDER, replace(OF_A_FOLDER, contents=replace(TREE, files=()))),
    ],
)
def test_what_a_statement_cannot_say_is_not_written(
    accepted: Acceptance | Receiving, changed: Acceptance | Receiving
) -> None:
    assert _text(accepted)
    with pytest.raises(MalformedArtifact):
        _text(changed)


def test_a_text_that_is_too_long_is_not_read() -> None:
    text = acceptance_bytes(ACCEPTED)
    assert parse_acceptance(text, "a") == ACCEPTED
    with pytest.raises(LimitExceeded):
        parse_acceptance(text + b"x" * (1 << 20), "a")


def test_sha256sum_checks_what_they_list_in_the_folder_where_they_lie(tmp_path: Path) -> None:
    artifact, signature, report = tmp_path / "drive.bin", tmp_path / "drive.bin.p7s", tmp_path / "report.pdf"
    for path in (artifact, signature, report):
        path.write_bytes(path.name.encode())
    acceptance = replace(
        ACCEPTED,
        artifact=_sum(artifact),
        signed_by=(FileEntry(b"drive.bin.p7s", _sum(signature)),),
        reports=(Report(b"report.pdf", _sum(report)),),
        beside=(b"report.pdf",),
    )
    (tmp_path / "drive.bin.plant.manifest").write_bytes(acceptance_bytes(acceptance))
    kept = tmp_path / "drive.bin.received"
    kept.mkdir()
    (kept / "mail.eml").write_bytes(b"yes, it is ours")
    record = replace(
        RECEIVED,
        contents=replace(FILE, files=(FileEntry(b"drive.bin", _sum(artifact)),)),
        evidence=(Evidence("mail", b"mail.eml", _sum(kept / "mail.eml"), 15),),
    )
    (tmp_path / "drive.bin.received.manifest").write_bytes(receiving_bytes(record))
    for name, changed in (
        ("drive.bin.plant.manifest", signature),
        ("drive.bin.received.manifest", kept / "mail.eml"),
    ):
        assert sums(tmp_path / name, tmp_path) == (True, "")
        changed.write_bytes(b"something else")
        assert not sums(tmp_path / name, tmp_path)[0]


def _sum(path: Path) -> bytes:
    return Digest.of(path.read_bytes()).value


def _text(statement: Acceptance | Receiving) -> bytes:
    return acceptance_bytes(statement) if isinstance(statement, Acceptance) else receiving_bytes(statement)


def _read(like: Acceptance | Receiving, data: bytes) -> Acceptance | Receiving:
    return parse_acceptance(data, "a") if isinstance(like, Acceptance) else parse_receiving(data, "r")
