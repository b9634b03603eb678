"""What an officer does with the authorities of a home: certify, renew, replace, revoke, list (issue 5; RFC 5280).

An authority is a key of the home that is enrolled for certificates; everything goes through the register. Requests of others
come as PKCS#10 files and leave as PEM; keys of the home itself are renewed or replaced in place, and home.toml follows.

    renew     the same key, a new certificate: before the old one ends
    rekey     a new key beside the old one, which may sign until the overlap ends and then never again (A113)
    revoke    never taken back; hold and release suspend
    crl       the next full list, written to HOME/trust.d/AUTHORITY.crl, where verifiers' bundles are made from
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, NameOID

from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.envelope.algorithms import PublicKey, key_digest
from sealwright.envelope.kinds import Construction
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.pin import Pin
from sealwright.pki.authority import Issuer, Subject, Terms, is_development
from sealwright.pki.oids import CONSTRUCTIONS
from sealwright.pki.profiles import INTERMEDIATE, PROFILES, ROOT, Profile
from sealwright.pki.request import Request, check_request
from sealwright.signing.enrol import check_name, key_beside, new_key, relative_uri, save
from sealwright.signing.home import REGISTER, EnrolledKey, Home, KeyPurpose
from sealwright.signing.issued import Inventory, Issued
from sealwright.signing.issuing import adopt, authority_of, chain_below, inventory_of, issued_by, opened, path_length
from sealwright.signing.register import LOST, Order, Register
from sealwright.trust.belief import CRL_FOLDER
from sealwright.trust.certificate import load_certificate, policy_oids, spki_digest

OVERLAP = timedelta(days=30)
LIST_VALID = timedelta(days=30)
# What an authority may be limited by, and what is no limit though it is critical
_LIMITS = (
    ExtensionOID.NAME_CONSTRAINTS,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.POLICY_CONSTRAINTS,
    ExtensionOID.INHIBIT_ANY_POLICY,
)
_PLAIN = (ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE)
CROSS_SIGNED = replace(ROOT, name="cross-signed")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an officer says of a certificate beside the request. organisation, common_name: "" to take the request's.

    provenance: of the key, as the officer declares it or an attestation proved it; authority: name of the issuing key, None
    for the home's usual one.
    """

    profile: Profile
    provenance: Provenance
    terms: Terms = Terms()
    common_name: str = ""
    organisation: str = ""
    authority: str | None = None


def certify(home: Home, request: Request, wanted: Wanted, now: datetime, pin: Pin | None, source: str) -> Issued:
    """A certificate for a request. source: what its file is called. KeyRefused where it asks for more than its profile, or
    names another organisation than the authority's without the officer's word."""
    check_request(request, wanted.profile, wanted.terms.hosts, source)
    authority = authority_of(home, wanted.authority, wanted.profile, now)
    house = _organisation(authority)
    organisation = wanted.organisation or request.subject.organisation or house
    if organisation != house and not wanted.organisation:
        raise KeyRefused(
            source,
            f"it names the organisation {organisation!r}, the authority is of {house!r}",
            "If that is meant, say it: --organisation NAME",
        )
    subject = Subject(wanted.common_name or request.subject.common_name, organisation)
    terms = replace(wanted.terms, publication=home.publication)
    order = Order(wanted.profile, subject, request.public_key, wanted.provenance, terms=terms)
    with opened(home, authority, pin) as (register, issuer):
        return register.issue(order, issuer, now)


def renew(home: Home, wanted: str, now: datetime, pin: Pin | None, days: int | None = None) -> Issued:
    """A new certificate for the same key, name and profile; where the key is the home's own, home.toml names the new one.

    One that was broken off after the register had the certificate is finished by the next try. UsageError for one that is unknown, KeyRefused for one that is revoked or whose key has ended signing.
    """
    mine = next((key for key in home.keys if key.name == wanted), None)
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = _find(register.inventory, home, wanted)
    mine = mine or next((key for key in home.keys if key_digest(key.public_key) == one.key), None)
    if one.signs_until is not None and one.signs_until < now:
        raise KeyRefused(
            one.name, f"its key ended signing on {one.signs_until:%Y-%m-%d}", "Use the key that replaced it."
        )
    if mine is not None and mine.purpose in (KeyPurpose.TRUST, KeyPurpose.RECOVERY):
        raise UsageError(one.name, "an officer's certificate only carries the key and never ends", "Nothing to do.")
    order = _again(one, _provenance(mine, one), days, home)
    authority = issuer_of(home, one)
    with opened(home, authority, pin) as (register, issuer):
        own = issuer if key_digest(authority.public_key) != one.key else Issuer(issuer.key)
        unfinished = mine is not None and mine.certificate == one.certificate and days is None
        left = _broken_off(register, one, now) if unfinished else None
        renewed = left or register.issue(order, own, now)
    if mine is not None:
        save(home, replace(mine, certificate=renewed.certificate, chain=_chain(authority, renewed)))
    return renewed


def rekey(
    home: Home,
    name: str,
    new_name: str,
    now: datetime,
    pin: Pin | None,
    overlap: timedelta = OVERLAP,
    kind: KeyKind | None = None,
) -> EnrolledKey:
    """A new key of the home for the same purpose, beside the old one; the old one signs until `now + overlap`.

    new_name: what it is called; kind: of the key, None for the old one's algorithm. One that was broken off is finished by the
    next try with the same name. UsageError for a name that does not serve, KeyRefused where the old key has been revoked or is
    replaced already.
    """
    check_name(home, new_name)
    old = next((key for key in home.keys if key.name == name), None)
    if old is None:
        raise UsageError(f"key {name}", f"it is not enrolled in {home.folder}", "See `sealwright key list`.")
    if old.purpose in (KeyPurpose.TRUST, KeyPurpose.RECOVERY) or load_certificate(old.certificate, name).issuer == (
        load_certificate(old.certificate, name).subject
    ):
        raise UsageError(
            f"key {name}",
            "no authority of this home issued its certificate",
            "Officers change by a new trust file; a root by a ceremony.",
        )
    if old.signs_until is not None:
        raise KeyRefused(
            f"key {name}", f"it is replaced already, until {old.signs_until:%Y-%m-%d}", "Rekey its successor."
        )
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = _certificate_of(register.inventory, old)
    if one.end is not None and not one.on_hold:
        raise KeyRefused(one.name, f"it was revoked ({one.end.reason.value})", "Enrol a new key: sealwright key enrol")
    authority = issuer_of(home, one)
    info = new_key(
        home,
        key_beside(home, old, new_name),
        kind or _kind(old),
        pin,
        lambda made: (made.issuer, made.profile, made.name) == (one.issuer, one.profile, one.name),
    )
    before = _again(one, info.provenance, None, home)
    order = replace(before, public_key=info.public_key, renews=None, construction=old.construction)
    until = now + overlap
    with opened(home, authority, pin) as (register, issuer):
        made = register.inventory.of_key(key_digest(info.public_key))
        issued = made[-1] if made else register.issue(order, issuer, now)
        register.retire(register.inventory.issued[one.issuer, one.serial], now, until)
    new = replace(
        old,
        name=new_name,
        uri=relative_uri(home, info.uri),
        algorithm=kind.algorithm if kind is not None else old.algorithm,
        provenance=info.provenance,
        certificate=issued.certificate,
        chain=_chain(authority, issued),
    )
    save(home, replace(old, signs_until=until), new)
    return new


def revoke(
    home: Home,
    wanted: str,
    reason: x509.ReasonFlags,
    now: datetime,
    invalid: datetime | None = None,
    person: str = "",
) -> list[Issued]:
    """Revoke a certificate and every other one of its key; where it is superseded by a newer one of its key, it alone.

    wanted: serial, name, or a key of the home.
    """
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = _find(register.inventory, home, wanted)
        renewed = reason is x509.ReasonFlags.superseded and register.inventory.successors(one)
        others = [one] if renewed else register.inventory.of_key(one.key)
        worse = reason in LOST
        due = [
            other for other in others if other.end is None or other.on_hold or (worse and other.end.reason not in LOST)
        ]
        if not due:
            due = [one]  # whose revoking says why not
        return [register.revoke(other, now, reason, invalid=invalid, person=person) for other in due]


def suspend(home: Home, wanted: str, now: datetime, person: str = "") -> list[Issued]:
    """Hold a certificate, and every other one of its key that is good: whoever has the key has them all."""
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = _find(register.inventory, home, wanted)
        due = [other for other in register.inventory.of_key(one.key) if other.end is None] or [one]
        return [register.hold(other, now, person) for other in due]


def release(home: Home, wanted: str, now: datetime, person: str = "") -> list[Issued]:
    """End the hold of a certificate and of every other one of its key."""
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = _find(register.inventory, home, wanted)
        due = [other for other in register.inventory.of_key(one.key) if other.on_hold] or [one]
        return [register.release(other, now, person) for other in due]


def retire(home: Home, wanted: str, now: datetime, until: datetime) -> Issued:
    """Set the end of signing of a key; of a key of the home itself, home.toml keeps to it too."""
    with Register.open(home.path(REGISTER)) as register:
        adopt(home, register)
        one = register.retire(_find(register.inventory, home, wanted), now, until)
    mine = next((key for key in home.keys if key_digest(key.public_key) == one.key), None)
    if mine is not None:
        save(home, replace(mine, signs_until=until))
    return one


def found(home: Home, wanted: str) -> Issued:
    """A certificate of the register, by serial, common name, or a key's name; read only, so that nobody waits for anybody."""
    return _find(inventory_of(home), home, wanted)


def make_list(home: Home, authority: EnrolledKey, now: datetime, pin: Pin | None, valid: timedelta = LIST_VALID) -> str:
    """The next list of an authority, in HOME/trust.d; its path."""
    path = home.path(CRL_FOLDER, f"{authority.name}.crl")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with opened(home, authority, pin) as (register, issuer):
        der = register.list(issuer, now, valid)
        write_batch([Output(path, der)], replace=Replace.YES)
    return path


def cross_sign(home: Home, other: bytes, name: str | None, now: datetime, pin: Pin | None, source: str) -> Issued:
    """Certify another authority (DER) under its own name and key, so that paths reach it from this home's root.

    The new certificate has the other's room for authorities below it, as far as this one's has it. KeyRefused for what is no
    authority or has ended.
    """
    certificate = check_crossed(other, now, source)
    basic = _check_other(certificate, source)
    authority = authority_of(home, name, ROOT, now)
    if key_digest(authority.public_key) == spki_digest(certificate):
        raise KeyRefused(
            source, f"its key is that of {authority.name} itself", "Name the certificate of the other root."
        )
    room = path_length(authority)
    wanted = basic.path_length if basic.path_length is not None else 1
    if room is not None and wanted > room - 1:
        wanted = room - 1
    days = min(ROOT.days, (certificate.not_valid_after_utc - now).days)
    provenance = Provenance.DEVELOPMENT if is_development(certificate) else Provenance.HARDWARE_CLAIMED
    terms = Terms(
        days=days, path_length=wanted, publication=home.publication, key_identifier=_key_identifier(certificate)
    )
    public = cast("PublicKey", certificate.public_key())
    order = Order(CROSS_SIGNED, certificate.subject, public, provenance, terms=terms)
    with opened(home, authority, pin) as (register, issuer):
        return register.issue(order, issuer, now)


def check_crossed(other: bytes, now: datetime, source: str) -> x509.Certificate:
    """Another authority's certificate (DER) that can be cross-signed now; KeyRefused for any other one."""
    certificate = load_certificate(other, source)
    _check_other(certificate, source)
    if certificate.not_valid_after_utc <= now:
        raise KeyRefused(source, f"it ended on {certificate.not_valid_after_utc:%Y-%m-%d}", "Ask for the current one.")
    if (certificate.not_valid_after_utc - now).days < 1:
        raise KeyRefused(source, "it ends within a day", "Ask for the current one.")
    return certificate


def _check_other(certificate: x509.Certificate, source: str) -> x509.BasicConstraints:
    """Another authority's constraints. KeyRefused for what is none, whose own signature does not hold, or whose limits a new
    certificate under this home would lift."""
    found = {extension.oid: extension for extension in certificate.extensions}
    basic = found.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = found.get(ExtensionOID.KEY_USAGE)
    if basic is None or not basic.value.ca or (usage is not None and not usage.value.key_cert_sign):
        raise KeyRefused(source, "it is no authority's certificate", "Name the certificate of the other root.")
    if not list(certificate.subject):
        raise KeyRefused(source, "it has no name, by which certificates below could be found", "Have a new root made.")
    if certificate.subject == certificate.issuer and not issued_by(certificate, certificate):
        raise KeyRefused(source, "its own signature does not hold", "Ask for the certificate again.")
    limits = [oid for oid in found if oid in _LIMITS or (found[oid].critical and oid not in _PLAIN)]
    if limits:
        names = ", ".join(oid.dotted_string for oid in limits)
        raise KeyRefused(
            source,
            f"it has limits that a certificate under this home would not have ({names})",
            "Name it as an anchor of its own in the trust file.",
        )
    return cast("x509.BasicConstraints", basic.value)


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def pem(issued: Issued, *, chain: Sequence[bytes] = ()) -> str:
    """A certificate, and the path above it, as text."""
    return "".join(
        x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in (issued.certificate, *chain)
    )


def chain_of(home: Home, issued: Issued) -> tuple[bytes, ...]:
    """The path above a certificate of the register, without the root."""
    return _chain(issuer_of(home, issued), issued)


def _again(one: Issued, provenance: Provenance, days: int | None, home: Home) -> Order:
    """The order that made a certificate, once more: same name, hosts, construction, and room for authorities below."""
    profile, certificate = PROFILES.get(one.profile, INTERMEDIATE), one.x509
    if one.profile == CROSS_SIGNED.name:
        profile = CROSS_SIGNED
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = tuple(str(name.value) for name in alternative)
    except x509.ExtensionNotFound:
        hosts = ()
    try:
        room = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        room = None
    stated = policy_oids(certificate)
    return Order(
        profile=profile,
        subject=certificate.subject,
        public_key=cast("PublicKey", certificate.public_key()),
        provenance=provenance,
        construction=next((one for one, oid in CONSTRUCTIONS.items() if oid in stated), Construction.CMS_ATTRIBUTES),
        terms=Terms(
            days=days,
            hosts=hosts,
            publication=home.publication,
            path_length=room,
            key_identifier=_key_identifier(certificate) if one.profile == CROSS_SIGNED.name else None,
        ),
        renews=one.serial,
    )


def _provenance(mine: EnrolledKey | None, one: Issued) -> Provenance:
    if mine is not None:
        return mine.provenance
    from sealwright.pki.authority import POLICY_OF

    try:
        policies = one.x509.extensions.get_extension_for_class(x509.CertificatePolicies).value
    except x509.ExtensionNotFound:
        return Provenance.HARDWARE_IMPORTED
    named = {policy.policy_identifier.dotted_string for policy in policies}
    return next((known for known, oid in POLICY_OF.items() if oid in named), Provenance.HARDWARE_IMPORTED)


def _chain(authority: EnrolledKey, issued: Issued) -> tuple[bytes, ...]:
    return () if issued.x509.subject == issued.x509.issuer else chain_below(authority)


def issuer_of(home: Home, one: Issued) -> EnrolledKey:
    """The key of the home that issued a certificate; UsageError where it is not here."""
    for key in reversed(home.keys):
        if key.purpose is KeyPurpose.CERTIFICATES and key_digest(key.public_key) == one.issuer:
            return key
    raise UsageError(one.name, "the authority that issued it is not in this home", "Use the home of that authority.")


def _broken_off(register: Register, one: Issued, now: datetime) -> Issued | None:
    """The certificate that already renews the one named in home.toml: a renewal stopped before home.toml named it."""
    good = [other for other in register.inventory.successors(one) if other.end is None]
    return next((other for other in reversed(good) if other.x509.not_valid_after_utc > now + OVERLAP), None)


def _certificate_of(inventory: Inventory, key: EnrolledKey) -> Issued:
    serial = load_certificate(key.certificate, key.name).serial_number
    found = [one for one in inventory.issued.values() if one.serial == serial]
    if not found:
        raise UsageError(
            f"key {key.name}", "no authority of this home issued its certificate", "Ask the PKI that issued it."
        )
    return found[0]


def _find(inventory: Inventory, home: Home, wanted: str) -> Issued:
    mine = next((key for key in home.keys if key.name == wanted), None)
    return _certificate_of(inventory, mine) if mine is not None else inventory.find(wanted)


def _organisation(authority: EnrolledKey) -> str:
    subject = load_certificate(authority.certificate, authority.name).subject
    return next((str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)), "")


def _kind(old: EnrolledKey) -> KeyKind:
    size = getattr(old.public_key, "key_size", 0)
    fitting = [kind for kind in KeyKind if kind.algorithm == old.algorithm]
    return next((kind for kind in fitting if str(size) in kind.value), fitting[0])
