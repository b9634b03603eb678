"""How often a key of AWS KMS signed, by CloudTrail's log files: one for each event `Sign` of kms.amazonaws.com that has no error.

A file as CloudTrail delivers it: JSON with `Records`, gzip or not. An event that was delivered twice has one eventID and counts once.
Whether files are missing or were changed CloudTrail's own digest files tell (`aws cloudtrail validate-logs`), not this.
Source: AWS documentation, "CloudTrail record contents" and KMS's "Sign" entries.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from sealwright.artifact.source import read_file
from sealwright.errors import LimitExceeded, Unreadable
from sealwright.log.canonical import read_time
from sealwright.log.usage import within

MAX_FILE_BYTES = 64 << 20
MAX_TEXT_BYTES = 256 << 20
_GZIP = b"\x1f\x8b"
_SOURCE, _SIGN, _KEY_TYPE = "kms.amazonaws.com", "Sign", "AWS::KMS::Key"
_AGAIN = "Give the files as CloudTrail delivered them, whole."


def cloudtrail_uses(
    paths: Iterable[str], keys: Mapping[str, str], since: datetime | None = None, until: datetime | None = None
) -> Counter[str]:
    """How many signatures CloudTrail has of each key. keys: the log's name of each ARN. since, until: aware, None for any.

    Raises Unreadable for a file that is none of CloudTrail's, LimitExceeded for one that is larger than it can be.
    """
    counted: Counter[str] = Counter()
    seen: set[str] = set()
    for path in paths:
        for event, arn, time in _signed(path):
            if event in seen:
                continue
            seen.add(event)
            if arn in keys and within(time, since, until):
                counted[keys[arn]] += 1
    return counted


def _signed(path: str) -> Iterator[tuple[str, str, datetime]]:
    """Event, key and time of each signature in a file."""
    try:
        records = json.loads(_text(path))["Records"]
        if not isinstance(records, list):
            raise ValueError("`Records` is no list")
        for record in records:
            if record["eventSource"] != _SOURCE or record["eventName"] != _SIGN or "errorCode" in record:
                continue
            time, event = read_time(str(record["eventTime"])), record["eventID"]
            arns = [str(one["ARN"]) for one in record["resources"] if one.get("type") == _KEY_TYPE]
            if len(arns) != 1 or not isinstance(event, str):
                raise ValueError("a signature in it is not of one key")
            yield event, arns[0], time
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise Unreadable(path, f"it is no log file of CloudTrail ({cause!r})"[:160], _AGAIN) from cause


def _text(path: str) -> bytes:
    data = read_file(path, MAX_FILE_BYTES)
    if not data.startswith(_GZIP):
        return data
    try:
        unpacking = zlib.decompressobj(wbits=31)
        text = unpacking.decompress(data, MAX_TEXT_BYTES + 1)
    except zlib.error as cause:
        raise Unreadable(path, "its gzip is damaged", _AGAIN) from cause
    if len(text) > MAX_TEXT_BYTES:
        raise LimitExceeded(path, f"it unpacks to more than {MAX_TEXT_BYTES >> 20} MiB", _AGAIN)
    if not unpacking.eof or unpacking.unused_data:
        raise Unreadable(path, "its gzip is cut off, or something follows it", _AGAIN)
    return text
