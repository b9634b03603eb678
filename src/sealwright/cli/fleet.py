"""Keep the register of devices; see who runs what, who is behind, who is silent, and whom a revocation would touch.

The registers are kept on the services' own machines, by their configuration. Everything else is asked of the service (docs/fleet.md).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli import fleetdevice, fleetupdater
from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.asking import add_service

if TYPE_CHECKING:
    from sealwright.service.fleetwire import (
        Behind,
        DeviceLine,
        DevicePage,
        Runs,
        Status,
        Trouble,
        UsedOnes,
        WithdrawnRuns,
    )

EXAMPLES = """examples:
  sealwright fleet device add gw-17 sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 line-1 nordhof --config fleet.toml
  sealwright fleet device import devices.txt --config fleet.toml             lines `DEVICE KEY GROUP PLANT`
  sealwright fleet device list --config fleet.toml --csv
  sealwright fleet device rekey gw-17 sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --config fleet.toml
  sealwright fleet device retire gw-17 --config fleet.toml
  sealwright fleet updater add plc-4 --updater swupdate --path drives/vx-200 --channel production --group line-1 --plant nordhof --new-token plc-4.token --config hawkbit.toml
  sealwright fleet updater list --config hawkbit.toml
  sealwright fleet updater again plc-4 --config hawkbit.toml
  sealwright fleet updater remove plc-4 --config hawkbit.toml
  sealwright fleet status --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright fleet behind --product "VX-200 drive" --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright fleet touched --product "VX-200 drive" --below 8 --csv --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright fleet touched --signed-by release.pem --releases repository/targets --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright fleet silent --hours 72 --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright fleet used --courier sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 --service https://fleet.acme.example:8445 --service-ca ca.pem --client me.pem --client-key me.key
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    fleetdevice.configure(commands, EXAMPLES)
    fleetupdater.configure(commands, EXAMPLES)
    status = add_action(commands, "status", "the fleet in numbers", EXAMPLES)
    status.add_argument("--hours", metavar="N", type=int, help="silent after how long (else as the service is set)")
    add_json(status)
    add_service(status, required=True)
    status.set_defaults(run=run_status)
    behind = add_action(commands, "behind", "list the devices that run less than their channel offers them", EXAMPLES)
    behind.add_argument("--product", metavar="TEXT", default="", help="of this product alone")
    behind.add_argument("--group", metavar="GROUP", default="", help="of this group alone")
    _listing(behind, "behind", ("product", "group"))
    touched = add_action(
        commands, "touched", "list the devices that run something, before it is revoked or denied", EXAMPLES
    )
    touched.add_argument(
        "--manifest", metavar="DIGEST", action="append", default=[], help="a release by its manifest (repeat)"
    )
    touched.add_argument(
        "--signed-by", metavar="KEY", help="the releases of --releases that this key signed: sha256:…, or a file"
    )
    touched.add_argument("--releases", metavar="DIR", help="where releases lie with their manifests and signatures")
    touched.add_argument("--product", metavar="TEXT", default="", help="the releases of a product")
    touched.add_argument("--below", metavar="N", type=int, help="those below this generation alone")
    _listing(touched, "touched", ("manifest", "product", "below"))
    silent = add_action(commands, "silent", "list the devices that have not reported", EXAMPLES)
    silent.add_argument("--hours", metavar="N", type=int, help="for how long (else as the service is set)")
    _listing(silent, "silent", ("hours",))
    used = add_action(commands, "used", "list the devices that used a permit, or took a courier over", EXAMPLES)
    which = used.add_mutually_exclusive_group(required=True)
    which.add_argument("--permit", metavar="DIGEST", help="of the permit")
    which.add_argument("--courier", metavar="DIGEST", help="of the courier's manifest")
    _listing(used, "used", ("permit", "courier"))


def run_status(args: argparse.Namespace) -> int:
    """Ask, and print."""
    from sealwright.cli.asking import client_of
    from sealwright.service.fleetwire import Status

    query = "" if args.hours is None else f"?hours={args.hours}"
    with client_of(args) as client:
        found = client.look(f"/v1/fleet/status{query}", Status)
    if args.json:
        import msgspec

        print(msgspec.json.encode(found).decode())
    else:
        _print_status(found)
    return 0


def run_listing(args: argparse.Namespace) -> int:
    """Ask page by page, and print."""
    from urllib.parse import urlencode

    from sealwright.cli.asking import client_of
    from sealwright.service.fleetwire import DevicePage

    if args.path == "touched":
        args.manifest += _signed_manifests(args)
    asked = [(name, one) for name in args.asked for one in _values(getattr(args, name))]
    after: str | None = ""
    first = True
    with client_of(args) as client:
        while after is not None:
            more = [("after", after)] if after else []
            page = client.look(f"/v1/fleet/{args.path}?{urlencode([*asked, *more])}", DevicePage)
            _print_page(args, page, first=first)
            after, first = page.next, False
    return 0


def _listing(parser: argparse.ArgumentParser, path: str, asked: tuple[str, ...]) -> None:
    shown = parser.add_mutually_exclusive_group()
    add_json(shown)
    shown.add_argument("--csv", action="store_true", help="a table for spreadsheets, whose cells are never calculated")
    add_service(parser, required=True)
    parser.set_defaults(run=run_listing, path=path, asked=asked)


def _signed_manifests(args: argparse.Namespace) -> list[str]:
    """Of --signed-by; UsageError where the folder has none, or more than one question may name."""
    from sealwright.artifact.digest import Digest
    from sealwright.errors import UsageError
    from sealwright.service.fleetqueries import MAX_MANIFESTS

    if (args.signed_by is None) is not (args.releases is None):
        raise UsageError("--signed-by", "it goes with --releases", "Name the folder with the releases, too.")
    if args.signed_by is None:
        return []
    from sealwright.release.signedby import manifests_signed_by

    try:
        key = Digest.parse(fleetdevice.key_of(args.signed_by))
    except ValueError as cause:
        raise UsageError("--signed-by", "it is no digest of a key", "Write sha256:…, or name a file.") from cause
    found = manifests_signed_by(key, args.releases)
    if not 1 <= len(found) <= MAX_MANIFESTS:
        said = f"{key} signed {len(found)} manifests there, and 1 to {MAX_MANIFESTS} can be asked about"
        raise UsageError("--signed-by", said, "Name the folder of fewer or other releases.")
    return [str(one) for one in found]


def _values(value: str | int | list[str] | None) -> list[str]:
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [str(value)]


def _print_page(args: argparse.Namespace, page: DevicePage, *, first: bool) -> None:
    import sys

    from sealwright.artifact.cells import cell, row_of
    from sealwright.texts.words import say

    names = ("device", "group", "plant", "received", "product", "version", "generation", "wanted")
    if args.json:
        from sealwright.cli.jsonout import line

        for one in page.devices:
            print(line({name: getattr(one, name) for name in names}))
    elif args.csv:
        rows = [row_of(names)] if first else []
        rows += [row_of([cell(str(getattr(one, name))) for name in names]) for one in page.devices]
        sys.stdout.write(b"".join(rows).decode())
    else:
        if first:
            print(say("fleet.listed", total=f"{page.total:,}"))
        for one in page.devices:
            print("  " + _line(one))


def _line(one: DeviceLine) -> str:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    parts = {
        "device": one.device,
        "group": one.group,
        "plant": one.plant,
        "received": one.received or say("fleet.never"),
    }
    if not one.product:
        return say("fleet.line", **parts)
    runs = {"product": display(one.product), "version": display(one.version), "generation": one.generation}
    if not one.wanted:
        return say("fleet.line-runs", **parts, **runs)
    return say("fleet.line-behind", **parts, **runs, wanted=one.wanted)


def _print_status(found: Status) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    numbers = {name: f"{getattr(found, name):,}" for name in ("devices", "silent", "never", "retired")}
    print(say("fleet.total", **numbers, hours=found.silent_hours))
    sections = (
        (say("fleet.runs"), [say("fleet.run", **_shown(one)) for one in found.runs]),
        (say("fleet.behind"), [say("fleet.behind-line", **_shown(one)) for one in found.behind]),
        (say("fleet.withdrawn"), [say("fleet.withdrawn-line", **_shown(one)) for one in found.withdrawn]),
        (say("fleet.troubles"), [say("fleet.trouble", **_shown(one)) for one in found.troubles]),
        (say("fleet.used"), [say("fleet.used-line", **_shown(one)) for one in found.used]),
    )
    for title, lines in sections:
        if lines:
            print(title)
            print("\n".join(f"  {one}" for one in lines))
    if found.answers:
        told = ", ".join(f"{number:,} {name}" for name, number in found.answers.items())
        print(say("fleet.answers", answers=display(told)))


def _shown(one: Runs | Behind | WithdrawnRuns | Trouble | UsedOnes) -> dict[str, str]:
    """The fields of a line: texts safe for a terminal, the number of devices to the right."""
    from sealwright.artifact.names import display

    parts = {name: display(str(getattr(one, name))) for name in one.__struct_fields__}
    return {**parts, "devices": f"{one.devices:>9,}"}
