"""`handover share`: the transfer station in front of engineering stations, whose share or stick holds only what was verified."""

from __future__ import annotations

import argparse
import os
import tempfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_trust

if TYPE_CHECKING:
    from sealwright.plant.privatecopy import Copy
    from sealwright.trust.belief import Believed
    from sealwright.trust.verdict import Outcome, Verdict
    from sealwright.trust.verify import Verifier


def configure_share(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("paths", nargs="*", metavar="RELEASE", help="releases and other signed files or folders")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="SHARE", help="the folder that is exported read-only")
    where.add_argument("--stick", metavar="DIR", help="an empty stick instead")
    add_trust(parser, "the trust file that decides")
    parser.add_argument("--state", metavar="DIR", help="remember what was accepted: older ones are then taken off")
    parser.add_argument("--private", metavar="DIR", help="where copies are made (else in --state, else the system's)")
    parser.add_argument("--hardware", metavar="TEXT", default="", help="the hardware it is meant for")
    parser.add_argument("--line", metavar="TEXT", default="", help="the production line it is meant for")
    add_json(parser)
    parser.set_defaults(run=run_share)


def run_share(args: argparse.Namespace) -> int:
    """The worst of what was judged decides; what had to be taken off counts as refused."""
    from sealwright.errors import UsageError
    from sealwright.plant.privatecopy import own_place

    names = [os.path.basename(os.path.abspath(path)) for path in args.paths]
    if len(set(names)) != len(names):
        raise UsageError("RELEASE", "two of them have one name", "Release them one after the other.")
    if args.stick is not None and not args.paths:
        raise UsageError("RELEASE", "nothing is named", "Name what goes onto the stick.")
    believed, verifier = _verifier(args)
    with own_place(os.path.abspath(args.private or args.state or tempfile.gettempdir())) as place:
        return (
            _onto_share(args, verifier, place) if args.to is not None else _onto_stick(args, believed, verifier, place)
        )


def _onto_share(args: argparse.Namespace, verifier: Verifier, place: str) -> int:
    from sealwright.plant.transfer import folder_of, put, refresh, write_index

    judged = _judged(args, verifier, place)  # before the old ones, which a newer one may overtake
    found = refresh(args.to, verifier)
    there = {one.folder: one for one in found.there}
    for one in found.gone:
        _tell(args, "taken off", one.verdict)
    for name in found.strange:
        _tell_strange(args, name)
    outcomes = [one.verdict.outcome for one in found.gone]
    for copy, verdict in judged:
        outcomes.append(verdict.outcome)
        if not _is_trusted(verdict):
            _tell(args, "refused", verdict)
        elif folder_of(verdict) in there:
            _tell(args, "there already", verdict)
        else:
            entry = put(args.to, copy, verdict)
            there[entry.folder] = entry
            _tell(args, "put there", verdict)
    write_index(args.to, there.values())
    return _code(outcomes, len(found.gone) + len(found.strange))


def _onto_stick(args: argparse.Namespace, believed: Believed, verifier: Verifier, place: str) -> int:
    from sealwright.artifact.names import display
    from sealwright.plant.cleanstick import refuse_used, write_clean
    from sealwright.texts.words import say

    refuse_used(args.stick)
    judged = _judged(args, verifier, place)
    for _, verdict in judged:
        _tell(args, "allowed" if _is_trusted(verdict) else "refused", verdict)
    files = [one for copy, verdict in judged if _is_trusted(verdict) for one in copy.along_with(verdict)]
    if files:
        trust = believed.trust
        heading = (
            f"verified at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            f"trust file {trust.id} version {trust.version}, {trust.digest}",
        )
        write_clean(args.stick, place, files, heading)
        if not args.json:
            print(say("handover.stick", path=display(args.stick), files=f"{len(files):,}"))
    return _code([verdict.outcome for _, verdict in judged], 0)


def _judged(args: argparse.Namespace, verifier: Verifier, place: str) -> list[tuple[Copy, Verdict]]:
    """Each in its private copy."""
    from sealwright.plant.handover import completed
    from sealwright.plant.privatecopy import copied
    from sealwright.plant.transfer import carried

    copies = [copied(path, place) for path in args.paths]
    return [(copy, carried(copy, completed(copy, verifier.verify(copy.path)))) for copy in copies]


def _verifier(args: argparse.Namespace) -> tuple[Believed, Verifier]:
    from sealwright.cli.trustinstall import installed_in
    from sealwright.trust.belief import load_trust
    from sealwright.trust.verify import Request, Verifier

    state = os.path.abspath(args.state) if args.state is not None else None
    installed = installed_in(state) if state is not None else None
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint, installed=installed)
    request = Request(clock=datetime.now(UTC), state=state, hardware=args.hardware, line=args.line)
    return believed, Verifier(believed, request)


def _is_trusted(verdict: Verdict) -> bool:
    from sealwright.trust.verdict import Outcome

    return verdict.outcome is Outcome.TRUSTED


def _code(outcomes: list[Outcome], wrong: int) -> int:
    """Something taken off or strange is not in order, though everything new is."""
    from sealwright.cli.verify import worst

    return worst({one.exit_code for one in outcomes} | ({1} if wrong else {0}))


def _tell(args: argparse.Namespace, what: str, verdict: Verdict) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.cli.render import deciding_clause
    from sealwright.texts.words import say

    name, why = os.path.basename(verdict.path), display(deciding_clause(verdict))
    if args.json:
        findings = [finding_object(one) for one in verdict.findings]
        print(line({"name": name, "what": what, "outcome": verdict.outcome.value, "artifact": str(verdict.artifact or "") or None, "findings": findings}))  # fmt: skip
    elif what == "taken off":
        print(say("handover.taken-off", name=display(name), why=why))
    elif what == "refused":
        print(say("handover.not-shared", name=display(name), why=why))
    elif what == "there already":
        print(say("handover.kept", name=display(name)))
    else:
        print(say("handover.shared", name=display(name)))


def _tell_strange(args: argparse.Namespace, name: str) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line
    from sealwright.texts.words import say

    print(line({"name": name, "what": "strange"}) if args.json else say("handover.strange", name=display(name)))
