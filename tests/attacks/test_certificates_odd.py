"""Certificates that one reader understands and another does not: each ends in a verdict, and an odd one beside a good one hides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from kit.certs import CODE_SIGNING, DAY, NOW, Made, made, odd_name, rebuilt, tlv
from kit.forge import forge
from kit.pki import Signer, p7s
from kit.production import leaf_of, signer, trusting
from kit.trust import codes, judge
from sealwright.cli.main import main
from sealwright.trust.certificate import spki_digest
from sealwright.trust.verdict import Outcome

DATA = b"firmware"
ENDS = b"\x17\x0d270209120000Z"
YEAR_0 = b"\x18\x0f00000101000000Z"
ROOT = made("root", ca=True)
CA = made("CA", ROOT, ca=True)
LEAF = leaf_of(CA)
OTHER = made("other", CA)

ODD = {
    "begins in the year 0": {"validity": tlv(0x30, YEAR_0 + ENDS)},
    "ends in the year 0": {"validity": tlv(0x30, ENDS + YEAR_0)},
    "ends before it begins": {"validity": tlv(0x30, ENDS + b"\x17\x0d260101000000Z")},
    "a time without seconds": {"validity": tlv(0x30, b"\x17\x0b2601010000Z" + ENDS)},
    "a subject that is a bit string": {"subject": odd_name(0x03, b"\x00other")},
    "an issuer that is a bit string": {"issuer": odd_name(0x03, b"\x00CA")},
    "a subject of a tag no name has": {"subject": odd_name(0x1A, b"other")},
    "a subject that is a time": {"subject": odd_name(0x17, b"260101000000Z")},
    "a subject without end": {"subject": odd_name(0x0C, b"A" * 60_000)},
    "an empty issuer": {"issuer": b"\x30\x00"},
    "serial 0": {"serial": 0},
    "a negative serial": {"serial": -(2**70)},
    "a serial of 200 bytes": {"serial": 2**1600},
    "version 7": {"version": 7},
}  # fmt: skip


def written(folder: Path, by: Signer, bag: list[bytes]) -> Path:
    path = folder / "drive.bin"
    path.write_bytes(DATA)
    (folder / "drive.bin.p7s").write_bytes(forge(by, DATA, certificates=sorted({by.certificate, *bag})))
    return path


@pytest.mark.filterwarnings("ignore:Parsed a serial number", "ignore:Attribute's length")
@pytest.mark.parametrize("how", ODD)
def test_a049_an_odd_certificate_in_the_bag_hides_no_good_one_and_opens_nothing_as_the_signers(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trust = trusting(ROOT)
    assert judge(written(tmp_path, signer(LEAF), [CA.der]), trust).outcome is Outcome.TRUSTED
    odd = rebuilt(OTHER, CA.key, **ODD[how])
    assert judge(written(tmp_path, signer(LEAF), [CA.der, odd]), trust).outcome is Outcome.TRUSTED
    try:
        by = signer(Made(x509.load_der_x509_certificate(odd), OTHER.key))
        path = written(tmp_path, by, [CA.der])
    except (ValueError, x509.InvalidVersion):
        return  # our own writer cannot read it either
    assert judge(path, trust).outcome is Outcome.REJECTED
    (tmp_path / "odd.cer").write_bytes(odd)
    assert main(["inspect", str(tmp_path / "odd.cer"), str(tmp_path / "drive.bin.p7s")]) in (0, 1)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("tag", [0x04, 0x17, 0x1A])
def test_a042_an_authority_that_openssl_cannot_read_leads_nowhere(tmp_path: Path, tag: int) -> None:
    """It is signed by the anchor, and `cryptography` reads it; makers' own tools have written such names."""
    good = x509.load_der_x509_certificate(rebuilt(CA, ROOT.key, subject=odd_name(0x0C, b"CA")))
    odd = x509.load_der_x509_certificate(rebuilt(CA, ROOT.key, subject=odd_name(tag, b"CA")))
    outcomes = []
    for authority in (good, odd):
        leaf = leaf_of(Made(authority, CA.key))
        path = written(tmp_path, signer(leaf), [Made(authority, CA.key).der])
        verdict = judge(path, trusting(ROOT))
        outcomes.append((verdict.outcome, codes(verdict)))
    assert outcomes == [(Outcome.TRUSTED, []), (Outcome.REJECTED, ["SW-CERT-NO-PATH"])]


@pytest.mark.parametrize("usage", [None, "key_cert_sign crl_sign"])
def test_a044_an_authority_is_one_only_where_its_certificate_says_so(tmp_path: Path, usage: str | None) -> None:
    """OpenSSL takes key usage or a Netscape extension for it in a certificate without basic constraints."""
    netscape = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.16.840.1.113730.1.1"), bytes.fromhex("03020007"))
    for without, outcome in (("", Outcome.TRUSTED), ("constraints", Outcome.REJECTED)):
        ca = made("CA", ROOT, ca=True, without=without, usage=usage, extra=[(netscape, False)] if without else [])
        leaf = made("release", ca, purposes=[CODE_SIGNING])
        known = [{"key": str(spki_digest(leaf.certificate)), "provenance": "hardware-claimed"}]
        rule = {"name": "any", "environment": "production", "signer": [{"anchors": ["root"]}]}
        path = written(tmp_path, signer(leaf), [ca.der])
        assert judge(path, trusting(ROOT, evidence=known, rule=[rule])).outcome is outcome


@pytest.mark.parametrize(("ends", "outcome"), [(0, Outcome.TRUSTED), (1, Outcome.REJECTED)])
def test_a094_the_last_second_of_a_certificate_is_the_last(tmp_path: Path, ends: int, outcome: Outcome) -> None:
    for which in ("leaf", "CA"):
        ca = made("CA", ROOT, ca=True, after=NOW + (DAY if which == "leaf" else 0 * DAY))
        leaf = leaf_of(ca, after=NOW + (0 * DAY if which == "leaf" else DAY))
        path = written(tmp_path, signer(leaf), [ca.der])
        assert judge(path, trusting(ROOT), NOW + ends * DAY / 86400).outcome is outcome


def test_a044_a_link_between_two_keys_of_one_authority_is_no_step_of_its_path_length(tmp_path: Path) -> None:
    """RFC 5280 section 6.1.4 (l): self-issued certificates are not counted, all others are."""
    short = made("CA", ROOT, ca=True, constraints=x509.BasicConstraints(ca=True, path_length=0))
    for common, outcome in (("CA", Outcome.TRUSTED), ("another CA", Outcome.REJECTED)):
        below = made(common, short, ca=True)
        path = tmp_path / "drive.bin"
        path.write_bytes(DATA)
        (tmp_path / "drive.bin.p7s").write_bytes(p7s(signer(leaf_of(below), below, short), DATA))
        assert judge(path, trusting(ROOT)).outcome is outcome
