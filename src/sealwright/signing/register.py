"""The register of a home's authorities: every certificate they issued, what became of it, and every list they published.

A hash-chained journal (`log/journal.py`) in HOME/register; the inventory is what its entries add up to.
1. A serial number is on disk before the certificate that carries it is signed (`issuing`), the certificate before anybody gets
   it (`issued`). A crash between burns the serial and leaves no certificate; a full disk issues nothing.
2. One key, one name, one profile: a key that was certified for somebody else, for something else, or was revoked, gets no
   certificate again (A112), nor does an RSA key that shares a prime with another one of the register. Development keys are certified by development authorities alone (RULES 2).
3. Revoking is one entry, durable before anything says "revoked"; it is never taken back, and only made worse: a key that was
   superseded may be found stolen. A hold is taken back, by another entry.
4. A list's number is on disk before the list is signed (`listing`), its digest before it leaves (`listed`): no two lists have
   one number. The list holds everything that was ever revoked (RULES 4: ended certificates stay).

    with Register.open(home.path(REGISTER)) as register:
        issued = register.issue(Order(CODE_SIGNER, subject, public, provenance), issuer, now)
        register.revoke(issued, now, x509.ReasonFlags.key_compromise, invalid=stolen, person="eva")
        der = register.list(issuer, now, timedelta(days=30))
"""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import gcd

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import PublicKey, key_digest
from sealwright.envelope.kinds import Construction
from sealwright.errors import KeyRefused, SealwrightError, UsageError
from sealwright.keys.key import Provenance
from sealwright.log.canonical import Field, time_text
from sealwright.log.journal import Entry, EntryType, Journal, Recorded
from sealwright.pki.authority import Issuer, Subject, Terms, is_development, issue, new_serial
from sealwright.pki.crl import Revoked, make_crl
from sealwright.pki.profiles import Profile
from sealwright.signing.issued import Ceremony, Inventory, Issued, common_name, common_name_of, read_register
from sealwright.signing.privatepart import check_person
from sealwright.trust.certificate import display_name, load_certificate, spki_digest

LOST = frozenset((x509.ReasonFlags.key_compromise, x509.ReasonFlags.ca_compromise))


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be certified, and how. subject: an x509.Name is taken as it is; renews: the serial that this one follows."""

    profile: Profile
    subject: Subject | x509.Name
    public_key: PublicKey
    provenance: Provenance
    construction: Construction = Construction.CMS_ATTRIBUTES
    terms: Terms = Terms()
    renews: int | None = None


class Register:
    """An open register, locked for this process; used by one thread."""

    def __init__(self, folder: str, journal: Journal, inventory: Inventory) -> None:
        self.folder = folder
        self.inventory = inventory
        self._journal = journal

    @classmethod
    def open(cls, folder: str) -> Register:
        """Lock and read it; JournalError if another process holds it or it is damaged."""
        os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
        journal = Journal.open(folder)
        try:
            return cls(folder, journal, read_register(folder))
        except BaseException:
            journal.close()
            raise

    def open_ceremony(self, ceremony: Ceremony) -> None:
        """The first entry of a register that a ceremony makes: it binds the register to the plan and to the nonce, once."""
        fields: dict[str, Field] = {
            "id": secrets.token_hex(16),
            "plan": str(ceremony.plan),
            "nonce": ceremony.nonce,
            "version": ceremony.version,
            "form": ceremony.form,
            "time": time_text(ceremony.at),
        }
        self._append(Entry(EntryType.CEREMONY, fields))

    def close_ceremony(self, record: Digest) -> None:
        """What the ceremony's record is: from then on no other one is of this register."""
        self._append(Entry(EntryType.TRANSCRIPT, {"record": str(record)}))

    def issue(self, order: Order, issuer: Issuer, now: datetime) -> Issued:
        """Check (point 2), record the serial, sign, record the certificate. Raises what `authority.issue` raises, JournalError."""
        key = key_digest(order.public_key)
        by = key_digest(issuer.key.info.public_key)
        name = order.subject.rfc4514_string() if isinstance(order.subject, x509.Name) else order.subject.common_name
        self._check_issuer(issuer, now)
        self._check_provenance(order, issuer, name)
        self._check_hold(key, name)
        self._check_known(order, key, name)
        self._check_factors(order.public_key, name)
        serial = order.terms.serial if order.terms.serial is not None else self._fresh(by)
        if serial in self._used(by):
            raise KeyRefused(
                name, f"the serial {serial:x} was used before", "Leave it out: serials are drawn at random."
            )
        request = secrets.token_hex(16)
        terms = replace(order.terms, serial=serial)
        intent: dict[str, Field] = {
            "request": request,
            "time": time_text(now),
            "issuer": str(by),
            "serial": f"{serial:x}",
            "profile": order.profile.name,
            "subject": name,
            "key": str(key),
            "provenance": order.provenance.value,
        }
        if order.renews is not None:
            intent["renews"] = f"{order.renews:x}"
        self._append(Entry(EntryType.ISSUING, intent))
        try:
            der = issue(
                order.profile, order.subject, order.public_key, issuer, now, order.provenance, order.construction, terms
            )
        except SealwrightError as cause:
            self._append(Entry(EntryType.REFUSAL, {"request": request, "code": cause.code}))
            raise
        self._append(Entry(EntryType.ISSUED, {"request": request, "certificate": base64.b64encode(der).decode()}))
        return self.inventory.issued[by, serial]

    def adopt(self, certificate: bytes, issuer: Digest, profile: str, at: datetime) -> None:
        """Take in a certificate that was issued before there was a register; the issuer's signature was found to hold."""
        loaded = load_certificate(certificate, "certificate")
        request = secrets.token_hex(16)
        fields: dict[str, Field] = {
            "request": request,
            "time": time_text(at),
            "issuer": str(issuer),
            "serial": f"{loaded.serial_number:x}",
            "profile": profile,
            "subject": display_name(loaded.subject),
            "key": str(spki_digest(loaded)),
        }
        self._append(Entry(EntryType.ISSUING, fields))
        self._append(
            Entry(EntryType.ISSUED, {"request": request, "certificate": base64.b64encode(certificate).decode()})
        )

    def revoke(
        self, one: Issued, now: datetime, reason: x509.ReasonFlags, *, invalid: datetime | None = None, person: str = ""
    ) -> Issued:
        """Revoke for good; UsageError where it is revoked already, or for a date that makes no sense.

        Only worse news comes after a revocation: a key that was superseded and is then found stolen. What was refused before stays
        refused.
        """
        one = self.inventory.issued[one.issuer, one.serial]  # as it is now, not as the caller saw it
        if one.end is not None and not one.on_hold and not (reason in LOST and one.end.reason not in LOST):
            raise UsageError(
                one.name,
                f"it was revoked on {one.end.at:%Y-%m-%d} ({one.end.reason.value})",
                "Nothing to do, if a list was made since: `sealwright ca crl` makes one.",
            )
        if invalid is not None and invalid > now:
            raise UsageError(
                one.name, f"{time_text(invalid)} is in the future", "Give the date since when the key is lost."
            )
        fields = self._named(one, now, person) | {"reason": reason.value}
        if invalid is not None and one.end is not None and not one.on_hold:
            invalid = min(invalid, one.end.invalid or one.end.at)
        if invalid is not None:
            fields["invalid"] = time_text(invalid)
        self._append(Entry(EntryType.REVOKED, fields))
        return self.inventory.issued[one.issuer, one.serial]

    def hold(self, one: Issued, now: datetime, person: str = "") -> Issued:
        """Suspend it until it is released or revoked (certificateHold)."""
        one = self.inventory.issued[one.issuer, one.serial]
        if one.end is not None:
            raise UsageError(one.name, f"it is {one.end.reason.value} already", "Nothing to do.")
        self._append(Entry(EntryType.HELD, self._named(one, now, person)))
        return self.inventory.issued[one.issuer, one.serial]

    def release(self, one: Issued, now: datetime, person: str = "") -> Issued:
        """End a suspension."""
        one = self.inventory.issued[one.issuer, one.serial]
        if not one.on_hold:
            raise UsageError(one.name, "it is not on hold", "What is revoked stays revoked: have a new key certified.")
        self._append(Entry(EntryType.RELEASED, self._named(one, now, person)))
        return self.inventory.issued[one.issuer, one.serial]

    def retire(self, one: Issued, now: datetime, until: datetime, person: str = "") -> Issued:
        """Set the end-of-signing date of a key that another one replaces (A113)."""
        self._append(Entry(EntryType.RETIRED, self._named(one, now, person) | {"until": time_text(until)}))
        return self.inventory.issued[one.issuer, one.serial]

    def list(self, issuer: Issuer, now: datetime, valid: timedelta) -> bytes:
        """The next full list of an issuer, DER. valid: until its next update. UsageError for an issuer without certificate."""
        if issuer.certificate is None:
            raise UsageError("revocation list", "its issuer has no certificate yet", "Have it certified first.")
        by = key_digest(issuer.key.info.public_key)
        number = self.inventory.numbers.get(by, self.inventory.least) + 1
        start = now.astimezone(UTC).replace(microsecond=0)
        fields: dict[str, Field] = {"issuer": str(by), "number": number, "time": time_text(start)}
        self._append(Entry(EntryType.LISTING, fields))
        ended = [
            Revoked(one.serial, one.end.at, one.end.reason, one.end.invalid)
            for one in self.inventory.of_issuer(by)
            if one.end is not None
        ]
        der = make_crl(
            issuer.certificate, issuer.key, number=number, this_update=start, next_update=start + valid, revoked=ended
        )
        told = fields | {"crl": str(Digest.of(der)), "next": time_text(start + valid)}
        self._append(Entry(EntryType.LISTED, told))
        return der

    def close(self) -> None:
        """Give the lock back. Closing twice is fine."""
        self._journal.close()

    def __enter__(self) -> Register:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, entry: Entry) -> None:
        """Taken in before it is written: an entry that could not be read back is refused while the register is still whole."""
        self.inventory.take(Recorded(self._journal.count, entry.type, entry.fields), self.folder)
        self._journal.append([entry])

    def _fresh(self, by: Digest) -> int:
        used = self._used(by)
        while (serial := new_serial()) in used:
            continue
        return serial

    def _used(self, by: Digest) -> set[int]:
        burnt = {int(str(one["serial"]), 16) for one in self.inventory.unfinished.values()}
        return burnt | {serial for issuer, serial in self.inventory.issued if issuer == by}

    def _named(self, one: Issued, now: datetime, person: str) -> dict[str, Field]:
        check_person(person)
        fields: dict[str, Field] = {"issuer": str(one.issuer), "serial": f"{one.serial:x}", "time": time_text(now)}
        return fields | ({"person": person} if person else {})

    def _check_issuer(self, issuer: Issuer, now: datetime) -> None:
        """What a revoked or replaced authority issued, no verifier would believe."""
        if issuer.certificate is None:
            return
        above = load_certificate(issuer.certificate, "issuer")
        for one in self.inventory.of_key(spki_digest(above)):
            if one.serial == above.serial_number and one.end is not None:
                why = f"its certificate was revoked on {one.end.at:%Y-%m-%d} ({one.end.reason.value})"
            elif one.serial == above.serial_number and one.signs_until is not None and one.signs_until < now:
                why = f"it was replaced, and its signing ended on {one.signs_until:%Y-%m-%d}"
            else:
                continue
            raise KeyRefused(display_name(above.subject), why, "Issue with another authority.")

    def _check_provenance(self, order: Order, issuer: Issuer, name: str) -> None:
        if order.provenance is not Provenance.DEVELOPMENT or issuer.certificate is None:
            return
        above = load_certificate(issuer.certificate, "issuer")
        if not is_development(above):
            raise KeyRefused(
                name,
                f"it is a development key, and {display_name(above.subject)} is no development authority",
                "Make the key in a token or TPM, or use a development home.",
            )

    def _check_hold(self, key: Digest, name: str) -> None:
        """A suspension is not slipped out of by a new certificate."""
        for known in self.inventory.of_key(key):
            if known.end is not None and known.on_hold:
                raise KeyRefused(
                    name,
                    f"its key is on hold since {known.end.at:%Y-%m-%d} as that of {known.name}",
                    "Release it or revoke it first.",
                )

    def _check_factors(self, public: PublicKey, name: str) -> None:
        """An RSA key that shares a prime with another gives both away (A010)."""
        if not isinstance(public, rsa.RSAPublicKey):
            return
        own = public.public_numbers().n
        for one in self.inventory.issued.values():
            other = one.x509.public_key()
            if isinstance(other, rsa.RSAPublicKey) and (n := other.public_numbers().n) != own and gcd(own, n) != 1:
                raise KeyRefused(
                    name,
                    f"its key shares a prime with that of {one.name} (serial {one.serial:x})",
                    "Neither key is secret any more: replace both, and find out what made them.",
                )

    def _check_known(self, order: Order, key: Digest, name: str) -> None:
        for known in self.inventory.of_key(key):
            if known.end is not None and not known.on_hold:
                raise KeyRefused(
                    name,
                    f"its key was revoked on {known.end.at:%Y-%m-%d} as that of {known.name}",
                    "Make a new key; a revoked one is never certified again.",
                )
            same = common_name(known.x509) == common_name_of(order.subject)
            if order.profile.is_authority and same and _is_authority(known.x509):
                continue  # an authority is certified again by each root that vouches for it
            if not same or known.profile != order.profile.name:
                raise KeyRefused(
                    name,
                    f"its key is certified as {known.name} ({known.profile})",
                    "A key has one owner and one purpose: make another one.",
                )
            if order.renews is None:
                raise KeyRefused(
                    name,
                    f"its key has the certificate {known.serial:x}, until {known.x509.not_valid_after_utc:%Y-%m-%d}",
                    f"Show it with `sealwright cert show {known.serial:x} --pem`, or renew it: sealwright cert renew {known.serial:x}",
                )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
