"""The plant's statements attacked: borrowed, cut down, written by others, crossed, and used to hide something (A016, A029, A033, A066, A078, A120, A149, A153)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from kit.manifests import manifest_pair
from kit.mutate import changed
from kit.openssl import sums
from kit.pki import DAY, NOW, p7s
from kit.statements import MAKER, PLANT, RECEIVER, Plant, accept, receive, receiving_of, rule
from kit.trust import codes, judge, signed_file
from sealwright.artifact.acceptance import MAX_BYTES, Report, acceptance_bytes, parse_acceptance
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.receiving import Comparison, Grade, parse_receiving, receiving_bytes
from sealwright.artifact.sums import FileEntry
from sealwright.cli.main import main
from sealwright.errors import SealwrightError
from sealwright.keys.key import KeyKind
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, verify_paths

BOTH = rule(MAKER, PLANT)
COMPARED = rule(MAKER, RECEIVER, grades=["compared"])


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant()


@pytest.fixture
def accepted(tmp_path: Path, plant: Plant) -> Path:
    path = signed_file(tmp_path, plant.release)
    accept(path, plant.anna)
    return path


@pytest.fixture
def received(tmp_path: Path, plant: Plant) -> Path:
    path = tmp_path / "old.bin"
    path.write_bytes(b"never signed")
    receive(path, plant.anna)
    return path


def text_of(path: Path) -> Path:
    """The statement of a file."""
    acceptance = path.with_name(f"{path.name}.plant.manifest")
    return acceptance if acceptance.exists() else path.with_name(f"{path.name}.received.manifest")


def refused(folder: Path, trust: Believed, target: Path | None = None) -> set[str]:
    """The names of the files below a folder that are not allowed, each judged by its own signature."""
    every = verify_paths([str(target or folder)], trust, Request(clock=NOW, recursive=True))
    return {Path(one.path).name for one in every if one.outcome is not Outcome.TRUSTED}


def test_a016_a_signature_that_was_accepted_with_the_file_cannot_be_taken_away(tmp_path: Path, plant: Plant) -> None:
    path, trust = signed_file(tmp_path, plant.release), plant.trust(BOTH)
    second = tmp_path / "drive.bin.pq.p7s"
    second.write_bytes(p7s(plant.maker.leaf("second", kind=KeyKind.P384), path.read_bytes()))
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    second.unlink()
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-OTHER-SIGNATURE"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text.replace(b"sha256\n", b"sha1\n"),
        lambda text: text.replace(b"sha256\n", b"md5\n"),
        lambda text: text.replace(b"acceptance 1", b"acceptance 2"),
        lambda text: text.replace(b"#! person p-1\n", b""),
        lambda text: text.replace(b"#! person p-1\n", b"#! person p-1\n#! person p-2\n"),
        lambda text: text.replace(b"#! over file\n", b""),
        lambda text: text.rstrip(b"\n"),
        lambda text: text + b"\n",
        lambda text: text + b"#! line line-3\n",
        lambda text: text + text.splitlines()[-1] + b"\n",
        lambda text: text.replace(b"  drive.bin\n", b" *drive.bin\n"),
        lambda text: text.replace(b"  drive.bin\n", b"  ./drive.bin\n"),
        lambda text: text.replace(b"drive.bin.p7s", b"../drive.bin.p7s"),
        lambda text: text.replace(b"Z\n", b"+00:00\n"),
        lambda text: text.replace(b"#! artifact", b"#! Artifact"),
        lambda text: text.replace(b"#! artifact drive.bin", b"#! artifact drive%2Ebin"),
        lambda text: b"\n".join(line.upper() if b"  " in line else line for line in text.splitlines()) + b"\n",
        lambda text: b"",
    ],
)
def test_a033_a_text_that_is_not_in_the_one_form_is_no_statement_though_it_is_signed(
    accepted: Path, plant: Plant, change: Callable[[bytes], bytes]
) -> None:
    trust, text = plant.trust(BOTH), text_of(accepted)
    assert judge(accepted, trust).outcome is Outcome.TRUSTED
    data = change(text.read_bytes())
    assert data != text.read_bytes()
    text.write_bytes(data)
    text.with_name(f"{text.name}.p7s").write_bytes(p7s(plant.anna, data, kind="acceptance"))
    assert judge(accepted, trust).outcome is Outcome.REJECTED


def test_a066_nothing_hides_behind_the_name_of_a_statement(accepted: Path, received: Path, plant: Plant) -> None:
    trust, folder = plant.trust(BOTH, {**COMPARED, "name": "received"}), accepted.parent
    assert refused(folder, plant.trust(rule(MAKER, PLANT, RECEIVER, grades=["compared"]))) == {"old.bin"}
    trust = plant.trust(rule(MAKER, RECEIVER, grades=["compared"]))
    assert refused(folder, trust) == set()
    evil = b"MZ\x90\x00 runs"
    for name in (
        "drive.bin.plant.manifest.plant.p7s",
        "drive.bin.plant.manifest.pq.p7s",
        "drive.bin.plant.manifest.manifest",
        "drive.bin.plant.manifest.xmldsig",
        "drive.bin.plant.manifest.fsverity.p7s",
        "drive.bin.plant.manifest.p7s.p7s",
        "drive.bin.plant.manifest.p7s.tsr",
        "drive.bin.plant.manifest.received.manifest",
        "drive.bin.p7s.plant.manifest",
        "drive.bin.p7s.p7s",
        "drive.bin.p7s.manifest",
        "old.bin.received.manifest.p-2.p7s",
        "old.bin.received.manifest.plant.p7s",
        "old.bin.received.manifest.x.p7s",
        "other.bin.plant.manifest",
        "other.bin.received.manifest",
        "old.bin.received/setup.exe",
        "old.bin.received/mail.eml.p7s",
        "old.bin.received/old.bin.plant.manifest",
    ):
        path = folder / name
        path.write_bytes(evil)
        assert refused(folder, trust) == {path.name}, name
        path.unlink()
    assert refused(folder, trust) == set()


def test_a066_beside_a_folder_only_a_whole_statement_is_passed_over(tmp_path: Path, plant: Plant) -> None:
    folder, trust = tmp_path / "project", plant.trust(COMPARED)
    folder.mkdir()
    signed_file(folder, plant.release)
    receive(folder, plant.anna)
    accept(folder, plant.bert, "p-2")
    shutil.rmtree(tmp_path / "project.received")  # which nobody judges with the folder, so it would be judged itself
    assert refused(tmp_path, trust) == set()
    for kind in ("plant", "received"):
        text = tmp_path / f"project.{kind}.manifest"
        good = text.read_bytes()
        text.write_bytes(good.splitlines()[0] + b"\nrm -rf /\n")
        assert text.name in refused(tmp_path, trust)
        text.write_bytes(good)
    assert refused(tmp_path, trust) == set()


def test_a066_a_folder_of_evidence_that_is_asked_about_is_judged_itself(received: Path, plant: Plant) -> None:
    trust, kept = plant.trust(COMPARED), received.with_name("old.bin.received")
    assert refused(received.parent, trust) == set()
    signed_file(kept, plant.release, name="tool.bin")
    for asked in (kept, Path(f"{kept}/."), Path(f"{kept}{os.sep}")):
        assert refused(kept, trust, asked) == {"mail.eml"}
    assert refused(received.parent, trust) == set()
    received.unlink()  # then nothing speaks for the evidence
    assert "mail.eml" in refused(kept.parent, trust)


@pytest.mark.parametrize("who", ["stranger", "vendor", "config key", "nobody"])
def test_a066_evidence_counts_only_under_a_record_that_a_rule_takes(received: Path, plant: Plant, who: str) -> None:
    trust = plant.trust(COMPARED)
    (received.parent / "old.bin.p7s").write_bytes(p7s(plant.release, received.read_bytes()))
    assert refused(received.parent, trust) == set()
    signer, person = {
        "stranger": (Plant().anna, "p-1"),
        "vendor": (plant.release, "vendor-1"),
        "config key": (plant.carl, "p-3"),
        "nobody": (plant.own.leaf("nobody"), "p-1"),
    }[who]
    receive(received, signer, persons=(person,))
    assert judge(received, trust).outcome is Outcome.TRUSTED
    assert refused(received.parent, trust) == {"old.bin"}


def test_a066_links_are_no_statements_and_no_evidence(received: Path, plant: Plant) -> None:
    trust, folder = plant.trust(COMPARED), received.parent
    mail = folder / "old.bin.received" / "mail.eml"
    outside = folder.parent / "outside.eml"
    outside.write_bytes(mail.read_bytes())
    assert refused(folder, trust) == set()
    mail.unlink()
    mail.symlink_to(outside)
    assert "mail.eml" in refused(folder, trust)
    mail.unlink()
    os.mkfifo(mail)
    assert judge(received, trust).outcome is Outcome.REJECTED
    assert refused(folder, trust) == {"mail.eml", "old.bin"}


def test_a078_statements_about_nothing_or_about_themselves_are_refused(accepted: Path, plant: Plant) -> None:
    good = parse_acceptance(text_of(accepted).read_bytes(), "a")
    assert acceptance_bytes(good)
    own = FileEntry(b"drive.bin.plant.manifest", bytes(32))
    trust = plant.trust(BOTH)
    assert judge(accepted, trust).outcome is Outcome.TRUSTED
    accept(accepted, plant.anna, signed_by=(*good.signed_by, own))  # nobody knows its digest before it is written
    assert judge(accepted, trust).outcome is Outcome.REJECTED
    accept(accepted, plant.anna, signed_by=())
    assert codes(judge(accepted, trust)) == ["SW-ACCEPTANCE-OTHER-SIGNATURE"]
    empty = signed_file(accepted.parent, plant.release, b"", "empty.bin")
    accept(empty, plant.anna)
    assert judge(empty, trust).outcome is Outcome.TRUSTED
    empty.write_bytes(b"filled")
    assert judge(empty, trust).outcome is Outcome.REJECTED


def test_a078_an_acceptance_of_an_unsigned_list_accepts_no_folder(tmp_path: Path, plant: Plant) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.st").write_bytes(b"VAR")
    manifest_pair(folder, plant.release, Claims())
    accept(folder, plant.anna)
    alone = plant.trust(rule(PLANT))
    assert judge(folder, plant.trust(BOTH)).outcome is Outcome.TRUSTED
    (tmp_path / "project.manifest.p7s").unlink()
    accept(folder, plant.anna)
    (folder / "a.st").write_bytes(b"something else")
    assert judge(folder, alone).outcome is Outcome.REJECTED
    assert judge(folder, plant.trust(BOTH)).outcome is Outcome.REJECTED


def test_a120_one_person_fills_no_two_parts(received: Path, plant: Plant) -> None:
    both = plant.trust(rule(MAKER, PLANT, grades=["compared"]))
    accept(received, plant.bert, "p-2")
    assert judge(received, both).outcome is Outcome.TRUSTED
    second_key = plant.own.leaf("anna's other key")
    people = [
        {**one, "keys": [plant.anna.key_digest, second_key.key_digest]} if one["id"] == "p-1" else one  # type: ignore[index, call-overload, dict-item]
        for one in plant.people
    ]
    mapped = plant.trust(rule(MAKER, PLANT, grades=["compared"]), person=people)
    assert judge(received, mapped).outcome is Outcome.TRUSTED
    accept(received, second_key, "p-1")
    assert "SW-SIGNERS-NOT-DISTINCT" in codes(judge(received, mapped))
    for ending in (".plant.manifest", ".plant.manifest.p7s"):
        received.with_name(f"old.bin{ending}").unlink()
    received.with_name("old.bin.plant.p7s").write_bytes(p7s(plant.anna, received.read_bytes()))
    assert "SW-SIGNERS-NOT-DISTINCT" in codes(judge(received, both))


def test_a120_two_of_the_maker_are_not_made_of_one_and_a_record(received: Path, plant: Plant) -> None:
    two = {**MAKER, "count": 2}
    trust = plant.trust(rule(two, RECEIVER, grades=["compared"]))
    assert judge(received, trust).outcome is Outcome.TRUSTED  # the record stands in for the maker as a whole
    received.with_name("old.bin.p7s").write_bytes(p7s(plant.release, received.read_bytes()))
    plain = plant.trust(rule(two, PLANT))
    assert judge(received, plain).outcome is Outcome.REJECTED


def test_a029_a149_the_statement_of_another_place_is_refused(accepted: Path, plant: Plant) -> None:
    trust = plant.trust(BOTH)
    assert judge(accepted, trust).outcome is Outcome.TRUSTED
    other = Plant()
    accept(accepted, other.anna)  # another plant's people have the same ids
    assert codes(judge(accepted, trust)) == ["SW-CERT-NO-PATH"]
    accept(accepted, plant.anna, lines=("line 3",))
    for line in ("line-3", "LINE 3", "line 3 ", "line\u00a03", "line 33"):
        assert codes(judge(accepted, trust, line=line)) == ["SW-ACCEPTANCE-LINE"], line
    assert judge(accepted, trust, line="line 3").outcome is Outcome.TRUSTED


def test_a153_a_stick_from_last_year_is_refused_by_the_floor_that_this_verifier_knows(
    accepted: Path, tmp_path: Path, plant: Plant
) -> None:
    accept(accepted, plant.anna, until=NOW + 10 * DAY)
    trust = plant.trust(BOTH)
    assert judge(accepted, trust).outcome is Outcome.TRUSTED
    newer = plant.trust(BOTH, issued=NOW + 20 * DAY)
    back = judge(accepted, newer, NOW + timedelta(hours=1))  # the clock was set back
    assert "SW-ACCEPTANCE-ENDED" in codes(back)
    assert judge(accepted, newer, NOW, purpose=Purpose.RUN).outcome is Outcome.TRUSTED


def test_statements_do_not_serve_for_each_other(received: Path, accepted: Path, plant: Plant) -> None:
    trust = plant.trust(rule(MAKER, PLANT, grades=["compared"]))
    record = received.with_name("old.bin.received.manifest")
    pairs = {
        ".plant.manifest": record.read_bytes(),
        ".plant.manifest.p7s": record.with_name(f"{record.name}.p7s").read_bytes(),
    }
    accept(received, plant.bert, "p-2")
    assert judge(received, trust).outcome is Outcome.TRUSTED
    for ending, data in pairs.items():
        received.with_name(f"old.bin{ending}").write_bytes(data)
    assert judge(received, trust).outcome is Outcome.REJECTED
    # a maker's own bare signature of the text of an acceptance
    text = text_of(accepted)
    assert judge(accepted, plant.trust(BOTH)).outcome is Outcome.TRUSTED
    for data, kind in ((text.read_bytes(), "file"), (b"# sealwright receiving 1 sha256\n", "acceptance")):
        text.with_name(f"{text.name}.p7s").write_bytes(p7s(plant.anna, data, kind=kind))
        assert judge(accepted, plant.trust(BOTH)).outcome is Outcome.REJECTED


@pytest.mark.parametrize("words", [["sign"], ["sign", "--product", "drive"], ["sign", "--as", "plant"]])
def test_sign_signs_no_statement_as_something_else(accepted: Path, tmp_path: Path, words: list[str]) -> None:
    home = tmp_path / "home"
    assert main(["init", str(home)]) == 0
    plain = tmp_path / "plain.txt"
    plain.write_bytes(b"# a remark\n")
    assert main([words[0], str(plain), "--home", str(home), *words[1:]]) == 0
    copy = tmp_path / "copy.txt"
    for name in (text_of(accepted), shutil.copy(text_of(accepted), copy)):
        assert main([words[0], str(name), "--home", str(home), *words[1:]]) == 1


def test_a_report_is_no_signature_and_a_signature_no_report(accepted: Path, plant: Plant) -> None:
    trust = plant.trust(BOTH)
    good = parse_acceptance(text_of(accepted).read_bytes(), "a")
    assert judge(accepted, trust).outcome is Outcome.TRUSTED
    (signature,) = good.signed_by
    report = Report(signature.name, signature.digest)
    accept(accepted, plant.anna, signed_by=(), reports=(report,), beside=(report.name,))
    assert sums(text_of(accepted), accepted.parent) == (True, "")
    assert codes(judge(accepted, trust)) == ["SW-ACCEPTANCE-OTHER-SIGNATURE"]


def test_a_record_that_contradicts_itself_is_not_written(received: Path) -> None:
    record = receiving_of(received, ("p-1",))
    assert receiving_bytes(record)
    for wrong in (
        replace(record, comparison=Comparison("sha256", bytes(32), "telephone")),
        replace(record, grade=Grade.UNCOMPARED, reason="x"),
    ):
        with pytest.raises(SealwrightError):
            receiving_bytes(wrong)


def test_files_whose_names_end_like_statements_are_told_apart(tmp_path: Path, plant: Plant) -> None:
    """`drive.bin.plant` is a file of its own, whose manifest has the name of an acceptance of `drive.bin`."""
    trust = plant.trust(rule(MAKER))
    drive, odd = signed_file(tmp_path, plant.release), tmp_path / "drive.bin.plant"
    odd.write_bytes(b"a file of that name")
    manifest_pair(odd, plant.release, Claims("odd"))
    assert judge(odd, trust).outcome is Outcome.TRUSTED
    assert judge(drive, trust).outcome is Outcome.TRUSTED
    assert codes(judge(drive, plant.trust(BOTH))) == ["SW-ACCEPTANCE-MISSING"]
    assert refused(tmp_path, trust) == set()
    for ending in (".manifest", ".manifest.p7s"):
        Path(f"{odd}{ending}").unlink()
    accept(drive, plant.anna)
    assert judge(drive, plant.trust(BOTH)).outcome is Outcome.TRUSTED
    assert judge(odd, trust).outcome is Outcome.REJECTED


@pytest.mark.parametrize("kind", ["plant", "received"])
@pytest.mark.parametrize(
    "what", ["of another file", "garbage", "unsigned", "a stranger's", "huge", "a folder", "a huge signature", "a pipe"]
)
def test_statements_that_nobody_asks_for_neither_help_nor_harm(
    tmp_path: Path, plant: Plant, kind: str, what: str
) -> None:
    path, trust = signed_file(tmp_path, plant.release), plant.trust(rule(MAKER))
    other = signed_file(tmp_path, plant.release, b"other firmware", "other.bin")
    text, signature = tmp_path / f"drive.bin.{kind}.manifest", tmp_path / f"drive.bin.{kind}.manifest.p7s"
    signer = Plant().anna if what == "a stranger's" else plant.anna
    about = other if what == "of another file" else path
    _ = accept(about, signer) if kind == "plant" else receive(about, signer)
    if about is other:
        for ending in ("", ".p7s"):
            shutil.copy(f"{other}.{kind}.manifest{ending}", f"{path}.{kind}.manifest{ending}")
    if what == "garbage":
        text.write_bytes(b"\x00" * 5000)
    if what in ("unsigned", "a folder", "a pipe"):
        signature.unlink()
    if what == "huge":
        with text.open("wb") as file:
            file.truncate(200 << 20)
    if what == "a folder":
        text.unlink()
        text.mkdir()
    if what == "a huge signature":
        signature.write_bytes(bytes(2 << 20))
    if what == "a pipe":
        text.unlink()
        os.mkfifo(text)
    verdict = judge(path, trust)
    assert (verdict.outcome, verdict.accepted, verdict.received) == (Outcome.TRUSTED, None, None)
    assert "SW-SIGNATURE-IGNORED" in [finding.code for finding in verdict.findings]
    path.with_name("drive.bin.p7s").unlink()
    assert judge(path, trust).outcome is Outcome.REJECTED


@pytest.mark.parametrize("form", ["acceptance", "receiving"])
def test_mutated_statements_end_soon_and_never_count(
    tmp_path: Path, plant: Plant, form: str, accepted: Path, received: Path
) -> None:
    path, trust = (accepted, plant.trust(BOTH)) if form == "acceptance" else (received, plant.trust(COMPARED))
    text = text_of(path)
    for name in (text, text.with_name(f"{text.name}.p7s")):
        good = name.read_bytes()
        assert judge(path, trust).outcome is Outcome.TRUSTED
        for bad in changed(good, Random(form)):
            if bad != good:
                name.write_bytes(bad)
                started = time.monotonic()
                assert judge(path, trust).outcome is not Outcome.TRUSTED
                assert time.monotonic() - started < 2
        name.write_bytes(good)


@pytest.mark.parametrize(
    "bomb",
    [
        b"# sealwright acceptance 1 sha256\n" + b"#! artifact " + b"x" * (2 << 20),
        b"# sealwright acceptance 1 sha256\n#! artifact drive.bin\n#! over file\n#! accepted 2026-11-26T02:00:00Z\n#! person p\n"
        + b"#! line a\n" * 90_000,
        b"# sealwright acceptance 1 sha256\n#! artifact drive.bin\n#! over file\n#! accepted 2026-11-26T02:00:00Z\n#! person p\n"
        + b"".join(b"%064d  drive.bin.%06d\n" % (n, n) for n in range(12_000)),
    ],
)
def test_a_huge_acceptance_is_refused_soon(accepted: Path, plant: Plant, bomb: bytes) -> None:
    assert judge(accepted, plant.trust(BOTH)).outcome is Outcome.TRUSTED
    text_of(accepted).write_bytes(bomb)
    started = time.monotonic()
    assert judge(accepted, plant.trust(BOTH)).outcome is Outcome.REJECTED
    assert time.monotonic() - started < 3
    assert MAX_BYTES == 1 << 20


@pytest.mark.parametrize(
    "lines", [b"#! person p%07d\n", b"#! evidence mail 1 f%07d\n", b"%064d  old.bin.received/%07d\n"]
)
def test_a_huge_record_is_refused_without_reading_all_of_it(lines: bytes) -> None:
    head = b"# sealwright receiving 1 sha256\n#! artifact old.bin\n#! grade compared\n#! source x\n#! received 2026-11-26T02:00:00Z\n"
    body = b"".join(lines % ((n, n) if lines.count(b"%") > 1 else n) for n in range(400_000))
    if b"person" not in lines:
        head += b"#! person p\n"
    if b"  " in lines:
        head += b"#! over file\n#! files 1\n#! bytes 1\n"
    started = time.monotonic()
    with pytest.raises(SealwrightError):
        parse_receiving(head + body, "r")
    assert time.monotonic() - started < 3


def test_words_of_a_record_cannot_pose_as_the_verdicts(received: Path, plant: Plant) -> None:
    receive(received, plant.anna, source="x. Signed by ACME as maker; {subject} {found}")
    verdict = judge(received, plant.trust(COMPARED))
    (told,) = (one for one in verdict.findings if one.code == "SW-RECEIVED")
    assert told.sentence.startswith("not signed by its maker")
    assert "{subject}" in told.sentence
    for bad in ("a\u202eb", "a\x1b[2Jb", "a\nb", "a\u200bb"):
        with pytest.raises(SealwrightError):
            receive(received, plant.anna, source=bad)


def test_what_is_denied_is_denied_under_every_statement(received: Path, accepted: Path, plant: Plant) -> None:
    for path, wanted in ((received, COMPARED), (accepted, BOTH)):
        assert judge(path, plant.trust(wanted)).outcome is Outcome.TRUSTED
        text = text_of(path)
        for data in (path.read_bytes(), text.read_bytes()):
            denied = [{"artifact": str(Digest.of(data)), "reason": "wipes the drive"}]
            assert judge(path, plant.trust(wanted, deny=denied)).outcome is Outcome.REJECTED  # type: ignore[arg-type]
