"""A PKI for tests: any chain, purpose, validity and revocation in one readable call; a clock that is always an argument.

pki = Pki.make()
signer = pki.leaf("release", purposes=[UPDATE_PACKAGE_SIGNING])
data = p7s(signer, b"firmware", at=NOW)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms_write import (
    SigningCertificate,
    assemble,
    signed_attributes,
    signing_certificate,
    to_be_signed,
)
from sealwright.envelope.kinds import KINDS, Construction, ContentKind
from sealwright.keys.file import FileKey, generate
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.crl import Revoked, make_crl
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, PERSON, ROOT, TIMESTAMP_AUTHORITY, Profile
from sealwright.pki.timestamp import Imprint, LocalAuthority

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
CLAIMED = Provenance.HARDWARE_CLAIMED


def soft_key(kind: KeyKind = KeyKind.P256, provenance: Provenance = CLAIMED) -> FileKey:
    """A key in memory that behaves like an open key of a backend."""
    private = generate(kind)
    return FileKey(KeyInfo(f"test:{kind}", private.public_key(), kind.algorithm, provenance, "memory"), private)


@dataclass(frozen=True)
class Signer:
    """A certificate with its key and the path above it."""

    certificate: bytes
    chain: tuple[bytes, ...]
    key: FileKey

    @property
    def x509(self) -> x509.Certificate:
        """The certificate, loaded."""
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def key_digest(self) -> str:
        """The key as pins and persons name it."""
        return str(key_digest(self.key.info.public_key))

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.x509.public_bytes(Encoding.PEM).decode()

    @property
    def signing(self) -> SigningCertificate:
        """Ready for `cms_write`."""
        return signing_certificate(self.certificate, self.chain, self.key.info.algorithm)


@dataclass
class Pki:
    """Root, intermediate, and what they issued and revoked."""

    root: Signer
    intermediate: Signer
    provenance: Provenance
    revoked: list[Revoked] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        name: str = "ACME",
        provenance: Provenance = CLAIMED,
        at: datetime = NOW - 30 * DAY,
        kind: KeyKind = KeyKind.P256,
    ) -> Pki:
        """A root and an intermediate, made a month before NOW."""
        key = soft_key(kind, provenance)
        root = Signer(
            issue(ROOT, Subject(f"{name} root", name), key.info.public_key, Issuer(key), at, provenance), (), key
        )
        below = soft_key(kind, provenance)
        der = issue(
            INTERMEDIATE,
            Subject(f"{name} CA", name),
            below.info.public_key,
            Issuer(key, root.certificate),
            at,
            provenance,
        )
        return cls(root, Signer(der, (), below), provenance)

    def leaf(
        self,
        name: str = "release",
        *,
        profile: Profile = CODE_SIGNER,
        purposes: Sequence[str] | None = None,
        days: int | None = None,
        at: datetime = NOW - 10 * DAY,
        kind: KeyKind = KeyKind.P256,
        provenance: Provenance | None = None,
        key: FileKey | None = None,
        construction: Construction = Construction.CMS_ATTRIBUTES,
    ) -> Signer:
        """A certificate of the intermediate."""
        if purposes is not None:
            profile = replace(profile, purposes=tuple(purposes))
        if days is not None:
            profile = replace(profile, days=days)
        grade = provenance or self.provenance
        own = key or soft_key(kind, grade)
        issuer = Issuer(self.intermediate.key, self.intermediate.certificate)
        der = issue(profile, Subject(name, "ACME"), own.info.public_key, issuer, at, grade, construction)
        return Signer(der, (self.intermediate.certificate,), own)

    def below(self, profile: Profile, provenance: Provenance) -> Pki:
        """Another intermediate under the same root, of its own grade."""
        key = soft_key(provenance=provenance)
        issuer = Issuer(self.root.key, self.root.certificate)
        der = issue(profile, Subject("other CA", "ACME"), key.info.public_key, issuer, NOW - 30 * DAY, provenance)
        return Pki(self.root, Signer(der, (), key), provenance)

    def tsa(self, **how: object) -> Signer:
        """A timestamp authority."""
        return self.leaf("timestamps", profile=TIMESTAMP_AUTHORITY, **how)  # type: ignore[arg-type]

    def revoke(
        self, signer: Signer, date: datetime, reason: x509.ReasonFlags | None = None, invalid: datetime | None = None
    ) -> None:
        """Put a certificate on the list."""
        self.revoked.append(Revoked(signer.x509.serial_number, date, reason, invalid))

    def crl(
        self, this_update: datetime = NOW, *, number: int = 1, days: int = 30, issuer: Signer | None = None
    ) -> bytes:
        """The intermediate's list as it stands."""
        who = issuer or self.intermediate
        return make_crl(
            who.certificate,
            who.key,
            number=number,
            this_update=this_update,
            next_update=this_update + days * DAY,
            revoked=self.revoked,
        )


def person_key(kind: KeyKind = KeyKind.P256) -> Signer:
    """A person's self-signed certificate, as officers have."""
    key = soft_key(kind)
    return Signer(issue(PERSON, Subject("officer"), key.info.public_key, Issuer(key), NOW - DAY, CLAIMED), (), key)


def p7s(
    signer: Signer,
    data: bytes,
    *,
    kind: str = "file",
    at: datetime = NOW,
    tsa: Signer | None = None,
    stamped: datetime | None = None,
) -> bytes:
    """A signature file over the data, with a timestamp token where an authority is named."""
    made = signer.signing
    content = KINDS.get(kind, ContentKind(kind))
    attributes = signed_attributes(made, content, Digest.of(data, made.algorithm.digest), at)
    value = signer.key.sign([to_be_signed(attributes, made.algorithm)])[0]
    tokens = [token(tsa, value, stamped or at)] if tsa is not None else []
    return assemble(made, content, attributes, value, tokens)


def token(tsa: Signer, value: bytes, at: datetime = NOW) -> bytes:
    """A timestamp token over a signature value."""
    return token_over(tsa, Digest.of(value), at)


def token_over(tsa: Signer, imprint: Digest, at: datetime = NOW) -> bytes:
    """A timestamp token over whatever has the digest."""
    return LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: at).tokens([Imprint(imprint)])[0]
