"""Attacks around the day a key was lost: what was signed before stays good, what the thief signed does not."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, Made, entry, listed, made
from kit.pki import Pki, Signer
from kit.production import leaf_of, signer, trusting
from kit.trust import believed, codes, judge, signed_file
from sealwright.trust.verdict import Outcome

REASON = x509.ReasonFlags


def day(number: int) -> datetime:
    """Day 0 is thirty days before NOW."""
    return NOW + (number - 30) * DAY


@pytest.fixture
def plant() -> tuple[Pki, Signer, Signer]:
    """A maker whose key was stolen on day 10 and revoked on day 20."""
    pki = Pki.make(at=day(-5))
    release, tsa = pki.leaf("release", at=day(-4)), pki.tsa(at=day(-4))
    pki.revoke(release, day(20), REASON.key_compromise, day(10))
    return pki, release, tsa


@pytest.mark.parametrize(("signed", "outcome"), [(5, Outcome.TRUSTED), (15, Outcome.REJECTED), (25, Outcome.REJECTED)])
def test_a100_only_what_was_provably_signed_before_the_theft_stays_trusted(
    tmp_path: Path, plant: tuple[Pki, Signer, Signer], signed: int, outcome: Outcome
) -> None:
    pki, release, tsa = plant
    trust = believed(pki, issued=day(0), crls=[pki.crl(day(29))])
    stamped = signed_file(tmp_path, release, tsa=tsa, at=day(signed), stamped=day(signed))
    verdict = judge(stamped, trust)
    assert verdict.outcome is outcome
    if outcome is Outcome.TRUSTED:
        assert "SW-CERT-REVOKED-LATER" in [f.code for f in verdict.findings]
    else:
        assert codes(verdict) == ["SW-CERT-REVOKED"]


def test_a100_a_thief_who_writes_an_early_date_proves_nothing(
    tmp_path: Path, plant: tuple[Pki, Signer, Signer]
) -> None:
    pki, release, _ = plant
    trust = believed(pki, issued=day(0), crls=[pki.crl(day(29))])
    assert codes(judge(signed_file(tmp_path, release, at=day(5)), trust)) == ["SW-CERT-REVOKED"]
    own = Pki.make("Thief", at=day(-5)).tsa(at=day(-4))
    stamped = signed_file(tmp_path, release, tsa=own, at=day(5), stamped=day(5))
    assert codes(judge(stamped, trust)) == ["SW-CERT-REVOKED"]


def test_a100_a_revoked_authoritys_tokens_prove_nothing_either(
    tmp_path: Path, plant: tuple[Pki, Signer, Signer]
) -> None:
    pki, release, tsa = plant
    stamped = signed_file(tmp_path, release, tsa=tsa, at=day(5), stamped=day(5))
    for reason, outcome in ((REASON.superseded, Outcome.TRUSTED), (REASON.key_compromise, Outcome.REJECTED)):
        lists = [pki.crl(day(29))]
        pki.revoke(tsa, day(20), reason)
        lists.append(pki.crl(day(29), number=2))
        assert judge(stamped, believed(pki, issued=day(0), crls=lists[1:])).outcome is outcome
        pki.revoked.pop()


def test_a100_an_older_list_beside_the_newest_hides_no_theft(tmp_path: Path, plant: tuple[Pki, Signer, Signer]) -> None:
    pki, release, tsa = plant
    known = pki.crl(day(21), number=2)
    pki.revoked.clear()
    early, forgetful = pki.crl(day(1), number=1), pki.crl(day(29), number=3)
    stamped = signed_file(tmp_path, release, tsa=tsa, at=day(15), stamped=day(15))
    assert judge(stamped, believed(pki, issued=day(0), crls=[early, forgetful])).outcome is Outcome.TRUSTED
    for lists in ([known], [early, known, forgetful], [forgetful, known, early]):
        assert codes(judge(stamped, believed(pki, issued=day(0), crls=lists))) == ["SW-CERT-REVOKED"]


@pytest.mark.parametrize("which", ["leaf", "CA"])
def test_a100_a_revoked_authority_takes_its_signers_along(tmp_path: Path, which: str) -> None:
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    leaf = leaf_of(ca)
    path = signed_file(tmp_path, signer(leaf, ca))
    issuer, lost = (ca, leaf) if which == "leaf" else (root, ca)
    assert codes(judge(path, trusting(root, crls=[listed(issuer)]))) == []
    revoked = listed(issuer, entry(lost.certificate, NOW - DAY, REASON.key_compromise))
    verdict = judge(path, trusting(root, crls=[revoked]))
    assert codes(verdict) == ["SW-CERT-REVOKED"]


LISTS = [
    ("plain", {}, Outcome.TRUSTED),
    ("an unknown extension", {"extra": [(UNKNOWN_CRITICAL, False)]}, Outcome.TRUSTED),
    ("an unknown critical extension", {"extra": [(UNKNOWN_CRITICAL, True)]}, Outcome.UNDECIDED),
    ("a critical extension of an entry", {"of_entry": [(UNKNOWN_CRITICAL, True)]}, Outcome.UNDECIDED),
    ("a delta", {"extra": [(x509.DeltaCRLIndicator(1), True)]}, Outcome.UNDECIDED),
]  # fmt: skip


@pytest.mark.parametrize(("case", "how", "outcome"), LISTS, ids=[row[0] for row in LISTS])
def test_a048_a_list_that_is_not_understood_whole_is_no_evidence(
    tmp_path: Path, case: str, how: dict[str, list[tuple[x509.ExtensionType, bool]]], outcome: Outcome
) -> None:
    root = made("root", ca=True)
    ca: Made = made("CA", root, ca=True)
    path = signed_file(tmp_path, signer(leaf_of(ca), ca))
    other = entry(4711, NOW - DAY, extra=how.get("of_entry", []))
    lists = [listed(ca, other, extra=how.get("extra", []))]
    verdict = judge(path, trusting(root, crls=lists, crl=[{"issuer": ca.pem.decode()}]))
    assert verdict.outcome is outcome
