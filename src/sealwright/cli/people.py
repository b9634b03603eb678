"""Keep the register of who speaks to the signing service: people, machines, their certificates, tokens and approval keys.

The file is for people to review in git; what a change allows is said when it is made. Names are in a file of their own.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, add_pin_file, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealwright.artifact.digest import Digest
    from sealwright.trust.toml import Toml

MAX_KEY_BYTES = 64 * 1024
EXAMPLES = """examples:
  sealwright people check people.toml                        is it one, and who is in it?
  sealwright people show people.toml --names names.toml      who may do what now
  sealwright people add people.toml person p9 --tenant acme --role requester --certificate p9.pem --until 2027-12-31T00:00:00Z
  sealwright people add people.toml machine m5 --tenant acme --role requester --owner p9 --certificate m5.pem
  sealwright people add people.toml certificate p9 p9-new.pem
  sealwright people add people.toml approval-key p9 p9-approvals.pem
  sealwright people enrol-key p9-key.toml --service https://sign.acme.example:8443   by the owner of a security key, for the officer
  sealwright people add people.toml approval-key p9 p9-key.toml
  sealwright people add people.toml prepare-key m5 m5-prepares.pem    by which a machine signs what it has prepared again
  sealwright people end people.toml p9                       from now on p9 and the machines of p9 are nobody
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The five actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, words in (("check", "read a register, and say how many are in it"), ("show", "list who may do what")):
        action = add_action(commands, name, words, EXAMPLES)
        action.add_argument("file", metavar="FILE", help="people.toml")
        action.add_argument("--names", metavar="NAMES", help="names.toml: what the ids are called")
        action.add_argument("--at", metavar="TIME", type=rfc3339, help="as of then (default: now)")
        add_json(action)
        action.set_defaults(run=run_show)
    add = add_action(commands, "add", "add somebody, or a certificate or approval key of somebody", EXAMPLES)
    add.add_argument("file", metavar="FILE", help="people.toml")
    kinds = add.add_subparsers(dest="kind", metavar="KIND", required=True)
    _configure_kinds(kinds)
    add.set_defaults(run=run_add)
    enrol = add_action(commands, "enrol-key", "make your security key known: write what the officer enters", EXAMPLES)
    enrol.add_argument("out", metavar="OUT", help="the new file, for the PKI officer")
    enrol.add_argument("--service", metavar="URL", required=True, help="where you will approve, https://HOST:PORT")
    add_pin_file(enrol)
    add_json(enrol)
    enrol.set_defaults(run=run_enrol)
    end = add_action(commands, "end", "end somebody: nothing is taken out, the id is never used again", EXAMPLES)
    end.add_argument("file", metavar="FILE", help="people.toml")
    end.add_argument("id", metavar="ID", help="of a person or machine")
    end.add_argument("--at", metavar="TIME", type=rfc3339, help="when (default: now)")
    add_json(end)
    end.set_defaults(run=run_end)


def _example(kind: str) -> str:
    """The examples of one kind, for the end of its help."""
    own = [line for line in EXAMPLES.splitlines() if f" people.toml {kind} " in line]
    return "\n".join(["examples:", *own])


def _configure_kinds(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name in ("person", "machine"):
        kind = kinds.add_parser(name, help=f"a new {name}", epilog=_example(name))
        kind.add_argument("id", metavar="ID", help="a new id: no name, no address")
        kind.add_argument("--tenant", metavar="TENANT", required=True, help="one of the register's")
        kind.add_argument("--role", metavar="ROLE", action="append", required=True, help="given again for several")
        kind.add_argument("--until", metavar="TIME", type=rfc3339, help="when it ends")
        kind.add_argument("--certificate", metavar="FILE", action="append", default=[], help="of a TLS client")
        if name == "machine":
            kind.add_argument("--owner", metavar="ID", required=True, help="the person who answers for it")
        add_json(kind)
    for name, words in (
        ("certificate", "a TLS client's certificate"),
        ("approval-key", "a key that signs approvals"),
        ("prepare-key", "a machine's key that signs what it has prepared again"),
    ):
        kind = kinds.add_parser(name, help=f"{words} of somebody who is there", epilog=_example(name))
        kind.add_argument("id", metavar="ID", help="whose")
        kind.add_argument(
            "path",
            metavar="PATH",
            help="the certificate" + ("" if name == "certificate" else ", the public key, or what `enrol-key` wrote"),
        )
        add_json(kind)


def run_show(args: argparse.Namespace) -> int:
    """Who is there; `check` says no more than how many."""
    from sealwright.artifact.source import read_file
    from sealwright.signing.nameslist import parse_names
    from sealwright.signing.people import MAX_BYTES, Machine, Person, parse_people
    from sealwright.texts.words import say

    people = parse_people(read_file(args.file, MAX_BYTES), args.file)
    names = parse_names(read_file(args.names, MAX_BYTES), args.names) if args.names else {}
    now = args.at or _now()
    every: tuple[Person | Machine, ...] = (*people.persons.values(), *people.machines.values())
    rows: list[dict[str, object]] = [
        {
            "id": one.id,
            "name": names.get(one.id),
            "tenant": one.tenant,
            "roles": sorted(one.roles),
            "owner": one.owner if isinstance(one, Machine) else None,
            "from": one.since,
            "until": one.until,
            "counts": people.counts(one, now),
        }
        for one in every
    ]
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.file, "digest": str(people.digest), "tenants": people.tenants, "ids": rows}))
        return 0
    from sealwright.artifact.names import display

    counts = {"persons": len(people.persons), "machines": len(people.machines), "tenants": len(people.tenants)}
    print(display(say("people.head", path=args.file, digest=people.digest, **counts)))
    for one in every if args.action == "show" else ():
        words = {"id": one.id, "roles": ", ".join(sorted(one.roles)), "tenant": one.tenant}
        said = (
            say("people.machine", owner=one.owner, **words)
            if isinstance(one, Machine)
            else say("people.person", **words)
        )
        name = f" ({names[one.id]})" if one.id in names else ""
        print("  " + display(said + name + ("" if people.counts(one, now) else ": " + say("people.nobody"))))
    return 0


def run_add(args: argparse.Namespace) -> int:
    """One thing more, and what that allows."""
    from sealwright.signing.peopleedit import with_approval_key, with_certificate, with_entry, with_prepare_key

    def changed(data: bytes) -> bytes:
        if args.kind == "certificate":
            return with_certificate(data, args.file, args.id, _certificate(args.path), _now())
        if args.kind == "approval-key":
            return with_approval_key(data, args.file, args.id, _approval_key(args.path), _now())
        if args.kind == "prepare-key":
            return with_prepare_key(data, args.file, args.id, _key(args.path), _now())
        entry = {"id": args.id, "tenant": args.tenant, "roles": args.role, "from": _now()}
        if args.until is not None:
            entry["until"] = args.until
        if args.kind == "machine":
            entry["owner"] = args.owner
        if args.certificate:
            entry["certificates"] = [str(_certificate(path)) for path in args.certificate]
        return with_entry(data, args.file, args.kind, entry)

    return _edit(args, changed)


def run_enrol(args: argparse.Namespace) -> int:
    """A new credential in the security key that is plugged in."""
    from sealwright.artifact.digest import Digest
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.cli.securitykey import need_fido, touch_of
    from sealwright.texts.words import say

    need_fido("enrol-key")
    from sealwright.signing.keyentry import entry_of, entry_text, read_entry
    from sealwright.signing.securitykey import attached, place_of, registered
    from sealwright.signing.webauthn import base64url

    place = place_of(args.service)
    with attached() as device:
        made = registered(device, place, touch_of(args))
    entry = entry_of(place.rp, place.origin, base64url(made.credential), made.aaguid, made.pem)
    text = entry_text(entry).encode()
    key, _ = read_entry(text, args.out)
    write_atomic(args.out, text, replace=Replace.NO)
    if args.json:
        from sealwright.cli.jsonout import line

        told = {
            "path": args.out,
            "key": str(key.key),
            "credential": str(Digest.of(key.credential)),
            "origin": key.origin,
        }
        print(line({**told, "aaguid": key.aaguid, "attestation": "none"}))
        return 0
    print(display(say("people.enrolled", path=args.out, key=key.key, origin=key.origin)))
    print("  " + say("people.attestation", aaguid=key.aaguid))
    print("  " + say("people.enrolled-next"))
    return 0


def run_end(args: argparse.Namespace) -> int:
    """An end, and the machines that end with it."""
    from sealwright.signing.peopleedit import with_end

    at = (args.at or _now()).replace(microsecond=0)
    return _edit(args, lambda data: with_end(data, args.file, args.id, at))


def _edit(args: argparse.Namespace, changed: Callable[[bytes], bytes]) -> int:
    """Change the register as it is now, with nobody else at it, and say who gained what."""
    import os

    from sealwright.artifact.folders import alone_in
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.signing.people import MAX_BYTES, parse_people
    from sealwright.signing.peopleedit import gains
    from sealwright.texts.words import say

    with alone_in(os.path.dirname(args.file)):
        data = read_file(args.file, MAX_BYTES)
        before = parse_people(data, args.file)
        made = changed(data)
        after = parse_people(made, args.file)
        write_atomic(args.file, made, replace=Replace.YES)
    gained = [] if args.action == "end" else gains(before, after)
    stopped = [one.id for one in after.machines_of(args.id)] if args.action == "end" else []
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "path": args.file,
                    "digest": str(after.digest),
                    "gained": [list(one) for one in gained],
                    "stopped": stopped,
                }
            )
        )
        return 0
    print(display(say("people.written", path=args.file)))
    for one, what in gained:
        print("  " + display(say("people.gained", id=one, what=what)))
    for one in stopped:
        print("  " + display(say("people.stopped", id=one, owner=args.id)))
    print("  " + say("people.next"))
    return 0


def _certificate(path: str) -> Digest:
    from sealwright.trust.certificate import load_certificate, tbs_digest
    from sealwright.trust.intake import signer_in

    return tbs_digest(load_certificate(signer_in(path), path))


def _approval_key(path: str) -> Mapping[str, Toml]:
    """A key as the register says it: of a file of `enrol-key`, else a certificate's or a public key for CMS."""
    from sealwright.artifact.source import read_file
    from sealwright.signing.keyentry import is_entry, read_entry

    data = read_file(path, MAX_KEY_BYTES)
    return read_entry(data, path)[1] if is_entry(data) else {"scheme": "cms", "key": str(_key(path))}


def _key(path: str) -> Digest:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from sealwright.artifact.digest import Digest
    from sealwright.trust.intake import public_key_in

    return Digest.of(public_key_in(path).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _now() -> datetime:
    from datetime import UTC, datetime

    return datetime.now(UTC).replace(microsecond=0)
