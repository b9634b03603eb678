"""Revocation judged at the proved time, from CRLs that were brought along (RULES 4, RFC 5280 section 5).

1. A CRL counts if it is full and direct and its issuer's key, allowed to sign CRLs, signed it; indirect, delta and partial
   CRLs and unknown critical extensions, also of entries, are refused.
2. An entry counts from its invalidity date, else its revocation date; of several CRLs the earliest date wins, so a newer
   list that forgets an entry heals nothing. A compromise (or no reason given) without invalidity date reaches back for ever;
   certificateHold refuses while the newest list that could still name the certificate holds it; one made after the certificate's
   end that keeps no ended ones lifts nothing, nor does one from the future. A date after the proved time is known only from a list that is fresh,
   since a newer one may give an earlier date.
   A list that says where it is published speaks only of certificates that name that place (a CA may publish several).
3. Silence is evidence only from a CRL that was made after the proved time and not after the certificate's end (unless it
   keeps expired ones, expiredCertsOnCRL), has a number that is not too old, and is fresh at the judgement time.
   For a signature without a proved time the fresh list itself is the evidence; nothing better can exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import PublicKey
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import LimitExceeded, MalformedTrust
from sealwright.trust.certificate import WEAK_HASHES, display_name, facts, public_key, spki_digest

MAX_CRL_BYTES = 32 << 20
MAX_ENTRIES = 500_000
LONG_LIST = 1000
_FRESH_AT_MOST = timedelta(days=400)
_TIME_TAGS = (0x17, 0x18)
EXPIRED_CERTS_ON_CRL = "2.5.29.60"
_NEXT = "Fetch the list again from its issuer."
_COMPROMISE = frozenset(
    (None, x509.ReasonFlags.unspecified, x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise, x509.ReasonFlags.aa_compromise)
)  # fmt: skip
# Where a list says that it is published; empty where it does not.
Place = frozenset[x509.GeneralName]
_NONE_SEEN: Mapping[Place, int] = {}
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
    """effective: from when the entry counts, where there is one; reason: the CRL's word.

    why: nothing better is known (UNKNOWN), or what a list said may be outdated (REVOKED_AFTER: a newer one may say worse).
    """

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

    @property
    def on_hold(self) -> bool:
        """True where the certificate may come back."""
        return self.reason is x509.ReasonFlags.certificate_hold


@dataclass(frozen=True, slots=True)
class CrlTable:
    """One CRL that was checked: issuer (DER name) and key, its times, and the serials.

    points: where its issuer says that it publishes this list; it speaks only of certificates that name one of them.
    """

    issuer: bytes
    issuer_key: Digest
    number: int
    this_update: datetime
    next_update: datetime | None
    keeps_expired_since: datetime | None
    points: Place
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
        return _parsed(der).issuer.public_bytes()
    except UNREADABLE as cause:
        raise MalformedTrust("CRL", f"it is not a CRL in DER: {cause}"[:200], _NEXT) from cause


def supersedes(new: CrlTable, old: CrlTable, now: datetime) -> bool:
    """Whether an older list of the same issuer and place says nothing any more that the newer one does not say as strictly.

    Of several lists the earliest date wins (RULES 4), so one that knows of an earlier revocation than its successor stays; so does one
    whose successor counts later (where the clock is behind) or not as long, and one that speaks of certificates which had not ended yet,
    while it may still count as fresh and its successor keeps no such ones.
    """
    if (new.issuer, new.issuer_key, new.points) != (old.issuer, old.issuer_key, old.points):
        return False
    if new.number <= old.number or new.this_update < old.this_update:
        return False
    ends = old.next_update
    if new.this_update > now:
        return False  # until the newer one counts the older one does
    if ends is not None and ends >= now and (new.next_update is None or new.next_update < ends):
        return False
    since = old.keeps_expired_since
    least = old.this_update if since is None else min(since, old.this_update)
    keeps = new.keeps_expired_since is not None and new.keeps_expired_since <= least
    long_ago = since is None and ends is not None and ends + _FRESH_AT_MOST < now
    if not (keeps or long_ago):
        return False
    said = dict(new.entries.items())  # a long list is searched for each serial that is asked for; walking it is once
    return all(_as_strict(said.get(serial), entry) for serial, entry in old.entries.items())


def _as_strict(new: Entry | None, old: Entry) -> bool:
    """Whether an entry refuses all that an older one of the same serial does. A hold counts in the newest list alone."""
    if old.on_hold:
        return True
    if new is None or new.on_hold or new.effective > old.effective:
        return False
    return (new.reaches_back or not old.reaches_back) and not (
        new.reason in _HARMLESS_FOR_TOKENS and old.reason not in _HARMLESS_FOR_TOKENS
    )


def revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    tables: Sequence[CrlTable],
    proved: datetime | None,
    judged: datetime,
    max_age: timedelta | None,
    min_number: int,
    seen: Mapping[Place, int] = _NONE_SEEN,
) -> Revocation:
    """The state of a certificate for a signature proved to have existed at a time (None: not proved).

    seen: the highest number known of each place of publication; an older list is no evidence of silence.
    """
    own = _of(issuer, tables)
    hits = _entries(certificate, own, judged)
    for entry in hits:
        if entry.on_hold:
            return Revocation(State.ON_HOLD, entry.effective, _word(entry))
    least = {table.points: max(min_number, seen.get(table.points, 0)) for table in own}
    if hits:
        known = _revoked(hits, proved)
        current = any(table.number >= least[table.points] and _fresh(table, judged, max_age) for table in own)
        if known.state is State.REVOKED_BEFORE or current:
            return known
        return replace(known, why=_why(own, proved, judged, max_age, min_number, seen))
    for table in own:
        if _silence_counts(table, certificate, proved, judged, max_age, least[table.points]):
            return Revocation(State.GOOD)
    return Revocation(State.UNKNOWN, why=_why(own, proved, judged, max_age, min_number, seen))


def authority_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    tables: Sequence[CrlTable],
    at: datetime,
    known_by: datetime | None = None,
) -> Revocation:
    """The state of a timestamp authority for a token made at a time (RFC 3161 section 4).

    Only superseded, cessationOfOperation and affiliationChanged leave earlier tokens valid. known_by: when another proof shows
    that the token existed: then a dated compromise leaves it valid too, unless it reaches back or began before that.
    """
    hits = _entries(certificate, _of(issuer, tables))
    if not hits:
        return Revocation(State.GOOD)
    worst = min(hits, key=lambda entry: (entry.reason in _HARMLESS_FOR_TOKENS, entry.effective))
    if known_by is not None and all(_later(entry, known_by) for entry in hits):
        return Revocation(State.REVOKED_AFTER, worst.effective, _word(worst))
    if worst.reason in _HARMLESS_FOR_TOKENS and at < worst.effective:
        return Revocation(State.REVOKED_AFTER, worst.effective, _word(worst))
    return Revocation(State.REVOKED_BEFORE, worst.effective, _word(worst))


def _later(entry: Entry, known_by: datetime) -> bool:
    return not entry.reaches_back and not entry.on_hold and known_by < entry.effective


def _of(issuer: x509.Certificate, tables: Sequence[CrlTable]) -> list[CrlTable]:
    """The lists of an issuer, by name and key: two authorities may share a key, and then serials mean nothing."""
    known = facts(issuer)
    return [table for table in tables if table.issuer_key == known.key and table.issuer == known.name]


def _entries(certificate: x509.Certificate, own: list[CrlTable], judged: datetime | None = None) -> list[Entry]:
    """What the lists say of a certificate; a hold counts only while the newest list of the same place of publication says so.

    A list that may have dropped the certificate because it ended says nothing of its hold, nor does one made after `judged`.
    """
    serial = certificate.serial_number
    hits = [(table, table.entries[serial]) for table in own if serial in table.entries]
    if not hits:
        return []
    newest: dict[Place, CrlTable] = {}
    for table in sorted(own, key=lambda table: (table.number, table.this_update)):
        known = judged is None or table.this_update <= judged
        if serial in table.entries or (known and _covers(table, certificate)):
            newest[table.points] = table
    return [entry for table, entry in hits if table is newest[table.points] or not entry.on_hold]


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
    after = proved is None or table.this_update >= proved
    if not (_covers(table, certificate) and after and table.number >= min_number and _fresh(table, judged, max_age)):
        return False
    return not table.points or not table.points.isdisjoint(_points_of(certificate))


def _covers(table: CrlTable, certificate: x509.Certificate) -> bool:
    """Whether a list would still name a certificate that was revoked: made before its end, or it keeps ended ones."""
    ended, since = certificate.not_valid_after_utc, table.keeps_expired_since
    return table.this_update <= ended or (since is not None and since <= ended)


def _points_of(certificate: x509.Certificate) -> Place:
    """Where a certificate says that the whole list about it is published by its own issuer."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    whole = [point for point in points if point.reasons is None and point.crl_issuer is None]
    return frozenset(name for point in whole for name in point.full_name or ())


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
    seen: Mapping[Place, int],
) -> str:
    if not own:
        return "there is no revocation list of its issuer"
    newest = max(own, key=lambda table: table.this_update)
    day = f"{newest.this_update:%Y-%m-%d %H:%M}"
    least = max(min_number, seen.get(newest.points, 0))
    if newest.number < least:
        return f"the list has number {newest.number}, wanted is at least {least}"
    if not _fresh(newest, judged, max_age):
        return (
            f"the list of {day} is too old" if newest.this_update <= judged else f"the list of {day} is from the future"
        )
    if proved is not None and newest.this_update < proved:
        return f"the list of {day} was made before the signature"
    if newest.points:
        return (
            f"the list of {day} is for certificates that name another place of publication, or was made after its end"
        )
    return f"the list of {day} was made after the certificate ended and keeps no ended ones"


def _word(entry: Entry) -> str:
    return entry.reason.value if entry.reason is not None else "no reason given"


@lru_cache(maxsize=4)
def _parsed(der: bytes) -> x509.CertificateRevocationList:
    """Asked twice, for the issuer's name and for the entries."""
    return x509.load_der_x509_crl(der)


@lru_cache(maxsize=32)
def _table(der: bytes, issuers: tuple[x509.Certificate, ...]) -> CrlTable:
    try:
        crl = _parsed(der)
        name = display_name(crl.issuer)
        issuer = _issuer(crl, der, issuers, name)
        number, keeps, points = _scope(crl, name)
        if len(crl) > MAX_ENTRIES:
            raise LimitExceeded(name, f"a list of {len(crl)} entries", f"At most {MAX_ENTRIES} are read.")
        entries = _listed(crl, der, name)
        return CrlTable(
            issuer=crl.issuer.public_bytes(),
            issuer_key=spki_digest(issuer),
            number=number,
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            keeps_expired_since=keeps,
            points=points,
            entries=entries,
        )
    except UNREADABLE as cause:
        raise MalformedTrust("CRL", f"it is not a CRL in DER: {cause}"[:200], _NEXT) from cause


def _listed(crl: x509.CertificateRevocationList, der: bytes, name: str) -> Mapping[int, Entry]:
    """Serial to entry; of a long list whose entries are all of usual shapes without walking it."""
    if len(crl) >= LONG_LIST:
        from sealwright.trust.longlist import (
            LongList,
            all_usual,
        )  # its expression costs 4 ms that a short list need not pay

        entries = _revoked_certificates(der)
        if all_usual(entries):
            return LongList(crl, entries, lambda revoked: _entry(revoked, name), lambda: _walked(crl, name))
    return _walked(crl, name)


def _walked(crl: x509.CertificateRevocationList, name: str) -> Mapping[int, Entry]:
    entries: dict[int, Entry] = {}
    for revoked in crl:
        entry = _entry(revoked, name)
        known = entries.get(revoked.serial_number)
        if known is None or _gravity(entry) < _gravity(known):
            entries[revoked.serial_number] = entry
    return entries


def _span(der: bytes, at: int) -> tuple[int, int]:
    """Where the content of the element at a place begins and ends. Only for what was read as strict DER before."""
    first = der[at + 1]
    if first < 0x80:
        return at + 2, at + 2 + first
    start = at + 2 + (first & 0x7F)
    return start, start + int.from_bytes(der[at + 2 : start], "big")


def _revoked_certificates(der: bytes) -> bytes:
    """The content of revokedCertificates of a list that has some: the first SEQUENCE after the times (RFC 5280 section 5.1)."""
    at, _ = _span(der, _span(der, 0)[0])
    seen_time = False
    while True:
        start, end = _span(der, at)
        if der[at] in _TIME_TAGS:
            seen_time = True
        elif seen_time:
            return der[start:end]
        at = end


def _is_signed(crl: x509.CertificateRevocationList, der: bytes, key: PublicKey) -> bool:
    """Whether the key signed the received bytes. The library's own check encodes a list again first: 1 ms for 1,000 entries."""
    if len(crl) < LONG_LIST or not isinstance(key, (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)):
        return crl.is_signature_valid(key)
    body, _ = _span(der, 0)
    inside, after = _span(der, body)
    if der[inside] == 0x02:
        inside = _span(der, inside)[1]
    if der[inside : _span(der, inside)[1]] != der[after : _span(der, after)[1]]:
        return False  # the algorithm inside and outside the signed part must be one (RFC 5280 section 5.1.1.2)
    signed, how, hashed = der[body:after], crl.signature_algorithm_parameters, crl.signature_hash_algorithm
    try:
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(crl.signature, signed, how)
        elif isinstance(key, rsa.RSAPublicKey) and not isinstance(how, (ec.ECDSA, type(None))) and hashed is not None:
            key.verify(crl.signature, signed, how, hashed)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _gravity(entry: Entry) -> tuple[bool, bool, datetime]:
    """Of two entries of one serial in one list the smaller counts: final before hold, without limit before dated, early."""
    return entry.on_hold, not entry.reaches_back, entry.effective


def _issuer(
    crl: x509.CertificateRevocationList, der: bytes, issuers: Sequence[x509.Certificate], name: str
) -> x509.Certificate:
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
            and (hashed is None or hashed.name not in WEAK_HASHES)
            and _is_signed(crl, der, public_key(issuer))
        ):
            return issuer
    raise MalformedTrust(name, "its signature is not of an issuer that may sign revocation lists", _NEXT)


def _scope(crl: x509.CertificateRevocationList, name: str) -> tuple[int, datetime | None, Place]:
    number, keeps = None, None
    points: Place = frozenset()
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.IssuingDistributionPoint):
            partial = (
                value.only_contains_user_certs or value.only_contains_ca_certs or value.only_contains_attribute_certs
            )
            if value.indirect_crl or value.only_some_reasons or partial or value.relative_name is not None:
                raise MalformedTrust(name, "it is an indirect or partial list", _NEXT)
            points = frozenset(value.full_name or ())
        elif isinstance(value, x509.DeltaCRLIndicator):
            raise MalformedTrust(name, "it is a delta list", _NEXT)
        elif isinstance(value, x509.UnrecognizedExtension) and value.oid.dotted_string == EXPIRED_CERTS_ON_CRL:
            keeps = asn1.decode_der(asn1.GeneralizedTime, value.value).as_datetime().astimezone(UTC)
        elif extension.critical and not isinstance(value, x509.AuthorityKeyIdentifier):
            raise MalformedTrust(name, f"unknown critical extension {extension.oid.dotted_string}", _NEXT)
    if number is None:
        raise MalformedTrust(name, "it has no CRL number", _NEXT)
    return number, keeps, points


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
