"""Attacks with certificates that are on a good path but not for this: purpose, usage, keys, curves, names, lists."""

from __future__ import annotations

import subprocess
from pathlib import Path as File
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type

from kit.certs import DAY, NOW, Chain, Made, listed, made, resigned, tlv
from kit.efi import tiny
from kit.inside import sign_inside
from kit.production import leaf_of, signer, trusting
from kit.trust import RULE, codes, judge, signed_file
from sealwright.errors import MalformedEnvelope, SealwrightError, WeakAlgorithm
from sealwright.pki.profiles import UPDATE_PACKAGE_SIGNING
from sealwright.trust.certificate import display_name, load_certificate, same_subject
from sealwright.trust.path import NoPath, Path, PathCache, Strictness
from sealwright.trust.verdict import Outcome, Purpose

ANY = "2.5.29.37.0"
SERVER, EMAIL, STAMPS, OCSP = (f"1.3.6.1.5.5.7.3.{number}" for number in (1, 4, 8, 9))
CODE = "1.3.6.1.5.5.7.3.3"
CONFIG = "1.3.6.1.5.5.7.3.41"


@pytest.fixture(scope="module")
def root() -> Made:
    """The anchor."""
    return made("root", ca=True)


@pytest.mark.parametrize(
    ("leaf", "ca", "good"),
    [
        ([UPDATE_PACKAGE_SIGNING], [], True),
        ([UPDATE_PACKAGE_SIGNING, CODE], [], True),
        ([UPDATE_PACKAGE_SIGNING], [UPDATE_PACKAGE_SIGNING], True),
        ([UPDATE_PACKAGE_SIGNING], [ANY], True),
        *[([purpose], [], False) for purpose in (SERVER, EMAIL, STAMPS, OCSP, CODE, CONFIG)],
        ([ANY], [], False),
        ([], [], False),
        ([], [UPDATE_PACKAGE_SIGNING], False),
        ([UPDATE_PACKAGE_SIGNING], [SERVER], False),
        ([UPDATE_PACKAGE_SIGNING], [CODE], False),
    ],
)
def test_a046_a_certificate_signs_only_what_it_is_for(
    tmp_path: File, root: Made, leaf: list[str], ca: list[str], good: bool
) -> None:
    below = made("CA", root, ca=True, purposes=ca)
    path = signed_file(tmp_path, signer(leaf_of(below, purposes=leaf), below))
    assert codes(judge(path, trusting(root))) == ([] if good else ["SW-CERT-PURPOSE"])


def test_a046_only_the_trust_files_own_words_allow_another_purpose(tmp_path: File, root: Made) -> None:
    ca = made("CA", root, ca=True)
    path = signed_file(tmp_path, signer(leaf_of(ca, purposes=[CODE]), ca))
    assert codes(judge(path, trusting(root))) == ["SW-CERT-PURPOSE"]
    rule = RULE | {"signer": [{"anchors": ["root"], "purposes": ["codeSigning"]}]}
    assert codes(judge(path, trusting(root, rule=[rule]))) == []


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ("digital_signature", []),
        ("digital_signature content_commitment", []),
        ("content_commitment", ["SW-CERT-KEY-USAGE"]),
        ("key_encipherment key_agreement", ["SW-CERT-KEY-USAGE"]),
        (None, ["SW-CERT-KEY-USAGE"]),
    ],
)
def test_a047_a_certificate_without_digital_signature_signs_nothing(
    tmp_path: File, root: Made, usage: str | None, found: list[str]
) -> None:
    ca = made("CA", root, ca=True)
    path = signed_file(tmp_path, signer(leaf_of(ca, usage=usage), ca))
    assert codes(judge(path, trusting(root))) == found


@pytest.mark.parametrize(
    ("usage", "purposes", "found"),
    [
        (None, [CODE], []),
        ("digital_signature", [CODE], []),
        (None, [UPDATE_PACKAGE_SIGNING], ["SW-CERT-KEY-USAGE"]),
        ("content_commitment", [CODE], ["SW-CERT-KEY-USAGE"]),
    ],
)
def test_a047_in_authenticode_code_signing_stands_in_for_a_key_usage_that_is_not_there(
    tmp_path: File, root: Made, usage: str | None, purposes: list[str], found: list[str]
) -> None:
    """Microsoft's publishers under UEFI CA 2011 are certified so, and RFC 5280 takes silence for no restriction."""
    ca, plain = made("CA", root, ca=True), tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    signed = sign_inside(plain, signer(leaf_of(ca, usage=usage, purposes=purposes), ca), tmp_path / "signed.efi")
    rule = RULE | {"signer": [{"anchors": ["root"], "purposes": ["codeSigning", "updatePackageSigning"]}]}
    assert codes(judge(signed, trusting(root, rule=[rule]))) == found


def test_a047_an_authority_that_may_not_certify_leads_nowhere(tmp_path: File, root: Made) -> None:
    for usage, found in (("key_cert_sign", []), ("crl_sign digital_signature", ["SW-CERT-NO-PATH"])):
        ca = made("CA", root, ca=True, usage=usage)
        assert codes(judge(signed_file(tmp_path, signer(leaf_of(ca), ca)), trusting(root))) == found


def test_a047_an_authority_that_may_not_sign_lists_says_nothing_about_revocation(tmp_path: File, root: Made) -> None:
    for usage, outcome in (("key_cert_sign crl_sign", Outcome.TRUSTED), ("key_cert_sign", Outcome.UNDECIDED)):
        ca = made("CA", root, ca=True, usage=usage)
        trust = trusting(root, crls=[listed(ca)], crl=[{"issuer": ca.pem.decode()}])
        verdict = judge(signed_file(tmp_path, signer(leaf_of(ca), ca)), trust)
        assert verdict.outcome is outcome
        refused = outcome is not Outcome.TRUSTED
        assert ("SW-CRL-REFUSED" in [f.code for f in verdict.findings]) is refused


WEAK: list[tuple[str, Any]] = [
    ("RSA-1024", lambda: rsa.generate_private_key(65537, 1024)),  # noqa: S505
    ("RSA with exponent 3", lambda: rsa.generate_private_key(3, 2048)),
    ("secp256k1", lambda: ec.generate_private_key(ec.SECP256K1())),
    ("brainpoolP256r1", lambda: ec.generate_private_key(ec.BrainpoolP256R1())),
    ("DSA", lambda: dsa.generate_private_key(2048)),
    ("Ed448", ed448.Ed448PrivateKey.generate),
]


@pytest.mark.parametrize(("kind", "key"), WEAK, ids=[kind for kind, _ in WEAK])
def test_a010_a_weak_or_unlisted_key_is_refused_wherever_it_stands(kind: str, key: Any) -> None:
    weak = key()

    def answer(root: Any = None, ca: Any = None, leaf: Any = None) -> Path | NoPath:
        top = made("root", ca=True, key=root)
        below = made("CA", top, ca=True, key=ca)
        last = load_certificate(made("signer", below, key=leaf).der, "signer")
        return PathCache().find(last, [], [below.der], [top.der], NOW, Strictness.FOREIGN)

    assert isinstance(answer(), Path)
    assert isinstance(answer(ca=weak), NoPath)
    with pytest.raises(WeakAlgorithm):
        answer(leaf=weak)
    with pytest.raises(WeakAlgorithm):
        answer(root=weak)


@pytest.mark.parametrize("weak", [hashes.SHA1(), hashes.MD5()], ids=["SHA-1", "MD5"])  # noqa: S303
@pytest.mark.parametrize("where", ["leaf", "CA"])
def test_a010_a_link_signed_with_a_broken_hash_is_refused_and_said(
    tmp_path: File, weak: hashes.HashAlgorithm, where: str
) -> None:
    top_key, ca_key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    root = made("root", ca=True, key=top_key)
    ca = made("CA", root, ca=True, key=ca_key)
    leaf = leaf_of(ca)
    assert codes(judge(signed_file(tmp_path, signer(leaf, ca)), trusting(root))) == []
    if where == "leaf":
        leaf = resigned(leaf, ca_key, weak)
    else:
        ca = resigned(ca, top_key, weak)
    verdict = judge(signed_file(tmp_path, signer(leaf, ca)), trusting(root))
    assert codes(verdict) == ["SW-CERT-NO-PATH"]
    assert f"signed with {weak.name}" in verdict.findings[0].sentence


def test_a023_explicit_curve_parameters_are_refused_with_the_right_and_with_another_generator(
    tmp_path: File, root: Made
) -> None:
    for encoding, good in (("named_curve", True), ("explicit", False)):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt",
             f"ec_param_enc:{encoding}", "-nodes", "-keyout", "key", "-out", "der", "-outform", "DER", "-subj", "/CN=root"],
            cwd=tmp_path, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        der = (tmp_path / "der").read_bytes()
        if good:
            assert load_certificate(der, "root")
            continue
        with pytest.raises(SealwrightError):
            load_certificate(der, "root")
        # CVE-2020-0601: the trusted key's point as generator, so that its private key is 1
        own = ec.derive_private_key(1, ec.SECP256R1()).public_key()
        generator = own.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        assert generator in der
        public = root.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        with pytest.raises(SealwrightError):
            load_certificate(der.replace(generator, public), "root")


def test_a023_an_anchor_is_its_whole_key_never_its_point(root: Made) -> None:
    """The same key in compressed form is another encoding and refused at the door."""
    point = root.key.public_key()
    long = point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    short = point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    der, tbs = root.der, root.certificate.tbs_certificate_bytes
    spki = point.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    smaller = tlv(0x30, spki[2 : -len(long) - 3] + tlv(3, b"\x00" + short))
    inside = tbs[2 + (tbs[1] & 0x7F if tbs[1] & 0x80 else 0) :]
    assert tlv(0x30, inside) == tbs
    packed = tlv(0x30, tlv(0x30, inside.replace(spki, smaller)) + der[der.index(tbs) + len(tbs) :])
    assert load_certificate(der, "root")
    with pytest.raises(MalformedEnvelope, match="encoding"):
        load_certificate(packed, "root")


def _named(common: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common, _type=kind)])


NAMES = [
    ("itself", _named("ACME Release"), True),
    ("the same text as another string type", _named("ACME Release", _ASN1Type.BMPString), True),
    ("a NUL and more", _named("ACME Release\0.evil"), False),
    ("a trailing space", _named("ACME Release "), False),
    ("a leading space", _named(" ACME Release"), False),
    ("two spaces", _named("ACME  Release"), False),
    ("another case", _named("Acme Release"), False),
    ("a Cyrillic letter", _named("АCME Release"), False),
    ("a mark that turns the direction", _named("ACME Release\u202e"), False),
    ("a zero-width space", _named("ACME\u200b Release"), False),
    ("a decomposed twin", _named("ACME Rele\u0061\u0301se"), False),
    ("more names", x509.Name([*_named("ACME Release"), *_named("evil")]), False),
    ("an escaped comma", _named("ACME Release,O=ACME"), False),
]


@pytest.mark.parametrize(("case", "subject", "same"), NAMES, ids=[row[0] for row in NAMES])
def test_a049_a_pinned_name_is_met_only_by_itself(
    tmp_path: File, root: Made, case: str, subject: x509.Name, same: bool
) -> None:
    ca = made("CA", root, ca=True)
    leaf = leaf_of(ca, subject=subject)
    assert same_subject(leaf.certificate, "CN=ACME Release") is same
    pinned = RULE | {"signer": [{"anchors": ["root"], "subjects": ["CN=ACME Release"]}]}
    verdict = judge(signed_file(tmp_path, signer(leaf, ca)), trusting(root, rule=[pinned]))
    assert codes(verdict) == ([] if same else ["SW-SIGNER-NOT-ALLOWED"])


@pytest.mark.parametrize("evil", ["\0", "\n", "\x1b[2J", "\u202e", "\u2066", "\u200b", "\ufeff", "\u2028"])
def test_a049_a_name_is_never_shown_with_what_moves_or_hides_text(tmp_path: File, root: Made, evil: str) -> None:
    shown = display_name(_named(f"ACME{evil}Release"))
    assert evil not in shown
    assert shown.isprintable()
    ca = made("CA", root, ca=True)
    leaf = leaf_of(ca, subject=_named(f"ACME{evil}Release"), after=NOW - DAY)
    verdict = judge(signed_file(tmp_path, signer(leaf, ca)), trusting(root))
    assert all(evil not in f.sentence for f in verdict.findings)
    assert all(evil not in seen.subject for seen in verdict.signers)


@pytest.mark.parametrize("purpose", [Purpose.INSTALL, Purpose.RUN])
def test_a103_who_keeps_the_list_away_gains_no_installation(tmp_path: File, root: Made, purpose: Purpose) -> None:
    ca = made("CA", root, ca=True)
    path = signed_file(tmp_path, signer(leaf_of(ca), ca))
    policy = {"crl": [{"issuer": ca.pem.decode()}]}
    fresh = listed(ca)
    stale = listed(ca, this_update=NOW - 40 * DAY, next_update=NOW - 10 * DAY)
    others = Chain(root, made("CA", root, ca=True), made("x", root))
    forged = listed(ca, signed_by=others.ca.key)
    assert codes(judge(path, trusting(root, crls=[fresh], **policy), purpose=purpose)) == []
    for lists in ([], [stale], [forged], [listed(others.ca)]):
        verdict = judge(path, trusting(root, crls=lists, **policy), purpose=purpose)
        assert "SW-REVOCATION-UNKNOWN" in [f.code for f in verdict.findings]
        wanted = Outcome.UNDECIDED if purpose is Purpose.INSTALL else Outcome.TRUSTED
        assert verdict.outcome is wanted
