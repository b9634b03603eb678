"""`ca ceremony`: a plan that is reviewed, officers who attend it, every step printed, a transcript that they sign."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, key_string, pin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwright.artifact.digest import Digest
    from sealwright.signing.ceremonyplan import Plan, Present
    from sealwright.signing.ceremonyruns import Left
    from sealwright.signing.transcript import Checked, FirstList, Made, Transcript

OPTIONAL = ("timestamp", "ocsp", "device-key")
USUAL = ("timestamp", "ocsp")
KINDS = ("p256", "p384", "p521", "rsa3072", "rsa4096", "ed25519")
DEVICE_KINDS = (*KINDS, "rsa3072-pss", "rsa4096-pss")
DEVICE_FORMATS = ("file", "mcuboot", "fit", "esp32")


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The ceremony's own actions."""
    ceremony = add_action(commands, "ceremony", "make authorities before their officers, on the record", examples)
    actions = ceremony.add_subparsers(dest="ceremony_action", metavar="ACTION", required=True)
    _configure_plan(
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
    attend.add_argument("--person", metavar="ID", required=True, help="the officer whose key it is")
    attend.add_argument("--out", metavar="FILE", required=True, help="the attendance, detached CMS")
    add_pin_file(attend)
    add_json(attend)
    attend.set_defaults(run=run_attend)
    run = add_action(actions, "run", "make what the plan says, step by step", examples, "ceremony ")
    run.add_argument("plan", metavar="PLAN", help="the plan")
    run.add_argument("--home", metavar="DIR", required=True, help="the new home; must not exist, or be empty")
    run.add_argument("--nonce", metavar="HEX", required=True, help="as `begin` gave it")
    run.add_argument("--attendance", metavar="FILE", nargs="+", required=True, help="of each officer who attends")
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
    sign.add_argument("--person", metavar="ID", required=True, help="the officer; writes TRANSCRIPT.ID.p7s")
    add_pin_file(sign)
    add_json(sign)
    sign.set_defaults(run=run_sign)
    check = add_action(actions, "check", "say whether a transcript holds", examples, "ceremony ")
    check.add_argument("transcript", metavar="TRANSCRIPT", nargs="+", help="its signatures lie beside it")
    check.add_argument("--plan", metavar="PLAN", required=True, help="the plan, from somebody you believe")
    check.add_argument("--home", metavar="DIR", help="ask too whether this home is the one it tells of")
    add_json(check)
    check.set_defaults(run=run_check)


def _configure_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("plan", metavar="PLAN", help="the new file")
    plan.add_argument("--title", metavar="TEXT", required=True, help="what the new home is for")
    plan.add_argument("--organisation", metavar="TEXT", help="named in the certificates (else the title)")
    plan.add_argument(
        "--officer",
        metavar="ID=FILE",
        action="append",
        required=True,
        help="a person and their public key or certificate",
    )
    plan.add_argument("--threshold", metavar="M", type=int, required=True, help="how many of them must attend and sign")
    plan.add_argument("--root", metavar="NAME", required=True, help="common name of the root")
    plan.add_argument("--intermediate", metavar="NAME", required=True, help="common name of the authority below it")
    plan.add_argument(
        "--token",
        metavar="KEY",
        type=key_string,
        default="files",
        help="pkcs11:token=… or tpm: (else development files)",
    )
    plan.add_argument("--algorithm", choices=KINDS, default="p256", help="the kind of key")
    plan.add_argument(
        "--step", choices=OPTIONAL, action="append", help="beside both authorities and lists (else timestamp and ocsp)"
    )
    plan.add_argument("--device-format", choices=DEVICE_FORMATS, default="", help="what checks the device key")
    plan.add_argument("--device-algorithm", choices=DEVICE_KINDS, default="", help="the device key's kind")
    plan.add_argument(
        "--device-key",
        metavar="KEY",
        type=key_string,
        default="",
        help="a device key that was made before the ceremony",
    )
    copies = plan.add_mutually_exclusive_group()
    copies.add_argument("--accept-single-copy", metavar="REASON", default="", help="why one device key is enough")
    copies.add_argument(
        "--second-copy", action="store_true", help="a second copy will be shown when it is run (as usual)"
    )
    add_json(plan)
    plan.set_defaults(run=run_plan)


def run_plan(args: argparse.Namespace) -> int:
    """Write it."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.signing.ceremonyplan import STEPS, Draft, parse_plan, plan_text
    from sealwright.texts.words import say

    device = ("device_format", "device_algorithm", "device_key", "accept_single_copy", "second_copy")
    steps = {"root", "intermediate", "revocation-lists", *(args.step or USUAL)}
    steps |= {"device-key"} if any(getattr(args, name) for name in device) else set()
    draft = Draft(
        title=args.title,
        organisation=args.organisation or args.title,
        root=args.root,
        intermediate=args.intermediate,
        officers=[_officer(text) for text in args.officer],
        threshold=args.threshold,
        keys=args.token,
        algorithm=args.algorithm,
        steps=[step for step in STEPS if step in steps],
        device_format=args.device_format,
        device_algorithm=args.device_algorithm,
        device_key=args.device_key,
        accept_single_copy=args.accept_single_copy,
    )
    data = plan_text(draft).encode()
    write_atomic(args.plan, data)
    plan = parse_plan(data, args.plan)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_plan_object(plan) | {"path": args.plan}))
        return 0
    path = display(args.plan)
    print(
        say("ceremony.planned", title=plan.title, threshold=plan.officers.threshold, persons=_persons(plan), path=path)
    )
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))
    print("  " + say("ceremony.planned-next", path=path))
    return 0


def run_begin(args: argparse.Namespace) -> int:
    """Nonce and digest."""
    from sealwright.artifact.names import display
    from sealwright.signing.ceremonyplan import new_nonce, read_plan
    from sealwright.texts.words import say

    plan, nonce = read_plan(args.plan), new_nonce()
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_plan_object(plan) | {"nonce": nonce}))
        return 0
    _show_plan(plan)
    print(say("ceremony.nonce", nonce=nonce))
    print("  " + say("ceremony.begin-next", path=display(args.plan), nonce=nonce))
    return 0


def run_attend(args: argparse.Namespace) -> int:
    """Sign it."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.ceremonyplan import HOLDS, attend, officer_key, read_plan
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home = open_home(args.home)
    pin = pin_of(args, home.uri(officer_key(read_plan(args.plan), home, args.person, args.plan)))
    plan = attend(args.plan, args.nonce, home, args.person, args.out, datetime.now(UTC), pin)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_plan_object(plan) | {"person": args.person, "output": args.out}))
        return 0
    _show_plan(plan)
    print(say("ceremony.attended", person=display(args.person), out=display(args.out)))
    print("  " + say("ceremony.attended-next", hours=int(HOLDS.total_seconds() // 3600)))
    return 0


def run_run(args: argparse.Namespace) -> int:
    """Do it, telling and asking as it goes; what is asked goes to stderr."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.source import read_file
    from sealwright.signing.ceremony import Session, run_ceremony
    from sealwright.signing.ceremonyplan import MAX_BYTES, parse_plan
    from sealwright.signing.transcript import FILE, FOLDER
    from sealwright.texts.words import say

    text = read_file(args.plan, MAX_BYTES)
    plan = parse_plan(text, args.plan)

    def opening(attended: Plan, present: Sequence[Present]) -> bool:
        if not args.json:
            _show_plan(attended)
            for one in present:
                shown = {"person": one.person, "key": one.key, "time": f"{one.time:%Y-%m-%d %H:%M} UTC"}
                print(say("ceremony.present", **shown))
        return args.yes or _asked(say("ceremony.ask-begin"))

    def agrees(number: int, step: str) -> bool:
        parts = {"name": plan.name_of(step)} if step != "revocation-lists" else {}
        where = plan.device_key if step == "device-key" and plan.device_key else plan.token or say("ceremony.files")
        what = say(f"ceremony.step.{step.rpartition('-')[2]}", where=where, **parts)
        if not args.yes:
            return _asked(say("ceremony.ask-step", number=number, all=len(plan.steps), what=what))
        if not args.json:
            print(say("ceremony.say-step", number=number, all=len(plan.steps), what=what))
        return True

    def copying(location: str) -> bool:
        return args.yes or _asked(say("ceremony.ask-copy", location=location, copy=display(args.second_copy)))

    session = Session(
        now=datetime.now(UTC),
        nonce=args.nonce,
        attendance=args.attendance,
        agrees=agrees,
        tells=_json_made if args.json else _show_made,
        copying=copying,
        opening=opening,
        left=_json_left if args.json else _show_left,
        second_copy=args.second_copy,
        pin=pin_of(args, next((uri for uri in (plan.token, plan.device_key) if uri.startswith("pkcs11:")), "")),
    )
    home, transcript = run_ceremony(text, args.plan, args.home, session)
    path = home.path(FOLDER, FILE)
    if args.json:
        from sealwright.cli.jsonout import line

        present = [{"person": one.person, "key": str(one.key)} for one in transcript.present]
        print(line({"home": args.home, "transcript": path, "plan": str(plan.digest), "present": present}))
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
    from sealwright.signing.ceremonyplan import officer_key, read_plan
    from sealwright.signing.home import open_home
    from sealwright.signing.transcript import PLAN_FILE, sign_transcript
    from sealwright.texts.words import say

    home, path = open_home(args.home), args.plan or os.path.join(os.path.dirname(args.transcript), PLAN_FILE)
    plan = read_plan(path)
    pin = pin_of(args, home.uri(officer_key(plan, home, args.person, path)))
    out, transcript = sign_transcript(args.transcript, path, home, args.person, datetime.now(UTC), pin)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"transcript": args.transcript, "person": args.person, "plan": str(plan.digest), "output": out}))
        return 0
    _show_plan(plan)
    _show_everything(transcript)
    print(say("ceremony.signed", person=display(args.person), title=plan.title, out=display(out)))
    print("  " + say("ceremony.signed-next", path=display(args.transcript), plan=display(path)))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Whether each holds, and no two are of one attendance; an error says why not."""
    from sealwright.errors import UsageError
    from sealwright.signing.home import open_home
    from sealwright.signing.transcript import check_transcript, refuse_twice

    if len(args.transcript) > 1 and args.home is not None:
        raise UsageError("--home", "a home is of one ceremony", "Check its transcript alone.")
    home = open_home(args.home) if args.home is not None else None
    checked = [(path, check_transcript(path, args.plan, home)) for path in args.transcript]
    refuse_twice([(path, one.transcript) for path, one in checked])
    for path, one in checked:
        _show_checked(args, path, one)
    return 0


def _show_checked(args: argparse.Namespace, path: str, checked: Checked) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    transcript = checked.transcript
    if args.json:
        from sealwright.cli.jsonout import line

        said = {"transcript": path, "holds": True, "signed": list(checked.signed)}
        print(line(said | {"plan": str(transcript.plan), "home": args.home, "later": list(checked.later)}))
        return
    print(say("ceremony.holds", title=transcript.title, persons=", ".join(checked.signed)))
    _show_everything(transcript)
    if transcript.accept_single_copy:
        print(say("ceremony.single-copy", reason=transcript.accept_single_copy))
    print(say("ceremony.no-home") if args.home is None else say("ceremony.home-agrees", home=display(args.home)))
    for later in checked.later:
        print("  " + say("ceremony.later", name=later))


def _officer(text: str) -> tuple[str, str]:
    from sealwright.errors import UsageError
    from sealwright.trust.intake import public_key_in, public_pem

    person, equals, path = text.partition("=")
    if not equals or not person or not path:
        raise UsageError("--officer", f"{text[:80]!r} is not ID=FILE", "Write it like --officer eva=eva.pem")
    return person, public_pem(public_key_in(path))


def _persons(plan: Plan) -> str:
    return ", ".join(sorted({key.person for key in plan.officers.keys}))


def _plan_object(plan: Plan) -> dict[str, object]:
    from sealwright.trust.words import words

    return {
        "title": plan.title,
        "plan": str(plan.digest),
        "words": words(plan.digest),
        "threshold": plan.officers.threshold,
        "officers": sorted({key.person for key in plan.officers.keys}),
        "steps": list(plan.steps),
        "accept_single_copy": plan.accept_single_copy or None,
    }


def _show_plan(plan: Plan) -> None:
    from sealwright.texts.words import say

    print(say("ceremony.plan", title=plan.title, steps=", ".join(plan.steps)))
    _show_digest(plan.digest)
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))


def _show_digest(digest: Digest) -> None:
    from sealwright.texts.words import say
    from sealwright.trust.words import groups, words

    print("  " + say("ceremony.words", digits=groups(digest)))
    print("  " + say("ceremony.aloud", words=words(digest)))


def _show_everything(transcript: Transcript) -> None:
    for made in transcript.made:
        _show_made(made)
    for first in transcript.lists:
        _show_made(first)


def _show_made(one: Made | FirstList) -> None:
    from sealwright.signing.transcript import Made, facts
    from sealwright.texts.words import say

    if not isinstance(one, Made):
        shown = {"number": one.number, "authority": one.authority, "day": f"{one.until:%Y-%m-%d}"}
        print("  " + say("ceremony.list", digest=one.crl, **shown), flush=True)
        return
    print("  " + say("ceremony.made", subject=one.subject))
    for name, value in facts(one).items():
        print("    " + say("ceremony.fact", name=name, value=value))
    if one.step == "root":
        _show_digest(one.certificate)
    sys.stdout.flush()


def _show_left(left: Left) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("ceremony.left", nonce=left.nonce[:8] or "?"))
    for folder in left.folders:
        print("  " + say("ceremony.left-folder", path=display(folder)))
    for key in left.keys:
        print("  " + say("ceremony.left-key", key=key))


def _json_left(left: Left) -> None:
    from sealwright.cli.jsonout import line

    print(line({"left": {"nonce": left.nonce, "removed": list(left.folders), "keys": list(left.keys)}}), flush=True)


def _json_made(one: Made | FirstList) -> None:
    from sealwright.cli.jsonout import line
    from sealwright.signing.transcript import Made, facts

    if isinstance(one, Made):
        print(line({"number": one.number, "step": one.step, "subject": one.subject, **facts(one)}), flush=True)
        return
    print(line({"step": "revocation-lists", "authority": one.authority, "number": one.number, "crl": str(one.crl)}))


def _asked(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
