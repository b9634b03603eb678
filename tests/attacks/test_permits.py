"""Permits attacked: borrowed, stretched, used twice, signed by others, crossed, and asked to excuse what nobody may (A114, A118, A120, A144, A149, A153, A158)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509

from kit.manifests import manifest_pair
from kit.mutate import changed
from kit.permits import (
    ACCEPTED,
    ANY,
    DEVICE,
    MAKER,
    PRODUCT,
    PermitPlant,
    judge_with,
    looked_at,
    permit_for,
    presented,
    said,
    sign_statement,
    write_follow_up,
    write_permit,
)
from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s, person_key
from kit.statements import accept
from kit.trust import codes, judge, new_state
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.permit import Excuse, PermitKind, parse_permit, permit_bytes
from sealwright.artifact.sums import FileEntry
from sealwright.errors import SealwrightError
from sealwright.findings import Severity, reject
from sealwright.trust.ground import Ground
from sealwright.trust.model import Denied
from sealwright.trust.permitfollowups import follow_up_problems, is_settled
from sealwright.trust.permits import EXCUSED, Holder, by_permit, use_permit
from sealwright.trust.state import read_state
from sealwright.trust.times import judgement
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, Verifier, verify_paths

CLAIMS = Claims(product=PRODUCT, version="6", generation=6, hardware=("drive-x",))
OLD = {"minimum": {PRODUCT: 7}}


@pytest.fixture(scope="module")
def plant() -> PermitPlant:
    return PermitPlant()


@pytest.fixture
def release(tmp_path: Path, plant: PermitPlant) -> Path:
    """A folder that its maker signed and the plant did not accept."""
    path = tmp_path / "6"
    path.mkdir()
    (path / "app.bin").write_bytes(b"firmware")
    manifest_pair(path, plant.release, CLAIMS)
    return path


def artifact_of(path: Path, plant: PermitPlant) -> Digest:
    """What the verdict knows it by."""
    found = judge(path, plant.trust()).artifact
    assert found is not None
    return found


@pytest.fixture
def permit(tmp_path: Path, release: Path, plant: PermitPlant) -> Path:
    """A break-glass permit for it, which lies on a stick of its own."""
    return write_permit(tmp_path / "stick", permit_for(artifact_of(release, plant), "6.manifest"), p_1=plant.one)


def rewritten(permit: Path, signer: Signer, **changes: object) -> Path:
    """The permit with parts of it replaced, signed again by whoever it names first."""
    before = parse_permit(permit.read_bytes(), "permit")
    entry = before.artifacts[0]
    parts = {"excuses": before.excuses, "nonce": before.nonce} | changes
    new = permit_for(Digest.of(b""), **({"artifacts": before.artifacts} | parts))
    assert new != before or entry
    return write_permit(permit.parent, new, **{new.persons[0].replace("-", "_"): signer})


def test_a_break_glass_permit_stands_in_for_the_missing_acceptance_and_the_verdict_stays_marked(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust = plant.trust()
    assert codes(judge(release, trust)) == ["SW-ACCEPTANCE-MISSING"]
    verdict = judge_with(release, trust, permit)
    assert verdict.outcome is Outcome.TRUSTED
    assert said(verdict) == ["SW-PERMIT-USED", "SW-PERMIT-FOLLOW-UP"]
    assert verdict.findings[0].severity is Severity.WARNING
    assert verdict.permitted is not None
    assert verdict.permitted.permit.device == DEVICE
    assert "SW-ACCEPTANCE-MISSING" in {one.code for one in verdict.findings}


@pytest.mark.parametrize("kind", list(PermitKind))
def test_a144_each_kind_excuses_what_it_is_for_and_nothing_else(
    release: Path, tmp_path: Path, plant: PermitPlant, kind: PermitKind
) -> None:
    purpose = Purpose.RESTORE if kind is PermitKind.RESTORE else Purpose.INSTALL
    permit = write_permit(tmp_path / "stick", permit_for(artifact_of(release, plant), kind=kind), p_1=plant.one)
    wanted = {
        Excuse.GENERATION: plant.trust(of_rule={"signer": [MAKER]}, **OLD),
        Excuse.PLANT_SIGNATURE: plant.trust(),
        Excuse.STALE_TRUST: plant.trust(of_rule={"signer": [MAKER], "fresh_for": "2d"}),
    }
    for excuse, trust in wanted.items():
        assert judge(release, trust, purpose=purpose).outcome is not Outcome.TRUSTED
        verdict = judge_with(release, trust, permit, purpose=purpose)
        assert (verdict.outcome is Outcome.TRUSTED) is (excuse in kind.excuses), excuse
        assert ("SW-PERMIT-INSUFFICIENT" in said(verdict)) is (excuse not in kind.excuses)


OTHERS: list[tuple[str, dict[str, object]]] = [
    ("SW-PERMIT-OTHER", {"device": "pump-4712"}),
    ("SW-PERMIT-OTHER", {"product": "VX-300 drive"}),
    ("SW-PERMIT-OTHER", {"product": ""}),
    ("SW-PERMIT-OTHER", {"trust": "plant-8"}),
    ("SW-PERMIT-OTHER", {"artifacts": (FileEntry(b"6.manifest", Digest.of(b"another release").value),)}),
    ("SW-PERMIT-OTHER", {"kind": PermitKind.RESTORE}),
    ("SW-PERMIT-TIME", {"begins": NOW + HOUR, "until": NOW + 2 * HOUR}),
    ("SW-PERMIT-TIME", {"begins": NOW - 3 * HOUR, "until": NOW}),
    ("SW-PERMIT-NOT-ALLOWED", {"begins": NOW - HOUR, "until": NOW + 11 * HOUR + timedelta(seconds=1)}),
    ("SW-PERMIT-NOT-ALLOWED", {"persons": ("p-3",)}),
    ("SW-PERMIT-NOT-ALLOWED", {"persons": ("olga",)}),
    ("SW-PERMIT-INSUFFICIENT", {"excuses": (Excuse.GENERATION,)}),
]


@pytest.mark.parametrize(("code", "changes"), OTHERS, ids=lambda one: str(one)[:40])
def test_a149_a_permit_for_another_device_product_digest_time_or_by_others_does_not_count(
    release: Path, permit: Path, plant: PermitPlant, code: str, changes: dict[str, object]
) -> None:
    trust = plant.trust()
    assert judge_with(release, trust, permit).outcome is Outcome.TRUSTED
    persons = changes.get("persons", ("p-1",))
    signer = {("p-1",): plant.one, ("p-3",): plant.three}.get(persons, person_key())  # type: ignore[call-overload]
    verdict = judge_with(release, trust, rewritten(permit, signer, **changes))
    assert verdict.outcome is Outcome.REJECTED
    assert said(verdict) == [code]


def test_a149_a_device_that_does_not_say_which_it_is_has_no_permit(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    assert said(judge_with(release, plant.trust(), permit, device="")) == ["SW-PERMIT-OTHER"]


@pytest.mark.parametrize(
    "section",
    [
        {"kinds": ["downgrade", "unlock", "restore"], "follow_up": None},
        {"products": ["VX-300 drive"]},
        {"rules": ["other"]},
        {"persons": ["p-2"]},
        {"longest": "7h"},
        {"threshold": 2},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_permit_that_no_section_of_the_trust_file_takes_does_not_count(
    release: Path, permit: Path, plant: PermitPlant, section: dict[str, object]
) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    rules = [
        {"name": name, "environment": "production", "signer": [MAKER, ACCEPTED], "products": products}
        for name, products in (("firmware", [PRODUCT]), ("other", ["else"]))
    ]
    wanted = {name: part for name, part in {**ANY, **section}.items() if part is not None}
    verdict = judge_with(release, plant.trust(wanted, rule=rules), permit)  # type: ignore[arg-type]
    assert (verdict.outcome, said(verdict)) == (Outcome.REJECTED, ["SW-PERMIT-NOT-ALLOWED"])


def test_without_a_section_no_permit_counts(release: Path, permit: Path, plant: PermitPlant) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    assert judge_with(release, plant.trust(permit=None), permit).outcome is Outcome.REJECTED  # type: ignore[arg-type]


def test_a120_one_person_with_two_keys_is_not_two_persons(release: Path, permit: Path, plant: PermitPlant) -> None:
    trust = plant.trust({**ANY, "threshold": 2})
    both = permit_for(artifact_of(release, plant), persons=("p-1", "p-2"))
    path = write_permit(permit.parent, both, p_1=plant.one, p_2=plant.two)
    assert judge_with(release, trust, path).outcome is Outcome.TRUSTED
    sign_statement(path, "p-2", plant.second)
    verdict = judge_with(release, trust, path)
    assert (verdict.outcome, said(verdict)) == (Outcome.REJECTED, ["SW-PERMIT-SIGNATURE"])
    path.with_name("drive.permit.p-2.p7s").unlink()
    assert said(judge_with(release, trust, path)) == ["SW-PERMIT-SIGNATURE"]


def test_a120_one_key_that_the_trust_file_gives_to_two_persons_counts_once(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    """By its certificate for one and by itself for the other; the trust file's own check sees different digests."""
    twice = Signer(person_key().certificate, (), plant.two.key)
    both = permit_for(artifact_of(release, plant), persons=("p-1", "p-2"))
    path = write_permit(permit.parent, both, p_1=plant.one, p_2=plant.two)
    trust = plant.trust({**ANY, "threshold": 2})
    assert judge_with(release, trust, path).outcome is Outcome.TRUSTED
    sign_statement(path, "p-1", Signer(plant.two.certificate, (), plant.two.key))
    assert said(judge_with(release, trust, path)) == ["SW-PERMIT-SIGNATURE"]
    assert twice.key_digest == plant.two.key_digest


def test_a114_who_signed_the_release_as_its_maker_permits_nothing(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    vendor = {**ANY, "persons": ["p-1", "vendor-1"]}
    people = plant.trust(vendor)
    assert judge_with(release, people, permit).outcome is Outcome.TRUSTED
    by_maker = rewritten(permit, plant.release, persons=("vendor-1",))
    assert said(judge_with(release, people, by_maker)) == ["SW-PERMIT-SIGNATURE"]


def test_a118_a_permit_is_used_once_for_each_artifact(release: Path, permit: Path, plant: PermitPlant) -> None:
    trust, state = plant.trust(), new_state(release.parent)
    assert judge_with(release, trust, permit, state=state).outcome is Outcome.TRUSTED
    again = judge_with(release, trust, permit, state=state)
    assert (again.outcome, said(again)) == (Outcome.REJECTED, ["SW-PERMIT-SPENT"])
    fresh = rewritten(permit, plant.one, nonce="7c" * 16)
    assert judge_with(release, trust, fresh, state=state).outcome is Outcome.TRUSTED


def test_a118_of_two_verifiers_that_both_found_a_permit_unused_one_uses_it(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    asked = Request(clock=NOW, device=DEVICE, permits=(presented(permit),), state=new_state(release.parent))
    first, second = (Verifier(plant.trust(), asked) for _ in range(2))
    assert first.verify(str(release)).outcome is Outcome.TRUSTED
    late = second.verify(str(release))
    assert (late.outcome, codes(late)) == (Outcome.REJECTED, ["SW-PERMIT-SPENT"])


def test_a118_a_permit_that_was_not_needed_or_did_not_help_is_not_used_up(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    state = new_state(release.parent)
    lax = plant.trust(of_rule={"signer": [MAKER]})
    verdict = judge_with(release, lax, permit, state=state)
    assert (verdict.outcome, said(verdict)) == (Outcome.TRUSTED, ["SW-PERMIT-UNNEEDED"])
    denied = plant.trust(deny=[{"product": PRODUCT, "below": 7, "reason": "CVE"}])
    assert judge_with(release, denied, permit, state=state).outcome is Outcome.REJECTED
    assert not read_state(state).permits
    assert judge_with(release, plant.trust(), permit, state=state).outcome is Outcome.TRUSTED


def test_a118_a120_what_a_device_adds_is_excused_by_its_permit_and_the_use_is_remembered_once(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    """As an agent does it: its own floor stands against the release too, and the permit is used up when the installation begins."""
    trust, memory = plant.trust(of_rule={"signer": [MAKER]}), new_state(release.parent)
    asked = Request(clock=NOW, device=DEVICE, state=memory)
    (verdict,) = verify_paths([str(release)], trust, asked)
    floor = verdict.with_findings((reject("SW-GENERATION-OLD", "6", "7 (this device's floor)", "6"),))
    withdrawn = verdict.with_findings((reject("SW-DENIED-GENERATION", "6", "7", "6"),))
    holder = Holder(DEVICE, (presented(permit),), trust, NOW, memory)
    assert by_permit(withdrawn, holder).outcome is Outcome.REJECTED
    allowed = by_permit(floor, holder)
    assert (allowed.outcome, said(allowed)[:1]) == (Outcome.TRUSTED, ["SW-PERMIT-USED"])
    assert use_permit(allowed, memory).outcome is Outcome.TRUSTED
    assert said(by_permit(floor, holder)) == ["SW-PERMIT-SPENT"]
    assert use_permit(allowed, memory).outcome is Outcome.REJECTED
    assert said(by_permit(floor, holder._replace(device="pump-4712"))) == ["SW-PERMIT-OTHER"]


def test_a118_a_hypothetical_judgement_uses_no_permit_up(release: Path, permit: Path, plant: PermitPlant) -> None:
    state = new_state(release.parent)
    asked = Request(clock=NOW, at=NOW, device=DEVICE, permits=(presented(permit),), state=state)
    (verdict,) = verify_paths([str(release)], plant.trust(), asked)
    assert (verdict.outcome, verdict.hypothetical) == (Outcome.TRUSTED, True)
    assert judge_with(release, plant.trust(), permit, state=state).outcome is Outcome.TRUSTED


def test_a144_a_downgrade_permit_lowers_nothing_for_ever(
    tmp_path: Path, release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust, state = plant.trust(of_rule={"signer": [MAKER]}), new_state(tmp_path)
    newer = tmp_path / "7"
    newer.mkdir()
    (newer / "app.bin").write_bytes(b"newer firmware")
    manifest_pair(newer, plant.release, Claims(product=PRODUCT, version="7", generation=7))
    assert judge(newer, trust, state=state).outcome is Outcome.TRUSTED
    assert codes(judge(release, trust, state=state)) == ["SW-GENERATION-OLD"]
    down = rewritten(permit, plant.one, kind=PermitKind.DOWNGRADE, excuses=(Excuse.GENERATION,))
    verdict = judge_with(release, trust, down, state=state)
    assert (verdict.outcome, said(verdict)) == (Outcome.TRUSTED, ["SW-PERMIT-USED"])
    assert read_state(state).generations == {PRODUCT: 7}
    assert codes(judge(release, trust, state=state)) == ["SW-GENERATION-OLD"]
    assert judge(release, trust, state=state, purpose=Purpose.RUN).outcome is Outcome.TRUSTED


def test_a144_what_claims_no_generation_is_not_an_older_one(tmp_path: Path, plant: PermitPlant) -> None:
    trust = plant.trust(of_rule={"signer": [MAKER]}, **OLD)
    for generation, outcome in ((6, Outcome.TRUSTED), (None, Outcome.REJECTED)):
        path = tmp_path / f"of-{generation}"
        path.mkdir()
        (path / "app.bin").write_bytes(b"firmware")
        manifest_pair(path, plant.release, Claims(product=PRODUCT, generation=generation))
        permit = write_permit(tmp_path / "stick", permit_for(artifact_of(path, plant)), p_1=plant.one)
        assert judge_with(path, trust, permit).outcome is outcome


def test_no_permit_excuses_an_altered_file(release: Path, permit: Path, plant: PermitPlant) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    (release / "app.bin").write_bytes(b"firmwarE")
    verdict = judge_with(release, plant.trust(), permit)
    assert verdict.outcome is Outcome.REJECTED
    assert codes(verdict)[0] == "SW-TREE-FILE-CHANGED"


def test_no_permit_excuses_a_file_too_many_or_a_manifest_that_was_changed(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    (release / "more.bin").write_bytes(b"x")
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.REJECTED
    (release / "more.bin").unlink()
    manifest = release.with_name("6.manifest")
    manifest.write_bytes(manifest.read_bytes().replace(b"generation 6", b"generation 9"))
    other = rewritten(permit, plant.one, artifacts=(FileEntry(b"6.manifest", Digest.of(manifest.read_bytes()).value),))
    assert judge_with(release, plant.trust(), other).outcome is Outcome.REJECTED


@pytest.mark.parametrize("what", ["generation", "artifact", "key"])
def test_no_permit_excuses_a_denial(release: Path, permit: Path, plant: PermitPlant, what: str) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    entry = {
        "generation": {"product": PRODUCT, "below": 7, "reason": "CVE-2026-1"},
        "artifact": {"artifact": str(artifact_of(release, plant)), "reason": "recalled"},
        "key": {"key": plant.release.key_digest, "reason": "stolen"},
    }[what]
    verdict = judge_with(release, plant.trust(deny=[entry]), permit)
    assert verdict.outcome is Outcome.REJECTED
    assert any(code.startswith("SW-DENIED-") for code in codes(verdict))


def test_no_permit_excuses_the_makers_missing_or_foreign_signature(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    signature, manifest = release.with_name("6.manifest.p7s"), release.with_name("6.manifest").read_bytes()
    signature.write_bytes(p7s(Pki.make("Mallory").leaf("release"), manifest, kind="manifest"))
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.REJECTED
    signature.unlink()
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.REJECTED


def test_no_permit_excuses_a_key_that_was_revoked_for_compromise(release: Path, plant: PermitPlant) -> None:
    maker = Pki.make("Other maker")
    signer = maker.leaf("release")
    manifest_pair(release, signer, CLAIMS)
    anchors = [
        {"name": "root", "environment": "production", "certificate": maker.root.pem},
        {"name": "plant", "environment": "production", "certificate": plant.own.root.pem},
    ]
    parts = {"anchor": anchors, "authority": None}
    permit = write_permit(release.parent / "stick", permit_for(artifact_of(release, plant)), p_1=plant.one)
    good = plant.trust(**parts)  # type: ignore[arg-type]
    assert judge_with(release, good, permit).outcome is Outcome.TRUSTED
    maker.revoke(signer, NOW - DAY, x509.ReasonFlags.key_compromise)
    assert judge_with(release, replace(good, crls=(maker.crl(NOW - HOUR),)), permit).outcome is Outcome.REJECTED


def test_a149_no_permit_excuses_other_hardware(release: Path, permit: Path, plant: PermitPlant) -> None:
    assert judge_with(release, plant.trust(), permit, hardware="drive-x").outcome is Outcome.TRUSTED
    verdict = judge_with(release, plant.trust(), permit, hardware="drive-y")
    assert (verdict.outcome, "SW-HARDWARE-WRONG" in codes(verdict)) == (Outcome.REJECTED, True)


def test_the_table_of_excuses_holds_nothing_about_content_denials_revocation_or_hardware() -> None:
    excused = frozenset().union(*EXCUSED.values())
    words = ("CHANGED", "DENIED", "REVOKED", "HARDWARE", "SIGNATURE", "SIGNER", "KEY", "TREE", "CERT", "CLAIMS")
    assert not [code for code in excused if any(word in code for word in words)]
    assert {*EXCUSED} == {*Excuse}


def test_a144_a_permit_for_stale_trust_by_a_key_that_only_a_newer_trust_file_knows_does_not_count(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    stale = plant.trust(of_rule={"signer": [MAKER], "fresh_for": "2d"})
    assert codes(judge(release, stale)) == ["SW-TRUST-STALE"]
    assert judge_with(release, stale, permit).outcome is Outcome.TRUSTED
    sign_statement(permit, "p-1", plant.stranger)
    verdict = judge_with(release, stale, permit)
    assert (verdict.outcome, said(verdict)) == (Outcome.UNDECIDED, ["SW-PERMIT-SIGNATURE"])


def test_break_glass_lets_a_trust_file_that_has_ended_decide_and_other_kinds_do_not(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust, after = plant.trust(of_rule={"signer": [MAKER]}, expires=NOW + 2 * DAY), NOW + 3 * DAY
    assert codes(judge(release, trust, at=after)) == ["SW-TRUST-EXPIRED"]
    hours = {"begins": after - HOUR, "until": after + HOUR}
    glass = rewritten(permit, plant.one, **hours)
    assert judge_with(release, trust, glass, at=after).outcome is Outcome.TRUSTED
    unlock = rewritten(permit, plant.one, kind=PermitKind.UNLOCK, **hours)
    verdict = judge_with(release, trust, unlock, at=after)
    assert (verdict.outcome, said(verdict)) == (Outcome.UNDECIDED, ["SW-PERMIT-INSUFFICIENT"])


def test_a_list_of_revoked_certificates_that_is_too_old_is_excused_by_no_permit(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    issuer = plant.maker.intermediate
    trust = plant.trust(
        of_rule={"signer": [MAKER, ACCEPTED]},
        crl=[{"issuer": issuer.pem, "max_age": {"install": "30d"}}],
        intermediate=[{"certificate": issuer.pem}],
    )
    fresh = replace(trust, crls=(plant.maker.crl(NOW - HOUR),))
    assert judge_with(release, fresh, permit).outcome is Outcome.TRUSTED
    old = replace(trust, crls=(plant.maker.crl(NOW - 31 * DAY),))
    verdict = judge_with(release, old, permit)
    assert verdict.outcome is Outcome.REJECTED
    assert "SW-REVOCATION-UNKNOWN" in codes(verdict)


def test_a_person_who_left_or_whose_key_is_denied_permits_nothing(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust = plant.trust()
    assert judge_with(release, trust, permit).outcome is Outcome.TRUSTED
    left = [{**one, "until": NOW - HOUR} if one["id"] == "p-1" else one for one in plant.people]  # type: ignore[index,call-overload]
    assert said(judge_with(release, plant.trust(person=left), permit)) == ["SW-PERMIT-SIGNATURE"]
    denied = replace(trust, denied=(Denied("key", plant.one.key_digest, 0, "token lost"),))
    assert said(judge_with(release, denied, permit)) == ["SW-PERMIT-SIGNATURE"]


def test_a158_an_older_backup_is_put_back_on_the_device_that_the_permit_names_and_on_no_other(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust = plant.trust(of_rule={"signer": [MAKER]}, **OLD)
    assert codes(judge(release, trust, purpose=Purpose.RESTORE)) == ["SW-GENERATION-OLD"]
    back = rewritten(permit, plant.one, kind=PermitKind.RESTORE, excuses=(Excuse.GENERATION,))
    assert judge_with(release, trust, back, purpose=Purpose.RESTORE).outcome is Outcome.TRUSTED
    other = judge_with(release, trust, back, purpose=Purpose.RESTORE, device="pump-4712")
    assert (other.outcome, said(other)) == (Outcome.REJECTED, ["SW-PERMIT-OTHER"])
    assert said(judge_with(release, trust, back)) == ["SW-PERMIT-OTHER"]


def test_a153_a_permit_from_a_stick_of_months_ago_does_not_count(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    late = judge_with(release, plant.trust(), permit, at=NOW + 90 * DAY)
    assert (late.outcome, "SW-PERMIT-TIME" in said(late)) == (Outcome.REJECTED, True)


def test_a_wrong_clock_takes_no_permit(release: Path, permit: Path, plant: PermitPlant) -> None:
    trust, state = plant.trust(), new_state(release.parent)
    assert judge_with(release, trust, permit).outcome is Outcome.TRUSTED
    early = rewritten(permit, plant.one, begins=NOW - 5 * DAY - HOUR, until=NOW - 5 * DAY + HOUR)
    verdict = judge_with(release, trust, early, at=NOW - 400 * DAY, state=state)
    assert "SW-PERMIT-TIME" in said(verdict)
    assert verdict.outcome is Outcome.REJECTED


def test_a109_a_clock_that_an_artifacts_own_proof_contradicts_brings_a_permits_hours_back_for_no_device(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    trust, memory = plant.trust(of_rule={"signer": [MAKER]}), new_state(release.parent)
    (verdict,) = verify_paths([str(release)], trust, Request(clock=NOW, device=DEVICE, state=memory))
    floor = verdict.with_findings((reject("SW-GENERATION-OLD", "6", "7 (this device's floor)", "6"),))
    holder = Holder(DEVICE, (presented(permit),), trust, NOW, memory)
    assert by_permit(floor, holder).outcome is Outcome.TRUSTED
    proved = floor._replace(times=floor.times._replace(judged=NOW + 2 * DAY))
    assert said(by_permit(proved, holder)) == ["SW-PERMIT-TIME"]


@pytest.mark.parametrize("kind", ["approval", "acceptance", "file", "manifest", "permit-follow-up", "record", "trust"])
def test_a_signature_of_another_kind_is_no_permit(release: Path, permit: Path, plant: PermitPlant, kind: str) -> None:
    assert judge_with(release, plant.trust(), permit).outcome is Outcome.TRUSTED
    sign_statement(permit, "p-1", plant.one, kind)
    assert said(judge_with(release, plant.trust(), permit)) == ["SW-PERMIT-SIGNATURE"]


def test_a_permits_signature_is_no_acceptance_and_no_makers(release: Path, permit: Path, plant: PermitPlant) -> None:
    accept(release, plant.anna)
    text = release.with_name("6.plant.manifest")
    assert judge(release, plant.trust()).outcome is Outcome.TRUSTED
    text.with_name("6.plant.manifest.p7s").write_bytes(p7s(plant.anna, text.read_bytes(), kind="permit"))
    assert judge(release, plant.trust()).outcome is Outcome.REJECTED
    accept(release, plant.anna)
    manifest = release.with_name("6.manifest")
    manifest.with_name("6.manifest.p7s").write_bytes(p7s(plant.release, manifest.read_bytes(), kind="permit"))
    assert judge(release, plant.trust()).outcome is Outcome.REJECTED


def test_a_text_that_is_not_in_the_one_form_is_no_permit_though_it_is_signed(
    release: Path, permit: Path, plant: PermitPlant
) -> None:
    text = permit.read_bytes()
    assert permit_bytes(parse_permit(text, "permit")) == text
    for change in (
        lambda t: t.replace(b"break-glass", b"everything"),
        lambda t: t.replace(b"#! excuse generation\n", b"#! excuse altered-file\n#! excuse generation\n"),
        lambda t: t.replace(b"#! excuse stale-trust\n", b"#! excuse stale-trust\n#! excuse unsigned\n"),
        lambda t: t.replace(b"#! excuse stale-trust\n", b"#! excuse stale-trust\n#! excuse stale-trust\n"),
        lambda t: b"".join(line for line in t.splitlines(keepends=True) if b"excuse" not in line),
        lambda t: t.replace(b"#! kind break-glass", b"#! kind downgrade"),
        lambda t: t.replace(b"#! device pump-4711\n", b"#! device pump-4711\n#! device pump-4712\n"),
        lambda t: t.replace(b"#! device pump-4711\n", b"#! device *\n"),
        lambda t: t.replace(b"#! device pump-4711\n", b""),
        lambda t: t.replace(b"2026-11-01T19:00:00Z", b"2026-11-09T19:00:00Z"),
        lambda t: t.replace(b"2026-11-01T19:00:00Z", b"2026-11-01T11:00:00Z"),
        lambda t: t.replace(b"#! person p-1\n", b""),
        lambda t: t.replace(b"#! person p-1\n", b"#! person p-1\n#! person p-1\n"),
        lambda t: t.replace(b"5b" * 16, b"5B" * 16),
        lambda t: t.replace(b"5b" * 16, b"5b"),
        lambda t: t.replace(b"permit 1 ", b"permit 2 "),
        lambda t: t.rpartition(b"\n")[0].rpartition(b"\n")[0] + b"\n",
        lambda t: t + t.splitlines()[-1] + b"\n",
        lambda t: t.rstrip(b"\n"),
        lambda t: t.replace(b"\n", b"\r\n"),
        lambda t: b"",
    ):
        other = change(text)
        assert other != text
        with pytest.raises(SealwrightError):
            parse_permit(other, "permit")


def test_a_permit_of_which_any_byte_was_changed_does_not_count(release: Path, permit: Path, plant: PermitPlant) -> None:
    trust, text, signature = plant.trust(), permit.read_bytes(), permit.with_name("drive.permit.p-1.p7s")
    assert judge_with(release, trust, permit).outcome is Outcome.TRUSTED
    for target, data in ((permit, text), (signature, signature.read_bytes())):
        for other in (one for one in changed(data, Random(6)) if one != data):
            target.write_bytes(other)
            try:
                verdict = judge_with(release, trust, permit)
            except SealwrightError:
                continue
            assert verdict.outcome is Outcome.REJECTED
        target.write_bytes(data)


def ground_of(plant: PermitPlant) -> Ground:
    trust = plant.trust().trust
    when = judgement(NOW, None, trust.issued, trust.expires, None)
    return Ground(trust, (), trust.denied, when, Purpose.INSTALL)


def test_two_others_settle_a_break_glass_and_one_or_its_signer_does_not(permit: Path, plant: PermitPlant) -> None:
    ground = ground_of(plant)
    good = write_follow_up(permit, p_3=plant.three, p_4=plant.four)
    persons, problems = follow_up_problems(looked_at(good), presented(permit), ground)
    assert (persons, problems, is_settled(persons)) == (("p-3", "p-4"), [], True)
    for signers in (
        {"p_3": plant.three, "p_1": plant.one},
        {"p_3": plant.three, "p_2": plant.two},
        {"p_3": plant.three, "p_4": plant.three},
        {"p_3": plant.three, "p_4": plant.stranger},
        {"p_3": plant.three, "p_4": plant.one},
    ):
        bad = write_follow_up(permit, **signers)
        persons, problems = follow_up_problems(looked_at(bad), presented(permit), ground)
        assert problems
        assert not is_settled(persons)
    path = write_follow_up(permit, p_3=plant.three, p_4=plant.four)
    sign_statement(path, "p-4", plant.four, "permit")
    assert not is_settled(follow_up_problems(looked_at(path), presented(permit), ground)[0])


def test_a_follow_up_of_another_permit_or_plant_settles_nothing(
    permit: Path, plant: PermitPlant, tmp_path: Path
) -> None:
    ground, other = ground_of(plant), rewritten(permit, plant.one, nonce="aa" * 16)
    assert is_settled(
        follow_up_problems(
            looked_at(write_follow_up(other, p_3=plant.three, p_4=plant.four)), presented(other), ground
        )[0]
    )
    follow_up = looked_at(other.with_name("drive.permit.follow-up"))
    fresh = rewritten(permit, plant.one, nonce="bb" * 16)
    persons, problems = follow_up_problems(follow_up, presented(fresh), ground)
    assert (persons, [one.code for one in problems]) == ((), ["SW-PERMIT-OTHER"])
    foreign = looked_at(write_follow_up(fresh, trust="plant-8", p_3=plant.three, p_4=plant.four))
    assert not is_settled(follow_up_problems(foreign, presented(fresh), ground)[0])
