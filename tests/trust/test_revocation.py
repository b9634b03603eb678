"""Revocation as an officer would read it: what a list says of a signature made before, after or at no proved time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat import asn1

from kit.certs import DAY, NOW, Chain, Made, chain, entry, listed, made, name
from sealwright.trust.revocation import CrlTable, Revocation, State, authority_revocation, revocation

Reason = x509.ReasonFlags
COMPROMISED = [Reason.key_compromise, Reason.ca_compromise, Reason.aa_compromise, Reason.unspecified, None]
ORDERLY = [Reason.superseded, Reason.cessation_of_operation, Reason.affiliation_changed, Reason.privilege_withdrawn]


def day(number: int) -> datetime:
    """Day 0 is the day the certificate began; NOW is day 100."""
    return NOW + (number - 100) * DAY


@cache
def pki() -> Chain:
    """One path for all tables; what is listed differs."""
    return chain()


def table(*entries: x509.RevokedCertificate, issuer: Made | None = None, **how: object) -> CrlTable:
    """A list of the CA, checked."""
    by = issuer or pki().ca
    return CrlTable.load(listed(by, *entries, **how), [by.certificate])  # type: ignore[arg-type]


def ask(
    tables: Sequence[CrlTable],
    proved: datetime | None = None,
    judged: datetime = NOW,
    max_age: timedelta | None = None,
    min_number: int = 0,
    leaf: Made | None = None,
) -> Revocation:
    """What the lists say of the signer's certificate."""
    one = pki()
    who = (leaf or one.leaf).certificate
    return revocation(who, one.ca.certificate, tables, proved, judged, max_age, min_number)


def of_leaf(date: int, reason: x509.ReasonFlags | None = None, invalid: int | None = None) -> x509.RevokedCertificate:
    """An entry for the signer, by days."""
    return entry(pki().leaf.certificate, day(date), reason, None if invalid is None else day(invalid))


def silent(made_on: int = 99, **how: object) -> CrlTable:
    """A list of that day without the signer."""
    return table(this_update=day(made_on), **how)


# (revoked on, invalid since, reason) x (signature proved on) -> state
BEFORE, AFTER, GOOD, HOLD = State.REVOKED_BEFORE, State.REVOKED_AFTER, State.GOOD, State.ON_HOLD
RULES = [
    (20, 10, Reason.key_compromise, 5, AFTER),
    (20, 10, Reason.key_compromise, 10, BEFORE),
    (20, 10, Reason.key_compromise, 15, BEFORE),
    (20, 10, Reason.key_compromise, 25, BEFORE),
    (20, 10, Reason.key_compromise, None, BEFORE),
    *[(20, None, reason, proved, BEFORE) for reason in COMPROMISED for proved in (5, 25, None)],
    *[(20, 10, reason, 5, AFTER) for reason in COMPROMISED],
    *[(20, None, reason, 5, AFTER) for reason in ORDERLY],
    *[(20, None, reason, 20, BEFORE) for reason in ORDERLY],
    *[(20, None, reason, None, BEFORE) for reason in ORDERLY],
    (20, 10, Reason.superseded, 15, BEFORE),
    (20, 30, Reason.superseded, 25, BEFORE),  # an invalidity date never moves a revocation forward
    (20, None, Reason.certificate_hold, 5, HOLD),
    (20, None, Reason.certificate_hold, 25, HOLD),
    (20, None, Reason.certificate_hold, None, HOLD),
]


@pytest.mark.parametrize(("revoked", "invalid", "reason", "proved", "state"), RULES)
def test_an_entry_counts_from_its_invalidity_date_else_its_revocation_date(
    revoked: int, invalid: int | None, reason: x509.ReasonFlags | None, proved: int | None, state: State
) -> None:
    when = None if proved is None else day(proved)
    assert ask([silent()], when).state is GOOD
    assert ask([table(of_leaf(revoked, reason, invalid))], when).state is state


def test_the_answer_says_from_when_and_why() -> None:
    found = ask([table(of_leaf(20, Reason.key_compromise, 10))], day(25))
    assert (found.effective, found.reason) == (day(10), "keyCompromise")
    assert ask([table(of_leaf(20))], day(25)).reason == "no reason given"


def test_of_several_lists_the_earliest_date_wins_and_a_forgetful_newer_list_heals_nothing() -> None:
    old = table(of_leaf(20, Reason.superseded), number=1, this_update=day(21))
    later = table(of_leaf(40, Reason.superseded), number=2, this_update=day(41))
    for lists in ([old, later, silent(number=3)], [silent(number=3), later, old]):
        found = ask(lists, day(30))
        assert (found.state, found.effective) == (BEFORE, day(20))
    assert ask([later, silent(number=3)], day(30)).state is AFTER


def test_a_compromise_on_any_list_outweighs_an_orderly_end_on_another() -> None:
    lists = [table(of_leaf(20, Reason.superseded), number=1), table(of_leaf(40, Reason.key_compromise), number=2)]
    found = ask(lists, day(10))
    assert (found.state, found.reason) == (BEFORE, "keyCompromise")


def test_a_hold_ends_with_the_newest_list_that_no_longer_has_it() -> None:
    held = table(of_leaf(20, Reason.certificate_hold), number=1, this_update=day(21))
    assert ask([held, silent(number=2)], day(10)).state is GOOD
    newer = table(of_leaf(20, Reason.certificate_hold), number=3, this_update=day(99))
    assert ask([newer, silent(number=2, made_on=50)], day(10)).state is HOLD


def test_a_hold_that_became_a_revocation_is_one() -> None:
    held = table(of_leaf(20, Reason.certificate_hold), number=1, this_update=day(21))
    final = table(of_leaf(20, Reason.superseded), number=2)
    assert ask([held, final], day(10)).state is AFTER
    assert ask([held, final], day(30)).state is BEFORE


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_entries_of_one_serial_the_graver_counts(order: int) -> None:
    pairs = [
        [of_leaf(20, Reason.superseded), of_leaf(30, Reason.key_compromise)],
        [of_leaf(20, Reason.certificate_hold), of_leaf(30, Reason.key_compromise)],
        [of_leaf(20, Reason.superseded, 5), of_leaf(8, Reason.superseded)],
    ]
    for pair in pairs:
        assert ask([table(*pair[::order])], day(6)).state is BEFORE


SILENCE = [
    ("newer than the signature", {"made_on": 99}, {"proved": day(50)}, ""),
    ("of the moment of the signature", {"made_on": 99}, {"proved": day(99)}, ""),
    ("older than the signature", {"made_on": 99}, {"proved": NOW}, "made before the signature"),
    ("without a proved time", {"made_on": 99}, {}, ""),
    ("past its next update", {"made_on": 50, "next_update": day(60)}, {"proved": day(40)}, "too old"),
    ("on its next update", {"made_on": 50, "next_update": NOW}, {"proved": day(40)}, ""),
    ("older than the rule allows", {"made_on": 97}, {"max_age": 2 * DAY}, "too old"),
    ("as old as the rule allows", {"made_on": 97}, {"max_age": 3 * DAY}, ""),
    ("past its next update, but the rule allows more", {"made_on": 50, "next_update": day(60)}, {"max_age": 60 * DAY}, ""),
    ("from the future", {"made_on": 101}, {}, "from the future"),
    ("with the oldest number allowed", {"number": 7}, {"min_number": 7}, ""),
    ("with a number too old", {"number": 6}, {"min_number": 7}, "number 6, wanted is at least 7"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "how", "question", "why"), SILENCE, ids=[row[0] for row in SILENCE])
def test_silence_is_evidence_only_from_a_list_that_could_have_known(
    case: str, how: dict[str, object], question: dict[str, object], why: str
) -> None:
    found = ask([silent(**how)], **question)  # type: ignore[arg-type]
    assert found.state is (State.UNKNOWN if why else GOOD)
    assert why in found.why


def test_an_entry_counts_however_old_the_list() -> None:
    stale = table(of_leaf(20, Reason.superseded), this_update=day(21), next_update=day(22), number=1)
    assert ask([stale], day(30), min_number=99).state is BEFORE
    assert ask([stale], day(10), min_number=99).state is AFTER


def _keeps(since: datetime) -> list[tuple[x509.ExtensionType, bool]]:
    value = asn1.encode_der(asn1.GeneralizedTime(since))
    return [(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.60"), value), False)]


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({"made_on": 50}, GOOD),
        ({"made_on": 99}, State.UNKNOWN),
        ({"made_on": 99, "extra": _keeps(day(0))}, GOOD),
        ({"made_on": 99, "extra": _keeps(day(60))}, GOOD),
        ({"made_on": 99, "extra": _keeps(day(61))}, State.UNKNOWN),
    ],
    ids=["made in its life", "made after", "keeps all", "keeps those since its end", "keeps only later ones"],
)
def test_a_list_made_after_a_certificates_end_knows_of_it_only_if_it_keeps_ended_ones(
    how: dict[str, object], state: State
) -> None:
    ended = made("ended", pki().ca, after=day(60))
    assert ask([silent(**how)], day(40), leaf=ended, max_age=100 * DAY).state is state


def test_without_a_list_nothing_is_known() -> None:
    found = ask([])
    assert (found.state, found.why) == (State.UNKNOWN, "there is no revocation list of its issuer")


def test_a_list_of_another_issuer_says_nothing_even_with_the_same_serial_or_key() -> None:
    one = pki()
    stranger = made("stranger", ca=True)
    namesake = made("namesake", one.root, ca=True, key=one.ca.key)
    for other in (stranger, namesake):
        listing = table(of_leaf(20, Reason.superseded), issuer=other)
        assert ask([listing], day(30)).state is State.UNKNOWN
        assert ask([table(issuer=other)], day(30)).state is State.UNKNOWN


def _place(url: str) -> list[x509.GeneralName]:
    return [x509.UniformResourceIdentifier(url)]


def _published(url: str) -> list[tuple[x509.ExtensionType, bool]]:
    point = x509.IssuingDistributionPoint(_place(url), None, False, False, None, False, False)
    return [(point, True)]


def _points(*urls: str, reasons: frozenset[x509.ReasonFlags] | None = None) -> list[tuple[x509.ExtensionType, bool]]:
    points = [x509.DistributionPoint(_place(url), None, reasons, None) for url in urls]
    return [(x509.CRLDistributionPoints(points), False)]


def test_one_of_several_lists_of_a_ca_is_silent_only_about_the_certificates_that_name_it() -> None:
    here, there = "http://crl.example/1.crl", "http://crl.example/2.crl"
    mine = made("mine", pki().ca, extra=_points("ldap://crl.example", here))
    other = made("other", pki().ca, extra=_points(there))
    some = made("some", pki().ca, extra=_points(here, reasons=frozenset((Reason.key_compromise,))))
    part = silent(extra=_published(here))
    assert ask([part], leaf=mine).state is GOOD
    for leaf in (other, some, pki().leaf):
        assert ask([part], leaf=leaf).state is State.UNKNOWN
        assert ask([silent()], leaf=leaf).state is GOOD
    hit = table(entry(other.certificate, day(20), Reason.superseded), extra=_published(here))
    assert ask([hit], day(30), leaf=other).state is BEFORE


AUTHORITY = [
    *[(20, None, reason, 19, AFTER) for reason in ORDERLY[:3]],
    *[(20, None, reason, 20, BEFORE) for reason in ORDERLY[:3]],
    (20, 10, Reason.superseded, 15, BEFORE),
    *[(20, None, reason, 5, BEFORE) for reason in [*COMPROMISED, Reason.privilege_withdrawn]],
    *[(20, 10, reason, 5, BEFORE) for reason in COMPROMISED],
    (20, None, Reason.certificate_hold, 5, BEFORE),
]


@pytest.mark.parametrize(("revoked", "invalid", "reason", "at", "state"), AUTHORITY)
def test_only_an_orderly_end_of_an_authority_leaves_its_earlier_tokens_valid(
    revoked: int, invalid: int | None, reason: x509.ReasonFlags | None, at: int, state: State
) -> None:
    who, issuer = pki().leaf.certificate, pki().ca.certificate
    assert authority_revocation(who, issuer, [silent()], day(at)).state is GOOD
    assert authority_revocation(who, issuer, [table(of_leaf(revoked, reason, invalid))], day(at)).state is state


def test_an_authoritys_hold_ends_with_the_newest_list_that_no_longer_has_it() -> None:
    held = table(of_leaf(20, Reason.certificate_hold), number=1, this_update=day(21))
    who, issuer = pki().leaf.certificate, pki().ca.certificate
    assert authority_revocation(who, issuer, [held], day(10)).state is BEFORE
    assert authority_revocation(who, issuer, [held, silent(number=2)], day(10)).state is GOOD


def test_an_authoritys_list_of_another_issuer_says_nothing() -> None:
    stranger = made("stranger", ca=True, subject=name("CA"))
    listing = table(of_leaf(20), issuer=stranger)
    who, issuer = pki().leaf.certificate, pki().ca.certificate
    assert authority_revocation(who, issuer, [listing], day(30)).state is GOOD


def test_a_list_is_walked_once_and_asked_quickly() -> None:
    entries = [entry(serial, day(20)) for serial in range(1, 20_001)]
    der = listed(pki().ca, *entries)
    issuers = [pki().ca.certificate]
    first = CrlTable.load(der, issuers)
    assert len(first.entries) == 20_000
    assert CrlTable.load(bytes(bytearray(der)), issuers) is first
    begun = time.perf_counter()
    for _ in range(2_000):
        ask([first])
    assert time.perf_counter() - begun < 1  # a walk for each look-up would take a hundred times as long
