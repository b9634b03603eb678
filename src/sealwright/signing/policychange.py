"""A change of policies as officers approve it: canonical bytes, their signatures beside it, and whether that is enough (A132).

    {"edition":7,"expires":"2026-12-10T09:00:00Z","nonce":"4f…","not_before":"2026-11-26T09:00:00Z","origin":"log.acme.example/signing",
     "policy":"sha256:…","previous":"sha256:…","requester":"p3","service":"acme-signing","type":"sealwright/policy-change/1"}

    policies.changes/7.change          these bytes, RFC 8785 JSON
    policies.changes/7.olga.p7s        an approval of kind `approval`; what is between the points is for people
    policies.changes/6.change …        what was approved before may stay: it is good for nothing else

1. Editions are counted from 1 in the log, so that a change is good once: when the policies were changed back meanwhile, `previous` is
   the same digest, and the edition is another one.
2. Service and log are those of the place where it counts; requester is a person of the register, and never one of the approvers.
3. An approval is that of `approval.py`: distinct persons, with keys of today's register, who may approve today.
4. How many is what the policies before say of `change-policy`, as of today. Where no rule of theirs permits it at all, or one
   permits it with fewer than two others, it is two officers. What one of their rules forbids, no number of officers changes.
5. The service has keys of one tenant or of several: in each of them so many approve.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file, read_file_or_none, unreadable
from sealwright.errors import IdentityRefused, PolicyChangeRefused, RequestRefused
from sealwright.log.canonical import Field, canonical_json, read_canonical, read_time, time_text
from sealwright.signing.approval import MAX_APPROVALS, MAX_PROOF_BYTES, Approval, Scheme, approvers, key_of
from sealwright.signing.people import People, Principal, Role
from sealwright.signing.policy import MOST_NEEDED, Needed, Policies
from sealwright.signing.policydiff import is_proved_not_weaker, meaning
from sealwright.signing.policyquestion import Action, Context, Question, Subject
from sealwright.signing.policyrules import BUILT_IN_NAME, Effect, speaks_of
from sealwright.signing.request import NONCE_BYTES
from sealwright.texts.words import say

TYPE = "sealwright/policy-change/1"
CHANGE, APPROVAL = ".change", ".p7s"
MAX_CHANGE_BYTES = 4096
MAX_FILES = 10_000
MAX_VALID = timedelta(days=30)
FOUR_EYES = Needed(2, 2)
LEAST_PERSONS = 2
_TEXTS = ("service", "origin", "nonce", "requester")
_DIGESTS = ("previous", "policy")
_TIMES = ("not_before", "expires")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")
_ANEW = "Make the change anew and have it approved: sealwright policy change --help"


@dataclass(frozen=True, slots=True)
class Change:
    """edition: what the new policies become, from 2; previous, policy: digests of the sets before and after. Times to the second, aware."""

    service: str
    origin: str
    nonce: str
    requester: str
    edition: int
    previous: Digest
    policy: Digest
    not_before: datetime
    expires: datetime

    def encoded(self) -> bytes:
        """The bytes that officers sign."""
        named: dict[str, Field] = {
            "type": TYPE,
            "edition": self.edition,
            **{name: getattr(self, name) for name in _TEXTS},
            **{name: str(getattr(self, name)) for name in _DIGESTS},
            **{name: time_text(getattr(self, name)) for name in _TIMES},
        }
        return canonical_json(named)


@dataclass(frozen=True, slots=True)
class SignedChange:
    """A change as it lies in its folder. path: of the change; data: its bytes; approvals: by the name of their file."""

    path: str
    data: bytes
    change: Change
    approvals: tuple[tuple[str, Approval], ...]


@dataclass(frozen=True, slots=True)
class Approved:
    """By whom, and the SHA-256 of the approvals that count."""

    persons: tuple[str, ...]
    proofs: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change is to count. tenants: whose keys are in service."""

    service: str
    origin: str
    tenants: tuple[str, ...]


def read_change(data: bytes, subject: str) -> Change:
    """Read a change; PolicyChangeRefused with what is wrong, for anything but its one form."""
    try:
        change = _change(read_canonical(data))
        if change.encoded() != data:
            raise ValueError("it is not in its one form")
        return change
    except (ValueError, KeyError) as cause:
        what = f"`{cause.args[0]}` is missing" if isinstance(cause, KeyError) else str(cause)
        raise PolicyChangeRefused(subject, f"it is no change of policies: {what[:200]}", _ANEW) from cause


def read_signed(folder: str, edition: int) -> SignedChange | None:
    """The change to an edition and its approvals; None where there is no such change. PolicyChangeRefused, Unreadable, LimitExceeded."""
    path = os.path.join(folder, f"{edition}{CHANGE}")
    data = read_file_or_none(path, MAX_CHANGE_BYTES)
    if data is None:
        return None
    change = read_change(data, path)
    approvals = tuple((name, _approval(os.path.join(folder, name))) for name in _approval_names(folder, edition))
    return SignedChange(path, data, change, approvals)


def needs_no_approval(old: Policies, new: Policies) -> bool:
    """Whether new policies are proved not weaker, and change nothing about how policies are changed.

    Else a rule that forbids every change would be let in by nobody, and out by nobody.
    """
    return is_proved_not_weaker(old, new) and _about_changes(old) == _about_changes(new)


def approved_by(
    signed: SignedChange, old: Policies, new: Policies, edition: int, place: Place, people: People, now: datetime
) -> Approved:
    """By whose approvals new policies may count; PolicyChangeRefused with the first thing that is missing or wrong."""
    change, path = signed.change, signed.path
    for what, wanted, found in (
        ("service", place.service, change.service),
        ("log", place.origin, change.origin),
        ("edition", edition, change.edition),
        ("policies before", old.digest, change.previous),
        ("policies", new.digest, change.policy),
    ):
        if wanted != found:
            raise PolicyChangeRefused(path, f"it is for another {what}: {found}, and here it is {wanted}", _ANEW)
    if not change.not_before <= now <= change.expires:
        when = f"{change.not_before:%Y-%m-%d %H:%M} to {change.expires:%Y-%m-%d %H:%M} UTC"
        raise PolicyChangeRefused(path, f"it holds from {when}, and it is {now:%Y-%m-%d %H:%M}", _ANEW)
    try:
        requester = people.principal(change.requester, now)
    except IdentityRefused as cause:
        raise PolicyChangeRefused(path, f"{change.requester}, who asks for it, does not count now", _ANEW) from cause
    if requester.machine:
        raise PolicyChangeRefused(path, f"{change.requester} is a machine, and a person answers for a change", _ANEW)
    for name, approval in signed.approvals:
        _check_approval(name, approval, signed)
    proofs: dict[str, Digest] = {}
    for tenant in place.tenants:
        proofs |= _enough(signed, old, replace(requester, tenant=tenant), people, now)
    return Approved(tuple(sorted(proofs)), tuple(proofs[person] for person in sorted(proofs)))


def needed_for_change(old: Policies, asking: Principal, now: datetime) -> Needed | str:
    """How many must approve that somebody changes these policies now; why nobody can, one clause."""
    question = Question(asking, Action.CHANGE_POLICY, Subject(asking.tenant), Context(now))
    needed = old.needed(question)
    if needed is not None:
        return needed if needed.approvals >= LEAST_PERSONS else FOUR_EYES
    decision = old.decide(replace(question, context=Context(now, approvals=MOST_NEEDED, officers=MOST_NEEDED)))
    permits = any(rule.effect is Effect.PERMIT and _is_about_changes(rule.form) for rule in old.rules)
    if not permits and decision.reason == say("policy.why-nothing"):
        return FOUR_EYES
    return decision.reason


def _enough(signed: SignedChange, old: Policies, asking: Principal, people: People, now: datetime) -> dict[str, Digest]:
    """The persons of one tenant who approve it, each with their proof, where they are as many as its policies demand."""
    needed = needed_for_change(old, asking, now)
    if isinstance(needed, str):
        what = f"by the policies before, {asking.id} may not change them, whoever approves: {needed}"
        raise PolicyChangeRefused(signed.path, what, _ANEW)
    persons = approvers(
        signed.data,
        [approval for _, approval in signed.approvals],
        asking.person,
        people.approvers(asking.tenant, now),
    )
    officers = sum(Role.OFFICER in people.persons[person].roles for person in persons)
    if len(persons) < needed.approvals or officers < needed.officers:
        who = ", ".join(sorted(persons)) or "nobody"
        what = (
            f"for {asking.tenant} it needs {needed.approvals} distinct persons beside {asking.id}, {needed.officers} of them"
            f" officers, and those who approve and may are: {who} ({officers} officers)"
        )
        raise PolicyChangeRefused(signed.path, what, f"Have it approved: sealwright policy approve {signed.path}")
    return persons


def _check_approval(name: str, approval: Approval, signed: SignedChange) -> None:
    """One that is of other bytes is no approval that somebody forgot: it refuses, by name."""
    try:
        key_of(signed.data, approval, name)
    except RequestRefused as cause:
        raise PolicyChangeRefused(
            os.path.join(os.path.dirname(signed.path), name),
            f"it is no approval of {os.path.basename(signed.path)} as it is",
            "Take this file away, and have the change approved anew.",
        ) from cause


def _about_changes(policies: Policies) -> frozenset[str]:
    own = (rule for rule in policies.rules if rule.file != BUILT_IN_NAME)
    return frozenset(meaning(rule) for rule in own if _is_about_changes(rule.form))


def _is_about_changes(form: str) -> bool:
    return speaks_of(json.loads(form), Action.CHANGE_POLICY)


def _approval_names(folder: str, edition: int) -> Sequence[str]:
    try:
        names = os.listdir(folder)
    except OSError as cause:
        raise unreadable(folder, cause) from cause
    found = sorted(name for name in names if name.startswith(f"{edition}.") and name.endswith(APPROVAL))
    if len(names) > MAX_FILES or len(found) > MAX_APPROVALS:
        raise PolicyChangeRefused(folder, "it holds too many files", f"At most {MAX_APPROVALS} approvals are read.")
    return found


def _approval(path: str) -> Approval:
    return Approval(Scheme.CMS, read_file(path, MAX_PROOF_BYTES))


def _change(named: Mapping[str, Field]) -> Change:
    if named["type"] != TYPE:
        raise ValueError("another type")
    if unknown := set(named) - {"type", "edition", *_TEXTS, *_DIGESTS, *_TIMES}:
        raise ValueError(f"`{min(unknown)[:40]}` is no field of it")
    texts = {name: str(named[name]) for name in _TEXTS}
    not_before, expires = (read_time(named[name]) for name in _TIMES)
    edition = named["edition"]
    if not isinstance(edition, int) or edition < 2:
        raise ValueError("`edition` is none that a change leads to")
    if not _NONCE.fullmatch(texts["nonce"]) or not all(texts.values()):
        raise ValueError("`nonce` is none, or a text is empty")
    if not timedelta(0) < expires - not_before <= MAX_VALID:
        raise ValueError(f"it holds longer than {MAX_VALID.days} days, or never")
    return Change(
        **texts,
        edition=edition,
        previous=Digest.parse(str(named["previous"])),
        policy=Digest.parse(str(named["policy"])),
        not_before=not_before,
        expires=expires,
    )
