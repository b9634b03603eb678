"""`ca ceremony`: a plan that is reviewed, officers who attend it, every step printed, a transcript that they sign."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, key_string, pin_of
from sealwright.cli.ceremonyplan import configure_plan
from sealwright.cli.ceremonyscreen import (
    announced,
    json_made,
    left_object,
    plan_object,
    show_everything,
    show_host,
    show_left,
    show_made,
    show_plan,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwright.signing.attendance import Present
    from sealwright.signing.ceremonybook import Leftover
    from sealwright.signing.ceremonyhost import Host
    from sealwright.signing.ceremonyplan import Plan


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The ceremony's own actions."""
    ceremony = add_action(commands, "ceremony", "make authorities before their officers, on the record", examples)
    actions = ceremony.add_subparsers(dest="ceremony_action", metavar="ACTION", required=True)
    configure_plan(
        add_action(actions, "plan", "write the plan of a ceremony, for people to review", examples, "ceremony ")
    )
    begin = add_action(actions, "begin", "give a new nonce, and the plan's digest to read aloud", examples, "ceremony ")
    begin.add_argument("plan", metavar="PLAN", help="the plan")
    add_json(begin)
    begin.set_defaults(run=run_begin)
    attend = add_action(actions, "attend", "sign that one attends, as an officer of the plan", examples, "ceremony ")
    attend.add_argument("plan", metavar="PLAN", help="the plan, as this officer read it")
    attend.add_argument("--nonce", metavar="HEX", required=True, help="of this ceremony, as `begin` gave it")
    add_home(attend)
    attend.add_argument("--person", metavar="ID", required=True, help="the officer or witness whose key it is")
    attend.add_argument("--out", metavar="FILE", required=True, help="the attendance, detached CMS")
    add_pin_file(attend)
    add_json(attend)
    attend.set_defaults(run=run_attend)
    run = add_action(actions, "run", "make what the plan says, step by step", examples, "ceremony ")
    run.add_argument("plan", metavar="PLAN", help="the plan")
    run.add_argument("--home", metavar="DIR", required=True, help="the new home; must not exist, or be empty")
    run.add_argument("--nonce", metavar="HEX", required=True, help="as `begin` gave it")
    run.add_argument("--attendance", metavar="FILE", nargs="+", required=True, help="of each officer and witness")
    run.add_argument(
        "--second-copy", metavar="KEY", type=key_string, default="", help="key string of the device key's other copy"
    )
    run.add_argument("--yes", action="store_true", help="do not ask before each step")
    add_pin_file(run)
    add_json(run)
    run.set_defaults(run=run_run)
    sign = add_action(actions, "sign", "sign the transcript, as an officer of the plan", examples, "ceremony ")
    sign.add_argument("transcript", metavar="TRANSCRIPT", help="as the ceremony wrote it")
    sign.add_argument("--plan", metavar="PLAN", help="the plan (else plan.txt beside the transcript)")
    add_home(sign)
    sign.add_argument("--person", metavar="ID", required=True, help="officer or witness; writes TRANSCRIPT.ID.p7s")
    add_pin_file(sign)
    add_json(sign)
    sign.set_defaults(run=run_sign)
    check = add_action(actions, "check", "say whether a transcript holds", examples, "ceremony ")
    check.add_argument("transcript", metavar="TRANSCRIPT", help="its signatures lie beside it")
    check.add_argument("others", metavar="OTHER", nargs="*", help="further transcripts: none may be of the same nonce")
    check.add_argument("--plan", metavar="PLAN", required=True, help="the plan, from somebody you believe")
    check.add_argument("--home", metavar="DIR", help="ask too whether this home is the one it tells of")
    add_json(check)
    check.set_defaults(run=run_check)


def run_begin(args: argparse.Namespace) -> int:
    """Nonce and digest; what a run that was killed left is removed."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.attendance import new_nonce
    from sealwright.signing.ceremonybook import open_book
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.texts.words import say

    plan, nonce, now = read_plan(args.plan), new_nonce(), datetime.now(UTC)
    with open_book(plan) as book:
        left = book.sweep(now)
        book.begin(nonce, now)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(plan_object(plan) | {"nonce": nonce, "left": [left_object(one) for one in left]}))
        return 0
    for one in left:
        show_left(one)
    show_plan(plan)
    print(say("ceremony.nonce", nonce=nonce))
    print("  " + say("ceremony.begin-next", path=display(args.plan), nonce=nonce))
    return 0


def run_attend(args: argparse.Namespace) -> int:
    """Sign it."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.attendance import HOLDS, attend, officer_key
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home, plan = open_home(args.home), read_plan(args.plan)
    pin = pin_of(args, home.uri(officer_key(plan, home, args.person, args.plan)))
    attend(plan, args.nonce, home, args.person, args.out, datetime.now(UTC), pin)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(plan_object(plan) | {"person": args.person, "output": args.out}))
        return 0
    show_plan(plan)
    print(say("ceremony.attended", person=display(args.person), out=display(args.out)))
    print("  " + say("ceremony.attended-next", hours=int(HOLDS.total_seconds() // 3600)))
    return 0


def run_run(args: argparse.Namespace) -> int:
    """Do it, telling and asking as it goes; what is asked goes to stderr."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.ceremony import run_ceremony
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.signing.ceremonysteps import Session
    from sealwright.signing.home import CEREMONY
    from sealwright.signing.transcript import FILE
    from sealwright.texts.words import say

    plan = read_plan(args.plan)  # once: these bytes are the ones that were attended and that are done

    def opening(attended: Plan, present: Sequence[Present], host: Host) -> bool:
        if not args.json:
            show_plan(attended)
            for one in present:
                shown = {"person": one.person, "key": one.key, "time": f"{one.time:%Y-%m-%d %H:%M} UTC"}
                print(say("ceremony.present", role=one.role, **shown))
            show_host(host)
        return args.yes or _asked(say("ceremony.ask-begin"))

    def agrees(number: int, step: str) -> bool:
        what = announced(plan, step)
        if not args.yes:
            return _asked(say("ceremony.ask-step", number=number, all=len(plan.steps), what=what))
        if not args.json:
            print(say("ceremony.say-step", number=number, all=len(plan.steps), what=what))
        return True

    def leaves(left: Leftover) -> None:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"left": left_object(left)}))
        else:
            show_left(left)

    def copying(location: str) -> bool:
        return args.yes or _asked(say("ceremony.ask-copy", location=location, copy=display(args.second_copy)))

    session = Session(
        now=datetime.now(UTC),
        nonce=args.nonce,
        attendance=args.attendance,
        agrees=agrees,
        tells=json_made if args.json else show_made,
        copying=copying,
        opening=opening,
        leaves=leaves,
        second_copy=args.second_copy,
        pin=pin_of(args, next((uri for uri in (plan.token, plan.device_key) if uri.startswith("pkcs11:")), "")),
    )
    home, transcript = run_ceremony(plan, args.home, session)
    path = home.path(CEREMONY, FILE)
    if args.json:
        from sealwright.cli.jsonout import line

        present = [{"person": one.person, "role": one.role, "key": str(one.key)} for one in transcript.present]
        said = {"home": args.home, "transcript": path, "plan": str(plan.digest), "present": present}
        host = {"name": transcript.host.name, "system": transcript.host.system, "up": list(transcript.host.interfaces)}
        print(line(said | {"register": str(transcript.register), "host": host}))
        return 0
    if transcript.accept_single_copy:
        print(say("ceremony.single-copy", reason=transcript.accept_single_copy))
    print(say("ceremony.done", home=display(args.home)))
    print("  " + say("ceremony.done-next", path=display(path)))
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Sign it, and show what was signed."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.attendance import officer_key
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.signing.home import open_home
    from sealwright.signing.transcript import PLAN_FILE, sign_transcript
    from sealwright.texts.words import say

    home, path = open_home(args.home), args.plan or os.path.join(os.path.dirname(args.transcript), PLAN_FILE)
    plan = read_plan(path)
    pin = pin_of(args, home.uri(officer_key(plan, home, args.person, path)))
    out, transcript = sign_transcript(args.transcript, plan, home, args.person, datetime.now(UTC), pin)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"transcript": args.transcript, "person": args.person, "plan": str(plan.digest), "output": out}))
        return 0
    show_plan(plan)
    show_everything(transcript)
    print(say("ceremony.signed", person=display(args.person), title=plan.title, out=display(out)))
    print("  " + say("ceremony.signed-next", path=display(args.transcript), plan=display(path)))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Whether it holds; an error says why not."""
    from sealwright.artifact.names import display
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.signing.home import open_home
    from sealwright.signing.recordcheck import check_transcript
    from sealwright.texts.words import say

    home = open_home(args.home) if args.home is not None else None
    checked = check_transcript(args.transcript, read_plan(args.plan), home, args.others)
    transcript = checked.transcript
    if args.json:
        from sealwright.cli.jsonout import line

        said = {"transcript": args.transcript, "holds": True, "signed": list(checked.signed)}
        said |= {"plan": str(transcript.plan), "nonce": transcript.nonce, "register": str(transcript.register)}
        print(line(said | {"home": args.home, "later": list(checked.later)}))
        return 0
    print(say("ceremony.holds", title=transcript.title, persons=", ".join(checked.signed)))
    print("  " + say("ceremony.only", nonce=transcript.nonce, register=transcript.register))
    show_everything(transcript)
    if transcript.accept_single_copy:
        print(say("ceremony.single-copy", reason=transcript.accept_single_copy))
    print(say("ceremony.no-home") if args.home is None else say("ceremony.home-agrees", home=display(args.home)))
    for later in checked.later:
        print("  " + say("ceremony.later", name=later))
    return 0


def _asked(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
