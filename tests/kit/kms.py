"""AWS KMS for tests: a small client that signs a digest as the real service does (moto hashes it once more), and its failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped,unused-ignore]
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.envelope.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.keys.file import PrivateKey, generate, raw_signature
from sealwright.keys.key import KeyKind

ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SPECS = {
    KeyKind.P256: "ECC_NIST_P256",
    KeyKind.P384: "ECC_NIST_P384",
    KeyKind.P521: "ECC_NIST_P521",
    KeyKind.RSA3072: "RSA_3072",
    KeyKind.RSA3072_PSS: "RSA_3072",
}
_NAMES = {Scheme.ECDSA: "ECDSA_SHA_", Scheme.RSA_PKCS1: "RSASSA_PKCS1_V1_5_SHA_", Scheme.RSA_PSS: "RSASSA_PSS_SHA_"}


def wrong(code: str, operation: str = "Sign") -> ClientError:
    """An answer of the service that is an error."""
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


# the service's own names of arguments
# ruff: noqa: N803
class FakeKms:
    """The four calls that are used, answered as the documents of the service say. about: changes of the key's metadata."""

    def __init__(self, kind: KeyKind, **about: object) -> None:
        self.private: PrivateKey = generate(kind)
        self.about: dict[str, object] = {
            "Arn": ARN,
            "KeyState": "Enabled",
            "KeySpec": SPECS[kind],
            "KeyUsage": "SIGN_VERIFY",
            "KeyManager": "CUSTOMER",
            "Origin": "AWS_KMS",
            "MultiRegion": False,
            **about,
        }
        self.asked = 0
        self.before: Callable[[int], None] = lambda number: None
        self.closed = False

    def describe_key(self, *, KeyId: str) -> dict[str, Any]:
        return {"KeyMetadata": dict(self.about)}

    def get_public_key(self, *, KeyId: str) -> dict[str, Any]:
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {"KeyId": KeyId, "PublicKey": der}

    def sign(self, *, KeyId: str, Message: bytes, MessageType: str, SigningAlgorithm: str) -> dict[str, Any]:
        assert MessageType == "DIGEST"
        self.asked += 1
        self.before(self.asked)
        algorithm = named(SigningAlgorithm)
        value = raw_signature(self.private, ToBeSigned(Kind.DIGEST, Message, algorithm))
        return {"KeyId": KeyId, "Signature": value, "SigningAlgorithm": SigningAlgorithm}

    def close(self) -> None:
        self.closed = True


def named(name: str) -> SignatureAlgorithm:
    """The algorithm that the service calls so."""
    for one in ALGORITHMS:
        if one.scheme in _NAMES and _NAMES[one.scheme] + one.digest.value.removeprefix("sha") == name:
            return one
    raise wrong("ValidationException")
