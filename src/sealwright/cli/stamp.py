"""Add timestamps to signatures that are made already: FILE.tsr beside the file; no signed file is changed.

Stamps what was signed while no authority answered (--all, or by name), before the signer's certificate ends; --status tells
what still waits. Any other signature can be stamped too, such as a maker's by the plant that received it.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_layout, add_pin_file, layouts_known, period, pin_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sealwright.signing.home import Home
    from sealwright.signing.late import NotStamped, Stamped

EXAMPLES = """examples:
  sealwright stamp --home home --all                              whatever waits for a timestamp
  sealwright stamp --home home --status --within 1d               for cron: exit code 1 if something waits longer
  sealwright stamp drive.bin --home home                          this one, by the home's authorities
  sealwright stamp drive.bin --timestamp http://tsa.example/      a maker's signature, by the plant's authority
  sealwright stamp drive.bin --home home --signature drive.bin.plant.p7s --again     a second proof
  sealwright stamp fw.bin --home home --layout acme.layout       firmware under a maker's own header
  sealwright stamp --home home --forget drive.bin --reason "never released"
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """What to stamp, and by whom."""
    parser.add_argument("paths", nargs="*", metavar="FILE", help="signed file or folder")
    parser.add_argument("--home", metavar="DIR", help="the signing home: its authorities, its record, what is pending")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="every signature of the home that waits")
    what.add_argument("--status", action="store_true", help="only tell what waits")
    what.add_argument("--forget", metavar="FILE", help="stop waiting for this one; --reason goes into the record")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why it is forgotten")
    parser.add_argument(
        "--within", metavar="SPAN", type=period, default=timedelta(days=1), help="how long one may wait (else 1d)"
    )
    parser.add_argument(
        "--timestamp", metavar="URL|local", action="append", help="the authority (else the home's; repeat for a pool)"
    )
    parser.add_argument("--signature", metavar="FILE", help="which signature, where a file has several")
    parser.add_argument("--again", action="store_true", help="one more proof for what is stamped already")
    add_layout(parser)
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Stamp, tell or forget."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    now = datetime.now(UTC)
    if args.home is None and (args.all or args.status or args.forget or not args.timestamp):
        raise UsageError("--home", "no signing home is named", "Name it, or FILE and --timestamp URL.")
    home = open_home(args.home) if args.home is not None else None
    if home is not None and args.status:
        return _status(home, args, now)
    if home is not None and args.forget:
        return _forget(home, args)
    if args.all is bool(args.paths):
        raise UsageError("FILE", "it is not said what to stamp", "Name files, or --all.")
    if args.signature is not None and len(args.paths) != 1:
        raise UsageError("--signature", "it belongs to one file", "Stamp one file at a time.")
    failed = told = 0
    for answer in _answers(home, args, now):
        failed += not _say(answer, args)
        told += 1
    if args.all and not told and not args.json:
        print(say("stamp.none"))
    return 1 if failed else 0


def _answers(home: Home | None, args: argparse.Namespace, now: datetime) -> Iterable[Stamped | NotStamped]:
    from contextlib import ExitStack, closing

    from sealwright.errors import UsageError
    from sealwright.log.journal import Journal
    from sealwright.pki.timestamppool import Pool
    from sealwright.signing.home import JOURNAL, KeyPurpose
    from sealwright.signing.late import LateStamper
    from sealwright.signing.pending import one_at_a_time
    from sealwright.signing.stamps import LOCAL, NONE, PoolStamper, Stamper, open_stamper

    names = tuple(args.timestamp or (home.timestamp if home is not None else ()))
    if names == (NONE,):
        raise UsageError("--timestamp", "the home has no authority", "Name one with --timestamp.")
    layouts = layouts_known(home, args)
    with ExitStack() as stack:
        if home is not None:
            stack.enter_context(one_at_a_time(home.folder))
        stamper: Stamper
        if home is not None and names == (LOCAL,):
            journal = stack.enter_context(Journal.open(home.path(JOURNAL)))
            pin = pin_of(args, home.uri(home.key(None, KeyPurpose.TIMESTAMP)))
            stamper = stack.enter_context(closing(open_stamper(names, home, pin, journal)))
            late = LateStamper(stamper, home, now, journal, layouts)
        else:
            late = LateStamper(PoolStamper(Pool(names)), home, now, layouts=layouts)
        if args.all:
            yield from late.stamp_pending()
        for path in args.paths:
            yield from late.stamp_file(path, args.signature, args.again)


def _say(answer: Stamped | NotStamped, args: argparse.Namespace) -> bool:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import error_object, finding_object, line, moment
    from sealwright.cli.render import moment as shown
    from sealwright.signing.late import NotStamped
    from sealwright.texts.words import say

    if isinstance(answer, NotStamped):
        if args.json:
            print(line({"path": answer.path, "outcome": "not-stamped", "findings": [error_object(answer.error)]}))
        print(say("stamp.refused", path=display(answer.path), why=display(str(answer.error))), file=sys.stderr)
        return False
    if args.json:
        print(
            line(
                {
                    "path": answer.path,
                    "outcome": "stamped" if answer.output else "stamped-already",
                    "signature": answer.source,
                    "output": answer.output or None,
                    "timestamp": moment(answer.gen_time),
                    "authority": answer.authority or None,
                    "findings": [finding_object(one) for one in answer.findings],
                }
            )
        )
        return True
    time = shown(answer.gen_time)
    if not answer.output:
        print(say("stamp.already", path=display(answer.path), why=say("sign.date-proved", time=time)))
        return True
    print(say("stamp.stamped", path=display(answer.path), output=display(answer.output)))
    print("  " + say("stamp.by", time=time, authority=display(answer.authority)))
    for finding in answer.findings:
        print("  " + say("stamp.warning", what=display(finding.sentence), step=finding.next_step))
    return True


def _status(home: Home, args: argparse.Namespace, now: datetime) -> int:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line, moment
    from sealwright.cli.render import moment as shown
    from sealwright.signing.pending import overdue, read_pending
    from sealwright.texts.words import say

    late = number = 0
    for one in read_pending(home.folder):
        number += 1
        late += overdue(one, now, args.within)
        days = (one.end - now).days
        missing = "" if _there(one.file) else one.file
        if args.json:
            print(
                line(
                    {
                        "path": one.target,
                        "signature_file": one.file,
                        "there": not missing,
                        "artifact": str(one.artifact),
                        "signature": str(one.signature),
                        "missing": one.missing,
                        "since": moment(one.since),
                        "certificate_end": moment(one.end),
                        "days_left": days,
                        "overdue": overdue(one, now, args.within),
                        "level": "attention" if overdue(one, now, args.within) else "fine",
                    }
                )
            )
            continue
        why = say("stamp.not-there", path=display(missing)) if missing else ""
        print(
            say(
                "stamp.pending",
                path=display(one.target),
                since=shown(one.since),
                days=days,
                end=shown(one.end),
                why=why,
            )
        )
    if not number and not args.json:
        print(say("stamp.none"))
    return 1 if late else 0


def _there(path: str) -> bool:
    import os

    return os.path.lexists(path)


def _forget(home: Home, args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line
    from sealwright.signing.late import forget
    from sealwright.signing.pending import one_at_a_time
    from sealwright.texts.words import say

    with one_at_a_time(home.folder):
        items = forget(home, args.forget, args.reason)
    for one in items:
        if args.json:
            print(line({"path": one.target, "outcome": "forgotten", "signature": str(one.signature)}))
        else:
            print(say("stamp.forgotten", path=display(one.target), why=display(args.reason)))
    return 0
