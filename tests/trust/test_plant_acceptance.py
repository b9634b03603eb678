"""The plant's acceptance beside a maker's signature: what it fills, what it was bound to, where and until when it counts."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from kit.efi import tiny
from kit.inside import sign_inside
from kit.manifests import manifest_pair
from kit.openssl import cms_verify, sums
from kit.pki import DAY, NOW, p7s
from kit.statements import MAKER, PLANT, Plant, accept, rule
from kit.trust import codes, judge, person, signed_file
from sealwright.artifact.acceptance import Report
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.sums import FileEntry
from sealwright.keys.key import KeyKind, Provenance
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, verify_paths

BOTH = rule(MAKER, PLANT)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant()


def delivered(folder: Path, plant: Plant) -> Path:
    return signed_file(folder, plant.release)


def test_an_acceptance_fills_the_plants_slot_and_openssl_and_sha256sum_agree(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-MISSING"]
    acceptance = accept(path, plant.anna)
    verdict = judge(path, trust)
    assert (verdict.outcome, verdict.accepted) == (Outcome.TRUSTED, acceptance)
    assert [(one.slot, one.person) for one in verdict.signers] == [("maker", "vendor-1"), ("plant", "p-1")]
    text = tmp_path / "drive.bin.plant.manifest"
    (tmp_path / "ca.pem").write_text(plant.own.root.pem)
    assert cms_verify(text.with_name(f"{text.name}.p7s"), text, tmp_path / "ca.pem")[0]
    assert sums(text, tmp_path) == (True, "")
    # where only the maker's is asked for, nothing changes
    assert judge(path, plant.trust(rule(MAKER))).outcome is Outcome.TRUSTED


@pytest.mark.parametrize("algorithm", HashName)
def test_an_acceptance_may_use_any_digest_of_sha_2(tmp_path: Path, plant: Plant, algorithm: HashName) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    data, signature = path.read_bytes(), (tmp_path / "drive.bin.p7s").read_bytes()
    listed = (FileEntry(b"drive.bin.p7s", Digest.of(signature, algorithm).value),)
    accept(path, plant.anna, algorithm=algorithm, artifact=Digest.of(data, algorithm).value, signed_by=listed)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    bits = int(algorithm.value.removeprefix("sha"))
    assert sums(tmp_path / "drive.bin.plant.manifest", tmp_path, bits) == (True, "")
    path.write_bytes(data[:-1])
    assert judge(path, trust).outcome is Outcome.REJECTED
    assert not sums(tmp_path / "drive.bin.plant.manifest", tmp_path, bits)[0]


def test_an_acceptance_of_another_makers_signature_does_not_count(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    again = plant.maker.leaf("second release")
    (tmp_path / "drive.bin.p7s").write_bytes(p7s(again, path.read_bytes()))
    assert judge(path, plant.trust(rule(MAKER))).outcome is Outcome.TRUSTED
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-OTHER-SIGNATURE"]


def test_a_second_signature_of_the_maker_that_was_not_accepted_does_not_hide_behind_the_first(
    tmp_path: Path, plant: Plant
) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    manifest_pair(path, plant.release, Claims("drive"))
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-OTHER-SIGNATURE"]
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED


def test_an_acceptance_of_another_file_does_not_count(tmp_path: Path, plant: Plant) -> None:
    trust = plant.trust(BOTH)
    path, other = delivered(tmp_path, plant), signed_file(tmp_path, plant.release, b"other firmware", "other.bin")
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    for ending in (".plant.manifest", ".plant.manifest.p7s"):
        shutil.copy(f"{path}{ending}", f"{other}{ending}")
    assert codes(judge(other, trust))[0] == "SW-ACCEPTANCE-OTHER-FILE"
    # the same name, other bytes, signed by the same maker
    signed_file(tmp_path, plant.release, b"newer firmware")
    assert codes(judge(path, trust))[0] == "SW-ACCEPTANCE-OTHER-FILE"


SCOPE = {"lines": ("line-3", "line-4"), "hardware": ("cpu-1",), "not_before": NOW, "until": NOW + 10 * DAY}
HERE = {"line": "line-3", "hardware": "cpu-1"}


@pytest.mark.parametrize(
    ("asked", "later", "install", "run"),
    [
        ({}, DAY, None, None),
        ({"line": "line-5"}, DAY, "SW-ACCEPTANCE-LINE", "SW-ACCEPTANCE-LINE"),
        ({"line": ""}, DAY, "SW-ACCEPTANCE-LINE-UNSAID", None),
        ({"hardware": ""}, DAY, "SW-ACCEPTANCE-HARDWARE-UNSAID", None),
        ({}, -HOUR, "SW-ACCEPTANCE-EARLY", None),
        ({}, 11 * DAY, "SW-ACCEPTANCE-ENDED", None),
    ],
)
def test_where_and_until_when_an_acceptance_counts(
    tmp_path: Path, plant: Plant, asked: dict[str, str], later: timedelta, install: str | None, run: str | None
) -> None:
    path = delivered(tmp_path, plant)
    manifest_pair(path, plant.release, Claims(hardware=("cpu-1",)))
    trust = plant.trust(BOTH)
    accept(path, plant.anna, **SCOPE)

    def told(purpose: Purpose, **where: str) -> Verdict:
        return judge(path, trust, NOW + later, purpose=purpose, **where)

    assert judge(path, trust, NOW + DAY, **HERE).outcome is Outcome.TRUSTED
    for purpose, code in ((Purpose.INSTALL, install), (Purpose.RESTORE, install), (Purpose.RUN, run)):
        verdict = told(purpose, **HERE | asked)
        assert codes(verdict) == ([code] if code else [])
        if install:
            assert install in [finding.code for finding in verdict.findings]


def test_hardware_that_the_plant_did_not_accept_is_refused(tmp_path: Path, plant: Plant) -> None:
    path = delivered(tmp_path, plant)
    manifest_pair(path, plant.release, Claims(hardware=("cpu-1", "cpu-2")))
    accept(path, plant.anna, hardware=("cpu-1",))
    trust = plant.trust(BOTH)
    assert judge(path, trust, hardware="cpu-1").outcome is Outcome.TRUSTED
    assert codes(judge(path, trust, hardware="cpu-2")) == ["SW-ACCEPTANCE-HARDWARE"]
    assert codes(judge(path, trust, purpose=Purpose.RUN, hardware="cpu-2")) == ["SW-ACCEPTANCE-HARDWARE"]


def test_who_signs_it_is_who_it_names_and_may(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    accept(path, plant.bert)
    assert codes(judge(path, trust)) == ["SW-STATEMENT-PERSON"]
    accept(path, plant.carl, "p-3")
    assert codes(judge(path, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    accept(path, plant.release, "vendor-1")
    assert codes(judge(path, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    unknown = plant.own.leaf("nobody")
    anybody = rule(MAKER, {"slot": "plant", "anchors": ["plant"]})
    accept(path, plant.anna)
    assert judge(path, plant.trust(anybody)).outcome is Outcome.TRUSTED
    accept(path, unknown)
    assert "SW-SIGNER-UNMAPPED" in codes(judge(path, plant.trust(anybody)))


def test_under_a_production_anchor_no_development_key_accepts_anything(tmp_path: Path, plant: Plant) -> None:
    path = delivered(tmp_path, plant)
    soft = plant.own.leaf("soft", provenance=Provenance.DEVELOPMENT)
    people = [*plant.people, person("p-9", soft, organisation="Plant")]
    trust = plant.trust(rule(MAKER, {"slot": "plant", "anchors": ["plant"]}), person=people)
    accept(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    accept(path, soft, "p-9")
    assert codes(judge(path, trust))[0] in ("SW-KEY-DEVELOPMENT", "SW-KEY-UNPROVED")


def test_a_signature_of_another_kind_never_serves_for_an_acceptance(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    text, signature = tmp_path / "drive.bin.plant.manifest", tmp_path / "drive.bin.plant.manifest.p7s"
    assert judge(path, trust).outcome is Outcome.TRUSTED
    for kind in ("manifest", "receiving", "file", "trust"):
        signature.write_bytes(p7s(plant.anna, text.read_bytes(), kind=kind))
        assert codes(judge(path, trust)) == ["SW-SIGNATURE-KIND"]
    signature.unlink()
    assert codes(judge(path, trust)) == ["SW-STATEMENT-UNSIGNED"]


def test_a_changed_acceptance_or_signature_is_refused(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna, lines=("line-3",))
    text, signature = tmp_path / "drive.bin.plant.manifest", tmp_path / "drive.bin.plant.manifest.p7s"
    (tmp_path / "ca.pem").write_text(plant.own.root.pem)
    good, signed = text.read_bytes(), signature.read_bytes()
    assert judge(path, trust, line="line-3").outcome is Outcome.TRUSTED
    for data, sig, code in (
        (good.replace(b"line-3", b"line-4"), signed, "SW-FILE-CHANGED"),
        (good, signed[:-3] + bytes([signed[-3] ^ 1]) + signed[-2:], "SW-SIGNATURE-INVALID"),
    ):
        text.write_bytes(data)
        signature.write_bytes(sig)
        assert not cms_verify(signature, text, tmp_path / "ca.pem")[0]
        assert codes(judge(path, trust, line="line-4"))[0] == code
    text.write_bytes(b"what is this\n")
    assert codes(judge(path, trust, line="line-3"))[0] == "SW-ARTIFACT-MALFORMED"


def test_a_plants_own_software_and_what_it_accepts_have_rules_of_their_own(tmp_path: Path, plant: Plant) -> None:
    own = {**rule({"anchors": ["plant"]}), "name": "own software"}
    trust = plant.trust(own, BOTH)
    path = delivered(tmp_path, plant)
    accept(path, plant.anna)
    assert judge(path, trust).rule == "firmware"
    assert judge(path, trust).outcome is Outcome.TRUSTED
    ours = signed_file(tmp_path, plant.anna, name="ours.bin")
    assert judge(ours, plant.trust(own)).outcome is Outcome.TRUSTED
    # a bare signature says nothing of the part it plays: under another name it is judged by the same rules
    ours.with_name("ours.bin.p7s").rename(ours.with_name("ours.bin.plant.p7s"))
    assert judge(ours, trust).outcome is Outcome.REJECTED


def test_reports_are_bound_by_their_digests(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    report = tmp_path / "FAT 7.pdf"
    report.write_bytes(b"all tests passed")
    digest = Digest.of(report.read_bytes()).value
    reports = (Report(b"FAT 7.pdf", digest), Report(b"elsewhere.pdf", digest))
    accept(path, plant.anna, reports=reports, beside=(b"FAT 7.pdf",))
    assert judge(path, trust).outcome is Outcome.TRUSTED
    report.write_bytes(b"one test failed")
    assert codes(judge(path, trust)) == ["SW-ATTACHMENT-CHANGED"]
    report.unlink()
    assert codes(judge(path, trust)) == ["SW-ATTACHMENT-MISSING"]
    running = judge(path, trust, purpose=Purpose.RUN)
    assert running.outcome is Outcome.TRUSTED
    assert "SW-ATTACHMENT-MISSING" in [finding.code for finding in running.findings]


def test_a_folder_is_accepted_with_its_manifest(tmp_path: Path, plant: Plant) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.st").write_bytes(b"VAR x : INT;")
    manifest_pair(folder, plant.release, Claims())
    trust = plant.trust(BOTH)
    assert codes(judge(folder, trust)) == ["SW-ACCEPTANCE-MISSING"]
    accept(folder, plant.anna)
    assert judge(folder, trust).outcome is Outcome.TRUSTED
    assert sums(tmp_path / "project.plant.manifest", tmp_path) == (True, "")
    (folder / "b.st").write_bytes(b"more")
    assert codes(judge(folder, trust))[0] == "SW-TREE-FILE-EXTRA"
    manifest_pair(folder, plant.release, Claims())  # the maker's next release
    assert set(codes(judge(folder, trust))) == {"SW-ACCEPTANCE-OTHER-SIGNATURE"}


def test_a_signature_inside_the_file_is_accepted_with_the_file(tmp_path: Path, plant: Plant) -> None:
    plain = tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    path = sign_inside(plain, plant.maker.leaf("rsa", kind=KeyKind.RSA3072), tmp_path / "signed.efi", "pe")
    trust = plant.trust(rule(MAKER, {**PLANT}, formats=["pe"]))
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-MISSING"]
    accept(path, plant.anna)
    assert codes(judge(path, trust)) == []
    other = sign_inside(plain, plant.maker.leaf("rsa2", kind=KeyKind.RSA3072), tmp_path / "again.efi", "pe")
    shutil.copy(other, path)
    assert codes(judge(path, trust))[0] == "SW-ACCEPTANCE-OTHER-FILE"


def test_a_denied_file_stays_denied_though_the_plant_accepted_it(tmp_path: Path, plant: Plant) -> None:
    path = tmp_path / "own.bin"
    path.write_bytes(b"the plant's own")
    alone = rule(PLANT)
    accept(path, plant.anna)
    assert judge(path, plant.trust(alone)).outcome is Outcome.TRUSTED
    denied = [{"artifact": f"{Digest.of(path.read_bytes())}", "reason": "wipes the drive"}]
    assert "SW-DENIED-ARTIFACT" in codes(judge(path, plant.trust(alone, deny=denied)))


def test_each_file_of_a_folder_is_judged_and_statements_are_no_files_of_their_own(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    verdicts = list(verify_paths([str(tmp_path)], trust, Request(clock=NOW, recursive=True)))
    assert [(Path(one.path).name, one.outcome) for one in verdicts] == [("drive.bin", Outcome.TRUSTED)]
    (tmp_path / "evil.exe.plant.manifest").write_bytes(b"MZ")
    (tmp_path / "evil.exe.plant.manifest.p7s").write_bytes(b"MZ")
    verdicts = list(verify_paths([str(tmp_path)], trust, Request(clock=NOW, recursive=True)))
    assert {Path(one.path).name for one in verdicts if one.outcome is Outcome.REJECTED} == {"evil.exe.plant.manifest"}


def test_the_text_or_the_signature_may_be_named_in_place_of_the_file(tmp_path: Path, plant: Plant) -> None:
    path, trust = delivered(tmp_path, plant), plant.trust(BOTH)
    accept(path, plant.anna)
    assert judge(tmp_path / "drive.bin.plant.manifest", trust).outcome is Outcome.TRUSTED
    alone = plant.trust(rule(PLANT))
    named = judge(path, alone, signature=str(tmp_path / "drive.bin.plant.manifest.p7s"))
    assert (named.outcome, [one.source for one in named.signers]) == (Outcome.TRUSTED, ["drive.bin.plant.manifest.p7s"])
