"""What `ca ceremony` shows people of a plan, a machine, leftovers, and what the steps made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.artifact.digest import Digest
    from sealwright.signing.ceremonybook import Leftover
    from sealwright.signing.ceremonyhost import Host
    from sealwright.signing.ceremonyplan import Plan
    from sealwright.signing.transcript import Told, Transcript


def announced(plan: Plan, step: str) -> str:
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


def persons(plan: Plan) -> str:
    """The officers' names."""
    return ", ".join(sorted({key.person for key in plan.officers.keys}))


def plan_object(plan: Plan) -> dict[str, object]:
    """A plan for --json."""
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


def show_plan(plan: Plan) -> None:
    """Its title, steps, and the digest to read aloud."""
    from sealwright.texts.words import say

    print(say("ceremony.plan", title=plan.title, steps=", ".join(plan.steps)))
    names = ", ".join(plan.name_of(step) for _, step in plan.making)
    print("  " + say("ceremony.plan-makes", names=names, where=plan.token or say("ceremony.files")))
    print("  " + say("ceremony.plan-officers", threshold=plan.officers.threshold, persons=persons(plan)))
    if plan.witnesses.keys:
        watching = ", ".join(sorted({key.person for key in plan.witnesses.keys}))
        print("  " + say("ceremony.plan-witnesses", threshold=plan.witnesses.threshold, persons=watching))
    if plan.others:
        print("  " + say("ceremony.step.cross", names=", ".join(other.name for other in plan.others)))
    show_digest(plan.digest)
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))


def show_host(host: Host) -> None:
    """The machine, and whether a network is up."""
    from sealwright.texts.words import say

    print(say("ceremony.host", name=host.name, system=host.system))
    print("  " + (say("ceremony.offline") if host.offline else say("ceremony.online", up=", ".join(host.interfaces))))


def left_object(left: Leftover) -> dict[str, object]:
    """What a killed run left, for --json."""
    return {"folder": left.folder, "private_keys": left.files, "in_token": list(left.keys)}


def show_left(left: Leftover) -> None:
    """The same for people, with the keys that are in a token."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("ceremony.left", folder=display(left.folder), files=left.files, nonce=left.nonce[:16]))
    for key in left.keys:
        print("  " + say("ceremony.left-key", key=display(key)))


def show_digest(digest: Digest) -> None:
    """A digest in groups, and in words."""
    from sealwright.texts.words import say
    from sealwright.trust.words import groups, words

    print("  " + say("ceremony.words", digits=groups(digest)))
    print("  " + say("ceremony.aloud", words=words(digest)))


def show_everything(transcript: Transcript) -> None:
    """What a transcript tells."""
    show_host(transcript.host)
    told: list[Told] = [*transcript.made, *transcript.crossed, *transcript.lists]
    for one in told:
        show_made(one)


def show_made(one: Told) -> None:
    """One thing that was made, as officers compare it."""
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
        show_digest(one.certificate)
    sys.stdout.flush()


def json_made(one: Told) -> None:
    """The same for --json."""
    from sealwright.cli.jsonout import line
    from sealwright.signing.transcript import FirstList, Made, facts

    if isinstance(one, FirstList):
        said = {"step": "revocation-lists", "authority": one.authority, "number": one.number, "crl": str(one.crl)}
        print(line(said), flush=True)
    elif isinstance(one, Made):
        print(line({"number": one.number, "step": one.step, "subject": one.subject, **facts(one)}), flush=True)
    else:
        print(line({"step": "cross-sign", "root": one.root, "subject": one.subject, **facts(one)}), flush=True)
