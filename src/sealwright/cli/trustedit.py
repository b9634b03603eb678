"""`trust new`, `trust add`, `trust remove`: a trust file or deny list written and changed, comments kept, refused whole or taken whole."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli import trustfrom
from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.trustsections import EXAMPLES, KINDS, NAMED

if TYPE_CHECKING:
    from sealwright.trust.draft import Draft
    from sealwright.trust.skeleton import Keyholder

DAYS = 400


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The three actions."""
    _configure_new(commands, examples)
    add = add_action(commands, "add", "add to a trust file or deny list that is not signed yet", examples)
    add.add_argument("file", metavar="FILE", help="trust.toml or deny.toml")
    trustfrom.options(add)
    kinds = add.add_subparsers(dest="kind", metavar="KIND")
    for name, (words, options, _) in KINDS.items():
        example = f"examples:\n  sealwright trust add {'deny' if name == 'deny' else 'trust'}.toml {EXAMPLES[name]}"
        kind = kinds.add_parser(name, help=words, description=words[:1].upper() + words[1:] + ".", epilog=example)
        options(kind)
        add_json(kind, default=argparse.SUPPRESS)  # so that it does not undo the one before KIND
    add_json(add)
    add.set_defaults(run=run_add)
    remove = add_action(commands, "remove", "take something out of a trust file that is not signed yet", examples)
    remove.add_argument("file", metavar="FILE", help="trust.toml or deny.toml")
    remove.add_argument("section", metavar="SECTION", choices=sorted(NAMED), help=", ".join(sorted(NAMED)))
    remove.add_argument("name", metavar="NAME", help="its name, person, product, digest or number (the first is 1)")
    remove.add_argument("--threshold", metavar="N", type=int, help="the threshold of the officers who stay")
    add_json(remove)
    remove.set_defaults(run=run_remove)


def _configure_new(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    new = add_action(commands, "new", "write a first trust file, or begin the next version of one", examples)
    new.add_argument("file", metavar="FILE", help="the trust file (or, with --for or --next, the deny list)")
    new.add_argument("--next", action="store_true", help="begin the next version; the old one goes to trust.history/")
    new.add_argument("--for", dest="belongs", metavar="TRUST", help="write an empty deny list for this trust file")
    for name, what in (("officer", "an officer"), ("recovery", "a holder of a sealed recovery key")):
        new.add_argument(
            f"--{name}",
            metavar="ID=FILE",
            action="append",
            default=[],
            help=f"{what} and their public key or certificate",
        )
    new.add_argument("--threshold", metavar="N", type=int, help="how many officers sign (default: 1 of 1, else 2)")
    new.add_argument("--recovery-threshold", metavar="N", type=int, help="how many recovery keys sign (same default)")
    new.add_argument("--organisation", metavar="TEXT", default="", help="whose people they are")
    new.add_argument("--title", metavar="TEXT", default="", help="what people call it")
    new.add_argument("--id", metavar="TEXT", default="", help="its name for ever (default: a random one)")
    new.add_argument(
        "--days", metavar="N", type=int, help=f"how long it lasts (default {DAYS}, or as the version before)"
    )
    new.add_argument("--stage", choices=("ordinary", "trial"), default="ordinary", help="trial: needs no signatures")
    add_json(new)
    new.set_defaults(run=run_new)


def run_new(args: argparse.Namespace) -> int:
    """A first file, a first deny list, or the next version of either."""
    if args.next:
        from sealwright.artifact.folders import alone_in

        with alone_in(os.path.dirname(args.file)):
            return _next(args)
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.skeleton import First, deny_text, first_text
    from sealwright.trust.trustfile import parse_trust

    shown = display(args.file)
    if args.belongs is not None:
        from sealwright.trust.belief import parse_deny
        from sealwright.trust.history import read_text

        trust = parse_trust(read_text(args.belongs), args.belongs)
        data = deny_text(trust.id).encode()
        parse_deny(data, args.file)
        write_atomic(args.file, data)
        return _done(
            args, say("trust-new.deny", path=shown, id=display(trust.id)), say("trust-new.next-deny", path=shown)
        )
    officers, recovery = keyholders(args.officer), keyholders(args.recovery)
    if not officers or not recovery:
        raise UsageError(
            args.file,
            "it needs at least one officer and one recovery key of another person",
            "Add --officer ID=PUBLIC_KEY_FILE and --recovery ID=PUBLIC_KEY_FILE; `sealwright key show` prints public keys.",
        )
    first = First(
        issued=datetime.now(UTC),
        lasts=_days(args.days if args.days is not None else DAYS),
        organisation=args.organisation or args.title or "our organisation",
        officers=officers,
        threshold=_threshold(args.threshold, officers),
        recovery=recovery,
        recovery_threshold=_threshold(args.recovery_threshold, recovery),
        title=args.title,
        id=args.id,
        trial=args.stage == "trial",
    )
    data = first_text(first).encode()
    trust = parse_trust(data, args.file)
    write_atomic(args.file, data)
    return _done(args, say("trust-new.made", path=shown, id=display(trust.id)), say("trust-new.next", path=shown))


def _next(args: argparse.Namespace) -> int:
    """The old version and its signatures into the history, then the new text, then the old signatures away from beside it.

    A crash between leaves the old version whole, or the new one with signatures that are not its and count for nobody.
    """
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Output, Replace, write_atomic, write_batch
    from sealwright.artifact.source import read_file_or_none
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.belief import DENY_LINE
    from sealwright.trust.draft import next_deny, next_version
    from sealwright.trust.history import filed, history_path, read_signed
    from sealwright.trust.trustfile import MAX_BYTES

    signed, shown, now = read_signed(args.file), display(args.file), datetime.now(UTC)
    if signed.text.startswith(DENY_LINE.encode()):
        write_atomic(args.file, next_deny(args.file), replace=Replace.YES)
        _unlink(args.file, signed.signatures)
        return _done(args, say("trust-new.next-made-deny", path=shown), say("trust-new.next-deny", path=shown))
    old, data = next_version(args.file, now, now + _days(args.days) if args.days is not None else None)
    kept = history_path(args.file, old.version)
    before = read_file_or_none(kept, MAX_BYTES)
    if before not in (None, signed.text):
        raise UsageError(kept, f"another version {old.version} is there", "Each trust file needs a folder of its own.")
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    write_batch([Output(path, content) for path, content in filed(signed, kept)], replace=Replace.YES)
    write_atomic(args.file, data, replace=Replace.YES)
    _unlink(args.file, signed.signatures)
    said = say("trust-new.next-made", path=shown, version=old.version + 1, kept=display(kept))
    return _done(args, said, say("trust-new.next-step", path=shown))


def _unlink(path: str, names: object) -> None:
    for name in names:  # type: ignore[attr-defined]
        os.unlink(os.path.join(os.path.dirname(path), name))


def run_add(args: argparse.Namespace) -> int:
    """One thing more, read by the parser before it is written; or a maker, from a sample."""
    from sealwright.errors import UsageError

    if args.samples and args.kind is None:
        return trustfrom.run_from(args)
    if args.kind is None:
        raise UsageError(
            args.file,
            "it is not said what to add",
            f"Name a KIND ({', '.join(KINDS)}), or a maker's file: --from SAMPLE",
        )
    trustfrom.refuse_with_kind(args)
    from sealwright.artifact.folders import alone_in
    from sealwright.trust.draft import Draft

    with alone_in(os.path.dirname(args.file)):
        draft = Draft.read(args.file)
        said = KINDS[args.kind][2](draft, args)
        return _written(draft, args, said)


def run_remove(args: argparse.Namespace) -> int:
    """One thing less."""
    from sealwright.artifact.folders import alone_in

    with alone_in(os.path.dirname(args.file)):
        return _removed(args)


def _removed(args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say
    from sealwright.trust.draft import Draft

    draft = Draft.read(args.file)
    where, keys = NAMED[args.section]
    if args.section == "minimum":
        if args.name not in draft.values.get("minimum", {}):
            raise _no_such(args)
        draft.unset(where, 0, args.name)
    elif args.section == "repository" and args.name == draft.values.get("tuf_root"):
        draft.unset((), 0, "tuf_root")
    else:
        table: object = draft.values
        for name in where:
            table = table.get(name, []) if isinstance(table, dict) else []
        entries = table if isinstance(table, list) else []
        found = [at for at, entry in enumerate(entries) if any(entry.get(key) == args.name for key in keys)]
        if not found and args.name.isdecimal() and 1 <= int(args.name) <= len(entries):
            found = [int(args.name) - 1]
        if not found:
            raise _no_such(args)
        for at in reversed(found):
            draft.remove(where, at)
    if args.threshold is not None and args.section in ("officer", "recovery"):
        draft.set(where[:1], 0, "threshold", args.threshold)
    return _written(draft, args, [say("trust-edit.removed", section=args.section, name=display(args.name))])


def _no_such(args: argparse.Namespace) -> Exception:
    from sealwright.errors import UsageError

    return UsageError(
        args.file, f"there is no {args.section} {args.name}", "`sealwright trust show` lists what is there."
    )


def _written(draft: Draft, args: argparse.Namespace, said: list[str]) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    draft.write()
    shown = display(args.file)
    step = say("trust-edit.next-deny", path=shown) if draft.denying else say("trust-edit.next", path=shown)
    return _done(args, say("trust-edit.written", path=shown), step, said)


def _done(args: argparse.Namespace, head: str, step: str, said: list[str] | None = None) -> int:
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.file, "said": said or [], "next_step": step.removeprefix("Next: ")}))
        return 0
    print(head)
    for text in said or []:
        print("  " + text)
    print("  " + step)
    return 0


# --- what can be added: options, and the change -----------------------------------------------------------------------


def keyholders(texts: list[str]) -> list[Keyholder]:
    """Persons and their public keys, out of ID=FILE."""
    from sealwright.errors import UsageError
    from sealwright.trust.intake import public_key_in, public_pem
    from sealwright.trust.skeleton import Keyholder

    found = []
    for text in texts:
        person, equals, path = text.partition("=")
        if not equals or not person or not path:
            raise UsageError(text, "it is not ID=FILE", "Write, for example, eva=eva-public.pem.")
        found.append(Keyholder(person, public_pem(public_key_in(path))))
    return found


def _threshold(given: int | None, holders: list[Keyholder]) -> int:
    return given if given is not None else min(2, len({one.person for one in holders}))


def _days(number: int) -> timedelta:
    from sealwright.errors import UsageError

    if not 1 <= number <= 3660:
        raise UsageError("--days", f"{number} is no number of days from 1 to 3660", "Trust files last a year or so.")
    return timedelta(days=number)
