"""`serve hawkbit`: hawkBit's device interface over a release repository, by one configuration file."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json


def configure_hawkbit(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Its options; everything else is in its file."""
    hawkbit = add_action(
        commands, "hawkbit", "offer releases to SWUpdate and RAUC clients of hawkBit (docs/hawkbit.md)", examples
    )
    hawkbit.add_argument("configuration", metavar="FILE", help="its configuration, hawkbit.toml")
    hawkbit.add_argument("--check", action="store_true", help="open its parts, say what is there, and end")
    hawkbit.add_argument(
        "--access-log", metavar="FILE|none", help="append a JSON line for each request (else on stderr)"
    )
    add_json(hawkbit)
    hawkbit.set_defaults(run=run_hawkbit)


def run_hawkbit(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 then."""
    import asyncio
    import sys

    from sealwright.cli.serve import access_log, need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.hawkbitconfig import read_hawkbit
    from sealwright.service.hawkbitservice import opened_hawkbit
    from sealwright.service.server import json_log

    log, access = json_log(), access_log(args)
    configuration = read_hawkbit(args.configuration)
    with opened_hawkbit(configuration, log) as hawkbit:
        view = hawkbit.desk.offers.check()
        releases = sum(len(one.bundles) for one in view.products.values())

        def announce(address: str) -> None:
            told = {"products": len(view.products), "releases": releases}
            if args.json:
                from sealwright.cli.jsonout import line

                print(line({"service": "hawkbit", "tenant": configuration.tenant, "address": address, **told}))
            else:
                print(say("serve.hawkbit", tenant=configuration.tenant, address=address))
                print("  " + say("serve.hawkbit-offers", **told, until=f"{view.ends:%Y-%m-%d %H:%M} UTC"))
            sys.stdout.flush()

        if args.check:
            announce(say("serve.signing-checked"))
            return 0
        asyncio.run(hawkbit.serve(announce, access))
    return 0
