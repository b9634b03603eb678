"""A question to the policies: who wants to do what, with which artifact and key, under which circumstances.

    Question(
        Principal("p-17", "p-17", False, "acme", frozenset({Role.REQUESTER})),
        Action.SIGN,
        Subject(tenant="acme", key="release", format="rauc", product="VX-200", environment=Environment.PRODUCTION),
        Context(now, approvals=2),
    )

A value here is a fact that the asker has checked, or it stays what it is by default, which is always the least that a rule can be
given: no claim, no approval, no verified builder.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal
from sealwright.trust.model import Environment


class Action(StrEnum):
    """What somebody wants to do."""

    REQUEST = "request"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    SIGN = "sign"
    READ = "read"
    READ_LOG = "read-log"
    MANAGE_KEYS = "manage-keys"
    CHANGE_POLICY = "change-policy"
    BREAK_GLASS = "break-glass"
    OPERATE = "operate"
    PREPARE = "prepare"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the question is about; "" and None where it is about nothing of that kind, as `operate` is about no artifact.

    key: the enrolled key's name; provenance: of that key; format: an artifact's format or a statement's kind; count: how many artifacts the
    request signs; claims_signed: product and so on were read from bytes that are signed, not only asserted.
    """

    tenant: str
    key: str = ""
    provenance: Provenance | None = None
    format: str = ""
    product: str = ""
    version: str = ""
    environment: Environment | None = None
    hardware: tuple[str, ...] = ()
    count: int = 1
    claims_signed: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """How many artifacts were signed in the 60 minutes and the 24 hours before now. They slide: at a full hour nobody gets twice as much."""

    hour: int = 0
    day: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances. now: aware, the service's clock.

    approvals: distinct persons who approved, none of them the requester; officers: how many of those are officers; requester: the person who
    answers for the request that is asked about, "" where there is none; builder: its id in the build provenance, which counts only with
    provenance_verified; build_type, source, source_ref: what that provenance says it was built as and of; prepares: distinct persons, none of them
    the requester, who or whose machines prepared their own copies and came to the same digests; uploaded: the service prepared the files
    itself and came to the same; by_principal, of_product: what quotas count;
    emergency: somebody says that this cannot wait.
    """

    now: datetime
    approvals: int = 0
    officers: int = 0
    requester: str = ""
    builder: str = ""
    provenance_verified: bool = False
    prepares: int = 0
    by_principal: Usage = Usage()
    of_product: Usage = Usage()
    emergency: bool = False
    build_type: str = ""
    source: str = ""
    source_ref: str = ""
    uploaded: bool = False

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError("a question without a time zone")


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that a rule may speak of."""

    principal: Principal
    action: Action
    resource: Subject
    context: Context


@dataclass(frozen=True, slots=True)
class Facts:
    """What follows from time and quotas, as names: the hours and freezes that it is now, the quotas that this would exceed.

    It is all that a rule learns of them, so that two questions with the same facts have the same answer.
    """

    hours: frozenset[str] = frozenset()
    freezes: frozenset[str] = frozenset()
    over: frozenset[str] = frozenset()
