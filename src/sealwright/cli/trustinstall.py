"""`trust install` and `trust bundle`: how a trust file, or a revocation alone, comes to a verifier, and what keeps it from going back."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.trustdiff import add_inventory

if TYPE_CHECKING:
    from sealwright.trust.belief import Believed
    from sealwright.trust.bundle import Brought
    from sealwright.trust.model import TrustFile


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The two actions."""
    install = add_action(
        commands, "install", "make a trust file the installed one, step by step from the old", examples
    )
    install.add_argument(
        "file",
        metavar="FILE",
        help="the new trust file, with its signatures and history beside it; or a revocation bundle (folder, deny.toml, ZIP)",
    )
    install.add_argument(
        "--to",
        metavar="DIR",
        required=True,
        help="the folder (not the file) where it is, or shall be, installed as trust.toml",
    )
    install.add_argument("--trust-fingerprint", metavar="TEXT", help="its fingerprint from the card (a first file)")
    install.add_argument(
        "--dry-run", action="store_true", help="check it and say what it would change; install nothing"
    )
    add_inventory(install)
    add_json(install)
    install.set_defaults(run=run_install)
    bundle = add_action(
        commands, "bundle", "put deny list and revocation lists into one small file or folder", examples
    )
    bundle.add_argument("file", metavar="FILE", help="the trust file beside which they lie")
    bundle.add_argument("--out", metavar="PATH", required=True, help="NAME.zip, or a folder such as a stick's")
    add_json(bundle)
    bundle.set_defaults(run=run_bundle)


def run_install(args: argparse.Namespace) -> int:
    """Believe it, by its predecessor or its fingerprint, and put it in place as one batch."""
    from sealwright.trust.bundle import copied_whole, is_bundle, told_as

    _want_folder(args.to)
    if is_bundle(args.file):
        return _install_bundle(args)
    if os.path.isdir(args.file):
        args.file = os.path.join(args.file, "trust.toml")
    installed = installed_in(args.to)
    fingerprint = args.trust_fingerprint
    if installed is None and fingerprint is None:
        fingerprint = _asked_fingerprint(args)
    with copied_whole(args.file) as copy, told_as(copy, args.file):
        return _install(args, copy, installed, fingerprint)


def _want_folder(to: str) -> None:
    """A file's name after --to would make a folder of that name, or end in the middle of a path."""
    from sealwright.errors import UsageError

    if os.path.isdir(to) or not (os.path.lexists(to) or to.endswith(".toml")):
        return
    folder = os.path.dirname(to) or "."
    raise UsageError(f"--to {to}", "it wants the folder; the file in it is always trust.toml", f"Write --to {folder}")


def _install(args: argparse.Namespace, copy: str, installed: TrustFile | None, fingerprint: str | None) -> int:
    """Judge the private copy, by the installed one or a fingerprint and nothing else, and install what was judged."""
    from datetime import UTC, datetime

    from sealwright.artifact.folders import alone_in
    from sealwright.errors import TrustRefused
    from sealwright.trust.belief import load_trust
    from sealwright.trust.bundle import install_bundle
    from sealwright.trust.history import history_path, install, read_signed

    believed = load_trust(copy, fingerprint=fingerprint, installed=installed)
    if args.dry_run:
        return _dry_run(args, installed, believed)
    with alone_in(args.to):
        if installed_in(args.to) != installed:
            raise TrustRefused(args.to, "another one was installed there meanwhile", "Install it again.")
        brought = install_bundle(copy, args.to, believed.trust, datetime.now(UTC))
        install(read_signed(copy), args.to, installed)
    trust = believed.trust
    path = os.path.join(args.to, "trust.toml")
    kept = history_path(path, installed.version) if installed is not None and installed.digest != trust.digest else None
    _tell_installed(args, believed, brought, kept)
    return 0


def _tell_installed(args: argparse.Namespace, believed: Believed, brought: Brought, kept: str | None) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    trust, path = believed.trust, os.path.join(args.to, "trust.toml")
    if args.json:
        from sealwright.cli.jsonout import line

        said: dict[str, object] = {"path": args.file, "output": path, "id": trust.id, "version": trust.version}
        said |= {"digest": str(trust.digest), "believed": believed.reason, "kept": kept}
        print(line(said | _brought_object(brought)))
        return
    where = display(args.to)
    named = {"version": trust.version, "id": display(trust.id), "folder": where, "reason": believed.reason}
    print(say("trust-install.installed", **named))
    if kept is not None:
        print("  " + say("install.kept", path=display(kept)))
    _tell_brought(brought)
    print("  " + say("trust-install.next", trust=display(path), folder=where))


def _brought_object(brought: Brought) -> dict[str, object]:
    left_out = list(brought.left_out)
    return {"deny_version": brought.deny_version or None, "new_crls": brought.lists, "left_out": left_out}


def _tell_brought(brought: Brought) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if brought.deny_version:
        print("  " + say("trust-install.deny", version=brought.deny_version))
    if brought.lists:
        print("  " + say("trust-install.lists", number=brought.lists))
    for name in brought.left_out:
        print("  " + say("trust-install.left-out", name=display(name)))


def _install_bundle(args: argparse.Namespace) -> int:
    """A revocation alone: judged by the installed trust file, from a private copy; it can only take trust away."""
    from datetime import UTC, datetime

    from sealwright.artifact.folders import alone_in
    from sealwright.artifact.names import display
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.bundle import Brought, check_bundle, copied, install_bundle, told_as

    installed = installed_in(args.to)
    if installed is None:
        raise UsageError(
            args.to, "no trust file is installed there", "Install the trust file first; a bundle alone adds no trust."
        )
    beside = os.path.join(args.file if os.path.isdir(args.file) else os.path.dirname(args.file), "trust.toml")
    with copied(args.file) as copy, told_as(copy, beside):
        check_bundle(copy, installed, args.to)
        if args.dry_run:
            return _dry_run(args, installed, _with_bundle(copy, args.to))
        with alone_in(args.to):
            check_bundle(copy, installed, args.to)
            before = _deny_version(args.to)
            brought = install_bundle(copy, args.to, installed, datetime.now(UTC))
    new = brought.lists > 0 or brought.deny_version > before
    if args.json:
        from sealwright.cli.jsonout import line

        said: dict[str, object] = {"path": args.file, "output": args.to, "id": installed.id, "new": new}
        print(line(said | _brought_object(brought)))
        return 0
    if new:
        print(say("bundle.installed", folder=display(args.to)))
    else:
        print(say("bundle.nothing-new", path=display(args.file), folder=display(args.to)))
    _tell_brought(brought if new else Brought(0, 0, brought.left_out))
    return 0


def _deny_version(folder: str) -> int:
    from sealwright.artifact.source import read_file_or_none
    from sealwright.trust.belief import DENY, parse_deny
    from sealwright.trust.trustfile import MAX_BYTES

    path = os.path.join(folder, DENY)
    data = read_file_or_none(path, MAX_BYTES)
    return 0 if data is None else parse_deny(data, path).version


def _with_bundle(copy: str, folder: str) -> Believed:
    from dataclasses import replace

    from sealwright.artifact.source import read_file
    from sealwright.trust.belief import CRL_FOLDER, DENY, crl_names, parse_deny, unbelieved
    from sealwright.trust.revocation import MAX_CRL_BYTES
    from sealwright.trust.trustfile import MAX_BYTES

    now = unbelieved(os.path.join(folder, "trust.toml"))
    beside = os.path.dirname(copy)
    lists = [read_file(os.path.join(beside, CRL_FOLDER, name), MAX_CRL_BYTES) for name in crl_names(copy)]
    new = replace(now, crls=tuple(dict.fromkeys((*now.crls, *lists))))
    deny = os.path.join(beside, DENY)
    if not os.path.lexists(deny):
        return new
    given = parse_deny(read_file(deny, MAX_BYTES), deny)
    return replace(new, denied=(*now.trust.denied, *given.denied), deny_version=given.version)


def _dry_run(args: argparse.Namespace, installed: TrustFile | None, believed: Believed) -> int:
    """What it would change, after it was found to be believable."""
    from sealwright.cli.trustdiff import report, with_brought
    from sealwright.cli.trusttext import trust_text
    from sealwright.texts.words import say
    from sealwright.trust.belief import unbelieved

    path = os.path.join(args.to, "trust.toml")
    if installed is None:
        if not args.json:
            sys.stdout.write(trust_text(believed.trust))
            print(say("install.dry"))
        return 0
    old = unbelieved(path)
    args.old, args.new = path, args.file
    code = report(args, old, with_brought(old, believed, None, ()), args.file)
    if not args.json:
        print(say("install.dry"))
    return code


def run_bundle(args: argparse.Namespace) -> int:
    """What can only take trust away, out of the folder of a trust file, into one file or folder."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.archive import write_files, zip_of
    from sealwright.trust.belief import DENY, DENY_KIND, signed_deny
    from sealwright.trust.bundle import check_bundle, folder_files
    from sealwright.trust.history import persons_of, read_signed, read_text, signing_keys
    from sealwright.trust.trustfile import parse_trust

    trust = parse_trust(read_text(args.file), args.file)
    files = folder_files(args.file)
    if not files:
        raise UsageError(
            args.file,
            "beside it is neither deny.toml nor trust.d/*.crl",
            f"Write one first: sealwright trust new deny.toml --for {args.file}",
        )
    folder = os.path.dirname(args.file)
    check_bundle(args.file, trust, folder)
    deny, names = None, ""
    if DENY in files:
        signed = read_signed(os.path.join(folder, DENY))
        deny = signed_deny(signed, trust)
        names = ", ".join(sorted(persons_of(trust.officers, signing_keys(signed, DENY_KIND)))) or say("change.none")
    if args.out.lower().endswith(".zip"):
        data = zip_of(files)
        write_atomic(args.out, data, replace=Replace.YES)
        size = len(data)
    else:
        os.makedirs(args.out, exist_ok=True)
        write_files(files, args.out)
        size = sum(map(len, files.values()))
    lists = sum(name.lower().endswith(".crl") for name in files)
    if args.json:
        from sealwright.cli.jsonout import line

        said: dict[str, object] = {"path": args.file, "output": args.out, "id": trust.id, "size": size}
        print(line(said | {"deny_version": deny.version if deny else None, "crls": lists}))
        return 0
    print(say("bundle.written", out=display(args.out), id=display(trust.id), size=f"{size:,}"))
    if deny is not None:
        print("  " + say("bundle.deny", version=deny.version, number=len(deny.denied), names=display(names)))
    if lists:
        print("  " + say("bundle.lists", number=lists))
    print("  " + say("bundle.next", out=display(args.out)))
    return 0


def installed_in(folder: str) -> TrustFile | None:
    """The trust file that was installed in a folder, None if there is none yet."""
    from sealwright.artifact.source import read_file_or_none
    from sealwright.trust.trustfile import MAX_BYTES, parse_trust

    path = os.path.join(folder, "trust.toml")
    data = read_file_or_none(path, MAX_BYTES)
    return None if data is None else parse_trust(data, path)


def _asked_fingerprint(args: argparse.Namespace) -> str:
    """A first file always needs its fingerprint: typed in from the card, never shown first."""
    from sealwright.errors import UsageError
    from sealwright.texts.words import say

    if not sys.stdin.isatty():
        raise UsageError(
            args.file, "a first trust file needs its fingerprint", "Add --trust-fingerprint with the card's words."
        )
    print(say("trust-install.ask"), file=sys.stderr)
    return sys.stdin.readline()
