"""The installation records of `verify --record`: list them, check that they are genuine, export them for a logbook (docs/records.md)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, add_trust, rfc3339

if TYPE_CHECKING:
    from sealwright.artifact.digest import Digest
    from sealwright.findings import Finding
    from sealwright.plant.recordcheck import Check, End, Stations
    from sealwright.plant.recordexport import Kept, Wanted

EXAMPLES = """examples:
  sealwright record list records --since 2026-11-01T00:00:00Z --outcome rejected
  sealwright record list records --artifact sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --json
  sealwright record list records --trust trust.toml --follow-ups permits    was each break-glass looked at?
  sealwright record check records --trust trust.toml                genuine, whole, and signed by stations of this trust file?
  sealwright record check records --key station.pem                 the same for one station's certificate or public key
  sealwright record check records --key station.pem --contains records.line    does it still contain what was written down?
  sealwright record check records --key station.pem --station-home station     and all that the station signed?
  sealwright record export records --out logbook.csv --since 2026-01-01T00:00:00Z --product "line 3"
"""
MAX_KEY_BYTES = 64 * 1024
MAX_LINE_BYTES = 4096
MAX_WRITERS = 100


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = add_action(commands, "list", "list records, by what they say", EXAMPLES)
    _add_choice(listing)
    add_trust(listing, "the trust file that says who may look at break-glass", required=False)
    listing.add_argument("--follow-ups", metavar="DIR", help="the folder with permits and their follow-ups")
    add_json(listing)
    listing.set_defaults(run=run_list)
    check = add_action(commands, "check", "check every record, the chain and the signatures", EXAMPLES)
    check.add_argument("folder", metavar="DIR", help="the folder of `verify --record`")
    add_trust(check, "the trust file that knows the stations", required=False)
    check.add_argument(
        "--key",
        metavar="KEY",
        action="append",
        default=[],
        help="a station's key: sha256:… as records name it, or PEM of its certificate or public key (repeat)",
    )
    check.add_argument(
        "--station-home",
        metavar="HOME",
        action="append",
        default=[],
        help="a station's home: does the folder have all that its journal says was signed? (repeat)",
    )
    check.add_argument("--contains", metavar="LINE", help="the line of an earlier check, or a file with it")
    add_json(check)
    check.set_defaults(run=run_check)
    export = add_action(commands, "export", "write records as CSV, one a row, for a logbook", EXAMPLES)
    _add_choice(export)
    export.add_argument("--out", metavar="FILE", help="the file to write (else it is printed)")
    export.add_argument("--replace", action="store_true", help="replace the file")
    add_json(export)
    export.set_defaults(run=run_export)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="the folder of `verify --record`")
    parser.add_argument("--since", metavar="TIME", type=rfc3339, help="judged at this time or later")
    parser.add_argument("--until", metavar="TIME", type=rfc3339, help="judged before this time")
    parser.add_argument("--outcome", choices=("trusted", "rejected", "undecided"), help="with this outcome")
    parser.add_argument("--product", metavar="TEXT", default="", help="of this product")
    parser.add_argument("--host", metavar="NAME", default="", help="made on this host")
    parser.add_argument(
        "--artifact", metavar="DIGEST", help="of this file or content: sha256:… or its hexadecimal digits"
    )


def run_list(args: argparse.Namespace) -> int:
    """One line or object a record. Exit code 1 where one cannot be read, or the folder has none at all; 3 where a follow-up is owed."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import line
    from sealwright.cli.recordjson import record_object
    from sealwright.cli.recordpermits import Owed
    from sealwright.log.canonical import time_text
    from sealwright.plant.recordexport import kept
    from sealwright.texts.words import say

    shown = unread = 0
    owed = Owed.of(args)
    with TerminalProgress("reading", unit="records") as progress:
        for one in kept(args.folder, _wanted(args)):
            progress.advance(1)
            progress.close()
            if one.record is None:
                unread += 1
                _say_unread(one, args.json)
                continue
            shown += 1
            owed.count(one.record.facts.permit)
            if args.json:
                print(line(record_object(one) | owed.told(one.record.facts.permit)))
                continue
            record, facts = one.record, one.record.facts
            signed = say("record.signed") if record.station.key is not None else say("record.unsigned")
            words = {"outcome": facts.outcome.value, "purpose": facts.purpose.value, "signed": signed}
            names = {"name": display(facts.name), "host": display(record.station.host)}
            said = say("record.line", number=f"{one.number:>6}", time=time_text(facts.judged.time), **words, **names)
            if (done := facts.installation) is not None:
                said = say("record.installation", line=said, stage=done.stage, serial=done.serial)
            print(owed.marked(said, facts.permit))
    if not args.json:
        print(say("record.unchecked", count=f"{shown:,}") if shown else _nothing(args.folder))
        for said in owed.summary():
            print(said)
    return 1 if unread or not (shown or _any_in(args.folder)) else 3 if owed.red else 0


def run_check(args: argparse.Namespace) -> int:
    """What is wrong, then what there is, then the line to keep outside. Exit code 1 where something is wrong, or nothing is there."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.plant.recordcheck import Check, is_wrong
    from sealwright.texts.words import say

    check = Check(args.folder, _stations(args), _end(args.contains), _signed(args.station_home))
    wrong = 0
    steps: dict[str, None] = {}  # in their order, each once
    with TerminalProgress("checking", unit="records") as progress:
        for finding in check.findings(progress):
            progress.close()
            if is_wrong(finding):
                wrong += 1
                steps[finding.next_step] = None
            if args.json:
                print(line(finding_object(finding)))
            else:
                _say_finding(finding)
    if args.json:
        print(line(_summary(check, wrong)))
    else:
        _say_summary(check, wrong)
        for step in steps:
            print("  " + say("record.next", step=display(step)))
    return 0 if check.count and not wrong else 1


def run_export(args: argparse.Namespace) -> int:
    """CSV, whole or not at all where it goes to a file. Exit code 1 where a record cannot be read, or the folder has none at all."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Made, Output, Replace, refuse_taken, write_batch
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import line
    from sealwright.errors import UsageError
    from sealwright.plant.recordexport import heading, kept, row
    from sealwright.texts.words import say

    if args.json and args.out is None:
        raise UsageError(
            "--json", "the rows are printed", "Name a file with --out, or use `sealwright record list --json`."
        )
    wanted, replace = _wanted(args), Replace.YES if args.replace else Replace.OFFERED
    counted = {"rows": 0, "unread": 0}

    def blocks() -> Iterator[bytes]:
        yield heading()
        with TerminalProgress("reading", unit="records") as progress:
            for one in kept(args.folder, wanted):
                progress.advance(1)
                if one.record is None:
                    counted["unread"] += 1
                    progress.close()
                    _say_unread(one, False)
                    continue
                counted["rows"] += 1
                yield row(one.number, one.digest, one.record)

    if args.out is None:
        for block in blocks():
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        return _exported(args.folder, **counted)
    refuse_taken(args.out, replace)
    write_batch([Output(args.out, (Made(blocks),))], replace=replace)
    if args.json:
        print(line({"path": args.out, "records": counted["rows"], "unread": counted["unread"]}))
    else:
        print(say("record.exported", path=display(args.out), count=f"{counted['rows']:,}"))
    return _exported(args.folder, **counted)


def _exported(folder: str, rows: int, unread: int) -> int:
    if rows or unread:
        return 1 if unread else 0
    print(_nothing(folder), file=sys.stderr)
    return 0 if _any_in(folder) else 1


def _nothing(folder: str) -> str:
    """That a choice is empty is one thing, that the folder was never one of records another."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    return (
        say("record.none", folder=display(folder)) if _any_in(folder) else say("record.empty", folder=display(folder))
    )


def _any_in(folder: str) -> bool:
    from sealwright.plant.recordexport import Wanted, kept

    return next(iter(kept(folder, Wanted())), None) is not None


def _wanted(args: argparse.Namespace) -> Wanted:
    from sealwright.artifact.digest import Digest
    from sealwright.errors import UsageError
    from sealwright.plant.recordexport import Wanted
    from sealwright.trust.verdict import Outcome

    artifact = None
    if args.artifact is not None:
        try:
            artifact = Digest.parse(args.artifact if ":" in args.artifact else f"sha256:{args.artifact}")
        except ValueError as cause:
            raise UsageError("--artifact", "it is no digest", "Write sha256: and 64 digits of 0-9a-f.") from cause
    outcome = None if args.outcome is None else Outcome(args.outcome)
    return Wanted(args.since, args.until, outcome, args.product, args.host, artifact)


def _stations(args: argparse.Namespace) -> Stations | None:
    """Whose signatures count; None where nobody was named."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.plant.recordcheck import PinnedKeys, TrustedStations

    if args.trust is not None and args.key:
        raise UsageError("--key", "keys were named, and a trust file that names some", "Give one of --trust and --key.")
    if args.trust is not None:
        from sealwright.trust.belief import load_trust

        return TrustedStations(load_trust(args.trust, fingerprint=args.trust_fingerprint), datetime.now(UTC))
    return PinnedKeys(frozenset(map(_key, args.key))) if args.key else None


def _key(text: str) -> Digest:
    """The digest of a key that was named."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from sealwright.artifact.digest import Digest
    from sealwright.artifact.source import read_file
    from sealwright.envelope.algorithms import key_digest
    from sealwright.envelope.certified import UNREADABLE
    from sealwright.errors import UsageError

    if text.startswith("sha256:"):
        try:
            return Digest.parse(text)
        except ValueError as cause:
            raise UsageError("--key", "it is no digest", "Write sha256: and 64 digits of 0-9a-f.") from cause
    data = read_file(text, MAX_KEY_BYTES)
    try:
        if b"BEGIN CERTIFICATE" in data:
            return key_digest(x509.load_pem_x509_certificates(data)[0].public_key())  # type: ignore[arg-type]
        return key_digest(load_pem_public_key(data))  # type: ignore[arg-type]
    except UNREADABLE as cause:
        raise UsageError(
            text, "no PEM certificate or public key is in it", "Name the station's certificate."
        ) from cause


def _end(text: str | None) -> End | None:
    """The line of --contains, or of the file named there."""
    import os

    from sealwright.artifact.source import read_file
    from sealwright.plant.recordcheck import WORD, parse_end

    if text is None:
        return None
    if not text.startswith(WORD) and os.path.lexists(text):
        text = read_file(text, MAX_LINE_BYTES).decode("utf-8", "backslashreplace")
    return parse_end(text)


def _signed(homes: list[str]) -> dict[str, int]:
    """The highest number that any of the stations signed, by folder."""
    if not homes:
        return {}
    from sealwright.plant.stationkey import highest_signed  # only where a journal is asked
    from sealwright.signing.home import open_home

    highest: dict[str, int] = {}
    for home in homes:
        for folder, number in highest_signed(open_home(home)).items():
            highest[folder] = max(number, highest.get(folder, 0))
    return highest


def _say_finding(finding: Finding) -> None:
    from sealwright.artifact.names import display
    from sealwright.plant.recordcheck import is_wrong
    from sealwright.texts.words import say

    what = display(finding.sentence)
    print(say("record.problem", what=what) if is_wrong(finding) else say("record.remark", what=what))


def _say_summary(check: Check, wrong: int) -> None:
    from sealwright.artifact.names import display
    from sealwright.log.canonical import time_text
    from sealwright.texts.words import say

    folder, count = display(check.path), f"{check.count:,}"
    if wrong:
        print(say("record.broken", folder=folder, count=count, problems=f"{wrong:,}"))
    elif check.first is None or check.last is None:
        print(say("record.empty", folder=folder))
    else:
        first, last = time_text(check.first), time_text(check.last)
        print(say("record.whole", folder=folder, count=count, first=first, last=last))
    for (key, host), number in sorted(check.wrote.items())[:MAX_WRITERS]:
        how = {"key": key, "host": display(host), "count": f"{number:,}"}
        print("  " + (say("record.keys", **how) if key else say("record.no-key", **how)))
    if (more := len(check.wrote) - MAX_WRITERS) > 0:
        print("  " + say("record.more", number=f"{more:,}"))
    if check.stations is None and any(key for key, _ in check.wrote):
        print("  " + say("record.signatures-unchecked"))
    if check.end is not None and not wrong:
        print("  " + say("record.keep-line"))
        print("  " + check.end.line)


def _summary(check: Check, wrong: int) -> dict[str, object]:
    return {
        "folder": check.path,
        "records": check.count,
        "problems": wrong,
        "first": check.first,
        "last": check.last,
        "wrote": [
            {"key": key or None, "host": host, "records": number} for (key, host), number in sorted(check.wrote.items())
        ],
        "stations_checked": check.stations is not None,
        "end": check.end.line if check.end is not None else None,
    }


def _say_unread(one: Kept, as_json: bool) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line
    from sealwright.texts.words import say

    if as_json:
        print(line({"number": one.number, "path": one.path, "problem": one.problem}))
    print(say("record.unread", path=display(one.path), why=display(one.problem)), file=sys.stderr)
