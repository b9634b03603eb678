"""What `log check`, `log monitor` and `audit keys` share: which log, by which keys, over which way; and what is said of a reading of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.envelope.verifierkey import NoteType, VerifierKey
    from sealwright.findings import Finding
    from sealwright.log.audit import Audit
    from sealwright.log.source import Source

MAX_KEYS_BYTES = 64 * 1024
WHOLE, ALARM, UNKNOWN = 0, 1, 3


def add_log(parser: argparse.ArgumentParser) -> None:
    """Which log, by which keys it is known, and how it is reached."""
    parser.add_argument("log", metavar="DIR|URL", help="an export, or the URL of the log")
    for who in ("log", "witness"):
        parser.add_argument(
            f"--{who}-key",
            metavar="KEY",
            action="append",
            default=[],
            required=who == "log",
            help=f"the key of the {who}, NAME+ID+KEY, or a file with some (repeat)",
        )
    add_web(parser)


def add_web(parser: argparse.ArgumentParser) -> None:
    """How a log's server is reached, where it is not a folder."""
    web = parser.add_argument_group("over HTTPS")
    web.add_argument("--ca", metavar="FILE", help="the only authorities for its certificate, PEM (else the system's)")
    web.add_argument("--client", metavar="FILE", help="your certificate, PEM, where it wants to know who reads")
    web.add_argument("--client-key", metavar="FILE", help="its key, PEM")


def source_of(args: argparse.Namespace, text: str) -> Source:
    """A folder, or a server; UsageError for neither."""
    from sealwright.errors import UsageError
    from sealwright.log.source import FolderSource, UrlSource

    if "://" in text:
        from sealwright.cli.logweb import Web  # only where a network is asked for
        from sealwright.log.ahead import AheadSource

        return AheadSource(
            text.rstrip("/"), lambda: UrlSource(text, Web(text, args.ca, args.client, args.client_key).get)
        )
    if not os.path.isdir(text):
        raise UsageError(text, "it is no folder", "Name an export, or a URL.")
    return FolderSource(text)


def keys_of(texts: Iterable[str], kind: NoteType) -> list[VerifierKey]:
    """The keys that were named, or that files hold."""
    from sealwright.artifact.source import read_file
    from sealwright.envelope.verifierkey import parse_verifier_key
    from sealwright.errors import UsageError

    keys = []
    for text in texts:
        named = [text]
        if os.path.lexists(text):
            lines = read_file(text, MAX_KEYS_BYTES).decode("utf-8", "backslashreplace").splitlines()
            named = [one.strip() for one in lines if one.strip() and not one.startswith("#")]
        for one in named:
            try:
                keys.append(parse_verifier_key(one, kind))
            except ValueError as cause:
                raise UsageError(text[:100], f"this is no key: {cause}", "Copy the line as a whole.") from cause
    return keys


def told(
    args: argparse.Namespace,
    audit: Audit,
    findings: Iterable[Finding],
    witnesses: list[VerifierKey],
    hear: Callable[[dict[str, object]], None] = lambda _: None,
) -> int:
    """Say findings as they come, then what was read; the exit code. hear: gets each alarm, and the summary after them, as JSON has them."""
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.errors import LogUnavailable
    from sealwright.findings import Severity
    from sealwright.texts.words import say

    alarms = 0
    try:
        for finding in findings:
            alarms += finding.severity is Severity.REJECT
            if finding.severity is Severity.REJECT:
                hear(finding_object(finding))
            if args.json:
                print(line(finding_object(finding)))
            else:
                what = display(finding.sentence)
                alarm = finding.severity is Severity.REJECT
                print(say("log.alarm", what=what) if alarm else say("log.remark", what=what))
    except LogUnavailable as cause:
        from sealwright.cli.main import failed

        failed(cause, args.json)
        return ALARM if alarms else UNKNOWN
    times = {} if audit.seen is None else dict(audit.seen.witnessed.times)
    missing = sorted({key.name for key in witnesses} - set(times))
    for name in missing:
        alarms += 1
        if not args.json:
            print(say("log.no-witness", name=display(name)))
    summary = _summary(args.log, audit, alarms, missing)
    if alarms:
        hear(summary)
    if args.json:
        print(line(summary))
    elif alarms or audit.seen is None:
        print(say("log.broken", log=display(args.log), alarms=f"{alarms:,}"))
    else:
        counts = {"size": f"{audit.seen.checkpoint.size:,}", "read": f"{audit.entries:,}"}
        print(say("log.whole", log=display(audit.seen.checkpoint.origin), **counts))
        for name, time in sorted(times.items()):
            print(say("log.witnessed", name=display(name), time=f"{time:%Y-%m-%d %H:%M} UTC"))
    return ALARM if alarms else WHOLE


def _summary(log: str, audit: Audit, alarms: int, missing: list[str]) -> dict[str, object]:
    seen = audit.seen
    return {
        "log": log,
        "origin": None if seen is None else seen.checkpoint.origin,
        "entries": None if seen is None else seen.checkpoint.size,
        "read": audit.entries,
        "signatures": audit.signatures,
        "alarms": alarms,
        "witnesses": {} if seen is None else dict(seen.witnessed.times),
        "witnesses_missing": missing,
    }
