"""Back up a signing home, restore it after a disaster, unlock it, and write down how far its journals went (docs/disaster.md)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, pin_of

if TYPE_CHECKING:
    from sealwright.log.ends import Ends
    from sealwright.signing.home import Home

EXAMPLES = """examples:
  sealwright home backup --home ca --out /media/stick/ca.tar        one file, no private keys; prints the line to keep
  sealwright home backup --home ca --out ca.tar.p7m --to-person eva.pem --to-person jan.pem    encrypted to two persons
  sealwright home backup --check /media/stick/ca.tar --ca ca.pem    is it whole, and of that root?
  sealwright home checkpoint --home ca                              one line, to write down or send to a witness
  sealwright home checkpoint --home ca --check "sealwright-home 1 id=..."    does this home still contain it?
  sealwright home restore /media/stick/ca.tar --to ca --ca ca.pem   into a new folder, which is locked
  sealwright home unlock --home ca --checkpoint checkpoint.txt      nothing is missing
  sealwright home unlock --home ca --checkpoint checkpoint.txt --entries journal.jsonl    what is missing comes from a later copy
  sealwright home loss --home ca --out loss.toml --reason "server burnt on 3 May"    what is missing is lost: a record for the officers
  sealwright home loss --sign loss.toml --home eva --person eva
  sealwright home unlock --home ca --loss loss.toml                 with two officers' signatures beside it
"""
LINE_HELP = "a line of `home checkpoint`, or a file with such lines"
MAX_LINES_BYTES = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    backup = add_action(commands, "backup", "write everything of a home but its private keys into one file", EXAMPLES)
    what = backup.add_mutually_exclusive_group(required=True)
    what.add_argument("--home", metavar="DIR", help="the signing home (made by `sealwright init`)")
    what.add_argument("--check", metavar="FILE", help="check a backup instead; with --ca")
    backup.add_argument("--out", metavar="FILE", help="the backup; never written over another file")
    backup.add_argument("--ca", metavar="PEM", help="with --check: the home's root, from a copy kept outside")
    backup.add_argument("--key", metavar="NAME", help="the key that signs it (else the home's key for backups)")
    backup.add_argument(
        "--to-person",
        metavar="PEM",
        action="append",
        default=[],
        help="encrypt it to this person's RSA certificate (repeat)",
    )
    backup.add_argument(
        "--with-development-keys", action="store_true", help="take the private keys in keys/*.pem along, in clear"
    )
    add_pin_file(backup)
    add_json(backup)
    backup.set_defaults(run=run_backup)
    checkpoint = add_action(commands, "checkpoint", "print how far the journals went, on one line", EXAMPLES)
    add_home(checkpoint)
    checkpoint.add_argument(
        "--check", metavar="LINE", help=f"does the home contain it? {LINE_HELP}; exit code 1 if not"
    )
    add_json(checkpoint)
    checkpoint.set_defaults(run=run_checkpoint)
    restore = add_action(
        commands, "restore", "unpack a backup into a new folder, locked until it is known what is missing", EXAMPLES
    )
    restore.add_argument("file", metavar="FILE", help="the backup")
    restore.add_argument("--to", metavar="DIR", required=True, help="a new folder")
    restore.add_argument("--ca", metavar="PEM", required=True, help="the home's root, from a copy kept outside")
    restore.add_argument(
        "--checkpoint", metavar="LINE", action="append", default=[], help=f"unlock it too: {LINE_HELP}"
    )
    add_json(restore)
    restore.set_defaults(run=run_restore)
    unlock = add_action(commands, "unlock", "let a restored home sign again", EXAMPLES)
    add_home(unlock)
    unlock.add_argument(
        "--checkpoint", metavar="LINE", action="append", default=[], help=f"the newest one known: {LINE_HELP}"
    )
    unlock.add_argument(
        "--entries", metavar="FILE", action="append", default=[], help="a later copy of a journal (repeat)"
    )
    unlock.add_argument("--loss", metavar="FILE", help="a loss record with its officers' signatures beside it")
    add_json(unlock)
    unlock.set_defaults(run=run_unlock)
    loss = add_action(commands, "loss", "write or sign the record of what is lost", EXAMPLES)
    add_home(loss)
    loss.add_argument("--out", metavar="FILE", help="write the record of a locked home here")
    loss.add_argument("--reason", metavar="TEXT", help="what happened, and when")
    loss.add_argument(
        "--checkpoint", metavar="LINE", help=f"the newest one known, where its entries are lost: {LINE_HELP}"
    )
    loss.add_argument("--sign", metavar="FILE", help="sign a record instead, with the officer's key of --home")
    loss.add_argument("--person", metavar="ID", help="the officer who signs; writes FILE.ID.p7s")
    add_pin_file(loss)
    add_json(loss)
    loss.set_defaults(run=run_loss)


def run_backup(args: argparse.Namespace) -> int:
    """Make one, or check one."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.signing.backup import backup_key, make_backup
    from sealwright.signing.home import open_home

    if args.check is not None:
        return _check_backup(args)
    if args.out is None:
        raise UsageError("home backup", "--out is missing", "Name the file to write.")
    home = open_home(args.home)
    pin = pin_of(args, home.uri(backup_key(home, args.key)))
    keys = args.with_development_keys
    if args.to_person:
        taken = _encrypted(args, home, pin)
    else:
        taken = make_backup(home, args.out, datetime.now(UTC), pin, with_development_keys=keys, key=args.key)
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "path": args.out,
                    "files": taken.files,
                    "private_keys": taken.with_keys,
                    "encrypted": bool(args.to_person),
                    "left_out": list(taken.left_out),
                    "checkpoint": taken.ends.line,
                }
            )
        )
        return 0
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.to_person:
        print(say("home.backed-up-encrypted", path=display(args.out), files=taken.files, number=len(args.to_person)))
    else:
        path = display(args.out)
        print(
            say("home.backed-up-with-keys", path=path, files=taken.files)
            if keys
            else say("home.backed-up", path=path, files=taken.files)
        )
    for left in taken.left_out:
        print("  " + say("home.left-out", name=display(left)))
    print(say("home.keep-line"))
    print(taken.ends.line)
    return 0


def _encrypted(args: argparse.Namespace, home: Home, pin):  # type: ignore[no-untyped-def]
    """In clear it stands only inside the home, which has all of it anyway."""
    import os
    import tempfile
    from datetime import UTC, datetime

    from sealwright.artifact.output import write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.signing.backup import encrypt_to, make_backup, refuse_existing

    recipients = [(path, read_file(path, MAX_LINES_BYTES)) for path in args.to_person]
    encrypt_to(b"", recipients)  # a certificate that does not serve shows before anything is signed
    refuse_existing(args.out)
    with tempfile.TemporaryDirectory(dir=home.folder, prefix=".backup-", suffix=".tmp") as folder:
        plain = os.path.join(folder, "backup.tar")
        keys = args.with_development_keys
        taken = make_backup(home, plain, datetime.now(UTC), pin, with_development_keys=keys, key=args.key)
        write_atomic(args.out, encrypt_to(read_file(plain, 1 << 30), recipients), mode=0o600)
    return taken


def _check_backup(args: argparse.Namespace) -> int:
    from sealwright.errors import UsageError
    from sealwright.signing.backup import read_anchors
    from sealwright.signing.restore import check_backup

    if args.ca is None:
        raise UsageError("home backup --check", "--ca is missing", "Name the home's root, from a copy kept outside.")
    backup = check_backup(args.check, read_anchors(args.ca))
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "path": args.check,
                    "time": backup.time,
                    "files": len(backup.members),
                    "private_keys": backup.with_keys,
                    "left_out": list(backup.left_out),
                    "entries": {name: end.count for name, end in backup.ends.journals.items()},
                }
            )
        )
        return 0
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say("home.whole", path=display(args.check), time=f"{backup.time:%Y-%m-%d %H:%M:%S} UTC"))
    if backup.with_keys:
        print("  " + say("home.whole-with-keys"))
    for name, end in backup.ends.journals.items():
        print("  " + say("home.entries", name=name, count=end.count))
    return 0


def run_checkpoint(args: argparse.Namespace) -> int:
    """Print the line, or say whether the home contains one. A locked home has none to give: it would only vouch for itself."""
    from sealwright.log.ends import ends_of
    from sealwright.log.journal import refuse_locked
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home = open_home(args.home)
    if args.check is None:
        refuse_locked(home.folder)
    ends = ends_of(home.folder)
    if args.check is None:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"checkpoint": ends.line, "id": ends.id}))
        else:
            print(ends.line)
        return 0
    contained, words, more = True, "", 0
    for one in _lines(args.check):
        contained, words, more = _contained(home.folder, ends, one)
        if not contained:
            break
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"contained": contained, "more": more, "why": words, "checkpoint": ends.line}))
    elif contained:
        print(say("home.contained", more=more) if more else say("home.contained-equal"))
    else:
        print(words)
    return 0 if contained else 1


def _contained(folder: str, ends: Ends, wanted: Ends) -> tuple[bool, str, int]:
    """Whether, else why not, and how many entries stand behind it."""
    from sealwright.log.ends import End, hash_at
    from sealwright.log.journal import START
    from sealwright.texts.words import say

    if wanted.id != ends.id:
        return False, say("home.not-contained", why=say("home.other-log", id=wanted.id)), 0
    more = 0
    for name, end in sorted(wanted.journals.items()):
        mine = ends.journals.get(name, End(0, START))
        if end.count > mine.count:
            return False, say("home.newer"), 0
        if hash_at(folder, name, end.count) != end.last:
            why = say("home.other-entry", count=end.count, name=name)
            return False, say("home.not-contained", why=why), 0
        more += mine.count - end.count
    return True, "", more


def run_restore(args: argparse.Namespace) -> int:
    """Unpack, locked; unlock at once where the checkpoint given says that nothing is missing."""
    from datetime import UTC, datetime

    from sealwright.signing.backup import read_anchors
    from sealwright.signing.restore import restore, unlock

    known = [one for text in args.checkpoint for one in _lines(text)]
    home, backup = restore(args.file, args.to, read_anchors(args.ca), datetime.now(UTC))
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "home": args.to,
                    "files": len(backup.members),
                    "time": backup.time,
                    "entries": {name: end.count for name, end in backup.ends.journals.items()},
                    "locked": True,
                }
            )
        )
    else:
        from sealwright.artifact.names import display
        from sealwright.texts.words import say

        time, folder = f"{backup.time:%Y-%m-%d %H:%M:%S} UTC", display(args.to)
        print(say("home.restored", files=len(backup.members), time=time, folder=folder))
        if not known:
            print(say("home.restored-locked"))
            for name, end in backup.ends.journals.items():
                print("  " + say("home.entries", name=name, count=end.count))
            print("  " + say("home.restored-next", folder=folder))
    if known:
        _say_unlocked(args, unlock(home.folder, known, (), datetime.now(UTC)))
    return 0


def run_unlock(args: argparse.Namespace) -> int:
    """By checkpoint, by checkpoint and entries, or by loss record."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.signing.loss import read_loss
    from sealwright.signing.restore import unlock, unlock_with_loss

    if (args.loss is None) is not bool(args.checkpoint) or (args.loss is not None and args.entries):
        raise UsageError(
            "home unlock", "a checkpoint or a loss record is wanted", "Give --checkpoint, or --loss alone."
        )
    now = datetime.now(UTC)
    if args.loss is not None:
        done = unlock_with_loss(args.home, read_loss(args.loss), now)
    else:
        known = [one for text in args.checkpoint for one in _lines(text)]
        done = unlock(args.home, known, args.entries, now)
    _say_unlocked(args, done)
    return 0


def _say_unlocked(args: argparse.Namespace, done) -> None:  # type: ignore[no-untyped-def]
    from sealwright.signing.restore import How

    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "unlocked": done.how.value,
                    "added": done.added,
                    "enrol_again": list(done.missing),
                    "checkpoint": done.ends.line,
                }
            )
        )
        return
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if done.how is How.ENTRIES:
        print(say("home.unlocked-entries", added=done.added))
    else:
        print(say("home.unlocked-loss") if done.how is How.LOSS else say("home.unlocked"))
    for name in done.missing:
        print("  " + say("home.unlocked-missing", name=display(name)))
    print("  " + (say("home.unlocked-next-loss") if done.how is How.LOSS else say("home.unlocked-next")))
    print(done.ends.line)


def run_loss(args: argparse.Namespace) -> int:
    """Write a record, or sign one."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.signing.home import open_home
    from sealwright.signing.loss import loss_key, sign_loss, write_loss
    from sealwright.signing.restore import read_marker
    from sealwright.texts.words import say

    writes, signs = args.out is not None and args.reason is not None, args.sign is not None and args.person is not None
    if writes is signs or (signs and (args.out or args.reason)):
        raise UsageError(
            "home loss", "it writes a record or signs one", "Give --out and --reason, or --sign and --person."
        )
    home, now = open_home(args.home), datetime.now(UTC)
    if signs:
        pin = pin_of(args, home.uri(loss_key(home, args.person)))
        written = sign_loss(args.sign, home, args.person, now, pin)
        said = [say("home.loss-signed", path=written), "  " + say("home.loss-signed-next", path=args.sign)]
    else:
        marker = read_marker(home.folder)
        known = max(_lines(args.checkpoint), key=lambda one: one.journals["journal"].count) if args.checkpoint else None
        write_loss(args.out, marker.backup, marker.ends, args.reason, now, known)
        written = args.out
        said = [say("home.loss-written", path=written), "  " + say("home.loss-next", path=written)]
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"output": written, "signed": signs, "person": args.person}))
        return 0
    from sealwright.artifact.names import display

    for one in said:
        print(display(one))
    return 0


def _lines(text: str) -> list[Ends]:
    """A line itself, or every line of a file that is one; UsageError where there is none."""
    from sealwright.artifact.source import read_file
    from sealwright.errors import UsageError
    from sealwright.log.ends import WORD, parse_ends

    if text.lstrip().startswith(WORD):
        return [parse_ends(text)]
    lines = read_file(text, MAX_LINES_BYTES).decode("utf-8", "replace").splitlines()
    found = [parse_ends(line) for line in lines if line.lstrip().startswith(WORD)]
    if not found:
        raise UsageError(text, "no line of `sealwright home checkpoint` is in it", "Name the file that has it.")
    return found
