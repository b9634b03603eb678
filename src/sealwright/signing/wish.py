"""What somebody asks of a service, judged before anything is recorded: parsed, bounded, and asked of the policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.errors import (
    LimitExceeded,
    PolicyRefused,
    RequestRefused,
)
from sealwright.formats.format import Prepared
from sealwright.log.canonical import Field, canonical_json
from sealwright.signing.desk import Desk
from sealwright.signing.items import MAX_ITEMS, Item, prepared_of, root_of_items
from sealwright.signing.pipeline import CONTENT_CHECKS, says_claims
from sealwright.signing.policy import MOST_NEEDED, Decision, Needed, Policies
from sealwright.signing.policyquestion import Action, Question, Subject
from sealwright.signing.privatepart import MAX_TEXT
from sealwright.signing.request import SigningRequest
from sealwright.signing.requestprovenance import wanted_and_found
from sealwright.trust.model import Environment

VALID = timedelta(hours=24)
LONGEST = timedelta(days=14)
MAX_CLAIMS = 256  # different ones in a request, each of which is asked of the policies
MAX_WORD = 200


@dataclass(frozen=True, slots=True)
class ServedKey:
    """A key in service. tenant: whose it is."""

    desk: Desk
    tenant: str

    @property
    def name(self) -> str:
        """What the home calls it."""
        return self.desk.enrolled.name


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. key: its name; reason: free text for approvers, ""; word: the client's own name for it, "".

    provenance: a statement of its build as it came, b"" for none; valid: how long it may be approved and used.
    """

    key: str
    items: Sequence[Item]
    reason: str = ""
    word: str = ""
    emergency: bool = False
    provenance: bytes = b""
    valid: timedelta = VALID


def prepared_items(wish: Wish) -> list[Prepared]:
    """What is to be signed, all of one format and kind. RequestRefused or LimitExceeded for what no request may be of."""
    if not 1 <= len(wish.items) <= MAX_ITEMS:
        raise LimitExceeded("items", f"{len(wish.items)} artifacts", f"A request is of 1 to {MAX_ITEMS}.")
    if len(wish.reason) > MAX_TEXT or not wish.reason.isprintable() or len(wish.word) > MAX_WORD:
        raise RequestRefused("request", "its reason or its own name is too long or not printable", "Shorten it.")
    if not timedelta(minutes=1) <= wish.valid <= LONGEST:
        raise RequestRefused("request", "it shall hold for less than a minute or more than 14 days", "Choose between.")
    prepared = [prepared_of(item, f"item {number}") for number, item in enumerate(wish.items)]
    if any((one.format, one.kind) != (prepared[0].format, prepared[0].kind) for one in prepared):
        raise RequestRefused("items", "they are of several formats", "Ask for each format by itself.")
    contents = {one.content is not None for one in prepared}
    if len(contents) > 1:
        raise RequestRefused("items", "some come with their content, others without", "Ask for those by themselves.")
    if True in contents and prepared[0].kind not in CONTENT_CHECKS:
        raise RequestRefused("items", f"nobody reads the content of a {prepared[0].kind}", "Ask with its digest alone.")
    if len({one.claims for one in prepared}) > MAX_CLAIMS:
        raise LimitExceeded("items", f"more than {MAX_CLAIMS} different claims", "Ask in smaller parts.")
    return prepared


def needed_for(policies: Policies, questions: Sequence[Question]) -> Needed:
    """What all of the artifacts need; RequestRefused where one may not be asked for, or nothing would allow its signature."""
    most = Needed(0, 0)
    for question in questions:
        decision = policies.decide(question)
        if not decision.allowed:
            raise _refused(policies, question, decision)
        signing = Question(question.principal, Action.SIGN, question.resource, question.context)
        needed = next(filter(None, map(policies.needed, _with_work(policies, signing))), None)
        if needed is None:
            raise _refused(policies, signing, policies.decide(signing))
        most = Needed(
            max(most.approvals, needed.approvals),
            max(most.officers, needed.officers),
            max(most.prepares, needed.prepares),
            most.uploaded or needed.uploaded,
        )
    return most


def _with_work(policies: Policies, question: Question) -> Iterator[Question]:
    """The question as it is, and as it would be after second prepares and an upload, those with the least work first."""
    reads = policies.seen.context
    prepares = MOST_NEEDED if "prepares" in reads else int("second_prepare" in reads)
    uploads = (False, True) if "uploaded" in reads else (False,)
    for uploaded in uploads:
        for number in range(prepares + 1):
            done = (question.context.prepares, question.context.uploaded) == (number, uploaded)
            context = question.context if done else replace(question.context, prepares=number, uploaded=uploaded)
            yield Question(question.principal, question.action, question.resource, context)


def _refused(policies: Policies, question: Question, decision: Decision) -> PolicyRefused:
    what = decision.reason + wanted_and_found(policies, question)
    return PolicyRefused("policy", what, decision.advice or "Ask who decides what is allowed.")


def claims_are_signed(prepared: Sequence[Prepared]) -> bool:
    """Whether what each of them claims is read from bytes that are signed."""
    return all(says_claims(one) for one in prepared)


def subject_of(key: ServedKey, form: str, claims: Claims, count: int, signed: bool) -> Subject:
    """What the policies are asked about. signed: the claims were read from bytes that are signed."""
    enrolled = key.desk.enrolled
    return replace(
        about(claims),
        tenant=key.tenant,
        key=enrolled.name,
        provenance=enrolled.provenance,
        format=form,
        count=count,
        claims_signed=signed,
    )


def subject_seen(request: SigningRequest) -> Subject:
    """What the policies are asked about where somebody reads, approves or withdraws a request: what its own bytes say."""
    return replace(about(request.claims), tenant=request.tenant, format=request.format, count=request.count)


def about(claims: Claims) -> Subject:
    """What of claims a rule may speak of; RequestRefused for an environment that there is not."""
    try:
        environment = None if claims.environment is None else Environment(claims.environment)
    except ValueError as cause:
        raise RequestRefused(
            "environment", f"{claims.environment!r} is none", "Say production, test or development."
        ) from cause
    return Subject(
        tenant="",
        product=claims.product or "",
        version=claims.version or "",
        environment=environment,
        hardware=claims.hardware,
    )


def body_of(wish: Wish) -> bytes:
    """What must be the same where a word is said again."""
    root = root_of_items([item.line for item in wish.items])
    said: dict[str, Field] = {
        "key": wish.key,
        "root": root.hex(),
        "reason": wish.reason,
        "emergency": int(wish.emergency),
    }
    if wish.provenance:
        said["provenance"] = str(Digest.of(wish.provenance))
    return Digest.of(canonical_json(said)).value
