"""Revocation lists as written: the openssl program, cryptography, asn1crypto and our own judgement read the same in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import CRLEntryExtensionOID

from kit.openssl import run
from kit.pki import DAY, NOW, Pki
from sealwright.errors import KeyRefused, SealwrightError, UsageError
from sealwright.keys.key import KeyKind
from sealwright.pki.crl import EXPIRED_CERTS_ON_CRL

Reason = x509.ReasonFlags
ISSUING = [kind for kind in KeyKind if not kind.value.startswith("ml-dsa") and "4096" not in kind.value]


def openssl_text(crl: bytes, pki: Pki, folder: Path) -> tuple[bool, str]:
    """`openssl crl` with the signature checked against the intermediate."""
    (folder / "crl").write_bytes(crl)
    (folder / "ca").write_text(pki.intermediate.pem)
    return run(["openssl", "crl", "-inform", "DER", "-in", folder / "crl", "-CAfile", folder / "ca", "-noout", "-text"])


@pytest.mark.parametrize("kind", ISSUING)
def test_openssl_checks_the_signature_of_a_list_by_each_kind_of_key(tmp_path: Path, kind: KeyKind) -> None:
    pki = Pki.make(kind=kind)
    pki.revoke(pki.leaf(), NOW - DAY, Reason.superseded)
    assert "verify OK" in openssl_text(pki.crl(), pki, tmp_path)[1]
    assert "verify OK" not in openssl_text(pki.crl(), Pki.make(kind=kind), tmp_path)[1]


def test_four_readers_see_the_same_entries(tmp_path: Path) -> None:
    pki = Pki.make()
    lost, replaced, plain = pki.leaf("lost"), pki.leaf("replaced"), pki.leaf("plain")
    pki.revoke(lost, NOW - DAY, Reason.key_compromise, NOW - 5 * DAY)
    pki.revoke(replaced, NOW - 2 * DAY, Reason.superseded)
    pki.revoke(plain, NOW - 3 * DAY)
    data = pki.crl(number=7)
    wanted = {(one.serial, one.date, one.invalid) for one in pki.revoked}

    read = x509.load_der_x509_crl(data)
    assert read.is_signature_valid(pki.intermediate.key.info.public_key)  # type: ignore[arg-type]
    assert {(e.serial_number, e.revocation_date_utc, _invalid(e)) for e in read} == wanted
    assert read.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7

    other = asn1_crl.CertificateList.load(data, strict=True)
    entries = other["tbs_cert_list"]["revoked_certificates"]
    assert {
        (e["user_certificate"].native, e["revocation_date"].native,
         e.invalidity_date_value.native if e.invalidity_date_value else None) for e in entries
    } == wanted  # fmt: skip
    assert {e.crl_reason_value.native if e.crl_reason_value else None for e in entries} == {
        "key_compromise", "superseded", None,
    }  # fmt: skip

    accepted, words = openssl_text(data, pki, tmp_path)
    assert accepted, words
    for one in pki.revoked:
        assert f"{one.serial:X}" in words
    assert "Invalidity Date" in words
    assert words.count("CRL Reason Code") == 2


def test_openssl_refuses_the_revoked_signer_and_accepts_its_twin(tmp_path: Path) -> None:
    pki = Pki.make()
    lost, kept = pki.leaf("lost"), pki.leaf("kept")
    pki.revoke(lost, NOW - DAY, Reason.key_compromise)
    crl = x509.load_der_x509_crl(pki.crl()).public_bytes(Encoding.PEM)
    (tmp_path / "store").write_bytes(pki.root.pem.encode() + pki.intermediate.pem.encode() + crl)
    for who, accepted in ((kept, True), (lost, False)):
        (tmp_path / "leaf").write_text(who.pem)
        found, words = run(
            ["openssl", "verify", "-crl_check", "-x509_strict", "-attime", str(int(NOW.timestamp()) + 60),
             "-CAfile", tmp_path / "store", tmp_path / "leaf"]
        )  # fmt: skip
        assert found is accepted, words
    assert "revoked" in words


def test_a_list_keeps_ended_certificates_since_its_issuer_began() -> None:
    pki = Pki.make()
    extension = x509.load_der_x509_crl(pki.crl()).extensions.get_extension_for_oid(EXPIRED_CERTS_ON_CRL)
    since = pki.intermediate.x509.not_valid_before_utc
    assert not extension.critical
    assert extension.value.value == b"\x18\x0f" + f"{since:%Y%m%d%H%M%SZ}".encode()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("how", "refusal"), [({"number": -1}, UsageError), ({"days": 0}, UsageError), ({"days": -3}, UsageError)]
)
def test_a_list_that_no_verifier_would_use_is_not_written(how: dict[str, int], refusal: type[SealwrightError]) -> None:
    pki = Pki.make()
    assert pki.crl(number=0, days=1)
    with pytest.raises(refusal):
        pki.crl(**how)  # type: ignore[arg-type]


def test_an_ml_dsa_key_writes_no_list() -> None:
    pki = Pki.make()
    pq = pki.leaf(kind=KeyKind.ML_DSA_65)
    assert pki.crl()
    with pytest.raises(KeyRefused):
        pki.crl(issuer=pq)


def _invalid(entry: x509.RevokedCertificate) -> object:
    found = [e.value for e in entry.extensions if e.oid == CRLEntryExtensionOID.INVALIDITY_DATE]
    return found[0].invalidity_date_utc if found else None
