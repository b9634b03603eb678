"""Check files and folders offline against one trust file, and say for each what to do.

Nothing is read but the paths, their signature files and the trust file with what lies beside it; no network socket is opened.
With --record each verdict leaves a statement for auditors (docs/records.md) before it is printed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_record, add_trust, rfc3339

if TYPE_CHECKING:
    from sealwright.artifact.permit import Permit
    from sealwright.cli.render import Detail
    from sealwright.errors import SealwrightError
    from sealwright.formats.permitfiles import Presented
    from sealwright.plant.recorder import Recorder
    from sealwright.trust.belief import Believed
    from sealwright.trust.verdict import Outcome, Verdict
    from sealwright.trust.verify import Request

EXAMPLES = """examples:
  sealwright verify drive.bin --trust trust.toml
  sealwright verify project/ backup/ --trust trust.toml --purpose restore     folders, each by its manifest
  sealwright verify delivery/ --recursive --trust trust.toml --json           each file by its own signature
  sealwright verify plc.bin --trust trust.toml --hardware cpu-1515 --product "line 3"
  sealwright verify plc.bin --trust trust.toml --line line-3      accepted by the plant for this line
  sealwright verify drive.bin --trust /media/stick/trust.toml --trust-fingerprint "WORDS OF THE CARD"
  sealwright verify drive.bin --trust trust.toml --at 2031-01-01T00:00:00Z    would it still be allowed then?
  sealwright verify 6/ --trust trust.toml --device pump-4711 --permit 6.permit --state state     by a permit (docs/permits.md)
  sealwright verify drive.bin --trust trust.toml --record records --station-home station --change CHG-4711
"""
FEW = 16
HASH_TREES = (".roothash.p7s", ".fsverity.p7s")  # what they sign is made of blocks: a SHA-256 begun early is no use


def configure(parser: argparse.ArgumentParser) -> None:
    """The options; --trust is always named, no environment variable or folder adds to it (A108)."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder to check")
    add_trust(parser, "the trust file that decides")
    parser.add_argument("--signature", metavar="FILE", help="use this signature file only (one PATH)")
    parser.add_argument(
        "--purpose",
        choices=("install", "run", "restore"),
        default="install",
        help="what you want to do with it (install is the strictest)",
    )
    parser.add_argument("--at", metavar="TIME", type=rfc3339, help="judge as if it were this time; hypothetical")
    parser.add_argument("--recursive", action="store_true", help="check each file of a folder by its own signature")
    parser.add_argument("--state", metavar="DIR", help="remember here what was accepted, and refuse to go back")
    parser.add_argument("--hardware", metavar="TEXT", default="", help="the hardware it is meant for")
    parser.add_argument("--product", metavar="TEXT", default="", help="the product it is meant for")
    parser.add_argument("--line", metavar="TEXT", default="", help="the production line it is meant for")
    parser.add_argument("--device", metavar="ID", default="", help="the one device it is for: its id or serial number")
    parser.add_argument(
        "--permit", metavar="FILE", action="append", default=[], help="a permit for that device (may come again)"
    )
    add_record(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--details", action="store_true", help="show keys, certificates, digests and codes as well")
    how.add_argument("--quiet", action="store_true", help="one line for each path that is not allowed, else nothing")
    add_json(how)
    parser.set_defaults(run=run)


# What is printed about one path, and its outcome. A plain tuple, because ten thousand of them travel between processes.
Answer = tuple[str, "Outcome"]


def text_answer(detail: Detail, blank: str, verdict: Verdict, record: str = "") -> Answer:
    """Turns a verdict into a block of text; blank: one empty line follows it, as between several paths; record: where its record is."""
    from sealwright.cli.render import Detail, verdict_text

    text = verdict_text(verdict, detail)
    if record and detail is not Detail.QUIET:
        from sealwright.artifact.names import display
        from sealwright.texts.words import say

        text += "  " + say("verify.record", path=display(record)) + "\n"
    return text and text + blank, verdict.outcome


def json_answer(verdict: Verdict, record: str = "") -> Answer:
    """Turns a verdict into its line of JSON."""
    from sealwright.cli.jsonout import verdict_line
    from sealwright.cli.render import deciding_clause

    return verdict_line(verdict, deciding_clause(verdict), record) + "\n", verdict.outcome


def run(args: argparse.Namespace) -> int:
    """Believe the trust file, judge every path, print as it goes; the exit code is that of the worst outcome."""
    from sealwright.artifact.source import reading_ahead
    from sealwright.formats.known import may_be_signed_inside

    by_tree = any(os.path.lexists(path + ending) for path in args.paths[:1] for ending in HASH_TREES)
    with reading_ahead(() if by_tree else args.paths, may_be_signed_inside):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    from sealwright.errors import LimitExceeded, SealwrightError, Unreadable, UsageError
    from sealwright.texts import TEXTS
    from sealwright.texts.words import say
    from sealwright.trust.verdict import Purpose
    from sealwright.trust.verify import Request

    if args.signature is not None and (len(args.paths) > 1 or args.recursive):
        raise UsageError("--signature", "it belongs to one path", "Verify the paths one by one.")
    if args.signature is not None and not os.path.lexists(args.signature):
        raise UsageError(args.signature, "there is no such signature file", "Check the path given with --signature.")
    if args.record is None and (args.station_home or args.station_key or args.person or args.change):
        raise UsageError(
            "verify", "what belongs to a record was given, and no --record", "Name the folder with --record."
        )
    if args.record is not None and args.at is not None:
        raise UsageError(
            "--at", "a judgement of another time is no evidence of anything", "Leave out --record or --at."
        )
    request = Request(
        clock=datetime.now(UTC),
        purpose=Purpose(args.purpose),
        at=args.at,
        signature=args.signature,
        state=args.state,
        hardware=args.hardware,
        product=args.product,
        line=args.line,
        recursive=args.recursive,
        device=args.device,
        permits=_permits(args),
    )
    recorder = None
    if args.record is not None:
        from sealwright.cli.recording import recorder_of  # few verifications leave records

        recorder = recorder_of(args)
    try:
        believed = _believed(args, request)
    except UsageError:
        raise
    except SealwrightError as cause:
        return _refuse_all(args, cause, say("verify.trust-unusable"))
    try:
        return _report(_answers(args, believed, request, recorder), args)
    except UsageError:
        raise
    except SealwrightError as cause:
        unread = isinstance(cause, Unreadable | LimitExceeded)  # a folder on the way; everything else is the state
        return _refuse_all(args, cause, TEXTS[cause.code].headline if unread else say("verify.trust-unusable"))


def _permits(args: argparse.Namespace) -> tuple[Presented[Permit], ...]:
    from sealwright.errors import UsageError

    if not args.permit:
        return ()
    if not args.device:
        raise UsageError("--permit", "it is for one device, and it is not said which this is", "Say it with --device.")
    from sealwright.formats.permitfiles import read_permit

    return tuple(map(read_permit, args.permit))


def _believed(args: argparse.Namespace, request: Request) -> Believed:
    from sealwright.trust.belief import load_trust

    installed = None
    if request.state is not None:
        from sealwright.cli.trustinstall import installed_in

        installed = installed_in(request.state)
    return load_trust(args.trust, fingerprint=args.trust_fingerprint, installed=installed)


def _answers(
    args: argparse.Namespace, believed: Believed, request: Request, recorder: Recorder | None
) -> Iterator[Answer]:
    """One answer a path. Many go over all cores. Where a person watches, many are counted, and of a few, which may be large, the bytes."""
    from sealwright.cli.render import Detail

    detail = Detail.FULL if args.details else Detail.QUIET if args.quiet else Detail.PLAIN
    blank = "\n" if _several(args) and detail is not Detail.QUIET else ""
    use = json_answer if args.json else partial(text_answer, detail, blank)
    from sealwright.artifact.progress import TerminalProgress

    if recorder is not None:
        from sealwright.cli.recording import recorded_answers

        yield from recorded_answers(args, believed, request, recorder, use)
        return
    if len(args.paths) > FEW or args.recursive:
        from sealwright.trust.verify import map_paths

        with TerminalProgress("checking", unit="files") as progress:
            for answer in map_paths(args.paths, believed, request, use):
                progress.advance(1)
                if answer[0]:
                    progress.close()
                yield answer
        return
    from sealwright.trust.verify import verify_paths

    with TerminalProgress("checking") as progress:
        for verdict in verify_paths(args.paths, believed, request, progress):
            progress.close()
            yield use(verdict)


def _several(args: argparse.Namespace) -> bool:
    return len(args.paths) > 1 or args.recursive


def _report(answers: Iterable[Answer], args: argparse.Namespace) -> int:
    from sealwright.cli.render import summary

    outcomes = []
    for text, outcome in answers:
        if text:
            sys.stdout.write(text)
        outcomes.append(outcome)
    if not args.json and not args.quiet and _several(args):
        print(summary(outcomes))
    return worst({outcome.exit_code for outcome in outcomes})


def worst(codes: set[int]) -> int:
    """Refused before undecided before allowed; nothing judged at all is nothing allowed."""
    return next((code for code in (1, 3, 0) if code in codes), 1)


def _refuse_all(args: argparse.Namespace, cause: SealwrightError, why: str) -> int:
    """Without a trust file or state, or all of a folder, nothing can be allowed: every path is refused, with the one reason."""
    from sealwright.artifact.names import display
    from sealwright.texts import TEXTS
    from sealwright.texts.words import say

    about_trust = cause.code.startswith("SW-TRUST-")
    headline = TEXTS[cause.code].headline if about_trust else why
    if args.json:
        from sealwright.cli.jsonout import refused_line

        for path in args.paths:
            print(refused_line(path, args.purpose, cause, headline))
        return 1
    print(say(f"verify.{args.purpose}.refused", why=display(headline)))
    if not args.quiet:
        print(f"  {display(cause.subject)}: {display(cause.what)}.")
        print("  " + say("verify.next", step=display(cause.next_step)))
    return 1
