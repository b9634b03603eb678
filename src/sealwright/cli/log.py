"""The log of a signing service: check and watch it without the service, export it, prove that an entry is in it (docs/log.md)."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.artifact.digest import Digest
    from sealwright.envelope.verifierkey import NoteType, VerifierKey
    from sealwright.findings import Finding
    from sealwright.log.audit import Audit
    from sealwright.log.source import Source
    from sealwright.store.engine import Store

EXAMPLES = """examples:
  sealwright log export --database sqlite:////var/lib/sealwright/service.db --out export          a folder that anybody can check
  sealwright log export --database "postgresql://sealwright@db/service" --out export --csv log.csv     and rows for a spreadsheet
  sealwright log check export --log-key log.vkey                             every entry and tile, offline
  sealwright log prove 73894 --folder export --out drive.bin.tlog-proof      that entry 73894 is in it
  sealwright log prove sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --folder export --out drive.bin.tlog-proof
  sealwright log monitor https://log.acme.example/1/ --state monitor.state --log-key log.vkey     is it still what it was?
  sealwright log monitor export --state monitor.state --log-key log.vkey --signatures found.txt   and does it have these?
"""
MAX_KEYS_BYTES = 64 * 1024
WHOLE, ALARM, UNKNOWN = 0, 1, 3


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(commands, "check", "compute a log again from its entries", EXAMPLES)
    _add_source(check)
    add_json(check)
    check.set_defaults(run=run_check)
    monitor = add_action(commands, "monitor", "the same for what is new, and remember what was seen", EXAMPLES)
    _add_source(monitor)
    monitor.add_argument("--state", metavar="FILE", required=True, help="what is remembered from one time to the next")
    monitor.add_argument(
        "--signatures", metavar="FILE", help="SHA-256 of signature values that the log must have, one a line"
    )
    monitor.add_argument("--whole", action="store_true", help="read also what was read before")
    add_json(monitor)
    monitor.set_defaults(run=run_monitor)
    export = add_action(commands, "export", "write a log to a folder, in the layout of C2SP tlog-tiles", EXAMPLES)
    export.add_argument("--database", metavar="URL", required=True, help="sqlite:///FILE or postgresql://…")
    export.add_argument("--out", metavar="DIR", required=True, help="a new folder, or one of an earlier export")
    export.add_argument("--csv", metavar="FILE", help="write the entries as rows too")
    add_json(export)
    export.set_defaults(run=run_export)
    prove = add_action(commands, "prove", "write the proof that an entry is in a log", EXAMPLES)
    prove.add_argument("entry", metavar="ENTRY", help="its number, or sha256:… of the signature value")
    where = prove.add_mutually_exclusive_group(required=True)
    where.add_argument("--folder", metavar="DIR|URL", help="an export, or the URL of the log")
    where.add_argument("--database", metavar="URL", help="the service's database")
    prove.add_argument("--out", metavar="FILE", required=True, help="such as drive.bin.tlog-proof")
    add_json(prove)
    prove.set_defaults(run=run_prove)


def _add_source(parser: argparse.ArgumentParser) -> None:
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


def run_check(args: argparse.Namespace) -> int:
    """What is wrong, then what there is."""
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.envelope.verifierkey import NoteType
    from sealwright.log.audit import Audit

    witnesses = _keys(args.witness_key, NoteType.WITNESS)
    with TerminalProgress("checking", unit="entries") as progress:
        audit = Audit(_source(args.log), _keys(args.log_key, NoteType.LOG), witnesses, progress=progress)
        return _told(args, audit, audit.findings(), witnesses)


def run_monitor(args: argparse.Namespace) -> int:
    """Alarms, then what there is."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.envelope.verifierkey import NoteType
    from sealwright.log.monitor import Monitor, read_signatures
    from sealwright.texts.words import say

    witnesses = _keys(args.witness_key, NoteType.WITNESS)
    wanted = [] if args.signatures is None else read_signatures(args.signatures)
    with TerminalProgress("reading", unit="entries") as progress:
        monitor = Monitor(
            args.state, _source(args.log), _keys(args.log_key, NoteType.LOG), witnesses, wanted, progress=progress
        )
        findings = monitor.findings_from_start() if args.whole else monitor.findings()
        code = _told(args, monitor.audit, findings, witnesses)
    if monitor.evidence and not args.json:
        print(say("log.evidence", path=display(monitor.evidence)))
    return code


def run_export(args: argparse.Namespace) -> int:
    """The folder, then the rows."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Made, Output, Replace, write_batch
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import line
    from sealwright.log.export import export_log, heading, rows
    from sealwright.log.reader import LogReader
    from sealwright.log.tree import WIDTH
    from sealwright.texts.words import say

    store = _store(args.database)
    try:
        log = LogReader(store)
        with TerminalProgress("writing", unit="entries") as progress:
            done = export_log(log, args.out, progress)
        if args.csv is not None:

            def blocks() -> Iterator[bytes]:
                yield heading()
                for start in range(0, done.size, WIDTH):
                    yield b"".join(rows(start, log.entries(start, min(WIDTH, done.size - start))))

            write_batch([Output(args.csv, (Made(blocks),))], replace=Replace.YES)
    finally:
        store.close()
    if args.json:
        print(line({"path": args.out, "entries": done.size, "new": done.size - done.since, "csv": args.csv}))
    else:
        count, new = f"{done.size:,}", f"{done.size - done.since:,}"
        print(say("log.exported", path=display(args.out), count=count, new=new))
    return WHOLE


def run_prove(args: argparse.Namespace) -> int:
    """The proof, from public files or from the database."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.cli.jsonout import line
    from sealwright.texts.words import say

    number, proof = _proof_from_files(args) if args.database is None else _proof_from_database(args)
    write_atomic(args.out, proof)
    if args.json:
        print(line({"path": args.out, "entry": number}))
    else:
        print(say("log.proved", path=display(args.out), number=f"{number:,}"))
    return WHOLE


def _proof_from_files(args: argparse.Namespace) -> tuple[int, bytes]:
    from sealwright.artifact.digest import Digest
    from sealwright.log.prove import leaf_of, proof_from

    source, wanted = _source(args.folder), _wanted(args.entry)
    number = leaf_of(source, wanted) if isinstance(wanted, Digest) else wanted
    return number, proof_from(source, number)


def _proof_from_database(args: argparse.Namespace) -> tuple[int, bytes]:
    from sealwright.artifact.digest import Digest
    from sealwright.log.reader import LogReader

    wanted = _wanted(args.entry)
    store = _store(args.database)
    try:
        log = LogReader(store)
        number = log.leaf_of(wanted) if isinstance(wanted, Digest) else wanted
        return number, log.proof(number)
    finally:
        store.close()


def _wanted(text: str) -> Digest | int:
    from sealwright.artifact.digest import Digest
    from sealwright.errors import UsageError

    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    try:
        return Digest.parse(text)
    except ValueError as cause:
        raise UsageError(
            "ENTRY", "it is neither a number nor a digest", "Write 73894, or sha256: and digits."
        ) from cause


def _source(text: str) -> Source:
    from sealwright.errors import UsageError
    from sealwright.log.source import FolderSource, UrlSource

    if "://" in text:
        from sealwright.cli.logweb import Web  # only where a network is asked for

        return UrlSource(text, Web(text).get)
    if not os.path.isdir(text):
        raise UsageError(text, "it is no folder", "Name an export, or a URL.")
    return FolderSource(text)


def _store(url: str) -> Store:
    from sealwright.cli.serve import need_server

    need_server()
    from sealwright.store.engine import open_current

    return open_current(url)


def _keys(texts: Iterable[str], kind: NoteType) -> list[VerifierKey]:
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


def _told(args: argparse.Namespace, audit: Audit, findings: Iterable[Finding], witnesses: list[VerifierKey]) -> int:
    """Say findings as they come, then what was read; the exit code."""
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.errors import LogUnavailable
    from sealwright.findings import Severity
    from sealwright.texts.words import say

    alarms = 0
    try:
        for finding in findings:
            alarms += finding.severity is Severity.REJECT
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
    if args.json:
        print(line(_summary(args.log, audit, alarms, missing)))
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
