"""`trust status`: how an installed trust file stands, for people and for cron."""

from __future__ import annotations

import argparse
import os
import re
from datetime import UTC, datetime, timedelta

from sealwright.cli.arguments import add_action, add_json

WITHIN = "60d"


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The action."""
    status = add_action(commands, "status", "say how a trust file stands, and what ends soon", examples)
    status.add_argument("path", metavar="PATH", nargs="?", default=".", help="a folder it is installed in, or the file")
    status.add_argument(
        "--within", metavar="DAYS", type=days, default=days(WITHIN), help=f"how far ahead to look (default {WITHIN})"
    )
    add_json(status)
    status.set_defaults(run=run_status)


def days(text: str) -> timedelta:
    """A horizon such as 60d; argparse shows the complaint."""
    match = re.fullmatch(r"([0-9]{1,4})d?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days, such as 60d")
    return timedelta(days=int(match[1]))


def run_status(args: argparse.Namespace) -> int:
    """0 fine, 1 something to look at within the horizon, 3 stale."""
    from sealwright.artifact.names import display
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.status import Level, status

    path = args.path
    if os.path.isdir(path):
        path = os.path.join(path, "trust.toml")
        if not os.path.lexists(path):
            raise UsageError(args.path, say("status.nothing"), "Install one: sealwright trust install FILE --to DIR")
    found = status(path, datetime.now(UTC), args.within)
    if args.json:
        from sealwright.cli.jsonout import line, moment

        for item in found.items:
            said: dict[str, object] = {"level": item.level.name.lower(), "about": item.about}
            print(line(said | {"sentence": item.sentence, "until": moment(item.until)}))
        trust = found.trust
        total: dict[str, object] = {"path": path, "id": trust.id, "version": trust.version, "digest": str(trust.digest)}
        total |= {"issued": moment(trust.issued), "expires": moment(trust.expires), "level": found.level.name.lower()}
        print(line(total | {"exit_code": found.level.value}))
        return found.level.value
    marks = {Level.FINE: "", Level.ATTENTION: "LOOK  ", Level.STALE: "STALE  "}
    for number, item in enumerate(found.items):
        print(("  " if number else "") + marks[item.level] + display(item.sentence))
    wanted = sum(item.level is not Level.FINE for item in found.items)
    within = args.within.days
    if found.level is Level.FINE:
        print(say("status.fine", days=within))
    else:
        print(say("status.attention", number=wanted, days=within))
    if found.level is Level.STALE:
        print(say("status.stale"))
    return found.level.value
