"""Carry releases, trust and reports over an air gap, in one folder or file that the other side verifies before it takes anything over.

The sender packs and signs; the receiver unpacks by its own trust file, with its id and its state: a courier for another place, one that
is older than the last, that has ended or that was altered is refused, and nothing of it is written. docs/courier.md has the whole way.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, add_trust, key_string, pin_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwright.release.courier import Courier
    from sealwright.release.courierpack import Part
    from sealwright.release.courierunpack import Unpacked

EXAMPLES = """examples:
  sealwright courier ask --state /var/lib/transfer                 a nonce for the sender, where the answer has to be fresh
  sealwright courier pack /media/stick --from acme --to nordhof --home home --repository repo --product drives/vx-200
  sealwright courier pack out.courier --from acme --to nordhof --home home --trust-file trust.toml --answer 5feceb66ffc86f38d952786c6d696c79
  sealwright courier pack /media/stick --from nordhof --to acme --home plant-home --reports reports     the way back
  sealwright courier unpack /media/stick --into /srv/transfer --as nordhof --trust trust.toml --state /var/lib/transfer
  sealwright courier unpack out.courier --into /srv/transfer --as nordhof --trust trust.toml --state state --answered
"""
DAYS = 30
MAX_BYTES = 64 << 30


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_pack(add_action(commands, "pack", "pack and sign a courier", EXAMPLES))
    _configure_unpack(add_action(commands, "unpack", "verify a courier and take it over", EXAMPLES))
    ask = add_action(commands, "ask", "make a nonce that the next courier has to answer", EXAMPLES)
    ask.add_argument("--state", metavar="DIR", required=True, help="the receiver's state folder")
    ask.add_argument("--days", metavar="N", type=int, default=DAYS, help=f"how long it waits (else {DAYS})")
    add_json(ask)
    ask.set_defaults(run=run_ask)


def _configure_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="a folder (a stick), or a new file that ends in .courier")
    parser.add_argument("--from", metavar="ID", dest="sender", required=True, help="who sends it: letters, digits, -")
    parser.add_argument(
        "--to", metavar="ID", action="append", required=True, help="for whom: a plant or device (repeat)"
    )
    what = parser.add_argument_group("what it carries")
    what.add_argument("--repository", metavar="DIR", help="the folder of a release repository")
    what.add_argument("--product", metavar="LINE/NAME", action="append", default=[], help="of which product (repeat)")
    what.add_argument("--channel", metavar="NAME", action="append", default=[], help="of this channel alone (repeat)")
    what.add_argument("--trust-file", metavar="FILE", help="trust.toml, with its signatures, history and trust.d")
    what.add_argument("--log", metavar="DIR", help="a folder with a log's checkpoint and proofs")
    what.add_argument(
        "--file",
        metavar="PATH",
        action="append",
        default=[],
        help="a signed file or folder, with what lies beside it (repeat)",
    )
    what.add_argument("--reports", metavar="DIR", help="a folder with the reports of devices")
    parser.add_argument("--days", metavar="N", type=int, default=DAYS, help=f"how long it is good (else {DAYS})")
    parser.add_argument("--number", metavar="N", type=int, help="its number, higher than the last (else the time)")
    parser.add_argument(
        "--answer", metavar="NONCE", action="append", default=[], help="what the receiver asked with (repeat)"
    )
    add_home(parser)
    parser.add_argument(
        "--key", metavar="KEY", type=key_string, help="name or key string of an enrolled key (else the first)"
    )
    parser.add_argument("--timestamp", metavar="URL|local|none", action="append", help="who proves the date (repeat)")
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run_pack)


def _configure_unpack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("courier", metavar="COURIER", help="its folder, the stick it lies on, or a .courier file")
    parser.add_argument("--into", metavar="DIR", required=True, help="the receiver's folder, which is there")
    parser.add_argument(
        "--as", metavar="ID", dest="receiver", required=True, help="who receives it, as it is addressed"
    )
    add_trust(parser, "the receiver's trust file")
    parser.add_argument(
        "--state", metavar="DIR", required=True, help="what the receiver remembers; a folder that is there"
    )
    parser.add_argument("--answered", action="store_true", help="only if it answers a nonce of `courier ask`")
    parser.add_argument(
        "--max-bytes", metavar="N", type=int, default=MAX_BYTES, help="the most that is taken (else 64 GiB)"
    )
    add_json(parser)
    parser.set_defaults(run=run_unpack)


def run_pack(args: argparse.Namespace) -> int:
    """Pack, sign, and say what was packed."""
    import os
    from datetime import UTC, datetime, timedelta

    from sealwright.artifact.progress import TerminalProgress
    from sealwright.envelope.kinds import FILE
    from sealwright.errors import UsageError
    from sealwright.release.courier import LONGEST, SUFFIX, Courier, checked_nonce, checked_place, number_at
    from sealwright.release.courierpack import pack_file, pack_folder
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.place import HomePlace
    from sealwright.signing.sign import SignOptions

    now = datetime.now(UTC).replace(microsecond=0)
    if not 1 <= args.days <= LONGEST.days:
        raise UsageError("--days", f"{args.days} is not 1 to {LONGEST.days}", "Name how long the way may take.")
    courier = Courier(
        sender=checked_place(args.sender, "--from"),
        number=args.number or number_at(now),
        made=now,
        until=now + timedelta(days=args.days),
        to=tuple(sorted({checked_place(one, "--to") for one in args.to})),
        answers=tuple(checked_nonce(one) for one in args.answer),
    )
    home = open_home(args.home)
    pin = pin_of(args, home.uri(home.key(args.key, KeyPurpose.ARTIFACT, FILE)))
    options = SignOptions(key=args.key, timestamp=tuple(args.timestamp) if args.timestamp else None, pin=pin)
    parts = [*_parts(args)]
    if not parts:
        raise UsageError("courier", "it would carry nothing", "Name --repository, --trust-file, --file or --reports.")
    pack = pack_file if args.out.endswith(SUFFIX) else pack_folder
    with TerminalProgress("packing") as progress:
        pack(courier, parts, args.out, HomePlace(home), options, progress)
    _say_packed(courier, parts, os.path.abspath(args.out), args)
    return 0


def _parts(args: argparse.Namespace) -> Iterator[Part]:
    import os

    from sealwright.errors import UsageError
    from sealwright.release.courierpack import Part, contents_of, signed_parts, trust_parts

    if args.repository:
        from sealwright.release.layout import product_path
        from sealwright.release.repositoryslice import slice_of

        if not args.product:
            raise UsageError("--repository", "no product is named", "Name --product LINE/NAME, as often as needed.")
        taken = slice_of(args.repository, [product_path(one) for one in args.product], args.channel)
        for name in taken.names:
            yield Part(f"repository/{name}".encode(), os.path.join(args.repository, name))
    if args.trust_file:
        yield from trust_parts("trust", args.trust_file)
    if args.log:
        yield from contents_of("log", args.log)
    for one in args.file:
        yield from signed_parts("files", one)
    if args.reports:
        yield from contents_of("reports", args.reports)


def _say_packed(courier: Courier, parts: list[Part], out: str, args: argparse.Namespace) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line, moment
    from sealwright.cli.render import moment as shown
    from sealwright.texts.words import say

    if args.json:
        print(
            line(
                {
                    "courier": courier.name,
                    "out": out,
                    "from": courier.sender,
                    "to": list(courier.to),
                    "number": courier.number,
                    "until": moment(courier.until),
                    "files": len(parts),
                }
            )
        )
        return
    print(say("courier.packed", name=courier.name, to=", ".join(courier.to), files=f"{len(parts):,}", out=display(out)))
    print(say("courier.until", until=shown(courier.until)))
    print(say("courier.next-unpack"))


def run_unpack(args: argparse.Namespace) -> int:
    """Verify, take over, and say what came."""
    from datetime import UTC, datetime

    from sealwright.artifact.progress import TerminalProgress
    from sealwright.release.courier import checked_place
    from sealwright.release.courierunpack import Receiver, Wanted, unpack
    from sealwright.trust.belief import load_trust

    now = datetime.now(UTC)
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint)
    receiver = Receiver(
        id=checked_place(args.receiver, "--as"),
        believed=believed,
        state=args.state,
        clock=now,
        wanted=Wanted.ANSWER if args.answered else Wanted.ANY,
        size_bytes=args.max_bytes,
    )
    with TerminalProgress("unpacking") as progress:
        unpacked = unpack(args.courier, args.into, receiver, progress)
    _say_unpacked(unpacked, args)
    return 0


def _say_unpacked(unpacked: Unpacked, args: argparse.Namespace) -> None:
    from sealwright.artifact.names import display
    from sealwright.cli.jsonout import line, moment
    from sealwright.cli.render import moment as shown
    from sealwright.release.courierunpack import signer_of
    from sealwright.texts.words import say

    courier = unpacked.courier
    if args.json:
        print(
            line(
                {
                    "courier": courier.name,
                    "folder": unpacked.folder,
                    "from": courier.sender,
                    "signer": signer_of(unpacked.verdict),
                    "number": courier.number,
                    "made": moment(courier.made),
                    "until": moment(courier.until),
                    "manifest": str(unpacked.manifest),
                    "parts": list(unpacked.parts),
                    "targets": unpacked.targets,
                    "answers": list(courier.answers),
                }
            )
        )
        return
    print(say("courier.taken", name=courier.name, made=shown(courier.made), folder=display(unpacked.folder)))
    print(say("courier.signer", signer=signer_of(unpacked.verdict), rule=unpacked.verdict.rule))
    for part in unpacked.parts:
        words = {
            "repository": say("courier.part-repository", targets=unpacked.targets, into=display(args.into)),
            "trust": say("courier.part-trust", folder=display(f"{unpacked.folder}/{courier.name}")),
            "log": say("courier.part-log"),
            "files": say("courier.part-files", folder=display(f"{unpacked.folder}/{courier.name}")),
            "reports": say("courier.part-reports", folder=display(f"{unpacked.folder}/{courier.name}")),
        }
        print("  " + words[part])
    print(say("courier.acknowledge", digest=unpacked.manifest))


def run_ask(args: argparse.Namespace) -> int:
    """Make a nonce and print it alone, so that a script can take it."""
    from datetime import UTC, datetime, timedelta

    from sealwright.cli.jsonout import line, moment
    from sealwright.errors import UsageError
    from sealwright.release.courier import LONGEST
    from sealwright.release.couriernonces import ask
    from sealwright.trust.state import read_state

    if not 1 <= args.days <= LONGEST.days:
        raise UsageError("--days", f"{args.days} is not 1 to {LONGEST.days}", "Name how long an answer may take.")
    clock, floor = datetime.now(UTC), read_state(args.state).floor
    now = clock if floor is None else max(clock, floor)
    nonce = ask(args.state, now, timedelta(days=args.days))
    until = now + timedelta(days=args.days)
    print(line({"nonce": nonce, "until": moment(until)}) if args.json else nonce)
    return 0
