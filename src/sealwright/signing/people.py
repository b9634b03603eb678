"""Who asks the service for something, as the register knows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person or machine is there for."""

    REQUESTER = "requester"
    APPROVER = "approver"
    OFFICER = "officer"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. id: register id (never a name); person: the id that counts for four eyes: its own, or of the person who answers for a machine.

    claims: of a CI token, checked, e.g. ("repository", "acme/fw"), ("ref", "refs/tags/v1").
    """

    id: str
    person: str
    machine: bool
    tenant: str
    roles: frozenset[Role]
    claims: tuple[tuple[str, str], ...] = ()
