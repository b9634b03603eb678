"""How a trust file stands at a time: fresh, in grace or stale for each rule, its lists, and what ends or is due within a horizon.

1. STALE: nothing more is installed under it, or under one of its rules: it ended, a rule's grace is over, a list that it wants
   is missing, too old or too low.
2. ATTENTION: something ends or is due within the horizon, or was due. Lists and fresh rules, which are renewed all the time, only in the
   last quarter of their life, else every horizon longer than that life would cry wolf.
3. FINE: what is only said.
Nothing is judged here about signatures of artifacts; `verify` does. The time is an argument.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography import x509

from sealwright.errors import SealwrightError
from sealwright.texts.words import say
from sealwright.trust.belief import Believed, unbelieved
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.history import history_path, persons_of, reached, read_signed, signing_keys, with_kept
from sealwright.trust.model import CrlPolicy, Rule, TrustFile
from sealwright.trust.revocation import CrlTable, crl_issuer

DAY = timedelta(days=1)
LAST = datetime(9990, 1, 1, tzinfo=UTC)


class Level(Enum):
    """How much an item matters, and the exit code of the whole if it is the worst."""

    FINE = 0
    ATTENTION = 1
    STALE = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One line. about: a word for programs (`file`, `rule`, `crl`, …); until: when it ends, where there is a time."""

    level: Level
    about: str
    sentence: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A trust file at a time."""

    path: str
    trust: TrustFile
    items: tuple[Item, ...]

    @property
    def level(self) -> Level:
        """The worst of the items."""
        return max((item.level for item in self.items), key=lambda level: level.value, default=Level.FINE)


def status(path: str, now: datetime, within: timedelta) -> Status:
    """Read a trust file with what lies beside it; MalformedTrust or Unreadable where it cannot be read at all."""
    believed = unbelieved(path)
    trust = believed.trust
    items = [*_head(path, trust, now, within), *_signed(path, trust), *_before(path, trust)]
    items += [_fresh(rule, trust, now, within) for rule in trust.rules]
    items += [*_lists(believed, now, within), *_deny(believed)]
    items += [*_dues(trust, now, within), *_people(trust, now, within), *_certificates(trust, now, within)]
    return Status(path, trust, tuple(items))


def _head(path: str, trust: TrustFile, now: datetime, within: timedelta) -> Iterator[Item]:
    parts = {"path": path, "version": trust.version, "id": trust.id, "age": _days(now - trust.issued)}
    if trust.expires < now:
        yield Item(Level.STALE, "file", say("status.head-ended", **parts, day=_day(trust.expires)), trust.expires)
        return
    left = _days(trust.expires - now)
    yield Item(Level.FINE, "file", say("status.head", **parts, day=_day(trust.expires), left=left), trust.expires)
    if trust.expires < now + within:
        yield Item(Level.ATTENTION, "file", say("status.expires", days=left), trust.expires)


def _signed(path: str, trust: TrustFile) -> Iterator[Item]:
    keys = signing_keys(with_kept(read_signed(path), trust.version))
    names = ", ".join(sorted(persons_of(trust.officers, keys))) or say("change.none")
    parts = {"names": names, "threshold": trust.officers.threshold}
    if trust.stage == "trial":
        yield Item(Level.ATTENTION, "signed", say("status.unsigned"))
    elif reached(trust.officers, keys):
        yield Item(Level.FINE, "signed", say("status.signed", **parts))
    else:
        yield Item(Level.STALE, "signed", say("status.short", **parts))


def _before(path: str, trust: TrustFile) -> Iterator[Item]:
    kept = history_path(path, trust.version - 1)
    if trust.version > 1 and os.path.exists(kept):
        yield Item(Level.FINE, "before", say("status.before", path=kept))


def _fresh(rule: Rule, trust: TrustFile, now: datetime, within: timedelta) -> Item:
    fresh_for, grace = rule.freshness.fresh_for, rule.freshness.grace
    if fresh_for is None:
        return Item(Level.FINE, "rule", say("status.rule-always", name=rule.name), trust.expires)
    fresh, end = _later(trust.issued, fresh_for), _later(trust.issued, fresh_for + grace)
    if now > end:
        return Item(Level.STALE, "rule", say("status.rule-stale", name=rule.name, day=_day(end)), end)
    if now > fresh:
        return Item(Level.ATTENTION, "rule", say("status.rule-grace", name=rule.name, days=_days(end - now)), end)
    level = Level.ATTENTION if fresh - now < min(within, fresh_for / 4) else Level.FINE
    return Item(level, "rule", say("status.rule-fresh", name=rule.name, days=_days(fresh - now)), fresh)


def _lists(believed: Believed, now: datetime, within: timedelta) -> Iterator[Item]:
    trust = believed.trust
    known = [load_certificate(der, "trust file") for der in _issuers(believed)]
    tables: dict[bytes, list[CrlTable]] = {}
    for der in believed.crls:
        try:
            name = crl_issuer(der)
            own = [one for one in known if one.subject.public_bytes() == name]
            if not own:
                stranger = display_name(x509.load_der_x509_crl(der).issuer)
                yield Item(Level.FINE, "crl", say("status.crl-unknown", issuer=stranger))
                continue
            tables.setdefault(name, []).append(CrlTable.load(der, own))
        except SealwrightError as cause:
            yield Item(Level.ATTENTION, "crl", say("status.crl-unreadable", why=f"{cause.subject}: {cause.what}"))
    policies = {policy.issuer: policy for policy in trust.crls}
    for issuer in dict.fromkeys((*policies, *tables)):
        subject = next(
            (display_name(one.subject) for one in known if one.subject.public_bytes() == issuer), issuer.hex()
        )
        yield _list(subject, policies.get(issuer), tables.get(issuer, []), now, within)


def _list(issuer: str, policy: CrlPolicy | None, tables: Sequence[CrlTable], now: datetime, within: timedelta) -> Item:
    """The newest list of an issuer. One that no policy wants is never stale: it only adds denials."""
    if not tables:
        return Item(Level.STALE, "crl", say("status.crl-missing", issuer=issuer))
    newest = max(tables, key=lambda table: (table.number, table.this_update))
    parts = {"number": newest.number, "issuer": issuer, "age": _days(now - newest.this_update)}
    worst = Level.ATTENTION if policy is None else Level.STALE
    if policy is not None and newest.number < policy.min_number:
        said = say("status.crl-old-number", number=newest.number, issuer=issuer, least=policy.min_number)
        return Item(Level.STALE, "crl", said)
    age = policy.max_age.get("install") if policy is not None else None
    end = _later(newest.this_update, age) if age is not None else newest.next_update
    if end is None:
        return Item(worst, "crl", say("status.crl", **parts, day=say("change.none")))
    if now > end:
        return Item(worst, "crl", say("status.crl-stale", **parts, day=_day(end)), end)
    level = Level.ATTENTION if end - now < min(within, (end - newest.this_update) / 4) else Level.FINE
    return Item(level, "crl", say("status.crl-end", **parts, day=_day(end), days=_days(end - now)), end)


def _issuers(believed: Believed) -> tuple[bytes, ...]:
    trust = believed.trust
    ders = (
        *(one.certificate for one in trust.anchors),
        *trust.intermediates,
        *(one.anchor for one in trust.authorities),
    )
    return tuple(dict.fromkeys((*ders, *believed.certificates)))


def _deny(believed: Believed) -> Iterator[Item]:
    if believed.deny_version:
        number = len(believed.denied) - len(believed.trust.denied)
        yield Item(Level.FINE, "deny", say("status.deny", version=believed.deny_version, number=number))


def _dues(trust: TrustFile, now: datetime, within: timedelta) -> Iterator[Item]:
    for rule in trust.rules:
        yield from _due(say("status.what-rule", name=rule.name), rule.review, now, within)
        for pin in (signer.pins_until for signer in rule.signers):
            if pin is not None and pin < now + within:
                parts = {"name": rule.name, "day": _day(pin)}
                said = say("status.pin-late", **parts) if pin < now else say("status.pin", **parts)
                yield Item(Level.ATTENTION, "pin", said, pin)
    for known in trust.evidence:
        yield from _due(say("status.what-key", key=known.key), known.review, now, within)


def _due(what: str, review: datetime | None, now: datetime, within: timedelta) -> Iterator[Item]:
    if review is not None and review < now + within:
        parts = {"what": what, "day": _day(review)}
        said = say("status.review-late", **parts) if review < now else say("status.review", **parts)
        yield Item(Level.ATTENTION, "review", said, review)


def _people(trust: TrustFile, now: datetime, within: timedelta) -> Iterator[Item]:
    """Who is about to leave. An officer's signature has no end: one who left must be replaced, so it stays on the list."""
    holders = {key.person for key in (*trust.officers.keys, *trust.recovery.keys)}
    for person in trust.persons:
        if person.until is None or person.until > now + within:
            continue
        if person.id in holders:
            said = say("status.until-officer", person=person.id, day=_day(person.until))
            yield Item(Level.ATTENTION, "officer", said, person.until)
        elif person.until > now:
            yield Item(
                Level.ATTENTION, "person", say("status.until", person=person.id, day=_day(person.until)), person.until
            )


def _certificates(trust: TrustFile, now: datetime, within: timedelta) -> Iterator[Item]:
    for anchor in trust.anchors:
        yield from _ending("anchor", anchor.name, anchor.certificate, now, within)
    for authority in trust.authorities:
        yield from _ending("authority", authority.name, authority.anchor, now, within)
        last = authority.last_token
        if last is not None and now < last < now + within:
            yield Item(
                Level.ATTENTION, "authority", say("status.last-token", name=authority.name, day=_day(last)), last
            )


def _ending(what: str, name: str, der: bytes, now: datetime, within: timedelta) -> Iterator[Item]:
    end = load_certificate(der, name).not_valid_after_utc
    if end < now + within:
        parts = {"name": name, "day": _day(end)}
        said = say(f"status.{what}-late", **parts) if end < now else say(f"status.{what}", **parts)
        yield Item(Level.ATTENTION, what, said, end)


def _later(time: datetime, span: timedelta) -> datetime:
    """A sum that stays among the years there are: officers may write 999999d for "always"."""
    return time + min(span, LAST - time)


def _days(span: timedelta) -> int:
    return span // DAY


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"
