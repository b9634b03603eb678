"""In a CI job: sign by a signing service with the token that the CI system gives the job, and check build provenance.

A token is good once, is read where the CI system puts it, and is never shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sealwright.cli.arguments import (
    FORMATS,
    add_action,
    add_claims,
    add_json,
    add_layout,
    claims_of,
    key_string,
    layouts_of,
    period,
)
from sealwright.cli.asking import add_service, client_of, need_client, need_options

if TYPE_CHECKING:
    from sealwright.cli.cipages import Told
    from sealwright.service.client import Client
    from sealwright.service.serviceplace import ServicePlace

EXAMPLES = """examples:
  sealwright ci sign drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --product drive --environment production
  sealwright ci sign drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --token-env SEALWRIGHT_TOKEN --token-env SEALWRIGHT_TOKEN_2
  sealwright ci sign drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --client ci.pem --client-key ci.key --run nightly-7
  sealwright ci sign drive.bin --service https://sign.acme.example:8443 --service-ca ca.pem --provenance drive.bin.intoto.jsonl --wait 8h
  sealwright ci verify drive.bin --builder https://ci.acme.example/workflows/release --builder-key builder.pem --build-type https://actions.github.io/buildtypes/workflow/v1
"""
AT_ONCE = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    sign = add_action(commands, "sign", "have files and folders signed, and wait for approvals", EXAMPLES + FORMATS)
    _configure_sign(sign)
    verify = add_action(
        commands, "verify", "check offline that a builder built exactly these files, as its provenance says", EXAMPLES
    )
    verify.add_argument("paths", nargs="+", metavar="PATH", help="files that were built")
    verify.add_argument("--provenance", metavar="FILE", help="the statement (else PATH.intoto.jsonl)")
    verify.add_argument("--builder", metavar="ID", required=True, help="the builder's id, letter by letter")
    verify.add_argument("--builder-key", metavar="FILE", required=True, help="its public key, PEM")
    verify.add_argument("--build-type", metavar="URI", required=True, help="the build type, letter by letter")
    verify.add_argument("--source", metavar="REPOSITORY", help="the repository, letter by letter")
    verify.add_argument("--source-ref", metavar="REF", help="its tag or branch, such as refs/tags/v1")
    verify.add_argument("--others", action="store_true", help="let the statement name other files too")
    add_json(verify)
    verify.set_defaults(run=run_verify)


def _configure_sign(parser: argparse.ArgumentParser) -> None:
    from sealwright.formats.known import EMBEDDED

    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder to sign")
    service = parser.add_argument_group("the signing service, and who asks it")
    add_service(service, required=True)
    service.add_argument("--audience", metavar="TEXT", help="what a token of GitHub is asked for (else the URL)")
    service.add_argument(
        "--token-env",
        metavar="NAME",
        action="append",
        default=[],
        help="variable with a token (repeat: each is good once)",
    )
    service.add_argument("--token-file", metavar="FILE", action="append", default=[], help="file with a token (repeat)")
    service.add_argument("--reason", metavar="TEXT", default="", help="why, for those who approve")
    service.add_argument(
        "--upload",
        action="store_true",
        help="upload the files where the service waits for them, to prepare them itself",
    )
    service.add_argument(
        "--wait", metavar="PERIOD", type=period, help="how long approvals may take, such as 30m (else 1h)"
    )
    service.add_argument(
        "--run",
        dest="named",
        metavar="TEXT",
        default="",
        help="a name of this run, where no CI system gives one: asking twice by it is asking once",
    )
    parser.add_argument("--key", metavar="NAME", type=key_string, help="which key (else the first that signs this)")
    add_claims(parser)
    parser.add_argument(
        "--provenance", metavar="FILE", help="what the builder states (else the job states what it knows itself)"
    )
    parser.add_argument("--timestamp", metavar="URL|none", action="append", help="who proves the date")
    parser.add_argument(
        "--format", choices=tuple(EMBEDDED), help="put the signature where this format's verifiers want it"
    )
    add_layout(parser)
    parser.add_argument("--out", metavar="OUT", help="folder for the results, or the new file of --format")
    parser.add_argument("--recursive", action="store_true", help="sign each file of a folder by itself")
    parser.add_argument("--replace", action="store_true", help="replace results that are already there")
    add_json(parser)
    parser.set_defaults(run=run_sign)


def run_sign(args: argparse.Namespace) -> int:
    """Ask, wait, write results and the provenance; 3 where nothing is decided yet."""
    from sealwright.cli.main import failed
    from sealwright.errors import ServiceUnavailable

    try:
        return _sign(args)
    except ServiceUnavailable as cause:
        failed(cause, args.json)
        return 3


def _sign(args: argparse.Namespace) -> int:
    from sealwright.artifact.output import Replace
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.cipages import Told
    from sealwright.cli.sign import found_out, say_refused, say_signed
    from sealwright.signing.sign import NotSigned, SignOptions, sign_at

    need_client()
    layout = next(iter(layouts_of(args)), None)
    form = args.format or ("layout" if layout is not None else found_out(args))
    options = SignOptions(
        key=args.key,
        claims=claims_of(args),
        timestamp=tuple(args.timestamp) if args.timestamp else None,
        out=args.out,
        recursive=args.recursive,
        replace=Replace.YES if args.replace else Replace.OFFERED,
        format=form,
        layout=layout,
        batch=AT_ONCE,
    )
    signed = refused = 0
    told = Told.of(args, options.replace)
    with ExitStack() as stack:
        place = _place(args, told, stack)
        progress = stack.enter_context(TerminalProgress("reading"))
        for answer in sign_at(args.paths, place, options, progress):
            progress.close()
            if isinstance(answer, NotSigned):
                refused += 1
                say_refused(answer, args)
            else:
                signed += 1
                say_signed(answer, args)
    if signed:
        told.write()
    return 1 if refused or not signed else 0


def _place(args: argparse.Namespace, told: Told, stack: ExitStack) -> ServicePlace:
    from datetime import timedelta

    from sealwright.service.fileupload import Files
    from sealwright.service.serviceplace import ServicePlace

    client = stack.enter_context(_client(args))
    wait_s = (timedelta(hours=1) if args.wait is None else args.wait).total_seconds()
    files = Files.UPLOADED if args.upload else Files.STAY
    return ServicePlace(client, reason=args.reason, files=files, wait_s=wait_s, watched=told.watched, origin=told)


def _client(args: argparse.Namespace) -> Client:
    """By certificate where one is named, else by the job's tokens."""
    from sealwright.service.citokens import tokens_of
    from sealwright.service.client import Address, Client

    if args.client is not None or args.client_key is not None:
        return client_of(args)
    need_options(args, "service_ca")
    tokens = tokens_of(os.environ, args.token_env, args.token_file, args.audience or args.service)
    return Client(Address(args.service, "", "", args.service_ca), tokens)


def run_verify(args: argparse.Namespace) -> int:
    """Say what the statement says, or what is not as it was demanded."""
    from sealwright.cli.cipages import verified, verified_lines, verified_object
    from sealwright.cli.main import failed
    from sealwright.errors import ProvenanceRefused

    try:
        found = verified(args)
    except ProvenanceRefused as cause:
        failed(cause, args.json)
        return 1
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(verified_object(args.paths, found)))
    else:
        print("\n".join(verified_lines(args.paths, found)))
    sys.stdout.flush()
    return 0
