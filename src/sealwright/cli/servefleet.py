"""`serve fleet`: where devices report, by one configuration file."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json


def configure_fleet(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Its options; everything else is in its file."""
    fleet = add_action(
        commands, "fleet", "take the reports of devices, and show who runs what (docs/fleet.md)", examples
    )
    fleet.add_argument("configuration", metavar="FILE", help="its configuration, fleet.toml")
    fleet.add_argument("--check", action="store_true", help="open its parts, say what is there, and end")
    fleet.add_argument("--access-log", metavar="FILE|none", help="append a JSON line for each request (else on stderr)")
    add_json(fleet)
    fleet.set_defaults(run=run_fleet)


def run_fleet(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 then."""
    import asyncio
    import sys

    from sealwright.cli.serve import access_log, need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.fleetconfig import read_fleet
    from sealwright.service.fleetqueries import status
    from sealwright.service.fleetservice import opened_fleet
    from sealwright.service.server import json_log

    log, access = json_log(), access_log(args)
    configuration = read_fleet(args.configuration)
    with opened_fleet(configuration, log) as fleet:
        desk = fleet.desk
        now = status(desk.store, desk.offers.current, {}, desk.clock(), desk.silent_hours)

        def announce(address: str) -> None:
            if args.json:
                from sealwright.cli.jsonout import line

                told = {"service": "fleet", "tenant": configuration.tenant, "address": address}
                print(line({**told, "devices": now.devices, "silent": now.silent}))
            else:
                print(say("serve.fleet", tenant=configuration.tenant, address=address))
                numbers = {"devices": f"{now.devices:,}", "silent": f"{now.silent:,}", "hours": now.silent_hours}
                print("  " + say("serve.fleet-devices", **numbers))
            sys.stdout.flush()

        if args.check:
            announce(say("serve.signing-checked"))
            return 0
        asyncio.run(fleet.serve(announce, access))
    return 0
