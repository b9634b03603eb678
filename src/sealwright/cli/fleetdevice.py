"""`fleet device`: the register of devices, on the machine of the fleet's service."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.service.fleetregister import Imported, Registered


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The actions of `device`."""
    device = add_action(commands, "device", "keep the register of devices", examples)
    actions = device.add_subparsers(dest="what", metavar="WHAT", required=True)
    add = add_action(actions, "add", "enter a device", examples, "device ")
    add.add_argument("id", metavar="DEVICE", help="its id, as its agent.toml has it")
    add.add_argument(
        "key", metavar="KEY", help="its report key: sha256:…, or a file with the certificate or public key"
    )
    add.add_argument("group", metavar="GROUP", help="to which group it belongs")
    add.add_argument("plant", metavar="PLANT", help="in which plant it stands")
    add.set_defaults(run=run_add)
    taken = add_action(actions, "import", "enter a list of devices, all or none of it", examples, "device ")
    taken.add_argument("file", metavar="FILE", help="`# sealwright devices 1`, then lines `DEVICE KEY GROUP PLANT`")
    taken.set_defaults(run=run_import)
    listed = add_action(actions, "list", "list the devices", examples, "device ")
    listed.set_defaults(run=run_list)
    rekey = add_action(actions, "rekey", "give a device another key", examples, "device ")
    rekey.add_argument("id", metavar="DEVICE", help="which device")
    rekey.add_argument("key", metavar="KEY", help="its new report key, in the same way")
    rekey.set_defaults(run=run_rekey)
    retire = add_action(actions, "retire", "end a device: what it reports is refused from now on", examples, "device ")
    retire.add_argument("id", metavar="DEVICE", help="which device")
    retire.set_defaults(run=run_retire)
    for one in (add, taken, listed, rekey, retire):
        one.add_argument("--config", metavar="FILE", required=True, help="the service's configuration, fleet.toml")
    shown = listed.add_mutually_exclusive_group()
    add_json(shown)
    shown.add_argument("--csv", action="store_true", help="a table for spreadsheets, whose cells are never calculated")
    for one in (add, taken, rekey, retire):
        add_json(one)


def run_add(args: argparse.Namespace) -> int:
    """One device."""
    from datetime import UTC, datetime

    from sealwright.cli.serve import need_server

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetregister import device_of, import_devices
    from sealwright.store.engine import open_store

    device = device_of(args.id, key_of(args.key), args.group, args.plant)
    with closing(open_store(read_fleet(args.config).database)) as store:
        return _print_imported(args, import_devices(store, [device], datetime.now(UTC)))


def run_import(args: argparse.Namespace) -> int:
    """A list of them."""
    from datetime import UTC, datetime

    from sealwright.cli.serve import need_server

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetregister import import_devices, read_devices
    from sealwright.store.engine import open_store

    devices = read_devices(args.file)
    with closing(open_store(read_fleet(args.config).database)) as store:
        return _print_imported(args, import_devices(store, devices, datetime.now(UTC)))


def run_list(args: argparse.Namespace) -> int:
    """All of them, by their id."""
    import sys

    from sealwright.artifact.cells import cell, row_of
    from sealwright.cli.jsonout import line
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetregister import listed
    from sealwright.store.engine import open_store

    names = ("device", "key", "group", "plant", "added", "retired", "received")
    if args.csv:
        sys.stdout.write(row_of(names).decode())
    with closing(open_store(read_fleet(args.config).database)) as store:
        for one in listed(store):
            told = dict(zip(names, _facts(one), strict=True))
            if args.json:
                print(line({**told}))
            elif args.csv:
                sys.stdout.write(row_of([cell(text) for text in told.values()]).decode())
            else:
                print(say("fleet.device", **told, standing=_standing(one)))
    return 0


def run_rekey(args: argparse.Namespace) -> int:
    """Another key for a device that is there."""
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetregister import device_of, rekey
    from sealwright.store.engine import open_store

    device = device_of(args.id, key_of(args.key), "any", "any")
    with closing(open_store(read_fleet(args.config).database)) as store:
        rekey(store, device.id, device.key)
    _print(args, say("fleet.rekeyed", device=device.id, key=device.key), {"device": device.id, "key": str(device.key)})
    return 0


def run_retire(args: argparse.Namespace) -> int:
    """The end of one."""
    from datetime import UTC, datetime

    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetregister import retire
    from sealwright.store.engine import open_store

    with closing(open_store(read_fleet(args.config).database)) as store:
        retire(store, args.id, datetime.now(UTC))
    _print(args, say("fleet.retired", device=args.id), {"device": args.id, "retired": True})
    return 0


def key_of(text: str) -> str:
    """The digest that was typed, or that of the key in a file; MalformedTrust or Unreadable for a file that has none."""
    if text.startswith("sha256:"):
        return text
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from sealwright.artifact.digest import Digest
    from sealwright.trust.intake import public_key_in

    return str(Digest.of(public_key_in(text).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)))


def _print_imported(args: argparse.Namespace, done: Imported) -> int:
    from sealwright.texts.words import say

    told = {"added": done.added, "moved": done.moved, "same": done.same}
    _print(args, say("fleet.imported", **{name: f"{number:,}" for name, number in told.items()}), {**told})
    return 0


def _print(args: argparse.Namespace, text: str, told: dict[str, object]) -> None:
    from sealwright.cli.jsonout import line

    print(line(told) if args.json else text)


def _facts(one: Registered) -> list[str]:
    from sealwright.log.canonical import time_text

    device = one.device
    times = ("" if time is None else time_text(time) for time in (one.added, one.retired, one.received))
    return [device.id, str(device.key), device.group, device.plant, *times]


def _standing(one: Registered) -> str:
    from sealwright.texts.words import say

    if one.retired is not None:
        return say("fleet.device-retired", time=f"{one.retired:%Y-%m-%d}")
    if one.received is None:
        return say("fleet.device-never")
    return say("fleet.device-reported", time=f"{one.received:%Y-%m-%d %H:%M} UTC")
