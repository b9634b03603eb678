"""Approve a request for signatures at a signing service, by your own key: what it signs is shown first.

Without an id it lists what waits. With --artifact it prepares your own copy and compares it with what is asked for.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json
from sealwright.cli.asking import add_service, agreed, client_of
from sealwright.cli.ownkey import add_own_key, by_own_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealwright.log.canonical import Field
    from sealwright.service.client import Client
    from sealwright.service.wire import StandingRequest
    from sealwright.signing.items import Item
    from sealwright.signing.request import SigningRequest

EXAMPLES = """examples:
  sealwright approve --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key
  sealwright approve 5b1f… --home eva --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key
  sealwright approve 5b1f… --fido2 --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key
  sealwright approve 5b1f… --home eva --artifact drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --client eva.pem --client-key eva.key
"""
SHOWN = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("id", nargs="?", metavar="ID", help="of a request (else those that wait are listed)")
    add_own_key(parser)
    parser.add_argument(
        "--artifact",
        metavar="FILE",
        action="append",
        default=[],
        help="your copy of what is signed: it must be the same",
    )
    parser.add_argument("--yes", action="store_true", help="approve without being asked")
    add_service(parser, required=True)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, or show one, ask, approve."""
    with client_of(args) as client:
        return _list(client, args) if args.id is None else _approve(client, args)


def _list(client: Client, args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    after: int | None = 0
    while after is not None:
        page = client.listed("waiting", after)
        for one in page.requests:
            if args.json:
                from sealwright.cli.jsonout import line

                print(line({"id": one.id, "requester": one.requester, "count": one.count, "approvals": one.approvals}))
            else:
                about = {"id": one.id, "who": display(one.requester), "count": one.count, "until": one.expires}
                print(say("approve.waits", approvals=display(", ".join(one.approvals)) or "-", **about))
        after = page.next
    return 0


def _approve(client: Client, args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.cli.approvechanges import as_object, changes_since, in_words
    from sealwright.signing.changes import Release
    from sealwright.texts.words import say

    sign = by_own_key(client, args)
    standing = client.standing(args.id)
    request, items, listed = checked_items(client, standing, args.id)
    _compare(args.artifact, items, listed)
    now = Release(request, items)
    changes = changes_since(client, now, args.id)
    built = _built(client, request, items)
    if not args.json:
        for said in (*shown(standing, request, listed), *built, *in_words(changes, now)):
            print(said)
        sys.stdout.flush()
    willing = sign is not None and (args.yes or agreed())
    after = client.approve(args.id, sign(request.encoded())) if sign is not None and willing else standing
    if args.json:
        from sealwright.cli.jsonout import line

        told: dict[str, object] = {
            "id": after.id,
            "state": after.state,
            "approvals": after.approvals,
            "changes": as_object(changes),
        }
        print(line(told))
    if not willing:
        print(say("approve.shown") if sign is None else say("approve.left"), file=sys.stderr)
        return 1
    if args.json:
        return 0
    print(say("approve.done", state=after.state, approvals=display(", ".join(after.approvals))))
    return 0


def _built(client: Client, request: SigningRequest, items: Sequence[Item]) -> list[str]:
    """Who built it from what; RequestRefused where the service shows another provenance than the request binds, or one of other files."""
    if request.provenance is None:
        return []
    from sealwright.cli.cipages import built_lines
    from sealwright.errors import RequestRefused
    from sealwright.signing.provenance import read_provenance

    told = client.provenance(request.id)
    provenance = read_provenance(told.statement, "provenance")
    if provenance.digest != request.provenance:
        raise RequestRefused(request.id, "the service shows another provenance than it binds", "Tell its operator.")
    return built_lines(provenance, items, told.verified)


def checked_items(
    client: Client, standing: StandingRequest, id_: str
) -> tuple[SigningRequest, list[Item], list[Mapping[str, Field]]]:
    """The request of an id with what it asks to sign, each line as bytes and read; RequestRefused where the service shows another one."""
    from sealwright.errors import RequestRefused
    from sealwright.log.canonical import read_canonical
    from sealwright.signing.items import root_of_items
    from sealwright.signing.request import read_request

    items = client.items(id_)
    request = read_request(standing.request.encode(), f"request {id_[:16]}")
    if request.id != id_:
        raise RequestRefused(id_, "the service shows another request under this id", "Tell its operator.")
    if len(items) != request.count or root_of_items([one.line for one in items]) != request.root:
        raise RequestRefused(id_, "what the service shows is not what the request binds", "Tell its operator.")
    return request, items, [read_canonical(one.line) for one in items]


def _compare(paths: list[str], items: list[Item], listed: Sequence[Mapping[str, Field]]) -> None:
    """RequestRefused where a copy of one's own is none of what is asked for."""
    from sealwright.artifact.digest import Digest, HashName
    from sealwright.artifact.source import open_artifact
    from sealwright.errors import RequestRefused

    asked = {str(one) for fields in listed for one in fields.get("artifact", ()) or ()}  # type: ignore[union-attr]
    of_content = [item.content for item in items if item.content is not None]
    for path in paths:
        with open_artifact(path) as source:
            digests = source.digests(set(HashName), None)
        sha256 = digests[HashName.SHA256].value.hex().encode()
        in_manifest = any(sha256 in content for content in of_content)
        if not in_manifest and not asked & {str(Digest(name, one.value)) for name, one in digests.items()}:
            raise RequestRefused(path, "it is not among what is to be signed", "Do not approve: ask who asked.")


def shown(standing: StandingRequest, request: SigningRequest, listed: Sequence[Mapping[str, Field]]) -> list[str]:
    """A request in words, one line each."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    claims = request.claims
    told = [
        say("approve.asks", who=display(request.requester), count=request.count, format=request.format),
        say("approve.key", key=request.key, policy=request.policy, until=standing.expires),
    ]
    claimed = {
        "product": claims.product,
        "version": claims.version,
        "generation": claims.generation,
        "hardware": ", ".join(claims.hardware) or None,
        "environment": claims.environment,
    }
    told += ["  " + f"{name}: {display(str(value))}" for name, value in claimed.items() if value is not None]
    if standing.reason:
        told.append(say("approve.reason", reason=display(standing.reason)))
    if request.emergency:
        told.append(say("approve.emergency"))
    for fields in listed[:SHOWN]:
        digests = fields.get("artifact", ())
        first = digests[0] if isinstance(digests, tuple) and digests else "?"
        about = {"file": display(str(fields.get("file", "?"))), "digest": first, "size": fields.get("size")}
        manifest = fields.get("format") == "manifest"
        told.append(say("approve.manifest", **about) if manifest else say("approve.item", **about))
    if len(listed) > SHOWN:
        told.append(say("approve.more", number=len(listed) - SHOWN))
    return told
