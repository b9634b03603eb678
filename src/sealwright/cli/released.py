"""Write down where signed files went, so that a lost key's answer names the places: a portal, a memory stick, an update server.

Without PATH it lists what is recorded. The place is free text that can be erased later (docs/incident.md); the journal of the home
has its salted digest, and the artifact's digest.
"""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_home, add_json, add_layout, layouts_known, rfc3339

EXAMPLES = """examples:
  sealwright released drive.bin --home home --to "customer portal" --channel production
  sealwright released drive.bin project --home home --to "stick for plant Wels" --at 2026-05-04T10:00:00Z
  sealwright released sha256:5891b5b5... --home home --to "update server"      by its digest, where the file is gone
  sealwright released old.bin --home home --to "customer portal" --signed-elsewhere
  sealwright released --home home                                             what is recorded
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """What, where to, and when."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="signed files and folders, or digests as `verify --json` has them"
    )
    add_home(parser)
    parser.add_argument("--to", metavar="TEXT", help="where it went, in your words; it can be erased later")
    parser.add_argument("--channel", metavar="NAME", default="", help="such as production or beta")
    parser.add_argument("--at", metavar="TIME", type=rfc3339, help="when, such as 2026-05-04T10:00:00Z (else now)")
    parser.add_argument("--signed-elsewhere", action="store_true", help="record it though this home never signed it")
    add_layout(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record, or list."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.errors import UsageError
    from sealwright.signing.home import open_home
    from sealwright.signing.released import Origin, Where, identify, record
    from sealwright.texts.words import say

    home, now = open_home(args.home), datetime.now(UTC)
    if not args.paths:
        if args.to or args.channel or args.at is not None or args.signed_elsewhere:
            raise UsageError("PATH", "nothing is named", "Name what was released, or leave the options out for a list.")
        return _list(args)
    if not args.to:
        raise UsageError("--to", "it is not said where it went", 'Say it in your words: --to "customer portal"')
    where = Where(args.to, args.channel, args.at or now.replace(microsecond=0))
    origin = Origin.ANYWHERE if args.signed_elsewhere else Origin.HERE
    artifacts = identify(home, args.paths, origin, layouts_known(home, args))
    record(home, artifacts, where, now)
    for one in artifacts:
        if args.json:
            from sealwright.cli.jsonout import line

            print(
                line({"path": one.path, "artifact": str(one.artifact), "file": str(one.file) if one.file else None, "to": where.place,
                      "channel": where.channel or None, "at": where.at, "signed_here": one.here})
            )  # fmt: skip
            continue
        place = say("released.channel", place=where.place, channel=where.channel) if where.channel else where.place
        print(display(say("released.recorded", path=one.path, place=place, time=f"{where.at:%Y-%m-%d %H:%M}Z")))
        if not one.here:
            print("  " + say("released.elsewhere"))
    return 0


def _list(args: argparse.Namespace) -> int:
    from sealwright.artifact.names import display
    from sealwright.cli.certsigned import fields_of, shown_place
    from sealwright.cli.jsonout import line
    from sealwright.signing.home import open_home
    from sealwright.signing.released import releases_of
    from sealwright.texts.words import say

    home = open_home(args.home)
    every = sorted(releases_of(home), key=lambda one: one.at)
    for one in every:
        if args.json:
            print(line({"artifact": one.artifact, **fields_of(home, one), "signed_here": not one.elsewhere}))
            continue
        time = f"{one.at:%Y-%m-%d %H:%M}Z"
        print(display(say("released.listed", time=time, artifact=one.artifact, place=shown_place(home, one))))
    if not every and not args.json:
        print(say("released.none"))
    return 0
