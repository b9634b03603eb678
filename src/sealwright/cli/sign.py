"""Sign files and folders with an enrolled key: FILE.p7s beside a file, NAME.manifest and its .p7s for a folder or claims.

A file whose device or operating system looks for the signature inside (--format) becomes a new file; the old one stays.

Every signature is recorded in the home's journal before it leaves. Nothing is written for a path that cannot be signed;
the others go on.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from sealwright.cli.arguments import (
    FORMATS,
    add_claims,
    add_home,
    add_json,
    add_layout,
    add_pin_file,
    claims_of,
    key_string,
    layouts_of,
    period,
    pin_of,
)
from sealwright.cli.asking import add_service

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwright.artifact.progress import Progress
    from sealwright.signing.home import Home
    from sealwright.signing.place import SigningPlace
    from sealwright.signing.sign import NotSigned, Signed, SignOptions

EXAMPLES = (
    """examples:
  sealwright sign drive.bin --home home                                       writes drive.bin.p7s
  sealwright sign project/ --home home --product "line 3" --version 2.4 --generation 7
  sealwright sign *.bin --home home --key release-2026 --pin-file pin.txt --out signatures/
  sealwright sign drive.bin --home plant-home --as plant                      the plant's signature beside the maker's
  sealwright sign boot.efi --home home --format pe --out signed.efi           the signature goes inside the program
  sealwright sign image.bin --home home --layout acme.layout --out signed.bin       as a maker's own header wants it
  sealwright sign rootfs/ --home home --format ima --out rootfs.ima           IMA signatures for setfattr --restore
  sealwright sign drive.bin --home home --timestamp http://tsa.example/       with another authority's timestamp
  sealwright sign drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright sign drive.bin --upload --service https://sign.acme.example:8443 --service-ca ca.pem --client me.pem --client-key me.key
  sealwright sign drive.bin --home home --timestamp http://tsa.example/ --timestamp http://tsa2.example/ --timestamp-later
"""
    + FORMATS
)
WHOLE_FILE = (None, "ima")  # what signs the SHA-256 of all bytes, which may begin early


def configure(parser: argparse.ArgumentParser) -> None:
    """The options; --version here is the artifact's, the program's own is `sealwright --version`."""
    from sealwright.formats.known import EMBEDDED

    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder to sign")
    add_home(parser, required=False)
    service = parser.add_argument_group("a signing service in place of a home")
    add_service(service, required=False)
    service.add_argument("--reason", metavar="TEXT", default="", help="why, for those who approve")
    service.add_argument(
        "--emergency", action="store_true", help="it cannot wait for what is usual; two officers look at it afterwards"
    )
    service.add_argument(
        "--upload",
        action="store_true",
        help="upload the files where the service waits for them, to prepare them itself",
    )
    service.add_argument(
        "--wait",
        metavar="PERIOD",
        type=period,
        help="how long approvals and signatures may take, such as 30m (else 1h)",
    )
    parser.add_argument(
        "--key", metavar="KEY", type=key_string, help="name or key string of an enrolled key (else the home's first)"
    )
    add_claims(parser)
    parser.add_argument(
        "--timestamp",
        metavar="URL|local|none",
        action="append",
        help="who proves the date (else the home's choice); repeat: the next one is asked where one does not answer",
    )
    parser.add_argument(
        "--timestamps", metavar="N", type=int, default=1, help="timestamps from N distinct authorities (else 1)"
    )
    parser.add_argument(
        "--timestamp-later",
        action="store_true",
        default=None,
        help="sign though no authority answers, and stamp later (`sealwright stamp`); exit code 3 then",
    )
    parser.add_argument(
        "--as",
        dest="slot",
        choices=("maker", "plant", "pq"),
        default="maker",
        help="whose signature this is: the maker's (else), a plant's (NAME.plant.p7s; with scope and reports: `sealwright accept`), one by a post-quantum key (NAME.pq.p7s)",
    )
    parser.add_argument(
        "--format",
        choices=tuple(EMBEDDED),
        help="put the signature where this format's verifiers want it (found out where --out names a file)",
    )
    add_layout(parser)
    parser.add_argument("--out", metavar="OUT", help="folder for the results, or the new file of --format")
    parser.add_argument("--recursive", action="store_true", help="sign each file of a folder by itself")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--replace", action="store_true", help="replace results that are already there, and signatures inside"
    )
    again.add_argument("--add", action="store_true", help="keep the signatures inside and add this one")
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sign every path, say for each what was written."""
    from sealwright.artifact.source import reading_ahead

    # what goes inside binds the digest of some of the bytes, in a format's own order
    with reading_ahead(args.paths if args.format in WHOLE_FILE else ()):
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    import os

    from sealwright.artifact.output import Replace
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.errors import UsageError
    from sealwright.formats.format import Existing, Slot
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.place import HomePlace
    from sealwright.signing.sign import NotSigned, SignOptions, kind_for

    if (args.home is None) is (args.service is None):
        raise UsageError("--home", "signatures are made in a home or by a service", "Name one: --home or --service.")
    if args.upload and (args.service is None or (not args.recursive and any(map(os.path.isdir, args.paths)))):
        raise UsageError("--upload", "it sends files, not folders, to a service", "Leave it out, or sign files.")
    layout = next(iter(layouts_of(args)), None)
    form = args.format or ("layout" if layout is not None else found_out(args))
    options = SignOptions(
        key=args.key,
        claims=claims_of(args),
        timestamp=tuple(args.timestamp) if args.timestamp else None,
        timestamps=args.timestamps,
        later=args.timestamp_later,
        slot=Slot(args.slot),
        out=args.out,
        recursive=args.recursive,
        replace=Replace.YES if args.replace else Replace.OFFERED,
        pin=None,
        format=form,
        existing=Existing.ADD if args.add else Existing.REPLACE if args.replace and form else Existing.REFUSE,
        layout=layout,
    )
    signed = failed = pending = 0
    with ExitStack() as stack:
        if args.service is not None:
            place = _service(args, stack)
            home = None
        else:
            home = open_home(args.home)
            key = home.key(args.key, KeyPurpose.ARTIFACT, kind_for(form, layout), form or "")
            options = replace(options, pin=pin_of(args, home.uri(key)))
            place = HomePlace(home)
        progress = stack.enter_context(TerminalProgress("reading"))
        for answer in _answers(args, place, home, options, progress):
            progress.close()
            if isinstance(answer, NotSigned):
                failed += 1
                say_refused(answer, args)
            else:
                signed += 1
                pending += bool(answer.pending)
                say_signed(answer, args)
    if not args.json and signed + failed > 1:
        from sealwright.texts.words import say

        print(say("sign.summary", signed=f"{signed:,}", failed=f"{failed:,}"))
    if pending:
        from sealwright.texts.words import say

        print(say("sign.pending", number=f"{pending:,}", home=args.home), file=sys.stderr)
    return 1 if failed or not signed else 3 if pending else 0


def _service(args: argparse.Namespace, stack: ExitStack) -> SigningPlace:
    from datetime import timedelta

    from sealwright.cli.asking import client_of
    from sealwright.service.fileupload import Files
    from sealwright.service.serviceplace import ServicePlace
    from sealwright.service.wire import StandingRequest
    from sealwright.texts.words import say

    def said(standing: StandingRequest) -> None:
        print(say("sign.waits-for-approval", id=standing.id, url=args.service), file=sys.stderr, flush=True)
        if standing.needed_prepares:
            told = say("sign.waits-for-prepares", number=standing.needed_prepares, id=standing.id)
            print(told, file=sys.stderr, flush=True)
        if standing.needs_upload and not args.upload:
            print(say("sign.waits-for-upload"), file=sys.stderr, flush=True)

    wait_s = (timedelta(hours=1) if args.wait is None else args.wait).total_seconds()
    client = stack.enter_context(client_of(args))
    files = Files.UPLOADED if args.upload else Files.STAY
    return ServicePlace(client, reason=args.reason, emergency=args.emergency, files=files, wait_s=wait_s, said=said)


def _answers(
    args: argparse.Namespace, place: SigningPlace, home: Home | None, options: SignOptions, progress: Progress
) -> Iterable[Signed | NotSigned]:
    """One answer a path; the IMA signatures of a tree are one list."""
    import os

    from sealwright.errors import UsageError
    from sealwright.signing.sign import sign_at

    def is_tree(path: str) -> bool:
        return path.endswith(".manifest") or (os.path.isdir(path) and not options.recursive)

    if options.format != "ima" or not any(map(is_tree, args.paths)):
        return sign_at(args.paths, place, options, progress)
    if home is None:
        raise UsageError("--format ima", "a tree's list is signed in a home", "Sign it with --home.")
    if len(args.paths) != 1:
        raise UsageError("--format ima", "the signatures of a tree are one list", "Sign one tree at a time.")
    from sealwright.signing.imatree import sign_tree

    return (sign_tree(args.paths[0], home, options, progress),)


def found_out(args: argparse.Namespace) -> str | None:
    """The format of the one file whose new file --out names; None where --out is a folder or not given."""
    import os

    from sealwright.errors import UsageError
    from sealwright.formats.embedded import recognised

    if args.out is None or os.path.isdir(args.out):
        return None
    if args.out.endswith(("/", os.sep)) or len(args.paths) != 1 or os.path.isdir(args.paths[0]):
        raise UsageError(args.out, "there is no such folder", "Create it, or name another one with --out.")
    return recognised(args.paths[0]).name


def say_signed(signed: Signed, args: argparse.Namespace) -> None:
    """What was written for a path, and by whom it is signed."""
    if args.json:
        from sealwright.cli.jsonout import claims_object, finding_object, line, moment

        print(
            line(
                {
                    "path": signed.path,
                    "outcome": "signed",
                    "outputs": list(signed.outputs),
                    "key": signed.key,
                    "subject": signed.subject,
                    "provenance": signed.provenance,
                    "algorithm": signed.algorithm,
                    "claimed": moment(signed.claimed),
                    "timestamp": moment(signed.stamped),
                    "pending": signed.pending,
                    "findings": [finding_object(one) for one in signed.findings],
                    "claims": claims_object(signed.claims),
                    "size": signed.size,
                }
            )
        )
        return
    from sealwright.artifact.names import display
    from sealwright.cli.render import moment as shown
    from sealwright.texts.words import say

    date = say("sign.date-proved", time=shown(signed.stamped)) if signed.stamped else say("sign.date-unknown")
    by = {"subject": display(signed.subject), "algorithm": signed.algorithm, "date": date}
    print(say("sign.signed", path=display(signed.path), outputs=display(", ".join(signed.outputs))))
    for finding in signed.findings:
        print("  " + say("stamp.warning", what=display(finding.sentence), step=finding.next_step))
    if signed.pending:
        print("  " + say("sign.waits", number=signed.pending))
    print("  " + (say("sign.by-development", **by) if signed.provenance == "development" else say("sign.by", **by)))


def say_refused(refused: NotSigned, args: argparse.Namespace) -> None:
    """Why nothing was written for a path."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    if args.json:
        from sealwright.cli.jsonout import error_object, line

        print(line({"path": refused.path, "outcome": "not-signed", "findings": [error_object(refused.error)]}))
    print(say("sign.refused", path=display(refused.path), why=display(str(refused.error))), file=sys.stderr)
