"""What an authority of the home does beside issuing: its ceremony, revocation lists, cross-signing, requests to one above it."""

from __future__ import annotations

import argparse

from sealwright.cli import ceremony
from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, period, pin_of

EXAMPLES = """examples:
  sealwright ca crl --home ca                                        the next revocation list, into ca/trust.d
  sealwright ca crl --home ca --authority root --valid 180d --out root.crl
  sealwright ca cross-sign new-root.pem --home ca --authority root --out new-root-by-old.pem
  sealwright ca csr 'pkcs11:token=ca;object=signing' --subject 'CN=Signing CA,O=ACME' --out signing.csr
  sealwright ca ceremony plan plan.txt --title "ACME signing" --officer eva=eva.pem --officer jan=jan.pem --threshold 2 \
--root "ACME root" --intermediate "ACME signing CA" --token pkcs11:token=ca
  sealwright ca ceremony plan rehearsal/plan.txt --example           a filled plan, and homes of people to rehearse with
  sealwright ca ceremony begin plan.txt                              a nonce, and the plan's words to read aloud
  sealwright ca ceremony attend plan.txt --nonce NONCE --home eva --person eva --out eva.p7s
  sealwright ca ceremony run plan.txt --home ca --nonce NONCE --attendance eva.p7s jan.p7s
  sealwright ca ceremony sign ca/ceremony/transcript.txt --home eva --person eva
  sealwright ca ceremony check ca/ceremony/transcript.txt --plan plan.txt --home ca
  sealwright ca ceremony check one/transcript.txt other/transcript.txt --plan plan.txt   neither where both have one nonce
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    crl = add_action(commands, "crl", "make the next revocation list of an authority", EXAMPLES)
    add_home(crl)
    crl.add_argument("--authority", metavar="NAME", help="the key of the home that signs it (else its usual one)")
    crl.add_argument("--valid", metavar="TIME", type=period, help="until the next one at the latest (else 30d)")
    crl.add_argument("--out", metavar="FILE", help="write it here too")
    add_pin_file(crl)
    add_json(crl)
    crl.set_defaults(run=run_crl)
    cross = add_action(commands, "cross-sign", "certify another authority under its own name and key", EXAMPLES)
    cross.add_argument("file", metavar="FILE", help="the other authority's certificate, PEM or DER")
    add_home(cross)
    cross.add_argument("--authority", metavar="NAME", help="the key of the home that signs (else its usual one)")
    cross.add_argument("--out", metavar="FILE", required=True, help="the new certificate, PEM")
    add_pin_file(cross)
    add_json(cross)
    cross.set_defaults(run=run_cross_sign)
    csr = add_action(commands, "csr", "ask an authority above for an authority's certificate (by file)", EXAMPLES)
    csr.add_argument("key", metavar="KEY", help="key string of the key that is to issue certificates")
    csr.add_argument("--subject", metavar="NAME", required=True, help="RFC 4514, such as CN=Signing CA,O=ACME")
    csr.add_argument("--out", metavar="FILE", required=True, help="the request, PEM")
    add_pin_file(csr)
    add_json(csr)
    csr.set_defaults(run=run_csr)
    ceremony.configure(commands, EXAMPLES)


def run_crl(args: argparse.Namespace) -> int:
    """Make it, and say until when it is good."""
    from datetime import UTC, datetime

    from cryptography import x509

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Output, Replace, write_batch
    from sealwright.artifact.source import read_file
    from sealwright.pki.profiles import CODE_SIGNER
    from sealwright.signing.authority import LIST_VALID, make_list
    from sealwright.signing.home import open_home
    from sealwright.signing.issuing import authority_of
    from sealwright.texts.words import say
    from sealwright.trust.revocation import MAX_CRL_BYTES

    home, now = open_home(args.home), datetime.now(UTC)
    authority = authority_of(home, args.authority, CODE_SIGNER, now)
    path = make_list(
        home, authority, now, pin_of(args, home.uri(authority)), LIST_VALID if args.valid is None else args.valid
    )
    data = read_file(path, MAX_CRL_BYTES)
    if args.out is not None:
        write_batch([Output(args.out, data)], replace=Replace.YES)
    crl = x509.load_der_x509_crl(data)
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    ends = crl.next_update_utc
    if args.json:
        from sealwright.cli.jsonout import line

        said = {"authority": authority.name, "number": number, "entries": len(crl), "next_update": ends, "path": path}
        print(line(said | {"output": args.out}))
        return 0
    shown = {"number": number, "authority": display(authority.name), "day": f"{ends:%Y-%m-%d}"}
    print(say("ca.listed", path=display(args.out or path), **shown))
    print("  " + say("cert.list-next"))
    return 0


def run_cross_sign(args: argparse.Namespace) -> int:
    """Certify the other authority."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, refuse_taken, write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.pki.profiles import ROOT
    from sealwright.signing.authority import cross_sign, pem
    from sealwright.signing.home import MAX_BYTES, open_home
    from sealwright.signing.issuing import authority_of
    from sealwright.texts.words import say

    home, now = open_home(args.home), datetime.now(UTC)
    refuse_taken(args.out, Replace.NO)  # before anything is issued
    authority = authority_of(home, args.authority, ROOT, now)
    other = _der(read_file(args.file, MAX_BYTES), args.file)
    issued = cross_sign(home, other, authority.name, now, pin_of(args, home.uri(authority)), args.file)
    write_atomic(args.out, pem(issued).encode())
    named = {"name": issued.name, "serial": f"{issued.serial:x}"}
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line({**named, "authority": authority.name, "until": issued.x509.not_valid_after_utc, "output": args.out})
        )
        return 0
    day = f"{issued.x509.not_valid_after_utc:%Y-%m-%d}"
    print(display(say("ca.crossed", authority=authority.name, day=day, out=args.out, **named)))
    print("  " + say("ca.crossed-next"))
    return 0


def _der(data: bytes, path: str) -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.envelope.certified import UNREADABLE
    from sealwright.errors import MalformedEnvelope

    try:
        loaded = x509.load_pem_x509_certificate(data) if b"-----BEGIN" in data else x509.load_der_x509_certificate(data)
        return loaded.public_bytes(Encoding.DER)
    except UNREADABLE as cause:
        raise MalformedEnvelope(
            path, "it is no certificate in PEM or DER", "Name the other root's certificate."
        ) from cause


def run_csr(args: argparse.Namespace) -> int:
    """Write the request."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.keys.backends import open_key
    from sealwright.pki.request import certificate_request
    from sealwright.texts.words import say

    key = open_key(args.key, pin_of(args, args.key))
    try:
        write_atomic(args.out, certificate_request(key, args.subject, authority=True))
    finally:
        key.close()
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"key": args.key, "subject": args.subject, "output": args.out}))
        return 0
    print(say("cert.written", out=display(args.out)))
    print("  " + say("ca.csr-next"))
    return 0
