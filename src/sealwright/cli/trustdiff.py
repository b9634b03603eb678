"""`trust diff`: what a new trust file or a revocation would change, in sentences, and which installed artifacts it would stop."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.cli.inventory import Effect
    from sealwright.cli.trustchanges import Change
    from sealwright.trust.belief import Believed


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The action."""
    diff = add_action(commands, "diff", "say what a new trust file or a revocation would change", examples)
    diff.add_argument("old", metavar="OLD", help="the trust file that is used now, with what lies beside it")
    diff.add_argument(
        "new", metavar="NEW", nargs="?", help="the one to come; left out, only --deny and --crl are tried"
    )
    diff.add_argument("--deny", metavar="FILE", help="with this deny list, signed or not")
    diff.add_argument(
        "--crl", metavar="FILE", action="append", default=[], help="with this revocation list (may come again)"
    )
    add_inventory(diff)
    add_json(diff)
    diff.set_defaults(run=run_diff)


def add_inventory(parser: argparse.ArgumentParser) -> None:
    """What is installed, and how it is judged."""
    parser.add_argument(
        "--inventory", metavar="PATH", help="what is installed: a folder, or the lines of `verify --json`"
    )
    parser.add_argument(
        "--purpose",
        choices=("install", "run", "restore"),
        default="run",
        help="what the inventory is judged for (default run: what stops keeping on running)",
    )


def run_diff(args: argparse.Namespace) -> int:
    """Compare, try, and say it; 1 where something that is trusted would stop being trusted."""
    from sealwright.errors import UsageError
    from sealwright.trust.belief import unbelieved

    if args.new is None and args.deny is None and not args.crl:
        raise UsageError(args.old, "there is nothing to compare it with", "Name the new trust file, --deny or --crl.")
    old = _used_now(unbelieved(args.old), args.old, args.deny)
    new = with_brought(old, unbelieved(args.new) if args.new is not None else old, args.deny, args.crl)
    return report(args, old, new, args.new or args.old)


def _used_now(old: Believed, path: str, deny: str | None) -> Believed:
    """Without a deny list that nobody uses yet: the draft that is to be tried lies beside the trust file, or no officer signed it."""
    from sealwright.errors import TrustRefused
    from sealwright.trust.belief import DENY, signed_deny
    from sealwright.trust.history import read_signed

    beside = os.path.join(os.path.dirname(path), DENY)
    if not os.path.lexists(beside):
        return old
    try:
        drafted = deny is not None and os.path.exists(deny) and os.path.samefile(deny, beside)
        if not drafted:
            signed_deny(read_signed(beside), old.trust)
    except TrustRefused:
        drafted = True
    return replace(old, denied=old.trust.denied, deny_version=0) if drafted else old


def with_brought(old: Believed, new: Believed, deny: str | None, crls: Sequence[str]) -> Believed:
    """The new one as `install` would leave it: lists add up, and a deny list stays until a newer one comes."""
    from sealwright.artifact.source import read_file
    from sealwright.errors import MalformedTrust
    from sealwright.trust.belief import parse_deny
    from sealwright.trust.revocation import MAX_CRL_BYTES, crl_issuer
    from sealwright.trust.trustfile import MAX_BYTES

    lists = [*old.crls, *new.crls]
    for path in crls:
        lists.append(read_file(path, MAX_CRL_BYTES))
        crl_issuer(lists[-1])
    version, extra = new.deny_version, new.denied[len(new.trust.denied) :]
    if old.trust.id == new.trust.id and old.deny_version > version:
        version, extra = old.deny_version, old.denied[len(old.trust.denied) :]
    if deny is not None:
        given = parse_deny(read_file(deny, MAX_BYTES), deny)
        if given.trust != new.trust.id:
            raise MalformedTrust(
                deny, f"it belongs to the trust file {given.trust}, not to {new.trust.id}", "Bring the right deny list."
            )
        version, extra = given.version, given.denied
    certificates = tuple(dict.fromkeys((*new.certificates, *old.certificates)))
    return replace(
        new,
        crls=tuple(dict.fromkeys(lists)),
        denied=(*new.trust.denied, *extra),
        deny_version=version,
        certificates=certificates,
    )


def report(args: argparse.Namespace, old: Believed, new: Believed, path: str) -> int:
    """Print the comparison; the exit code."""
    from sealwright.cli.trustchanges import changes
    from sealwright.trust.verdict import Purpose
    from sealwright.trust.verify import Request

    before = {*old.denied}
    gone = [entry for entry in old.denied[len(old.trust.denied) :] if entry not in {*new.denied}]
    brought = [entry for entry in new.denied[len(new.trust.denied) :] if entry not in before]
    compared = old.trust._replace(denied=(*old.trust.denied, *gone))
    found = changes(compared, new.trust, brought)
    tried = None
    if args.inventory is not None:
        from sealwright.cli.inventory import effect

        request = Request(clock=datetime.now(UTC), purpose=Purpose(args.purpose), recursive=True)
        tried = effect(args.inventory, old, new, request)
    if args.json:
        _print_json(args, old, new, found, tried)
    else:
        _print_text(args, old, new, path, found, tried)
    return 1 if tried is not None and tried.lost else 0


def _print_text(
    args: argparse.Namespace, old: Believed, new: Believed, path: str, found: list[Change], tried: Effect | None
) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.inventory import same_bytes
    from sealwright.cli.trustchanges import Weight
    from sealwright.texts.words import say

    names = {"old": display(args.old), "new": display(path), "id": new.trust.id}
    print(say("change.head", **names, before=old.trust.version, after=new.trust.version))
    for weight in Weight:
        these = [one for one in found if one.weight is weight]
        if these:
            print(say(f"weight.{weight.value}"))
        for one in these:
            sentence = display(one.sentence)
            print("  " + (say("change.attention", sentence=sentence) if one.attention else sentence))
    if not found:
        print("  " + (say("change.same-bytes") if same_bytes(old, new) else say("change.same")))
    if marked := sum(one.attention for one in found):
        print(say("change.marks", number=marked))
    if tried is not None:
        _print_effect(args.purpose, tried)


def _print_effect(purpose: str, tried: Effect) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("inventory.head", number=tried.judged, purpose=purpose))
    print("  " + (say("inventory.lost", number=len(tried.lost)) if tried.lost else say("inventory.none-lost")))
    for one in tried.lost:
        why = say("inventory.by-record", why=display(one.why)) if one.by_record else display(one.why)
        print("    " + say("inventory.item", path=display(one.path), why=why))
    if tried.won:
        print("  " + say("inventory.won", number=len(tried.won)))
    for one in tried.won:
        print("    " + say("inventory.item", path=display(one.path), why=say("inventory.trusted-again")))
    if tried.unjudged:
        print("  " + say("inventory.unjudged", number=tried.unjudged))


def _print_json(
    args: argparse.Namespace, old: Believed, new: Believed, found: list[Change], tried: Effect | None
) -> None:
    """One object a change, one an artifact whose trust changes, one for the whole."""
    from sealwright.cli.jsonout import line

    for one in found:
        print(line({"change": one.weight.value, "attention": one.attention, "sentence": one.sentence}))
    for what, moved in (("lost", tried.lost if tried else ()), ("won", tried.won if tried else ())):
        for item in moved:
            print(line({"artifact": what, "path": item.path, "why": item.why, "by_record": item.by_record}))
    total: dict[str, object] = {"old": args.old, "new": args.new or args.old, "id": new.trust.id}
    total |= {"old_version": old.trust.version, "new_version": new.trust.version, "changes": len(found)}
    total |= {"attention": sum(one.attention for one in found)}
    if tried is not None:
        total |= {"judged": tried.judged, "lost": len(tried.lost), "won": len(tried.won), "unjudged": tried.unjudged}
    print(line(total))
