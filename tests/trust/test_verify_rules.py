"""The judgement as a table: what a signature, a trust file and a time make of a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from kit.manifests import claimed
from kit.pki import DAY, HOUR, NOW, Pki, Signer, p7s
from kit.trust import RULE, believed, codes, judge, person, signed_file
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.formats.manifest import ManifestFormat
from sealwright.keys.key import KeyKind, Provenance
from sealwright.pki.profiles import CODE_SIGNING, CONFIG_SIGNING, UPDATE_PACKAGE_SIGNING
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome, Purpose

REASON = x509.ReasonFlags


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture(scope="module")
def release(pki: Pki) -> Signer:
    return pki.leaf("release")


@pytest.fixture(scope="module")
def tsa(pki: Pki) -> Signer:
    return pki.tsa()


def rule(**changes: object) -> dict[str, object]:
    return RULE | changes


def test_a_good_signature_is_trusted_and_says_who_signed(tmp_path: Path, pki: Pki, release: Signer) -> None:
    verdict = judge(signed_file(tmp_path, release), believed(pki))
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.rule == "firmware"
    assert verdict.contact == "security@plant.example"
    assert verdict.signers[0].subject == "CN=release,O=ACME"
    assert verdict.signers[0].provenance == "hardware-claimed"
    assert verdict.times.proved is None
    assert verdict.times.claimed == NOW
    assert verdict.trust.rollback == "not checked"


def test_one_changed_byte_of_the_content_is_refused(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    assert judge(path, believed(pki)).outcome is Outcome.TRUSTED
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    path.write_bytes(data)
    verdict = judge(path, believed(pki))
    assert verdict.outcome is Outcome.REJECTED
    assert codes(verdict)[0] == "SW-FILE-CHANGED"


def test_a_file_without_signature_is_refused(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    (tmp_path / "drive.bin.p7s").unlink()
    assert codes(judge(path, believed(pki)))[0] == "SW-SIGNATURE-MISSING"


def test_a_signature_of_another_key_is_refused(tmp_path: Path, pki: Pki, release: Signer) -> None:
    assert judge(signed_file(tmp_path, release), believed(pki)).outcome is Outcome.TRUSTED
    stranger = Pki.make("ACME").leaf("release")
    assert codes(judge(signed_file(tmp_path, stranger), believed(pki)))[0] == "SW-CERT-NO-PATH"


@pytest.mark.parametrize(
    ("purposes", "wanted"),
    [
        ([UPDATE_PACKAGE_SIGNING], []),
        ([UPDATE_PACKAGE_SIGNING, CODE_SIGNING], []),
        ([CODE_SIGNING], ["SW-CERT-PURPOSE"]),
        ([CONFIG_SIGNING], ["SW-CERT-PURPOSE"]),
        (["2.5.29.37.0"], ["SW-CERT-PURPOSE"]),
        ([], ["SW-CERT-PURPOSE"]),
    ],
)
def test_the_certificate_must_be_made_for_what_the_rule_says(
    tmp_path: Path, pki: Pki, purposes: list[str], wanted: list[str]
) -> None:
    signer = pki.leaf("x", purposes=purposes)
    assert codes(judge(signed_file(tmp_path, signer), believed(pki))) == wanted


@pytest.mark.parametrize(
    ("at", "purpose", "outcome", "code"),
    [
        (NOW + 10 * DAY, Purpose.INSTALL, Outcome.TRUSTED, ""),
        (NOW + 25 * DAY, Purpose.INSTALL, Outcome.REJECTED, "SW-CERT-EXPIRED"),
        (NOW + 25 * DAY, Purpose.RUN, Outcome.TRUSTED, ""),
        (NOW + 25 * DAY, Purpose.RESTORE, Outcome.REJECTED, "SW-CERT-EXPIRED"),
        (NOW + 400 * DAY, Purpose.RUN, Outcome.TRUSTED, ""),
    ],
)
def test_an_ended_certificate_stops_installing_but_never_a_running_plant(
    tmp_path: Path, pki: Pki, at: object, purpose: Purpose, outcome: Outcome, code: str
) -> None:
    signer = pki.leaf("short", days=30)
    verdict = judge(signed_file(tmp_path, signer), believed(pki), at, purpose=purpose)  # type: ignore[arg-type]
    assert verdict.outcome is outcome
    assert codes(verdict)[:1] == ([code] if code else [])


def test_a_timestamp_proves_that_the_signature_is_older_than_the_certificates_end(
    tmp_path: Path, pki: Pki, tsa: Signer
) -> None:
    signer = pki.leaf("short", days=30)
    later = NOW + 100 * DAY
    stamped = signed_file(tmp_path, signer, name="a.bin", tsa=tsa)
    verdict = judge(stamped, believed(pki), later)
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.times.proved is not None
    assert abs(verdict.times.proved - NOW) < HOUR
    assert codes(judge(signed_file(tmp_path, signer, name="b.bin"), believed(pki), later)) == ["SW-CERT-EXPIRED"]


def test_a_timestamp_of_an_authority_that_is_not_in_the_trust_file_proves_nothing(
    tmp_path: Path, pki: Pki, tsa: Signer
) -> None:
    wanted = believed(pki, rule=[rule(timestamp="required")])
    assert judge(signed_file(tmp_path, pki.leaf(), tsa=tsa), wanted).outcome is Outcome.TRUSTED
    stranger = Pki.make("Other").tsa()
    verdict = judge(signed_file(tmp_path, pki.leaf(), tsa=stranger), wanted)
    assert codes(verdict) == ["SW-TIMESTAMP-REQUIRED"]
    assert "SW-TIMESTAMP-REFUSED" in [f.code for f in verdict.findings]


@pytest.mark.parametrize(
    ("reason", "revoked", "invalid", "outcome", "code"),
    [
        (REASON.superseded, NOW + 5 * DAY, None, Outcome.TRUSTED, ""),
        (REASON.superseded, NOW - 5 * DAY, None, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (REASON.superseded, NOW + 5 * DAY, NOW - DAY, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (REASON.key_compromise, NOW + 5 * DAY, None, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (REASON.key_compromise, NOW + 5 * DAY, NOW + 4 * DAY, Outcome.TRUSTED, ""),
        (REASON.key_compromise, NOW + 5 * DAY, NOW - DAY, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (None, NOW + 5 * DAY, None, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (REASON.unspecified, NOW + 5 * DAY, None, Outcome.REJECTED, "SW-CERT-REVOKED"),
        (REASON.certificate_hold, NOW + 5 * DAY, None, Outcome.REJECTED, "SW-CERT-REVOKED"),
    ],
)
def test_revocation_counts_from_its_invalidity_date(
    tmp_path: Path, reason: REASON | None, revoked: object, invalid: object, outcome: Outcome, code: str
) -> None:
    pki = Pki.make()
    signer, tsa = pki.leaf("release"), pki.tsa()
    path = signed_file(tmp_path, signer, tsa=tsa)
    assert judge(path, believed(pki, crls=[pki.crl(NOW + DAY)]), NOW + 10 * DAY).outcome is Outcome.TRUSTED
    pki.revoke(signer, revoked, reason, invalid)  # type: ignore[arg-type]
    verdict = judge(path, believed(pki, crls=[pki.crl(NOW + 6 * DAY)]), NOW + 10 * DAY)
    assert verdict.outcome is outcome
    assert codes(verdict)[:1] == ([code] if code else [])


@pytest.mark.parametrize(
    ("made", "judged", "purpose", "outcome"),
    [
        (NOW + DAY, NOW + 2 * DAY, Purpose.INSTALL, Outcome.TRUSTED),
        (NOW - DAY, NOW + 2 * DAY, Purpose.INSTALL, Outcome.UNDECIDED),
        (NOW + DAY, NOW + 60 * DAY, Purpose.INSTALL, Outcome.UNDECIDED),
        (NOW + DAY, NOW + 60 * DAY, Purpose.RUN, Outcome.TRUSTED),
        (None, NOW + 2 * DAY, Purpose.INSTALL, Outcome.UNDECIDED),
        (None, NOW + 2 * DAY, Purpose.RUN, Outcome.TRUSTED),
    ],
)
def test_silence_of_a_list_is_evidence_only_if_it_is_newer_than_the_signature_and_fresh(
    tmp_path: Path, pki: Pki, made: object, judged: object, purpose: Purpose, outcome: Outcome
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"), tsa=pki.tsa())
    lists = [pki.crl(made)] if made is not None else []  # type: ignore[arg-type]
    trust = believed(pki, crls=lists, crl=[{"issuer": pki.intermediate.pem}])
    verdict = judge(path, trust, judged, purpose=purpose)  # type: ignore[arg-type]
    assert verdict.outcome is outcome


def test_a_development_key_is_refused_under_production_trust(tmp_path: Path) -> None:
    pki = Pki.make()
    assert judge(signed_file(tmp_path, pki.leaf()), believed(pki)).outcome is Outcome.TRUSTED
    signer = pki.leaf("dev", provenance=Provenance.DEVELOPMENT)
    assert codes(judge(signed_file(tmp_path, signer), believed(pki))) == ["SW-KEY-DEVELOPMENT"]


def test_a_key_of_which_nothing_is_known_is_refused_until_the_trust_file_says_where_it_lives(tmp_path: Path) -> None:
    """A plant's own PKI knows nothing of our policies; its keys are named once, by an officer."""
    pki = Pki.make()
    signer = pki.leaf("own", provenance=Provenance.HARDWARE_IMPORTED)
    path = signed_file(tmp_path, signer)
    verdict = judge(path, believed(pki))
    assert codes(verdict) == ["SW-KEY-UNPROVED"]
    assert verdict.signers[0].provenance == "development"
    assert "[[evidence]]" in verdict.findings[0].next_step
    known = believed(pki, evidence=[{"key": signer.key_digest, "provenance": "hardware-claimed"}])
    assert judge(path, known).outcome is Outcome.TRUSTED


@pytest.mark.parametrize(
    ("provenance", "code"),
    [(Provenance.HARDWARE_IMPORTED, "SW-KEY-IMPORTED"), (Provenance.SERVICE_HELD, "SW-KEY-IN-SERVICE")],
)
def test_an_imported_key_and_one_of_a_service_count_only_where_the_trust_file_names_them(
    tmp_path: Path, provenance: Provenance, code: str
) -> None:
    pki = Pki.make()
    signer = pki.leaf("old", provenance=provenance)
    path = signed_file(tmp_path, signer)
    assert codes(judge(path, believed(pki))) == ["SW-KEY-UNPROVED"]
    evidence = {
        "key": signer.key_digest,
        "provenance": provenance.value,
        "reason": "burnt into devices",
        "review": NOW + 99 * DAY,
    }
    verdict = judge(path, believed(pki, evidence=[evidence]))
    assert verdict.outcome is Outcome.TRUSTED
    assert code in [f.code for f in verdict.findings]
    assert verdict.signers[0].provenance == provenance.value


def test_what_the_deny_list_names_is_refused(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    good = judge(path, believed(pki))
    assert good.outcome is Outcome.TRUSTED
    seen = good.signers[0]
    for what, value, code in (
        ("key", str(seen.key), "SW-DENIED-SIGNER"),
        ("certificate", str(seen.certificate), "SW-DENIED-SIGNER"),
        ("artifact", f"* {good.artifact}", "SW-DENIED-ARTIFACT"),
        ("artifact", f"detached {good.artifact}", "SW-DENIED-ARTIFACT"),
    ):
        assert codes(judge(path, believed(pki, denied=[Denied(what, value, 0, "stolen")]))) == [code]


def plant_rule() -> dict[str, object]:
    return rule(
        signer=[
            {"slot": "maker", "anchors": ["root"], "purposes": ["updatePackageSigning"]},
            {"slot": "plant", "anchors": ["plant"], "purposes": ["updatePackageSigning"]},
        ]
    )


def test_a_rule_that_wants_the_plants_signature_refuses_without_it(tmp_path: Path, pki: Pki, release: Signer) -> None:
    plant = Pki.make("Plant")
    accepter = plant.leaf("acceptance")
    anchors = [
        {"name": "root", "environment": "production", "certificate": pki.root.pem},
        {"name": "plant", "environment": "production", "certificate": plant.root.pem},
    ]
    people = [
        person("mia", release, organisation="Maker"),
        person("pia", accepter, organisation="Plant"),
        person("olga"),
        person("rolf"),
    ]
    trust = believed(pki, anchor=anchors, person=people, rule=[plant_rule()])
    path = signed_file(tmp_path, release)
    assert codes(judge(path, trust)) == ["SW-ACCEPTANCE-MISSING"]
    (tmp_path / "drive.bin.plant.p7s").write_bytes(p7s(accepter, path.read_bytes()))
    assert judge(path, trust).outcome is Outcome.TRUSTED
    (tmp_path / "drive.bin.plant.p7s").write_bytes(p7s(release, path.read_bytes()))
    assert judge(path, trust).outcome is Outcome.REJECTED


def test_the_two_signatures_must_come_from_different_people(tmp_path: Path, pki: Pki) -> None:
    one, two = pki.leaf("one"), pki.leaf("two")
    both = rule(signer=[{"slot": slot, "anchors": ["root"]} for slot in ("maker", "plant")])
    path = signed_file(tmp_path, one)
    (tmp_path / "drive.bin.plant.p7s").write_bytes(p7s(two, path.read_bytes()))
    apart = [person("mia", one), person("pia", two), person("olga"), person("rolf")]
    assert judge(path, believed(pki, person=apart, rule=[both])).outcome is Outcome.TRUSTED
    same = [person("mia", one, two), person("olga"), person("rolf")]
    assert codes(judge(path, believed(pki, person=same, rule=[both]))) == ["SW-SIGNERS-NOT-DISTINCT"]
    unknown = [person("olga"), person("rolf")]
    assert codes(judge(path, believed(pki, person=unknown, rule=[both]))) == ["SW-SIGNER-UNMAPPED"]


@pytest.mark.parametrize(
    ("fresh", "grace", "age", "purpose", "outcome"),
    [
        ("30d", None, 20, Purpose.INSTALL, Outcome.TRUSTED),
        ("30d", None, 40, Purpose.INSTALL, Outcome.UNDECIDED),
        ("30d", "20d", 40, Purpose.INSTALL, Outcome.TRUSTED),
        ("30d", "20d", 60, Purpose.INSTALL, Outcome.UNDECIDED),
        ("30d", None, 40, Purpose.RUN, Outcome.TRUSTED),
        ("400d", None, 310, Purpose.INSTALL, Outcome.UNDECIDED),
    ],
)
def test_stale_trust_cannot_decide_an_installation(
    tmp_path: Path,
    pki: Pki,
    release: Signer,
    fresh: str,
    grace: str | None,
    age: int,
    purpose: Purpose,
    outcome: Outcome,
) -> None:
    timing = {"fresh_for": fresh} | ({"grace": grace} if grace else {})
    trust = believed(pki, rule=[rule(**timing)])
    verdict = judge(signed_file(tmp_path, release), trust, NOW + (age - 5) * DAY, purpose=purpose)
    assert verdict.outcome is outcome


def test_a_clock_at_1970_does_not_make_anything_valid_again(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    assert judge(path, believed(pki)).outcome is Outcome.TRUSTED
    early = NOW.replace(year=1970)
    verdict = judge(path, believed(pki), early)
    assert verdict.outcome is Outcome.UNDECIDED
    assert codes(verdict) == ["SW-TIME-FLOOR-ONLY"]
    assert verdict.times.judged == NOW - 5 * DAY
    allowed = believed(pki, rule=[rule(without_clock="allow")])
    assert judge(path, allowed, early).outcome is Outcome.TRUSTED


def test_at_is_hypothetical_and_says_so(tmp_path: Path, pki: Pki, release: Signer) -> None:
    verdict = judge(signed_file(tmp_path, release), believed(pki), at=NOW, state=None)
    assert not verdict.hypothetical
    (asked,) = list(
        __import__("sealwright.trust.verify", fromlist=["verify_paths"]).verify_paths(
            [str(tmp_path / "drive.bin")],
            believed(pki),
            __import__("sealwright.trust.verify", fromlist=["Request"]).Request(clock=NOW, at=NOW + 10 * DAY),
        )
    )
    assert asked.hypothetical
    assert asked.times.judged == NOW + 10 * DAY


def test_no_rule_means_no_trust(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    assert judge(path, believed(pki)).outcome is Outcome.TRUSTED
    assert codes(judge(path, believed(pki, rule=[rule(formats=["manifest"])]))) == ["SW-RULE-NONE"]
    assert codes(judge(path, believed(pki, rule=[rule(products=["pump"])]))) == ["SW-RULE-NONE"]


def test_a_refused_signature_says_why_also_where_every_rule_names_products(tmp_path: Path) -> None:
    pki, claims = Pki.make(), Claims(product="pump")
    signer = pki.leaf("release")
    path = claimed(tmp_path, signer, claims)
    pki.revoke(signer, NOW - 5 * DAY, x509.ReasonFlags.key_compromise)
    rules = [rule(products=["pump"])]
    assert judge(path, believed(pki, rule=rules)).outcome is Outcome.TRUSTED
    assert codes(judge(path, believed(pki, rule=rules, crls=[pki.crl()])))[0] == "SW-CERT-REVOKED"


def test_a_required_log_proof_is_never_assumed(tmp_path: Path, pki: Pki, release: Signer) -> None:
    path = signed_file(tmp_path, release)
    assert judge(path, believed(pki)).outcome is Outcome.TRUSTED
    verdict = judge(path, believed(pki, rule=[rule(log="required")]))
    assert verdict.outcome is Outcome.UNDECIDED
    assert codes(verdict) == ["SW-LOG-PROOF-MISSING"]


def test_a_pinned_leaf_counts_only_until_the_exception_ends(tmp_path: Path, pki: Pki, release: Signer) -> None:
    pin = {"anchors": ["root"], "keys": [release.key_digest], "pins_until": NOW + 10 * DAY}
    trust = believed(pki, rule=[rule(signer=[pin])])
    path = signed_file(tmp_path, release)
    assert judge(path, trust).outcome is Outcome.TRUSTED
    assert codes(judge(path, trust, NOW + 11 * DAY)) == ["SW-PIN-ENDED"]
    assert codes(judge(signed_file(tmp_path, pki.leaf("other")), trust)) == ["SW-SIGNER-NOT-ALLOWED"]


@pytest.mark.parametrize("named", list(HashName))
def test_a_withdrawn_file_is_recognised_by_every_digest_and_in_every_format(
    tmp_path: Path, pki: Pki, named: HashName
) -> None:
    signer = pki.leaf(kind=KeyKind.P384)
    path = signed_file(tmp_path, signer)
    plain = judge(path, believed(pki))
    assert plain.outcome is Outcome.TRUSTED
    stolen = Denied("artifact", f"* {Digest.of(path.read_bytes(), named)}", 0, "withdrawn")
    assert codes(judge(path, believed(pki, denied=[stolen]))) == ["SW-DENIED-ARTIFACT"]
    (tmp_path / "drive.bin.p7s").unlink()
    manifest = ManifestFormat().prepare(str(path), [HashName.SHA384], Claims("drive", "1", 1)).content
    assert manifest is not None
    (tmp_path / "drive.bin.manifest").write_bytes(manifest)
    (tmp_path / "drive.bin.manifest.p7s").write_bytes(p7s(signer, manifest, kind="manifest"))
    assert judge(path, believed(pki)).outcome is Outcome.TRUSTED
    assert codes(judge(path, believed(pki, denied=[stolen]))) == ["SW-DENIED-ARTIFACT"]


@pytest.mark.parametrize("named", list(HashName))
def test_a_withdrawn_file_is_recognised_inside_a_signed_folder(tmp_path: Path, pki: Pki, named: HashName) -> None:
    tree = tmp_path / "delivery"
    (tree / "fw").mkdir(parents=True)
    (tree / "fw" / "drive.bin").write_bytes(b"withdrawn firmware")
    (tree / "notes.txt").write_bytes(b"harmless")
    manifest = ManifestFormat().prepare(str(tree), [HashName.SHA256], Claims()).content
    assert manifest is not None
    (tmp_path / "delivery.manifest").write_bytes(manifest)
    (tmp_path / "delivery.manifest.p7s").write_bytes(p7s(pki.leaf(), manifest, kind="manifest"))
    other = Denied("artifact", f"* {Digest.of(b'something else', named)}", 0, "withdrawn")
    assert judge(tree, believed(pki, denied=[other])).outcome is Outcome.TRUSTED
    stolen = Denied("artifact", f"* {Digest.of(b'withdrawn firmware', named)}", 0, "withdrawn")
    assert codes(judge(tree, believed(pki, denied=[stolen]))) == ["SW-DENIED-ARTIFACT"]
