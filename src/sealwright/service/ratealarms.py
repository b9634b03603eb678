"""`[[rate_alarm]]` of `service.toml`, and who hears of an alarm: the service's log, its metrics, its webhook (`signing/rates.py`, A124)."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from sealwright.artifact.section import Section
from sealwright.log.canonical import time_text
from sealwright.log.entryfields import RateOf, RatePer
from sealwright.service.server import Log
from sealwright.service.webhook import Webhook
from sealwright.signing.rates import RateAlarm, RateLimit, Rates
from sealwright.signing.requests import Requests


def read_limits(top: Section) -> tuple[RateLimit, ...]:
    """What the file says; MalformedConfiguration."""
    found = cast("tuple[RateLimit, ...]", top.each("rate_alarm", _limit))
    if len({(one.of, one.per) for one in found}) != len(found):
        raise top.wrong("rate_alarm", "a list in which each `of` is once with `hour` and once with `day`")
    return found


class RateAlarms:
    """Looks at the rates and tells of those that are not usual, until somebody has heard of each."""

    def __init__(self, requests: Requests, limits: tuple[RateLimit, ...], webhook: Webhook | None, log: Log) -> None:
        self._requests = requests
        self._rates = Rates(requests, limits)
        self._limits = {(one.of, one.per): one.above for one in limits}
        self._webhook = webhook
        self._log = log

    def round(self) -> None:
        """One look; ServiceUnavailable where the webhook's receiver did not take an alarm, which it gets again."""
        self.look(self._requests.clock())

    def look(self, now: datetime) -> None:
        """The same at a time."""
        self._rates.look(now)
        for one in self._rates.to_tell():
            event = self._event(one)
            self._log(event)
            if self._webhook is not None:
                self._webhook.tell(event)
            self._rates.told(one)

    def _event(self, one: RateAlarm) -> dict[str, str]:
        """What is told: no person, no product; whoever may read requests finds both by the request's id."""
        counted = one.counted
        names = (name for name, key in self._requests.keys.items() if str(key.desk.key) == counted.subject)
        return {
            "event": "rate",
            "service": self._requests.shelf.service,
            "tenant": counted.tenant,
            "of": counted.of.value,
            "per": counted.per.value,
            "since": time_text(counted.start),
            "count": str(one.uses),
            "above": str(self._limits.get((counted.of, counted.per), "")),
            "key": next(names, "") if counted.of is RateOf.KEY else "",
            "request": one.request,
        }


def _limit(section: Section) -> RateLimit:
    of = RateOf(section.word("of", tuple(RateOf)))
    return RateLimit(of, RatePer(section.word("per", tuple(RatePer))), section.number("above", 1))
