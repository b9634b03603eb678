"""A receiving record in place of a maker's signature: which grades a rule takes, who signs it, what it never hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from kit.openssl import cms_verify, sums
from kit.pki import NOW, Signer, p7s
from kit.statements import MAKER, PLANT, RECEIVER, Plant, accept, receive, rule
from kit.trust import codes, judge, signed_file
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.receiving import Grade, OldSignature
from sealwright.errors import MalformedTrust
from sealwright.trust.toml import Toml
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, verify_paths

COMPARED = rule(MAKER, RECEIVER, grades=["compared"])


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant()


def certificate_digest(signer: Signer) -> str:
    return str(Digest.of(x509.load_der_x509_certificate(signer.certificate).tbs_certificate_bytes))


def unsigned(folder: Path) -> Path:
    path = folder / "drive.bin"
    path.write_bytes(b"old firmware\n" * 50)
    return path


def test_a_record_stands_in_where_the_rule_takes_its_grade_and_the_verdict_says_so(
    tmp_path: Path, plant: Plant
) -> None:
    path, trust = unsigned(tmp_path), plant.trust(COMPARED)
    assert codes(judge(path, trust)) == ["SW-SIGNATURE-MISSING"]
    record = receive(path, plant.anna)
    for purpose in Purpose:
        verdict = judge(path, trust, purpose=purpose)
        assert (verdict.outcome, verdict.received) == (Outcome.TRUSTED, record)
        assert [(one.slot, one.person) for one in verdict.signers] == [("plant", "p-1")]
        (told,) = (one for one in verdict.findings if one.code == "SW-RECEIVED")
        assert "not signed by its maker" in told.sentence
        assert "compared, from https://vendor.example/drive" in told.sentence
        assert "1 piece of evidence, by p-1" in told.sentence
    text = tmp_path / "drive.bin.received.manifest"
    (tmp_path / "ca.pem").write_text(plant.own.root.pem)
    assert cms_verify(text.with_name(f"{text.name}.p7s"), text, tmp_path / "ca.pem")[0]
    assert sums(text, tmp_path) == (True, "")


def test_a_rule_for_a_maker_who_never_signs_wants_the_record_and_takes_no_signature_for_it(
    tmp_path: Path, plant: Plant
) -> None:
    for receiver in (RECEIVER, PLANT):
        path, trust = unsigned(tmp_path), plant.trust(rule(receiver, grades=["compared"]))
        assert "SW-SIGNATURE-MISSING" in codes(judge(path, trust))
        signed_file(tmp_path, plant.anna, path.read_bytes())
        assert "SW-SIGNER-NOT-ALLOWED" in codes(judge(path, trust))
        (tmp_path / "drive.bin.p7s").unlink()
    path, trust = unsigned(tmp_path), plant.trust(rule(RECEIVER, grades=["compared"]))
    receive(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    assert codes(judge(path, plant.trust(rule(RECEIVER, grades=["uncompared"]))))
    receive(path, plant.carl, persons=("p-3",))
    assert codes(judge(path, trust))
    # with a count of 1 another person has to accept it too
    receive(path, plant.anna)
    both = plant.trust(rule(PLANT, grades=["compared"]))
    assert codes(judge(path, both)) == ["SW-ACCEPTANCE-MISSING"]
    accept(path, plant.bert, "p-2")
    assert judge(path, both).outcome is Outcome.TRUSTED


@pytest.mark.parametrize("grades", [[], ["old-signature"], ["uncompared", "found-in-use"]])
def test_a_grade_that_the_rule_does_not_list_is_refused(tmp_path: Path, plant: Plant, grades: list[str]) -> None:
    path = unsigned(tmp_path)
    receive(path, plant.anna)
    assert judge(path, plant.trust(COMPARED)).outcome is Outcome.TRUSTED
    plain = rule(MAKER, PLANT, grades=grades) if grades else rule(MAKER)
    refused = codes(judge(path, plant.trust(plain)))
    assert "SW-SIGNATURE-MISSING" in refused
    assert ("SW-GRADE-NOT-ALLOWED" in refused) is bool(grades)


def test_a_makers_good_signature_needs_no_record_and_is_not_harmed_by_one(tmp_path: Path, plant: Plant) -> None:
    path, trust = signed_file(tmp_path, plant.release), plant.trust(COMPARED)
    receive(path, plant.anna)
    verdict = judge(path, trust)
    assert (verdict.outcome, verdict.received) == (Outcome.TRUSTED, None)
    (tmp_path / "drive.bin.received.manifest").write_bytes(b"garbage\n")
    assert judge(path, trust).outcome is Outcome.TRUSTED


def test_a_makers_signature_that_does_not_count_may_be_stood_in_for(tmp_path: Path, plant: Plant) -> None:
    path, trust = signed_file(tmp_path, plant.release), plant.trust(COMPARED)
    (tmp_path / "drive.bin.p7s").write_bytes(p7s(plant.own.leaf("stranger"), path.read_bytes()))
    assert codes(judge(path, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    checked = OldSignature("openssl 3.0.16", "sha1 of an RSA key of 1024 bits", "ACME", "good", ("SHA-1", "short key"))
    receive(path, plant.anna, grade=Grade.OLD_SIGNATURE, old_signature=checked)
    assert "SW-GRADE-NOT-ALLOWED" in codes(judge(path, trust))
    verdict = judge(path, plant.trust({**COMPARED, "grades": ["old-signature"]}))
    assert verdict.outcome is Outcome.TRUSTED
    assert "SW-SIGNATURE-IGNORED" in [finding.code for finding in verdict.findings]


def test_who_may_sign_records_is_said_by_the_rule(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust(COMPARED)
    for signer, person, code in (
        (plant.anna, "p-1", ""),
        (plant.bert, "p-2", ""),
        (plant.carl, "p-3", "SW-SIGNER-NOT-ALLOWED"),
        (plant.bert, "p-1", "SW-STATEMENT-PERSON"),
        (plant.release, "vendor-1", "SW-SIGNER-NOT-ALLOWED"),
    ):
        receive(path, signer, persons=(person,))
        verdict = judge(path, trust)
        assert codes(verdict)[:1] == ([code] if code else [])


def test_an_uncompared_one_takes_two_persons_with_two_keys(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust({**COMPARED, "grades": ["uncompared"]})
    two = {"persons": ("p-1", "p-2"), "grade": Grade.UNCOMPARED, "reason": "the maker is gone"}
    receive(path, plant.anna, plant.bert, **two)  # type: ignore[arg-type]
    second = tmp_path / "drive.bin.received.manifest.p-2.p7s"
    text = tmp_path / "drive.bin.received.manifest"
    assert judge(path, trust).outcome is Outcome.TRUSTED
    (tmp_path / "ca.pem").write_text(plant.own.root.pem)
    assert cms_verify(second, text, tmp_path / "ca.pem")[0]
    good = second.read_bytes()
    second.unlink()
    assert codes(judge(path, trust))[0] == "SW-STATEMENT-UNSIGNED"
    for signer in (plant.anna, plant.carl, plant.own.leaf("nobody")):
        second.write_bytes(p7s(signer, text.read_bytes(), kind="receiving"))
        assert judge(path, trust).outcome is Outcome.REJECTED
    second.write_bytes(good)
    assert judge(path, trust).outcome is Outcome.TRUSTED


def test_one_key_certified_for_two_persons_signs_for_one(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust({**COMPARED, "grades": ["uncompared"]})
    two = {"persons": ("p-1", "p-2"), "grade": Grade.UNCOMPARED, "reason": "the maker is gone"}
    receive(path, plant.anna, plant.bert, **two)  # type: ignore[arg-type]
    assert judge(path, trust).outcome is Outcome.TRUSTED
    twin = plant.own.leaf("twin", key=plant.anna.key)
    certificates = [certificate_digest(one) for one in (plant.anna, twin)]
    people: list[Toml] = [
        {"id": name, "organisation": "Plant", "certificates": [certificate]}
        for name, certificate in zip(("p-1", "p-2"), certificates, strict=True)
    ]
    others = [one for one in plant.people if one["id"] not in ("p-1", "p-2")]  # type: ignore[index, call-overload]
    receive(path, plant.anna, twin, **two)  # type: ignore[arg-type]
    mapped = plant.trust({**COMPARED, "grades": ["uncompared"]}, person=[*others, *people])
    verdict = judge(path, mapped)
    assert [one.person for one in verdict.signers] == ["p-1", "p-2"]
    assert codes(verdict)[0] == "SW-SIGNERS-TOO-FEW"


def test_who_received_it_does_not_accept_it_too(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust(rule(MAKER, PLANT, grades=["compared"]))
    receive(path, plant.anna)
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-MISSING"]
    accept(path, plant.bert, "p-2", lines=("line-3",))
    assert judge(path, trust, line="line-3").outcome is Outcome.TRUSTED
    assert codes(judge(path, trust, line="line-4")) == ["SW-ACCEPTANCE-LINE"]
    accept(path, plant.anna)
    assert "SW-SIGNERS-NOT-DISTINCT" in codes(judge(path, trust))
    accept(path, plant.bert, "p-2")
    receive(path, plant.anna, source="another source")
    assert codes(judge(path, trust))[0] == "SW-ACCEPTANCE-OTHER-SIGNATURE"


def test_why_a_record_does_not_count_is_said_first_where_its_product_leads_to_no_rule_any_more(
    tmp_path: Path, plant: Plant
) -> None:
    path = unsigned(tmp_path)
    ours, others = rule(RECEIVER, grades=["compared"], products=["pump"], name="pumps"), rule(MAKER, name="others")
    trust = plant.trust(ours, others)
    assert codes(judge(path, trust)) == ["SW-SIGNATURE-MISSING"]
    record = receive(path, plant.anna)
    receive(path, plant.anna, contents=replace(record.contents, claims=Claims(product="pump")))
    assert judge(path, trust).outcome is Outcome.TRUSTED
    (tmp_path / "drive.bin.received" / "mail.eml").unlink()
    assert codes(judge(path, trust)) == ["SW-ATTACHMENT-MISSING", "SW-SIGNATURE-MISSING"]


def test_changed_content_evidence_or_signature_is_refused(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust(COMPARED)
    receive(path, plant.anna)
    text, signature = tmp_path / "drive.bin.received.manifest", tmp_path / "drive.bin.received.manifest.p7s"
    mail = tmp_path / "drive.bin.received" / "mail.eml"
    (tmp_path / "ca.pem").write_text(plant.own.root.pem)
    for changed, code, checker in (
        (path, "SW-RECEIVING-OTHER-FILE", lambda: sums(text, tmp_path)),
        (mail, "SW-ATTACHMENT-CHANGED", lambda: sums(text, tmp_path)),
        (text, "SW-FILE-CHANGED", lambda: cms_verify(signature, text, tmp_path / "ca.pem")),
        (signature, "SW-SIGNATURE-INVALID", lambda: cms_verify(signature, text, tmp_path / "ca.pem")),
    ):
        good = changed.read_bytes()
        assert judge(path, trust).outcome is Outcome.TRUSTED
        assert checker()[0]
        bad = good.replace(b"p-1", b"p-9") if changed is text else good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
        changed.write_bytes(bad)
        assert codes(judge(path, trust))[0] == code
        assert not checker()[0]
        changed.write_bytes(good)
    mail.unlink()
    assert codes(judge(path, trust))[0] == "SW-ATTACHMENT-MISSING"
    assert judge(path, trust, purpose=Purpose.RUN).outcome is Outcome.TRUSTED


def test_a_signature_of_another_kind_never_serves_for_a_record(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust(COMPARED)
    receive(path, plant.anna)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    text, signature = tmp_path / "drive.bin.received.manifest", tmp_path / "drive.bin.received.manifest.p7s"
    for kind in ("acceptance", "manifest", "file"):
        signature.write_bytes(p7s(plant.anna, text.read_bytes(), kind=kind))
        assert codes(judge(path, trust))[0] == "SW-SIGNATURE-KIND"


def test_a_folder_is_received_file_by_file(tmp_path: Path, plant: Plant) -> None:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.st").write_bytes(b"VAR x : INT;")
    (folder / "empty").mkdir()
    trust = plant.trust(COMPARED)
    assert codes(judge(folder, trust)) == ["SW-MANIFEST-MISSING"]
    receive(folder, plant.anna)
    assert judge(folder, trust).outcome is Outcome.TRUSTED
    assert sums(tmp_path / "project.received.manifest", tmp_path) == (True, "")
    (folder / "sub" / "b.st").write_bytes(b"more")
    assert codes(judge(folder, trust))[0] == "SW-TREE-FILE-EXTRA"
    (folder / "sub" / "b.st").unlink()
    (folder / "empty").rmdir()
    assert codes(judge(folder, trust))[0].startswith("SW-TREE-")
    receive(folder, plant.anna)
    both = plant.trust(rule(MAKER, PLANT, grades=["compared"]))
    accept(folder, plant.bert, "p-2")
    assert judge(folder, both).outcome is Outcome.TRUSTED
    (folder / "sub" / "a.st").write_bytes(b"VAR x : DINT;")
    assert codes(judge(folder, both))[0] == "SW-TREE-FILE-CHANGED"


def test_what_a_record_claims_is_the_plants_word_and_counts_as_such(tmp_path: Path, plant: Plant) -> None:
    path = unsigned(tmp_path)
    record = receive(path, plant.anna)
    for_drives = plant.trust({**COMPARED, "products": ["drive"], "minimum_generation": 3})
    assert codes(judge(path, for_drives)) == ["SW-RULE-NONE"]
    for generation, outcome in ((3, Outcome.TRUSTED), (2, Outcome.REJECTED)):
        claims = Claims("drive", generation=generation)
        receive(path, plant.anna, contents=replace(record.contents, claims=claims))
        assert judge(path, for_drives).outcome is outcome


def test_a_rule_for_a_format_is_met_by_a_record_of_such_a_file(tmp_path: Path, plant: Plant) -> None:
    path = unsigned(tmp_path)
    receive(path, plant.anna)
    assert judge(path, plant.trust({**COMPARED, "formats": ["detached"]})).outcome is Outcome.TRUSTED
    assert codes(judge(path, plant.trust({**COMPARED, "formats": ["pe"]}))) == ["SW-RULE-NONE"]


def test_a_denied_file_stays_denied_and_a_withdrawn_receiver_counts_no_longer(tmp_path: Path, plant: Plant) -> None:
    path = unsigned(tmp_path)
    receive(path, plant.anna)
    assert judge(path, plant.trust(COMPARED)).outcome is Outcome.TRUSTED
    artifact: list[Toml] = [{"artifact": str(Digest.of(path.read_bytes())), "reason": "wipes the drive"}]
    assert "SW-DENIED-ARTIFACT" in codes(judge(path, plant.trust(COMPARED, deny=artifact)))
    key: list[Toml] = [{"key": plant.anna.key_digest, "reason": "stolen"}]
    assert "SW-DENIED-SIGNER" in codes(judge(path, plant.trust(COMPARED, deny=key)))


@pytest.mark.parametrize(
    ("signers", "changes"),
    [
        ([MAKER], {"grades": ["compared"]}),
        ([MAKER, RECEIVER], {}),
        ([RECEIVER], {}),
        ([{**MAKER, "count": 0}, PLANT], {"grades": ["compared"]}),
        ([MAKER, RECEIVER], {"grades": ["whatever"]}),
    ],
)
def test_rules_that_say_half_of_it_are_refused(
    plant: Plant, signers: list[dict[str, Toml]], changes: dict[str, Toml]
) -> None:
    assert plant.trust(COMPARED).trust.rules[0].grades == ("compared",)
    with pytest.raises(MalformedTrust):
        plant.trust(rule(*signers, **changes))


def test_evidence_is_checked_with_its_file_and_nothing_else_hides_there(tmp_path: Path, plant: Plant) -> None:
    path, trust = unsigned(tmp_path), plant.trust({**COMPARED, "grades": ["uncompared"]})
    two = {"persons": ("p-1", "p-2"), "grade": Grade.UNCOMPARED, "reason": "the maker is gone"}
    receive(path, plant.anna, plant.bert, **two)  # type: ignore[arg-type]

    def refused() -> set[str]:
        asked = Request(clock=NOW, recursive=True)
        every = list(verify_paths([str(tmp_path)], trust, asked))
        assert str(path) in [one.path for one in every]
        return {Path(one.path).name for one in every if one.outcome is not Outcome.TRUSTED}

    assert refused() == set()
    kept = tmp_path / "drive.bin.received"
    (kept / "evil.exe").write_bytes(b"MZ")
    assert refused() == {"evil.exe"}
    (kept / "evil.exe").unlink()
    (kept / "mail.eml").write_bytes(b"MZ")
    assert refused() == {"mail.eml", "drive.bin"}
    (kept / "mail.eml").write_bytes(b"It is ours. Kind regards")
    stranger = tmp_path / "drive.bin.received.manifest.p-3.p7s"
    stranger.write_bytes(b"MZ")
    assert refused() == {stranger.name}
    stranger.unlink()
    assert refused() == set()


def test_a_strangers_record_hides_no_file_as_evidence(tmp_path: Path, plant: Plant) -> None:
    path, trust = signed_file(tmp_path, plant.release), plant.trust(COMPARED)
    receive(path, plant.anna)
    asked = Request(clock=NOW, recursive=True)
    assert [one.outcome for one in verify_paths([str(tmp_path)], trust, asked)] == [Outcome.TRUSTED]
    stranger = Plant().anna
    receive(path, stranger)
    assert judge(path, trust).outcome is Outcome.TRUSTED  # the maker's signature is as good as before
    (verdict,) = verify_paths([str(tmp_path)], trust, asked)
    assert codes(verdict) == ["SW-EVIDENCE-UNACCOUNTED"]
