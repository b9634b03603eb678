"""Whether a request may be used now, judged from what nobody can have written into a database (A130); without input or output.

check_state(stored, now)                 its row and its day
asker_now(stored, people, now)           who asked is still there
check_history(stored, history)           the log says what the row says
judge_use(...)                           approvals, items, signatures, policies: what is left to sign, and who let it through
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import IdentityRefused, LogRefused, RequestOver, RequestRefused
from sealwright.formats.format import Prepared
from sealwright.signing.approval import Approval, approvers
from sealwright.signing.history import History
from sealwright.signing.items import prepared_of, root_of_items
from sealwright.signing.orders import Value
from sealwright.signing.people import People, Principal, Role
from sealwright.signing.policy import FollowUp, Policies
from sealwright.signing.policyquestion import Action, Context, Question
from sealwright.signing.preparers import Preparers, preparers_of
from sealwright.signing.requestprovenance import proven_of
from sealwright.signing.storedrequest import TAMPERED, StoredRequest
from sealwright.signing.tables import State
from sealwright.signing.wish import ServedKey, claims_are_signed, subject_of, subject_seen

OVER = frozenset((State.SIGNED, State.WITHDRAWN, State.EXPIRED))
_AGAIN = "Ask for the signatures again."


@dataclass(frozen=True, slots=True)
class Judged:
    """A request that may be used. principal: who asks, as they are now; approvers, preparers: by person the digest of the proof that counts.

    left: what has no signature yet, by its number; follow_up: what an emergency owes, None where it was none.
    """

    principal: Principal
    approvers: Mapping[str, Digest]
    preparers: Mapping[str, Digest]
    left: Mapping[int, Prepared]
    follow_up: FollowUp | None


def check_state(stored: StoredRequest, now: datetime) -> None:
    """RequestOver where by its row it is used or over, or its day has passed."""
    if stored.state in OVER or stored.state is State.SIGNING:
        raise RequestOver(stored.id, f"it is {stored.state}", "Ask for the signatures again where you need them.")
    if not stored.request.holds(now):
        raise RequestOver(stored.id, f"it was good until {stored.request.expires:%Y-%m-%d %H:%M} UTC", _AGAIN)


def asker_now(stored: StoredRequest, people: People, now: datetime) -> Principal:
    """Who asked, with the roles that they had then and have still; RequestRefused where they are gone, or are somebody else's now.

    A role that was given since would be what the requester waited for (A114); LogRefused where who asked was erased.
    """
    if stored.asker is None:
        raise LogRefused(stored.id, "the record of who asked is gone", TAMPERED)
    then = stored.asker.principal
    try:
        today = people.principal(then.id, now)
    except IdentityRefused as cause:
        raise RequestRefused("requester", "who asked is no longer in the register", "Ask anew.") from cause
    if (today.tenant, today.machine, today.person) != (then.tenant, then.machine, then.person):
        raise RequestRefused("requester", "somebody else answers for who asked now", "Ask anew.")
    return replace(then, roles=then.roles & today.roles)


def check_asked(stored: StoredRequest, history: History) -> None:
    """LogRefused where the log does not have what was asked as its row does, or nobody can say any more who asked."""
    if history.request != stored.entry():
        raise LogRefused(stored.id, "the log does not have it as it stands here", TAMPERED)
    if stored.asker is None:
        raise LogRefused(stored.id, "the record of who asked is gone", TAMPERED)


def check_history(stored: StoredRequest, history: History) -> None:
    """LogRefused where the log has the request otherwise than its row; RequestOver where its emergency was looked at: what officers
    have settled is signed no further."""
    check_asked(stored, history)
    if history.outcome is not None:
        raise RequestOver(stored.id, f"officers have looked at this emergency, and it is {history.outcome}", _AGAIN)
    if history.over is not None:
        raise LogRefused(stored.id, f"by its row it is {stored.state}, and by the log it is {history.over}", TAMPERED)
    if history.attempts != stored.attempt:
        raise LogRefused(
            stored.id, f"by the log it was used {history.attempts} times, and by its row {stored.attempt}", TAMPERED
        )


def judge_use(
    stored: StoredRequest,
    history: History,
    approvals: Sequence[Approval],
    prepares: Sequence[Approval],
    made: Mapping[int, Value],
    statement: bytes,
    key: ServedKey,
    policies: Policies,
    people: People,
    now: datetime,
    context: Callable[[Principal, str], Context],
) -> Judged | None:
    """What a use would be; None where the policies want more approvals, prepares or uploads. statement: the build provenance that came with
    it, b"" for none; context: circumstances for a principal and a product.

    Raises LogRefused where rows say otherwise than the log, RequestRefused for an approval or a prepare that does not hold.
    """
    request = stored.request
    items = list(stored.items())
    if root_of_items([item.line for item in items]) != request.root or len(items) != request.count:
        raise LogRefused(stored.id, "the list of what it signs is another one", TAMPERED)
    if sorted(str(Digest.of(one.value)) for one in made.values()) != sorted(map(str, history.signatures)):
        raise LogRefused(
            stored.id, f"{len(history.signatures)} signatures of it are in the log, and {len(made)} here", TAMPERED
        )
    if any(Digest.of(one.proof) not in history.approvals for one in approvals):
        raise LogRefused(stored.id, "an approval of it is not in the log", TAMPERED)
    if any(Digest.of(one.proof) not in history.prepares for one in prepares):
        raise LogRefused(stored.id, "a second prepare of it is not in the log", TAMPERED)
    principal = asker_now(stored, people, now)
    register = people.approvers(request.tenant, now)
    subject = subject_seen(request)

    def may(who: Principal, action: Action, at: datetime) -> bool:
        """By the policies of today, for what was said then: who lost the right has not said it."""
        circumstances = Context(at, requester=principal.person)
        return policies.decide(Question(who, action, subject, circumstances)).allowed

    def may_approve(person: str, at: datetime) -> bool:
        return may(people.principal(person, now), Action.APPROVE, at)

    def may_prepare(who: Principal, proof: Digest) -> bool:
        return may(who, Action.PREPARE, history.prepares[proof])

    found = approvers(request.encoded(), approvals, principal.person, register)
    persons = {person: proof for person, proof in found.items() if may_approve(person, history.approvals[proof])}
    others = preparers_of(request, prepares, principal.person, Preparers(people, request.tenant, now), may_prepare)
    uploaded = len(history.uploaded) == request.count
    officers = [person for person in persons if Role.OFFICER in people.persons[person].roles]
    prepared = [prepared_of(item, f"item {number}") for number, item in enumerate(items)]
    proven = proven_of(statement, prepared, policies)
    owed: list[FollowUp] = []

    def asked(claims: Claims, who: Principal, action: Action) -> Question:
        return Question(
            who,
            action,
            subject_of(key, request.format, claims, request.count, claims_are_signed(prepared)),
            replace(
                proven.within(context(who, claims.product or "")),
                approvals=len(persons),
                officers=len(officers),
                prepares=len(others),
                uploaded=uploaded,
            ),
        )

    for claims in dict.fromkeys(one.claims for one in prepared):
        decision = policies.decide(asked(claims, principal, Action.SIGN))
        if not decision.allowed:
            return None
        if decision.follow_up is not None:
            callers = [principal, *(people.principal(officer, now) for officer in sorted(officers))]
            if not any(policies.decide(asked(claims, one, Action.BREAK_GLASS)).allowed for one in callers):
                return None
            owed.append(decision.follow_up)
    return Judged(
        principal=principal,
        approvers=persons,
        preparers=others,
        left={number: one for number, one in enumerate(prepared) if number not in made},
        follow_up=min(owed, key=lambda one: one.hours, default=None),
    )
