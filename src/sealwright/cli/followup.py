"""Look at an emergency afterwards, as an officer: what it signed is shown, then say by your own key that it was in order, or was not.

Without an id it lists the emergencies that nobody has settled. Two officers look at each: neither who asked nor who let it through.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json
from sealwright.cli.asking import add_service, client_of
from sealwright.cli.ownkey import add_own_key, by_own_key

if TYPE_CHECKING:
    from sealwright.service.client import Client

EXAMPLES = """examples:
  sealwright follow-up --service https://sign.acme.example:8443 --service-ca ca.pem --client olga.pem --client-key olga.key
  sealwright follow-up 5b1f… --confirm --home olga --service https://sign.acme.example:8443 --service-ca ca.pem --client olga.pem --client-key olga.key
  sealwright follow-up 5b1f… --dispute --home olga --service https://sign.acme.example:8443 --service-ca ca.pem --client olga.pem --client-key olga.key
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="of an emergency (else those that are owed are listed)")
    word = parser.add_mutually_exclusive_group()
    word.add_argument("--confirm", action="store_true", help="it was an emergency, and what was signed is right")
    word.add_argument("--dispute", action="store_true", help="it was none, or what was signed is not right")
    add_own_key(parser)
    add_service(parser, required=True)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, or show one and say what it was."""
    with client_of(args) as client:
        return _list(client, args) if args.id is None else _look(client, args)


def _list(client: Client, args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    for one in client.owed():
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"id": one.id, "requester": one.requester, "until": one.follow_up_until}))
        else:
            print(say("followup.owed", id=one.id, who=display(one.requester), until=one.follow_up_until))
    return 0


def _look(client: Client, args: argparse.Namespace) -> int:
    from sealwright.cli.approve import checked_items, shown
    from sealwright.errors import UsageError
    from sealwright.log.entryfields import Outcome
    from sealwright.signing.followup import follow_up_text
    from sealwright.texts.words import say

    standing = client.standing(args.id)
    request, _, listed = checked_items(client, standing, args.id)
    if not args.json:
        for told in shown(standing, request, listed):
            print(told)
        sys.stdout.flush()
    if not args.confirm and not args.dispute:
        print(say("followup.left", id=args.id), file=sys.stderr)
        return 1
    sign = by_own_key(client, args)
    if sign is None:
        raise UsageError("--home", "your own key says it", "Name the home with your approval key, or --fido2.")
    outcome = Outcome.CONFIRMED if args.confirm else Outcome.DISPUTED
    after = client.follow_up(args.id, outcome, sign(follow_up_text(args.id, outcome)))
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"id": after.id, "follow_up": after.follow_up}))
    else:
        print(say("followup.settled", outcome=after.follow_up) if after.follow_up else say("followup.one-more"))
    return 0
