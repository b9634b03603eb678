"""What is checked on an accepted path beyond OpenSSL, and how certificates are named."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from kit.certs import CODE_SIGNING, chain, made
from kit.mutate import flips, truncations
from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedEnvelope, SealwrightError
from sealwright.trust.certificate import (
    chain_findings,
    display_name,
    facts,
    load_certificate,
    policy_oids,
    purposes_of,
    same_subject,
    spki_digest,
    tbs_digest,
)
from sealwright.trust.path import Path, Strictness, find_path

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
SERVER = "1.3.6.1.5.5.7.3.1"
ANY = "2.5.29.37.0"
VECTORS = File(cryptography_vectors.__file__).parent / "x509"


def codes(**leaf: Any) -> list[str]:
    """What is found on a path whose leaf is made so."""
    one = chain(**leaf)
    return [f.code for f in chain_findings([one.leaf.certificate, one.ca.certificate, one.root.certificate])]


@pytest.mark.parametrize(
    ("leaf", "found"),
    [
        ({}, []),
        ({"usage": "digital_signature content_commitment"}, []),
        ({"usage": "content_commitment"}, ["SW-CERT-KEY-USAGE"]),
        ({"usage": "key_encipherment"}, ["SW-CERT-KEY-USAGE"]),
        ({"usage": None}, ["SW-CERT-KEY-USAGE"]),
        ({"ca": True, "usage": "digital_signature key_cert_sign"}, ["SW-CERT-IS-CA"]),
        ({"ca": True}, ["SW-CERT-IS-CA", "SW-CERT-KEY-USAGE"]),
        ({"without": "constraints"}, []),
    ],
)
def test_a_signers_certificate_is_for_signatures_and_no_authoritys(leaf: dict[str, Any], found: list[str]) -> None:
    assert codes(**leaf) == found


PURPOSES: list[tuple[list[str] | None, list[str], list[str], set[str]]] = [
    # leaf, CA, root -> what the path is good for
    ([CODE_SIGNING], [], [], {CODE_SIGNING}),
    ([CODE_SIGNING, SERVER], [], [], {CODE_SIGNING, SERVER}),
    ([], [], [], set()),
    ([ANY], [], [], set()),
    ([ANY, CODE_SIGNING], [], [], {CODE_SIGNING}),
    ([CODE_SIGNING], [CODE_SIGNING], [CODE_SIGNING], {CODE_SIGNING}),
    ([CODE_SIGNING], [ANY], [], {CODE_SIGNING}),
    ([CODE_SIGNING], [TIME_STAMPING], [], set()),
    ([CODE_SIGNING], [CODE_SIGNING], [TIME_STAMPING], set()),
    ([CODE_SIGNING, SERVER], [SERVER, TIME_STAMPING], [], {SERVER}),
    ([], [CODE_SIGNING], [], set()),
]


@pytest.mark.parametrize(("leaf", "ca", "root", "good"), PURPOSES)
def test_a_path_is_good_for_what_its_leaf_says_and_every_authority_allows(
    leaf: list[str], ca: list[str], root: list[str], good: set[str]
) -> None:
    top = made("root", ca=True, purposes=root)
    below = made("CA", top, ca=True, purposes=ca)
    last = made("signer", below, purposes=leaf)
    path = (last.certificate, below.certificate, top.certificate)
    assert purposes_of(path) == good


def test_policies_are_read_as_dotted_numbers() -> None:
    policies = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in ("1.2.3", "2.5.29.32.0")]
    one = made("signer", extra=[(x509.CertificatePolicies(policies), False)])
    assert policy_oids(one.certificate) == {"1.2.3", "2.5.29.32.0"}
    assert policy_oids(made("signer").certificate) == frozenset()


def test_a_certificate_is_named_by_what_its_issuer_signed_and_a_key_by_itself() -> None:
    one = chain()
    again = load_certificate(one.leaf.der, "again")
    assert tbs_digest(again) == Digest.of(one.leaf.certificate.tbs_certificate_bytes)
    renewed = made("signer", one.ca, key=one.leaf.key).certificate
    assert spki_digest(renewed) == spki_digest(again)
    assert tbs_digest(renewed) != tbs_digest(again)
    # ECDSA signatures are malleable: the same certificate with s replaced by n - s
    twisted = load_certificate(_twisted(one.leaf.der), "twisted")
    assert twisted != again
    assert tbs_digest(twisted) == tbs_digest(again)
    assert facts(twisted) == facts(again)
    at = datetime(2026, 11, 1, tzinfo=UTC)
    found = find_path(twisted, [one.ca.certificate], [one.root.certificate], at, Strictness.OURS)
    assert isinstance(found, Path)


def _twisted(der: bytes) -> bytes:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    old = x509.load_der_x509_certificate(der).signature
    r, s = decode_dss_signature(old)
    new = encode_dss_signature(r, order - s)
    grown = len(new) - len(old)
    head = der[: -len(old)]
    head = head[:-2] + bytes([head[-2] + grown]) + head[-1:]
    size = int.from_bytes(head[2:4], "big") + grown
    return head[:2] + size.to_bytes(2, "big") + head[4:] + new


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_no_shortened_certificate_is_one_and_no_change_ends_in_anything_but_a_typed_error(key: Any) -> None:
    der = made("signer", key=key).der
    assert load_certificate(der, "signer")
    for cut in truncations(der):
        with pytest.raises(MalformedEnvelope):
            load_certificate(cut, "signer")
    for _, changed in flips(der):
        _read_all(changed)


def _read_all(der: bytes) -> bool:
    """Everything the verify path asks of a certificate; False where the door refused it."""
    try:
        one = load_certificate(der, "file")
    except SealwrightError as refusal:
        assert refusal.subject == "file"  # noqa: PT017
        return False
    facts(one)
    chain_findings([one])
    purposes_of((one,))
    same_subject(one, "CN=signer")
    find_path(one, [one], [one], datetime(2020, 1, 1, tzinfo=UTC), Strictness.FOREIGN)
    return True


def _odd_certificates() -> list[bytes]:
    found = []
    for path in sorted(VECTORS.glob("*")) + sorted((VECTORS / "custom").rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        blocks = re.findall(rb"-----BEGIN [^-]*CERTIFICATE-----(.*?)-----END", data, re.DOTALL)
        found += [base64.b64decode(block, validate=False) for block in blocks if b":" not in block] or [data]
    return found


@pytest.mark.filterwarnings("ignore")
def test_no_odd_certificate_of_others_ends_in_anything_but_a_typed_error() -> None:
    read = [_read_all(der) for der in _odd_certificates()]
    assert sum(read) > 60
    assert read.count(False) > 30


def test_a_certificate_is_at_most_64_kib() -> None:
    long = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.2"), bytes(64 * 1024))
    with pytest.raises(MalformedEnvelope, match="bytes"):
        load_certificate(made("signer", extra=[(long, False)]).der, "signer")


def test_a_name_is_shown_as_rfc_4514_writes_it() -> None:
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "ACME, Söhne"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Release+2026 "),
        ]
    )
    shown = "CN=Release\\+2026\\ ,O=ACME\\, Söhne,C=DE"
    assert display_name(subject) == shown
    assert same_subject(made("", subject=subject).certificate, shown)


QUIET = """
import sys, warnings
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sealwright.trust.certificate import facts, load_certificate

ders = [x509.load_pem_x509_certificate(open(path, "rb").read()).public_bytes(Encoding.DER)
        for path in sys.argv[1:]]
print("ours", file=sys.stderr)
for der in ders:
    facts(load_certificate(der, "odd"))
print("theirs", file=sys.stderr)
for der in ders:
    x509.load_der_x509_certificate(der).subject
    x509.load_der_x509_certificate(der).serial_number
warnings.warn("the caller's own")
"""


def test_the_library_is_quiet_about_odd_certificates_and_its_callers_warnings_stay() -> None:
    custom = VECTORS / "custom"
    odd = [str(custom / name) for name in ("negative_serial.pem", "bad_country.pem")]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", QUIET, *odd], capture_output=True, text=True, check=True
    )
    ours, theirs = done.stderr.partition("ours\n")[2].split("theirs\n")
    assert ours == ""
    for said in ("Parsed a serial number", "Attribute's length", "the caller's own"):
        assert said in theirs
