"""Telling somebody at once: an event as JSON, posted to one address of the operator's choice.

    [webhook]
    url = "https://alarms.acme.example/sealwright"
    ca = "alarms-ca.pem"                     # where it is not one that the system trusts
    secret_file = "webhook.secret"           # the body's HMAC-SHA256 is in the header Sealwright-Signature

What cannot be delivered is told again at the next sweep, so that a receiver may hear of one event twice, and never of none.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
import msgspec

from sealwright.artifact.source import read_file
from sealwright.errors import ServiceUnavailable

ANSWER_S = 5.0
MAX_SECRET = 4096
SIGNATURE = "sealwright-signature"


@dataclass(frozen=True, slots=True)
class Webhook:
    """url: https; ca: PEM file of its authorities, "" for those of the system; secret_file: "" for none."""

    url: str
    ca: str
    secret_file: str

    def tell(self, event: Mapping[str, str]) -> None:
        """Post an event; ServiceUnavailable where nobody took it. Unreadable for the secret."""
        body = msgspec.json.encode(event)
        headers = {"content-type": "application/json"}
        if self.secret_file:
            secret = read_file(self.secret_file, MAX_SECRET).strip()
            headers[SIGNATURE] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            with httpx.Client(verify=context, trust_env=False, timeout=ANSWER_S) as client:
                status = client.post(self.url, content=body, headers=headers).status_code
        except (httpx.HTTPError, OSError) as cause:
            raise ServiceUnavailable(self.url, f"{type(cause).__name__}: {cause}"[:300], _SEE) from cause
        if not 200 <= status < 300:
            raise ServiceUnavailable(self.url, f"it answered {status}", _SEE)


_SEE = "See to the receiver; it is told again."
