"""Load a device that runs no agent: a release is verified in a private copy, given from there to the vendor's tool, and recorded.

For the engineering station of a PLC or drive. `compare` holds what was read back from a device against what was signed, byte by byte;
`share` is for a transfer station in front of it: only what is verified comes onto a read-only share or stick (docs/engineering-station.md).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, add_record, add_trust
from sealwright.cli.handovershare import configure_share

if TYPE_CHECKING:
    from sealwright.plant.handover import Device, Ended, Prepared
    from sealwright.plant.readback import Compared, Reading
    from sealwright.plant.recorder import Recorded
    from sealwright.plant.vendortool import Tool
    from sealwright.release.description import Requirement
    from sealwright.trust.verdict import Purpose, Verdict
    from sealwright.trust.verify import Verifier

EXAMPLES = """examples:
  sealwright handover install 6/ --trust trust.toml --state state --serial 4711-003 --component application --person p-17 --record records --station-home station --tool /opt/vendor/load --port usb0 {file}
  sealwright handover install 6/ --trust trust.toml --state state --serial 4711-003 --hardware cpu-1515 --person p-17 --record records --by-hand
  sealwright handover install 6/ --trust trust.toml --state state --serial 4711-003 --person p-17 --record records --read-back back.bin --tool /opt/vendor/load {file} back.bin
  sealwright handover compare 6/ back.bin --trust trust.toml --serial 4711-003 --component application --record records
  sealwright handover compare records/000000/000000017 back.bin --trust trust.toml --serial 4711-003     with what was recorded
  sealwright handover compare app.hex back.bin --trust trust.toml --serial 4711-003 --as memory --padding ff
  sealwright handover share inbox/6 inbox/drive.bin --to /srv/checked --trust trust.toml --state state
  sealwright handover share --to /srv/checked --trust trust.toml --state state     nothing new; take off what is denied by now
  sealwright handover share inbox/6 --stick /media/clean --trust trust.toml --state state
"""

_DIGITS = 19  # of a generation, which has 63 bits


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = add_action(
        commands, "install", "give a verified private copy to the vendor's tool, and record it", EXAMPLES
    )
    _add_artifact(install)
    install.add_argument("--permit", metavar="FILE", action="append", default=[], help="a permit for that device")
    install.add_argument(
        "--present",
        metavar="PRODUCT=GENERATION",
        action="append",
        default=[],
        help="what the device has, where the release needs something before (repeat)",
    )
    install.add_argument("--read-back", metavar="PATH", help="what the tool reads back from the device, to be compared")
    _add_layout(install)
    how = install.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--by-hand", action="store_true", help="show the copy's path, and wait until you say that it is done"
    )
    how.add_argument(
        "--tool",
        metavar="PROGRAM",
        nargs=argparse.REMAINDER,
        help="the vendor's program and its words, to the end of the line; {file}, {folder}, {serial} as words of their own",
    )
    install.add_argument("--tool-digest", metavar="DIGEST", help="the program's SHA-256 (on Windows needed)")
    install.set_defaults(run=run_install)
    compare = add_action(commands, "compare", "compare what was read back from a device with what was signed", EXAMPLES)
    _add_artifact(compare)
    compare.add_argument("read_back", metavar="READBACK", help="file or folder that was read from the device")
    _add_layout(compare)
    compare.set_defaults(run=run_compare)
    share = add_action(
        commands, "share", "put verified copies, and nothing else, on a read-only share or a stick", EXAMPLES
    )
    configure_share(share)


def _add_artifact(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        metavar="RELEASE",
        help="a release's folder, any signed file or folder; of compare the folder of a record too",
    )
    add_trust(parser, "the trust file that decides")
    parser.add_argument("--state", metavar="DIR", help="this station's memory: what it accepted and saw")
    parser.add_argument(
        "--private", metavar="DIR", help="where the private copy is made (else in --state, else the system's)"
    )
    parser.add_argument("--serial", metavar="ID", required=True, help="the device: its id or serial number")
    parser.add_argument("--hardware", metavar="TEXT", default="", help="the hardware it is")
    parser.add_argument("--product", metavar="TEXT", default="", help="the product it is")
    parser.add_argument("--line", metavar="TEXT", default="", help="the production line it stands in")
    parser.add_argument("--component", metavar="NAME", default="", help="which component of the release")
    add_record(parser)
    add_json(parser)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as",
        dest="layout",
        choices=("exact", "memory"),
        default="exact",
        help="compare all bytes, or the memory that an Intel HEX or S-record file means",
    )
    parser.add_argument("--padding", choices=("00", "ff"), help="the byte that the device fills up its memory with")


def run_install(args: argparse.Namespace) -> int:
    """0 where it was handed over, done, and the device gave back what was signed where that was asked."""
    from sealwright.cli.recording import recorder_of
    from sealwright.errors import UsageError
    from sealwright.plant.handover import hand_over, prepare
    from sealwright.trust.verdict import Purpose

    if args.record is None:
        raise UsageError("--record", "no device is loaded without a record of it", "Name the folder with --record.")
    if not args.person:
        raise UsageError("--person", "the record says who did it", "Say your id: --person p-17.")
    if args.read_back is None and (args.layout != "exact" or args.padding is not None):
        raise UsageError("--read-back", "it is not said what was read back", "Name it with --read-back.")
    device, tool = _device(args), _tool(args)
    reading = _reading(args) if args.read_back is not None else None
    recorder = recorder_of(args)
    verifier = _verifier(args, Purpose.INSTALL)
    with _place(args) as place:
        prepared = prepare(args.path, place, device, args.component, verifier)
        ended = hand_over(prepared, device, tool or _by_hand, recorder, reading)
    return _told(args, prepared, ended)


def run_compare(args: argparse.Namespace) -> int:
    """0 where the device gave back what was signed."""
    from sealwright.cli.recording import recorder_of
    from sealwright.plant.handover import prepare, read_back
    from sealwright.plant.records import FILE
    from sealwright.trust.verdict import Outcome, Purpose

    device, reading = _device(args), _reading(args)
    if os.path.isfile(os.path.join(args.path, FILE)):
        return _compare_with_record(args, device, reading)
    recorder = recorder_of(args) if args.record is not None else None
    verifier = _verifier(args, Purpose.RUN)
    with _place(args) as place:
        prepared = prepare(args.path, place, device, args.component, verifier)
        verdict = prepared.judged.verdict
        if verdict.outcome is not Outcome.TRUSTED:
            _print_refused(args, verdict, "")
            return verdict.outcome.exit_code
        compared, recorded = read_back(prepared, device, reading, recorder)
    if args.json:
        _print_object(args, recorded.verdict, "compared", [recorded.path], compared)
    else:
        _say_compared(args.read_back, compared)
        _say_records([recorded.path])
    return recorded.verdict.outcome.exit_code


def _compare_with_record(args: argparse.Namespace, device: Device, reading: Reading) -> int:
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.errors import UsageError
    from sealwright.plant.recordcheck import TrustedStations
    from sealwright.plant.recordcompare import compare_with_record
    from sealwright.trust.belief import load_trust

    if args.record is not None or args.component:
        raise UsageError(
            args.path,
            "a record says itself what was loaded, and makes no other one",
            "Leave out --record and --component.",
        )
    stations = TrustedStations(load_trust(args.trust, fingerprint=args.trust_fingerprint), datetime.now(UTC))
    compared = compare_with_record(args.path, device.serial, reading, stations)
    if args.json:
        result, findings = compared.result, [finding_object(one) for one in compared.findings]
        readback = {"same": result.is_same, "digest": str(result.digest)}
        print(line({"path": args.path, "serial": args.serial, "stage": "compared", "readback": readback, "findings": findings}))  # fmt: skip
    else:
        _say_compared(args.read_back, compared)
    return 0 if compared.result.is_same else 1


def _device(args: argparse.Namespace) -> Device:
    from sealwright.artifact.names import display
    from sealwright.artifact.statement import is_person
    from sealwright.errors import UsageError
    from sealwright.plant.handover import Device

    if not is_person(args.serial):
        raise UsageError(
            "--serial", f"{display(args.serial[:70])} is no id", "Write 1 to 64 letters, digits and `_.@+-`."
        )
    return Device(args.serial, args.hardware, tuple(map(_present, getattr(args, "present", ()))))


def _present(text: str) -> Requirement:
    from sealwright.errors import UsageError
    from sealwright.release.description import Requirement

    product, _, generation = text.rpartition("=")
    if not product or not generation.isdecimal() or not generation.isascii() or len(generation) > _DIGITS:
        raise UsageError("--present", "it is no PRODUCT=GENERATION", 'Write --present "VX-200 boot=4".')
    return Requirement(product, int(generation))


def _tool(args: argparse.Namespace) -> Tool | None:
    from sealwright.artifact.digest import Digest
    from sealwright.errors import UsageError
    from sealwright.plant.vendortool import Tool

    if args.by_hand:
        if args.tool_digest is not None:
            raise UsageError("--tool-digest", "no program is started", "Give it with --tool.")
        return None
    if not args.tool:
        raise UsageError("--tool", "no program is named", "Write its whole path behind --tool.")
    if args.tool_digest is None:
        return Tool(tuple(args.tool))
    try:
        text = args.tool_digest
        return Tool(tuple(args.tool), Digest.parse(text if ":" in text else f"sha256:{text}"))
    except ValueError as cause:
        raise UsageError("--tool-digest", "it is no digest", "Write sha256: and 64 digits of 0-9a-f.") from cause


def _reading(args: argparse.Namespace) -> Reading:
    from sealwright.plant.readback import Layout, Reading

    return Reading(args.read_back, Layout(args.layout), None if args.padding is None else int(args.padding, 16))


def _verifier(args: argparse.Namespace, purpose: Purpose) -> Verifier:
    from sealwright.cli.trustinstall import installed_in
    from sealwright.formats.permitfiles import read_permit
    from sealwright.trust.belief import load_trust
    from sealwright.trust.verify import Remember, Request, Verifier

    state = os.path.abspath(args.state) if args.state is not None else None
    installed = installed_in(state) if state is not None else None
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint, installed=installed)
    request = Request(
        clock=datetime.now(UTC),
        purpose=purpose,
        state=state,
        hardware=args.hardware,
        product=args.product,
        line=args.line,
        device=args.serial,
        permits=tuple(map(read_permit, getattr(args, "permit", ()))),
        remember=Remember.PROVED,
    )
    return Verifier(believed, request)


@contextmanager
def _place(args: argparse.Namespace) -> Iterator[str]:
    from sealwright.plant.privatecopy import own_place

    with own_place(os.path.abspath(args.private or args.state or tempfile.gettempdir())) as place:
        yield place


def _by_hand(path: str) -> bool:
    """Whether the person says that it is done."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("handover.load", path=display(path)), file=sys.stderr)
    print(say("handover.wait"), end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "done"


def _told(args: argparse.Namespace, prepared: Prepared, ended: Ended) -> int:
    from sealwright.artifact.names import display
    from sealwright.plant.installation import Stage
    from sealwright.texts.words import say
    from sealwright.trust.verdict import Outcome

    last = ended.end or ended.begun
    paths = [one.path for one in (ended.begun, ended.end) if one is not None]
    is_done = ended.stage is Stage.DONE and last.verdict.outcome is Outcome.TRUSTED
    code = 0 if is_done else last.verdict.outcome.exit_code or 1
    if args.json:
        _print_object(args, last.verdict, ended.stage.value, paths, ended.compared)
        return code
    if ended.stage is Stage.REFUSED:
        _print_refused(args, last.verdict, last.path)
        return code
    if is_done:
        print(say("handover.done", name=display(os.path.basename(prepared.part)), serial=args.serial))
    else:
        print(say("handover.failed", why=_why(ended, last)))
        _say_findings(last.verdict)
    if ended.compared is not None:
        _say_compared(args.read_back, ended.compared)
    _say_records(paths)
    return code


def _why(ended: Ended, last: Recorded) -> str:
    from sealwright.artifact.names import display
    from sealwright.cli.render import deciding_clause
    from sealwright.plant.installation import Stage
    from sealwright.texts.words import say

    if clause := deciding_clause(last.verdict):
        return display(clause)
    if ended.stage is Stage.LEFT or ended.tool is None:
        return say("handover.left")
    code = ended.tool.exit
    return say("handover.not-started") if code is None else say("handover.tool-failed", code=code)


def _print_refused(args: argparse.Namespace, verdict: Verdict, record: str) -> None:
    """What stands against it. record: its folder, "" where there is none."""
    from sealwright.artifact.names import display
    from sealwright.cli.render import deciding_clause
    from sealwright.texts.words import say

    if args.json:
        _print_object(args, verdict, "refused", [record], None)
        return
    why = display(deciding_clause(verdict))
    print(say("handover.refused", why=why) if args.action == "install" else say("handover.not-compared", why=why))
    _say_findings(verdict)
    _say_records([record])


def _say_findings(verdict: Verdict) -> None:
    from sealwright.artifact.names import display
    from sealwright.plant.handover import refused_by
    from sealwright.texts.words import say

    steps: dict[str, None] = {}
    for finding in refused_by(verdict):
        print("  " + say("handover.finding", what=display(finding.plain)))
        steps[finding.next_step] = None
    for step in steps:
        print("  " + say("handover.next", step=display(step)))


def _say_compared(path: str, compared: Compared) -> None:
    from sealwright.artifact.names import display
    from sealwright.findings import Severity
    from sealwright.texts import TEXTS
    from sealwright.texts.words import say

    shown = display(path)
    worst = next((one for one in compared.findings if one.severity is Severity.REJECT), None)
    if worst is None:
        print(say("handover.same", path=shown))
    else:
        print(say("handover.differs", path=shown, why=TEXTS[worst.code].headline))
    for finding in compared.findings:
        print("  " + say("handover.finding", what=display(finding.sentence)))


def _say_records(paths: list[str]) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    for path in filter(None, paths):
        print("  " + say("handover.record", path=display(path)))


def _print_object(
    args: argparse.Namespace, verdict: Verdict, stage: str, records: list[str], compared: Compared | None
) -> None:
    from sealwright.cli.jsonout import finding_object, line

    result = compared.result if compared is not None else None
    said = None if result is None else {"same": result.is_same, "digest": str(result.digest) if result.digest else None}
    print(
        line({"path": args.path, "serial": args.serial, "component": args.component or None, "stage": stage,
              "outcome": verdict.outcome.value, "readback": said, "records": [one for one in records if one],
              "findings": [finding_object(one) for one in verdict.findings]})
    )  # fmt: skip
