"""What the key of a certificate signed since a moment, and where that was released: after `cert revoke`, and asked by itself."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sealwright.cli.arguments import rfc3339
from sealwright.cli.certchange import on_one

if TYPE_CHECKING:
    from datetime import datetime

    from sealwright.signing.compromise import Affected
    from sealwright.signing.home import Home
    from sealwright.signing.released import Release


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The action."""
    signed = on_one(commands, examples, "signed", "what its key signed, and where that was released", run_signed)
    signed.add_argument("--since", metavar="TIME", type=rfc3339, help="such as 2026-05-03T00:00:00Z (else all of it)")


def run_signed(args: argparse.Namespace) -> int:
    """Only look."""
    from datetime import UTC, datetime

    from sealwright.signing.authority import found
    from sealwright.signing.compromise import signatures_since
    from sealwright.signing.home import open_home

    home = open_home(args.home)
    affected = signatures_since(home, found(home, args.which).key, args.since or datetime.fromtimestamp(0, UTC))
    if args.json:
        print_affected_json(home, affected)
    else:
        print_affected(home, affected, args.since)
    return 0


def print_affected(home: Home, affected: Sequence[Affected], since: datetime | None) -> None:
    """Each signature, and below it each release of what was signed."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    moment = say("signed.since", time=f"{since:%Y-%m-%d %H:%M}Z") if since is not None else ""
    print(say("signed.affected", number=len(affected), since=moment) if affected else say("signed.none", since=moment))
    for each in affected:
        one = each.signed
        words = {
            "time": f"{one.at:%Y-%m-%d %H:%M}Z" if one.at is not None else "-",
            "format": one.format,
            "claims": " ".join(text for text in (one.product, one.version) if text) or "-",
            "artifact": one.artifact,
        }
        print("  " + display(say("signed.one", **words) if one.signature else say("signed.lost", **words)))
        for release in each.releases:
            time = f"{release.at:%Y-%m-%d %H:%M}Z"
            print("    " + display(say("signed.released", place=shown_place(home, release), time=time)))
        if not each.releases:
            print("    " + say("signed.not-released"))
    if affected:
        print("  " + say("signed.next"))


def print_affected_json(home: Home, affected: Sequence[Affected]) -> None:
    """One object a signature; `released` is empty where no release is recorded, `to` is null where its text was erased."""
    from sealwright.cli.jsonout import line

    for each in affected:
        one = each.signed
        print(line({"signed": one.artifact, "at": one.at, "format": one.format, "product": one.product or None,
                    "version": one.version or None, "generation": one.generation or None, "signature": one.signature or None,
                    "released": [fields_of(home, release) for release in each.releases]}))  # fmt: skip


def fields_of(home: Home, release: Release) -> dict[str, object]:
    """Where a release went, for JSON."""
    from sealwright.signing.released import place_of

    return {"to": place_of(home, release) or None, "channel": release.channel or None, "at": release.at}


def shown_place(home: Home, release: Release) -> str:
    """Where a release went, in words."""
    from sealwright.signing.released import place_of
    from sealwright.texts.words import say

    place = place_of(home, release) or say("released.erased")
    return say("released.channel", place=place, channel=release.channel) if release.channel else place
