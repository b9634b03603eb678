"""Keys of a repository's roles: as clients of The Update Framework know them, and as a home of ours signs with them.

    with RoleSigners(home, pin, utc_now) as signers:
        (signature,) = signers.sign(key_id, [Payload("drives", 3, signed.signed_bytes)])

A key signs through the one pipeline: it is enrolled for roles alone (construction `tuf-metadata`), the intent is durable before it is
used, its backend verifies the value, the result is durable before the value leaves (RULES 2). One batch has one intent and one result
on disk, however many bins it signs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key, Signature, Signer, SSlibKey

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import (
    PublicKey,
    Scheme,
    SignatureAlgorithm,
    algorithm_for,
    check_encoding,
)
from sealwright.envelope.kinds import TUF
from sealwright.errors import KeyRefused, UsageError
from sealwright.formats.format import Coverage, Prepared
from sealwright.formats.role import role_product
from sealwright.keys.pin import Pin
from sealwright.pki.oids import CONSTRUCTIONS
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.pipeline import Pipeline
from sealwright.trust.certificate import policy_oids, public_key

MAX_KEY_BYTES = 64 << 10
_ECDSA = {
    HashName.SHA256: "ecdsa-sha2-nistp256",
    HashName.SHA384: "ecdsa-sha2-nistp384",
    HashName.SHA512: "ecdsa-sha2-nistp521",
}


@dataclass(frozen=True, slots=True)
class Payload:
    """What is signed of one role: its name, its version and its signed part in canonical JSON."""

    role: str
    version: int
    data: bytes


def role_key(public: PublicKey, algorithm: SignatureAlgorithm, subject: str) -> SSlibKey:
    """A public key with the scheme that it signs by; its id is the digest that TUF's own libraries give it.

    KeyRefused for a key that no client of The Update Framework verifies.
    """
    scheme = {
        Scheme.ECDSA: _ECDSA[algorithm.digest],
        Scheme.RSA_PKCS1: f"rsa-pkcs1v15-{algorithm.digest}",
        Scheme.RSA_PSS: f"rsassa-pss-{algorithm.digest}",
        Scheme.ED25519: "ed25519",
    }.get(algorithm.scheme)
    if scheme is None:
        raise KeyRefused(subject, f"no client of a repository reads {algorithm.name}", "Name a key of another type.")
    return SSlibKey.from_crypto(public, scheme=scheme)


def enrolled_role_key(enrolled: EnrolledKey) -> SSlibKey:
    """The same of an enrolled key; KeyRefused where it is enrolled for something else than roles."""
    if enrolled.purpose is not KeyPurpose.REPOSITORY:
        raise KeyRefused(
            f"key {enrolled.name}",
            f"it is enrolled for {enrolled.purpose}, not for roles of a repository",
            "Make one with `sealwright key enrol repository`.",
        )
    return role_key(enrolled.public_key, enrolled.algorithm, f"key {enrolled.name}")


def read_role_key(path: str) -> SSlibKey:
    """Somebody else's key, from a PEM file: the certificate that it was enrolled with, or the public key alone.

    KeyRefused for a certificate of a key that is enrolled for something else, UsageError for a file that is neither.
    """
    data = read_file(path, MAX_KEY_BYTES)
    try:
        if b"BEGIN CERTIFICATE" in data:
            certificate = x509.load_pem_x509_certificates(data)[0]
            if CONSTRUCTIONS[TUF.construction] not in policy_oids(certificate):
                raise KeyRefused(
                    path,
                    "its certificate is for another construction than roles of a repository",
                    "Name the certificate of a key made by `sealwright key enrol repository`.",
                )
            key = public_key(certificate)
        else:
            loaded = load_pem_public_key(data)
            algorithm_for(loaded, subject=path)
            key = loaded  # type: ignore[assignment]  # `algorithm_for` refuses whatever is none
            check_encoding(key, data, subject=path)
    except (ValueError, IndexError, UnsupportedAlgorithm) as cause:
        raise UsageError(
            path, "there is no certificate and no public key in it", "Name a PEM file with one."
        ) from cause
    return role_key(key, algorithm_for(key, subject=path), path)


class RoleKeys(Protocol):
    """Keys that sign roles, wherever they are."""

    @property
    def ids(self) -> frozenset[str]:
        """As clients know them."""
        ...

    def sign(self, key_id: str, payloads: Sequence[Payload]) -> list[Signature]:
        """One signature a payload, in order; recorded."""
        ...


class PublishingKeys(RoleKeys, Protocol):
    """Those of who publishes. home: in whose journal it is recorded what went out."""

    @property
    def home(self) -> Home: ...

    def close(self) -> None:
        """Give back what is open, that journal among it."""
        ...


class RoleSigners:
    """The keys of a home that sign roles, by their ids; each is opened when it signs, one at a time. Used by one thread, as a context
    manager."""

    def __init__(self, home: Home, pin: Pin | None, clock: Callable[[], datetime]) -> None:
        self.home = home
        self._pin = pin
        self._clock = clock
        enrolled = [key for key in home.keys if key.purpose is KeyPurpose.REPOSITORY]
        self._keys = {enrolled_role_key(key).keyid: key for key in enrolled}
        self._open: tuple[str, Pipeline] | None = None

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the keys that are here."""
        return frozenset(self._keys)

    def name_of(self, key_id: str) -> str:
        """What the home calls a key of its own."""
        return self._keys[key_id].name

    def sign(self, key_id: str, payloads: Sequence[Payload]) -> list[Signature]:
        """One signature a payload, in order; recorded. Raises what the pipeline raises."""
        pipeline = self._opened(key_id)
        made = pipeline.sign([prepared_role(one, pipeline.algorithm) for one in payloads], self._clock())
        return [Signature(key_id, one.value.hex()) for one in made]

    def signer(self, key_id: str, role: str, version: int) -> Signer:
        """One key for one role, as securesystemslib's users want it."""
        return RoleSigner(self, enrolled_role_key(self._keys[key_id]), role, version)

    def close(self) -> None:
        """Give back what is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def __enter__(self) -> RoleSigners:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, key_id: str) -> Pipeline:
        if self._open is not None and self._open[0] == key_id:
            return self._open[1]
        self.close()  # a home's journal has one writer
        pipeline = Pipeline(self.home, self._keys[key_id], self._pin)
        self._open = key_id, pipeline
        return pipeline


class RoleSigner(Signer):
    """A key of a home behind securesystemslib's interface; what it signs is recorded as of one role."""

    def __init__(self, signers: RoleSigners, key: SSlibKey, role: str, version: int) -> None:
        self._signers = signers
        self._key = key
        self._role = role
        self._version = version

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> Signer:
        """Always a ValueError: a key string names no home, and so no journal and no purpose."""
        del public_key, secrets_handler
        scheme = priv_key_uri.partition(":")[0]
        raise ValueError(
            f"a key of Sealwright ({scheme}:) signs from its home: RoleSigners(home, pin, clock).signer(…)"
        )

    @property
    def public_key(self) -> Key:
        """As the metadata lists it."""
        return self._key

    def sign(self, payload: bytes) -> Signature:
        """The signature over a signed part in canonical JSON."""
        return self._signers.sign(self._key.keyid, [Payload(self._role, self._version, payload)])[0]


def prepared_role(payload: Payload, algorithm: SignatureAlgorithm) -> Prepared:
    """What the pipeline signs of a role."""
    digests = {name: Digest.of(payload.data, name) for name in {HashName.SHA256, algorithm.digest}}
    size = len(payload.data)
    return Prepared(
        format=TUF.name,
        kind=TUF.name,
        path=payload.role,
        digests=digests,
        content=payload.data,
        size=size,
        coverage=Coverage.whole(size),
        claims=Claims(product=role_product(payload.role), version=str(payload.version)),
    )
