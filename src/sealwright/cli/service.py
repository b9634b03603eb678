"""Look after a signing service: back it up while it serves, check a backup, restore one (docs/operating.md)."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json

EXAMPLES = """examples:
  sealwright service backup service.toml backup-2026-11-26            a new folder, while the service serves
  sealwright service restore backup-2026-11-26 service.toml --check   is it whole, and not older than what is remembered?
  sealwright service restore backup-2026-11-26 service.toml           makes the database that service.toml names
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    backup = add_action(commands, "backup", "copy a service's database and configuration while it serves", EXAMPLES)
    _add_configuration(backup)
    backup.add_argument("folder", metavar="DIR", help="a new folder")
    add_json(backup)
    backup.set_defaults(run=run_backup)
    restore = add_action(commands, "restore", "check a backup, and make the database of it", EXAMPLES)
    restore.add_argument("folder", metavar="DIR", help="a backup")
    _add_configuration(restore)
    restore.add_argument("--check", action="store_true", help="only check it; entries are hashed when it is restored")
    add_json(restore)
    restore.set_defaults(run=run_restore)


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("configuration", metavar="FILE", help="service.toml of the service")


def run_backup(args: argparse.Namespace) -> int:
    """A new folder."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import line
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.backup import make_backup
    from sealwright.service.config import read_configuration

    with TerminalProgress("hashing", unit="entries") as progress:
        made = make_backup(read_configuration(args.configuration), args.folder, datetime.now(UTC), progress)
    if args.json:
        told = {"path": args.folder, "entries": made.size, "files": made.files}
        print(line({**told, "missing_changes": list(made.missing)}))
    else:
        print(say("service.backed-up", path=display(args.folder), entries=f"{made.size:,}", files=made.files))
        for edition in made.missing:
            print(say("service.change-missing", edition=edition))
    return 0


def run_restore(args: argparse.Namespace) -> int:
    """The database of a backup, or whether it could be made."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import line
    from sealwright.cli.serve import need_server
    from sealwright.texts.words import say

    need_server()
    from sealwright.service.backup import check_backup, restore
    from sealwright.service.config import read_configuration

    configuration = read_configuration(args.configuration)
    if args.check:
        done = check_backup(configuration, args.folder)
    else:
        with TerminalProgress("hashing", unit="entries") as progress:
            done = restore(configuration, args.folder, progress)
    manifest, size = done.backup.manifest, done.backup.checkpoint.size
    if args.json:
        told = {"path": args.folder, "restored": not args.check, "entries": size, "time": manifest.time}
        print(line({**told, "remembered": done.remembered, "others": list(done.others)}))
        return 0
    about = {"path": display(args.folder), "entries": f"{size:,}", "time": f"{manifest.time:%Y-%m-%d %H:%M} UTC"}
    print(say("service.backup-whole", **about) if args.check else say("service.restored", **about))
    if done.remembered is None:
        print(say("service.no-head"))
    for name in done.others:
        print(say("service.other-file", name=display(name)))
    return 0
