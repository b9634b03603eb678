"""`key import`, `key destroyed`, `key check`: keys that come from outside, their copies, and whether any key is weak or published."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, add_pin_file, key_string, pin_of

if TYPE_CHECKING:
    from sealwright.pki.knownkeys import KnownKeys
    from sealwright.signing.importing import Imported
    from sealwright.signing.keycheck import KeyJudged
    from sealwright.signing.keyuse import KeyUse

SHOWN = 5


def configure(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str, constructions: tuple[str, ...]
) -> None:
    """The three actions."""
    take = add_action(commands, "import", "take a private key in a file into a token, a TPM or a home", examples)
    take.add_argument(
        "file", metavar="KEYFILE", help="PEM, DER, PKCS#12, OpenSSH or imgtool's; it is only read, never changed"
    )
    take.add_argument("--home", metavar="DIR", help="enrol it in this signing home (else it is only stored)")
    take.add_argument(
        "--token", metavar="URI", type=key_string, help="where to: pkcs11:token=NAME, tpm:PATH (else beside the home's)"
    )
    take.add_argument("--name", metavar="NAME", required=True, help="what it is called there")
    take.add_argument(
        "--certificate", metavar="FILE", help="its certificate and path in PEM (else the home's authority's)"
    )
    take.add_argument(
        "--construction", choices=constructions, metavar="KIND", default=constructions[0],
        help=f"the one thing its signatures are made for: {', '.join(constructions)}",
    )  # fmt: skip
    take.add_argument(
        "--password-file", metavar="FILE", help="file with the passphrase of KEYFILE, readable by you alone"
    )
    take.add_argument(
        "--copies", metavar="TEXT", action="append", default=[],
        help='a copy outside and until when, such as "laptop of Eva, until 2026-12-01" (repeat); recorded',
    )  # fmt: skip
    take.add_argument("--person", metavar="ID", default="", help="register id of who imports it; recorded")
    take.add_argument(
        "--reason", metavar="TEXT", default="", help="why it cannot be replaced, for the trust file's entry"
    )
    add_known(take)
    add_pin_file(take)
    add_json(take)
    take.set_defaults(run=run_import)
    ended = add_action(commands, "destroyed", "record that a copy of an imported key is destroyed", examples)
    ended.add_argument("name", metavar="NAME", help="the enrolled key")
    ended.add_argument("--home", metavar="DIR", required=True, help="the signing home")
    ended.add_argument(
        "--copy", metavar="TEXT", required=True, help="the copy, word for word as it was given at the import"
    )
    ended.add_argument("--how", metavar="TEXT", default="", help="how: shredded, medium erased, tape expired")
    ended.add_argument("--person", metavar="ID", default="", help="register id of who did it")
    add_json(ended)
    ended.set_defaults(run=run_destroyed)
    check = add_action(commands, "check", "find weak, published and related keys in files and a home", examples)
    check.add_argument("files", metavar="FILE", nargs="*", help="certificates, requests, keys, trust files: PEM or DER")
    check.add_argument("--home", metavar="DIR", help="every key this signing home knows, and what they signed")
    add_known(check)
    add_json(check)
    check.set_defaults(run=run_check)


def add_known(parser: argparse.ArgumentParser) -> None:
    """--known-keys."""
    parser.add_argument(
        "--known-keys", metavar="FILE", action="append", default=[],
        help="one more list of published keys: digests, openssl-blacklist, badkeys' blocklist.dat (repeat)",
    )  # fmt: skip


def known_of(args: argparse.Namespace) -> tuple[KnownKeys, ...]:
    """The lists of --known-keys."""
    from sealwright.pki.knownkeys import read_known_keys

    return tuple(read_known_keys(path) for path in args.known_keys)


def run_import(args: argparse.Namespace) -> int:
    """Import it, and say what must happen to the copies and in the trust file."""
    from datetime import UTC, datetime

    from sealwright.envelope.kinds import Construction
    from sealwright.errors import UsageError
    from sealwright.keys.pin import Pin
    from sealwright.signing.home import open_home
    from sealwright.signing.importing import Asked, import_into_home, import_into_token

    if args.home is None and args.token is None:
        raise UsageError("key import", "it says neither where to nor for which home", "Give --home, --token, or both.")
    now = datetime.now(UTC)
    asked = Asked(
        Construction(args.construction), args.certificate or "", tuple(args.copies), args.person, known_of(args)
    )
    password = Pin.from_file(args.password_file) if args.password_file is not None else None
    if args.home is None:
        done = import_into_token(args.name, args.file, args.token, (password, pin_of(args, args.token)), asked)
    else:
        home = open_home(args.home)
        where = args.token or ""
        pin = pin_of(args, where or home.uri(home.keys[0]))
        done = import_into_home(home, args.name, args.file, where, (password, pin), asked, now)
    _say(done, args)
    return 0


def _say(done: Imported, args: argparse.Namespace) -> None:
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.envelope.algorithms import key_digest
    from sealwright.signing.importing import evidence_text
    from sealwright.texts.words import say

    now = datetime.now(UTC)
    reason = args.reason or say("import.reason", when=f" on {now:%Y-%m-%d}")
    evidence = evidence_text(done.info, reason, now)
    path, uri = display(args.file), display(done.info.uri)
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "name": args.name,
                    "uri": done.info.uri,
                    "key": str(key_digest(done.info.public_key)),
                    "algorithm": done.info.algorithm.name,
                    "provenance": done.info.provenance.value,
                    "form": done.source.form,
                    "enrolled": done.enrolled is not None,
                    "others_read": done.source.others_read,
                    "copies": args.copies,
                    "evidence": evidence or None,
                }
            )
        )
        return
    about = {"algorithm": done.info.algorithm.name, "provenance": done.info.provenance.value}
    print(say("import.done", path=path, form=done.source.form, uri=uri, **about))
    print("  " + say("import.tried"))
    if done.source.others_read:
        print("  " + say("import.exposed", path=path))
    if evidence:
        print(say("import.evidence"))
        print("".join(f"    {line}\n" for line in evidence.splitlines()), end="")
    print(say("import.copies", path=path))
    for copy in args.copies:
        print("  " + say("import.copy", copy=display(copy)))
    print("  " + say("import.disk", path=path))
    for how in ("backup", "ci", "people"):
        print("  " + say(f"import.how-{how}"))
    if done.enrolled is None:
        print(say("import.not-recorded"))
        print("  " + say("import.next", uri=uri))
        return
    print(say("import.record", name=display(args.name), home=display(args.home)))


def run_destroyed(args: argparse.Namespace) -> int:
    """One entry of the journal."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.cli.key import named
    from sealwright.signing.home import open_home
    from sealwright.signing.importing import record_destroyed
    from sealwright.texts.words import say

    home = open_home(args.home)
    key = named(home.keys, args.name)
    left = record_destroyed(home, key, args.copy, (args.how, args.person), datetime.now(UTC))
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"name": key.name, "destroyed": args.copy, "left": list(left)}))
        return 0
    print(say("destroyed.done", name=key.name, copy=display(args.copy)))
    if left:
        print("  " + say("destroyed.left", number=len(left), copies=display("; ".join(left))))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """One line a key that must be refused, with what it signed; exit code 1 if there is one."""
    from sealwright.errors import UsageError
    from sealwright.pki.knownkeys import published_keys
    from sealwright.signing.home import JOURNAL, open_home
    from sealwright.signing.keycheck import judge_keys, keys_of_file, keys_of_home
    from sealwright.signing.keyuse import uses_of
    from sealwright.texts.words import say

    if not args.files and args.home is None:
        raise UsageError("key check", "there is nothing to check", "Name files, or a home with --home.")
    known = known_of(args)
    found = [one for path in args.files for one in keys_of_file(path)]
    uses: dict[str, KeyUse] = {}
    if args.home is not None:
        home = open_home(args.home)
        found += keys_of_home(home)
        uses = uses_of(home.path(JOURNAL))
    judged = judge_keys(found, known)
    places = {one.digest: one.places for one in judged}
    for one in judged:
        _say_judged(one, uses.get(one.digest), places, args)
    bad = sum(bool(one.problems) for one in judged)
    if not args.json:
        count = published_keys().count + sum(one.count for one in known)
        lists = say("check.lists", number=count) + ("" if known else "; " + say("check.no-debian"))
        print(say("check.sum", number=len(judged), bad=bad, lists=lists))
    return 1 if bad else 0


def _say_judged(
    one: KeyJudged, use: KeyUse | None, places: dict[str, tuple[str, ...]], args: argparse.Namespace
) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    signed = use.signed if use is not None else []
    if args.json:
        from sealwright.cli.jsonout import line

        made = [
            {"time": s.time, "format": s.format, "artifact": s.artifact, "product": s.product, "version": s.version}
            for s in signed
        ]
        print(
            line(
                {
                    "key": one.digest or None,
                    "places": list(one.places),
                    "problems": list(one.problems),
                    "shares_with": list(one.partners),
                    "signed": made if one.problems else len(made),
                }
            )
        )
        return
    shown = display(", ".join(one.places[:SHOWN]))
    if not one.problems:
        print(say("check.good", digest=one.digest, places=shown))
        return
    print(say("check.bad", digest=one.digest, places=shown) if one.digest else say("check.unreadable", places=shown))
    for problem in one.problems:
        print(say("check.problem", problem=display(problem)))
    for partner in one.partners:
        print(say("check.partner", digest=partner, places=display(", ".join(places.get(partner, ())[:SHOWN]))))
    if args.home is not None and one.digest:
        for s in signed[:SHOWN]:
            about = {"time": s.time, "format": s.format, "artifact": s.artifact}
            print(say("check.signed", product=display(f"{s.product} {s.version}".strip()), **about))
        if len(signed) > SHOWN:
            print(say("check.signed-more", number=len(signed) - SHOWN))
        if not signed:
            print(say("check.signed-none"))
