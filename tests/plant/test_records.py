"""The text of a record: one form, readable by people and by `sha256sum`, in which no name can make or hide a line."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kit.mutate import changed
from kit.openssl import run, sums
from kit.pki import NOW
from kit.verdicts import ANY, signer, verdict
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedArtifact
from sealwright.findings import reject, warning
from sealwright.plant.recordreader import parse_record
from sealwright.plant.records import (
    MAX_BYTES,
    Asserted,
    Link,
    Record,
    Station,
    escaped,
    facts_of,
    plain,
    record_text,
)
from sealwright.trust.verdict import Outcome, Verdict

FILE = Digest.of(b"firmware")
FOLDER = "5f" * 16


def record(of: Verdict | None = None, *, number: int = 17, file: Digest | None = FILE, **station: str) -> Record:
    where = replace(Station("pc7", "uid:1000", "0.1.0", ANY), **station)  # type: ignore[arg-type]
    link = Link(FOLDER, number, ANY if number > 1 else None)
    return Record(link, facts_of(of or verdict(), file), Asserted("eva", "CHG-1"), where, NOW)


def test_a_record_says_everything_that_an_auditor_asks_for() -> None:
    of = verdict(warning("SW-TRUST-AGEING", "a rule"), warning("SW-TRUST-AGEING", "a rule"))
    text = record_text(record(of)).decode()
    digits = ANY.value.hex()
    assert text.splitlines() == [
        "# sealwright record 1",
        f"# folder {FOLDER}",
        "# number 17",
        f"# previous sha256:{digits}",
        "# outcome trusted",
        "# purpose install",
        "# name drive.bin",
        "# size 1048576",
        "# format manifest",
        f"# content sha256:{digits}",
        f"# file {FILE}",
        "# claim product line-3 drive",
        "# claim version 2.4",
        "# claim generation 7",
        f"# signer accepted maker key sha256:{digits} certificate sha256:{digits} subject CN=ACME Release 2026,O=ACME GmbH",
        "# rule drives",
        "# mode enforce",
        "# finding warning SW-TRUST-AGEING 2",
        "# claimed 2026-11-01T12:00:00Z by the signer",
        "# proved 2026-11-01T12:00:00Z by a proof",
        "# judged 2026-11-01T12:00:00Z by clock",
        f"# trust version 3 stage ordinary digest sha256:{digits} id plant-7",
        "# believed its fingerprint was given",
        "# rollback not checked",
        "# host pc7",
        "# account uid:1000",
        "# person eva",
        "# change CHG-1",
        "# clock 2026-11-01T12:00:00Z",
        "# sealwright 0.1.0",
        f"# key sha256:{digits}",
        f"{FILE.value.hex()}  drive.bin",
    ]


def test_what_was_written_is_read_and_nothing_else() -> None:
    refused = verdict(reject("SW-FILE-CHANGED", "drive.bin"), signers=(), proved=None)
    for one in (record(), record(number=1), record(refused, file=None), record(replace_rule(verdict()))):
        assert parse_record(record_text(one), "it") == one


def replace_rule(of: Verdict) -> Verdict:
    return of._replace(rule="", mode="", format="", artifact=None, claims=Claims())


def test_every_change_of_a_record_is_another_record_or_none() -> None:
    sample = record_text(record())
    refused = 0
    for other in changed(sample, random.Random(1)):
        if other == sample:
            continue
        try:
            assert record_text(parse_record(other, "it")) == other
        except MalformedArtifact:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("part", "by"),
    [
        ("# outcome trusted\n", ""),
        ("# outcome trusted\n", "# outcome trusted\n# outcome trusted\n"),
        ("# outcome trusted", "# outcome Trusted"),
        ("# number 17", "# number 017"),
        ("# number 17", "# number -1"),
        ("# size 1048576", "# size 99999999999999999999"),
        ("# name drive.bin\n", "# name drive.bin\r\n"),
        ("# name drive.bin", "# name drive%2ebin"),
        ("# name drive.bin", "# name drive.bin\N{RIGHT-TO-LEFT OVERRIDE}"),
        ("# name drive.bin", "# name drive.bin "),
        ("# host pc7", "# Host pc7"),
        ("# account uid:1000", "# account jan.devries"),
        ("# person eva", "# person Eva Müller"),
        ("# clock 2026-11-01T12:00:00Z", "# clock 2026-11-01T13:00:00+01:00"),
        ("# key sha256", "# key md5"),
        (f"{FILE.value.hex()}  drive.bin\n", ""),
        (f"{FILE.value.hex()}  drive.bin\n", f"{ANY.value.hex()}  drive.bin\n"),
        ("  drive.bin\n", "  drive.bin\n\n"),
        ("# sealwright record 1", "# sealwright record 2"),
    ],
)
def test_what_is_not_in_the_one_form_is_no_record(part: str, by: str) -> None:
    text = record_text(record()).decode()
    assert part in text
    assert parse_record(text.encode(), "it")
    with pytest.raises(MalformedArtifact):
        parse_record(text.replace(part, by, 1).encode(), "it")


def test_a_huge_file_is_no_record() -> None:
    with pytest.raises(MalformedArtifact, match="at most"):
        parse_record(b"# sealwright record 1\n" + b"#" * MAX_BYTES, "it")


HOSTILE = [
    "a\n# outcome trusted",
    "a\r\nb",
    "\x1b[2K\x1b[1A",
    "\N{RIGHT-TO-LEFT OVERRIDE}nib.evird",
    "\udcff\udcfe",
    "a\N{NO-BREAK SPACE}b",
    " led",
    "trailed ",
    "two  spaces",
    "100%",
    "%0a",
    "\N{ZERO WIDTH SPACE}",
    "x" * 4000,
    "\ud800",
    "ü ö ä",
    "中文",
    "-",
    "\\back\\slash",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_makes_a_line_or_hides_one(name: str) -> None:
    of = verdict(path=f"/media/{name}", signers=(signer(f"CN={name}"),))
    of = of._replace(rule=name, claims=Claims(name, name, 7))
    text = record_text(record(of, host=name))
    lines = text.decode().split("\n")
    assert all(line.isprintable() for line in lines)
    twin = record_text(record()).decode().split("\n")
    assert [line.split(" ")[:2] for line in lines if line.startswith("#")] == [
        line.split(" ")[:2] for line in twin if line.startswith("#")
    ]
    assert record_text(parse_record(text, "it")) == text


def test_escapes_are_undone_exactly() -> None:
    dice = random.Random(3)
    alphabet = string.printable + "äß中\N{RIGHT-TO-LEFT OVERRIDE}\N{NO-BREAK SPACE}\udcff%  "
    for _ in range(3000):
        text = "".join(dice.choices(alphabet, k=dice.randrange(12)))
        assert plain(escaped(text)) == text
        assert escaped(text).isprintable()


def test_sha256sum_checks_the_artifact_by_the_record(tmp_path: Path) -> None:
    for name in ("drive.bin", "a\\b.bin", "two words.bin", "größe.bin"):
        (tmp_path / name).write_bytes(b"firmware")
        (tmp_path / "record.txt").write_bytes(record_text(record(verdict(path=str(tmp_path / name)))))
        assert sums(tmp_path / "record.txt", tmp_path)[0], name
        (tmp_path / name).write_bytes(b"firmwarf")
        assert not sums(tmp_path / "record.txt", tmp_path)[0], name


def test_a_name_that_no_terminal_should_see_gets_no_sum_line(tmp_path: Path) -> None:
    one = record(verdict(path="/media/\x1b[2Kdrive.bin"))
    (tmp_path / "record.txt").write_bytes(record_text(one))
    assert "%1b[2Kdrive.bin" in record_text(one).decode()
    accepted, said = run(["sha256sum", "-c", "record.txt"], cwd=tmp_path)
    assert not accepted
    assert "no properly formatted" in said


def test_of_a_folder_the_sum_line_is_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    text = record_text(record(verdict(path=str(tmp_path / "project")), file=None)).decode()
    assert "# name project/\n" in text
    assert text.endswith(f"\n{ANY.value.hex()}  project.manifest\n")
    of_a_file = record_text(record(verdict(path=str(tmp_path / "drive.bin")), file=None)).decode()
    assert ".manifest" not in of_a_file


def test_persons_are_ids_and_the_account_is_a_number() -> None:
    known = signer("CN=Eva Beispiel,O=ACME")._replace(person="eva")
    text = record_text(record(verdict(signers=(known,)))).decode()
    assert "Beispiel" not in text
    assert " person eva\n" in text
    assert "# account uid:1000\n" in text


def test_ten_thousand_findings_of_one_kind_are_one_line() -> None:
    of = verdict(*(reject("SW-TREE-FILE-CHANGED", f"file {n}") for n in range(10_000)))
    text = record_text(record(of)).decode()
    assert of.outcome is Outcome.REJECTED
    assert "# finding reject SW-TREE-FILE-CHANGED 10000\n" in text
    assert "file 77" not in text


def test_the_largest_verdict_is_still_read() -> None:
    of = verdict(signers=tuple(signer("CN=" + "\x1b" * 5000) for _ in range(1000)))
    text = record_text(record(of))
    assert parse_record(text, "it").facts.name == "drive.bin"


def test_a_clock_of_any_year_is_written_and_read() -> None:
    for days in (-20_000, -5, 0, 5, 100_000):
        one = replace(record(), clock=NOW + timedelta(days=days))
        assert parse_record(record_text(one), "it").clock == one.clock
