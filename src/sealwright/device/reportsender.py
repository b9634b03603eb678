"""Sending reports to the fleet's service over HTTPS: TLS 1.2 or newer, one authority, no redirect, everything bounded in size and time.

The device shows no certificate: its reports are signed. What the service has taken, or had before, is removed from the folder; what it
refuses stays there, for a device may be entered later.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sealwright.artifact.names import display
from sealwright.artifact.sums import MAX_NUMBER
from sealwright.device.reporting import SignedReport, Waiting, raise_number, read_signed, remove, waiting
from sealwright.errors import ServiceRefused, ServiceUnavailable, UsageError

PATH = "/v1/reports"
TAKEN, KNOWN, OLD, REFUSED = "taken", "known", "old", "refused"
AT_ONCE = 100
BODY_BYTES = 512 << 10
MAX_ANSWER = 64 << 10
TIMEOUT_S = 60.0
_AGAIN = "The reports are kept; send them again later."
_STRANGE = "Check the address of the fleet's service."


@dataclass(frozen=True, slots=True)
class Address:
    """Where the fleet's service is. url: https://HOST:PORT; ca_file: the only authorities for its certificate, PEM."""

    url: str
    ca_file: str


@dataclass(frozen=True, slots=True)
class Answered:
    """What the service says of one report. number: the newest that it has of this device, where the report is old; else 0."""

    answer: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """How many reports were taken now, were there before (or a newer one), and were refused."""

    taken: int
    known: int
    refused: int


def send(spool: str, address: Address, timeout_s: float = TIMEOUT_S) -> Sent:
    """Send all that waits in a device's own folder, and take away what the service has.

    Raises ServiceUnavailable where no answer came, ServiceRefused where the answer is no such service's, UsageError for the address.
    """
    counted = {TAKEN: 0, KNOWN: 0, OLD: 0, REFUSED: 0}
    for batch, answers in _answers(waiting(spool), address, timeout_s):
        for one, answered in zip(batch, answers, strict=True):
            counted[answered.answer] += 1
            if answered.answer == OLD:
                raise_number(spool, answered.number)
            if answered.answer != REFUSED:
                remove(one)
    return Sent(counted[TAKEN], counted[KNOWN] + counted[OLD], counted[REFUSED])


def send_files(reports: Sequence[Waiting], address: Address, timeout_s: float = TIMEOUT_S) -> list[Answered]:
    """Send reports of any devices, as a courier brought them, and leave the files; answers in their order. Raises as `send`."""
    return [one for _, answers in _answers(reports, address, timeout_s) for one in answers]


def _answers(
    reports: Sequence[Waiting], address: Address, timeout_s: float
) -> Iterator[tuple[list[Waiting], list[Answered]]]:
    connection = _connection(address, timeout_s)
    try:
        for batch, body in _bodies(reports):
            yield batch, _posted(connection, address, body, len(batch))
    finally:
        connection.close()


def _bodies(reports: Sequence[Waiting]) -> Iterator[tuple[list[Waiting], bytes]]:
    """As many reports as go into one body, and that body."""
    batch: list[Waiting] = []
    texts: list[str] = []
    for one in reports:
        text = _wire(read_signed(one))
        if batch and (len(batch) == AT_ONCE or sum(map(len, texts)) + len(text) > BODY_BYTES):
            yield batch, _body(texts)
            batch, texts = [], []
        batch.append(one)
        texts.append(text)
    if batch:
        yield batch, _body(texts)


def _wire(signed: SignedReport) -> str:
    report, signature = (base64.b64encode(one).decode() for one in (signed.report, signed.signature))
    return json.dumps({"report": report, "signature": signature})


def _body(texts: Sequence[str]) -> bytes:
    return f'{{"reports":[{",".join(texts)}]}}'.encode()


def _connection(address: Address, timeout_s: float) -> http.client.HTTPSConnection:
    parts = urlsplit(address.url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(display(address.url[:80]), "it is no address of a fleet's service", "Write https://HOST:PORT.")
    try:
        context, port = ssl.create_default_context(cafile=address.ca_file), parts.port
    except (OSError, ValueError) as cause:
        raise UsageError(
            display(address.url[:80]),
            f"its port or its authority {address.ca_file} cannot be used ({cause})"[:300],
            _STRANGE,
        ) from cause
    return http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=context)


def _posted(connection: http.client.HTTPSConnection, address: Address, body: bytes, number: int) -> list[Answered]:
    try:
        connection.request("POST", PATH, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        status, data = answer.status, answer.read(MAX_ANSWER + 1)
    except (OSError, http.client.HTTPException) as cause:
        said = display(str(cause) or type(cause).__name__)[:200]
        raise ServiceUnavailable(address.url, f"it does not answer ({said})", _AGAIN) from cause
    if status in (429, 500, 502, 503, 504):
        raise ServiceUnavailable(address.url, f"it answers {status}", _AGAIN)
    if status not in (200, 403):
        raise ServiceRefused(address.url, f"it answers {status}", _STRANGE)
    try:
        if len(data) > MAX_ANSWER:
            raise ValueError("it is too long")
        answers = [_answered(one) for one in json.loads(data)["answers"]]
        if len(answers) != number:
            raise ValueError(f"{len(answers)} answers to {number} reports")
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise ServiceRefused(address.url, "its answer is no fleet service's", _STRANGE) from cause
    return answers


def _answered(one: dict[str, object]) -> Answered:
    answer, number = one["answer"], one.get("number", 0)
    if answer not in (TAKEN, KNOWN, OLD, REFUSED) or not isinstance(number, int) or not 0 <= number < MAX_NUMBER:
        raise ValueError("an answer is none")
    return Answered(str(answer), number)
