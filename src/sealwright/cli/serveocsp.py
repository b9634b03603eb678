"""`sealwright serve ocsp`: which authorities are answered for, from what, and by which keys."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, key_string, pin_of

if TYPE_CHECKING:
    from sealwright.keys.key import OpenKey
    from sealwright.pki.ocsp import Served
    from sealwright.service.published import Publications
    from sealwright.service.server import Log
    from sealwright.signing.home import EnrolledKey, Home

REPEAT_S = 60.0


def configure_ocsp(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str
) -> argparse.ArgumentParser:
    """The options of its own."""
    ocsp = add_action(commands, "ocsp", "say over HTTP which certificates are revoked, and serve the lists", examples)
    add_home(ocsp)
    ocsp.add_argument(
        "--key",
        metavar="KEY",
        type=key_string,
        action="append",
        help="name of a key enrolled for OCSP (repeat; else every one of the home)",
    )
    ocsp.add_argument(
        "--valid-hours",
        metavar="N",
        type=_hours,
        default=24,
        help="how long an answer counts, 1 to 720 hours (else 24)",
    )
    ocsp.add_argument(
        "--sign-as-authority",
        action="store_true",
        help="let the authority's own key sign, where it has no responder (it must be online then)",
    )
    foreign = ocsp.add_argument_group("an authority whose register is not ours")
    foreign.add_argument("--issuer", metavar="FILE", help="its certificate, PEM")
    foreign.add_argument(
        "--crl", metavar="FILE", help="its newest revocation list, DER or PEM; read again when it changes"
    )
    ocsp.set_defaults(run=run_ocsp)
    return ocsp


def run_ocsp(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    import asyncio

    from sealwright.cli.serve import access_log
    from sealwright.errors import UsageError
    from sealwright.pki.ocsp import Responder
    from sealwright.service.ocsp import routes
    from sealwright.service.server import json_log, parse_listen, serve
    from sealwright.signing.home import open_home

    if (args.issuer is None) is not (args.crl is None):
        raise UsageError("--crl", "it goes with --issuer, whose list it is", "Give both, or neither.")
    home, listen, access, log = open_home(args.home), parse_listen(args.listen), access_log(args), json_log()
    note = _notes(log)
    opened: list[OpenKey] = []
    try:
        named, served = _served(args, home, opened, note)
        responder = Responder(served, timedelta(hours=args.valid_hours))
        offered = _publications(args, home)
        asyncio.run(
            serve(
                routes(responder, offered, lambda: datetime.now(UTC), note),
                listen,
                announce=lambda address: _announce(args, home, named, served, address),
                access=access,
                log=log,
            )
        )
    finally:
        for key in opened:
            key.close()
    return 0


def _served(
    args: argparse.Namespace, home: Home, opened: list[OpenKey], note: Callable[[str], None]
) -> tuple[list[EnrolledKey], list[Served]]:
    """Each authority once, with the responder's certificate that lasts longest. opened: gets every key, to be closed."""
    from sealwright.errors import UsageError
    from sealwright.keys.backends import open_key
    from sealwright.log.journal import refuse_locked
    from sealwright.pki.ocsp import Served
    from sealwright.pki.ocspsigner import authority_itself, delegated
    from sealwright.service.crlsource import CrlSource
    from sealwright.service.registersource import RegisterSource, SharedRegister
    from sealwright.signing.home import REGISTER, KeyPurpose
    from sealwright.signing.standing import StandingWatch, check_standing

    refuse_locked(home.folder)
    now = datetime.now(UTC)
    purpose = KeyPurpose.CERTIFICATES if args.sign_as_authority else KeyPurpose.OCSP
    names = args.key or [key.name for key in home.keys if key.purpose is purpose]
    if not names:
        raise UsageError(
            args.home,
            f"no key is enrolled for {purpose}",
            f"Make one: sealwright key enrol ocsp --home {args.home}",
        )
    foreign = _issuer(args.issuer) if args.issuer is not None else None
    register = SharedRegister(home.path(REGISTER))
    found: dict[bytes, tuple[EnrolledKey, bytes]] = {}
    for name in dict.fromkeys(names):
        key = home.key(name, purpose)
        issuer = key.certificate if args.sign_as_authority else foreign or _above(home, key)
        if issuer not in found or _ends(found[issuer][0]) < _ends(key):
            found[issuer] = (key, issuer)
    served = []
    for key, issuer in found.values():
        uri = home.uri(key)
        check_standing(home, key, now)
        own = open_key(uri, pin_of(args, uri), algorithm=key.algorithm, expected=key.public_key)
        opened.append(own)
        signer = (
            authority_itself(issuer, own, now)
            if args.sign_as_authority
            else delegated(issuer, key.certificate, own, now)
        )
        source = CrlSource(args.crl, issuer, note) if foreign is not None else RegisterSource(register, issuer)
        source.refresh(now)  # what is wrong with it is said now, not to the first who asks
        served.append(Served(issuer, source, signer, StandingWatch(home, key).problem))
    return [key for key, _ in found.values()], served


def _publications(args: argparse.Namespace, home: Home) -> Publications:
    """The lists beside the trust file and of --crl; the certificates of the home's authorities and of --issuer."""
    from sealwright.service.published import Publications
    from sealwright.signing.home import KeyPurpose

    folder = home.path("trust.d")

    def lists() -> Mapping[str, str]:
        try:
            names = [name for name in os.listdir(folder) if name.endswith(".crl")]
        except OSError:
            names = []
        own = {name.removesuffix(".crl"): os.path.join(folder, name) for name in names}
        return own if args.crl is None else {**own, _stem(args.crl): args.crl}

    certificates = {key.name: key.certificate for key in home.keys if key.purpose is KeyPurpose.CERTIFICATES}
    if args.issuer is not None:
        certificates[_stem(args.issuer)] = _issuer(args.issuer)
    return Publications(lists, certificates)


def _above(home: Home, key: EnrolledKey) -> bytes:
    """The certificate of the authority that issued a key's: the first of its path, else an anchor."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.artifact.source import read_file
    from sealwright.errors import UsageError
    from sealwright.signing.home import ANCHORS, MAX_BYTES

    if key.chain:
        return key.chain[0]
    own = x509.load_der_x509_certificate(key.certificate)
    for anchor in x509.load_pem_x509_certificates(read_file(home.path(ANCHORS), MAX_BYTES)):
        if anchor.subject == own.issuer:
            return anchor.public_bytes(Encoding.DER)
    raise UsageError(
        f"key {key.name}", "the authority that issued its certificate is not in the home", "Name it with --issuer."
    )


def _issuer(path: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.artifact.source import read_file
    from sealwright.envelope.certified import UNREADABLE
    from sealwright.errors import UsageError
    from sealwright.signing.home import MAX_BYTES

    data = read_file(path, MAX_BYTES)
    try:
        if data.startswith(b"-----"):
            return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
        x509.load_der_x509_certificate(data)
    except UNREADABLE as cause:
        raise UsageError(f"--issuer {path}", "it is no certificate", "Name the authority's certificate.") from cause
    return data


def _ends(key: EnrolledKey) -> datetime:
    from cryptography import x509

    return x509.load_der_x509_certificate(key.certificate).not_valid_after_utc


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _announce(
    args: argparse.Namespace, home: Home, keys: Sequence[EnrolledKey], served: Sequence[Served], address: str
) -> None:
    from cryptography import x509

    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    authorities = [x509.load_der_x509_certificate(one.issuer).subject.rfc4514_string() for one in served]
    if args.json:
        from sealwright.cli.jsonout import line

        told = [
            {"authority": name, "key": key.name, "valid_until": f"{one.signer.not_after:%Y-%m-%dT%H:%M:%SZ}"}
            for name, key, one in zip(authorities, keys, served, strict=True)
        ]
        print(line({"service": "ocsp", "address": address, "home": args.home, "authorities": told}), flush=True)
        return
    print(say("serve.ocsp", home=display(home.title), address=display(address)))
    for name, key, one in zip(authorities, keys, served, strict=True):
        until = f"{one.signer.not_after:%Y-%m-%d}"
        how = "authority" if args.sign_as_authority else "key"
        print(
            "  "
            + say(f"serve.ocsp-{how}", subject=display(name), key=key.name, algorithm=key.algorithm.name, until=until)
        )
    sys.stdout.flush()


def _notes(log: Log) -> Callable[[str], None]:
    """Lines for the operator, each at most once a minute: a storm of requests fills no disk."""
    told: dict[str, float] = {}

    def note(why: str) -> None:
        at = time.monotonic()
        if at - told.get(why, -REPEAT_S) < REPEAT_S:
            return
        if len(told) > 100:
            told.clear()
        told[why] = at
        log({"event": "ocsp", "why": why[:500]})

    return note


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 720):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours from 1 to 720")
    return int(text)
