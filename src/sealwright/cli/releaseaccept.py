"""`release accept`: shows what a release changes against the last accepted one, then accepts it as `accept` does."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from sealwright.cli import accept
from sealwright.cli.arguments import add_action
from sealwright.cli.releasemake import need_tuf, opened

if TYPE_CHECKING:
    from tuf.ngclient.fetcher import FetcherInterface

    from sealwright.plant.acceptedbefore import Differences
    from sealwright.release.layout import ProductPath
    from sealwright.signing.changes import FileChange


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """What `accept` takes, and the release before."""
    parser = add_action(
        commands,
        "accept",
        "show what a release changes since the last accepted one, and accept it for the plant",
        examples,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="releases that were delivered and tested")
    accept.add_options(parser)
    parser.add_argument(
        "--before", metavar="FOLDER", help="the release to compare with (else the newest accepted one beside it)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what changes and accept nothing")
    every = parser.add_argument_group("everything that a channel offers, fetched from a repository")
    every.add_argument("--all", metavar="CHANNEL", help="accept what this channel offers and is not accepted yet")
    every.add_argument("--repository", metavar="PLACE", help="the maker's repository: a folder, or https://HOST/PATH")
    every.add_argument(
        "--named", metavar="NAME", default="", help="its [[repository]] in the trust file (else tuf_root)"
    )
    every.add_argument("--product", metavar="LINE/NAME", action="append", default=[], help="of it (repeat)")
    every.add_argument("--into", metavar="DIR", help="where the releases are fetched to, and stay")
    every.add_argument("--desk", metavar="DIR", help="stage the acceptances here, in the plant's own repository")
    every.add_argument(
        "--promote", metavar="CHANNEL", help="offer the newest of each product to all of this channel of it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch where that is asked for, compare, accept, stage."""
    from sealwright.artifact.names import display
    from sealwright.errors import UsageError
    from sealwright.plant.acceptedbefore import accepted_before, compared, manifest_of
    from sealwright.texts.words import say

    if args.promote and not (args.all and args.desk):
        raise UsageError(
            "--promote", "an offer is made in the plant's own repository", "Give it with --all and --desk."
        )
    if (args.all is None) is not bool(args.paths) or (
        args.all and not (args.repository and args.product and args.into)
    ):
        raise UsageError(
            "release accept",
            "named are releases, or a channel and where it is",
            "Give PATH; or --all with --repository, --product and --into.",
        )
    fetched = _fetched(args) if args.all else {}
    open_ones = [path for paths in fetched.values() for path in paths if not os.path.exists(f"{path}.plant.manifest")]
    args.paths = args.paths or open_ones
    for path in args.paths:
        now = manifest_of(path)
        before = args.before or accepted_before(path)
        if before is not None:
            _say(args, path, before, compared(manifest_of(before), now))
        elif not args.json:
            print(display(say("release.first", path=path, files=f"{len(now.files):,}")))
    if args.dry_run:
        return 0
    if args.all and not args.paths and not args.json:
        print(say("release.all-accepted", channel=args.all))
    code = accept.run(args) if args.paths else 0
    if args.desk and fetched:
        _stage(args, fetched)
        if args.promote and not code:
            _promote(args, fetched)
    return code


def _fetched(args: argparse.Namespace) -> dict[ProductPath, list[str]]:
    """The folders of what the channel offers, by product."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.release.client import fetch_first_root, open_client
    from sealwright.release.layout import product_path
    from sealwright.release.offered import fetch_offered
    from sealwright.trust.belief import load_trust

    need_tuf()
    trust = load_trust(args.trust, fingerprint=args.trust_fingerprint).trust
    root = trust.repository_root(args.named)
    if root is None:
        raise UsageError(
            args.trust,
            f"it names no repository {args.named}".rstrip(),
            "Have officers add it: `sealwright trust add trust.toml repository 1.root.json`.",
        )
    fetcher, urls = _source(args.repository)
    # kept, so that an older state of the repository is none any more; no line is called so
    metadata = os.path.join(args.into, f".metadata-{root.value.hex()}")
    os.makedirs(metadata, exist_ok=True)
    first = fetch_first_root(fetcher, urls[0])
    client = open_client(first, root, metadata, fetcher, urls, max(datetime.now(UTC), trust.issued))
    return {
        product: [one.folder for one in fetch_offered(client, product, args.all, args.into)]
        for product in map(product_path, args.product)
    }


def _source(place: str) -> tuple[FetcherInterface, tuple[str, str]]:
    """A fetcher for a folder or a server, and the URLs of metadata and targets."""
    from tuf.ngclient import Urllib3Fetcher

    from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher

    if "://" not in place:
        return FolderFetcher(place), (METADATA, TARGETS)
    base = place.rstrip("/")
    return Urllib3Fetcher(), (f"{base}/metadata/", f"{base}/targets/")


def _stage(args: argparse.Namespace, fetched: dict[ProductPath, list[str]]) -> None:
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line
    from sealwright.release.intake import add_acceptances
    from sealwright.texts.words import say
    from sealwright.trust.belief import load_trust

    staging, believed = opened(args.desk), load_trust(args.trust, fingerprint=args.trust_fingerprint)
    for product, paths in fetched.items():
        accepted = [path for path in paths if os.path.exists(f"{path}.plant.manifest")]
        taken = add_acceptances(staging, accepted, product, believed, datetime.now(UTC)) if accepted else ()
        new = sum(not one.again for one in taken)
        if args.json:
            print(line({"outcome": "staged", "product": str(product), "acceptances": new}))
        else:
            print(display(say("release.acceptances", product=product, number=f"{new:,}", desk=args.desk)))


def _promote(args: argparse.Namespace, fetched: dict[ProductPath, list[str]]) -> None:
    from datetime import UTC, datetime

    from sealwright.cli.jsonout import line
    from sealwright.release.promoting import promote_newest
    from sealwright.texts.words import say

    staging = opened(args.desk)
    for product in fetched:
        offer = promote_newest(staging, product, args.promote, datetime.now(UTC))
        if offer is None:
            continue
        if args.json:
            release = {"version": offer.release.version, "manifest": str(offer.release.manifest)}
            print(line({"outcome": "promoted", "product": str(product), "channel": offer.channel, **release}))
        else:
            who = {"percent": offer.percent, "groups": say("release.all-groups")}
            print(say("release.promoted", version=offer.release.version, channel=offer.channel, **who))


def _say(args: argparse.Namespace, path: str, before: str, found: Differences) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line
    from sealwright.texts.words import say

    if args.json:
        print(
            line(
                {
                    "path": path,
                    "outcome": "compared",
                    "before": before,
                    "back": found.back or None,
                    "claims": [{"name": one.name, "before": one.before, "now": one.now} for one in found.claims],
                    "files": [{"name": one.name, "change": one.change.value} for one in found.files],
                    "same": found.same,
                }
            )
        )
        return
    print(display(say("release.compared", path=path, before=before, changed=len(found.files), same=found.same)))
    if found.back:
        print("  " + say("release.back", why=found.back))
    for claim in found.claims:
        print("  " + display(say("release.changed", name=claim.name, before=claim.before or "-", now=claim.now or "-")))
    for file in found.files:
        print("  " + display(_file_text(file)))


def _file_text(file: FileChange) -> str:
    from sealwright.texts.words import say

    match file.change.value:
        case "added":
            return say("release.file-added", name=file.name)
        case "removed":
            return say("release.file-removed", name=file.name)
    return say("release.file-changed", name=file.name)
