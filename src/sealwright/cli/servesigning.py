"""`serve signing`: the signing service, by one configuration file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.service.config import Configuration
    from sealwright.service.policiesinforce import Judged


def configure_signing(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Its options; everything else is in its file."""
    signing = add_action(commands, "signing", "run a signing service (docs/service.md)", examples)
    signing.add_argument("configuration", metavar="FILE", help="its configuration, service.toml")
    signing.add_argument(
        "--check",
        action="store_true",
        help="say everything that is wrong with it; else open it all, keys too, say what is there, and end",
    )
    signing.add_argument(
        "--access-log", metavar="FILE|none", help="append a JSON line for each request (else on stderr)"
    )
    add_json(signing)
    signing.set_defaults(run=run_signing)


def _how(judged: Judged) -> str:
    """Why the policies count, or will from the next start on."""
    from sealwright.signing.policyrecord import How
    from sealwright.texts.words import say

    if judged.ground is None:
        return say("serve.policies-known")
    match judged.ground.how:
        case How.FIRST:
            return say("serve.policies-first")
        case How.APPROVED:
            return say("serve.policies-approved", who=", ".join(judged.ground.persons))
        case _:
            return say("serve.policies-not-weaker")


def run_signing(args: argparse.Namespace) -> int:
    """Serve until told to stop; 0 then."""
    import asyncio
    import sys

    from sealwright.cli.serve import access_log, need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.config import read_configuration
    from sealwright.service.keyfare import Opening
    from sealwright.service.server import json_log
    from sealwright.service.signing import opened

    log, access = json_log(), access_log(args)
    configuration = read_configuration(args.configuration)
    if args.check and (code := _say_wrong_parts(args, configuration)):
        return code
    opening = Opening.CHECK if args.check else Opening.SERVE
    with opened(configuration, log, opening=opening) as service:
        requests, judged = service.requests, service.judged

        def announce(address: str) -> None:
            if args.json:
                from sealwright.cli.jsonout import line

                keys = [
                    {"name": one.name, "tenant": one.tenant, "key": str(one.desk.key)} for one in requests.keys.values()
                ]
                policies = {"policy": str(judged.policies.digest), "edition": judged.edition}
                told = {"service": "signing", "id": service.configuration.id, "address": address, "keys": keys}
                print(
                    line(
                        {
                            **told,
                            "policies": policies,
                            "log": str(requests.writer.key),
                            "size": requests.writer.head.size,
                        }
                    ),
                    flush=True,
                )
                return
            print(say("serve.signing", id=service.configuration.id, address=address))
            for one in requests.keys.values():
                enrolled = one.desk.enrolled
                about = {"name": one.name, "tenant": one.tenant, "provenance": enrolled.provenance}
                print("  " + say("serve.signing-key", algorithm=enrolled.algorithm.name, **about))
            print("  " + say("serve.signing-log", key=requests.writer.key, size=f"{requests.writer.head.size:,}"))
            digest = judged.policies.digest
            print("  " + say("serve.signing-policies", edition=judged.edition, digest=digest, how=_how(judged)))
            sys.stdout.flush()

        if args.check:
            announce(say("serve.signing-checked"))
            return 0
        asyncio.run(service.serve(announce, access))
    return 0


def _say_wrong_parts(args: argparse.Namespace, configuration: Configuration) -> int:
    """Every part that is wrong with what to do about it; the gravest exit code, 0 where none is."""
    from sealwright.cli.main import failed
    from sealwright.service.check import wrong_parts
    from sealwright.signing.stamps import utc_now

    return max((failed(cause, args.json) for cause in wrong_parts(configuration, utc_now)), default=0)
