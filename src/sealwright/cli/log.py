"""The log of a signing service: check and watch it without the service, export it, prove that an entry is in it (docs/log.md)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.logmonitor import configure_monitor
from sealwright.cli.logsource import WHOLE, add_log, add_web, keys_of, source_of, told

if TYPE_CHECKING:
    from sealwright.artifact.digest import Digest
    from sealwright.store.engine import Store

EXAMPLES = """examples:
  sealwright log export --database sqlite:////var/lib/sealwright/service.db --out export          a folder that anybody can check
  sealwright log export --database "postgresql://sealwright@db/service" --out export --csv log.csv     and rows for a spreadsheet
  sealwright log check export --log-key log.vkey                             every entry and tile, offline
  sealwright log prove 73894 --folder export --out drive.bin.tlog-proof      that entry 73894 is in it
  sealwright log prove sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --folder export --out drive.bin.tlog-proof
  sealwright log monitor https://log.acme.example/1/ --state monitor.state --log-key log.vkey     is it still what it was?
  sealwright log monitor https://sign.acme.example:8443/log --ca ca.pem --state monitor.state --log-key log.vkey --alarm-run /usr/local/bin/page
  sealwright log monitor export --state monitor.state --log-key log.vkey --signatures found.txt   and does it have these?
  sealwright log monitor export --state monitor.state --log-key log.vkey --files /mnt/plant       and the signatures of these files?
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(commands, "check", "compute a log again from its entries", EXAMPLES)
    add_log(check)
    add_json(check)
    check.set_defaults(run=run_check)
    configure_monitor(commands, EXAMPLES)
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
    add_web(prove)
    prove.add_argument("--out", metavar="FILE", required=True, help="such as drive.bin.tlog-proof")
    add_json(prove)
    prove.set_defaults(run=run_prove)


def run_check(args: argparse.Namespace) -> int:
    """What is wrong, then what there is."""
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.envelope.verifierkey import NoteType
    from sealwright.log.audit import Audit

    witnesses = keys_of(args.witness_key, NoteType.WITNESS)
    with TerminalProgress("checking", unit="entries") as progress:
        audit = Audit(source_of(args, args.log), keys_of(args.log_key, NoteType.LOG), witnesses, progress=progress)
        return told(args, audit, audit.findings(), witnesses)


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
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.cli.jsonout import line
    from sealwright.texts.words import say

    number, proof = _proof_from_files(args) if args.database is None else _proof_from_database(args)
    write_atomic(args.out, proof, replace=Replace.YES if _is_of_the_same(args.out, proof) else Replace.NO)
    if args.json:
        print(line({"path": args.out, "entry": number}))
    else:
        print(say("log.proved", path=display(args.out), number=f"{number:,}"))
    return WHOLE


def _is_of_the_same(path: str, proof: bytes) -> bool:
    """Whether a proof of the same entry lies there already: a later one has more witnesses."""
    from sealwright.artifact.source import read_file_or_none
    from sealwright.errors import SealwrightError
    from sealwright.log.proof import MAX_PROOF_BYTES, read_proof

    try:
        before = read_file_or_none(path, MAX_PROOF_BYTES)
        return before is not None and read_proof(before, path).entry == read_proof(proof, path).entry
    except SealwrightError:
        return False


def _proof_from_files(args: argparse.Namespace) -> tuple[int, bytes]:
    from sealwright.artifact.digest import Digest
    from sealwright.log.prove import leaf_of, proof_from

    source, wanted = source_of(args, args.folder), _wanted(args.entry)
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


def _store(url: str) -> Store:
    from sealwright.cli.serve import need_server

    need_server()
    from sealwright.store.engine import open_current

    return open_current(url)
