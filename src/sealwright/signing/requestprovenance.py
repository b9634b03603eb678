"""The build provenance of a request: judged when it is asked and again when it is used, and kept beside it.

The request's own bytes, which approvers sign, have the statement's digest; so does its entry in the log (`build`). The row only has
the octets: where they are gone, or others, nothing is signed (A130). Whom the policies trust is asked of those of today.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.errors import LogRefused, ProvenanceRefused
from sealwright.formats.format import Prepared
from sealwright.log.writer import NewRow
from sealwright.signing.builder import NOTHING, Proven, judged
from sealwright.signing.policy import Policies
from sealwright.signing.policyexplain import Explained, explain
from sealwright.signing.policyquestion import Question
from sealwright.signing.policyrules import Effect
from sealwright.signing.policyschema import OF_PROVENANCE
from sealwright.signing.provenance import read_provenance
from sealwright.signing.request import SigningRequest
from sealwright.signing.storedrequest import TAMPERED
from sealwright.signing.tables import PROVENANCE
from sealwright.texts.words import say

_PROVENANCE = insert(PROVENANCE)
_READS = frozenset(f"context.{name}" for name in (*OF_PROVENANCE, "provenance_verified"))


def proven_of(data: bytes, artifacts: Sequence[Prepared], policies: Policies) -> Proven:
    """What rules may know of the build; b"" for no statement. ProvenanceRefused, LimitExceeded."""
    if not data:
        return NOTHING
    return judged(read_provenance(data, "provenance"), policies.settings.builders, artifacts)


def provenance_rows(id_: str, data: bytes) -> list[NewRow]:
    """A statement beside its request, in the transaction that records it; none for b""."""
    return [NewRow(_PROVENANCE, {"request": id_, "statement": data})] if data else []


def kept(connection: Connection, request: SigningRequest) -> bytes:
    """The statement that a request names, b"" where it names none; LogRefused where it is gone or another one: it signs nothing."""
    data = shown(connection, request)
    if not data and request.provenance is not None:
        raise LogRefused(request.id, "the build provenance that it names is gone", TAMPERED)
    return data


def shown(connection: Connection, request: SigningRequest) -> bytes:
    """The same to look at: b"" too where it was erased since; LogRefused where it is another one."""
    data = connection.execute(select(PROVENANCE.c.statement).where(PROVENANCE.c.request == request.id)).scalar()
    if data is None or request.provenance is None:
        return b""
    if Digest.of(bytes(data)) != request.provenance:
        raise LogRefused(request.id, "the build provenance beside it is not the one that it names", TAMPERED)
    return bytes(data)


def is_verified(data: bytes, artifacts: Sequence[Prepared], policies: Policies) -> bool:
    """Whether a builder signed it that the policies trust now."""
    try:
        return proven_of(data, artifacts, policies).verified
    except ProvenanceRefused:
        return False


def wanted_and_found(policies: Policies, question: Question) -> str:
    """What rules wanted of the build provenance where they refuse, and what there was; "" where they want nothing of it."""
    looking = [one for one in explain(policies, question) if one.rule.reads & _READS]
    forbidding = [one for one in looking if one.rule.effect is Effect.FORBID and not one.missing]
    permitting = [one for one in looking if one.rule.effect is Effect.PERMIT and one.missing]
    wanted = [_wanted(one) for one in forbidding or permitting[:1]]
    if not wanted:
        return ""
    context = question.context
    if not context.provenance_verified:
        return "; ".join(["", *wanted, say("policy.provenance-none")])
    found = say(
        "policy.provenance-found",
        builder=display(context.builder),
        type=display(context.build_type),
        source=display(context.source) or "-",
        ref=display(context.source_ref) or "-",
    )
    return "; ".join(["", *wanted, found])


def _wanted(one: Explained) -> str:
    parts = one.missing or one.parts
    words = [say("policy.explain-except", words=part.words) if part.excepts else part.words for part in parts]
    return say("policy.provenance-wanted", rule=one.rule.id, words=", ".join(words))
