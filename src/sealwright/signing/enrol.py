"""Enrolling keys (RULES 2): one that exists, with the certificate an existing PKI issued for it; or a new one for a format.

1. The key is opened and checked by its backend; its public key must be the certificate's, or it is refused.
2. A key has one purpose and one construction: a key or name that is enrolled already is refused.
3. The enrolment is in the journal before home.toml names the key; certificates are written before home.toml. What the home's own
   authority issues is in its register.
4. Signatures without a certificate inside are verified with one known beforehand: it is written to `trust.d` as well.
A new key gets what the format's verifiers want to see: its type, its construction, its certificate's purposes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import PSS_SHA256, RSA_SHA256, PublicKey, Scheme, SignatureAlgorithm, key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.kinds import KINDS, Construction, ContentKind, least_rsa_bits
from sealwright.errors import KeyRefused, MalformedEnvelope, OutputRefused, SealwrightError, UsageError
from sealwright.formats.known import EMBEDDED
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyInfo, KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_pkcs11, parse_transit
from sealwright.log.canonical import Field, time_text
from sealwright.log.journal import Entry, EntryType, Journal, refuse_locked
from sealwright.pki.authority import POLICY_OF, Subject, Terms
from sealwright.pki.knownkeys import KnownKeys
from sealwright.pki.oids import CONSTRUCTIONS
from sealwright.pki.profiles import (
    CODE_SIGNER,
    CONFIG_SIGNER,
    DEVICE,
    LOG,
    OCSP_RESPONDER,
    PERSON,
    RECORD_SIGNER,
    REPOSITORY,
    TIMESTAMP_AUTHORITY,
    UPDATE_SIGNER,
    Profile,
)
from sealwright.pki.weakkeys import check_key
from sealwright.signing.home import (
    FILE,
    JOURNAL,
    MAX_BYTES,
    PATH_SCHEMES,
    REGISTER,
    EnrolledKey,
    Home,
    KeyPurpose,
    certificates_text,
    home_text,
    open_home,
)
from sealwright.signing.issued import Issued, common_name, read_register
from sealwright.signing.issuing import authority_of, chain_below, opened
from sealwright.signing.register import Order, Register
from sealwright.trust.belief import CRL_FOLDER
from sealwright.trust.certificate import is_authority, load_certificate, policy_oids, public_key, tbs_digest

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Plan(NamedTuple):
    """What a format's verifiers want: the key, if the user names no other, and the profile of its certificate.

    others: the only other keys that they read; empty for any of the format's schemes.
    """

    key: KeyKind
    profile: Profile
    others: tuple[KeyKind, ...] = ()
    purpose: KeyPurpose = KeyPurpose.ARTIFACT

    def reads(self, kind: KeyKind, schemes: Collection[Scheme]) -> bool:
        """Whether the format's verifiers read a kind of key. schemes: of the format."""
        return kind.algorithm.scheme in schemes and (not self.others or kind in (self.key, *self.others))


# Kernels and chips that read ECDSA are younger than plants; Windows' application control reads RSA alone; both updaters ask for S/MIME
# unless they are configured.
PLANS = {
    "kmod": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "fit": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "esp32": Plan(KeyKind.RSA3072_PSS, CODE_SIGNER, (KeyKind.P256, KeyKind.P384)),
    "rauc": Plan(KeyKind.P256, UPDATE_SIGNER),
    "swupdate": Plan(KeyKind.P256, UPDATE_SIGNER),
    "pe": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "msi": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "cab": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "uefi-variable": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "layout": Plan(KeyKind.P256, CODE_SIGNER),
    "verity": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "fsverity": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "ima": Plan(KeyKind.RSA3072, CODE_SIGNER),
    "xmldsig": Plan(KeyKind.P256, CODE_SIGNER),
}
_ANY_FORMAT = Plan(KeyKind.P256, CODE_SIGNER)
# What is no format: plain files and folders, and the services of a house
ROLES = {
    "file": _ANY_FORMAT,
    "configuration": Plan(KeyKind.P256, CONFIG_SIGNER),
    "timestamp": Plan(KeyKind.P256, TIMESTAMP_AUTHORITY, purpose=KeyPurpose.TIMESTAMP),
    "ocsp": Plan(KeyKind.P256, OCSP_RESPONDER, purpose=KeyPurpose.OCSP),
    "approval": Plan(KeyKind.P256, PERSON, purpose=KeyPurpose.APPROVAL),
    "log": Plan(KeyKind.ED25519, LOG, purpose=KeyPurpose.LOG),
    "backup": Plan(KeyKind.P256, LOG, purpose=KeyPurpose.BACKUP),
    "record": Plan(KeyKind.P256, RECORD_SIGNER, purpose=KeyPurpose.RECORD),
    "repository": Plan(KeyKind.P256, REPOSITORY, purpose=KeyPurpose.REPOSITORY),
    "report": Plan(KeyKind.P256, DEVICE, purpose=KeyPurpose.REPORT),
}


def enrol_for(
    home: Home, form: str, name: str, pin: Pin | None, now: datetime, key: KeyKind | None = None
) -> EnrolledKey:
    """Make a key where the home's authority has its own, certify it by that authority, and enrol it for a format.

    form: of `EMBEDDED` or `ROLES`, or the name of a kind that no file format has; now: aware. Raises UsageError for a name that is taken or a home without authority, KeyRefused for a
    type of key that the format's verifiers do not read.
    """
    refuse_locked(home.folder)  # before a key is made
    check_name(home, name)
    kind, plan = _planned(form)
    wanted = key or plan.key
    if not plan.reads(wanted, kind.schemes):
        raise KeyRefused(
            f"--algorithm {wanted}", f"no verifier of {form} reads it", f"Leave it out for {plan.key}, or name another."
        )
    if not any(one.purpose is KeyPurpose.CERTIFICATES for one in home.keys):
        raise UsageError(
            home.folder, "it has no authority of its own", "Use `sealwright key csr` and `key import-certificate`."
        )
    above = authority_of(home, None, plan.profile, now)
    info = new_key(
        home,
        key_beside(home, above, name),
        wanted,
        pin,
        lambda made: (made.profile, common_name(made.x509)) == (plan.profile.name, f"{home.title} {name}"),
    )
    certificate, chain = certify(home, name, info, plan.profile, kind.construction, pin, now)
    enrolled = EnrolledKey(
        name=name,
        uri=relative_uri(home, info.uri),
        purpose=plan.purpose,
        construction=kind.construction,
        algorithm=wanted.algorithm,
        provenance=info.provenance,
        certificate=certificate,
        chain=chain,
    )
    record(home, enrolled)
    return enrolled


def new_key(home: Home, uri: str, kind: KeyKind, pin: Pin | None, ours: Callable[[Issued], bool]) -> KeyInfo:
    """Make a key; or take the one that a try made there which was broken off after the register had its certificate.

    ours: whether a certificate is what that try asked for. A key that is certified for anything else, or that nothing is known
    of, is not taken: it may serve somebody else.
    """
    try:
        return create_key(uri, kind, pin)
    except SealwrightError as cause:
        try:
            key = open_key(uri, pin, algorithm=kind.algorithm)
        except SealwrightError:
            raise cause from None
        info = key.info
        key.close()
        digest = key_digest(info.public_key)
        known = read_register(home.path(REGISTER)).of_key(digest)
        enrolled = any(key_digest(mine.public_key) == digest for mine in home.keys)
        if known and not enrolled and all(one.end is None and ours(one) for one in known):
            return info
        raise OutputRefused(
            uri,
            "a key is there already, and nothing here says that it was made for this",
            "Choose another name. If it is left over from a try that was broken off, delete it: it is certified for nothing."
            if not known
            else "Choose another name.",
        ) from cause


_KIND_OF = {KeyPurpose.TIMESTAMP: "timestamp", KeyPurpose.LOG: "checkpoint", KeyPurpose.REPOSITORY: "tuf"}


def _planned(form: str) -> tuple[ContentKind, Plan]:
    if form in ROLES:
        plan = ROLES[form]
        return KINDS[_KIND_OF.get(plan.purpose, "file")], plan
    return KINDS[EMBEDDED[form].kind if form in EMBEDDED else form], PLANS.get(form, _ANY_FORMAT)


def certify(
    home: Home, name: str, info: KeyInfo, profile: Profile, construction: Construction, pin: Pin | None, now: datetime
) -> tuple[bytes, tuple[bytes, ...]]:
    """A certificate of the home's own authority for a key, in DER and in its register, and the path above it without the root."""
    above = authority_of(home, None, profile, now)
    organisation = x509.load_der_x509_certificate(above.certificate).subject.get_attributes_for_oid(
        NameOID.ORGANIZATION_NAME
    )
    order = Order(
        profile,
        Subject(f"{home.title} {name}", str(organisation[0].value) if organisation else ""),
        info.public_key,
        info.provenance,
        construction,
        Terms(publication=home.publication),
    )
    with opened(home, above, pin) as (register, issuer):
        issued = _issued_before(register, order, now) or register.issue(order, issuer, now).certificate
    return issued, chain_below(above)


def _issued_before(register: Register, order: Order, now: datetime) -> bytes | None:
    """The same certificate that an enrolment got which was broken off after it: a key gets one, and the next try needs it."""
    named = {CONSTRUCTIONS.get(order.construction), POLICY_OF.get(order.provenance)} - {None}
    for one in register.inventory.of_key(key_digest(order.public_key)):
        loaded = load_certificate(one.certificate, one.name)
        same = one.profile == order.profile.name and policy_oids(loaded) == named
        if same and one.end is None and loaded.not_valid_after_utc > now:
            return one.certificate
    return None


def profile_for(construction: Construction) -> Profile:
    """What is certified for a construction, where no format is named; every signer's purposes for CMS."""
    return UPDATE_SIGNER if construction is Construction.CMS_ATTRIBUTES else CODE_SIGNER


def enrol(
    home: Home,
    name: str,
    uri: str,
    purpose: KeyPurpose,
    path: str,
    pin: Pin | None,
    construction: Construction = Construction.CMS_ATTRIBUTES,
    known: Sequence[KnownKeys] = (),
) -> EnrolledKey:
    """Add a key to a home. path: PEM of its certificate, then the path above it, with or without the root.

    known: an officer's lists of published keys, of which none comes in; no weak key either (WeakAlgorithm). A key that is enrolled
    under that name for the same gets the new certificate in place of its old one. Raises UsageError for a name or certificate that does not serve, KeyRefused for a key that is not the certificate's.
    """
    mine = next((one for one in home.keys if one.name == name), None)
    if mine is None:
        check_name(home, name)
    if construction is not Construction.CMS_ATTRIBUTES and purpose is not KeyPurpose.ARTIFACT:
        raise UsageError(
            f"--construction {construction}", f"a key for {purpose} signs CMS with attributes", "Leave it out."
        )
    if purpose is KeyPurpose.CERTIFICATES:
        construction = Construction.CERTIFICATE
    if purpose is KeyPurpose.REPOSITORY:
        construction = Construction.TUF
    leaf, chain = read_certificates(path)
    if purpose is KeyPurpose.CERTIFICATES and not is_authority(load_certificate(leaf, path)):
        raise KeyRefused(
            path, "it is not an authority's certificate", "Have one issued to it that may issue others (CA:TRUE)."
        )
    key = open_key(uri, pin, expected=public_key(load_certificate(leaf, path)), construction=construction)
    info = key.info
    key.close()
    if mine is not None:
        return _certified_anew(home, mine, info, (purpose, construction), leaf, chain)
    check_new(home, info.public_key, construction, uri, known)
    enrolled = EnrolledKey(
        name=name,
        uri=_absolute(info.uri),
        purpose=purpose,
        construction=construction,
        algorithm=algorithm_of(info.algorithm, construction),
        provenance=info.provenance,
        certificate=leaf,
        chain=chain,
    )
    record(home, enrolled)
    return enrolled


def _certified_anew(
    home: Home,
    mine: EnrolledKey,
    info: KeyInfo,
    use: tuple[KeyPurpose, Construction],
    leaf: bytes,
    chain: tuple[bytes, ...],
) -> EnrolledKey:
    """The same key with the next certificate of a PKI that is not in this home."""
    if key_digest(mine.public_key) != key_digest(info.public_key) or (mine.purpose, mine.construction) != use:
        check_name(home, mine.name)  # another key, or for something else: the name is taken
    if mine.signs_until is not None:
        raise KeyRefused(
            f"key {mine.name}", f"it is replaced, until {mine.signs_until:%Y-%m-%d}", "Use the key that replaced it."
        )
    old, new = load_certificate(mine.certificate, mine.name), load_certificate(leaf, mine.name)
    if leaf == mine.certificate or new.not_valid_after_utc < old.not_valid_after_utc:
        raise UsageError(
            f"key {mine.name}",
            f"the certificate that it has ends on {old.not_valid_after_utc:%Y-%m-%d}, this one no later",
            "Name its next certificate.",
        )
    renewed = replace(mine, certificate=leaf, chain=chain)
    record(home, renewed)
    return renewed


def enrol_certified(
    home: Home,
    name: str,
    uri: str,
    pin: Pin | None,
    now: datetime,
    construction: Construction = Construction.CMS_ATTRIBUTES,
    known: Sequence[KnownKeys] = (),
) -> EnrolledKey:
    """Enrol a key that is in its token or TPM already and has no certificate: the home's own authority issues one. now: aware."""
    check_name(home, name)
    key = open_key(uri, pin, construction=construction)
    info = key.info
    key.close()
    check_new(home, info.public_key, construction, uri, known)
    certificate, chain = certify(home, name, info, profile_for(construction), construction, pin, now)
    enrolled = EnrolledKey(
        name=name,
        uri=_absolute(info.uri),
        purpose=KeyPurpose.ARTIFACT,
        construction=construction,
        algorithm=algorithm_of(info.algorithm, construction),
        provenance=info.provenance,
        certificate=certificate,
        chain=chain,
    )
    record(home, enrolled, {"time": time_text(now)})
    return enrolled


def check_new(
    home: Home, public: PublicKey, construction: Construction, subject: str, known: Sequence[KnownKeys] = ()
) -> None:
    """What is asked of every key that comes in: neither weak nor published (A010), and not enrolled here already."""
    check_key(public, subject=subject, least_rsa_bits=least_rsa_bits(construction), known=known)
    digest = key_digest(public)
    for one in home.keys:
        if key_digest(one.public_key) == digest:
            raise KeyRefused(
                subject,
                f"it is enrolled already as {one.name}, and a key has one purpose",
                "Create a key for this purpose.",
            )


def algorithm_of(own: SignatureAlgorithm, construction: Construction) -> SignatureAlgorithm:
    """What the key signs with: an RSA key PSS, where the construction's verifiers read no other padding."""
    read = {scheme for kind in KINDS.values() if kind.construction is construction for scheme in kind.schemes}
    only_pss = Scheme.RSA_PSS in read and Scheme.RSA_PKCS1 not in read
    return PSS_SHA256 if own is RSA_SHA256 and only_pss else own


def check_name(home: Home, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}", "it is not made of a-z, 0-9, dot and dash alone", "Choose another name.")
    if any(key.name == name for key in home.keys):
        raise UsageError(f"--name {name}", "a key of this home is called so already", "Choose another name.")


def key_beside(home: Home, other: EnrolledKey, name: str) -> str:
    """The key string of a new key that lives where another one does."""
    if other.uri.startswith("pkcs11:"):
        return str(replace(parse_pkcs11(other.uri), label=name, id=None))
    if other.uri.startswith("transit:"):
        return str(replace(parse_transit(other.uri), name=name, version=0))
    if other.uri.startswith("awskms:"):
        raise KeyRefused(
            other.uri,
            "keys are not made there by Sealwright",
            "Make one with the account's tools, then `sealwright key import-certificate`.",
        )
    scheme, ending = ("tpm", "tss") if other.uri.startswith("tpm:") else ("file", "pem")
    return f"{scheme}:{home.path('keys', f'{name}.{ending}')}"


def relative_uri(home: Home, uri: str) -> str:
    """A key file inside the home is named from there, so that the home can be moved as a whole."""
    for scheme in PATH_SCHEMES:
        if uri.startswith(scheme):
            return scheme + os.path.relpath(uri.removeprefix(scheme), home.folder)
    return uri


def read_certificates(path: str) -> tuple[bytes, tuple[bytes, ...]]:
    data = read_file(path, MAX_BYTES)
    try:
        found = x509.load_pem_x509_certificates(data)
    except UNREADABLE as cause:
        raise MalformedEnvelope(
            path, "there is no readable certificate in PEM in it", "Ask your PKI for the certificate in PEM."
        ) from cause
    ders = [certificate.public_bytes(Encoding.DER) for certificate in found]
    for der in ders:
        load_certificate(der, path)
    above = [
        der
        for certificate, der in zip(found[1:], ders[1:], strict=True)
        if certificate.subject != certificate.issuer  # the root travels in trust files, never with a signature
    ]
    return ders[0], tuple(above)


def _absolute(uri: str) -> str:
    """A key file outside the home is named by its whole path, so that the home may be used from anywhere."""
    for scheme in PATH_SCHEMES:
        if uri.startswith(scheme):
            return scheme + os.path.abspath(uri.removeprefix(scheme))
    return uri


def record(home: Home, enrolled: EnrolledKey, more: Mapping[str, Field] = MappingProxyType({})) -> None:
    """Journal first, then certificates, then home.toml. more: further fields of the journal's entry."""
    fields: dict[str, Field] = {
        "name": enrolled.name,
        "key": str(enrolled.digest),
        "certificate": str(tbs_digest(load_certificate(enrolled.certificate, enrolled.name))),
        "purpose": enrolled.purpose.value,
        "construction": enrolled.construction.value,
        "provenance": enrolled.provenance.value,
        **more,
    }
    save(home, enrolled, entries=[Entry(EntryType.KEY, fields)])


def save(home: Home, *changed: EnrolledKey, entries: Sequence[Entry] = ()) -> Home:
    """Write keys that are new or changed into a home, recorded before home.toml names them; the home as it is then.

    UsageError where home.toml changed since it was read: nothing of another process's change is lost.
    """
    names = {key.name for key in changed}
    known = {key.name for key in home.keys}
    keys = tuple(next((one for one in changed if one.name == key.name), key) for key in home.keys)
    after = replace(home, keys=(*keys, *(key for key in changed if key.name not in known)))
    outputs = []
    for key in (key for key in after.keys if key.name in names):
        text = certificates_text(key).encode()
        outputs.append(Output(home.path("certificates", f"{key.name}.pem"), text))
        if key.construction not in (Construction.CMS_ATTRIBUTES, Construction.CERTIFICATE, Construction.TUF):
            os.makedirs(home.path(CRL_FOLDER), exist_ok=True)
            outputs.append(Output(home.path(CRL_FOLDER, f"{key.name}.pem"), text))
    outputs.append(Output(home.path(FILE), home_text(after).encode()))
    with Journal.open(home.path(JOURNAL)) as journal:
        if open_home(home.folder) != home:
            raise UsageError(home.folder, "its home.toml was changed meanwhile", "Do it again.")
        if entries:
            journal.append(list(entries))
        write_batch(outputs, replace=Replace.YES)
    return after
