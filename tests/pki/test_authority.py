"""Certificates as issued: what they say, what is refused, and what the openssl program thinks of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID as Oid

from kit.openssl import run
from kit.pki import CLAIMED, DAY, NOW, Pki, Signer, soft_key
from sealwright.errors import KeyRefused, SealwrightError, UsageError, WeakAlgorithm
from sealwright.keys.key import KeyKind, Provenance
from sealwright.pki.authority import DEVELOPMENT_MARK, SERIAL_BITS, Issuer, Subject, issue
from sealwright.pki.oids import DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.pki.profiles import (
    CODE_SIGNER,
    CODE_SIGNING,
    CONFIG_SIGNER,
    CONFIG_SIGNING,
    INTERMEDIATE,
    PERSON,
    ROOT,
    TIME_STAMPING,
    TIMESTAMP_AUTHORITY,
    UPDATE_PACKAGE_SIGNING,
    Profile,
)
from sealwright.pki.request import certificate_request

PKI = Pki.make()
ISSUING = [kind for kind in KeyKind if not kind.value.startswith("ml-dsa") and "4096" not in kind.value]


def openssl_verify(pki: Pki, leaf: Signer, folder: Path, *options: str) -> tuple[bool, str]:
    """`openssl verify` of the whole path, strict, at NOW."""
    for name, who in (("root", pki.root), ("ca", pki.intermediate), ("leaf", leaf)):
        (folder / name).write_text(who.pem)
    at = str(int(NOW.timestamp()))
    return run(
        ["openssl", "verify", "-x509_strict", "-attime", at, *options, "-CAfile", folder / "root",
         "-untrusted", folder / "ca", folder / "leaf"]
    )  # fmt: skip


@pytest.mark.parametrize("kind", ISSUING)
def test_openssl_accepts_a_path_of_each_kind_of_key(tmp_path: Path, kind: KeyKind) -> None:
    pki = Pki.make(kind=kind)
    accepted, words = openssl_verify(pki, pki.leaf(kind=kind), tmp_path)
    assert accepted, words
    refused, _ = openssl_verify(Pki.make(kind=kind), pki.leaf(kind=kind), tmp_path)
    assert not refused


def test_openssl_says_when_a_signer_has_ended_and_that_only_a_timestamp_authority_stamps(tmp_path: Path) -> None:
    assert openssl_verify(PKI, PKI.leaf(days=20), tmp_path)[0]
    accepted, words = openssl_verify(PKI, PKI.leaf(days=5), tmp_path)
    assert not accepted
    assert "expired" in words
    assert openssl_verify(PKI, PKI.tsa(), tmp_path, "-purpose", "timestampsign")[0]
    assert not openssl_verify(PKI, PKI.leaf(), tmp_path, "-purpose", "timestampsign")[0]


@pytest.mark.parametrize(
    ("profile", "purposes", "critical", "days"),
    [
        (CODE_SIGNER, [UPDATE_PACKAGE_SIGNING, CODE_SIGNING], False, 460),
        (CONFIG_SIGNER, [CONFIG_SIGNING], False, 460),
        (TIMESTAMP_AUTHORITY, [TIME_STAMPING], True, 3650),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else "",
)
def test_an_end_certificate_signs_for_its_purposes_and_nothing_else(
    profile: Profile, purposes: list[str], critical: bool, days: int
) -> None:
    made = PKI.leaf(profile=profile, at=NOW - DAY).x509
    found = {extension.oid: extension for extension in made.extensions}
    assert [oid.dotted_string for oid in found[Oid.EXTENDED_KEY_USAGE].value] == purposes
    assert found[Oid.EXTENDED_KEY_USAGE].critical is critical
    basic, usage = found[Oid.BASIC_CONSTRAINTS], found[Oid.KEY_USAGE]
    assert basic.critical
    assert not basic.value.ca
    assert usage.critical
    said = {name for name in ("digital_signature", "content_commitment", "key_cert_sign", "crl_sign", "key_encipherment")
            if getattr(usage.value, name)}  # fmt: skip
    assert said == {"digital_signature"}
    above = PKI.intermediate.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert found[Oid.AUTHORITY_KEY_IDENTIFIER].value.key_identifier == above.digest
    assert Oid.SUBJECT_KEY_IDENTIFIER in found
    assert made.not_valid_after_utc - made.not_valid_before_utc <= days * DAY


def test_an_authority_signs_certificates_and_lists_only_and_its_path_is_bounded() -> None:
    for certificate, length in ((PKI.root.x509, 2), (PKI.intermediate.x509, 0)):
        assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == length
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)


@pytest.mark.parametrize(
    ("provenance", "policy"),
    [
        (Provenance.DEVELOPMENT, DEVELOPMENT),
        (Provenance.HARDWARE_CLAIMED, HARDWARE_CLAIMED),
        (Provenance.HARDWARE_ATTESTED, HARDWARE_ATTESTED),
        (Provenance.HARDWARE_IMPORTED, None),
    ],
)
def test_a_certificate_says_where_its_key_lives_and_development_also_in_its_name(
    provenance: Provenance, policy: str | None
) -> None:
    made = PKI.leaf(provenance=provenance).x509
    policies = [e.value for e in made.extensions if e.oid == Oid.CERTIFICATE_POLICIES]
    assert [p.policy_identifier.dotted_string for value in policies for p in value] == ([policy] if policy else [])
    assert (DEVELOPMENT_MARK in made.subject.rfc4514_string()) is (provenance is Provenance.DEVELOPMENT)


def test_a_certificate_never_ends_after_its_issuer_or_begins_before_it() -> None:
    short = issue(
        replace(INTERMEDIATE, days=40), Subject("short"), (key := soft_key()).info.public_key,
        Issuer(PKI.root.key, PKI.root.certificate), NOW, CLAIMED,
    )  # fmt: skip
    made = x509.load_der_x509_certificate(
        issue(CODE_SIGNER, Subject("x"), soft_key().info.public_key, Issuer(key, short), NOW, CLAIMED)
    )
    above = x509.load_der_x509_certificate(short)
    assert made.not_valid_after_utc == above.not_valid_after_utc
    assert made.not_valid_before_utc >= above.not_valid_before_utc


def test_serial_numbers_are_random_positive_and_at_most_20_octets() -> None:
    serials = {PKI.leaf(key=KEY).x509.serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 2**SERIAL_BITS for serial in serials)
    assert max(serials).bit_length() > 140


KEY = soft_key()
PUBLIC = KEY.info.public_key
ROOTED = Issuer(PKI.root.key, PKI.root.certificate)
LEAF = PKI.leaf()


@pytest.mark.parametrize(
    ("subject", "issuer", "at", "refusal", "words"),
    [
        (Subject("x"), ROOTED, NOW + timedelta(days=9000), KeyRefused, "it ended on"),
        (Subject("x"), Issuer(KEY, PKI.root.certificate), NOW, KeyRefused, "not the one that would sign"),
        (Subject("x"), Issuer(LEAF.key, LEAF.certificate), NOW, KeyRefused, "not an authority's"),
        (Subject(""), ROOTED, NOW, UsageError, "empty"),
        (Subject("x" * 65), ROOTED, NOW, UsageError, "longer than 64"),
        (Subject("x", "a\nb"), ROOTED, NOW, UsageError, "not printable"),
    ],
)
def test_what_no_verifier_would_accept_is_not_issued(
    subject: Subject, issuer: Issuer, at: object, refusal: type[SealwrightError], words: str
) -> None:
    assert issue(PERSON, Subject("x"), PUBLIC, ROOTED, NOW, CLAIMED)
    with pytest.raises(refusal, match=words):
        issue(PERSON, subject, PUBLIC, issuer, at, CLAIMED)  # type: ignore[arg-type]


def test_a010_no_certificate_for_a_weak_key() -> None:
    assert issue(PERSON, Subject("x"), soft_key(KeyKind.RSA3072).info.public_key, ROOTED, NOW, CLAIMED)
    for weak in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(WeakAlgorithm):
            issue(PERSON, Subject("x"), weak.public_key(), ROOTED, NOW, CLAIMED)


def test_an_ml_dsa_key_gets_a_certificate_and_issues_none() -> None:
    key = soft_key(KeyKind.ML_DSA_65)
    made = x509.load_der_x509_certificate(issue(CODE_SIGNER, Subject("pq"), key.info.public_key, ROOTED, NOW, CLAIMED))
    assert made.public_key() == key.info.public_key
    with pytest.raises(KeyRefused, match="key of type ml-dsa"):
        issue(ROOT, Subject("pq root"), key.info.public_key, Issuer(key), NOW, CLAIMED)


@pytest.mark.parametrize("kind", ISSUING)
def test_openssl_verifies_a_request_and_its_key_stays_where_it_is(tmp_path: Path, kind: KeyKind) -> None:
    (tmp_path / "r").write_bytes(certificate_request(soft_key(kind), "CN=Release 2026,O=ACME"))
    accepted, words = run(["openssl", "req", "-in", tmp_path / "r", "-verify", "-noout", "-subject"])
    assert accepted, words
    assert "Release 2026" in words
    with pytest.raises(UsageError):
        certificate_request(soft_key(kind), "no name")
