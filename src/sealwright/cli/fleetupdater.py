"""`fleet updater`: the devices that ask by hawkBit's device interface, and what they told, on the machine of that service."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.service.hawkbitactions import Action
    from sealwright.service.hawkbitregister import Known, Registered

NAMES = (
    "device", "updater", "path", "channel", "group", "plant", "known_by", "retired", "polled", "offered", "generation", "told", "told_at", "attributes",
)  # fmt: skip


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The actions of `updater`."""
    updater = add_action(
        commands, "updater", "keep the devices of `serve hawkbit`, and see what they told (unsigned)", examples
    )
    actions = updater.add_subparsers(dest="what", metavar="WHAT", required=True)
    add = add_action(actions, "add", "enter a device", examples, "updater ")
    add.add_argument("id", metavar="DEVICE", help="its id, as its client has it (id, target_name)")
    add.add_argument("--updater", choices=("swupdate", "rauc"), required=True, help="what installs on it")
    add.add_argument("--path", metavar="LINE/NAME", required=True, help="of the product in the repository")
    add.add_argument("--channel", metavar="CHANNEL", required=True, help="which channel's releases it is offered")
    add.add_argument("--group", metavar="GROUP", default="", help="to which group it belongs (else by `fleet device`)")
    add.add_argument("--plant", metavar="PLANT", default="", help="in which plant it stands (else by `fleet device`)")
    add.add_argument(
        "--generation", metavar="N", type=int, default=0, help="what it runs now: nothing at or below it is offered"
    )
    by = add.add_mutually_exclusive_group(required=True)
    by.add_argument("--new-token", metavar="FILE", help="make a token, and write it there")
    by.add_argument("--token", metavar="FILE", help="the token that the device has already")
    by.add_argument("--certificate", metavar="FILE", help="its TLS certificate, or the public key of it")
    add.set_defaults(run=run_add)
    listed = add_action(actions, "list", "list the devices with what they told", examples, "updater ")
    listed.set_defaults(run=run_list)
    again = add_action(actions, "again", "offer again what failed on a device", examples, "updater ")
    again.set_defaults(run=run_again)
    remove = add_action(actions, "remove", "take a device out, with what it told", examples, "updater ")
    remove.set_defaults(run=run_remove)
    for one in (again, remove):
        one.add_argument("id", metavar="DEVICE", help="which device")
    for one in (add, listed, again, remove):
        one.add_argument("--config", metavar="FILE", required=True, help="the service's configuration, hawkbit.toml")
    shown = listed.add_mutually_exclusive_group()
    add_json(shown)
    shown.add_argument("--csv", action="store_true", help="a table for spreadsheets, whose cells are never calculated")
    for one in (add, again, remove):
        add_json(one)


def run_add(args: argparse.Namespace) -> int:
    """One device."""
    from datetime import UTC, datetime

    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.artifact.output import write_atomic
    from sealwright.service.hawkbitconfig import read_hawkbit
    from sealwright.service.hawkbitregister import add, entry_of
    from sealwright.store.engine import open_store

    configuration = read_hawkbit(args.config)
    known, token = _known(args)
    entry = entry_of(args.id, args.updater, args.path, args.channel, (args.group, args.plant), known, args.generation)
    with closing(open_store(configuration.database)) as store:
        if token:
            write_atomic(args.new_token, token + b"\n", mode=0o600)
        add(store, entry, datetime.now(UTC))
    told = {"device": entry.id, "path": str(entry.path), "channel": entry.channel}
    _print(args, say("updater.added", **told), {**told})
    return 0


def run_list(args: argparse.Namespace) -> int:
    """All of them, by their id."""
    import sys

    from sealwright.artifact.cells import cell, row_of
    from sealwright.cli.jsonout import line
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.hawkbitactions import latest
    from sealwright.service.hawkbitconfig import read_hawkbit
    from sealwright.service.hawkbitregister import listed
    from sealwright.store.engine import open_store

    if args.csv:
        sys.stdout.write(row_of(NAMES).decode())
    elif not args.json:
        print(say("updater.unsigned"))
    with closing(open_store(read_hawkbit(args.config).database)) as store, store.read() as connection:
        actions = latest(connection)
        for one in listed(connection):
            action = actions.get(one.entry.id)
            told = dict(zip(NAMES, _facts(one, action), strict=True))
            if args.json:
                print(line({**told, "details": list(action.details) if action else []}))
            elif args.csv:
                sys.stdout.write(row_of([cell(text) for text in told.values()]).decode())
            else:
                print("  " + say("updater.line", **told, standing=_standing(one, action)))
    return 0


def run_again(args: argparse.Namespace) -> int:
    """Failures of one device forgotten."""
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.hawkbitactions import again
    from sealwright.service.hawkbitconfig import read_hawkbit
    from sealwright.store.engine import open_store

    with closing(open_store(read_hawkbit(args.config).database)) as store:
        number = again(store, args.id)
    _print(args, say("updater.again", device=args.id, number=number), {"device": args.id, "failed": number})
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """The end of one."""
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.hawkbitconfig import read_hawkbit
    from sealwright.service.hawkbitregister import remove
    from sealwright.store.engine import open_store

    with closing(open_store(read_hawkbit(args.config).database)) as store:
        remove(store, args.id)
    _print(args, say("updater.removed", device=args.id), {"device": args.id, "removed": True})
    return 0


def _known(args: argparse.Namespace) -> tuple[Known, bytes]:
    """By what the device is known, and a new token, b"" for none."""
    import secrets

    from sealwright.artifact.digest import Digest
    from sealwright.artifact.source import read_file
    from sealwright.cli.fleetdevice import key_of
    from sealwright.service.hawkbitregister import Known, token_known
    from sealwright.service.hawkbittables import Proof

    if args.certificate:
        return Known(Proof.CERTIFICATE, Digest.parse(key_of(args.certificate))), b""
    if args.token:
        return token_known(read_file(args.token, 1024).strip()), b""
    token = secrets.token_urlsafe(32).encode()
    return token_known(token), token


def _print(args: argparse.Namespace, text: str, told: dict[str, object]) -> None:
    from sealwright.cli.jsonout import line

    print(line(told) if args.json else text)


def _facts(one: Registered, action: Action | None) -> list[str]:
    from sealwright.log.canonical import time_text

    entry = one.entry
    polled = time_text(one.polled) if one.polled else ""
    device = [entry.id, entry.updater.value, str(entry.path), entry.channel, entry.group, entry.plant]
    stands = [entry.known.proof.value, "retired" if one.retired else "", polled]
    if action is None:
        return [*device, *stands, "", "", "", "", one.attributes]
    told_at = time_text(action.told) if action.told else ""
    release = action.release
    return [*device, *stands, release.version, str(release.generation), action.state.value, told_at, one.attributes]


def _standing(one: Registered, action: Action | None) -> str:
    from sealwright.texts.words import say

    if one.polled is None:
        return say("updater.never")
    if action is None:
        return say("updater.nothing", polled=f"{one.polled:%Y-%m-%d %H:%M} UTC")
    if action.told is None:
        return say("updater.offered", version=action.release.version, generation=action.release.generation)
    told = {"version": action.release.version, "generation": action.release.generation, "state": action.state.value}
    return say("updater.told", **told, time=f"{action.told:%Y-%m-%d %H:%M} UTC")
