"""`trust new`, `trust add`, `trust remove`: a trust file or deny list written and changed, comments kept, refused whole or taken whole."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, rfc3339

if TYPE_CHECKING:
    from sealwright.trust.draft import Draft
    from sealwright.trust.skeleton import Keyholder
    from sealwright.trust.toml import Toml

DAYS = 400


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The three actions."""
    _configure_new(commands, examples)
    add = add_action(commands, "add", "add to a trust file or deny list that is not signed yet", examples)
    add.add_argument("file", metavar="FILE", help="trust.toml or deny.toml")
    kinds = add.add_subparsers(dest="kind", metavar="KIND", required=True)
    for name, (words, options, _) in KINDS.items():
        kind = kinds.add_parser(name, help=words, description=words[:1].upper() + words[1:] + ".")
        options(kind)
        add_json(kind)
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
        return _next(args)
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.skeleton import First, deny_text, first_text
    from sealwright.trust.trustfile import parse_trust

    shown = display(args.file)
    if args.belongs is not None:
        from sealwright.artifact.source import read_file
        from sealwright.trust.belief import parse_deny
        from sealwright.trust.trustfile import MAX_BYTES

        trust = parse_trust(read_file(args.belongs, MAX_BYTES), args.belongs)
        data = deny_text(trust.id).encode()
        parse_deny(data, args.file)
        write_atomic(args.file, data)
        return _done(
            args, say("trust-new.deny", path=shown, id=display(trust.id)), say("trust-new.next-deny", path=shown)
        )
    officers, recovery = _keyholders(args.officer), _keyholders(args.recovery)
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
    """One thing more, read by the parser before it is written."""
    from sealwright.trust.draft import Draft

    draft = Draft.read(args.file)
    said = KINDS[args.kind][2](draft, args)
    return _written(draft, args, said)


def run_remove(args: argparse.Namespace) -> int:
    """One thing less."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say
    from sealwright.trust.draft import Draft

    draft = Draft.read(args.file)
    where, keys = NAMED[args.section]
    if args.section == "minimum":
        if args.name not in draft.values.get("minimum", {}):
            raise _no_such(args)
        draft.unset(where, 0, args.name)
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
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.texts.words import say

    data = draft.checked()
    write_atomic(args.file, data, replace=Replace.YES)
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


def _anchor_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--name", metavar="TEXT", required=True, help="what rules call it")
    parser.add_argument("--environment", choices=("production", "test", "development"), required=True)
    parser.add_argument("--public", action="store_true", help="a public CA: counts only in rules that name the signer")


def _anchor(draft: Draft, args: argparse.Namespace) -> list[str]:
    der = _certificate(args)
    entry = {"name": args.name, "environment": args.environment, "certificate": _pem(der)}
    draft.add(("anchor",), entry | ({"public": True} if args.public else {}))
    return _compare(der)


def _plain_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)


def _plain_certificates(section: str) -> Callable[[Draft, argparse.Namespace], list[str]]:
    def add(draft: Draft, args: argparse.Namespace) -> list[str]:
        from sealwright.trust.intake import certificates_in

        said = []
        for der in certificates_in(args.certificate):
            draft.add((section,), {"certificate": _pem(der)})
            said += _compare(der)
        return said

    return add


def _authority_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--name", metavar="TEXT", required=True, help="what people call it")
    parser.add_argument("--key", metavar="KEY", help="only this key of it (digest, or file with key or certificate)")
    parser.add_argument(
        "--last-token", metavar="TIME", type=rfc3339, help="its last token that counts, once it has ended"
    )


def _authority(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import key_named

    der = _certificate(args)
    entry: dict[str, Toml] = {"name": args.name, "anchor": _pem(der)}
    entry |= {"key": key_named(args.key)} if args.key else {}
    draft.add(("authority",), entry | _time("last_token", args.last_token))
    return _compare(der)


def _person_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="a short name that never changes; one that is there is changed")
    parser.add_argument("--organisation", metavar="TEXT", help="whose person it is (needed for a new one)")
    parser.add_argument("--role", metavar="TEXT", action="append", default=[], help="what they do (may come again)")
    parser.add_argument(
        "--key", metavar="KEY", action="append", default=[], help="digest, or file with key or certificate"
    )
    parser.add_argument(
        "--certificate", metavar="CERT", action="append", default=[], help="digest, or certificate file"
    )
    parser.add_argument("--from", dest="since", metavar="TIME", type=rfc3339, help="what they sign counts from then")
    parser.add_argument(
        "--until", metavar="TIME", type=rfc3339, help="the day they leave: later proved signatures count not"
    )


def _person(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.intake import certificate_named, key_named

    lists = {
        "roles": args.role,
        "keys": [key_named(one) for one in args.key],
        "certificates": [certificate_named(one) for one in args.certificate],
    }
    times: dict[str, Toml] = _time("from", args.since) | _time("until", args.until)
    people = [entry.get("id") for entry in draft.values.get("person", [])]
    if args.id not in people:
        if not args.organisation:
            raise UsageError(args.id, "a new person needs an organisation", "Add --organisation TEXT.")
        entry: dict[str, Toml] = {"id": args.id, "organisation": args.organisation}
        draft.add(("person",), entry | {key: value for key, value in lists.items() if value} | times)
        return [say("trust-edit.person", id=args.id)]
    at = people.index(args.id)
    old = draft.values["person"][at]
    if args.organisation:
        times["organisation"] = args.organisation
    times |= {
        key: [*old.get(key, []), *(v for v in value if v not in old.get(key, []))]
        for key, value in lists.items()
        if value
    }
    for key, value in times.items():
        draft.set(("person",), at, key, value)
    return [say("trust-edit.person-changed", id=args.id)]


def _officer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("person", metavar="ID", help="a person of the file")
    parser.add_argument("--key", metavar="FILE", required=True, help="their public key or certificate")
    parser.add_argument("--threshold", metavar="N", type=int, help="how many of them sign from now on")
    parser.add_argument("--recovery", action="store_true", help="a sealed recovery key instead")


def _officer(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.envelope.algorithms import key_digest
    from sealwright.texts.words import say
    from sealwright.trust.intake import public_key_in, public_pem

    key, section = public_key_in(args.key), "recovery" if args.recovery else "officers"
    draft.add((section, "key"), {"person": args.person, "key": public_pem(key)})
    if args.threshold is not None:
        draft.set((section,), 0, "threshold", args.threshold)
    return [say("trust-edit.key", digest=key_digest(key))]


def _crl_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--min-number", metavar="N", type=int, help="the oldest list number that counts")
    parser.add_argument(
        "--max-age", metavar="PURPOSE=AGE", action="append", default=[], help="such as install=30d (may come again)"
    )


def _crl(draft: Draft, args: argparse.Namespace) -> list[str]:
    der = _certificate(args)
    entry: dict[str, Toml] = {"issuer": _pem(der)}
    if args.min_number is not None:
        entry["min_number"] = args.min_number
    if args.max_age:
        entry["max_age"] = {purpose: age for purpose, _, age in (one.partition("=") for one in args.max_age)}
    draft.add(("crl",), entry)
    return _compare(der)


def _note_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vkey", metavar="VKEY", help="the line NAME+ID+KEY that its operator publishes")
    parser.add_argument("--name", metavar="TEXT", required=True, help="what people call it")


def _note(section: str) -> Callable[[Draft, argparse.Namespace], list[str]]:
    def add(draft: Draft, args: argparse.Namespace) -> list[str]:
        draft.add((section,), {"name": args.name, "vkey": args.vkey})
        return []

    return add


def _rule_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what verdicts call it")
    parser.add_argument("--environment", choices=("production", "test", "development"), required=True)
    for name, words in (
        ("anchor", "whose certificates count"),
        ("purpose", "what the signer's certificate must be for, such as updatePackageSigning"),
        ("subject", "the signer's exact subject (RFC 4514)"),
        ("person", "who must sign"),
        ("product", "the products it speaks of (none: any)"),
        ("format", "the formats it speaks of (none: any)"),
        ("hardware", "the hardware it speaks of"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", action="append", default=[], help=f"{words} (may come again)")
    parser.add_argument("--count", metavar="N", type=int, default=1, help="how many distinct signers")
    parser.add_argument("--timestamp", choices=("required", "optional"), default="optional")
    parser.add_argument("--fresh-for", metavar="AGE", help="how old the trust file may be to install, such as 90d")
    parser.add_argument("--grace", metavar="AGE", help="how much longer with a warning")
    parser.add_argument("--contact", metavar="TEXT", help="whom to call, for those who are refused")


def _rule(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.cli.trusttext import sentence

    signer: dict[str, Toml] = {"slot": "maker", "anchors": args.anchor}
    lists = {"purposes": args.purpose, "subjects": args.subject, "persons": args.person}
    signer |= {key: value for key, value in lists.items() if value} | ({"count": args.count} if args.count != 1 else {})
    entry: dict[str, Toml] = {"name": args.name, "environment": args.environment}
    lists = {"products": args.product, "formats": args.format, "hardware": args.hardware}
    entry |= {key: value for key, value in lists.items() if value} | {"timestamp": args.timestamp}
    words = {"fresh_for": args.fresh_for, "grace": args.grace, "contact": args.contact}
    entry |= {key: value for key, value in words.items() if value}
    draft.add(("rule",), entry | {"signer": [signer]})
    draft.checked()
    return [sentence(draft.trust.rules[-1])]


def _deny_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("key", "certificate", "artifact", "serial", "product"))
    parser.add_argument(
        "thing", metavar="THING", help="a digest, a file with the key or certificate, a serial, a product"
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, in words that the plant understands")
    parser.add_argument(
        "--since", metavar="TIME", type=rfc3339, help="key, certificate: what is proved older still counts"
    )
    parser.add_argument("--format", metavar="NAME", help="artifact: of this format only")
    parser.add_argument("--below", metavar="N", type=int, help="product: every generation below")
    parser.add_argument("--issuer", metavar="CERT", help="serial: its issuer's certificate")


def _deny(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import certificate_named, key_named

    thing = {"key": key_named, "certificate": certificate_named}.get(args.what, str)(args.thing)
    entry: dict[str, Toml] = {args.what: thing}
    if args.issuer is not None:
        from sealwright.trust.intake import certificate_in

        entry["issuer"] = _pem(certificate_in(args.issuer))
    entry |= {"format": args.format} if args.format else {}
    entry |= {"below": args.below} if args.below is not None else {}
    draft.add(("deny",), entry | _time("since", args.since) | {"reason": args.reason})
    return [f"{args.what} {thing}"]


def _evidence_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="digest, or file with key or certificate")
    parser.add_argument(
        "--provenance", choices=("hardware-attested", "hardware-claimed", "hardware-imported"), required=True
    )
    parser.add_argument("--reason", metavar="TEXT", help="why (needed for hardware-imported)")
    parser.add_argument(
        "--review", metavar="TIME", type=rfc3339, help="when to look again (needed for hardware-imported)"
    )


def _evidence(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import key_named

    entry: dict[str, Toml] = {"key": key_named(args.key), "provenance": args.provenance}
    entry |= {"reason": args.reason} if args.reason else {}
    draft.add(("evidence",), entry | _time("review", args.review))
    return [str(entry["key"])]


def _minimum_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("product", metavar="PRODUCT")
    parser.add_argument("generation", metavar="GENERATION", type=int, help="the lowest that may be installed")


def _minimum(draft: Draft, args: argparse.Namespace) -> list[str]:
    draft.set(("minimum",), 0, args.product, args.generation)
    return []


Options = Callable[[argparse.ArgumentParser], None]
Change = Callable[["Draft", argparse.Namespace], "list[str]"]
KINDS: dict[str, tuple[str, Options, Change]] = {
    "anchor": ("a certificate where paths end: a maker's root, as its maker gave it", _anchor_options, _anchor),
    "intermediate": ("certificates that signatures leave out", _plain_options, _plain_certificates("intermediate")),
    "certificate": (
        "certificates of signers whose signatures carry none",
        _plain_options,
        _plain_certificates("certificate"),
    ),
    "authority": ("whose timestamps count", _authority_options, _authority),
    "person": ("a person, or more about one (`--until` when they leave)", _person_options, _person),
    "officer": ("who signs the next versions", _officer_options, _officer),
    "crl-issuer": ("whose revocation lists must be there", _crl_options, _crl),
    "log": ("a signing log's key", _note_options, _note("log")),
    "witness": ("the key of one who watches logs", _note_options, _note("witness")),
    "rule": ("who may sign what; it begins in mode audit", _rule_options, _rule),
    "deny": ("what is refused from now on", _deny_options, _deny),
    "evidence": ("where a key lives, when its certificate does not say", _evidence_options, _evidence),
    "minimum": ("the lowest generation of a product", _minimum_options, _minimum),
}
# Where each section's entries lie, and the keys by which one of them is called.
NAMED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "anchor": (("anchor",), ("name",)),
    "intermediate": (("intermediate",), ()),
    "certificate": (("certificate",), ()),
    "authority": (("authority",), ("name",)),
    "person": (("person",), ("id",)),
    "officer": (("officers", "key"), ("person",)),
    "recovery": (("recovery", "key"), ("person",)),
    "crl-issuer": (("crl",), ()),
    "log": (("log",), ("name",)),
    "witness": (("witness",), ("name",)),
    "rule": (("rule",), ("name",)),
    "deny": (("deny",), ("key", "certificate", "artifact", "product", "serial")),
    "evidence": (("evidence",), ("key",)),
    "minimum": (("minimum",), ()),
}


def _certificate_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERT", help="the certificate: PEM, DER or PKCS#7")


def _certificate(args: argparse.Namespace) -> bytes:
    from sealwright.trust.intake import certificate_in

    return certificate_in(args.certificate)


def _pem(der: bytes) -> str:
    from sealwright.trust.intake import pem_of

    return pem_of(der)


def _compare(der: bytes) -> list[str]:
    """What two people read to each other over the telephone."""
    from sealwright.artifact.digest import Digest
    from sealwright.texts.words import say
    from sealwright.trust.certificate import display_name, load_certificate
    from sealwright.trust.words import groups

    loaded = load_certificate(der, "certificate")
    start, end = (f"{one:%Y-%m-%d}" for one in (loaded.not_valid_before_utc, loaded.not_valid_after_utc))
    said = [say("trust-edit.subject", subject=display_name(loaded.subject), start=start, end=end)]
    if loaded.subject != loaded.issuer:
        said.append(say("trust-edit.issuer", issuer=display_name(loaded.issuer)))
    return [*said, say("trust-edit.compare"), "  " + groups(Digest.of(der))]


def _time(key: str, time: datetime | None) -> dict[str, Toml]:
    return {} if time is None else {key: time.replace(microsecond=0)}


def _keyholders(texts: list[str]) -> list[Keyholder]:
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
