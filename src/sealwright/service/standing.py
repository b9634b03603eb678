"""How a request stands, as the service's answers say it."""

from __future__ import annotations

from sealwright.log.canonical import time_text
from sealwright.service.wire import StandingRequest
from sealwright.signing.standings import Standing


def standing_told(one: Standing) -> StandingRequest:
    """The body of an answer."""
    request = one.request
    return StandingRequest(
        id=one.id,
        number=one.number,
        state=one.state.value,
        request=request.encoded().decode(),
        requester=request.requester,
        created=time_text(one.created),
        expires=time_text(request.expires),
        count=request.count,
        signed=one.signed,
        attempt=one.attempt,
        approvals=list(one.approvals),
        prepares=list(one.prepares),
        reason=one.reason,
        problem=one.problem,
        emergency=one.request.emergency,
        follow_up_until="" if one.owed is None else time_text(one.owed.until),
        follow_up="" if one.owed is None else one.owed.outcome,
    )
