"""Policies out of texts, and questions in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal, Role
from sealwright.signing.policy import Policies, parse_policies
from sealwright.signing.policyfolder import PolicyFile, PolicyFolder
from sealwright.signing.policyquestion import Action, Context, Question, Subject
from sealwright.trust.model import Environment

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "policies"
THURSDAY = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)  # ten o'clock in Berlin
FIRMWARE = Subject(
    "acme",
    key="release",
    provenance=Provenance.HARDWARE_ATTESTED,
    format="rauc",
    product="VX-200 drive",
    version="2.1.0",
    environment=Environment.PRODUCTION,
    hardware=("rev-c",),
    claims_signed=True,
)
ANNA = Principal("p-anna", "p-anna", False, "acme", frozenset({Role.REQUESTER}))
BEN = Principal("p-ben", "p-ben", False, "acme", frozenset({Role.APPROVER}))
OLGA = Principal("p-olga", "p-olga", False, "acme", frozenset({Role.APPROVER, Role.OFFICER}))
TAG = (
    ("repository", "acme/drive-firmware"),
    ("ref", "refs/tags/v2.1.0"),
    ("ref_type", "tag"),
    ("ref_protected", "true"),
)
CI = Principal("m-ci", "p-anna", True, "acme", frozenset({Role.REQUESTER}), TAG)


def policies(rules: str, settings: str = "", **more: str) -> Policies:
    """A set of one file of rules and the settings below their first line."""
    files = {"rules.cedar": rules, **{f"{name}.cedar": text for name, text in more.items()}}
    if settings:
        files["settings.toml"] = "# sealwright policy settings 1\n" + settings
    return policies_of(files)


def policies_of(files: Mapping[str, str | bytes]) -> Policies:
    """A set of files that lie nowhere."""
    read = [PolicyFile(name, data if isinstance(data, bytes) else data.encode()) for name, data in files.items()]
    return parse_policies(PolicyFolder("policies", tuple(sorted(read, key=lambda file: file.name))))


def question(
    who: Principal = ANNA,
    action: Action = Action.SIGN,
    what: Subject = FIRMWARE,
    approvals: int = 0,
    now: datetime = THURSDAY,
    **circumstances: object,
) -> Question:
    """Anna wants to sign firmware for production, unless said otherwise."""
    context = replace(Context(now, approvals), **circumstances)  # type: ignore[arg-type]  # names of fields
    return Question(who, action, what, context)
