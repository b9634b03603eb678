"""Accept for the plant what its maker signed: NAME.plant.manifest and its signature, beside the maker's.

The maker's signature is verified first, under the plant's trust file. The acceptance says who accepted it, when, for which
production lines and hardware, and by which test reports; it counts for these very bytes with this very signature alone.
Every acceptance is recorded in the home's journal before it leaves.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_home, add_json, add_pin_file, add_trust, key_string, pin_of, rfc3339

if TYPE_CHECKING:
    from sealwright.plant.accept import Scope
    from sealwright.signing.sign import NotSigned, Signed

EXAMPLES = """examples:
  sealwright accept drive.bin --home plant-home --trust trust.toml --line line-3 --report FAT.pdf
  sealwright accept project/ --home plant-home --trust trust.toml            a folder, with its manifest
  sealwright accept *.bin --home plant-home --trust trust.toml --until 2027-12-01T00:00:00Z --pin-file pin.txt
  sealwright accept plc.bin --home plant-home --trust trust.toml --hardware cpu-1515 --person p-17
  sealwright accept drive.bin --home plant-home --trust trust.toml --line line-4 --replace        again, for another line
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The paths, the plant's key and trust file, the scope."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder that was delivered and tested")
    add_options(parser)
    parser.set_defaults(run=run)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `release accept` takes too."""
    add_home(parser)
    add_trust(parser, "the trust file that says whose signature counts")
    parser.add_argument(
        "--key", metavar="KEY", type=key_string, help="name or key string of an enrolled key (else the home's first)"
    )
    parser.add_argument("--person", metavar="ID", help="who accepts it (else whom the trust file maps the key to)")
    scope = parser.add_argument_group("scope, signed with it")
    scope.add_argument("--line", metavar="TEXT", action="append", default=[], help="production line (repeat; else any)")
    scope.add_argument("--hardware", metavar="TEXT", action="append", default=[], help="hardware (repeat; else any)")
    scope.add_argument("--not-before", metavar="TIME", type=rfc3339, help="from when it may be used")
    scope.add_argument("--until", metavar="TIME", type=rfc3339, help="until when it may be installed")
    scope.add_argument(
        "--report", metavar="FILE", action="append", default=[], help="a test report, bound by its digest (repeat)"
    )
    scope.add_argument("--note", metavar="FILE", help="a text of which only the digest is signed")
    parser.add_argument("--timestamp", metavar="URL|local|none", action="append", help="who proves the date (repeat)")
    parser.add_argument(
        "--timestamp-later",
        action="store_true",
        default=None,
        help="sign though no authority answers, and stamp later (`sealwright stamp`); exit code 3 then",
    )
    parser.add_argument("--replace", action="store_true", help="replace an acceptance that is already there")
    add_pin_file(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Judge, sign and say for each path what was written."""
    from sealwright.artifact.output import Replace
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.envelope.kinds import ACCEPTANCE
    from sealwright.plant.accept import Scope, accept_paths
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.sign import NotSigned, SignOptions
    from sealwright.texts.words import say
    from sealwright.trust.belief import load_trust

    home = open_home(args.home)
    options = SignOptions(
        key=args.key,
        timestamp=tuple(args.timestamp) if args.timestamp else None,
        later=args.timestamp_later,
        replace=Replace.YES if args.replace else Replace.OFFERED,
        pin=pin_of(args, home.uri(home.key(args.key, KeyPurpose.ARTIFACT, ACCEPTANCE))),
    )
    scope = Scope(
        tuple(args.line),
        tuple(args.hardware),
        args.not_before,
        args.until,
        tuple(args.report),
        args.note,
        args.person,
    )
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint)
    accepted = failed = pending = 0
    with TerminalProgress("checking") as progress:
        for answer in accept_paths(args.paths, home, believed, scope, options, progress):
            progress.close()
            if isinstance(answer, NotSigned):
                failed += 1
                _say_refused(answer, args)
            else:
                accepted += 1
                pending += bool(answer.pending)
                _say_accepted(answer, scope, args)
    if not args.json and accepted + failed > 1:
        print(say("accept.summary", accepted=f"{accepted:,}", failed=f"{failed:,}"))
    if pending:
        print(say("sign.pending", number=f"{pending:,}", home=args.home), file=sys.stderr)
    return 1 if failed or not accepted else 3 if pending else 0


def _say_accepted(signed: Signed, scope: Scope, args: argparse.Namespace) -> None:
    from sealwright.artifact.acceptance import MAX_BYTES, parse_acceptance
    from sealwright.artifact.names import display
    from sealwright.artifact.source import read_file
    from sealwright.cli.jsonout import accepted_object, finding_object, line, moment
    from sealwright.cli.render import moment as shown
    from sealwright.texts.words import say

    acceptance = parse_acceptance(read_file(signed.outputs[0], MAX_BYTES), signed.outputs[0])
    if args.json:
        print(
            line(
                {
                    "path": signed.path,
                    "outcome": "accepted",
                    "outputs": list(signed.outputs),
                    "accepted": accepted_object(acceptance),
                    "key": signed.key,
                    "subject": signed.subject,
                    "provenance": signed.provenance,
                    "algorithm": signed.algorithm,
                    "timestamp": moment(signed.stamped),
                    "pending": signed.pending,
                    "findings": [finding_object(one) for one in signed.findings],
                }
            )
        )
        return
    date = say("sign.date-proved", time=shown(signed.stamped)) if signed.stamped else say("sign.date-unknown")
    until = say("accept.until", time=shown(scope.until)) if scope.until else ""
    where = ", ".join([*acceptance.lines, *acceptance.hardware]) or say("accept.anywhere")
    print(say("accept.accepted", path=display(signed.path), outputs=display(", ".join(signed.outputs))))
    print("  " + display(say("accept.scope", where=where, until=until, reports=len(acceptance.reports))))
    for finding in signed.findings:
        print("  " + say("stamp.warning", what=display(finding.sentence), step=finding.next_step))
    if signed.pending:
        print("  " + say("sign.waits", number=signed.pending))
    by = {"person": acceptance.person, "subject": display(signed.subject), "algorithm": signed.algorithm, "date": date}
    print("  " + (say("accept.by-development", **by) if signed.provenance == "development" else say("accept.by", **by)))


def _say_refused(refused: NotSigned, args: argparse.Namespace) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        from sealwright.cli.jsonout import error_object, line

        print(line({"path": refused.path, "outcome": "not-accepted", "findings": [error_object(refused.error)]}))
    print(say("accept.refused", path=display(refused.path), why=display(str(refused.error))), file=sys.stderr)
