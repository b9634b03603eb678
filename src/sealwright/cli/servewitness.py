"""`serve witness`: a witness of others' logs, by one configuration file."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json


def configure_witness(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Its options; everything else is in its file."""
    witness = add_action(commands, "witness", "cosign the checkpoints of logs that only grow (docs/log.md)", examples)
    witness.add_argument("configuration", metavar="FILE", help="its configuration, witness.toml")
    witness.add_argument("--check", action="store_true", help="open its key, say what is there, and end")
    witness.add_argument(
        "--access-log", metavar="FILE|none", help="append a JSON line for each request (else on stderr)"
    )
    add_json(witness)
    witness.set_defaults(run=run_witness)


def run_witness(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 then."""
    import asyncio
    import sys

    from sealwright.cli.serve import access_log, need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.server import application, json_log, serve_application
    from sealwright.service.tls import TlsDoor
    from sealwright.service.witnessing import opened_witness, read_witness, routes
    from sealwright.signing.stamps import utc_now

    log, access = json_log(), access_log(args)
    configuration = read_witness(args.configuration)
    with opened_witness(configuration) as witness:

        def announce(address: str) -> None:
            logs = sorted(configuration.logs)
            if args.json:
                from sealwright.cli.jsonout import line

                print(line({"service": "witness", "address": address, "key": str(witness.key), "logs": logs}))
            else:
                print(say("serve.witness", name=configuration.name, address=address))
                print("  " + say("serve.witness-key", key=witness.key))
                for one in logs:
                    print("  " + say("serve.witness-log", log=one))
            sys.stdout.flush()

        door = None if configuration.tls is None else TlsDoor(configuration.tls, utc_now, log)
        if args.check:
            announce(say("serve.signing-checked"))
            return 0
        app = application(routes(witness, utc_now), access, log)
        around = () if door is None else (door,)
        asyncio.run(serve_application(app, configuration.listen, announce=announce, around=around, tls=door))
    return 0
