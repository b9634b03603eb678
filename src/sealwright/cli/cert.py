"""Issue, renew, replace, suspend and revoke certificates with a home's own authority; see what ends when."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli import certchange, certsigned
from sealwright.cli.arguments import add_action, add_home, add_json, period
from sealwright.cli.certchange import about, on_one, print_json

if TYPE_CHECKING:
    from sealwright.signing.issued import Issued

EXAMPLES = """examples:
  sealwright cert profiles                                                 what kinds of certificates there are
  sealwright cert issue line-1.csr --home ca --profile code-signer --provenance hardware-claimed --out line-1.pem
  sealwright cert issue line-1.csr --home ca --profile code-signer --attestation line-1.att --nonce 5eed... --out line-1.pem
  sealwright cert list --home ca                                           everything issued, and its standing
  sealwright cert show 5f3a... --home ca --pem
  sealwright cert signed line-1 --home ca --since 2026-05-03T00:00:00Z     what its key signed, and where that was released
  sealwright cert expiring --home ca --within 60d                          exit code 1 where something ends: for cron
  sealwright cert renew release --home ca                                  the same key, a new certificate
  sealwright cert rekey release --home ca --name release-2027 --overlap 30d
  sealwright cert hold line-1 --home ca
  sealwright cert release line-1 --home ca
  sealwright cert retire line-1 --home ca --until 2027-01-31T00:00:00Z     its key signs until then
  sealwright cert revoke line-1 --home ca --reason keyCompromise --compromised-since 2026-05-03T00:00:00Z
  sealwright cert revoke line-1 --home ca --reason superseded
"""
WITHIN_DAYS = 60


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    certchange.configure(commands, EXAMPLES)
    certsigned.configure(commands, EXAMPLES)
    listing = add_action(commands, "list", "everything that was issued here, and its standing", EXAMPLES)
    add_home(listing)
    add_json(listing)
    listing.set_defaults(run=run_list)
    on_one(commands, EXAMPLES, "show", "one certificate of the register", run_show).add_argument(
        "--pem", action="store_true", help="print the certificate and its path as PEM"
    )
    expiring = add_action(
        commands,
        "expiring",
        "what ends soon: certificates, lists, trust file; exit code 1 where something does",
        EXAMPLES,
    )
    add_home(expiring)
    expiring.add_argument("--within", metavar="TIME", type=period, help=f"such as 90d (else {WITHIN_DAYS}d)")
    add_json(expiring)
    expiring.set_defaults(run=run_expiring)
    profiles = add_action(commands, "profiles", "the kinds of certificates, and for how long", EXAMPLES)
    add_json(profiles)
    profiles.set_defaults(run=run_profiles)


def run_list(args: argparse.Namespace) -> int:
    """One line a certificate, oldest first."""
    from sealwright.artifact.names import display
    from sealwright.signing.home import open_home
    from sealwright.signing.issuing import inventory_of
    from sealwright.texts.words import say

    inventory = inventory_of(open_home(args.home))
    for one in inventory.issued.values():
        if args.json:
            print_json(one)
        else:
            print(display(say("cert.listed", **about(one), standing=_standing(one), profile=one.profile)))
    for begun in inventory.unfinished.values():
        told = {name: str(begun[name]) for name in ("serial", "time", "profile", "subject")}
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"standing": "begun", **told}))
        else:
            print(display(say("cert.begun", **told | {"time": told["time"][:10]})))
    for gap in inventory.gaps:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"not_known_after_entry": gap.entries, "not_known_before": gap.at, "loss": gap.record}))
        else:
            print(say("home.gap", entries=gap.entries, time=f"{gap.at:%Y-%m-%d}"))
    if not inventory.issued and not args.json:
        print(say("cert.none"))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Everything about one, or the certificate itself."""
    from sealwright.artifact.names import display
    from sealwright.signing.authority import chain_of, found, pem
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home = open_home(args.home)
    one = found(home, args.which)
    if args.pem:
        sys.stdout.write(pem(one, chain=chain_of(home, one)))
        return 0
    if args.json:
        print_json(one)
        return 0
    print(display(say("cert.listed", **about(one), standing=_standing(one), profile=one.profile)))
    made = one.x509
    said = [
        say("cert.show.issuer", issuer=display(made.issuer.rfc4514_string())),
        say(
            "cert.show.valid", start=f"{made.not_valid_before_utc:%Y-%m-%d}", end=f"{made.not_valid_after_utc:%Y-%m-%d}"
        ),
        say("cert.show.key", digest=one.key),
    ]
    if one.end is not None:
        since = one.end.invalid or one.end.at
        words = {"standing": _standing(one), "time": f"{since:%Y-%m-%d %H:%M}Z", "reason": one.end.reason.value}
        said.append(say("cert.show.end", **words))
    if one.signs_until is not None:
        said.append(say("cert.show.signs-until", time=f"{one.signs_until:%Y-%m-%d %H:%M}Z"))
    for text in said:
        print("  " + text)
    return 0


def run_expiring(args: argparse.Namespace) -> int:
    """What ends soon; 1 where something does."""
    from datetime import UTC, datetime, timedelta

    from sealwright.artifact.names import display
    from sealwright.signing.endings import due
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home, now = open_home(args.home), datetime.now(UTC)
    within = timedelta(days=WITHIN_DAYS) if args.within is None else args.within
    ending = due(home, now, within)
    for one in ending:
        if args.json:
            from sealwright.cli.jsonout import line

            print(
                line(
                    {
                        "level": "attention",
                        "what": one.what,
                        "name": one.name,
                        "ends": one.ends,
                        "ended": one.ends < now,
                        "next_step": one.step,
                    }
                )
            )
            continue
        ended = say("cert.ending-ended") if one.ends < now else ""
        print(display(say("cert.ending", day=f"{one.ends:%Y-%m-%d}", what=one.what, name=one.name, ended=ended)))
        print("  " + display(say("cert.ending-step", step=one.step)))
    if not ending and not args.json:
        print(say("cert.nothing-ends", days=within.days))
    return 1 if ending else 0


def run_profiles(args: argparse.Namespace) -> int:
    """One line a profile."""
    from sealwright.pki.profiles import PROFILES
    from sealwright.texts.words import say

    for one in PROFILES.values():
        if args.json:
            from sealwright.cli.jsonout import line

            print(
                line({"name": one.name, "days": one.days, "authority": one.is_authority, "purposes": list(one.purposes),
                      "keys": sorted(scheme.value for scheme in one.schemes), "about": one.about})
            )  # fmt: skip
        else:
            print(say("cert.profile", name=f"{one.name:<20}", days=f"{one.days:>5}", about=one.about))
    return 0


def _standing(one: Issued) -> str:
    from datetime import UTC, datetime

    from sealwright.texts.words import say

    if one.on_hold:
        return say("cert.hold")
    if one.end is not None:
        return say("cert.is-revoked")
    if one.x509.not_valid_after_utc < datetime.now(UTC):
        return say("cert.ended")
    return say("cert.good") if one.signs_until is None else say("cert.replaced")
