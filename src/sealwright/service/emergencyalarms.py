"""Telling of emergencies until somebody has heard of each, in the operator's log and to the webhook (A130).

First those that the rows name, then those that the log has and the rows would keep silent. A log that cannot be read to its end is told
once a day, and keeps back none that was read before.
"""

from __future__ import annotations

from datetime import datetime

from sealwright.log.canonical import time_text
from sealwright.service.server import Log
from sealwright.service.webhook import Webhook
from sealwright.signing.followup import AGAIN, Alarm, FollowUps
from sealwright.signing.requests import Requests

MAX_NAME = 100  # a row may say anything, and one event that no receiver takes would keep back all others


class EmergencyAlarms:
    """Those of one replica; `round` is called by one thread at a time. service: its id; webhook: None where there is none."""

    def __init__(self, requests: Requests, service: str, webhook: Webhook | None, log: Log) -> None:
        self._owed = FollowUps(requests)
        self._clock = requests.clock
        self._service = service
        self._webhook = webhook
        self._log = log
        self._told_of_log: datetime | None = None

    def round(self) -> None:
        """Tell what is to be told now. ServiceUnavailable where the webhook took something not, LogRefused or LogRewound of the log."""
        now = self._clock()
        for one in self._owed.to_tell(now):
            self._tell(one, now)
        unheard = self._owed.unheard(now)
        for one in unheard.alarms:
            self._tell(one, now)
        if unheard.trouble is not None:
            if self._webhook is not None and (self._told_of_log is None or abs(now - self._told_of_log) > AGAIN):
                self._webhook.tell({"event": "log-refused", "service": self._service, "code": unheard.trouble.code})
                self._told_of_log = now
            raise unheard.trouble

    def _tell(self, one: Alarm, now: datetime) -> None:
        event = {
            "event": "emergency-late" if one.late else "emergency",
            "service": self._service,
            "tenant": str(one.tenant)[:MAX_NAME],
            "request": str(one.request)[:MAX_NAME],
            "follow_up_until": time_text(one.due),
        }
        if one.hidden:
            event["database"] = "says otherwise than the log"
        self._log(event)
        if self._webhook is not None:
            self._webhook.tell(event)
        self._owed.told(one, now)
