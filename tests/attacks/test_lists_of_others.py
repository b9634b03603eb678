"""Revocation lists end to end: forged, older, forgetful, split over several places, swapped; nothing of them opens a door."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from kit import certs
from kit.certs import entry, listed
from kit.pki import DAY, HOUR, NOW, Pki, Signer
from kit.trust import believed, codes, judge, signed_file
from sealwright.trust.verdict import Outcome, Purpose

REASON = x509.ReasonFlags
TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED


@pytest.fixture
def pki() -> Pki:
    return Pki.make()


def issuer(pki: Pki) -> certs.Made:
    """The intermediate, ready to make lists that no tool of ours makes."""
    return certs.Made(pki.intermediate.x509, pki.intermediate.key._private)


def place(url: str) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


def test_a100_a_signature_counts_by_when_it_was_made_not_by_when_the_theft_was_found(tmp_path: Path, pki: Pki) -> None:
    signer, tsa = pki.leaf("release"), pki.tsa()
    start = NOW
    paths = {
        day: signed_file(tmp_path, signer, name=f"{day}.bin", tsa=tsa, stamped=start + day * DAY) for day in (5, 15, 25)
    }
    clean = pki.crl(start + 26 * DAY)
    for path in paths.values():
        assert judge(path, believed(pki, crls=[clean]), start + 26 * DAY + HOUR).outcome is TRUSTED
    pki.revoke(signer, start + 20 * DAY, REASON.key_compromise, start + 10 * DAY)
    trust = believed(pki, crls=[pki.crl(start + 26 * DAY, number=2)])
    outcomes = {day: judge(path, trust, start + 26 * DAY + HOUR).outcome for day, path in paths.items()}
    assert outcomes == {5: TRUSTED, 15: REJECTED, 25: REJECTED}
    bare = signed_file(tmp_path, signer, name="bare.bin", at=start)
    assert codes(judge(bare, trust, start + 26 * DAY + HOUR)) == ["SW-CERT-REVOKED"]


def test_a100_a_newer_list_that_forgets_heals_nothing(tmp_path: Path, pki: Pki) -> None:
    signer = pki.leaf("release")
    path = signed_file(tmp_path, signer)
    empty = pki.crl(NOW, number=9)
    assert judge(path, believed(pki, crls=[empty]), NOW + HOUR).outcome is TRUSTED
    pki.revoke(signer, NOW - DAY, REASON.superseded)
    older = pki.crl(NOW - HOUR, number=8)
    for lists in ([older, empty], [empty, older]):
        assert codes(judge(path, believed(pki, crls=lists), NOW + HOUR)) == ["SW-CERT-REVOKED"]


@pytest.mark.parametrize("forgery", ["another key of that name", "a flipped bit", "no number", "a leaf's key", "junk"])
def test_a103_a_list_that_its_issuer_did_not_sign_is_no_evidence(tmp_path: Path, pki: Pki, forgery: str) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    wanted = {"crl": [{"issuer": pki.intermediate.pem}]}
    good = pki.crl(NOW)
    assert judge(path, believed(pki, crls=[good], **wanted), NOW + HOUR).outcome is TRUSTED
    forged = {
        "another key of that name": Pki.make().crl(NOW),
        "a flipped bit": good[:-1] + bytes([good[-1] ^ 1]),
        "no number": listed(issuer(pki), number=None),
        "a leaf's key": listed(issuer(pki), signed_by=pki.leaf("x").key._private),
        "junk": b"0\x82\xff\xff",
    }[forgery]
    verdict = judge(path, believed(pki, crls=[forged], **wanted), NOW + HOUR)
    assert verdict.outcome is UNDECIDED
    assert "SW-CRL-REFUSED" in [finding.code for finding in verdict.findings]
    assert judge(path, believed(pki, crls=[forged, good], **wanted), NOW + HOUR).outcome is TRUSTED


@pytest.mark.parametrize("lists", ["none", "older than wanted", "stale", "from the future"])
def test_a103_without_a_fresh_list_installing_is_undecided_and_running_goes_on(
    tmp_path: Path, pki: Pki, lists: str
) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    wanted = {"crl": [{"issuer": pki.intermediate.pem, "min_number": 5, "max_age": {"install": "7d", "run": "30d"}}]}
    fresh = pki.crl(NOW, number=5)
    assert judge(path, believed(pki, crls=[fresh], **wanted), NOW + HOUR).outcome is TRUSTED
    have = {
        "none": [],
        "older than wanted": [pki.crl(NOW, number=4)],
        "stale": [pki.crl(NOW - 8 * DAY, number=5)],
        "from the future": [pki.crl(NOW + DAY, number=5)],
    }[lists]
    assert judge(path, believed(pki, crls=have, **wanted), NOW + HOUR).outcome is UNDECIDED
    assert judge(path, believed(pki, crls=have, **wanted), NOW + HOUR, purpose=Purpose.RUN).outcome is TRUSTED


def test_a100_a_hold_lasts_while_its_own_list_says_so_whatever_other_lists_are_newer(tmp_path: Path, pki: Pki) -> None:
    here, there = "http://pki.example/a.crl", "http://pki.example/b.crl"
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(here)], None, None, None)
    leaf = certs.made(
        "release",
        issuer(pki),
        purposes=["1.3.6.1.5.5.7.3.43"],
        extra=[
            (x509.CRLDistributionPoints([point]), False),
            (x509.CertificatePolicies([policy_of(pki.leaf())]), False),
        ],
    )
    signer = signer_of(leaf, pki)
    path = signed_file(tmp_path, signer)
    held = entry(leaf.certificate, NOW - DAY, REASON.certificate_hold)
    wanted = {"crl": [{"issuer": pki.intermediate.pem}]}
    free = listed(issuer(pki), number=3, extra=[(place(here), True)])
    other = listed(issuer(pki), number=9, extra=[(place(there), True)])
    hold = listed(issuer(pki), held, number=3, extra=[(place(here), True)])
    released = listed(issuer(pki), number=4, extra=[(place(here), True)])
    assert judge(path, believed(pki, crls=[free, other], **wanted)).outcome is TRUSTED
    assert codes(judge(path, believed(pki, crls=[hold], **wanted))) == ["SW-CERT-REVOKED"]
    for lists in ([hold, other], [other, hold]):
        assert codes(judge(path, believed(pki, crls=lists, **wanted))) == ["SW-CERT-REVOKED"]
    assert judge(path, believed(pki, crls=[hold, other, released], **wanted)).outcome is TRUSTED


def policy_of(signer: Signer) -> x509.PolicyInformation:
    return signer.x509.extensions.get_extension_for_class(x509.CertificatePolicies).value[0]


def signer_of(leaf: certs.Made, pki: Pki) -> Signer:
    from kit.pki import soft_key
    from sealwright.keys.file import FileKey

    info = soft_key().info
    own = type(info)(info.uri, leaf.key.public_key(), info.algorithm, info.provenance, "memory")
    return Signer(leaf.der, (pki.intermediate.certificate,), FileKey(own, leaf.key))


def test_a113_an_authority_that_was_revoked_takes_its_signers_with_it(tmp_path: Path, pki: Pki) -> None:
    path = signed_file(tmp_path, pki.leaf("release"))
    root = certs.Made(pki.root.x509, pki.root.key._private)
    clean, revoked = listed(root), listed(root, entry(pki.intermediate.x509, NOW - DAY, REASON.ca_compromise), number=2)
    assert judge(path, believed(pki, crls=[clean, pki.crl(NOW)])).outcome is TRUSTED
    assert codes(judge(path, believed(pki, crls=[revoked, pki.crl(NOW)]))) == ["SW-CERT-REVOKED"]


@pytest.mark.parametrize("reason", [REASON.key_compromise, REASON.superseded])
def test_a100_a_revoked_authority_of_time_proves_only_what_the_reason_leaves(
    tmp_path: Path, pki: Pki, reason: REASON
) -> None:
    signer, tsa = pki.leaf("short", days=30), pki.tsa()
    path = signed_file(tmp_path, signer, tsa=tsa)
    later = NOW + 60 * DAY
    assert judge(path, believed(pki), later).outcome is TRUSTED
    pki.revoke(tsa, NOW + 20 * DAY, reason)
    verdict = judge(path, believed(pki, crls=[pki.crl(later, number=3)]), later + HOUR)
    assert verdict.outcome is (TRUSTED if reason is REASON.superseded else REJECTED)
