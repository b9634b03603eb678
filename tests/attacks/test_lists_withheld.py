"""Revocation lists taken away, put back to older ones, split over places, or of the timestamp authority alone (A100, A103, A147)."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kit.certs import Made, entry, listed, made
from kit.pki import DAY, HOUR, NOW, Pki, Signer, token
from kit.production import leaf_of, signer, trusting
from kit.trust import RULE, believed, codes, judge, new_state, signed_file
from sealwright.envelope import cms
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.pki.profiles import INTERMEDIATE
from sealwright.trust.verdict import Outcome, Purpose

REASON = x509.ReasonFlags
TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED
SECOND = timedelta(seconds=1)
PLACES = ("http://pki.example/a.crl", "http://pki.example/b.crl")


@pytest.fixture
def pki() -> Pki:
    return Pki.make()


def place(url: str) -> tuple[x509.ExtensionType, bool]:
    name = [x509.UniformResourceIdentifier(url)]
    return x509.IssuingDistributionPoint(name, None, False, False, None, False, False), True


def names_place(url: str) -> tuple[x509.ExtensionType, bool]:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return x509.CRLDistributionPoints([point]), False


@pytest.mark.parametrize("left", ["older", "none"])
def test_a147_a_list_once_seen_is_missed_also_where_the_trust_file_wants_none(
    tmp_path: Path, pki: Pki, left: str
) -> None:
    state, thief = new_state(tmp_path), pki.leaf("thief")
    path = signed_file(tmp_path, thief)
    older = pki.crl(NOW, number=5)
    assert judge(path, believed(pki, crls=[older]), NOW + HOUR, state=state).outcome is TRUSTED
    pki.revoke(thief, NOW, REASON.key_compromise)
    newer = pki.crl(NOW, number=6)
    assert codes(judge(path, believed(pki, crls=[newer]), NOW + HOUR, state=state)) == ["SW-CERT-REVOKED"]
    lists = [older] if left == "older" else []
    verdict = judge(path, believed(pki, crls=lists), NOW + HOUR, state=state)
    assert (verdict.outcome, codes(verdict)) == (UNDECIDED, ["SW-REVOCATION-UNKNOWN"])
    assert judge(path, believed(pki, crls=lists), NOW + HOUR, state=state, purpose=Purpose.RUN).outcome is TRUSTED
    assert judge(path, believed(pki, crls=lists), NOW + HOUR).outcome is TRUSTED  # without a memory nothing is missed


def test_a147_lists_of_several_places_are_remembered_each_by_its_own_number(tmp_path: Path) -> None:
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    path = signed_file(tmp_path, signer(leaf_of(ca, extra=[names_place(PLACES[0])]), ca))
    wanted = [{"issuer": ca.pem.decode()}]
    state = new_state(tmp_path)

    def lists(first: int, second: int) -> list[bytes]:
        return [listed(ca, number=n, extra=[place(url)]) for url, n in zip(PLACES, (first, second), strict=True)]

    def asked(first: int, second: int) -> Outcome:
        trust = trusting(root, crls=lists(first, second), crl=wanted)
        return judge(path, trust, state=state).outcome

    assert asked(4, 90) is TRUSTED
    assert asked(3, 90) is UNDECIDED
    assert asked(4, 89) is TRUSTED  # it says nothing about this certificate
    assert asked(5, 91) is TRUSTED
    assert asked(4, 91) is UNDECIDED


def test_a103_a_hold_is_not_lifted_by_putting_an_older_list_back(tmp_path: Path, pki: Pki) -> None:
    state, held = new_state(tmp_path), pki.leaf("release")
    path = signed_file(tmp_path, held)
    wanted = {"crl": [{"issuer": pki.intermediate.pem}]}
    free = pki.crl(NOW, number=1)
    assert judge(path, believed(pki, crls=[free], **wanted), NOW + HOUR, state=state).outcome is TRUSTED
    pki.revoke(held, NOW, REASON.certificate_hold)
    hold = pki.crl(NOW, number=2)
    assert codes(judge(path, believed(pki, crls=[hold], **wanted), NOW + HOUR, state=state)) == ["SW-CERT-REVOKED"]
    for lists in ([free], [free, free]):
        verdict = judge(path, believed(pki, crls=lists, **wanted), NOW + HOUR, state=state)
        assert codes(verdict) == ["SW-REVOCATION-UNKNOWN"]
    assert codes(judge(path, believed(pki, crls=[free, hold], **wanted), NOW + HOUR)) == ["SW-CERT-REVOKED"]
    pki.revoked.clear()
    released = pki.crl(NOW, number=3)
    assert judge(path, believed(pki, crls=[hold, released], **wanted), NOW + HOUR, state=state).outcome is TRUSTED


def of_another(pki: Pki) -> tuple[Pki, Signer]:
    """A timestamp authority under an intermediate of its own."""
    other = pki.below(INTERMEDIATE, pki.provenance)
    return other, other.tsa()


@pytest.mark.parametrize("lists", ["none", "stale", "of another key"])
def test_a103_where_lists_are_wanted_of_the_timestamp_authoritys_issuer_they_are_needed(
    tmp_path: Path, pki: Pki, lists: str
) -> None:
    other, tsa = of_another(pki)
    path = signed_file(tmp_path, pki.leaf("short", days=30), tsa=tsa)
    later = NOW + 60 * DAY
    wanted = {"crl": [{"issuer": other.intermediate.pem}]}
    have = {"none": [], "stale": [other.crl(NOW, days=5)], "of another key": [pki.crl(later, number=9)]}[lists]
    good = believed(pki, crls=[other.crl(later)], **wanted)
    assert judge(path, good, later + HOUR).outcome is TRUSTED
    verdict = judge(path, believed(pki, crls=have, **wanted), later + HOUR)
    assert (verdict.outcome, codes(verdict)) == (UNDECIDED, ["SW-REVOCATION-UNKNOWN"])
    assert judge(path, believed(pki, crls=have, **wanted), later + HOUR, purpose=Purpose.RUN).outcome is TRUSTED
    assert judge(path, believed(pki, crls=have), later + HOUR).outcome is TRUSTED  # nobody asks for lists


def test_a103_a_token_that_is_known_to_hold_beats_one_that_is_not(tmp_path: Path, pki: Pki) -> None:
    other, doubtful = of_another(pki)
    sure = pki.tsa()
    wanted = {"crl": [{"issuer": other.intermediate.pem}]}
    path = signed_file(tmp_path, pki.leaf("short", days=30), tsa=doubtful)
    later = NOW + 60 * DAY
    assert judge(path, believed(pki, **wanted), later).outcome is UNDECIDED
    read = read_envelope((tmp_path / "drive.bin.p7s").read_bytes(), Profile.OURS, "x").signers[0]
    assert isinstance(read, cms.Signer)
    (tmp_path / "drive.bin.tsr").write_bytes(token(sure, read.signature, NOW + DAY))
    verdict = judge(path, believed(pki, **wanted), later)
    assert verdict.outcome is TRUSTED
    assert verdict.times.proved is not None
    assert verdict.times.proved >= NOW + DAY


def test_a100_an_authority_whose_certificate_has_ended_is_bounded_by_the_trust_file_not_by_lists(
    tmp_path: Path, pki: Pki
) -> None:
    """In 2046 no list speaks of the authority of 2026 any more (RULES 4)."""
    other = pki.below(INTERMEDIATE, pki.provenance)
    tsa = other.tsa(days=40)
    path = signed_file(tmp_path, pki.leaf("short", days=30), tsa=tsa)
    wanted = {"crl": [{"issuer": other.intermediate.pem}]}
    for last, outcome in ((NOW + DAY, TRUSTED), (NOW - DAY, REJECTED)):
        known = [{"name": "timestamps", "anchor": pki.root.pem, "last_token": last}]
        assert judge(path, believed(pki, authority=known, **wanted), NOW + 60 * DAY).outcome is outcome


EFFECTIVE = [
    # reason, revoked, invalid, signed (proved) -> outcome; days after NOW - 30
    (REASON.key_compromise, 20, 10, 9, TRUSTED),
    (REASON.key_compromise, 20, 10, 10, REJECTED),
    (REASON.key_compromise, 10, 20, 15, REJECTED),  # an invalidity date after the revocation gives nothing away
    (REASON.key_compromise, 20, None, 5, REJECTED),
    (None, 20, None, 5, REJECTED),
    (REASON.unspecified, 20, None, 5, REJECTED),
    (REASON.unspecified, 20, 10, 5, TRUSTED),
    (REASON.superseded, 20, None, 15, TRUSTED),
    (REASON.superseded, 20, None, 20, REJECTED),
    (REASON.remove_from_crl, 20, None, 15, TRUSTED),  # only delta lists may say it: here it is a revocation like others
    (REASON.remove_from_crl, 20, None, 25, REJECTED),
    (REASON.certificate_hold, 20, None, 5, REJECTED),
    (REASON.certificate_hold, 20, 10, 5, REJECTED),
    (REASON.aa_compromise, 20, None, 5, REJECTED),
    (REASON.ca_compromise, 20, None, 5, REJECTED),
    (REASON.privilege_withdrawn, 20, None, 15, TRUSTED),
    (REASON.privilege_withdrawn, 20, 10, 15, REJECTED),
]


@pytest.mark.parametrize(("reason", "revoked", "invalid", "signed", "outcome"), EFFECTIVE)
def test_a100_what_an_entry_reaches(
    tmp_path: Path, reason: x509.ReasonFlags | None, revoked: int, invalid: int | None, signed: int, outcome: Outcome
) -> None:
    def day(number: int) -> datetime:
        return NOW + (number - 30) * DAY

    pki = Pki.make(at=day(-5))
    release, tsa = pki.leaf("release", at=day(-4)), pki.tsa(at=day(-4))
    path = signed_file(
        tmp_path, release, tsa=tsa, at=day(signed), stamped=day(signed) - SECOND
    )  # proved: its upper end
    assert judge(path, believed(pki, issued=day(0), crls=[pki.crl(day(29))])).outcome is TRUSTED
    pki.revoke(release, day(revoked), reason, None if invalid is None else day(invalid))
    assert judge(path, believed(pki, issued=day(0), crls=[pki.crl(day(29), number=2)])).outcome is outcome


def test_a100_of_two_lines_about_one_certificate_the_worse_counts_in_any_order(tmp_path: Path) -> None:
    root = made("root", ca=True)
    ca: Made = made("CA", root, ca=True)
    leaf = leaf_of(ca)
    path = signed_file(tmp_path, signer(leaf, ca))
    mild = entry(leaf.certificate, NOW + DAY, REASON.remove_from_crl)
    hold = entry(leaf.certificate, NOW - DAY, REASON.certificate_hold)
    lost = entry(leaf.certificate, NOW + 2 * DAY, REASON.key_compromise)
    assert judge(path, trusting(root, crls=[listed(ca)])).outcome is TRUSTED
    for one, other in ((mild, lost), (hold, lost), (mild, hold)):
        for lines in ((one, other), (other, one)):
            assert codes(judge(path, trusting(root, crls=[listed(ca, *lines)]))) == ["SW-CERT-REVOKED"]
            lists = [listed(ca, lines[0], number=1), listed(ca, lines[1], number=2)]
            assert codes(judge(path, trusting(root, crls=lists))) == ["SW-CERT-REVOKED"]


@pytest.mark.parametrize("grade", ["exact", "late"])
def test_a103_a_list_is_fresh_to_its_last_second(tmp_path: Path, pki: Pki, grade: str) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    own = {"crl": [{"issuer": pki.intermediate.pem}]}
    ours = {"crl": [{"issuer": pki.intermediate.pem, "max_age": {"install": "7d"}}]}
    late = SECOND if grade == "late" else 0 * SECOND
    for wanted, limit in ((own, 5 * DAY), (ours, 7 * DAY)):
        verdict = judge(path, believed(pki, crls=[pki.crl(NOW, days=5)], **wanted), NOW + limit + late)
        assert verdict.outcome is (TRUSTED if grade == "exact" else UNDECIDED)


@pytest.mark.parametrize(("over", "outcome"), [(0, TRUSTED), (1, UNDECIDED)])
def test_a105_fresh_for_and_grace_end_to_the_second(tmp_path: Path, pki: Pki, over: int, outcome: Outcome) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    trust = believed(pki, rule=[RULE | {"fresh_for": "10d", "grace": "5d"}])
    issued, late = NOW - 5 * DAY, over * SECOND
    assert [f.code for f in judge(path, trust, issued + 10 * DAY).findings if "AGE" in f.code] == []
    assert [f.code for f in judge(path, trust, issued + 10 * DAY + SECOND).findings if "AGE" in f.code] != []
    assert judge(path, trust, issued + 15 * DAY + late).outcome is outcome
    ends = believed(pki, expires=NOW + 20 * DAY)
    assert judge(path, ends, NOW + 20 * DAY + late).outcome is outcome
