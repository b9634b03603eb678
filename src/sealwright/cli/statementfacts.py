"""What the plant's two statements say, as facts for `inspect`. Never a judgement."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sealwright.artifact.acceptance import FIRST as ACCEPTANCE_LINE
from sealwright.artifact.acceptance import Acceptance, parse_acceptance
from sealwright.artifact.names import display
from sealwright.artifact.receiving import FIRST as RECEIVING_LINE
from sealwright.artifact.receiving import Receiving, parse_receiving
from sealwright.cli.render import moment
from sealwright.texts.words import say

Facts = tuple[tuple[str, str], ...]


def facts_of(data: bytes, name: str) -> tuple[str, Facts] | None:
    """Kind and facts, or None for what is no statement. Raises MalformedArtifact for what only begins like one."""
    if data.startswith(ACCEPTANCE_LINE):
        return say("kind.acceptance"), _acceptance(parse_acceptance(data, name))
    if data.startswith(RECEIVING_LINE):
        return say("kind.receiving"), _receiving(parse_receiving(data, name))
    return None


def _acceptance(one: Acceptance) -> Facts:
    anywhere, none = say("fact.anywhere"), say("fact.none")
    return (
        ("about", os.fsdecode(one.name)),
        ("accepted", moment(one.accepted)),
        ("person", one.person),
        ("production lines", ", ".join(one.lines) or anywhere),
        ("hardware", ", ".join(one.hardware) or anywhere),
        ("from", moment(one.not_before) if one.not_before else none),
        ("until", moment(one.until) if one.until else none),
        ("reports", _names([report.name for report in one.reports])),
        ("with signatures", _names([entry.name for entry in one.signed_by])),
        ("checked by", say("fact.checked-by", algorithm=one.algorithm)),
    )


def _receiving(one: Receiving) -> Facts:
    facts = [
        ("about", os.fsdecode(one.name)),
        ("grade", one.grade.value),
        ("source", one.source),
        ("received", moment(one.received)),
        ("person", ", ".join(one.persons)),
    ]
    if (compared := one.comparison) is not None:
        with_ = say("fact.compared", algorithm=compared.algorithm, value=compared.value.hex(), channel=compared.channel)
        facts.append(("compared", with_))
    if (old := one.old_signature) is not None:
        weak = ", ".join(old.weaknesses) or say("fact.none")
        facts.append(
            ("old signature", say("fact.old-signature", signer=old.signer, verdict=old.verdict, tool=old.tool))
        )
        facts += [("key", old.key), ("weaknesses", weak)]
    if one.reason:
        facts.append(("why", one.reason))
    contents, claims = one.contents, one.contents.claims
    listed = say("fact.lists", files=f"{len(contents.files):,}", size=f"{contents.total_bytes:,}", over=contents.over)
    facts += [
        ("evidence", _names([entry.name for entry in one.evidence])),
        ("lists", listed),
        ("product", claims.product or say("fact.not-claimed")),
        ("version", claims.version or say("fact.not-claimed")),
        ("checked by", say("fact.checked-by", algorithm=one.algorithm)),
    ]
    return tuple(facts)


def _names(names: Sequence[bytes]) -> str:
    return ", ".join(map(display, names)) or say("fact.none")
