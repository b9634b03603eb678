"""Signature algorithms against the vectors of NIST and the IETF: FIPS 186, ACVP's ML-DSA, RFC 8032, RFC 9882."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import (
    ALGORITHMS,
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    ML_DSA_44,
    ML_DSA_65,
    ML_DSA_87,
    RSA_SHA256,
    RSA_SHA384,
    RSA_SHA512,
    SignatureAlgorithm,
    check_digest_signature,
    check_signature,
)
from sealwright.envelope.asn1 import der, tlv
from sealwright.envelope.cms import BrokenSigner, Profile, Signer, check_signer, read_envelope
from sealwright.errors import BadSignature, ContentChanged, MalformedEnvelope, SealwrightError

VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"
HERE = Path(__file__).parent / "vectors"
HASHES = {"SHA256": 0, "SHA-256": 0, "SHA384": 1, "SHA-384": 1, "SHA512": 2, "SHA-512": 2}


def verifies(key: object, algorithm: SignatureAlgorithm, signature: bytes, message: bytes) -> bool:
    """Our verdict; over the digest it must be the same."""
    try:
        check_signature(key, algorithm, signature, message, subject="vector")
        good = True
    except BadSignature:
        good = False
    if not algorithm.signs_message:
        try:
            check_digest_signature(key, algorithm, signature, Digest.of(message, algorithm.digest), subject="vector")
            assert good
        except BadSignature:
            assert not good
    return good


def records(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(section, fields) of a NIST response file; a field that comes once for many records stays."""
    section, fields = "", dict[str, str]()
    for line in path.read_text().splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text.strip("[]")
            fields = {}
        elif "=" in text and not text.startswith("#"):
            name, _, value = text.partition("=")
            fields[name.strip()] = value.strip()
            if name.strip() == "Result":
                yield section, dict(fields)


CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


def test_ecdsa_verdicts_are_those_of_nist() -> None:
    ecdsa = (ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512)
    seen = {True: 0, False: 0}
    for section, fields in records(VECTORS / "ECDSA" / "FIPS_186-3" / "SigVer.rsp"):
        curve, _, used = section.partition(",")
        if curve not in CURVES or used not in HASHES:
            continue
        public = ec.EllipticCurvePublicNumbers(int(fields["Qx"], 16), int(fields["Qy"], 16), CURVES[curve])
        value = der(0x30, asn1.encode_der(int(fields["R"], 16)) + asn1.encode_der(int(fields["S"], 16)))
        wanted = fields["Result"].startswith("P")
        try:
            found = verifies(public.public_key(), ecdsa[HASHES[used]], value, bytes.fromhex(fields["Msg"]))
        except ValueError:  # the point is not on the curve: such a certificate cannot even be read
            found = False
        assert found is wanted, fields
        seen[wanted] += 1
    assert seen == {True: 27, False: 108}


def test_rsa_pkcs1_verdicts_are_those_of_nist() -> None:
    pkcs1 = (RSA_SHA256, RSA_SHA384, RSA_SHA512)
    seen = {True: 0, False: 0}
    for section, fields in records(VECTORS / "RSA" / "FIPS_186-2" / "SigVer15_186-3.rsp"):
        used = fields["SHAAlg"]
        if used not in HASHES or int(section.removeprefix("mod = ")) < 2048:
            continue
        wanted = fields["Result"].startswith("P")
        try:
            key = rsa.RSAPublicNumbers(int(fields["e"], 16), int(fields["n"], 16)).public_key()
        except ValueError:
            assert not wanted
            continue
        found = verifies(key, pkcs1[HASHES[used]], bytes.fromhex(fields["S"]), bytes.fromhex(fields["Msg"]))
        assert found is wanted, fields
        seen[wanted] += 1
    assert seen == {True: 27, False: 135}


def test_ed25519_accepts_every_vector_of_its_authors_and_no_neighbour() -> None:
    lines = (VECTORS / "Ed25519" / "sign.input").read_text().splitlines()
    assert len(lines) == 1024
    for line in lines[::8]:
        _, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key, value = ed25519.Ed25519PublicKey.from_public_bytes(public), signed[:64]
        assert verifies(key, ED25519, value, message)
        assert not verifies(key, ED25519, value, message + b"\0")
        order = 2**252 + 27742317777372353535851937790883648493
        scalar = int.from_bytes(value[32:], "little") + order
        assert not verifies(key, ED25519, value[:32] + scalar.to_bytes(32, "little"), message)


ML_DSA = {
    44: (mldsa.MLDSA44PublicKey, ML_DSA_44),
    65: (mldsa.MLDSA65PublicKey, ML_DSA_65),
    87: (mldsa.MLDSA87PublicKey, ML_DSA_87),
}


@pytest.mark.parametrize("size", ML_DSA)
def test_ml_dsa_refuses_signatures_that_were_made_under_another_context(size: int) -> None:
    """The known answers carry a context; CMS signs with the empty one (RFC 9882), so none of them may verify here."""
    load, algorithm = ML_DSA[size]
    text = (VECTORS / "MLDSA" / f"kat_MLDSA_{size}_det_pure.rsp").read_text()
    count = 0
    for record in text.split("count = "):
        fields = dict(line.split(" = ", 1) for line in record.splitlines() if " = " in line)
        if not fields.get("ctx"):
            continue
        count += 1
        key = load.from_public_bytes(bytes.fromhex(fields["pk"]))
        message = bytes.fromhex(fields["msg"])
        value = bytes.fromhex(fields["sm"])[: -len(message) or None]
        key.verify(value, message, bytes.fromhex(fields["ctx"]))
        assert not verifies(key, algorithm, value, message)
        if count == 10:
            break
    assert count == 10


def pem(name: str) -> bytes:
    return base64.b64decode("".join((HERE / name).read_text().split("-----")[2].split()))


@pytest.mark.parametrize("size", ML_DSA)
def test_the_examples_of_rfc_9882_are_accepted_with_the_certificates_of_rfc_9881(size: int) -> None:
    """Appendix B's examples name their certificate and leave it out; it is put into the bag, which nothing signs."""
    data = pem(f"rfc9882-ml-dsa-{size}.pem")
    info = asn1.decode_der(types.ContentInfo, data)
    info.content.certificates = [tlv(pem(f"rfc9881-ml-dsa-{size}.pem"))]
    whole = asn1.encode_der(info)
    envelope = read_envelope(whole, Profile.FOREIGN_CMS, "example")
    (signer,) = envelope.signers
    assert isinstance(signer, Signer)
    assert envelope.content == f"ML-DSA-{size} signed-data example with signed attributes".encode()
    delivered = {name: Digest.of(envelope.content, name) for name in HashName}
    check_signer(signer, delivered, "file", "example")
    assert signer.algorithm is ML_DSA[size][1]
    with pytest.raises(ContentChanged):
        check_signer(signer, {name: Digest.of(b"other", name) for name in HashName}, "file", "example")
    (missing,) = read_envelope(data, Profile.FOREIGN_CMS, "example").signers
    assert isinstance(missing, BrokenSigner)
    (strict,) = read_envelope(whole, Profile.OURS, "example").signers
    assert isinstance(strict, BrokenSigner)
    assert isinstance(strict.reason, MalformedEnvelope)
    at = whole.index(signer.signature)
    for offset in range(0, len(signer.signature), 97):
        changed = bytearray(whole)
        changed[at + offset] ^= 1
        (other,) = read_envelope(bytes(changed), Profile.FOREIGN_CMS, "example").signers
        assert isinstance(other, Signer)
        with pytest.raises(SealwrightError):
            check_signer(other, delivered, "file", "example")


def test_every_algorithm_has_its_own_name_and_identifier() -> None:
    assert len({a.name for a in ALGORITHMS}) == len(ALGORITHMS)
    assert len({(a.identifier, a.digest) for a in ALGORITHMS}) == len(ALGORITHMS)
    for algorithm in ALGORITHMS:
        assert asn1.encode_der(asn1.decode_der(asn1.TLV, algorithm.identifier)) == algorithm.identifier
