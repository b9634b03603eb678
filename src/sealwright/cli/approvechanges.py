"""What a request changes against the last release of its product, in words and as JSON, for `approve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.service.client import Client
    from sealwright.service.wire import StandingRequest
    from sealwright.signing.changes import Changes, FileChange, FileState, Release

SHOWN = 40


def changes_since(client: Client, now: Release, id_: str) -> tuple[StandingRequest, Changes] | None:
    """The release before a request, and what changed; None where the service knows of none. RequestRefused where it shows another one."""
    from sealwright.cli.approve import checked_items
    from sealwright.errors import RequestRefused
    from sealwright.signing.changes import Release, compared

    before = client.previous(id_)
    if before is None:
        return None
    request, items, _ = checked_items(client, before, before.id)
    if (request.claims.product, request.format) != (now.request.claims.product, now.request.format):
        raise RequestRefused(before.id, "the service shows a release of another product", "Tell its operator.")
    return before, compared(Release(request, items), now)


def in_words(found: tuple[StandingRequest, Changes] | None, now: Release) -> list[str]:
    """One line each; the loud ones first. Of a first release, everything that it holds."""
    from sealwright.artifact.names import display
    from sealwright.signing.changes import contents
    from sealwright.texts.words import say

    claims = now.request.claims
    if found is None:
        product, environment = display(claims.product or "-"), display(claims.environment or "-")
        known = say("approve.first", product=product, environment=environment)
        holds = contents(now.items)
        told = [known if claims.product else say("approve.no-product")]
        told += [
            say("approve.holds", name=display(name), state=_state(one)) for name, one in list(holds.items())[:SHOWN]
        ]
        return told + ([say("approve.more-changes", number=len(holds) - SHOWN)] if len(holds) > SHOWN else [])
    before, changes = found
    told = []
    if changes.back:
        told.append(say("approve.back", why=display(changes.back)))
    if changes.again:
        told.append(say("approve.again", what=display(changes.again)))
    told.append(say("approve.since", id=display(before.id)[:16], when=display(before.created), same=changes.same))
    for claim in changes.claims:
        about = {"was": display(claim.before) or "-", "becomes": display(claim.now) or "-"}
        told.append(say("approve.claim", name=claim.name, **about))
    told += [_file(one) for one in changes.files[:SHOWN]]
    if len(changes.files) > SHOWN:
        told.append(say("approve.more-changes", number=len(changes.files) - SHOWN))
    return told


def as_object(found: tuple[StandingRequest, Changes] | None) -> Mapping[str, object] | None:
    """For --json; null for a first release."""
    if found is None:
        return None
    before, changes = found
    return {
        "previous": before.id,
        "back": changes.back or None,
        "again": changes.again or None,
        "claims": [asdict(one) for one in changes.claims],
        "files": [asdict(one) for one in changes.files],
        "same": changes.same,
    }


def _file(one: FileChange) -> str:
    from sealwright.artifact.names import display
    from sealwright.signing.changes import Change
    from sealwright.texts.words import say

    name = display(one.name)
    was, becomes = _state(one.before), _state(one.now)
    match one.change:
        case Change.ADDED:
            return say("approve.added", name=name, becomes=becomes)
        case Change.REMOVED:
            return say("approve.removed", name=name, was=was)
        case Change.CHANGED:
            return say("approve.changed", name=name, was=was, becomes=becomes)


def _state(state: FileState | None) -> str:
    from sealwright.artifact.names import display

    if state is None:
        return "-"
    return display(state.digest) + ("" if state.size is None else f" ({state.size} bytes)")
