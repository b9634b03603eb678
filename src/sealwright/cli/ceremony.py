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
    from sealwright.signing.attendance import Present
    from sealwright.signing.ceremonybook import Leftover
    from sealwright.signing.ceremonyhost import Host
    from sealwright.signing.ceremonyplan import Plan
    from sealwright.signing.transcript import Told, Transcript

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


def _configure_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("plan", metavar="PLAN", help="the new file")
    plan.add_argument(
        "--example",
        action="store_true",
        help="a filled plan to rehearse with: officers and a witness get development homes beside it",
    )
    plan.add_argument("--title", metavar="TEXT", help="what the new home is for")
    plan.add_argument("--organisation", metavar="TEXT", help="named in the certificates (else the title)")
    plan.add_argument(
        "--officer",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="a person and their public key or certificate",
    )
    plan.add_argument("--threshold", metavar="M", type=int, default=0, help="how many of them must attend and sign")
    plan.add_argument(
        "--witness",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="somebody who watches, is no officer, and signs",
    )
    plan.add_argument(
        "--witness-threshold", metavar="M", type=int, default=0, help="how many witnesses must attend (else all)"
    )
    plan.add_argument("--root", metavar="NAME", help="common name of the root")
    plan.add_argument(
        "--intermediate",
        metavar="NAME",
        action="append",
        default=[],
        help="common name of an authority below it; the last one certifies what is below them",
    )
    plan.add_argument(
        "--cross-sign",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="the certificate of another root that the new one vouches for",
    )
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
    from sealwright.signing.ceremonyplan import Draft, parse_plan, plan_text
    from sealwright.texts.words import say

    if args.example:
        return _example(args)
    _check_named(args)
    device = ("device_format", "device_algorithm", "device_key", "accept_single_copy", "second_copy")
    steps = {*(args.step or USUAL)} | ({"device-key"} if any(getattr(args, name) for name in device) else set())
    draft = Draft(
        title=args.title,
        organisation=args.organisation or args.title,
        root=args.root,
        intermediates=args.intermediate,
        officers=[_person("--officer", text) for text in args.officer],
        threshold=args.threshold,
        witnesses=[_person("--witness", text) for text in args.witness],
        witness_threshold=args.witness_threshold,
        cross_sign=[_other_root(text) for text in args.cross_sign],
        keys=args.token,
        algorithm=args.algorithm,
        steps=sorted(steps),
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
    if 2 * plan.officers.threshold <= len({key.person for key in plan.officers.keys}):
        print("  " + say("ceremony.minority"))
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))
    print("  " + say("ceremony.planned-next", path=path))
    return 0


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

        print(line(_plan_object(plan) | {"nonce": nonce, "left": [_left_object(one) for one in left]}))
        return 0
    for one in left:
        _show_left(one)
    _show_plan(plan)
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
    from sealwright.signing.ceremony import Session, run_ceremony
    from sealwright.signing.ceremonyplan import read_plan
    from sealwright.signing.home import CEREMONY
    from sealwright.signing.transcript import FILE
    from sealwright.texts.words import say

    plan = read_plan(args.plan)  # once: these bytes are the ones that were attended and that are done

    def opening(attended: Plan, present: Sequence[Present], host: Host) -> bool:
        if not args.json:
            _show_plan(attended)
            for one in present:
                shown = {"person": one.person, "key": one.key, "time": f"{one.time:%Y-%m-%d %H:%M} UTC"}
                print(say("ceremony.present", role=one.role, **shown))
            _show_host(host)
        return args.yes or _asked(say("ceremony.ask-begin"))

    def agrees(number: int, step: str) -> bool:
        what = _announced(plan, step)
        if not args.yes:
            return _asked(say("ceremony.ask-step", number=number, all=len(plan.steps), what=what))
        if not args.json:
            print(say("ceremony.say-step", number=number, all=len(plan.steps), what=what))
        return True

    def leaves(left: Leftover) -> None:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"left": _left_object(left)}))
        else:
            _show_left(left)

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
    _show_plan(plan)
    _show_everything(transcript)
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
    _show_everything(transcript)
    if transcript.accept_single_copy:
        print(say("ceremony.single-copy", reason=transcript.accept_single_copy))
    print(say("ceremony.no-home") if args.home is None else say("ceremony.home-agrees", home=display(args.home)))
    for later in checked.later:
        print("  " + say("ceremony.later", name=later))
    return 0


def _example(args: argparse.Namespace) -> int:
    """A rehearsal: plan, homes of those who attend, and what to type."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.rehearsal import make_rehearsal
    from sealwright.texts.words import say

    rehearsal = make_rehearsal(args.plan, datetime.now(UTC))
    if args.json:
        from sealwright.cli.jsonout import line

        told = {"homes": list(rehearsal.homes), "next": list(rehearsal.commands)}
        print(line(_plan_object(rehearsal.plan) | {"path": args.plan} | told))
        return 0
    print(say("ceremony.rehearsal", path=display(args.plan), homes=", ".join(display(one) for one in rehearsal.homes)))
    for command in rehearsal.commands:
        print("  " + command)
    return 0


def _check_named(args: argparse.Namespace) -> None:
    from sealwright.errors import UsageError

    for name in ("title", "officer", "threshold", "root", "intermediate"):
        if not getattr(args, name):
            raise UsageError(f"--{name}", "it is missing", "Name it, or see one that is filled with --example.")


def _person(option: str, text: str) -> tuple[str, str]:
    from sealwright.trust.intake import public_key_in, public_pem

    person, path = _named_file(option, text)
    return person, public_pem(public_key_in(path))


def _other_root(text: str) -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.signing.enrol import read_certificates

    name, path = _named_file("--cross-sign", text)
    der, _ = read_certificates(path)
    return name, x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def _named_file(option: str, text: str) -> tuple[str, str]:
    from sealwright.errors import UsageError

    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise UsageError(option, f"{text[:80]!r} is not ID=FILE", f"Write it like {option} eva=eva.pem")
    return name, path


def _announced(plan: Plan, step: str) -> str:
    """What a step will do, in words."""
    from sealwright.texts.words import say

    where = plan.token or say("ceremony.files")
    if step == "root":
        return say("ceremony.step.root", name=plan.name_of(step), where=where)
    if step in plan.authorities:
        return say("ceremony.step.intermediate", name=plan.name_of(step), where=where)
    if step == "timestamp":
        return say("ceremony.step.timestamp", name=plan.name_of(step), where=where)
    if step == "ocsp":
        return say("ceremony.step.ocsp", name=plan.name_of(step), where=where)
    if step == "device-key":
        return say("ceremony.step.key", name=plan.name_of(step), where=plan.device_key or where)
    if step == "cross-sign":
        return say("ceremony.step.cross", names=", ".join(other.name for other in plan.others))
    return say("ceremony.step.lists")


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
        "witnesses": sorted({key.person for key in plan.witnesses.keys}),
        "steps": list(plan.steps),
        "accept_single_copy": plan.accept_single_copy or None,
    }


def _show_plan(plan: Plan) -> None:
    from sealwright.texts.words import say

    print(say("ceremony.plan", title=plan.title, steps=", ".join(plan.steps)))
    _show_digest(plan.digest)
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))


def _show_host(host: Host) -> None:
    from sealwright.texts.words import say

    print(say("ceremony.host", name=host.name, system=host.system))
    print("  " + (say("ceremony.offline") if host.offline else say("ceremony.online", up=", ".join(host.interfaces))))


def _left_object(left: Leftover) -> dict[str, object]:
    return {"folder": left.folder, "private_keys": left.files, "in_token": list(left.keys)}


def _show_left(left: Leftover) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("ceremony.left", folder=display(left.folder), files=left.files, nonce=left.nonce[:16]))
    for key in left.keys:
        print("  " + say("ceremony.left-key", key=display(key)))


def _show_digest(digest: Digest) -> None:
    from sealwright.texts.words import say
    from sealwright.trust.words import groups, words

    print("  " + say("ceremony.words", digits=groups(digest)))
    print("  " + say("ceremony.aloud", words=words(digest)))


def _show_everything(transcript: Transcript) -> None:
    _show_host(transcript.host)
    told: list[Told] = [*transcript.made, *transcript.crossed, *transcript.lists]
    for one in told:
        _show_made(one)


def _show_made(one: Told) -> None:
    from sealwright.signing.transcript import FirstList, Made, facts
    from sealwright.texts.words import say

    if isinstance(one, FirstList):
        shown = {"number": one.number, "authority": one.authority, "day": f"{one.until:%Y-%m-%d}"}
        print("  " + say("ceremony.list", digest=one.crl, **shown), flush=True)
        return
    if isinstance(one, Made):
        print("  " + say("ceremony.made", subject=one.subject))
    else:
        print("  " + say("ceremony.crossed", root=one.root, subject=one.subject))
    for name, value in facts(one).items():
        print("    " + say("ceremony.fact", name=name, value=value))
    if isinstance(one, Made) and one.step == "root":
        _show_digest(one.certificate)
    sys.stdout.flush()


def _json_made(one: Told) -> None:
    from sealwright.cli.jsonout import line
    from sealwright.signing.transcript import FirstList, Made, facts

    if isinstance(one, FirstList):
        said = {"step": "revocation-lists", "authority": one.authority, "number": one.number, "crl": str(one.crl)}
        print(line(said), flush=True)
    elif isinstance(one, Made):
        print(line({"number": one.number, "step": one.step, "subject": one.subject, **facts(one)}), flush=True)
    else:
        print(line({"step": "cross-sign", "root": one.root, "subject": one.subject, **facts(one)}), flush=True)


def _asked(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
