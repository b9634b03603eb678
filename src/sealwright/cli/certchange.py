"""The actions of `cert` that change something: issue, renew, rekey, hold, release, retire, revoke."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, period, pin_of, rfc3339

if TYPE_CHECKING:
    from sealwright.keys.key import Provenance
    from sealwright.signing.issued import Issued


REASONS = (
    "keyCompromise",
    "cACompromise",
    "superseded",
    "cessationOfOperation",
    "affiliationChanged",
    "privilegeWithdrawn",
)


PROVENANCES = ("development", "hardware-claimed", "hardware-imported", "service-held")


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The actions, beside those that only look."""
    _configure_issue(commands, examples)
    renew = on_one(
        commands, examples, "renew", "a new certificate for the same key, before the old one ends", run_renew
    )
    renew.add_argument("--days", metavar="N", type=int, help="how long it is valid (else as long as its profile says)")
    renew.add_argument("--out", metavar="FILE", help="write it, and its path, as PEM")
    add_pin_file(renew)
    _configure_rekey(commands, examples)
    _configure_revoke(commands, examples)
    for name, words, run in (
        ("hold", "suspend a certificate until it is released or revoked", run_hold),
        ("release", "end a suspension", run_release),
    ):
        on_one(commands, examples, name, words, run).add_argument(
            "--person", metavar="ID", default="", help="who decided it"
        )
    retire = on_one(commands, examples, "retire", "set the day after which a key signs nothing more", run_retire)
    retire.add_argument("--until", metavar="TIME", type=rfc3339, required=True, help="such as 2027-01-31T00:00:00Z")


def on_one(commands, examples: str, name: str, words: str, run) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
    """An action on one certificate of the register."""
    parser = add_action(commands, name, words, examples)
    parser.add_argument("which", metavar="WHICH", help="serial, common name, or the name of a key of the home")
    add_home(parser)
    add_json(parser)
    parser.set_defaults(run=run)
    return parser


def _configure_issue(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    issue = add_action(commands, "issue", "a certificate for a request (PKCS #10) of somebody else's key", examples)
    issue.add_argument("request", metavar="REQUEST", help="the request, PEM or DER")
    add_home(issue)
    issue.add_argument("--profile", metavar="NAME", required=True, help="see `sealwright cert profiles`")
    how = issue.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--provenance",
        choices=PROVENANCES,
        metavar="HOW",
        help=f"how its key is kept, as you know it: {', '.join(PROVENANCES)}",
    )
    how.add_argument("--attestation", metavar="FILE", help="a TPM's proof that its key lives there (`key attest`)")
    issue.add_argument("--nonce", metavar="HEX", help="the challenge that you gave for the attestation")
    issue.add_argument("--out", metavar="FILE", required=True, help="the certificate and its path, PEM")
    issue.add_argument("--authority", metavar="NAME", help="the key of the home that issues (else its usual one)")
    issue.add_argument("--common-name", metavar="TEXT", default="", help="instead of the request's")
    issue.add_argument("--organisation", metavar="TEXT", default="", help="needed where it is not the authority's own")
    issue.add_argument("--days", metavar="N", type=int, help="how long it is valid (else as long as the profile says)")
    issue.add_argument(
        "--host", metavar="NAME", action="append", default=[], help="host name or address, for TLS (repeat)"
    )
    add_pin_file(issue)
    add_json(issue)
    issue.set_defaults(run=run_issue)


def _configure_rekey(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    from sealwright.cli.key import KINDS

    rekey = add_action(
        commands, "rekey", "a new key for the same purpose; the old one signs until the overlap ends", examples
    )
    rekey.add_argument("which", metavar="KEY", help="name of a key of the home")
    add_home(rekey)
    rekey.add_argument("--name", metavar="NAME", required=True, help="what the new key is called")
    rekey.add_argument("--overlap", metavar="TIME", type=period, help="how long the old one still signs (else 30d)")
    rekey.add_argument("--algorithm", choices=KINDS, metavar="KIND", help="of the new key (else as the old one)")
    add_pin_file(rekey)
    add_json(rekey)
    rekey.set_defaults(run=run_rekey)


def _configure_revoke(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    revoke = on_one(
        commands, examples, "revoke", "revoke for good, tell what the key signed, and make the new list", run_revoke
    )
    revoke.add_argument("--reason", choices=REASONS, metavar="WHY", required=True, help=f"one of {', '.join(REASONS)}")
    revoke.add_argument(
        "--compromised-since",
        metavar="TIME",
        type=rfc3339,
        help="since when the key is taken for lost: what is proved to be signed before stays trusted",
    )
    revoke.add_argument("--person", metavar="ID", default="", help="who decided it")
    revoke.add_argument("--no-list", action="store_true", help="do not make the new revocation list now")
    add_pin_file(revoke)


def run_issue(args: argparse.Namespace) -> int:
    """Check the request against the profile, and write the certificate with its path."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, refuse_taken, write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.errors import UsageError
    from sealwright.pki.authority import Terms
    from sealwright.pki.profiles import PROFILES
    from sealwright.pki.request import MAX_BYTES, read_request
    from sealwright.signing.authority import Wanted, certify, chain_of, pem
    from sealwright.signing.home import open_home
    from sealwright.signing.issuing import authority_of
    from sealwright.texts.words import say

    if args.profile not in PROFILES:
        raise UsageError(f"--profile {args.profile}", "there is no such profile", "See `sealwright cert profiles`.")
    refuse_taken(args.out, Replace.NO)  # before anything is issued
    profile, now = PROFILES[args.profile], datetime.now(UTC)
    home = open_home(args.home)
    request = read_request(read_file(args.request, MAX_BYTES), args.request)
    provenance = _provenance(args, request.public_key)
    terms = Terms(days=args.days, hosts=tuple(args.host))
    wanted = Wanted(profile, provenance, terms, args.common_name, args.organisation, args.authority)
    pin = pin_of(args, home.uri(authority_of(home, args.authority, profile, now)))
    issued = certify(home, request, wanted, now, pin, args.request)
    write_atomic(args.out, pem(issued, chain=chain_of(home, issued)).encode())
    if args.json:
        print_json(issued, output=args.out)
        return 0
    print(display(say("cert.issued", **about(issued), profile=issued.profile, out=args.out)))
    print("  " + display(say("cert.issued-next", out=args.out)))
    return 0


def _provenance(args: argparse.Namespace, public) -> Provenance:  # type: ignore[no-untyped-def]
    """What the officer declares, or what the TPM proves about this very key."""
    from sealwright.artifact.source import read_file
    from sealwright.errors import UsageError
    from sealwright.keys.attestation import MAX_BYTES, check_attestation, read_attestation
    from sealwright.keys.key import Provenance

    if args.attestation is None:
        return Provenance(args.provenance)
    try:
        nonce = bytes.fromhex(args.nonce or "")
    except ValueError:
        nonce = b""
    if not nonce:
        raise UsageError(
            "--nonce", "an attestation counts only for a challenge that you gave", "Name the one you gave."
        )
    statement = read_attestation(read_file(args.attestation, MAX_BYTES), args.attestation)
    check_attestation(statement, public, nonce, args.attestation)
    return Provenance.HARDWARE_ATTESTED


def run_renew(args: argparse.Namespace) -> int:
    """The same key, a new certificate."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace, refuse_taken, write_atomic
    from sealwright.envelope.algorithms import key_digest
    from sealwright.signing.authority import chain_of, pem, renew
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    if args.out is not None:
        refuse_taken(args.out, Replace.NO)  # before anything is issued
    home = open_home(args.home)
    issued = renew(home, args.which, datetime.now(UTC), pin_of(args, home.keys[0].uri), args.days)
    if args.out is not None:
        write_atomic(args.out, pem(issued, chain=chain_of(home, issued)).encode())
    if args.json:
        print_json(issued, output=args.out)
        return 0
    print(display(say("cert.renewed", **about(issued))))
    if any(key_digest(key.public_key) == issued.key for key in home.keys):
        print("  " + say("cert.renewed-own"))
    if args.out is not None:
        print("  " + display(say("cert.written", out=args.out)))
    return 0


def run_rekey(args: argparse.Namespace) -> int:
    """A new key, and the old one's last day."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.envelope.algorithms import key_digest
    from sealwright.keys.key import KeyKind
    from sealwright.signing.authority import OVERLAP, rekey
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home, now = open_home(args.home), datetime.now(UTC)
    overlap = OVERLAP if args.overlap is None else args.overlap
    kind = KeyKind(args.algorithm) if args.algorithm else None
    new = rekey(home, args.which, args.name, now, pin_of(args, home.keys[0].uri), overlap, kind)
    digest, until = str(key_digest(new.public_key)), now + overlap
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "name": new.name,
                    "replaces": args.which,
                    "key": digest,
                    "old_signs_until": until,
                    "uri": home.uri(new),
                }
            )
        )
        return 0
    print(say("cert.rekeyed", name=display(new.name), old=display(args.which), day=f"{until:%Y-%m-%d}"))
    print("  " + say("cert.rekeyed-next", digest=digest))
    return 0


def run_revoke(args: argparse.Namespace) -> int:
    """Revoke, tell what the key signed, make the list."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.cli.certsigned import print_affected, print_affected_json
    from sealwright.errors import SealwrightError
    from sealwright.signing.authority import issuer_of, make_list, revoke
    from sealwright.signing.compromise import signatures_since
    from sealwright.signing.home import open_home
    from sealwright.signing.issued import REASONS as FLAGS
    from sealwright.texts.words import say

    home, now, since = open_home(args.home), datetime.now(UTC), args.compromised_since
    revoked = revoke(home, args.which, FLAGS[args.reason], now, since, args.person)
    lost = args.reason in ("keyCompromise", "cACompromise")
    affected = signatures_since(home, revoked[0].key, since or datetime.fromtimestamp(0, UTC)) if lost else []
    lists, why = [], ""
    if not args.no_list:
        try:
            pin = pin_of(args, home.keys[0].uri)
            lists = [make_list(home, issuer_of(home, one), now, pin) for one in _one_an_issuer(revoked)]
        except SealwrightError as cause:  # the revocation stands, and is told
            why = str(cause)
    if args.json:
        from sealwright.cli.jsonout import line

        for one in revoked:
            print(line(_object(one)))
        print_affected_json(home, affected)
        print(line({"lists": lists, "problem": why or None, "affected": len(affected)}))
        return 1 if why else 0
    for one in revoked:
        print(display(say("cert.revoked", **about(one), reason=args.reason)))
    if since is not None:
        print("  " + say("cert.revoked-since", time=f"{since:%Y-%m-%d %H:%M}Z"))
    elif lost:
        print("  " + say("cert.revoked-always"))
    if lost:
        print_affected(home, affected, since)
    for path in lists:
        print(say("cert.list-made", number=_number(path), path=display(path)))
        print("  " + say("cert.list-next"))
    if why:
        print(say("cert.list-not-made", why=display(why)))
    return 1 if why else 0


def _one_an_issuer(revoked: list[Issued]) -> list[Issued]:
    return list({one.issuer: one for one in revoked}.values())


def _number(path: str) -> str:
    from cryptography import x509

    from sealwright.artifact.source import read_file
    from sealwright.trust.revocation import MAX_CRL_BYTES

    crl = x509.load_der_x509_crl(read_file(path, MAX_CRL_BYTES))
    return str(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)


def run_hold(args: argparse.Namespace) -> int:
    """Suspend."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.authority import suspend
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    for one in suspend(open_home(args.home), args.which, datetime.now(UTC), args.person):
        if args.json:
            print_json(one)
        else:
            print(display(say("cert.held", **about(one))))
    return 0


def run_release(args: argparse.Namespace) -> int:
    """End a suspension."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.authority import release
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    for one in release(open_home(args.home), args.which, datetime.now(UTC), args.person):
        if args.json:
            print_json(one)
        else:
            print(display(say("cert.released", **about(one))))
    return 0


def run_retire(args: argparse.Namespace) -> int:
    """Set a key's last day."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.authority import retire
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    one = retire(open_home(args.home), args.which, datetime.now(UTC), args.until)
    if args.json:
        print_json(one)
    else:
        print(display(say("cert.retired", **about(one) | {"day": f"{args.until:%Y-%m-%d}"})))
    return 0


def about(one: Issued) -> dict[str, str]:
    """What every line about a certificate names."""
    return {"name": one.name, "serial": f"{one.serial:x}", "day": f"{one.x509.not_valid_after_utc:%Y-%m-%d}"}


def print_json(one: Issued, **more: object) -> None:
    """One object a certificate."""
    from sealwright.cli.jsonout import line

    print(line(_object(one) | more))


def _object(one: Issued) -> dict[str, object]:
    made, end = one.x509, one.end
    return {
        "serial": f"{one.serial:x}",
        "name": one.name,
        "profile": one.profile,
        "issuer": made.issuer.rfc4514_string(),
        "key": str(one.key),
        "from": made.not_valid_before_utc,
        "until": made.not_valid_after_utc,
        "standing": "hold" if one.on_hold else "revoked" if end is not None else "good",
        "reason": end.reason.value if end is not None else None,
        "since": end.at if end is not None else None,
        "invalid_from": end.invalid if end is not None else None,
        "signs_until": one.signs_until,
        "renews": f"{one.renews:x}" if one.renews is not None else None,
    }
