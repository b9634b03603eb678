"""Attacks on the way from a signer's certificate to an anchor, end to end: a signed file, a trust file, a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, Chain, Made, made
from kit.production import leaf_of, signer, trusting
from kit.trust import codes, judge, signed_file
from sealwright.trust.verdict import Outcome, Purpose

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED


@pytest.fixture(scope="module")
def good() -> Chain:
    """Root, CA and signer as they should be."""
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    return Chain(root, ca, leaf_of(ca))


def test_a042_a_root_from_the_signatures_own_bag_is_no_anchor(tmp_path: Path, good: Chain) -> None:
    trust = trusting(good.root)
    assert judge(signed_file(tmp_path, signer(good.leaf, good.ca)), trust).outcome is TRUSTED
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    fake = signed_file(tmp_path, signer(leaf_of(ca), ca, root))
    assert codes(judge(fake, trust)) == ["SW-CERT-NO-PATH"]


@pytest.mark.parametrize(
    "forge",
    [
        lambda good: (made("CA", good.root, ca=True, signed_by=ec.generate_private_key(ec.SECP256R1())), []),
        lambda good: (made("CA", ca=True), []),
        lambda good: (made("CA", ca=True), [good.ca]),
        lambda good: (made("root", ca=True), [good.root]),
    ],
    ids=["a CA the root never signed", "a CA of the same name", "with the real one beside it", "a root of that name"],
)
def test_a042_an_issuers_name_without_its_signature_is_nothing(
    tmp_path: Path, good: Chain, forge: Callable[[Chain], tuple[Made, list[Made]]]
) -> None:
    ca, more = forge(good)
    path = signed_file(tmp_path, signer(leaf_of(ca), ca, *more))
    assert codes(judge(path, trusting(good.root))) == ["SW-CERT-NO-PATH"]
    assert judge(path, trusting(ca)).outcome is TRUSTED


def test_a044_a_signers_certificate_certifies_nobody(tmp_path: Path, good: Chain) -> None:
    for leaf in (good.leaf, leaf_of(good.ca, without="constraints")):
        below = leaf_of(leaf, "child")
        verdict = judge(signed_file(tmp_path, signer(below, leaf, good.ca)), trusting(good.root))
        assert codes(verdict) == ["SW-CERT-NO-PATH"]
    real = made("CA 2", good.ca, ca=True)
    assert judge(signed_file(tmp_path, signer(leaf_of(real), real, good.ca)), trusting(good.root)).outcome is TRUSTED


def test_a044_an_authority_cannot_make_a_longer_path_than_it_was_given(tmp_path: Path) -> None:
    for room, outcome in ((1, TRUSTED), (0, REJECTED)):
        root = made("root", ca=True)
        ca = made("CA", root, ca=True, constraints=x509.BasicConstraints(True, room))
        below = made("CA 2", ca, ca=True)
        path = signed_file(tmp_path, signer(leaf_of(below), below, ca))
        assert judge(path, trusting(root)).outcome is outcome


@pytest.mark.parametrize("where", ["leaf", "CA", "anchor"])
def test_a048_an_unknown_critical_extension_refuses(tmp_path: Path, where: str) -> None:
    for critical, outcome in ((False, TRUSTED), (True, REJECTED)):
        odd = {"extra": [(UNKNOWN_CRITICAL, critical)]}
        root = made("root", ca=True, **(odd if where == "anchor" else {}))
        ca = made("CA", root, ca=True, **(odd if where == "CA" else {}))
        leaf = leaf_of(ca, **(odd if where == "leaf" else {}))
        verdict = judge(signed_file(tmp_path, signer(leaf, ca)), trusting(root))
        assert verdict.outcome is outcome
        assert codes(verdict) == (["SW-CERT-NO-PATH"] if critical else [])


def test_a094_an_ended_certificate_without_a_timestamp_installs_nothing(tmp_path: Path, good: Chain) -> None:
    path = signed_file(tmp_path, signer(good.leaf, good.ca))
    trust = trusting(good.root)
    end = NOW + 100 * DAY
    assert judge(path, trust, end).outcome is TRUSTED
    late = judge(path, trust, end + DAY)
    assert codes(late) == ["SW-CERT-EXPIRED"]
    assert judge(path, trust, end + DAY, purpose=Purpose.RUN).outcome is TRUSTED


def test_a104_a_root_that_left_the_trust_file_is_nothing_whatever_is_brought_along(tmp_path: Path, good: Chain) -> None:
    path = signed_file(tmp_path, signer(good.leaf, good.ca, good.root))
    assert judge(path, trusting(good.root)).outcome is TRUSTED
    new = made("new root", ca=True)
    assert codes(judge(path, trusting(new))) == ["SW-CERT-NO-PATH"]
    renamed = made("root", ca=True)  # the new root bears the old one's name
    assert codes(judge(path, trusting(renamed))) == ["SW-CERT-NO-PATH"]


def test_a104_the_new_root_decides_which_old_authorities_it_takes_over(tmp_path: Path, good: Chain) -> None:
    new = made("new root", ca=True)
    cross = made("CA", new, ca=True, key=good.ca.key)
    path = signed_file(tmp_path, signer(good.leaf, good.ca, good.root, cross))
    assert judge(path, trusting(new)).outcome is TRUSTED


@dataclass
class Watched:
    """What the interpreter reports of its own work while `on` is set; such a hook stays until the process ends."""

    on: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and (event.startswith(("socket.", "urllib.", "http.", "ftplib.", "subprocess.", "os.system"))):
            self.seen.append(event)
        if self.on and event == "open" and "canary" in str(arguments[0]):
            self.seen.append(f"open {arguments[0]}")


WATCHED = Watched()
sys.addaudithook(WATCHED)


def test_a111_nothing_that_a_certificate_names_is_ever_fetched(tmp_path: Path) -> None:
    canary = tmp_path / "canary.cer"
    root = made("root", ca=True)
    canary.write_bytes(made("CA", root, ca=True).der)
    places = [
        x509.UniformResourceIdentifier(url)
        for url in ("http://169.254.169.254/ca.cer", canary.as_uri(), "ldap://localhost/cn=CA", "gopher://localhost/1")
    ]
    access = x509.AuthorityInformationAccess(
        x509.AccessDescription(method, place) for place in places for method in (x509.OID_CA_ISSUERS, x509.OID_OCSP)
    )
    lists = x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None) for place in places])
    named = [(access, False), (lists, False), (x509.FreshestCRL(list(lists)), False)]
    ca = made("CA", root, ca=True, extra=named)
    leaf = leaf_of(ca, extra=named)
    complete = signed_file(tmp_path, signer(leaf, ca), name="complete.bin")
    missing = signed_file(tmp_path, signer(leaf), name="missing.bin")
    crl = [{"issuer": ca.pem.decode()}]
    WATCHED.on = True
    try:
        verdicts = [
            judge(complete, trusting(root)),
            judge(complete, trusting(root, crl=crl)),
            judge(missing, trusting(root)),
        ]
        canary.read_bytes()
    finally:
        WATCHED.on = False
    assert [verdict.outcome for verdict in verdicts] == [TRUSTED, Outcome.UNDECIDED, REJECTED]
    assert WATCHED.seen == [f"open {canary}"]  # only ours: the watch works
