"""`release accept`: shows what a release changes against the last accepted one, then accepts it as `accept` does."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli import accept
from sealwright.cli.arguments import add_action

if TYPE_CHECKING:
    from sealwright.plant.acceptedbefore import Differences
    from sealwright.signing.changes import FileChange


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """What `accept` takes, and the release before."""
    parser = add_action(
        commands,
        "accept",
        "show what a release changes since the last accepted one, and accept it for the plant",
        examples,
    )
    accept.configure(parser)
    parser.add_argument(
        "--before", metavar="FOLDER", help="the release to compare with (else the newest accepted one beside it)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what changes and accept nothing")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, then accept."""
    from sealwright.artifact.names import display
    from sealwright.plant.acceptedbefore import accepted_before, compared, manifest_of
    from sealwright.texts.words import say

    for path in args.paths:
        now = manifest_of(path)
        before = args.before or accepted_before(path)
        if before is not None:
            _say(args, path, before, compared(manifest_of(before), now))
        elif not args.json:
            print(display(say("release.first", path=path, files=f"{len(now.files):,}")))
    return 0 if args.dry_run else accept.run(args)


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
