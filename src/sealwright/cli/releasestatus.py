"""`release status`: what each channel offers and how that stands on the devices, what is staged, and what ends when."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli import releasereports
from sealwright.cli.arguments import add_action, add_json, period
from sealwright.cli.releasemake import megabytes, opened
from sealwright.cli.releaseroles import standing_line, standing_text

if TYPE_CHECKING:
    from sealwright.cli.releasereports import Told
    from sealwright.release.overview import Overview, ProductState, RoleState


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The one action."""
    status = add_action(commands, "status", "show what is offered and staged, and what ends when", examples)
    status.add_argument("desk", metavar="DIR", help="the staging folder")
    status.add_argument(
        "--within",
        metavar="PERIOD",
        type=period,
        default=timedelta(0),
        help="what ends within it counts (else what has ended)",
    )
    releasereports.configure(status)
    add_json(status)
    status.set_defaults(run=run_status)


def run_status(args: argparse.Namespace) -> int:
    """0 where nothing ends within the period and every report counted, else 1."""
    from sealwright.release.overview import overview_of

    overview, now = overview_of(opened(args.desk)), datetime.now(UTC)
    ending = [one for one in overview.roles if one.expires - now <= args.within]
    told = releasereports.asked(args, overview.products)
    if args.json:
        _print_json(overview)
        for text in releasereports.lines_of(told) if told is not None else ():
            print(text)
    else:
        _say(overview, ending, told)
    return 1 if ending or (told is not None and told.not_counted) else 0


def _say(overview: Overview, ending: list[RoleState], told: Told | None) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(display(say("release.place", place=overview.place)))
    for one in overview.roles:
        ends = {"role": one.role, "version": one.version, "ends": f"{one.expires:%Y-%m-%d %H:%M} UTC"}
        print("  " + (say("release.role-ends", **ends) if one in ending else say("release.role", **ends)))
    for product in overview.products:
        _say_product(product, told)
    if told is not None:
        for text in releasereports.say_all(
            told, {one.channels.product: one.channels.serial for one in overview.products}
        ):
            print(text)
    for standing in overview.staged:
        print(display(standing_text(standing)))
    if not overview.staged:
        print(say("release.nothing-staged"))


def _say_product(product: ProductState, told: Told | None) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    about = {"place": product.path, "product": product.channels.product, "serial": product.channels.serial}
    print(display(say("release.product", number=len(product.releases), size=megabytes(product.size_bytes), **about)))
    for offer in sorted(product.channels.offers, key=lambda one: (one.channel, -one.release.generation)):
        who = ", ".join(offer.groups) or say("release.all-groups")
        release = {"version": offer.release.version, "generation": offer.release.generation}
        print("  " + say("release.offer", channel=offer.channel, percent=offer.percent, groups=who, **release))
        for text in releasereports.say_offer(told, product.channels.product, offer) if told is not None else ():
            print("    " + display(text))
    for gone in product.channels.withdrawn:
        print("  " + say("release.gone", version=gone.release.version, advisory=gone.advisory))


def _print_json(overview: Overview) -> None:
    from sealwright.cli.jsonout import line, moment

    for one in overview.roles:
        print(line({"kind": "role", "role": one.role, "version": one.version, "expires": moment(one.expires)}))
    for product in overview.products:
        print(
            line(
                {
                    "kind": "product",
                    "place": str(product.path),
                    "product": product.channels.product,
                    "serial": product.channels.serial,
                    "releases": list(product.releases),
                    "size": product.size_bytes,
                    "offers": [
                        {"channel": one.channel, "version": one.release.version, "generation": one.release.generation,
                         "manifest": str(one.release.manifest), "percent": one.percent, "groups": list(one.groups)}
                        for one in product.channels.offers
                    ],
                    "withdrawn": [
                        {"version": one.release.version, "manifest": str(one.release.manifest), "advisory": one.advisory}
                        for one in product.channels.withdrawn
                    ],
                }
            )
        )  # fmt: skip
    for standing in overview.staged:
        print(standing_line(standing))
