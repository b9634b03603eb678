"""Claims count only from a signature that the rule itself counts: what somebody else signed beside it answers nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit.manifests import claimed, manifest_pair
from kit.pki import DAY, NOW, Pki, Signer, p7s
from kit.trust import RULE, believed, codes, judge, new_state, person, signed_file
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.keys.key import Provenance
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, verify_paths

PUMP = Claims("pump", "9", 9, ("rev-b",), "production")
TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture(scope="module")
def release(pki: Pki) -> Signer:
    return pki.leaf("release")


@pytest.fixture(scope="module")
def other() -> Pki:
    """Another authority that the trust file knows, for something else."""
    return Pki.make("Other", provenance=Provenance.DEVELOPMENT)


def rule(**changes: object) -> dict[str, object]:
    return RULE | changes


def anchors(pki: Pki, other: Pki) -> list[dict[str, object]]:
    return [
        {"name": "root", "environment": "production", "certificate": pki.root.pem},
        {"name": "other", "environment": "development", "certificate": other.root.pem},
    ]


OTHER_RULE = {"name": "other", "environment": "development", "signer": [{"anchors": ["other"]}]}


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({"minimum_generation": 5}, {}),
        ({"hardware": ["rev-b"]}, {}),
        ({"products": ["pump"]}, {}),
        ({}, {"product": "pump"}),
        ({}, {"hardware": "rev-b"}),
    ],
)
@pytest.mark.parametrize("slot", ["", ".plant"])
def test_a029_claims_of_another_signer_answer_for_no_bare_signature(
    tmp_path: Path,
    pki: Pki,
    other: Pki,
    release: Signer,
    changes: dict[str, object],
    asked: dict[str, object],
    slot: str,
) -> None:
    trust = believed(pki, anchor=anchors(pki, other), rule=[rule(**changes), OTHER_RULE])
    good = claimed(tmp_path, release, PUMP, "good.bin")
    assert judge(good, trust, **asked).outcome is TRUSTED
    bare = signed_file(tmp_path, release)
    assert judge(bare, trust, **asked).outcome is REJECTED
    manifest_pair(bare, other.leaf("dev"), replace(PUMP, environment=None), slot)
    verdict = judge(bare, trust, **asked)
    assert verdict.outcome is REJECTED
    assert verdict.claims == Claims() or "SW-CLAIMS-NOT-SIGNED" in codes(verdict)


def test_a029_a_rule_for_the_plant_alone_takes_no_claims_of_somebody_else(tmp_path: Path, pki: Pki, other: Pki) -> None:
    plant = pki.leaf("plant")
    only_plant = rule(products=["pump"], signer=[{"slot": "plant", "anchors": ["root"]}])
    trust = believed(pki, anchor=anchors(pki, other), rule=[only_plant])
    path = tmp_path / "pump.bin"
    path.write_bytes(b"firmware")
    manifest_pair(path, plant, PUMP, ".plant")
    assert judge(path, trust).outcome is TRUSTED
    (tmp_path / "pump.bin.manifest.plant.p7s").unlink()
    (tmp_path / "pump.bin.plant.p7s").write_bytes(p7s(plant, b"firmware"))
    manifest_pair(path, other.leaf("dev"), replace(PUMP, environment=None))
    assert judge(path, trust).outcome is REJECTED


def test_a029_one_products_certificate_signs_no_other_product(tmp_path: Path, pki: Pki) -> None:
    line_b = Pki.make("Line B")
    both = [
        {"name": "root", "environment": "production", "certificate": pki.root.pem},
        {"name": "b", "environment": "production", "certificate": line_b.root.pem},
    ]
    rules = [
        rule(name="a", products=["pump"]),
        rule(name="b", products=["valve"], signer=[{"anchors": ["b"]}]),
    ]
    trust = believed(pki, anchor=both, rule=rules)
    assert judge(claimed(tmp_path, pki.leaf(), PUMP, "a.bin"), trust).outcome is TRUSTED
    crossed = claimed(tmp_path, line_b.leaf(), PUMP, "b.bin")
    assert codes(judge(crossed, trust)) == ["SW-SIGNER-NOT-ALLOWED"]
    assert judge(claimed(tmp_path, line_b.leaf(), replace(PUMP, product="valve"), "c.bin"), trust).outcome is TRUSTED


def test_a089_a_rule_for_manifests_is_not_met_by_a_bare_signature(
    tmp_path: Path, pki: Pki, other: Pki, release: Signer
) -> None:
    trust = believed(pki, anchor=anchors(pki, other), rule=[rule(formats=["manifest"])])
    assert judge(claimed(tmp_path, release, PUMP, "good.bin"), trust).outcome is TRUSTED
    bare = signed_file(tmp_path, release)
    manifest_pair(bare, other.leaf("dev"), replace(PUMP, environment=None))
    assert judge(bare, trust).outcome is REJECTED


@pytest.mark.parametrize(
    ("claims", "asked", "code"),
    [
        (replace(PUMP, hardware=("rev-a",)), {"hardware": "rev-b"}, "SW-HARDWARE-WRONG"),
        (replace(PUMP, hardware=()), {"hardware": "rev-b"}, "SW-HARDWARE-WRONG"),
        (replace(PUMP, hardware=("rev-bb",)), {"hardware": "rev-b"}, "SW-HARDWARE-WRONG"),
        (replace(PUMP, product="Pump"), {"product": "pump"}, "SW-PRODUCT-WRONG"),
        (replace(PUMP, product=None), {"product": "pump"}, "SW-PRODUCT-WRONG"),
        (replace(PUMP, environment="development"), {}, "SW-ENVIRONMENT-WRONG"),
    ],
)
def test_a149_what_is_for_another_place_is_refused_there(
    tmp_path: Path, pki: Pki, release: Signer, claims: Claims, asked: dict[str, object], code: str
) -> None:
    assert judge(claimed(tmp_path, release, PUMP, "good.bin"), believed(pki), **asked).outcome is TRUSTED
    assert codes(judge(claimed(tmp_path, release, claims), believed(pki), **asked)) == [code]


def test_a029_two_signatures_that_claim_different_things_are_both_refused(tmp_path: Path, pki: Pki) -> None:
    maker, plant = pki.leaf("maker"), pki.leaf("plant")
    path = claimed(tmp_path, maker, PUMP)
    assert judge(path, believed(pki)).outcome is TRUSTED
    manifest = Path(f"{path}.manifest")
    manifest.with_name(f"{manifest.name}.plant.p7s").write_bytes(p7s(plant, manifest.read_bytes(), kind="manifest"))
    assert judge(path, believed(pki)).outcome is TRUSTED
    # The maker's signature over other claims is none over these bytes.
    manifest_pair(path, plant, replace(PUMP, generation=10), ".plant")
    assert judge(path, believed(pki)).outcome is REJECTED


@pytest.mark.parametrize("where", ["rule", "trust file", "state"])
def test_a144_an_older_generation_is_refused(tmp_path: Path, pki: Pki, release: Signer, where: str) -> None:
    state = new_state(tmp_path)
    trust = believed(pki, **({"minimum": {"pump": 9}} if where == "trust file" else {}))
    if where == "rule":
        trust = believed(pki, rule=[rule(minimum_generation=9)])
    new = claimed(tmp_path, release, PUMP, "new.bin")
    old = claimed(tmp_path, release, replace(PUMP, generation=8), "old.bin")
    none = claimed(tmp_path, release, replace(PUMP, generation=None), "none.bin")
    if where == "state":
        assert judge(old, trust).outcome is TRUSTED
    assert judge(new, trust, state=state).outcome is TRUSTED
    for path in (old, none):
        assert set(codes(judge(path, trust, state=state))) == {"SW-GENERATION-OLD"}
        assert judge(path, trust, purpose=Purpose.RUN, state=state).outcome is TRUSTED
    assert judge(new, trust, state=state).outcome is TRUSTED


def test_a144_a_refused_or_hypothetical_verdict_moves_no_memory(tmp_path: Path, pki: Pki, release: Signer) -> None:
    state = new_state(tmp_path)
    five = claimed(tmp_path, release, replace(PUMP, generation=5), "five.bin")
    huge = claimed(tmp_path, release, replace(PUMP, generation=2**63 - 1), "huge.bin")
    assert judge(five, believed(pki), state=state).outcome is TRUSTED
    assert judge(huge, believed(pki), state=state, hardware="rev-z").outcome is REJECTED
    asked = Request(clock=NOW, at=NOW + DAY, state=state)
    assert [verdict.hypothetical for verdict in verify_paths([str(huge)], believed(pki), asked)] == [True]
    assert judge(huge, believed(pki), state=state, purpose=Purpose.RUN).outcome is TRUSTED
    assert judge(five, believed(pki), state=state).outcome is TRUSTED


@pytest.mark.parametrize("algorithm", ["sha256"])
def test_a154_a_denied_file_stays_denied_when_a_manifest_speaks_for_it(
    tmp_path: Path, pki: Pki, release: Signer, algorithm: str
) -> None:
    path = claimed(tmp_path, release, PUMP)
    assert judge(path, believed(pki)).outcome is TRUSTED
    digest = Digest.of(path.read_bytes())
    for value in (f"* {digest}", f"manifest {digest}", f"* {Digest.of(Path(f'{path}.manifest').read_bytes())}"):
        verdict = judge(path, believed(pki, denied=[Denied("artifact", value, 0, "vulnerable")]))
        assert codes(verdict) == ["SW-DENIED-ARTIFACT"]
    below = Denied("below", "pump", 10, "vulnerable")
    assert codes(judge(path, believed(pki, denied=[below]))) == ["SW-DENIED-GENERATION"]
    assert judge(path, believed(pki, denied=[below._replace(generation=9)])).outcome is TRUSTED


def test_a030_what_a_development_authority_issues_is_development(tmp_path: Path, pki: Pki) -> None:
    good = pki.below(INTERMEDIATE, Provenance.HARDWARE_CLAIMED)
    bad = pki.below(INTERMEDIATE, Provenance.DEVELOPMENT)
    for authority, wanted in ((good, []), (bad, ["SW-KEY-DEVELOPMENT"])):
        signer = authority.leaf("release", profile=CODE_SIGNER, provenance=Provenance.HARDWARE_CLAIMED)
        assert codes(judge(signed_file(tmp_path, signer), believed(pki))) == wanted


@pytest.mark.parametrize(
    "purposes",
    [["1.3.6.1.5.5.7.3.1"], ["1.3.6.1.5.5.7.3.4"], ["1.3.6.1.5.5.7.3.8"], ["1.3.6.1.5.5.7.3.9"], ["2.5.29.37.0"], []],
)
def test_a046_a_rule_without_purposes_still_takes_only_signers(tmp_path: Path, pki: Pki, purposes: list[str]) -> None:
    plain = believed(pki, rule=[rule(signer=[{"anchors": ["root"]}])])
    in_so_many_words = believed(pki, rule=[rule(signer=[{"anchors": ["root"], "purposes": ["any"]}])])
    assert judge(signed_file(tmp_path, pki.leaf()), plain).outcome is TRUSTED
    path = signed_file(tmp_path, pki.leaf("x", purposes=purposes))
    assert codes(judge(path, plain)) == ["SW-CERT-PURPOSE"]
    assert judge(path, in_so_many_words).outcome is TRUSTED


def test_a120_several_signers_in_one_slot_are_several_people(tmp_path: Path, pki: Pki) -> None:
    one, two = pki.leaf("one"), pki.leaf("two")
    four_eyes = rule(signer=[{"anchors": ["root"], "count": 2}])
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    (tmp_path / "drive.bin.p7s").write_bytes(p7s(one, b"firmware"))
    manifest_pair(path, two, Claims())
    everyone = [person("olga"), person("rolf")]
    apart = [person("mia", one), person("pia", two), *everyone]
    assert judge(path, believed(pki, person=apart, rule=[four_eyes])).outcome is TRUSTED
    for people in ([person("mia", one, two), *everyone], [person("mia", one), *everyone], everyone):
        verdict = judge(path, believed(pki, person=people, rule=[four_eyes]))
        assert "SW-SIGNERS-TOO-FEW" in codes(verdict)


def test_a094_the_claimed_time_never_counts_against_an_ended_certificate(tmp_path: Path, pki: Pki) -> None:
    signer = pki.leaf("short", days=30)
    path = signed_file(tmp_path, signer, at=NOW)
    assert judge(path, believed(pki)).outcome is TRUSTED
    assert codes(judge(path, believed(pki), NOW + 60 * DAY)) == ["SW-CERT-EXPIRED"]
