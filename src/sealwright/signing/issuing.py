"""Which key of a home issues, and the register beside it: what every certificate of a home's own authorities goes through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from sealwright.envelope.algorithms import key_digest
from sealwright.errors import UsageError
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.pki.authority import Issuer
from sealwright.pki.profiles import INTERMEDIATE, PROFILES, ROOT, Profile
from sealwright.signing.home import REGISTER, EnrolledKey, Home, KeyPurpose
from sealwright.signing.issued import Inventory, Issued, read_register
from sealwright.signing.register import Register
from sealwright.trust.certificate import load_certificate


def authority_of(home: Home, name: str | None, profile: Profile, now: datetime) -> EnrolledKey:
    """The key that issues: the one named, else the newest authority of the home that may issue this and has not ended."""
    keys = [key for key in home.keys if key.purpose is KeyPurpose.CERTIFICATES]
    if name is not None:
        for key in keys:
            if key.name == name:
                return key
        known = ", ".join(key.name for key in keys) or "none"
        raise UsageError(f"authority {name}", f"it is not enrolled in {home.folder}", f"Its authorities: {known}.")
    fitting = [key for key in keys if _may_issue(key, profile, now)]
    if not fitting:
        raise UsageError(
            home.folder,
            f"none of its authorities may issue a {profile.name} certificate now",
            "Name one with --authority, or use `sealwright key csr` and your company's PKI.",
        )
    return next((key for key in reversed(fitting) if profile.is_authority or path_length(key) == 0), fitting[-1])


def _may_issue(key: EnrolledKey, profile: Profile, now: datetime) -> bool:
    certificate = load_certificate(key.certificate, key.name)
    length = path_length(key)
    ended = certificate.not_valid_after_utc <= now or (key.signs_until is not None and key.signs_until < now)
    return not ended and not (profile.is_authority and length == 0)


def chain_below(authority: EnrolledKey) -> tuple[bytes, ...]:
    """The path above what an authority issues, without the root."""
    above = load_certificate(authority.certificate, authority.name)
    return () if above.subject == above.issuer else (authority.certificate, *authority.chain)


def path_length(key: EnrolledKey) -> int | None:
    """How many authorities may stand below it; None for any number, or for what is no authority."""
    certificate = load_certificate(key.certificate, key.name)
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


@contextmanager
def opened(home: Home, authority: EnrolledKey, pin: Pin | None) -> Iterator[tuple[Register, Issuer]]:
    """The register, locked, and the authority's key, open."""
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        key = open_key(home.uri(authority), pin, algorithm=authority.algorithm, expected=authority.public_key)
        with closing(key):
            yield register, Issuer(key, authority.certificate)


def adopt(home: Home, register: Register) -> None:
    """Certificates that this home's authorities issued before there was a register are taken into it, once."""
    for one in _before_the_register(home, register.inventory):
        register.adopt(one.certificate, one.issuer, one.profile, one.at)


def inventory_of(home: Home) -> Inventory:
    """The register and what `adopt` would take into it, for whoever only reads: without a lock, and without a change."""
    inventory = read_register(home.path(REGISTER))
    inventory.issued |= {(one.issuer, one.serial): one for one in _before_the_register(home, inventory)}
    return inventory


def _before_the_register(home: Home, inventory: Inventory) -> Iterator[Issued]:
    authorities = {
        key_digest(key.public_key): load_certificate(key.certificate, key.name)
        for key in home.keys
        if key.purpose is KeyPurpose.CERTIFICATES
    }
    for key in home.keys:
        certificate = load_certificate(key.certificate, key.name)
        for by, above in authorities.items():
            if (by, certificate.serial_number) in inventory.issued or certificate.issuer != above.subject:
                continue
            if issued_by(certificate, above):
                at = certificate.not_valid_before_utc
                yield Issued(certificate.serial_number, by, key.certificate, _profile_of(key), at)


def issued_by(certificate: x509.Certificate, above: x509.Certificate) -> bool:
    """Whether the signature of a certificate is that of another one's key."""
    try:
        certificate.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _profile_of(key: EnrolledKey) -> str:
    certificate = load_certificate(key.certificate, key.name)
    if key.purpose is KeyPurpose.CERTIFICATES:
        return ROOT.name if certificate.subject == certificate.issuer else INTERMEDIATE.name
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        purposes = tuple(oid.dotted_string for oid in usage)
    except x509.ExtensionNotFound:
        purposes = ()
    return next((one.name for one in PROFILES.values() if one.purposes == purposes and not one.is_authority), "person")
