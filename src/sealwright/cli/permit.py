"""Permits: let one device do for some hours what its trust file refuses, by the word of persons whom that file names for it.

A permit binds one device, the artifact by its digest, the hours, and the reason. It may stand in for the plant's acceptance, a higher
generation or a newer trust file; never for an altered file, a denial or a maker's signature. After break-glass two others look at it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.artifact.lookedat import LookedAt
from sealwright.artifact.permit import Excuse, PermitKind
from sealwright.cli.arguments import (
    add_action,
    add_home,
    add_json,
    add_pin_file,
    add_trust,
    key_string,
    period,
    pin_of,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sealwright.artifact.lookedat import PermitFollowUp
    from sealwright.artifact.permit import Permit
    from sealwright.findings import Finding
    from sealwright.formats.permitfiles import PersonSignature, Presented
    from sealwright.trust.belief import Believed

EXAMPLES = """examples:
  sealwright permit ask 6/ --device pump-4711 --kind break-glass --hours 8h --person p-17 --reason-file why.txt --trust trust.toml --out 6.permit
  sealwright permit ask 6/ --device pump-4711 --kind downgrade --excuse generation --hours 2d --person p-17 --person p-18 --reason-file why.txt --trust trust.toml --out 6.permit
  sealwright permit show 6.permit                                            in plain words, judging nothing
  sealwright permit sign 6.permit --home my-home --trust trust.toml          with your own key, after it was shown
  sealwright permit check 6.permit --trust trust.toml                        does it count now?
  sealwright verify 6/ --trust trust.toml --device pump-4711 --permit 6.permit --state state
  sealwright permit follow-up 6.permit --confirm --person p-3 --person p-4   for two others to sign
  sealwright permit sign 6.permit.follow-up --home my-home --trust trust.toml
  sealwright permit check 6.permit.follow-up --trust trust.toml              is it settled?
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_ask(add_action(commands, "ask", "write a permit for persons to sign", EXAMPLES))
    sign = add_action(commands, "sign", "sign a permit or its follow-up by your own key, after it was shown", EXAMPLES)
    sign.add_argument("file", metavar="FILE", help="the permit or follow-up")
    add_home(sign)
    add_trust(sign, "the trust file of the device")
    sign.add_argument("--key", metavar="KEY", type=key_string, help="which key for approvals (else the home's first)")
    sign.add_argument("--yes", action="store_true", help="sign without being asked")
    add_pin_file(sign)
    add_json(sign)
    sign.set_defaults(run=run_sign)
    show = add_action(commands, "show", "say in plain words what a permit lets happen", EXAMPLES)
    show.add_argument("file", metavar="FILE", help="the permit or follow-up")
    add_json(show)
    show.set_defaults(run=run_show)
    check = add_action(commands, "check", "say whether a permit counts now, or a follow-up settles it", EXAMPLES)
    check.add_argument("file", metavar="FILE", help="the permit or follow-up")
    add_trust(check, "the trust file of the device")
    add_json(check)
    check.set_defaults(run=run_check)
    after = add_action(commands, "follow-up", "write what others say of a permit's use, for them to sign", EXAMPLES)
    after.add_argument("file", metavar="PERMIT", help="the permit that was used")
    word = after.add_mutually_exclusive_group(required=True)
    word.add_argument("--confirm", action="store_true", help="it was an emergency, and what was installed is right")
    word.add_argument("--dispute", action="store_true", help="it was none, or what was installed is not right")
    after.add_argument(
        "--person", metavar="ID", action="append", required=True, help="who looked at it (twice or more)"
    )
    add_json(after)
    after.set_defaults(run=run_follow_up)


def _configure_ask(ask: argparse.ArgumentParser) -> None:
    ask.add_argument("path", metavar="PATH", help="file or folder that is to be installed")
    ask.add_argument("--device", metavar="ID", required=True, help="id or serial number of the one device")
    ask.add_argument("--kind", choices=tuple(PermitKind), required=True)
    ask.add_argument(
        "--excuse",
        choices=tuple(Excuse),
        action="append",
        default=[],
        help="what the device refuses, beside what is refused here (may come again)",
    )
    ask.add_argument("--hours", metavar="AGE", type=period, required=True, help="how long it counts, such as 8h")
    ask.add_argument("--from", dest="begins", metavar="TIME", type=rfc3339, help="from when it counts (else now)")
    ask.add_argument("--person", metavar="ID", action="append", required=True, help="who signs it (may come again)")
    ask.add_argument("--reason-file", metavar="FILE", required=True, help="why, as text; only its digest is signed")
    ask.add_argument("--out", metavar="FILE", required=True, help="the permit, such as 6.permit")
    add_trust(ask, "the trust file of the device")
    add_json(ask)
    ask.set_defaults(run=run_ask)


def run_ask(args: argparse.Namespace) -> int:
    """Verify, write the permit, say what stands against the artifact."""
    from sealwright.artifact.names import display
    from sealwright.artifact.source import read_file
    from sealwright.artifact.statement import is_person
    from sealwright.errors import UsageError
    from sealwright.plant.permits import MAX_REASON, Wish, ask
    from sealwright.texts.words import say

    for option, values in (("--person", args.person), ("--device", [args.device])):
        if wrong := next((one for one in values if not is_person(one)), None):
            raise UsageError(option, f"{display(wrong[:70])} is no id", "Write 1 to 64 letters, digits and `_.@+-`.")
    now = _now()
    reason = read_file(args.reason_file, 4 * MAX_REASON).decode("utf-8", "replace")
    begins = (args.begins or now).replace(microsecond=0)
    excuses = tuple(map(Excuse, args.excuse))
    wish = Wish(PermitKind(args.kind), args.device, tuple(args.person), excuses, begins, args.hours, reason)
    asked = ask(args.path, _believed(args), wish, args.out, now)
    if args.json:
        _print_permit(args.out, asked.permit)
        return 0
    for finding in asked.against:
        print(say("permit.against", what=display(finding.sentence)))
    for line in permit_lines(asked.permit, reason.strip()):
        print(line)
    print(say("permit.asked", path=display(args.out), persons=display(", ".join(asked.permit.persons))))
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Show, ask, sign."""
    from sealwright.artifact.names import display
    from sealwright.plant.permits import check_signable, own_key, read_statement, sign
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    believed, now, one = _believed(args), _now(), read_statement(args.file)
    home = open_home(args.home)
    enrolled, person = own_key(home, args.key, believed, one.statement)
    check_signable(one, args.file, believed, now)
    for line in _lines(one, args.file):
        print(line, file=sys.stderr if args.json else sys.stdout)
    sys.stdout.flush()
    if not (args.yes or _agreed()):
        print(say("permit.left"), file=sys.stderr)
        return 1
    path = sign(one, args.file, home, enrolled, person, now, pin_of(args, home.uri(enrolled)))
    if args.json:
        from sealwright.cli.jsonout import line as json_line

        print(json_line({"path": path, "person": person, "key": str(enrolled.digest)}))
    else:
        print(say("permit.signed", path=display(path), person=display(person)))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """What it says; nothing is judged."""
    from sealwright.artifact.permit import Permit
    from sealwright.plant.permits import read_statement

    one = read_statement(args.file)
    if args.json:
        if isinstance(one.statement, Permit):
            _print_permit(args.file, one.statement)
        else:
            _print_follow_up(args.file, one.statement)
        return 0
    for line in (*_lines(one, args.file), *_signed(one.signatures)):
        print(line)
    return 0


def run_check(args: argparse.Namespace) -> int:
    """0 where it counts now, or settles it."""
    from sealwright.formats.permitfiles import read_follow_up, read_permit
    from sealwright.plant.permits import ground_of, is_follow_up, permit_of
    from sealwright.trust.permitfollowups import follow_up_problems, is_settled
    from sealwright.trust.permits import permit_problems

    ground = ground_of(_believed(args), _now())
    if is_follow_up(args.file):
        follow_up = read_follow_up(args.file)
        persons, problems = follow_up_problems(follow_up, permit_of(args.file), ground)
        return _told(args, is_settled(persons), problems, follow_up, persons)
    permit = read_permit(args.file)
    problems = permit_problems(permit, ground)
    return _told(args, not problems, problems, permit, ())


def run_follow_up(args: argparse.Namespace) -> int:
    """Write it."""
    from sealwright.artifact.names import display
    from sealwright.plant.permits import follow_up
    from sealwright.texts.words import say

    outcome = LookedAt.CONFIRMED if args.confirm else LookedAt.DISPUTED
    path = follow_up(args.file, outcome, args.person)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": path, "outcome": outcome.value, "persons": sorted({*args.person})}))
    else:
        print(say("permit.asked", path=display(path), persons=display(", ".join(sorted({*args.person})))))
    return 0


def permit_lines(permit: Permit, reason: str | None) -> Iterator[str]:
    """A permit in plain words, one line each. reason: the text beside it, None where it is not there."""
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.names import display
    from sealwright.cli.render import moment
    from sealwright.texts.words import say

    yield say("permit.show-kind", kind=permit.kind, device=permit.device)
    product = say("permit.show-product", product=display(permit.product))
    yield product if permit.product else say("permit.show-no-product")
    yield from (
        say("permit.show-artifact", name=display(one.name), digest=Digest(permit.algorithm, one.digest))
        for one in permit.artifacts
    )
    if Excuse.GENERATION in permit.excuses:
        yield say("permit.show-older")
    if Excuse.PLANT_SIGNATURE in permit.excuses:
        yield say("permit.show-unaccepted")
    if Excuse.STALE_TRUST in permit.excuses:
        yield say("permit.show-stale")
    yield say("permit.never")
    hours = f"{(permit.until - permit.begins).total_seconds() / 3600:g}"
    yield say("permit.show-time", begins=moment(permit.begins), until=moment(permit.until), hours=hours)
    told = say("permit.show-reason", reason=display(reason or ""))
    yield told if reason is not None else say("permit.show-reason-elsewhere", digest=permit.reason)
    yield say("permit.show-persons", persons=", ".join(permit.persons))


def _lines(one: Presented[Permit] | Presented[PermitFollowUp], path: str) -> Iterator[str]:
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.names import display
    from sealwright.artifact.permit import Permit
    from sealwright.plant.permits import permit_of, reason_beside
    from sealwright.texts.words import say

    statement = one.statement
    if isinstance(statement, Permit):
        yield from permit_lines(statement, reason_beside(path, statement))
        return
    digest = Digest(statement.algorithm, statement.permit.digest)
    yield say("permit.show-follow-up", outcome=statement.outcome, name=display(statement.permit.name), digest=digest)
    beside = permit_of(path)
    if statement.is_of(beside.text):
        yield from permit_lines(beside.statement, reason_beside(path.removesuffix(".follow-up"), beside.statement))
    yield say("permit.show-persons", persons=", ".join(statement.persons))


def _signed(signatures: tuple[PersonSignature, ...]) -> Iterator[str]:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    for one in signatures:
        there = say("permit.show-signed", person=one.person, name=display(one.name))
        yield there if one.data is not None else say("permit.show-unsigned", person=one.person)


def _told(
    args: argparse.Namespace,
    good: bool,
    problems: list[Finding],
    one: Presented[Permit] | Presented[PermitFollowUp],
    persons: tuple[str, ...],
) -> int:
    from sealwright.artifact.names import display
    from sealwright.artifact.permit import Permit
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.cli.render import moment
    from sealwright.texts.words import say

    statement, path = one.statement, display(args.file)
    if args.json:
        print(line({"path": args.file, "counts": good, "findings": [finding_object(each) for each in problems]}))
        return 0 if good else 1
    if not isinstance(statement, Permit):
        settled = say("permit.followed", path=path, outcome=statement.outcome, persons=", ".join(persons))
        print(settled if good else say("permit.not-followed", path=path, number=len(persons)))
    elif good:
        print(say("permit.good", path=path, device=statement.device, until=moment(statement.until)))
    else:
        print(say("permit.bad", path=path))
    for each in problems:
        print("  " + say("permit.problem", what=display(each.sentence)))
        print("  " + say("permit.next", step=display(each.next_step)))
    return 0 if good else 1


def _print_permit(path: str, permit: Permit) -> None:
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.permit import permit_bytes
    from sealwright.cli.jsonout import line, permit_object

    print(line({"path": path, "permit": permit_object(permit, Digest.of(permit_bytes(permit)))}))


def _print_follow_up(path: str, follow_up: PermitFollowUp) -> None:
    from sealwright.artifact.digest import Digest
    from sealwright.cli.jsonout import line

    said = {
        "trust": follow_up.trust,
        "outcome": follow_up.outcome.value,
        "persons": list(follow_up.persons),
        "permit": str(Digest(follow_up.algorithm, follow_up.permit.digest)),
    }
    print(line({"path": path, "follow_up": said}))


def _believed(args: argparse.Namespace) -> Believed:
    from sealwright.trust.belief import load_trust

    return load_trust(args.trust, fingerprint=args.trust_fingerprint)


def _agreed() -> bool:
    """Whether somebody at a terminal types yes."""
    from sealwright.texts.words import say

    return sys.stdin.isatty() and input(say("permit.ask")).strip().lower() == "yes"


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC)
