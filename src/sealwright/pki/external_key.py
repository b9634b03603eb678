"""A key of any backend where `cryptography` wants a private key: to sign certificates, requests and CRLs.

`cryptography`'s builders ask a private key for its public key and for one signature; these adapters pass both on to an
`OpenKey` and offer nothing else. Tried with ECDSA, RSA and Ed25519; a builder that asks for more gets a KeyRefused.
"""

from __future__ import annotations

from typing import NoReturn, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric import utils as asymmetric_utils
from cryptography.hazmat.primitives.asymmetric.padding import PSS, AsymmetricPadding

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import Scheme, hash_of, rsa_padding
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused
from sealwright.keys.key import OpenKey


class _External:
    """What the three adapters share: the key, and a refusal of everything but signing."""

    def __init__(self, key: OpenKey) -> None:
        self._key = key

    def _sign(self, data: bytes) -> bytes:
        algorithm = self._key.info.algorithm
        if algorithm.signs_message:
            return self._key.sign([ToBeSigned(Kind.MESSAGE, data, algorithm)])[0]
        return self._key.sign([ToBeSigned(Kind.DIGEST, Digest.of(data, algorithm.digest).value, algorithm)])[0]

    def _refuse(self) -> NoReturn:
        raise KeyRefused(self._key.info.uri, "this private key only signs", "Use it for signing.")

    def private_numbers(self) -> NoReturn:
        """Never: the key stays where it is."""
        self._refuse()

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        """Never: the key stays where it is."""
        self._refuse()

    def private_bytes_raw(self) -> NoReturn:
        """Never: the key stays where it is."""
        self._refuse()

    def __copy__(self) -> NoReturn:
        self._refuse()

    def __deepcopy__(self, _: object) -> NoReturn:
        self._refuse()


class ExternalEcKey(_External, ec.EllipticCurvePrivateKey):
    """An ECDSA key elsewhere."""

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]
        """Sign a message with the key's own digest."""
        if isinstance(signature_algorithm.algorithm, asymmetric_utils.Prehashed):
            self._refuse()
        return self._sign(data)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        return cast("ec.EllipticCurvePublicKey", self._key.info.public_key)

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve."""
        return self.public_key().curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self.public_key().key_size

    def exchange(self, *_: object) -> NoReturn:
        """Never."""
        self._refuse()


class ExternalRsaKey(_External, rsa.RSAPrivateKey):
    """An RSA key elsewhere."""

    def sign(  # type: ignore[override]
        self, data: bytes, padding: AsymmetricPadding, algorithm: hashes.HashAlgorithm
    ) -> bytes:
        """Sign a message; digest and padding must be the ones the key is enrolled for."""
        enrolled = self._key.info.algorithm
        if isinstance(padding, PSS) is not (enrolled.scheme is Scheme.RSA_PSS) or algorithm.name != enrolled.digest:
            self._refuse()
        return self._sign(data)

    def public_key(self) -> rsa.RSAPublicKey:
        """The public key."""
        return cast("rsa.RSAPublicKey", self._key.info.public_key)

    @property
    def key_size(self) -> int:
        """Bits."""
        return self.public_key().key_size

    def decrypt(self, *_: object) -> NoReturn:
        """Never."""
        self._refuse()


class ExternalEd25519Key(_External, ed25519.Ed25519PrivateKey):
    """An Ed25519 key elsewhere."""

    def sign(self, data: bytes) -> bytes:  # type: ignore[override]
        """Sign a message."""
        return self._sign(data)

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """The public key."""
        return cast("ed25519.Ed25519PublicKey", self._key.info.public_key)


External = ExternalEcKey | ExternalRsaKey | ExternalEd25519Key


def external_key(key: OpenKey) -> External:
    """The adapter for an open key; KeyRefused for ML-DSA, whose certificates cannot be built this way."""
    match key.info.algorithm.scheme:
        case Scheme.ECDSA:
            return ExternalEcKey(key)
        case Scheme.RSA_PKCS1 | Scheme.RSA_PSS:
            return ExternalRsaKey(key)
        case Scheme.ED25519:
            return ExternalEd25519Key(key)
    raise KeyRefused(
        key.info.uri,
        "an authority with an ML-DSA key is not supported",
        "Use an ECDSA or RSA key to issue certificates.",
    )


def signature_hash(key: OpenKey) -> hashes.HashAlgorithm | None:
    """The digest a builder is told: the key's own, None for Ed25519."""
    algorithm = key.info.algorithm
    return None if algorithm.signs_message else hash_of(algorithm.digest)


def signature_padding(key: OpenKey) -> PSS | None:
    """The padding a builder is told: that of a key enrolled for RSA-PSS, None for every other."""
    padding = rsa_padding(key.info.algorithm)
    return padding if isinstance(padding, PSS) else None
