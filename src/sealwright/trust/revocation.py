"""Revocation judged at the proved time, from CRLs that were brought along (RULES 4, RFC 5280 section 5).

1. A CRL counts if it is full and direct and its issuer's key, allowed to sign CRLs, signed it; indirect, delta and partial
   CRLs and unknown critical extensions, also of entries, are refused.
2. An entry counts from its invalidity date, else its revocation date; of several CRLs the earliest date wins, so a newer
   list that forgets an entry heals nothing. A compromise (or no reason given) without invalidity date reaches back for ever;
   certificateHold refuses while the newest list holds it.
3. Silence is evidence only from a CRL that was made after the proved time and not after the certificate's end (unless it
   keeps expired ones, expiredCertsOnCRL), has a number that is not too old, and is fresh at the judgement time.
   For a signature without a proved time the fresh list itself is the evidence; nothing better can exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest
from sealwright.errors import LimitExceeded, MalformedTrust
from sealwright.trust.certificate import display_name, public_key, spki_digest

MAX_CRL_BYTES = 32 << 20
MAX_ENTRIES = 500_000
EXPIRED_CERTS_ON_CRL = "2.5.29.60"
_NEXT = "Fetch the list again from its issuer."
_COMPROMISE = frozenset(
    (None, x509.ReasonFlags.unspecified, x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise)
)  # fmt: skip
_HARMLESS_FOR_TOKENS = frozenset(
    (x509.ReasonFlags.superseded, x509.ReasonFlags.cessation_of_operation, x509.ReasonFlags.affiliation_changed)
)


class State(Enum):
    """What the lists say of a certificate for a signature that existed at a time."""

    GOOD = auto()
    REVOKED_BEFORE = auto()
    REVOKED_AFTER = auto()
    ON_HOLD = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Revocation:
    """effective: from when the entry counts, None where it reaches back for ever; reason: the CRL's word; why: of UNKNOWN."""

    state: State
    effective: datetime | None = None
    reason: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One revoked serial. reason: None where the list gives none."""

    revoked: datetime
    invalid: datetime | None
    reason: x509.ReasonFlags | None

    @property
    def effective(self) -> datetime:
        """From when it counts."""
        return self.revoked if self.invalid is None else min(self.invalid, self.revoked)

    @property
    def reaches_back(self) -> bool:
        """True where every signature of the key is refused, whenever made."""
        return self.invalid is None and self.reason in _COMPROMISE


@dataclass(frozen=True, slots=True)
class CrlTable:
    """One CRL that was checked: issuer (DER name) and key, its times, and the serials."""

    issuer: bytes
    issuer_key: Digest
    number: int
    this_update: datetime
    next_update: datetime | None
    keeps_expired_since: datetime | None
    entries: Mapping[int, Entry]

    @classmethod
    def load(cls, der: bytes, issuers: Sequence[x509.Certificate]) -> CrlTable:
        """Read and check a CRL signed by one of the issuers; MalformedTrust or LimitExceeded saying why it is not used."""
        if len(der) > MAX_CRL_BYTES:
            raise LimitExceeded("CRL", f"{len(der)} bytes", f"At most {MAX_CRL_BYTES} are read.")
        return _table(der, tuple(dict.fromkeys(issuers)))


def crl_issuer(der: bytes) -> bytes:
    """The DER name a CRL gives its issuer, unverified; MalformedTrust or LimitExceeded if it is not a CRL."""
    if len(der) > MAX_CRL_BYTES:
        raise LimitExceeded("CRL", f"{len(der)} bytes", f"At most {MAX_CRL_BYTES} are read.")
    try:
        return x509.load_der_x509_crl(der).issuer.public_bytes()
    except (ValueError, TypeError) as cause:
        raise MalformedTrust("CRL", f"it is not a CRL in DER: {cause}"[:200], _NEXT) from cause


def revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    tables: Sequence[CrlTable],
    proved: datetime | None,
    judged: datetime,
    max_age: timedelta | None,
    min_number: int,
) -> Revocation:
    """The state of a certificate for a signature proved to have existed at a time (None: not proved)."""
    own = [table for table in tables if table.issuer_key == spki_digest(issuer)]
    serial = certificate.serial_number
    hits = [table.entries[serial] for table in own if serial in table.entries]
    newest = max(own, key=lambda table: (table.number, table.this_update), default=None)
    if (
        newest is not None
        and (entry := newest.entries.get(serial))
        and entry.reason is x509.ReasonFlags.certificate_hold
    ):
        return Revocation(State.ON_HOLD, entry.effective, "certificateHold")
    hits = [entry for entry in hits if entry.reason is not x509.ReasonFlags.certificate_hold]
    if hits:
        return _revoked(hits, proved)
    for table in own:
        if _silence_counts(table, certificate, proved, judged, max_age, min_number):
            return Revocation(State.GOOD)
    return Revocation(State.UNKNOWN, why=_why(own, proved, judged, max_age, min_number))


def authority_revocation(
    certificate: x509.Certificate, issuer: x509.Certificate, tables: Sequence[CrlTable], at: datetime
) -> Revocation:
    """The state of a timestamp authority for a token made at a time (RFC 3161 section 4).

    Only superseded, cessationOfOperation and affiliationChanged leave earlier tokens valid.
    """
    hits = [
        table.entries[certificate.serial_number]
        for table in tables
        if table.issuer_key == spki_digest(issuer) and certificate.serial_number in table.entries
    ]
    if not hits:
        return Revocation(State.GOOD)
    worst = min(hits, key=lambda entry: (entry.reason in _HARMLESS_FOR_TOKENS, entry.effective))
    if worst.reason in _HARMLESS_FOR_TOKENS and at < worst.effective:
        return Revocation(State.REVOKED_AFTER, worst.effective, _word(worst))
    return Revocation(State.REVOKED_BEFORE, worst.effective, _word(worst))


def _revoked(hits: list[Entry], proved: datetime | None) -> Revocation:
    worst = min(hits, key=lambda entry: (not entry.reaches_back, entry.effective))
    if worst.reaches_back or proved is None or proved >= worst.effective:
        return Revocation(State.REVOKED_BEFORE, worst.effective, _word(worst))
    return Revocation(State.REVOKED_AFTER, worst.effective, _word(worst))


def _silence_counts(
    table: CrlTable,
    certificate: x509.Certificate,
    proved: datetime | None,
    judged: datetime,
    max_age: timedelta | None,
    min_number: int,
) -> bool:
    ended = certificate.not_valid_after_utc
    since = table.keeps_expired_since
    covers = table.this_update <= ended or (since is not None and since <= ended)
    after = proved is None or table.this_update >= proved
    return covers and after and table.number >= min_number and _fresh(table, judged, max_age)


def _fresh(table: CrlTable, judged: datetime, max_age: timedelta | None) -> bool:
    if table.this_update > judged:
        return False
    if max_age is not None:
        return judged <= table.this_update + max_age
    return table.next_update is not None and judged <= table.next_update


def _why(
    own: list[CrlTable],
    proved: datetime | None,
    judged: datetime,
    max_age: timedelta | None,
    min_number: int,
) -> str:
    if not own:
        return "there is no revocation list of its issuer"
    newest = max(own, key=lambda table: table.this_update)
    day = f"{newest.this_update:%Y-%m-%d %H:%M}"
    if newest.number < min_number:
        return f"the list has number {newest.number}, wanted is at least {min_number}"
    if not _fresh(newest, judged, max_age):
        return (
            f"the list of {day} is too old" if newest.this_update <= judged else f"the list of {day} is from the future"
        )
    if proved is not None and newest.this_update < proved:
        return f"the list of {day} was made before the signature"
    return f"the list of {day} was made after the certificate ended and keeps no ended ones"


def _word(entry: Entry) -> str:
    return entry.reason.value if entry.reason is not None else "no reason given"


@lru_cache(maxsize=32)
def _table(der: bytes, issuers: tuple[x509.Certificate, ...]) -> CrlTable:
    try:
        crl = x509.load_der_x509_crl(der)
        name = display_name(crl.issuer)
        issuer = _issuer(crl, issuers, name)
        number, keeps = _scope(crl, name)
        if len(crl) > MAX_ENTRIES:
            raise LimitExceeded(name, f"a list of {len(crl)} entries", f"At most {MAX_ENTRIES} are read.")
        entries: dict[int, Entry] = {}
        for revoked in crl:
            entry = _entry(revoked, name)
            known = entries.get(revoked.serial_number)
            if known is None or entry.effective < known.effective:
                entries[revoked.serial_number] = entry
        return CrlTable(
            issuer=crl.issuer.public_bytes(),
            issuer_key=spki_digest(issuer),
            number=number,
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            keeps_expired_since=keeps,
            entries=entries,
        )
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as cause:
        raise MalformedTrust("CRL", f"it is not a CRL in DER: {cause}"[:200], _NEXT) from cause


def _issuer(crl: x509.CertificateRevocationList, issuers: Sequence[x509.Certificate], name: str) -> x509.Certificate:
    of_name = [issuer for issuer in issuers if issuer.subject == crl.issuer]
    if not of_name:
        raise MalformedTrust(name, "its issuer is not the one of the certificate", _NEXT)
    for issuer in of_name:
        try:
            usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        except x509.ExtensionNotFound:
            continue
        hashed = crl.signature_hash_algorithm
        if (
            usage.crl_sign
            and (hashed is None or hashed.name not in ("sha1", "md5"))
            and crl.is_signature_valid(public_key(issuer))
        ):
            return issuer
    raise MalformedTrust(name, "its signature is not of an issuer that may sign revocation lists", _NEXT)


def _scope(crl: x509.CertificateRevocationList, name: str) -> tuple[int, datetime | None]:
    number, keeps = None, None
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.IssuingDistributionPoint):
            partial = (
                value.only_contains_user_certs or value.only_contains_ca_certs or value.only_contains_attribute_certs
            )
            if value.indirect_crl or value.only_some_reasons or partial:
                raise MalformedTrust(name, "it is an indirect or partial list", _NEXT)
        elif isinstance(value, x509.DeltaCRLIndicator):
            raise MalformedTrust(name, "it is a delta list", _NEXT)
        elif isinstance(value, x509.UnrecognizedExtension) and value.oid.dotted_string == EXPIRED_CERTS_ON_CRL:
            keeps = asn1.decode_der(asn1.GeneralizedTime, value.value).as_datetime().astimezone(UTC)
        elif extension.critical and not isinstance(value, x509.AuthorityKeyIdentifier):
            raise MalformedTrust(name, f"unknown critical extension {extension.oid.dotted_string}", _NEXT)
    if number is None:
        raise MalformedTrust(name, "it has no CRL number", _NEXT)
    return number, keeps


def _entry(revoked: x509.RevokedCertificate, name: str) -> Entry:
    reason, invalid = None, None
    for extension in revoked.extensions:
        value = extension.value
        if isinstance(value, x509.CRLReason):
            reason = value.reason
        elif isinstance(value, x509.InvalidityDate):
            invalid = value.invalidity_date_utc
        elif isinstance(value, x509.CertificateIssuer):
            raise MalformedTrust(name, "it is an indirect list", _NEXT)
        elif extension.critical:
            raise MalformedTrust(
                name, f"an entry with the unknown critical extension {extension.oid.dotted_string}", _NEXT
            )
    return Entry(revoked.revocation_date_utc, invalid, reason)
