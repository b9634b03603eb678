"""Show the reports that devices signed, and send them to the fleet's service (docs/fleet.md).

A report lies as `NAME.report` with its signature `NAME.report.p7s`: in the folder where an agent keeps what was not sent yet, or on a stick.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.device.reporting import Waiting
    from sealwright.device.reportsender import Answered

EXAMPLES = """examples:
  sealwright report show /media/stick/reports
  sealwright report show gw-17-41.report --json
  sealwright report send /media/stick/reports --service https://fleet.acme.example:8445 --service-ca ca.pem      what a courier brought
  sealwright report send --spool /var/lib/sealwright/agent/reports --service https://fleet.acme.example:8445 --service-ca ca.pem
"""
REFUSED, UNANSWERED = 1, 3


def configure(parser: argparse.ArgumentParser) -> None:
    """The two actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = add_action(commands, "show", "print reports, and whose key signed them", EXAMPLES)
    show.add_argument("paths", metavar="FILE", nargs="+", help="a report, or a folder of them")
    add_json(show)
    show.set_defaults(run=run_show)
    send = add_action(commands, "send", "hand reports to the fleet's service", EXAMPLES)
    send.add_argument("paths", metavar="FILE", nargs="*", help="a report, or a folder of them; the files stay")
    send.add_argument("--spool", metavar="DIR", help="a device's own folder: what the service has is removed from it")
    send.add_argument("--service", metavar="URL", required=True, help="the fleet's service, https://HOST:PORT")
    send.add_argument("--service-ca", metavar="FILE", required=True, help="the authorities of its certificate, PEM")
    add_json(send)
    send.set_defaults(run=run_send)


def run_show(args: argparse.Namespace) -> int:
    """Each report with the key of its signature; nothing says here whether that is the device's."""
    from sealwright.artifact.names import display
    from sealwright.cli.main import failed
    from sealwright.device.reporting import read_signed
    from sealwright.device.reportkey import key_of_report
    from sealwright.errors import SealwrightError
    from sealwright.texts.words import say

    code = 0
    for one in _reports(args.paths):
        try:
            signed = read_signed(one)
            key = key_of_report(signed, one.signature)
        except SealwrightError as cause:
            code = max(code, failed(cause, args.json))
            continue
        lines = signed.report.decode().splitlines()
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"path": one.path, "key": str(key), "number": one.number, "report": lines}))
        else:
            print(say("report.signed", path=display(one.path), key=key))
            print("\n".join(f"  {display(text)}" for text in lines))
    if not args.json and not code:
        print(say("report.not-judged"))
    return code


def run_send(args: argparse.Namespace) -> int:
    """Send; 3 where no answer came."""
    from sealwright.cli.main import failed
    from sealwright.device.reportsender import Address, send, send_files
    from sealwright.errors import ServiceUnavailable, UsageError
    from sealwright.texts.words import say

    address = Address(args.service, args.service_ca)
    if bool(args.paths) is (args.spool is not None):
        raise UsageError("report send", "either files or --spool", "Name the reports, or the device's own folder.")
    try:
        if args.spool is None:
            reports = _reports(args.paths)
            return _print_answers(args, reports, send_files(reports, address))
        sent = send(args.spool, address)
    except ServiceUnavailable as cause:
        failed(cause, args.json)
        return UNANSWERED
    told = {"taken": sent.taken, "known": sent.known, "refused": sent.refused}
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({**told}))
    else:
        print(say("report.sent", **told))
    return REFUSED if sent.refused else 0


def _reports(paths: list[str]) -> list[Waiting]:
    import os

    from sealwright.device.reporting import waiting, waiting_at
    from sealwright.errors import UsageError

    found: list[Waiting] = []
    for path in paths:
        in_it = waiting(path) if os.path.isdir(path) else [waiting_at(path)]
        if not in_it:
            raise UsageError(path, "no signed report lies there", "Name the folder with the files NAME.report.")
        found += in_it
    return found


def _print_answers(args: argparse.Namespace, reports: list[Waiting], answers: list[Answered]) -> int:
    from sealwright.artifact.names import display
    from sealwright.device.reportsender import REFUSED as NOT_TAKEN
    from sealwright.texts.words import say

    for one, answered in zip(reports, answers, strict=True):
        told = {"path": display(one.path), "answer": answered.answer, "number": answered.number}
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({**told, "path": one.path}))
        elif answered.number:
            print(say("report.answer-old", **told))
        else:
            print(say("report.answer", **told))
    return REFUSED if any(one.answer == NOT_TAKEN for one in answers) else 0
