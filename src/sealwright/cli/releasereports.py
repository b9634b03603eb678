"""What devices told about a repository's offers, for `release status`: from reports that came back as files, or asked of a fleet's service."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwright.cli.asking import add_service

if TYPE_CHECKING:
    from sealwright.release.channels import Offer
    from sealwright.release.overview import ProductState
    from sealwright.service.fleetwire import GroupStands, GroupTrouble, OfferStands, RollOut
    from sealwright.service.reportfolder import NotCounted

SOURCE = "--reports"


@dataclass(frozen=True, slots=True)
class Told:
    """What is known. roll_outs: by product; couriers: their names by digest, of those that were packed."""

    roll_outs: Mapping[str, RollOut]
    not_counted: Sequence[NotCounted]
    couriers: Mapping[str, str]

    def stands(self, product: str, offer: Offer) -> OfferStands | None:
        """An offer on the devices; None where it was not counted."""
        known = self.roll_outs.get(product)
        return next(
            (
                one
                for one in (known.offers if known is not None else ())
                if (one.channel, one.manifest) == (offer.channel, str(offer.release.manifest))
            ),
            None,
        )

    @property
    def acknowledged(self) -> Mapping[str, int]:
        """By the digest of each courier: how many devices told that they have it; every product says the same."""
        first = next(iter(self.roll_outs.values()), None)
        told = {one.digest: one.devices for one in (first.couriers if first is not None else ())}
        return {**dict.fromkeys(self.couriers, 0), **told}


def configure(parser: argparse.ArgumentParser) -> None:
    """Where reports come from."""
    told = parser.add_argument_group("what devices reported, from files or from a fleet's service")
    told.add_argument(
        "--reports", metavar="DIR", action="append", help="a folder of reports, or of unpacked couriers (repeat)"
    )
    told.add_argument(
        "--devices", metavar="FILE", help="whose key signs each device's reports: lines DEVICE KEY GROUP PLANT"
    )
    told.add_argument("--couriers", metavar="DIR", help="couriers as they were packed: which of them arrived")
    add_service(told, required=False)


def asked(args: argparse.Namespace, products: Sequence[ProductState]) -> Told | None:
    """None where nobody asked; UsageError for options that do not go together."""
    from sealwright.errors import UsageError

    if args.reports and args.service is not None:
        raise UsageError(
            SOURCE,
            "it is asked of the service, too",
            "Hand the reports to it: `sealwright report send`; then ask it alone.",
        )
    if bool(args.reports) is not (args.devices is not None):
        raise UsageError(
            SOURCE, "--reports and --devices go together", "Name the register of devices, as it is imported."
        )
    if args.service is not None:
        return _of_service(args, products)
    if args.reports:
        return _of_files(args, products)
    if args.couriers is not None:
        raise UsageError("--couriers", "nobody is asked who has them", "Add --reports and --devices, or --service.")
    return None


def say_offer(told: Told, product: str, offer: Offer) -> list[str]:
    """How an offer stands, a line for each group."""
    from sealwright.texts.words import say

    stands = told.stands(product, offer)
    if stands is None:
        return [say("release.not-counted")]
    return [_group(one, stands.troubles) for one in stands.groups] or [say("release.no-device")]


def say_all(told: Told, serials: Mapping[str, int]) -> list[str]:
    """What belongs to no offer: devices in all, withdrawn releases, couriers, and what was not counted. serials: of the channels, by product."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    lines = []
    for product, one in told.roll_outs.items():
        if one.serial != serials[product]:
            lines.append(say("release.other-serial", product=product, serial=one.serial, here=serials[product]))
        lines += [
            say(
                "release.still-runs",
                product=product,
                version=gone.version,
                advisory=gone.advisory,
                devices=gone.devices,
            )
            for gone in one.withdrawn
        ]
    for one in list(told.roll_outs.values())[:1]:
        lines.append(say("release.told", devices=f"{one.devices:,}", reported=f"{one.devices - one.never:,}"))
    for digest, devices in told.acknowledged.items():
        lines.append(say("release.acknowledged", courier=told.couriers.get(digest, digest), devices=devices))
    if told.not_counted:
        lines.append(say("release.reports-refused", number=len(told.not_counted)))
    lines += ["  " + say("release.report-refused", path=one.path, why=one.why) for one in told.not_counted]
    return [display(line) for line in lines]


def lines_of(told: Told) -> list[str]:
    """The same for programs."""
    import msgspec

    from sealwright.cli.jsonout import line

    lines = [line({"kind": "roll-out", **msgspec.to_builtins(one)}) for one in told.roll_outs.values()]
    lines += [
        line({"kind": "courier", "digest": digest, "name": told.couriers.get(digest), "devices": devices})
        for digest, devices in told.acknowledged.items()
    ]
    return lines + [line({"kind": "report-not-counted", "path": one.path, "why": one.why}) for one in told.not_counted]


def _group(one: GroupStands, troubles: Sequence[GroupTrouble]) -> str:
    from sealwright.texts.words import say

    told = say("release.group", group=one.group, devices=one.devices, runs=one.runs, waits=one.waits)
    for each in troubles:
        if each.group == one.group:
            why = {"devices": each.devices, "code": each.code}
            told += "; " + (
                say("release.refused", **why) if each.outcome == "refused" else say("release.returned", **why)
            )
    return told


def _of_service(args: argparse.Namespace, products: Sequence[ProductState]) -> Told:
    from urllib.parse import urlencode

    from sealwright.cli.asking import client_of
    from sealwright.service.fleetwire import RollOut

    names = [one.channels.product for one in products]
    with client_of(args) as client:
        found = {name: client.look(f"/v1/fleet/rollout?{urlencode({'product': name})}", RollOut) for name in names}
    return Told(found, (), _packed(args))


def _of_files(args: argparse.Namespace, products: Sequence[ProductState]) -> Told:
    from datetime import UTC, datetime
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("sqlalchemy") is None or find_spec("msgspec") is None:
        raise UsageError(
            SOURCE, "the packages that count are not installed", "Install them: pip install 'sealwright[service]'"
        )
    from sealwright.service.reportfolder import count_reports, reports_in

    paths = [path for folder in args.reports for path in reports_in(folder)]
    counted = count_reports(
        paths, args.devices, {one.channels.product: one.channels for one in products}, datetime.now(UTC)
    )
    return Told(counted.roll_outs, counted.not_counted, _packed(args))


def _packed(args: argparse.Namespace) -> dict[str, str]:
    from sealwright.release.courier import couriers_in

    return {str(digest): name for name, digest in couriers_in(args.couriers)} if args.couriers is not None else {}
