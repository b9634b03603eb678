"""Confirm what a request at a signing service asks to sign: prepare your own copies, and where all of it is the same, sign that.

For a second builder, person or machine: somebody who has the files from elsewhere than whoever asked. It is no approval. What is not the
same is said, by file and digest, and then nothing is signed.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_layout, layouts_of
from sealwright.cli.asking import add_service, need_client, need_options
from sealwright.cli.ownkey import add_own_key, by_own_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealwright.log.canonical import Field
    from sealwright.service.client import Client
    from sealwright.service.wire import StandingRequest
    from sealwright.signing.items import Item
    from sealwright.signing.preparing import Difference

EXAMPLES = """examples:
  sealwright confirm 5b1f… drive.bin --home builder --service https://sign.acme.example:8443 --service-ca ca.pem --client builder.pem --client-key builder.key
  sealwright confirm 5b1f… out/*.bin --fido2 --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key
  sealwright confirm 5b1f… drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key    only compares
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("id", metavar="ID", help="of a request")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="your own copy of each file or folder that it asks to sign"
    )
    add_own_key(parser)
    add_layout(parser)
    add_service(parser, required=True)
    parser.add_argument(
        "--audience", metavar="TEXT", help="a CI job's: what a token of GitHub is asked for (else the URL)"
    )
    parser.add_argument(
        "--token-env", metavar="NAME", action="append", default=[], help="variable with a CI job's token (repeat)"
    )
    parser.add_argument("--token-file", metavar="FILE", action="append", default=[], help="file with a token (repeat)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, and sign where all of it is the same."""
    from sealwright.cli.approve import checked_items
    from sealwright.signing.preparers import prepare_text

    with _client(args) as client:
        sign = by_own_key(client, args)
        standing = client.standing(args.id)
        request, items, listed = checked_items(client, standing, args.id)
        pairs = paired(args.paths, [str(fields.get("file", "")) for fields in listed])
        found = {path: _compared(path, items[number], args) for path, number in pairs.items()}
        wrong = {path: differs for path, differs in found.items() if differs}
        after = standing
        if sign is not None and not wrong:
            after = client.prepare(args.id, sign(prepare_text(request)))
    _tell(args, listed, pairs, wrong, None if sign is None or wrong else after)
    return 1 if wrong or sign is None else 0


def paired(paths: Sequence[str], names: Sequence[str]) -> Mapping[str, int]:
    """Of each path the number of its item: by the name of the file, and where that tells nothing in their order. UsageError where it cannot be."""
    from sealwright.artifact.names import display
    from sealwright.errors import UsageError

    if len(paths) != len(names) or len(set(paths)) != len(paths):
        missing = sorted(set(names) - {_name(path) for path in paths})
        what = f"{len(set(paths))} copies for {len(names)} artifacts"
        wanted = (
            f"Name a copy of each; there is none of: {', '.join(map(display, missing[:20]))}."
            if missing
            else "Name each once."
        )
        raise UsageError("PATH", what, wanted)
    left = list(range(len(names)))
    found: dict[str, int] = {}
    for path in paths:
        if (number := next((one for one in left if names[one] == _name(path)), None)) is not None:
            found[path] = number
            left.remove(number)
    for path in paths:
        if path not in found:
            found[path] = left.pop(0)
    return {path: found[path] for path in paths}


def _client(args: argparse.Namespace) -> Client:
    """By certificate where one is named, else by a job's tokens."""
    need_client()
    from sealwright.cli.asking import client_of
    from sealwright.service.citokens import tokens_of
    from sealwright.service.client import Address, Client

    if args.client is not None or args.client_key is not None or not (args.token_env or args.token_file):
        return client_of(args)
    need_options(args, "service_ca")
    tokens = tokens_of(os.environ, args.token_env, args.token_file, args.audience or args.service)
    return Client(Address(args.service, "", "", args.service_ca), tokens)


def _compared(path: str, item: Item, args: argparse.Namespace) -> list[Difference]:
    """What is not the same; what cannot be prepared at all is not."""
    from sealwright.errors import SealwrightError, UsageError
    from sealwright.signing.preparing import NOTHING, Difference, differences, prepared_again

    try:
        return differences(item, prepared_again(path, item, layouts_of(args)))
    except UsageError:
        raise
    except SealwrightError as cause:
        return [Difference(cause.what, "what can be signed", NOTHING)]


def _name(path: str) -> str:
    from sealwright.artifact.names import display

    return display(os.path.basename(os.path.abspath(path)))


def _tell(
    args: argparse.Namespace,
    listed: Sequence[Mapping[str, Field]],
    pairs: Mapping[str, int],
    wrong: Mapping[str, Sequence[Difference]],
    after: StandingRequest | None,
) -> None:
    """after: how it stands once it is confirmed, None where it is not."""
    import sys

    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        from sealwright.cli.jsonout import line

        files = [
            {"path": path, "item": number, "differs": [one._asdict() for one in wrong.get(path, ())]}
            for path, number in pairs.items()
        ]
        told = {"id": args.id, "confirmed": after is not None, "state": None if after is None else after.state}
        print(line({**told, "prepares": [] if after is None else after.prepares, "files": files}))
        return
    for path, number in pairs.items():
        name = display(str(listed[number].get("file", "?")))
        differs = wrong.get(path, ())
        shown = {"path": display(path), "file": name}
        print(say("confirm.differs", **shown) if differs else say("confirm.same", **shown))
        for one in differs:
            about = {"what": display(one.what), "wanted": display(one.wanted), "found": display(one.found)}
            print(say("confirm.difference", **about))
    if after is not None:
        print(say("confirm.done", state=after.state, who=display(", ".join(after.prepares))))
    else:
        print(say("confirm.not") if wrong else say("confirm.compared"), file=sys.stderr)
