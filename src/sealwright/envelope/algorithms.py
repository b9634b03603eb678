"""Signature algorithms: one table for reading, writing, signing and verifying.

An AlgorithmIdentifier is matched whole against the exact DER encodings listed here; parameters are never interpreted,
so RSA-PSS with another salt, explicit defaults or SHA-1 is simply not in the table (RULES 1 and 3; `reference`:
RFC 5754, RFC 4055, RFC 8419, RFC 9882). The digest of a signature follows its key: P-256 and RSA SHA-256, P-384 SHA-384,
P-521, Ed25519 and ML-DSA SHA-512.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import BadSignature, WeakAlgorithm

MlDsaPublicKey = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | MlDsaPublicKey

MIN_RSA_BITS_TO_VERIFY = 2048
MIN_RSA_BITS_TO_SIGN = 3072
MAX_RSA_BITS = 8192


class Scheme(StrEnum):
    """The families of signature schemes."""

    ECDSA = "ecdsa"
    RSA_PKCS1 = "rsa-pkcs1"
    RSA_PSS = "rsa-pss"
    ED25519 = "ed25519"
    ML_DSA = "ml-dsa"


@dataclass(frozen=True, slots=True)
class SignatureAlgorithm:
    """One scheme with its digest. identifier: the DER AlgorithmIdentifier that is written; name: for people."""

    name: str
    scheme: Scheme
    digest: HashName
    identifier: bytes

    @property
    def signs_message(self) -> bool:
        """True where the key takes the whole message (Ed25519, ML-DSA) instead of its digest."""
        return self.scheme in (Scheme.ED25519, Scheme.ML_DSA)


def _pss(hash_arc: str, salt: str) -> bytes:
    # RFC 4055 section 3.1: hashAlgorithm and maskGenAlgorithm with NULL parameters, salt = digest length
    digest = f"300d0609608648016503040{hash_arc}0500"
    mgf = f"301a06092a864886f70d010108{digest}"
    params = bytes.fromhex(f"a00f{digest}a11c{mgf}a2030201{salt}")
    body = bytes.fromhex("06092a864886f70d01010a30") + bytes([len(params)]) + params
    return b"\x30" + bytes([len(body)]) + body


def _ml_dsa(arc: str) -> bytes:
    return bytes.fromhex(f"300b06096086480165030403{arc}")


_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
S256, S384, S512 = HashName.SHA256, HashName.SHA384, HashName.SHA512

ECDSA_SHA256 = SignatureAlgorithm("ECDSA with SHA-256", Scheme.ECDSA, S256, bytes.fromhex("300a06082a8648ce3d040302"))
ECDSA_SHA384 = SignatureAlgorithm("ECDSA with SHA-384", Scheme.ECDSA, S384, bytes.fromhex("300a06082a8648ce3d040303"))
ECDSA_SHA512 = SignatureAlgorithm("ECDSA with SHA-512", Scheme.ECDSA, S512, bytes.fromhex("300a06082a8648ce3d040304"))
RSA_SHA256 = SignatureAlgorithm("RSA PKCS#1 v1.5 with SHA-256", Scheme.RSA_PKCS1, S256, _RSA_ENCRYPTION)
RSA_SHA384 = SignatureAlgorithm("RSA PKCS#1 v1.5 with SHA-384", Scheme.RSA_PKCS1, S384, _RSA_ENCRYPTION)
RSA_SHA512 = SignatureAlgorithm("RSA PKCS#1 v1.5 with SHA-512", Scheme.RSA_PKCS1, S512, _RSA_ENCRYPTION)
PSS_SHA256 = SignatureAlgorithm("RSA-PSS with SHA-256", Scheme.RSA_PSS, S256, _pss("201", "20"))
PSS_SHA384 = SignatureAlgorithm("RSA-PSS with SHA-384", Scheme.RSA_PSS, S384, _pss("202", "30"))
PSS_SHA512 = SignatureAlgorithm("RSA-PSS with SHA-512", Scheme.RSA_PSS, S512, _pss("203", "40"))
ED25519 = SignatureAlgorithm("Ed25519", Scheme.ED25519, S512, bytes.fromhex("300506032b6570"))
ML_DSA_44 = SignatureAlgorithm("ML-DSA-44", Scheme.ML_DSA, S512, _ml_dsa("11"))
ML_DSA_65 = SignatureAlgorithm("ML-DSA-65", Scheme.ML_DSA, S512, _ml_dsa("12"))
ML_DSA_87 = SignatureAlgorithm("ML-DSA-87", Scheme.ML_DSA, S512, _ml_dsa("13"))

ALGORITHMS = (
    ECDSA_SHA256, ECDSA_SHA384, ECDSA_SHA512, RSA_SHA256, RSA_SHA384, RSA_SHA512,
    PSS_SHA256, PSS_SHA384, PSS_SHA512, ED25519, ML_DSA_44, ML_DSA_65, ML_DSA_87,
)  # fmt: skip

# What is read: the identifier that is written, and for RSA PKCS#1 also the SHA-2 signature OIDs (RULES 3, profile "ours").
_READ: dict[tuple[bytes, HashName], SignatureAlgorithm] = {(a.identifier, a.digest): a for a in ALGORITHMS} | {
    (bytes.fromhex(f"300d06092a864886f70d0101{arc}0500"), a.digest): a
    for arc, a in (("0b", RSA_SHA256), ("0c", RSA_SHA384), ("0d", RSA_SHA512))
}

DIGEST_IDENTIFIERS: dict[HashName, bytes] = {
    HashName.SHA256: bytes.fromhex("300b0609608648016503040201"),
    HashName.SHA384: bytes.fromhex("300b0609608648016503040202"),
    HashName.SHA512: bytes.fromhex("300b0609608648016503040203"),
}


def with_null(identifier: bytes) -> bytes:
    """A digest's AlgorithmIdentifier with NULL parameters, as older formats want it."""
    return b"\x30\x0d" + identifier[2:] + b"\x05\x00"


# Digest identifiers as read: parameters absent (written) or NULL.
READ_DIGESTS: dict[bytes, HashName] = {der: name for name, der in DIGEST_IDENTIFIERS.items()} | {
    with_null(der): name for name, der in DIGEST_IDENTIFIERS.items()
}


_HASHES: dict[HashName, hashes.HashAlgorithm] = {
    HashName.SHA256: hashes.SHA256(),
    HashName.SHA384: hashes.SHA384(),
    HashName.SHA512: hashes.SHA512(),
}
_ECDSA = {name: ec.ECDSA(used) for name, used in _HASHES.items()}
_CURVES = {"secp256r1": ECDSA_SHA256, "secp384r1": ECDSA_SHA384, "secp521r1": ECDSA_SHA512}
_ML_DSA_KEYS: tuple[tuple[type, SignatureAlgorithm], ...] = (
    (mldsa.MLDSA44PublicKey, ML_DSA_44),
    (mldsa.MLDSA65PublicKey, ML_DSA_65),
    (mldsa.MLDSA87PublicKey, ML_DSA_87),
)


def algorithm_for(key: object, *, subject: str) -> SignatureAlgorithm:
    """The algorithm a key signs with by default; WeakAlgorithm for a key type, size or curve outside the table.

    RSA keys get PKCS#1 v1.5 with SHA-256; RSA-PSS is chosen at enrolment (`PSS_SHA256`).
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        raise WeakAlgorithm(subject, f"curve {key.curve.name}", "Use P-256, P-384 or P-521.")
    if isinstance(key, rsa.RSAPublicKey):
        check_rsa(key, subject=subject)
        return RSA_SHA256
    if isinstance(key, ed25519.Ed25519PublicKey):
        return ED25519
    for kind, algorithm in _ML_DSA_KEYS:
        if isinstance(key, kind):
            return algorithm
    raise WeakAlgorithm(subject, f"key type {type(key).__name__}", "Use ECDSA, RSA, Ed25519 or ML-DSA.")


def check_rsa(key: rsa.RSAPublicKey, *, subject: str, minimum_bits: int = MIN_RSA_BITS_TO_VERIFY) -> None:
    """WeakAlgorithm if the modulus is too short, too long, even or made as ROCA's, or the exponent below 65537 or even (A007, A010)."""
    numbers = key.public_numbers()
    if not minimum_bits <= key.key_size <= MAX_RSA_BITS:
        raise WeakAlgorithm(subject, f"RSA key of {key.key_size} bits", f"Use {minimum_bits} to {MAX_RSA_BITS} bits.")
    if numbers.n % 2 == 0 or numbers.e < 65537 or numbers.e % 2 == 0 or numbers.e >= 2**64:
        raise WeakAlgorithm(subject, f"RSA public exponent {numbers.e}", "Use the exponent 65537.")
    if all(numbers.n % prime in residues for prime, residues in _roca()):
        raise WeakAlgorithm(
            subject,
            "its RSA key was made by the library that CVE-2017-15361 (ROCA) is about: its private key can be computed",
            "Make a new key, and deny this one in the trust file.",
        )


@lru_cache(maxsize=1)
def _roca() -> tuple[tuple[int, frozenset[int]], ...]:
    """For each small prime the remainders of 65537's powers: both factors of such a modulus, and so itself, are among them.

    Nemec and others, The Return of Coppersmith's Attack (CCS 2017), section 2. One other key in about 2**28 looks the same.
    """
    primes = [n for n in range(3, 168) if all(n % d for d in range(2, int(n**0.5) + 1))]
    return tuple((prime, frozenset(pow(65537, power, prime) for power in range(prime - 1))) for prime in primes)


def agreed_algorithm(
    identifier: bytes, digest: HashName, own: SignatureAlgorithm, *, subject: str
) -> SignatureAlgorithm:
    """The algorithm of a received signature, agreed by its identifier, its digest and the signer's key.

    own: what `algorithm_for` says of the key. Raises WeakAlgorithm if the three do not belong together or are not in the
    table.
    """
    algorithm = _READ.get((identifier, digest))
    if algorithm is None:
        raise WeakAlgorithm(
            subject,
            f"signature algorithm {identifier.hex()[:80]} with {digest}",
            "Ask the signer for a SHA-2 signature.",
        )
    if not belongs(own, algorithm):
        raise WeakAlgorithm(
            subject, f"{algorithm.name} with a key for {own.name}", "Ask the signer for the file again."
        )
    return algorithm


def belongs(own: SignatureAlgorithm, algorithm: SignatureAlgorithm) -> bool:
    """Whether a key signs with an algorithm. own: what `algorithm_for` says of the key.

    ECDSA may be paired with any SHA-2 by others; ML-DSA names its parameter set in the identifier.
    """
    fits = own.scheme is algorithm.scheme or (own is RSA_SHA256 and algorithm.scheme is Scheme.RSA_PSS)
    return fits and (own.scheme is not Scheme.ML_DSA or own is algorithm)


def check_signature(
    key: object, algorithm: SignatureAlgorithm, signature: bytes, message: bytes, *, subject: str
) -> None:
    """Verify over the message; BadSignature if it does not fit. The key was accepted by `algorithm_for` before."""
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, _ECDSA[algorithm.digest])
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, rsa_padding(algorithm), _HASHES[algorithm.digest])
        else:
            key.verify(signature, message)  # type: ignore[attr-defined]
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as cause:
        raise BadSignature(
            subject, "the signature does not fit the signed bytes and the signer's key", _AGAIN
        ) from cause


def check_digest_signature(
    key: object, algorithm: SignatureAlgorithm, signature: bytes, digest: Digest, *, subject: str
) -> None:
    """Verify over a digest computed elsewhere; BadSignature if it does not fit. For Ed25519 the digest is the message (MCUboot)."""
    prehashed = Prehashed(_HASHES[algorithm.digest])
    try:
        if isinstance(key, ed25519.Ed25519PublicKey) and algorithm is ED25519:
            key.verify(signature, digest.value)
        elif digest.algorithm is not algorithm.digest:
            raise InvalidSignature
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest.value, ec.ECDSA(prehashed))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest.value, rsa_padding(algorithm), prehashed)
        else:
            raise InvalidSignature
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as cause:
        raise BadSignature(subject, "the signature does not fit the digest and the key", _AGAIN) from cause


def hash_of(name: HashName) -> hashes.HashAlgorithm:
    """`cryptography`'s object for a digest."""
    return _HASHES[name]


def rsa_padding(algorithm: SignatureAlgorithm) -> padding.AsymmetricPadding:
    """The padding an RSA algorithm signs with: PKCS#1 v1.5, or PSS with MGF1 of the same hash and salt = hash length."""
    if algorithm.scheme is Scheme.RSA_PSS:
        used = _HASHES[algorithm.digest]
        return padding.PSS(padding.MGF1(used), used.digest_size)
    return padding.PKCS1v15()


def key_digest(key: PublicKey) -> Digest:
    """A key's identity: SHA-256 of its SPKI as we encode it (RULES 2)."""
    return Digest.of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def check_encoding(key: PublicKey, data: bytes, *, subject: str) -> None:
    """WeakAlgorithm where a key, which was read from this SPKI in DER or PEM, does not stand there as we write it (RULES 2, A023).

    Libraries take a curve that is spelt out for the one that it equals; others would take it for another key, or take another curve.
    """
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if data != spki and b64encode(spki) not in b"".join(data.split()):
        raise WeakAlgorithm(
            subject,
            "its public key is in an encoding that is not accepted (explicit curve parameters, a compressed point)",
            "Write it with its curve's name: openssl ec -pubin -in FILE -pubout -param_enc named_curve -conv_form uncompressed",
        )


_AGAIN = "Fetch the file and its signature again from the signer; if it fails again, treat the file as altered."
