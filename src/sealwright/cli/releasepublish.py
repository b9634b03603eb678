"""`release promote`, `withdraw`, `publish` and `refresh`: who is offered what, and what clients get."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file
from sealwright.cli.releasemake import megabytes, opened
from sealwright.cli.releaseroles import add_role_service, roles_in_service, signers_of

if TYPE_CHECKING:
    from sealwright.release.channels import Named
    from sealwright.release.layout import ProductPath
    from sealwright.release.publication import Publication
    from sealwright.release.readiness import Planned
    from sealwright.release.rolekeys import PublishingKeys
    from sealwright.release.staging import Staging


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The four actions."""
    promote = add_action(commands, "promote", "offer a release to a channel's devices", examples)
    withdraw = add_action(commands, "withdraw", "offer a release to nobody any more, and say why", examples)
    for parser in (promote, withdraw):
        parser.add_argument("desk", metavar="DIR", help="the staging folder")
        parser.add_argument("product", metavar="LINE/NAME", help="the product's place, such as drives/vx-200")
        parser.add_argument("version", metavar="VERSION", help="of a release that the repository has")
    promote.add_argument("--channel", metavar="NAME", required=True, help="such as test, pilot or production")
    promote.add_argument("--percent", metavar="N", type=int, default=100, help="of its devices (else 100)")
    promote.add_argument(
        "--group", metavar="NAME", action="append", default=[], help="its devices of this group (repeat; else all)"
    )
    withdraw.add_argument(
        "--advisory", metavar="ID", required=True, help="the notice that says why, such as CVE-2026-1234"
    )
    publish = add_action(commands, "publish", "sign and publish what is staged, whole or not at all", examples)
    publish.add_argument("--dry-run", action="store_true", help="say what would be published")
    publish.add_argument(
        "--replace-foreign", action="store_true",
        help="though the place has another timestamp than was published from here: after a theft of the online keys, or a loss there",
    )  # fmt: skip
    refresh = add_action(commands, "refresh", "a new timestamp for what is published; what is staged waits", examples)
    for parser in (publish, refresh):
        parser.add_argument("desk", metavar="DIR", help="the staging folder")
        add_home(parser)
        add_pin_file(parser)
        add_role_service(parser)
    actions = ((promote, run_promote), (withdraw, run_withdraw), (publish, run_publish), (refresh, run_refresh))
    for parser, run in actions:
        add_json(parser)
        parser.set_defaults(run=run)


def run_promote(args: argparse.Namespace) -> int:
    """Stage the next channels."""
    from datetime import UTC, datetime

    from sealwright.release.layout import product_path
    from sealwright.release.promoting import Reach, promote
    from sealwright.texts.words import say

    staging, product = opened(args.desk), product_path(args.product)
    reach = Reach(args.channel, args.percent, tuple(args.group))
    offer = promote(staging, product, args.version, reach, datetime.now(UTC))
    if args.json:
        _print({**_named(product, offer.release), "outcome": "staged", "channel": offer.channel,
                "percent": offer.percent, "groups": list(offer.groups)})  # fmt: skip
        return 0
    who = ", ".join(offer.groups) or say("release.all-groups")
    print(say("release.promoted", version=args.version, channel=offer.channel, percent=offer.percent, groups=who))
    print("  " + say("release.next-sign", desk=args.desk))
    return 0


def run_withdraw(args: argparse.Namespace) -> int:
    """Stage the next channels, and print what goes into the deny list of the trust file."""
    from datetime import UTC, datetime

    from sealwright.release.catalogue import release_of
    from sealwright.release.intake import put_channels
    from sealwright.release.layout import product_path
    from sealwright.release.offers import withdrawn
    from sealwright.release.promoting import known_channels
    from sealwright.texts.words import say

    staging, product = opened(args.desk), product_path(args.product)
    listed = release_of(staging, product, args.version)
    channels = withdrawn(known_channels(staging, product), listed.named, args.advisory)
    put_channels(staging, product, channels, datetime.now(UTC))
    manifest = str(listed.named.manifest)
    if args.json:
        _print({**_named(product, listed.named), "outcome": "staged", "advisory": args.advisory})
        return 0
    print(say("release.withdrawn", version=args.version, advisory=args.advisory))
    print(
        "  "
        + say(
            "release.deny",
            command=f'sealwright trust add deny.toml deny artifact {manifest} --reason "{args.advisory}"',
        )
    )
    print("  " + say("release.next-sign", desk=args.desk))
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """Sign what the home may, then publish; or only say what."""
    from datetime import UTC, datetime

    from sealwright.release.publication import Foreign, publish
    from sealwright.release.readiness import plan
    from sealwright.release.thresholds import sign_staged

    staging, now = opened(args.desk), datetime.now(UTC)
    if args.dry_run:
        _say_planned(args, plan(staging, now))
        return 0
    with _publishing(args) as signers:
        sign_staged(staging, signers)
        foreign = Foreign.REPLACE if args.replace_foreign else Foreign.REFUSE
        _say_published(args, staging, publish(staging, signers, now, foreign))
    return 0


def run_refresh(args: argparse.Namespace) -> int:
    """Publish nothing new."""
    from datetime import UTC, datetime

    from sealwright.release.publication import refresh

    staging = opened(args.desk)
    with _publishing(args) as signers:
        _say_published(args, staging, refresh(staging, signers, datetime.now(UTC)))
    return 0


@contextmanager
def _publishing(args: argparse.Namespace) -> Iterator[PublishingKeys]:
    """The keys of the home; or of the service, and the home records what goes out."""
    if args.service is None:
        with signers_of(args) as signers:
            yield signers
        return
    from sealwright.service.serviceroles import PublishingRoles
    from sealwright.signing.home import open_home

    home = open_home(args.home)
    with roles_in_service(args) as roles:
        yield PublishingRoles(roles, home)


def _named(product: ProductPath, release: Named) -> dict[str, object]:
    return {
        "product": str(product),
        "version": release.version,
        "generation": release.generation,
        "manifest": str(release.manifest),
    }


def _print(value: dict[str, object]) -> None:
    from sealwright.cli.jsonout import line

    print(line(value))


def _say_planned(args: argparse.Namespace, planned: Planned) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        _print({"outcome": "could-be-published", "roles": list(planned.staged), "size": planned.total_bytes,
                "targets": [one.path for one in planned.targets]})  # fmt: skip
        return
    size = megabytes(planned.total_bytes)
    print(say("release.planned", roles=", ".join(planned.staged) or "-", files=f"{len(planned.targets):,}", size=size))
    for one in planned.targets:
        print("  " + display(one.path))


def _say_published(args: argparse.Namespace, staging: Staging, done: Publication) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import moment
    from sealwright.texts.words import say

    if args.json:
        _print({"outcome": "published", "place": done.place, "roles": list(done.roles), "targets": len(done.targets),
                "size": done.total_bytes, "snapshot": done.snapshot, "timestamp": done.timestamp,
                "expires": moment(done.expires), "root": str(staging.settings.root)})  # fmt: skip
        return
    size = {"files": f"{len(done.targets):,}", "size": megabytes(done.total_bytes)}
    print(display(say("release.published", place=done.place, **size)))
    print("  " + say("release.until", version=done.timestamp, time=f"{done.expires:%Y-%m-%d %H:%M} UTC"))
    if done.timestamp == 1:
        print("  " + say("release.root", root=staging.settings.root))
