"""`log monitor`: look at a log again, and say, run or post it where it is not what it was (docs/log.md)."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.logsource import ALARM, add_log, keys_of, source_of, told

if TYPE_CHECKING:
    from sealwright.log.monitor import Wanted


def configure_monitor(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Its options."""
    monitor = add_action(commands, "monitor", "the same for what is new, and remember what was seen", examples)
    add_log(monitor)
    monitor.add_argument("--state", metavar="FILE", required=True, help="what is remembered from one time to the next")
    monitor.add_argument(
        "--signatures", metavar="FILE", help="SHA-256 of signature values that the log must have, one a line"
    )
    monitor.add_argument(
        "--files",
        metavar="PATH",
        action="append",
        default=[],
        help="files or a folder whose signatures by keys of this log it must have (repeat)",
    )
    monitor.add_argument("--whole", action="store_true", help="read also what was read before")
    alarm = monitor.add_argument_group("on an alarm")
    alarm.add_argument(
        "--alarm-run",
        metavar="PROGRAM",
        help="run it, without arguments; the alarms as JSON lines on its standard input",
    )
    alarm.add_argument("--alarm-url", metavar="URL", help="post them there, by the authorities of --ca if given")
    add_json(monitor)
    monitor.set_defaults(run=run_monitor)


def run_monitor(args: argparse.Namespace) -> int:
    """Alarms, then what there is."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.logalarm import Hook
    from sealwright.envelope.verifierkey import NoteType
    from sealwright.errors import SealwrightError
    from sealwright.log.awaited import Awaited
    from sealwright.log.monitor import Monitor, read_signatures
    from sealwright.texts.words import say

    witnesses = keys_of(args.witness_key, NoteType.WITNESS)
    hook = Hook(args.alarm_run, args.alarm_url, args.ca)
    wanted = [*_of_files(args.files), *([] if args.signatures is None else read_signatures(args.signatures))]
    with TerminalProgress("reading", unit="entries") as progress:
        monitor = Monitor(
            args.state,
            source_of(args, args.log),
            keys_of(args.log_key, NoteType.LOG),
            witnesses,
            wanted,
            progress=progress,
            awaited=Awaited(f"{args.state}.awaited", datetime.now(UTC)) if args.files else None,
        )
        findings = monitor.findings_from_start() if args.whole else monitor.findings()
        code = told(args, monitor.audit, findings, witnesses, hook.hear)
    if not args.json:
        if monitor.strangers:
            print(say("log.strangers", count=f"{monitor.strangers:,}"))
        if monitor.evidence:
            print(say("log.evidence", path=display(", ".join(monitor.evidence))))
    try:
        hook.tell()
    except SealwrightError as cause:
        from sealwright.cli.main import failed

        failed(cause, args.json)
        return ALARM
    return code


def _of_files(places: list[str]) -> list[Wanted]:
    """The signatures of files; what could not be read is said on stderr."""
    from sealwright.artifact.names import display
    from sealwright.log.infield import NotRead, proofs_beside, signatures_in
    from sealwright.log.monitor import Wanted
    from sealwright.texts.words import say

    found: list[Wanted] = []
    for place in places:
        for one in signatures_in(place):
            if isinstance(one, NotRead):
                print(say("log.not-read", path=display(one.path), why=display(one.why)), file=sys.stderr)
            else:
                found.append(Wanted(str(one.signature), str(one.key), display(one.path), proofs_beside(one.path)))
    return found
