"""See who signed what in a folder, share or stick: no trust file, no keys, no network, nothing is written beside the files.

Links are not followed, other file systems are named and left alone, devices and FIFOs are never opened.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_trust

if TYPE_CHECKING:
    from sealwright.cli.surveyreport import Item, Section
    from sealwright.plant.drafttrust import Leaders
    from sealwright.plant.spool import Spool
    from sealwright.trust.verify import Verifier

EXAMPLES = """examples:
  sealwright survey /media/stick                                   who signed what, on the screen
  sealwright survey vendors/ --html report.html                    and one page to print or to mail
  sealwright survey vendors/ --draft-trust trial.toml              and a trial trust file for these signers
  sealwright survey vendors/ --draft-trust trial.toml --officer eva=eva.pem --officer jan=jan.pem --recovery safe=safe.pem
  sealwright survey vendors/ --trust trial.toml                    what enforcing that trust file would refuse
  sealwright survey vendors/ --json > survey.json                  everything, one JSON object a line
"""
BROKEN, INCOMPLETE = 1, 3
_COLUMN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="folder (with everything below it) or file")
    parser.add_argument("--html", metavar="FILE", help="write the report as one page of HTML as well")
    parser.add_argument(
        "--draft-trust", metavar="FILE", help="write a trial trust file with the narrowest rules for these signers"
    )
    for name, what in (("officer", "an officer of the draft"), ("recovery", "a holder of a sealed recovery key in it")):
        parser.add_argument(
            f"--{name}",
            metavar="ID=FILE",
            action="append",
            default=[],
            help=f"{what} and their public key or certificate (repeat)",
        )
    parser.add_argument(
        "--officers-threshold", metavar="N", type=int, help="how many officers sign (default: more than half of them)"
    )
    add_trust(parser, "show rule by rule what this trust file would refuse", required=False)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Say at once what is looked at, look, report; the exit code."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.plant.spool import spooling
    from sealwright.plant.survey import survey
    from sealwright.texts.words import say

    now, started = datetime.now(UTC), time.monotonic()
    _check_outputs(args)
    leaders = _leaders(args, now)
    verifier = _verifier(args, now)
    rules = [one.name for one in verifier.believed.trust.rules] if verifier is not None else None
    names = [display(path) for path in args.paths]
    if args.json:
        from sealwright.cli.surveyjson import begun

        print(begun(args.paths, now), flush=True)
    else:
        print(say("survey.title", paths=", ".join(names), time=f"{now:%Y-%m-%d %H:%M} UTC"))
        print(say("survey.warning"), flush=True)
    with TerminalProgress("looking", unit="files") as progress:
        spool = survey([os.fsencode(path) for path in args.paths], now=now, progress=progress, verifier=verifier)
    with spooling(), spool:
        seconds = time.monotonic() - started
        code = _code(spool)
        if args.json:
            from sealwright.cli.surveyjson import lines

            said = lines(spool, now, seconds, code, rules)
        else:
            drafted = args.trust is not None or args.draft_trust is not None
            said = _text(spool, now, seconds, rules, [] if drafted else names)
        for line in said:
            sys.stdout.write(line + "\n")
        _write(args, spool, names, now, seconds, rules, leaders)
    return code


def _write(
    args: argparse.Namespace,
    spool: Spool,
    names: list[str],
    now: datetime,
    seconds: float,
    rules: list[str] | None,
    leaders: Leaders | None,
) -> None:
    """The files that were asked for; what was written is said on stderr."""
    if args.html is None and args.draft_trust is None:
        return
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.texts.words import say

    if args.html is not None:
        from sealwright.cli.surveyhtml import page

        whole = "".join(page(spool, names, now, seconds, rules))
        write_atomic(args.html, whole.encode("utf-8", "backslashreplace"))
        print(say("survey.wrote", path=display(args.html)), file=sys.stderr)
    if leaders is not None:
        from sealwright.plant.drafttrust import OFFICER, RECOVERY, draft_trust

        drafted = draft_trust(spool, now, leaders)
        write_atomic(args.draft_trust, drafted.text)
        path = display(args.draft_trust)
        counts = {"anchors": drafted.anchors, "rules": drafted.rules}
        print(say("survey.drafted", path=path, paths=shlex.join(names), **counts), file=sys.stderr)
        missing = [name for name, some in ((OFFICER, leaders.officers), (RECOVERY, leaders.recovery)) if not some]
        if missing:
            print(say("survey.placeholders", who=", ".join(missing)), file=sys.stderr)
        for left in drafted.left:
            print(say("survey.not-drafted", why=display(left)), file=sys.stderr)


def _check_outputs(args: argparse.Namespace) -> None:
    """UsageError, before anything is read, for an output that is there or would lie among what is surveyed."""
    from sealwright.errors import UsageError

    for output in (args.html, args.draft_trust):
        if output is None:
            continue
        if os.path.lexists(output):
            raise UsageError(output, "it is already there", "Name a new file, or remove it first.")
        target = os.path.realpath(output)
        for path in args.paths:
            above = os.path.realpath(path)
            if os.path.isdir(path) and os.path.commonpath((above, target)) == above:
                raise UsageError(
                    output, f"it would lie in {path}, and a survey writes nothing there", "Name a place outside of it."
                )


def _leaders(args: argparse.Namespace, now: datetime) -> Leaders | None:
    """Who may replace the draft, None where none is asked for. UsageError or MalformedTrust, before anything is read, for what `trust new` refuses."""
    if args.draft_trust is None:
        if args.officer or args.recovery or args.officers_threshold is not None:
            from sealwright.errors import UsageError

            what = "officers belong to a draft, and none is asked for"
            raise UsageError("--officer", what, "Add --draft-trust FILE.")
        return None
    from sealwright.cli.trustedit import keyholders
    from sealwright.plant.drafttrust import Leaders, check_leaders, majority

    officers, recovery = tuple(keyholders(args.officer)), tuple(keyholders(args.recovery))
    default = majority(officers) if officers else 1
    leaders = Leaders(officers, default if args.officers_threshold is None else args.officers_threshold, recovery)
    check_leaders(leaders, now)
    return leaders


def _verifier(args: argparse.Namespace, now: datetime) -> Verifier | None:
    if args.trust is None:
        return None
    from sealwright.trust.belief import load_trust
    from sealwright.trust.verify import Request, Verifier

    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint)
    return Verifier(believed, Request(clock=now))


def _code(spool: Spool) -> int:
    from sealwright.plant.signers import State

    counts = spool.counts
    if counts.of(State.BROKEN) or any(True for _ in spool.told(State.BROKEN)):
        return BROKEN
    return INCOMPLETE if counts.unread else 0


def _text(
    spool: Spool, now: datetime, seconds: float, rules: Sequence[str] | None, to_draft: Sequence[str]
) -> Iterator[str]:
    from sealwright.cli.surveyreport import Limits, next_steps, sections, size_text, states
    from sealwright.texts.words import say

    counts = spool.counts
    yield say(
        "survey.took",
        files=f"{counts.total:,}",
        folders=f"{counts.folders:,}",
        size=size_text(counts.size),
        seconds=f"{seconds:,.1f}",
    )
    if counts.unread:
        yield say("survey.incomplete", number=f"{counts.unread:,}")
    for _, number, words in states(spool):
        yield f"  {number:>9,}  {words}"
    for section in sections(spool, now, Limits(signers=100, others=20), rules):
        if section.number:
            yield ""
            yield from _section(section)
    steps = list(next_steps(spool, shlex.join(to_draft), drafted=not to_draft))
    if steps:
        yield ""
        yield from (say("survey.next", step=step) for step in steps)


def _section(section: Section) -> Iterator[str]:
    from sealwright.texts.words import say

    yield section.title
    number = 0
    for item in section.items:
        number += 1
        yield from _item(item)
    if number < section.number and section.name != "unsigned":
        yield "  " + say("survey.more", number=f"{section.number - number:,}")


def _item(item: Item) -> Iterator[str]:
    yield f"  {item.head}"
    yield from (f"    {fact.label:<{_COLUMN}}{fact.value}" for fact in item.facts)
