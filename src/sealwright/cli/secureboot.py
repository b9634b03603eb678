"""Make, sign and show the variables of Secure Boot: who may start programs (db), what may not (dbx), who may change that (KEK, PK).

The lists come from certificates and digests; a signed update (.auth) is what firmware and its enrolling tools take.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, key_string, pin_of, rfc3339

if TYPE_CHECKING:
    import uuid

    from sealwright.formats.efi_variable import Entry

EXAMPLES = """examples:
  sealwright key enrol uefi-variable --home home --name pk                        a key for PK, and one more for KEK
  sealwright secure-boot list --certificate home/certificates/pe.pem --owner plant.example --out db.esl
  sealwright secure-boot list --hash bad.efi --owner plant.example --out dbx.esl  by the image digest that firmware compares
  sealwright secure-boot list --certificate-digest stolen.pem --owner plant.example --out dbx.esl     all that this key signed
  sealwright secure-boot sign db.esl --variable db --home home --key kek --out db.auth
  sealwright secure-boot sign dbx.esl --variable dbx --append --home home --key kek --out dbx.auth
  sealwright secure-boot show db.auth
"""
VARIABLES = ("PK", "KEK", "db", "dbx")


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = add_action(commands, "list", "make a signature list (.esl) of certificates and image digests", EXAMPLES)
    make.add_argument("--certificate", metavar="FILE", action="append", default=[], help="PEM or DER (repeat)")
    make.add_argument(
        "--certificate-digest",
        metavar="FILE",
        action="append",
        default=[],
        help="a certificate to refuse in dbx by its digest, which needs less room (repeat)",
    )
    make.add_argument(
        "--hash",
        metavar="FILE|HEX",
        action="append",
        default=[],
        help="an EFI program, or its Authenticode SHA-256 in hexadecimal (repeat)",
    )
    make.add_argument(
        "--owner", metavar="NAME|GUID", required=True, help="who puts them there: a GUID, or a domain name"
    )
    make.add_argument("--out", metavar="OUT", required=True, help="the new .esl file")
    make.add_argument("--replace", action="store_true", help="replace what is already there")
    add_json(make)
    make.set_defaults(run=run_list)
    sign = add_action(commands, "sign", "sign the update of a variable (.auth)", EXAMPLES)
    sign.add_argument("file", metavar="FILE", help="the lists, an .esl file")
    sign.add_argument("--variable", choices=VARIABLES, required=True, help="whose new content it is")
    sign.add_argument(
        "--append", action="store_true", help="add to what is there (db, dbx, KEK) instead of replacing it"
    )
    sign.add_argument(
        "--time", metavar="TIME", type=rfc3339, help="must be later than that of the last update (else now)"
    )
    add_home(sign)
    sign.add_argument(
        "--key", metavar="KEY", type=key_string, help="an enrolled key (PK's for PK and KEK, KEK's for the others)"
    )
    sign.add_argument("--out", metavar="OUT", required=True, help="the new .auth file")
    sign.add_argument("--replace", action="store_true", help="replace what is already there")
    add_pin_file(sign)
    add_json(sign)
    sign.set_defaults(run=run_sign)
    show = add_action(
        commands, "show", "show lists (.esl) or a signed update (.auth), without judging who signed", EXAMPLES
    )
    show.add_argument("file", metavar="FILE", help="an .esl or .auth file")
    add_json(show)
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> int:
    """Write the lists."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.errors import UsageError
    from sealwright.formats.efi_variable import (
        MAX_BYTES,
        SHA256,
        Entry,
        certificate_digest_entry,
        certificate_entry,
        lists_of,
    )
    from sealwright.texts.words import say

    owner = _owner(args.owner)
    entries = [certificate_entry(read_file(path, MAX_BYTES), owner, path) for path in args.certificate]
    entries += [certificate_digest_entry(read_file(path, MAX_BYTES), owner, path) for path in args.certificate_digest]
    entries += [Entry(SHA256, owner, _image_digest(text)) for text in args.hash]
    if not entries:
        raise UsageError("--certificate", "there is nothing to list", "Name certificates, or programs with --hash.")
    write_atomic(args.out, lists_of(entries), replace=Replace.YES if args.replace else Replace.OFFERED)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.out, "entries": [_object(entry) for entry in entries]}))
    else:
        print(say("secure-boot.listed", path=display(args.out), number=str(len(entries)), owner=str(owner)))
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Write the update."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace
    from sealwright.cli.render import moment
    from sealwright.envelope.kinds import UEFI_VARIABLE
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.variable import sign_variable
    from sealwright.texts.words import say

    home = open_home(args.home)
    pin = pin_of(args, home.uri(home.key(args.key, KeyPurpose.ARTIFACT, UEFI_VARIABLE)))
    time = args.time or datetime.now(UTC)
    sign_variable(
        args.file,
        args.out,
        args.variable,
        home,
        key=args.key,
        time=time,
        append=args.append,
        pin=pin,
        replace=Replace.YES if args.replace else Replace.OFFERED,
    )
    if args.json:
        from sealwright.cli.jsonout import line
        from sealwright.cli.jsonout import moment as written

        said = {"path": args.file, "outcome": "signed", "outputs": [args.out], "variable": args.variable}
        print(line({**said, "append": args.append, "time": written(time)}))
        return 0
    how = say("secure-boot.appends") if args.append else say("secure-boot.replaces")
    print(say("secure-boot.signed", path=display(args.file), out=display(args.out)))
    print("  " + say("secure-boot.what", how=how, variable=args.variable, time=moment(time)))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Say what is in it."""
    from sealwright.artifact.names import display
    from sealwright.artifact.source import read_file
    from sealwright.cli.render import moment
    from sealwright.envelope.cms import Signer
    from sealwright.formats.efi_variable import MAX_BYTES, read_lists, read_update, signed_for
    from sealwright.texts.words import say
    from sealwright.trust.certificate import display_name, load_certificate

    data = read_file(args.file, MAX_BYTES)
    if data[24:40] != _PKCS7_BYTES:
        entries, facts = read_lists(data, args.file), dict[str, object]()
    else:
        update = read_update(data, args.file)
        entries = update.entries
        held, envelope = signed_for(update, args.file)
        signers = [
            display_name(load_certificate(one.certificate, args.file).subject)
            for one in envelope.signers
            if isinstance(one, Signer)
        ]
        facts = {
            "time": moment(update.time),
            "variable": held[0] if held else None,
            "append": held[1] if held else None,
            "signers": signers,
        }
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.file, "judged": False, **facts, "entries": [_object(entry) for entry in entries]}))
        return 0
    print(say("secure-boot.holds", path=display(args.file), number=str(len(entries))))
    if facts:
        signed_by = ", ".join(display(name) for name in signers) or say("secure-boot.nobody")
        if held is None:
            print("  " + say("secure-boot.no-variable", signer=signed_by, time=str(facts["time"])))
        else:
            how = say("secure-boot.appends") if held[1] else say("secure-boot.replaces")
            print(
                "  " + say("secure-boot.update", how=how, variable=held[0], signer=signed_by, time=str(facts["time"]))
            )
    for entry in entries:
        shown = _object(entry)
        print("  " + say("secure-boot.entry", what=display(str(shown["what"])), owner=str(shown["owner"])))
    return 0


_PKCS7_BYTES = bytes.fromhex("9dd2af4adf68ee498aa9347d375665a7")


def _owner(text: str) -> uuid.UUID:
    """A GUID as it is; a name as its UUID version 5 (RFC 9562), the same on every machine."""
    import uuid

    try:
        return uuid.UUID(text)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_DNS, text)


def _image_digest(text: str) -> bytes:
    from sealwright.artifact.digest import HashName
    from sealwright.artifact.source import open_artifact
    from sealwright.formats.pe import image_digests, read_layout

    if len(text) == 64 and not set(text.lower()) - set("0123456789abcdef"):
        return bytes.fromhex(text)
    with open_artifact(text) as source:
        return image_digests(source, read_layout(source), (HashName.SHA256,))[HashName.SHA256].value


def _year_to_day(time: bytes) -> str:
    """The day of an EFI_TIME as it is written; it may be no day of a calendar."""
    return f"{int.from_bytes(time[:2], 'little'):04}-{time[2]:02}-{time[3]:02}"


def _object(entry: Entry) -> dict[str, object]:
    from cryptography import x509

    from sealwright.formats.efi_variable import SHA256, X509, X509_SHA256
    from sealwright.trust.certificate import display_name, tbs_digest

    if entry.type == X509:
        loaded = x509.load_der_x509_certificate(entry.data)
        known = {"what": f"certificate {display_name(loaded.subject)}", "certificate": str(tbs_digest(loaded))}
    elif entry.type == SHA256:
        known = {"what": f"image sha256:{entry.data.hex()}", "image": f"sha256:{entry.data.hex()}"}
    elif entry.type == X509_SHA256:
        digest, from_ = f"sha256:{entry.data[:32].hex()}", entry.data[32:]
        when = "" if not any(from_) else f", from {_year_to_day(from_)}"
        known = {"what": f"whatever the certificate {digest} signed{when}", "certificate": digest}
    else:
        known = {"what": f"type {entry.type}, {len(entry.data)} bytes"}
    return {**known, "owner": str(entry.owner)}
