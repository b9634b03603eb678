"""A checking station: everything on a stick is copied into a private place and judged there, before anything of it is used.

Without --once the station fills the screen and waits for sticks; with it one medium or folder is checked and told in lines. What is
allowed can be written onto a clean stick, from the copies that were judged. A stick that was not read to its end is not allowed, whatever
was said of its files before. Exit codes are those of --once.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_record, add_trust

if TYPE_CHECKING:
    from sealwright.artifact.digest import Digest
    from sealwright.cli.stationlines import Result, Teller
    from sealwright.findings import Finding
    from sealwright.plant.intakeaside import Ended
    from sealwright.plant.intakecopy import Limits
    from sealwright.plant.station import Judge
    from sealwright.trust.belief import Believed
    from sealwright.trust.verify import Verifier

EXAMPLES = """examples:
  sealwright station --watch /media --trust trust.toml --state /var/lib/station      the kiosk: fills the screen
  sealwright station --once /media/stick --trust trust.toml --state state            one stick, told in lines
  sealwright station --once /media/stick --trust trust.toml --state state --write /media/clean --label labels
  sealwright station --once /media/stick --trust trust.toml --state state --read-twice --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options; a station always keeps a state."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--once", metavar="PATH", help="check this medium or folder and end, without a screen")
    where.add_argument("--watch", metavar="DIR", default="/media", help="where sticks are mounted (default: /media)")
    add_trust(parser, "the trust file that decides")
    parser.add_argument("--state", metavar="DIR", required=True, help="the station's memory: what it accepted and saw")
    parser.add_argument("--private", metavar="DIR", help="where sticks are copied to (default: inside --state)")
    parser.add_argument("--write", metavar="DIR", help="write what is allowed onto this empty stick or folder")
    parser.add_argument(
        "--only-mounted", action="store_true", help="--write only where a stick is mounted (always so with --watch)"
    )
    parser.add_argument("--label", metavar="DIR", help="write a label of each stick here: text, and a QR code as PNG")
    parser.add_argument("--print-command", metavar="TEXT", help="program that prints labels from its standard input")
    parser.add_argument("--name", metavar="TEXT", help="the station's name on labels (default: this host's)")
    parser.add_argument("--max-files", metavar="N", type=_count, help="files and folders of a stick at most (200000)")
    parser.add_argument("--max-bytes", metavar="N", type=_count, help="bytes at most (default: what --private holds)")
    parser.add_argument("--read-twice", action="store_true", help="read all of each file twice, not a part of it")
    parser.add_argument("--line", metavar="TEXT", default="", help="the production line it is meant for")
    parser.add_argument("--hardware", metavar="TEXT", default="", help="the hardware it is meant for")
    add_record(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < len(text) < 17:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """One medium, or the screen."""
    if args.once is None:
        from sealwright.cli.stationscreen import run_screen  # the screen's library is heavy, and no part of the base

        return run_screen(args)
    return _once(args)


def _once(args: argparse.Namespace) -> int:
    from sealwright.cli.stationevents import Failed
    from sealwright.cli.stationlines import JsonTeller, LineTeller
    from sealwright.errors import OutputRefused, SealwrightError, Unreadable
    from sealwright.plant.cleanstick import refuse_used
    from sealwright.plant.disks import refuse_same_disk
    from sealwright.plant.station import private_place

    for option in ("--write", "--private", "--state", "--record", "--label"):
        if (place := getattr(args, option[2:])) is not None:
            _refuse_same(args.once, option, place)
    if not os.path.isdir(args.once):
        what = "it is no folder" if os.path.lexists(args.once) else "there is no such folder"
        raise Unreadable(args.once, what, "Name the folder where the stick is mounted, as `findmnt` shows it.")
    if args.label is not None and not os.path.isdir(args.label):
        raise OutputRefused(args.label, "there is no such folder", "Make it, or name another folder with --label.")
    if args.write is not None:
        refuse_used(args.write, mounted=args.only_mounted)
        refuse_same_disk(args.once, args.write)
    believed, verifier = _verifier(args)
    teller: Teller = JsonTeller() if args.json else LineTeller()
    try:
        with private_place(os.path.abspath(args.private or args.state)) as place:
            result, ended = _judged(args, verifier, place, teller)
            clean = _written(args, believed, place, result)
        labels = _labelled(args, believed, result, clean)
    except SealwrightError:
        teller.tell(Failed())
        raise
    teller.tell(result.finished(ended, args.write if clean is not None else "", labels))
    return result.outcome.exit_code


def _verifier(args: argparse.Namespace) -> tuple[Believed, Verifier]:
    from sealwright.cli.trustinstall import installed_in
    from sealwright.trust.belief import load_trust
    from sealwright.trust.verify import Request, Verifier

    state = os.path.abspath(args.state)
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint, installed=installed_in(state))
    return believed, Verifier(
        believed, Request(clock=datetime.now(UTC), state=state, line=args.line, hardware=args.hardware)
    )


def _refuse_same(medium: str, option: str, place: str) -> None:
    """UsageError where something would be written to the medium that is checked, by whatever mount."""
    from sealwright.errors import UsageError
    from sealwright.plant.media import lies_within

    if lies_within(place, medium):
        raise UsageError(place, "it lies on the medium that is checked", f"Name another place with {option}.")


def _judged(args: argparse.Namespace, verifier: Verifier, place: str, teller: Teller) -> tuple[Result, Ended]:
    from sealwright.cli.stationevents import Reading, Remark
    from sealwright.cli.stationlines import Result, told
    from sealwright.findings import Finding, Severity
    from sealwright.plant.intake import Intake
    from sealwright.plant.intakeaside import Progress
    from sealwright.plant.intakecopy import Again
    from sealwright.plant.station import Judged, judge_medium

    intake = Intake(args.once, place, _limits(args), Again.ALL if args.read_twice else Again.PART)
    result = Result()
    for finding in _about(args.once):
        teller.tell(Remark(finding))
    with closing(judge_medium(intake, _judge(args, verifier))) as found:
        for one in found:
            if isinstance(one, Judged):
                result.count(one)
                teller.tell(told(one))
            elif isinstance(one, Finding):
                result.remarks += one.severity is Severity.REJECT
                teller.tell(Remark(one))
            elif isinstance(one, Progress):
                teller.tell(Reading(one.files, one.size_bytes))
            else:
                return result, one
    raise AssertionError("a medium ends or fails")


def _judge(args: argparse.Namespace, verifier: Verifier) -> Judge:
    """How things are judged: with an installation record of each verdict where that is asked for."""
    if args.record is None:
        return verifier.verify_all
    from sealwright.cli.recording import recorder_of
    from sealwright.plant.intakeaside import AT_ONCE
    from sealwright.plant.recorder import recorded

    for name in ("record", "station_home", "pin_file"):  # the work is done inside the private folder
        if (given := getattr(args, name)) is not None:
            setattr(args, name, os.path.abspath(given))
    recorder = recorder_of(args)
    return lambda asked: [one.verdict for one in recorded(verifier, iter(asked), recorder, AT_ONCE, None)]


def _limits(args: argparse.Namespace) -> Limits:
    from sealwright.plant.intakecopy import MAX_FILES, Limits

    return Limits(files=args.max_files or MAX_FILES, size_bytes=args.max_bytes)


def _about(path: str) -> Iterator[Finding]:
    """What is to be said of the medium's file system."""
    from sealwright.findings import warning
    from sealwright.plant.media import medium_of

    medium = medium_of(path)
    if medium is not None and os.path.realpath(path) == medium.path and not medium.usual:
        yield warning("SW-STATION-FILESYSTEM", path, found=medium.kind)


def _written(args: argparse.Namespace, believed: Believed, place: str, result: Result) -> Digest | None:
    """The digest of the list on the clean stick that was written, None where none was."""
    if args.write is None or not result.allowed:
        return None
    from sealwright.plant.cleanstick import write_clean
    from sealwright.plant.disks import refuse_same_disk

    refuse_same_disk(args.once, args.write)  # once more, as another stick may be there by now
    heading = (
        f"checked by {_station(args)} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"trust file {believed.trust.id} version {believed.trust.version}, {believed.trust.digest}",
    )
    return write_clean(args.write, place, result.allowed, heading, mounted=args.only_mounted)


def _labelled(args: argparse.Namespace, believed: Believed, result: Result, clean: Digest | None) -> tuple[str, ...]:
    """The label's files. It is about what goes on from here: the clean stick where one was written, else all that was checked."""
    if args.label is None:
        return ()
    from sealwright.artifact.output import Output, write_batch
    from sealwright.plant.label import Label, label_code, label_picture, label_text
    from sealwright.texts.words import say

    outcome, digest = result.outcome.value, result.content
    name = say("station.label-medium", files=f"{result.files:,}")
    if clean is not None:
        outcome, name, digest = "trusted", say("station.label-clean", files=f"{len(result.allowed):,}"), clean
    elif result.last is not None and sum(result.outcomes.values()) == 1 and result.last.files:
        name, digest = result.last.verdict.path, result.last.files[0].digest
    now, trust = datetime.now(UTC), believed.trust
    label = Label(say(f"station.word.{outcome}"), name, digest, now, _station(args), trust.version, trust.digest)
    stem = os.path.join(args.label, f"label-{now:%Y%m%dT%H%M%S%fZ}")
    text = Output(stem + ".txt", (label_text(label) + "\n" + label_code(label)).encode())
    picture = Output(stem + ".png", label_picture(label))
    write_batch([text, picture])
    return text.path, picture.path


def _station(args: argparse.Namespace) -> str:
    return str(args.name or socket.gethostname())
