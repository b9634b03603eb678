"""How often a key was used, by the word of where it lives, against what the log says of it: a use behind the log shows.

    counts = Counts(since, until)                        Audit(source, logs, each=counts.add)
    reconcile({"sha256:…": Use("openbao", 17)}, counts)

Before a key is used its intent is in the log, one for each signature asked of it, and after it the signature, or a refusal (RULES 2).

1. More uses than intents: somebody used the key past the service (A133). At least that many; more can hide among 3.
2. Fewer uses than signatures: the count is not of this key and time, or it was cut.
3. Intents without a signature: a crash, or a key that failed. So many uses nobody can place.

What counts: OpenBao's file audit device (`openbao_uses`), whose lines hold no key or signature in the clear, a TPM that audits its
signatures (`log.commandaudit`), and any number that an operator reads elsewhere. SoftHSM and PKCS#11 have no counter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from sealwright.errors import Unreadable
from sealwright.findings import Finding, reject, warning
from sealwright.log.canonical import read_time
from sealwright.log.entries import Outline

MAX_LINE_BYTES = 64 << 20  # a batch of thousands is one line
_AGAIN = "Give the whole file, as the audit device wrote it; copy it first where it is still written."
_INTENT = "intent"


class Use(NamedTuple):
    """How often a key was used: so many times. by: whose word that is."""

    by: str
    times: int


class TransitName(NamedTuple):
    """A key in a transit engine. version: 0 for any."""

    mount: str
    name: str
    version: int = 0


class Counts:
    """What a log says of each key in a time. since, until: aware, None for any; a signature has the time of the entry before it."""

    def __init__(self, since: datetime | None = None, until: datetime | None = None) -> None:
        self.intents: Counter[str] = Counter()
        self.signatures: Counter[str] = Counter()
        self._since = since
        self._until = until
        self._time: datetime | None = None

    def add(self, found: Outline) -> None:
        """One entry, in the order of the log."""
        if found.time:
            try:
                self._time = read_time(found.time)
            except ValueError:
                return
        if found.type == _INTENT and within(self._time, self._since, self._until):
            self.intents[found.key] += 1
        elif found.signature and within(self._time, self._since, self._until):
            self.signatures[found.key] += 1


def within(time: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    """Whether a time is from `since` on and before `until`; one that is not known is where neither is asked for."""
    if time is None:
        return since is None and until is None
    return (since is None or time >= since) and (until is None or time < until)


def reconcile(uses: Mapping[str, Use], counts: Counts) -> Iterator[Finding]:
    """What does not fit, of keys by SHA-256 of SPKI as the log names them."""
    for key, use in sorted(uses.items()):
        intents, signatures = counts.intents[key], counts.signatures[key]
        if use.times > intents:
            yield reject("SW-AUDIT-UNLOGGED-USE", key, wanted=str(intents), found=f"{use.times} ({use.by})")
        elif use.times < signatures:
            yield reject("SW-AUDIT-USES-MISSING", key, wanted=str(signatures), found=f"{use.times} ({use.by})")
        if intents > signatures:
            yield warning("SW-AUDIT-OPEN-INTENTS", key, found=str(intents - signatures))


def openbao_uses(
    path: str, keys: Mapping[TransitName, str], since: datetime | None = None, until: datetime | None = None
) -> Counter[str]:
    """How many signatures OpenBao's file audit device has of each key: one for each value that was answered, in batches too.

    keys: the log's name of each. Raises Unreadable for a file that is not such a log to its last line.
    """
    counted: Counter[str] = Counter()
    try:
        with open(path, "rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES), b""), 1):
                for name in _signed(line, f"{path} line {number}", since, until):
                    key = keys.get(name) or keys.get(name._replace(version=0))
                    if key is not None:
                        counted[key] += 1
    except OSError as cause:
        raise Unreadable(path, f"it cannot be read ({cause.strerror})", _AGAIN) from cause
    return counted


def _signed(line: bytes, subject: str, since: datetime | None, until: datetime | None) -> list[TransitName]:
    """The key of each value in a line of the audit device."""
    try:
        if not line.endswith(b"\n"):
            raise ValueError("it is cut off")
        found = _table(json.loads(line))
        time = datetime.strptime(str(found["time"])[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        request = _table(found["request"])
        mount = str(request.get("mount_point", "")).strip("/")
        words = str(request.get("path", "")).removeprefix(f"{mount}/").split("/")
        answered = found.get("type") == "response" and words[0] == "sign" and len(words) > 1
        if not answered or not within(time, since, until):
            return []
        data = _table(_table(found.get("response", {})).get("data") or {})
        batch = data.get("batch_results")
        values = [_table(one) for one in (batch if isinstance(batch, list) else [data])]
    except (ValueError, KeyError, RecursionError) as cause:
        raise Unreadable(subject, f"it is no line of the audit device ({cause})"[:160], _AGAIN) from cause
    versions = [one.get("key_version") for one in values if "signature" in one]
    return [TransitName(mount, words[1], one if isinstance(one, int) else 0) for one in versions]


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ValueError("an object is wanted")
    return value
