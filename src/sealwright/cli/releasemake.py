"""`release create` and `release add`: a folder becomes a signed release, and a signed release is staged for a repository."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, add_trust, key_string, period, pin_of
from sealwright.cli.asking import add_service

if TYPE_CHECKING:
    from sealwright.artifact.progress import Progress
    from sealwright.release.staging import Staging


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The two actions."""
    create = add_action(
        commands, "create", "check a release's folder and sign it: VERSION.manifest and its .p7s", examples
    )
    create.add_argument(
        "folder", metavar="FOLDER", help="the release with its release.toml; the folder is called as the version"
    )
    add_home(create, required=False)
    service = create.add_argument_group("a signing service in place of a home")
    add_service(service, required=False)
    service.add_argument("--reason", metavar="TEXT", default="", help="why, for those who approve")
    service.add_argument("--wait", metavar="PERIOD", type=period, help="how long approvals may take (else 1h)")
    create.add_argument("--key", metavar="KEY", type=key_string, help="name or key string of an enrolled key")
    create.add_argument("--product", metavar="TEXT", required=True, help="the product it is for")
    create.add_argument("--generation", metavar="N", type=int, required=True, help="grows with each release")
    create.add_argument("--hardware", metavar="TEXT", action="append", default=[], help="hardware it fits (repeat)")
    create.add_argument("--environment", metavar="TEXT", help="production, test or development")
    create.add_argument("--timestamp", metavar="URL|local|none", action="append", help="who proves the date (repeat)")
    create.add_argument(
        "--allow",
        metavar="PATH=WHY",
        action="append",
        default=[],
        help="a file that holds a private key rightly (repeat)",
    )
    create.add_argument("--dry-run", action="store_true", help="check the folder and sign nothing")
    add_pin_file(create)
    add_json(create)
    create.set_defaults(run=run_create)
    add = add_action(commands, "add", "stage signed releases, once they verify", examples)
    add.add_argument("desk", metavar="DIR", help="the staging folder")
    add.add_argument("folders", nargs="+", metavar="FOLDER", help="signed releases of one product")
    add.add_argument("--to", metavar="LINE/NAME", required=True, help="the product's place, such as drives/vx-200")
    add.add_argument(
        "--accepted-only",
        action="store_true",
        help="into a plant's own repository: manifests and the plant's signatures; the files stay in the maker's",
    )
    add_trust(add, "the trust file that devices of the product use")
    add_json(add)
    add.set_defaults(run=run_add)


def run_create(args: argparse.Namespace) -> int:
    """Check, then sign as `sign` does."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.errors import UsageError
    from sealwright.formats.registry import plain_folder
    from sealwright.texts.words import say

    if (args.home is None) is (args.service is None):
        raise UsageError("--home", "a release is signed in a home or by a service", "Name one: --home or --service.")
    folder = plain_folder(args.folder)
    with TerminalProgress("checking") as progress:
        files = _checked(folder, args, progress)
    if args.dry_run:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"path": args.folder, "outcome": "could-be-signed", "files": files}))
        else:
            print(display(say("release.could-be-signed", path=args.folder, files=f"{files:,}")))
        return 0
    return _sign(folder, args)


def _checked(folder: str, args: argparse.Namespace, progress: Progress) -> int:
    """How many files it has; raises what is wrong with it."""
    from sealwright.artifact.source import read_file
    from sealwright.artifact.walk import walk_tree
    from sealwright.errors import UsageError
    from sealwright.release.description import MAX_BYTES, NAME, check_complete, parse_description
    from sealwright.release.layout import ProductPath, checked_part
    from sealwright.release.privatekeys import refuse_private_keys

    checked_part(os.path.basename(folder), "version")
    names = walk_tree(folder).files
    path = os.path.join(folder, NAME)
    check_complete(parse_description(read_file(path, MAX_BYTES), path), names, folder)
    for name in names:
        ProductPath("any", "any").member(os.path.basename(folder), name)  # which refuses what no URL can name
    allowed = dict(one.partition("=")[::2] for one in args.allow)
    for name, why in allowed.items():
        if not why.strip():
            raise UsageError(f"--allow {name}", "it is not said why", f"Write --allow '{name}=public test vector'.")
        if os.fsencode(name) not in names:
            raise UsageError(f"--allow {name}", "the release has no such file", "Name it as it lies in the folder.")
    refuse_private_keys(folder, allowed.keys(), progress)
    return len(names)


def _sign(folder: str, args: argparse.Namespace) -> int:
    from datetime import timedelta

    from sealwright.artifact.claims import Claims
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.asking import client_of
    from sealwright.cli.sign import say_refused, say_signed
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.place import HomePlace, SigningPlace
    from sealwright.signing.sign import NotSigned, SignOptions, kind_for, sign_at

    claims = Claims(args.product, os.path.basename(folder), args.generation, tuple(args.hardware), args.environment)
    with ExitStack() as stack:
        pin = None
        if args.service is not None:
            from sealwright.service.serviceplace import ServicePlace

            wait_s = (timedelta(hours=1) if args.wait is None else args.wait).total_seconds()
            client = stack.enter_context(client_of(args))
            place: SigningPlace = ServicePlace(client, reason=args.reason, wait_s=wait_s)
        else:
            home = open_home(args.home)
            pin = pin_of(args, home.uri(home.key(args.key, KeyPurpose.ARTIFACT, kind_for(None))))
            place = HomePlace(home)
        timestamp = tuple(args.timestamp) if args.timestamp else None
        options = SignOptions(key=args.key, claims=claims, timestamp=timestamp, pin=pin)
        progress = stack.enter_context(TerminalProgress("reading"))
        (answer,) = sign_at([folder], place, options, progress)
    if isinstance(answer, NotSigned):
        say_refused(answer, args)
        return 1
    say_signed(answer, args)
    return 3 if answer.pending else 0


def run_add(args: argparse.Namespace) -> int:
    """Copy, verify, stage; say what comes next."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.release.intake import add_acceptances, add_releases
    from sealwright.release.layout import product_path
    from sealwright.texts.words import say
    from sealwright.trust.belief import load_trust

    staging = opened(args.desk)
    believed = load_trust(args.trust, fingerprint=args.trust_fingerprint)
    product, now = product_path(args.to), datetime.now(UTC)
    with TerminalProgress("verifying") as progress:
        if args.accepted_only:
            taken = add_acceptances(staging, args.folders, product, believed, now, progress)
        else:
            taken = add_releases(staging, args.folders, product, believed, now, progress)
    for one in taken:
        if args.json:
            from sealwright.cli.jsonout import line

            print(
                line({"path": one.path, "outcome": "staged", "product": one.product, "version": one.version,
                      "generation": one.generation, "files": one.files, "size": one.size_bytes, "again": one.again})
            )  # fmt: skip
            continue
        shown = {"product": one.product, "version": one.version, "generation": one.generation, "place": args.to}
        size = {"files": f"{one.files:,}", "size": megabytes(one.size_bytes)}
        print(
            display(
                say("release.added-proofs", **shown, **size) if one.again else say("release.added", **shown, **size)
            )
        )
    if not args.json:
        print("  " + display(say("release.next-sign", desk=args.desk)))
    return 0


def opened(desk: str) -> Staging:
    """A staging folder; UsageError where it is none, or python-tuf is not installed."""
    need_tuf()
    from sealwright.release.staging import Staging

    return Staging(desk)


def need_tuf() -> None:
    """UsageError where python-tuf is not installed; it is an extra."""
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("tuf") is None:
        raise UsageError("release", "python-tuf is not installed", "Install it: pip install 'sealwright[release]'")


def megabytes(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e6:,.1f} MB"
