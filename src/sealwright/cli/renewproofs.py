"""Say until when the proofs of signatures last, and renew them before they age: FILE.ers, an evidence record (RFC 4998).

Signed files are not touched. Where one timestamp is needed for many files, one is asked for.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_pin_file, add_trust, pin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwright.signing.proofs import NotRenewed, Proofs, Renewed, Stamp

EXAMPLES = """examples:
  sealwright renew-proofs releases/ --status --trust trust.toml --within 2y      what ages when; exit code 1 for cron
  sealwright renew-proofs releases/ --timestamp http://tsa.example/ --trust trust.toml
  sealwright renew-proofs drive.bin project/ --home home --all                   now, with the home's own authority
  sealwright renew-proofs releases/ --timestamp http://tsa.example/ --trust trust.toml --all --digest sha512
"""
_SPAN = re.compile(r"([1-9][0-9]{0,3})([dwmy])")
_DAYS = {"d": 1, "w": 7, "m": 30, "y": 365}


def span(text: str) -> timedelta:
    """A time ahead, such as 90d, 18m or 5y; argparse shows the complaint."""
    match = _SPAN.fullmatch(text)
    if match is None or int(match[1]) * _DAYS[match[2]] > 36500:
        raise argparse.ArgumentTypeError(f"{text!r} is no time ahead, such as 90d, 18m or 5y")
    return timedelta(days=int(match[1]) * _DAYS[match[2]])


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("paths", nargs="+", metavar="PATH", help="signed files, signed folders, or folders with such")
    parser.add_argument("--home", metavar="DIR", help="the signing home whose authority makes the timestamp")
    parser.add_argument("--timestamp", metavar="URL", help="the authority that makes it, instead of the home's own")
    add_trust(parser, "the trust file that decides (else the home's trust.toml)", required=False)
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--within", metavar="SPAN", type=span, default=span("1y"), help="what ages in this time (else 1y)"
    )
    when.add_argument("--all", action="store_true", help="renew everything now")
    parser.add_argument("--digest", choices=("sha256", "sha384", "sha512"), help="at least this digest from now on")
    parser.add_argument("--status", action="store_true", help="only say what ages when")
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One answer an artifact; the exit code says whether something is left to do."""
    from sealwright.artifact.digest import HashName
    from sealwright.errors import UsageError
    from sealwright.signing.proofs import Renewal, renew, status
    from sealwright.trust.belief import load_trust

    if args.trust is None and args.home is None:
        raise UsageError("--trust", "nothing says which authorities count", "Name the trust file with --trust.")
    if not args.status and args.home is None and args.timestamp is None:
        raise UsageError(
            "--timestamp", "nothing says who makes the timestamp", "Write --timestamp URL, or --home HOME."
        )
    for path in args.paths:
        if not os.path.lexists(path):
            raise UsageError(path, "there is nothing of that name", "Check the path.")
    trust = args.trust if args.trust is not None else os.path.join(args.home, "trust.toml")
    now = datetime.now(UTC)
    asked = Renewal(
        load_trust(trust, fingerprint=args.trust_fingerprint),
        now,
        None if args.all else now + args.within,
        HashName(args.digest) if args.digest is not None else None,
    )
    answers = status(args.paths, asked) if args.status else renew(args.paths, asked, _stamp(args))
    return _report(answers, args)


def _stamp(args: argparse.Namespace) -> Stamp:
    from sealwright.pki.timestamppool import Pool
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.stamps import PoolStamper, stamped_here

    if args.timestamp is not None:
        pool = PoolStamper(Pool([args.timestamp]))
        return lambda root: pool.stamp([root])[0][0].token
    home = open_home(args.home)
    pin = pin_of(args, home.uri(home.key(None, KeyPurpose.TIMESTAMP)))
    return lambda root: stamped_here(home, pin, root)


def _report(answers: Iterator[Proofs | Renewed | NotRenewed], args: argparse.Namespace) -> int:
    from sealwright.signing.proofs import Action, NotRenewed, Renewed
    from sealwright.texts.words import say

    renewed = due = problems = 0
    for answer in answers:
        if isinstance(answer, Renewed):
            renewed += 1
        elif isinstance(answer, NotRenewed) or answer.needs is Action.PROBLEM:
            problems += 1
        elif answer.needs is not Action.NONE:
            due += 1
        print(_json(answer) if args.json else _text(answer), flush=True, file=_stream(answer, args))
    if not args.json and renewed + due + problems:
        print(say("proofs.summary", renewed=renewed, due=due, problems=problems))
    return 1 if due or problems else 0


def _stream(answer: Proofs | Renewed | NotRenewed, args: argparse.Namespace):  # type: ignore[no-untyped-def]
    from sealwright.signing.proofs import NotRenewed

    return sys.stderr if isinstance(answer, NotRenewed) and not args.json else sys.stdout


def _text(answer: Proofs | Renewed | NotRenewed) -> str:
    from sealwright.artifact.names import display
    from sealwright.cli.render import moment
    from sealwright.signing.proofs import Action, NotRenewed, Renewed
    from sealwright.texts.words import say

    path = display(answer.path)
    if isinstance(answer, NotRenewed):
        return say("proofs.problem", path=path, why=display(str(answer.error)))
    ages = moment(answer.ages) if answer.ages is not None else "?"
    if isinstance(answer, Renewed):
        text = say(
            "proofs.renewed",
            path=path,
            action=answer.action.value,
            record=display(answer.record),
            links=answer.links,
            stamped=moment(answer.stamped),
            digest=answer.digest.value,
            ages=ages,
        )
        more = [say("proofs.tree")] if answer.tree else []
        more += [say("proofs.stale-list", issuer=issuer) for issuer in answer.stale]
        more += [say("proofs.refused-list", why=display(why)) for why in answer.refused]
        return "\n".join((text, *more))
    if answer.needs is Action.PROBLEM:
        return say("proofs.problem", path=path, why=display(answer.why))
    if answer.needs is not Action.NONE:
        return say("proofs.due", path=path, ages=ages, why=display(answer.why), action=answer.needs.value)
    if answer.ages is None:
        return say("proofs.lasts-for-ever", path=path)
    return say("proofs.lasts", path=path, ages=ages, why=display(answer.why))


def _json(answer: Proofs | Renewed | NotRenewed) -> str:
    from sealwright.cli.jsonout import error_object, line, moment
    from sealwright.signing.proofs import Action, NotRenewed, Renewed

    if isinstance(answer, NotRenewed):
        return line({"path": answer.path, "outcome": "not-renewed", "findings": [error_object(answer.error)]})
    if isinstance(answer, Renewed):
        return line(
            {
                "path": answer.path,
                "outcome": "renewed",
                "record": answer.record,
                "action": answer.action.value,
                "timestamp": moment(answer.stamped),
                "digest": answer.digest.value,
                "links": answer.links,
                "lasts_until": moment(answer.ages),
                "tree": answer.tree,
                "stale_lists": list(answer.stale),
                "refused_lists": list(answer.refused),
            }
        )
    outcomes = {Action.PROBLEM: "problem", Action.NONE: "lasts"}
    return line(
        {
            "path": answer.path,
            "outcome": outcomes.get(answer.needs, "due"),
            "level": "fine" if answer.needs is Action.NONE else "attention",
            "record": answer.record,
            "action": answer.needs.value,
            "lasts_until": moment(answer.ages),
            "why": answer.why,
            "links": answer.links,
            "tree": answer.tree,
        }
    )
