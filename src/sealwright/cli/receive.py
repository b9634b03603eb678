"""Receiving inspection: write down and sign how a file or folder was received that came unsigned, or signed in a way that no rule takes.

Grades, the strongest first. A rule of the trust file says which of them it takes in place of a maker's signature; by itself none counts.

  compared       its digest agrees with what the vendor says by another way (--compare, --channel)
  old-signature  openssl, gpgv or minisign says that the vendor's own signature holds (--old-signature, --old-key)
  uncompared     nothing could be checked: two persons and a reason
  found-in-use   it runs already and nobody knows where it came from; changes from now on show

Written are NAME.received/ with the evidence, the record NAME.received.manifest and its .p7s; nothing is ever written over.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_home, add_json, add_pin_file, key_string, pin_of

if TYPE_CHECKING:
    from sealwright.artifact.receiving import Receiving
    from sealwright.plant.receiving import Signed, SignWith, ToSign

EXAMPLES = """examples:
  sealwright receive drive.bin --grade compared --source https://acme.example/drive.bin --compare SHA256SUMS --channel "mail of ACME support, 3 May" --person p-17 --home home
  sealwright receive drive.bin --grade compared --source "ACME, USB stick" --compare sha256:HEX --channel "telephone, Ms. Huber" --person p-17 --home home
  sealwright receive drive.bin --grade old-signature --source https://acme.example/ --old-signature drive.bin.asc --old-key acme.asc --person p-17 --home home
  sealwright receive drive.bin --grade old-signature --source https://acme.example/ --compare SHA256SUMS --channel "the same page" --list-signature SHA256SUMS.asc --old-key acme.asc --home home
  sealwright receive drive.bin --grade uncompared --source "ACME, USB stick" --evidence mail.eml --reason "ACME is out of business" --person p-17 --person p-4 --home home
  sealwright receive --sign drive.bin.received.manifest --person p-4 --home other-home        the second person, on another machine
  sealwright receive hmi-project/ --grade found-in-use --person p-17 --home home              a whole folder that runs already
"""
MOST_SHOWN = 50
GRADES = ("compared", "old-signature", "uncompared", "found-in-use")


def configure(parser: argparse.ArgumentParser) -> None:
    """A path is received, or a record is signed; --version here is the artifact's."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="the file or folder that was received")
    parser.add_argument(
        "--sign", metavar="RECORD", help="sign the record NAME.received.manifest (or that of NAME) as a further person"
    )
    add_home(parser)
    parser.add_argument("--person", metavar="ID", action="append", default=[], help="who signs, by the id in the trust file, who signs now first (repeat; else the key's holder in the home's trust file)")  # fmt: skip
    parser.add_argument("--grade", choices=GRADES, help="how well its origin is known")
    parser.add_argument("--source", metavar="TEXT", default="", help="where it came from: an address, a vendor")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why it is received like this")
    checks = parser.add_argument_group("what it is checked with")
    checks.add_argument("--compare", metavar="DIGEST|FILE", help="sha256:HEX, or the vendor's list of digests in any usual shape")  # fmt: skip
    checks.add_argument("--channel", metavar="TEXT", default="", help="by which other way the digest or list came")
    checks.add_argument("--listed-as", metavar="NAME", help="the file's name in the list, where it was renamed")
    checks.add_argument("--old-signature", metavar="FILE", help="a signature of gpg, minisign or `openssl dgst -sign`")
    checks.add_argument("--list-signature", metavar="FILE", help="such a signature of the list of --compare, in place of the file's own")  # fmt: skip
    checks.add_argument("--old-key", metavar="FILE", help="the vendor's public key for it")
    checks.add_argument("--evidence", metavar="FILE", action="append", default=[], help="a mail, page, tool output: it is copied and bound (repeat)")  # fmt: skip
    claims = parser.add_argument_group("what it is, by the plant's word")
    claims.add_argument("--product", metavar="TEXT", help="the product it is for")
    claims.add_argument("--version", metavar="TEXT", help="its version, as text")
    claims.add_argument("--generation", metavar="N", type=int, help="whole number that grows with each release")
    claims.add_argument("--hardware", metavar="TEXT", action="append", default=[], help="hardware it fits (repeat)")
    claims.add_argument("--environment", metavar="TEXT", help="production, test or development")
    parser.add_argument("--key", metavar="KEY", type=key_string, help="name or key string of an enrolled key (else the home's first)")  # fmt: skip
    parser.add_argument("--timestamp", metavar="URL|local|none", action="append", help="who proves the date (else the home's choice)")  # fmt: skip
    parser.add_argument("--timestamp-later", action="store_true", default=None, help="sign though no authority answers, and stamp later (`sealwright stamp`)")  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="with --sign: do not ask after showing the record")
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Receive a path, or sign a record."""
    from sealwright.errors import UsageError

    if (args.path is None) is (args.sign is None):
        raise UsageError(
            "receive", "it receives one file or folder, or signs one record", "Name PATH, or --sign RECORD."
        )
    return _receive(args) if args.sign is None else _sign(args)


def _receive(args: argparse.Namespace) -> int:
    from sealwright.artifact.claims import Claims
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.artifact.receiving import Grade
    from sealwright.errors import UsageError
    from sealwright.plant.inspection import Asked, check_asked, inspect
    from sealwright.plant.receiving import receive, refuse_received

    if args.grade is None:
        raise UsageError("--grade", "how well its origin is known is not said", f"Say one of {', '.join(GRADES)}.")
    sign = _signs(args)
    persons = tuple(args.person) or tuple(filter(None, (sign.holder,)))
    asked = Asked(
        grade=Grade(args.grade),
        persons=persons,
        source=args.source,
        reason=args.reason,
        compare=args.compare,
        channel=args.channel,
        listed_as=args.listed_as,
        old_signature=args.old_signature,
        list_signature=args.list_signature,
        old_key=args.old_key,
        evidence=tuple(args.evidence),
        claims=Claims(args.product, args.version, args.generation, tuple(args.hardware), args.environment),
    )
    check_asked(asked)
    sign = _with_pin(args, sign)
    with TerminalProgress("reading") as progress:
        refuse_received(args.path, progress)
        inspected = inspect(args.path, asked, sign.clock(), progress)
    signed = receive(inspected, sign)
    _say(args, signed, inspected.path)
    _warn_other_holder(sign, signed)
    return 3 if signed.missing or signed.pending else 0


def _sign(args: argparse.Namespace) -> int:
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.errors import UsageError
    from sealwright.plant.receiving import read_to_sign, sign_record
    from sealwright.texts.words import say

    given = (
        args.grade,
        args.source,
        args.reason,
        args.compare,
        args.channel,
        args.listed_as,
        args.old_signature,
        args.list_signature,
    )
    if any(given) or args.old_key or args.evidence or args.product or args.version or args.generation is not None:
        raise UsageError("--sign", "a record says what it says", "Leave out what describes the file.")
    if len(args.person) != 1:
        raise UsageError("--person", "one person signs", "Name yourself, by the id that the record waits for.")
    (person,) = args.person
    with TerminalProgress("reading") as progress:
        shown = read_to_sign(args.sign, person, progress)
    if not args.yes:
        _show(shown)
        if not _asked(say("receive.ask", person=person)):
            print(say("receive.not-signed"), file=sys.stderr)
            return 1
    signed = sign_record(shown, _with_pin(args, _signs(args)))
    _say(args, signed, shown.path)
    return 3 if signed.missing or signed.pending else 0


def _warn_other_holder(sign: SignWith, signed: Signed) -> None:
    """Verifiers map keys to persons by the plant's trust file; the home's own may be another one, so that this refuses nothing."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if (holder := sign.holder) not in ("", signed.person):
        print(say("receive.other-holder", holder=display(holder), person=display(signed.person)), file=sys.stderr)


def _signs(args: argparse.Namespace) -> SignWith:
    """What signs, without its PIN: nobody is asked for it before the question makes sense."""
    from sealwright.cli.arguments import timestamps_of
    from sealwright.plant.receiving import SignWith
    from sealwright.signing.home import open_home

    timestamp = timestamps_of(args.timestamp) if args.timestamp else None
    return SignWith(open_home(args.home), args.key, None, timestamp, args.timestamp_later)


def _with_pin(args: argparse.Namespace, sign: SignWith) -> SignWith:
    return replace(sign, pin=pin_of(args, sign.home.uri(sign.enrolled)))


def _show(shown: ToSign) -> None:
    """What the bytes say that are signed, on stderr: in words, and the digests as they stand there."""
    from sealwright.artifact.names import display
    from sealwright.artifact.sums import sum_lines
    from sealwright.cli.statementfacts import facts_of
    from sealwright.envelope.algorithms import key_digest
    from sealwright.texts.words import say

    print(say("receive.shown", person=shown.person), file=sys.stderr)
    _, facts = facts_of(shown.text, shown.path) or ("", ())
    width = max(len(label) for label, _ in facts)
    for label, words in facts:
        print(f"  {label:{width}}  {display(words)}", file=sys.stderr)
    first = {"person": shown.record.persons[0], "subject": display(shown.first_subject), "key": key_digest(shown.first)}
    print("  " + say("receive.first", **first), file=sys.stderr)
    files = shown.record.files
    for line in sum_lines(files[:MOST_SHOWN]).decode().splitlines():
        print("  " + display(line), file=sys.stderr)
    if len(files) > MOST_SHOWN:
        print("  " + say("receive.more", number=f"{len(files) - MOST_SHOWN:,}"), file=sys.stderr)


def _asked(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(args: argparse.Namespace, signed: Signed, path: str) -> None:
    if args.json:
        _say_json(signed, path)
        return
    from sealwright.artifact.names import display
    from sealwright.cli.render import moment
    from sealwright.texts.words import say

    record = signed.record
    outputs = display(", ".join(signed.outputs))
    if args.sign is None:
        print(say("receive.done", path=display(path), grade=record.grade.value, outputs=outputs))
        for line in _checked(record):
            print("  " + line)
    else:
        print(say("receive.signed", record=display(path), outputs=outputs))
    date = say("receive.date-proved", time=moment(signed.stamped)) if signed.stamped else say("receive.date-unknown")
    by = {"person": display(signed.person), "subject": display(signed.subject), "date": date}
    print(
        "  " + (say("receive.by-development", **by) if signed.provenance == "development" else say("receive.by", **by))
    )
    if signed.pending:
        print("  " + say("sign.waits", number=signed.pending))
    if signed.missing:
        waits = display(", ".join(signed.missing))
        print(say("receive.waits", persons=waits, record=display(signed.path), person=display(signed.missing[0])))
        return
    if len(record.persons) > 1:
        print(say("receive.complete"))
    print(say("receive.rule", grade=record.grade.value))


def _checked(record: Receiving) -> list[str]:
    """What was checked, a line each."""
    from sealwright.artifact.manifest import Over
    from sealwright.artifact.names import display
    from sealwright.plant.comparing import WEAK
    from sealwright.texts.words import say

    lines = []
    if (compared := record.comparison) is not None:
        channel = display(compared.channel)
        if record.contents.over is Over.TREE:
            lines.append(say("receive.compared-list", channel=channel))
        elif compared.algorithm in WEAK:
            lines.append(say("receive.compared-weak", algorithm=compared.algorithm, channel=channel))
        else:
            lines.append(say("receive.compared", algorithm=compared.algorithm, channel=channel))
    if (old := record.old_signature) is not None:
        how = display(old.verdict.removeprefix("good: "))
        lines.append(say("receive.old", how=how, key=display(old.key), tool=display(old.tool)))
        if old.weaknesses:
            lines.append(say("receive.old-weak", weaknesses=display("; ".join(old.weaknesses))))
    return lines


def _say_json(signed: Signed, path: str) -> None:
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import claims_object, line, moment

    record = signed.record
    compared, old = record.comparison, record.old_signature
    print(
        line(
            {
                "path": path,
                "outcome": "waiting" if signed.missing else "received",
                "record": signed.path,
                "outputs": list(signed.outputs),
                "grade": record.grade.value,
                "source": record.source,
                "received": moment(record.received),
                "persons": list(record.persons),
                "signed_by": signed.person,
                "missing": list(signed.missing),
                "subject": signed.subject,
                "provenance": signed.provenance,
                "timestamp": moment(signed.stamped),
                "pending": signed.pending,
                "reason": record.reason or None,
                "comparison": None
                if compared is None
                else {"algorithm": compared.algorithm, "value": compared.value.hex(), "channel": compared.channel},
                "old_signature": None
                if old is None
                else {
                    "tool": old.tool,
                    "key": old.key,
                    "signer": old.signer,
                    "verdict": old.verdict,
                    "weaknesses": list(old.weaknesses),
                },
                "evidence": [
                    {
                        "kind": one.kind,
                        "name": display(one.name),
                        "digest": str(Digest(record.algorithm, one.digest)),
                        "size": one.size,
                    }
                    for one in record.evidence
                ],
                "files": len(record.contents.files),
                "claims": claims_object(record.contents.claims),
            }
        )
    )
