"""Check, show, sign and install trust files: the one root of trust of every verifier."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.cli import trustdiff, trustedit, trustinstall, truststatus
from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, pin_of

if TYPE_CHECKING:
    from sealwright.trust.model import TrustFile

EXAMPLES = """examples:
  sealwright trust new trust.toml --officer eva=eva.pem --officer jan=jan.pem --recovery safe=safe.pem --title "Line 3"
  sealwright trust new --next trust.toml                     begins the next version; the old one goes to trust.history/
  sealwright trust new deny.toml --for trust.toml            an empty deny list, signed by one officer
  sealwright trust add trust.toml anchor maker.pem --name acme --environment production
  sealwright trust add trust.toml rule "drive firmware" --environment production --anchor acme --purpose updatePackageSigning
  sealwright trust add trust.toml --from drive.exe --dry-run     a maker, from a file that they shipped: what would be added
  sealwright trust add trust.toml --from drive.exe --confirmed "call with ACME support, 26 Nov" --owner eva
  sealwright trust add trust.toml officer mia --key mia.pem --threshold 2
  sealwright trust add trust.toml repository desk/public/metadata/1.root.json      which releases devices follow
  sealwright trust add deny.toml deny key stolen.pem --reason "laptop stolen on 3 May"
  sealwright trust remove trust.toml officer jan --threshold 1
  sealwright trust diff /etc/sealwright/trust.toml new/trust.toml --inventory /srv/installed
  sealwright trust diff trust.toml --deny deny.toml --inventory installed.ndjson     would this revocation stop a plant?
  sealwright trust check trust.toml                          is it well formed, signed by enough officers, not ended?
  sealwright trust show trust.toml --card                    the card with its fingerprint, to hand over
  sealwright trust show trust.toml --json                    everything it says, for a program
  sealwright trust sign trust.toml --home home --person eva  writes trust.toml.eva.p7s
  sealwright trust sign deny.toml --home home --person eva   withdraws keys and files before the next version
  sealwright trust install /media/stick/trust.toml --to /etc/sealwright --trust-fingerprint "WORDS OF THE CARD"
  sealwright trust install /media/stick/trust.toml --to /etc/sealwright      the next version: no fingerprint needed
  sealwright trust install /media/stick/trust.toml --to /etc/sealwright --dry-run    only say what it would change
  sealwright trust bundle trust.toml --out /media/stick/revocations.zip      deny list and revocation lists alone
  sealwright trust install /media/stick/revocations.zip --to /etc/sealwright
  sealwright trust status /etc/sealwright --within 60d       for cron: 0 fine, 1 look at it, 3 stale
"""
SOON = timedelta(days=60)


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions: of writing in `trustedit`, comparing in `trustdiff`, carrying in `trustinstall`, watching in `truststatus`."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    trustedit.configure(commands, EXAMPLES)
    trustdiff.configure(commands, EXAMPLES)
    check = add_action(commands, "check", "say whether a trust file can be used, and what to mend", EXAMPLES)
    check.add_argument("file", metavar="FILE", help="the trust file; its signatures lie beside it")
    add_json(check)
    check.set_defaults(run=run_check)
    show = add_action(commands, "show", "show what a trust file says", EXAMPLES)
    show.add_argument("file", metavar="FILE", help="the trust file, signed or not")
    how = show.add_mutually_exclusive_group()
    how.add_argument("--card", action="store_true", help="the card with its fingerprint, for a new verifier")
    add_json(how)
    show.set_defaults(run=run_show)
    sign = add_action(commands, "sign", "sign a trust file or deny list as one of its officers", EXAMPLES)
    sign.add_argument("file", metavar="FILE", help="trust.toml or deny.toml")
    add_home(sign)
    sign.add_argument("--person", metavar="ID", required=True, help="the officer whose key it is; writes FILE.ID.p7s")
    add_pin_file(sign)
    add_json(sign)
    sign.set_defaults(run=run_sign)
    trustinstall.configure(commands, EXAMPLES)
    truststatus.configure(commands, EXAMPLES)


def run_check(args: argparse.Namespace) -> int:
    """Read it, count its officers' signatures, look at its dates; 1 where a verifier would not use it."""
    problems, remarks, step = _checked(args.file, datetime.now(UTC))
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {"path": args.file, "usable": not problems, "problems": problems, "remarks": remarks, "next_step": step}
            )
        )
        return 1 if problems else 0
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    shown = display(args.file)
    print(say("trust.not-usable", path=shown) if problems else say("trust.usable", path=shown))
    for text in (*problems, *remarks, step):
        print(f"  {display(text)}")
    return 1 if problems else 0


def run_show(args: argparse.Namespace) -> int:
    """The card, or what the file says."""
    from sealwright.trust.history import read_signed
    from sealwright.trust.trustfile import parse_trust

    trust = parse_trust(read_signed(args.file).text, args.file)
    if args.card:
        from sealwright.trust.words import card

        print(card(trust))
        return 0
    from sealwright.cli.trusttext import trust_object, trust_text

    if args.json:
        from sealwright.cli.jsonout import line

        print(line(trust_object(trust)))
    else:
        sys.stdout.write(trust_text(trust))
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Write FILE.PERSON.p7s; a deny list is signed as one."""
    from sealwright.artifact.names import display
    from sealwright.signing.home import open_home
    from sealwright.signing.init import sign_trust, signing_key_of
    from sealwright.texts.words import say
    from sealwright.trust.belief import DENY_KIND, DENY_LINE
    from sealwright.trust.history import KIND, read_text

    home = open_home(args.home)
    text = read_text(args.file)
    kind = DENY_KIND if text.startswith(DENY_LINE.encode()) else KIND
    pin = pin_of(args, home.uri(signing_key_of(args.file, home, args.person)))
    written = sign_trust(args.file, home, args.person, datetime.now(UTC), pin, kind=kind)
    missing = None if kind == DENY_KIND else _missing(args.file)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.file, "output": written, "kind": kind, "person": args.person, "missing": missing}))
        return 0
    shown = display(args.file)
    print(say("trust-sign.signed", path=shown, written=display(written)))
    if missing is None:
        print("  " + say("trust-sign.next-deny", path=shown, written=display(written)))
    elif missing:
        print("  " + say("trust-sign.next-more", missing=missing, path=shown))
    else:
        print("  " + say("trust-sign.next-enough", path=shown))
    return 0


def _missing(path: str) -> int:
    """How many officers' signatures a trust file still needs."""
    from sealwright.trust.history import persons_of, previous_of, reached, read_signed, signing_keys
    from sealwright.trust.trustfile import parse_trust

    signed = read_signed(path)
    trust, keys = parse_trust(signed.text, path), signing_keys(signed)
    before = previous_of(path, trust)
    both = [trust.officers]
    if before is not None and not reached(before.recovery, keys):
        both.append(before.officers)
    return max(0, *(side.threshold - len(persons_of(side, keys)) for side in both))


def _checked(path: str, now: datetime) -> tuple[list[str], list[str], str]:
    """What keeps a verifier from using the file, what its officers should look at, and what to do next."""
    from sealwright.errors import TrustRefused
    from sealwright.texts.words import say
    from sealwright.trust.belief import read_layouts
    from sealwright.trust.history import check_step, persons_of, previous_of, reached, read_signed, signing_keys
    from sealwright.trust.trustfile import parse_trust

    signed = read_signed(path)
    trust = parse_trust(signed.text, path)
    read_layouts(path, trust)
    keys = signing_keys(signed)
    names, threshold = ", ".join(sorted(persons_of(trust.officers, keys))), trust.officers.threshold
    by = (
        say("trust.signed-by", names=names, threshold=threshold)
        if names
        else say("trust.unsigned", threshold=threshold)
    )
    remarks = [say("trust.about", version=trust.version, id=trust.id, stage=trust.stage, day=_day(trust.expires))]
    problems = []
    step = say("trust.next-card", path=path)
    if trust.stage == "trial":
        remarks += [by, say("trust.is-trial")]
    elif reached(trust.officers, keys):
        remarks.append(by)
        if before := previous_of(path, trust):
            try:
                check_step(before, trust, keys)
            except TrustRefused as cause:
                problems.append(cause.what)
                step = say("trust.next-sign", path=path)
    else:
        problems.append(by)
        step = say("trust.next-sign", path=path)
    if trust.expires < now:
        problems.append(say("trust.has-ended"))
        step = say("trust.next-version")
    elif trust.expires < now + SOON:
        remarks.append(say("trust.ends-soon", days=SOON.days))
    remarks += _reviews(trust, now)
    return problems, remarks, step


def _reviews(trust: TrustFile, now: datetime) -> list[str]:
    """Rules that do not enforce yet, and exceptions whose review is due."""
    from sealwright.texts.words import say
    from sealwright.trust.model import Mode

    said = []
    for rule in trust.rules:
        if rule.mode is Mode.ENFORCE:
            continue
        if rule.review is None:
            said.append(say("trust.rule-mode", rule=rule.name, mode=rule.mode))
        elif rule.review < now:
            said.append(say("trust.rule-mode-overdue", rule=rule.name, mode=rule.mode, day=_day(rule.review)))
        else:
            said.append(say("trust.rule-mode-review", rule=rule.name, mode=rule.mode, day=_day(rule.review)))
    for known in trust.evidence:
        if known.review is not None and known.review < now:
            day = _day(known.review)
            said.append(say("trust.key-overdue", key=known.key, provenance=known.provenance, day=day))
    return said


def _day(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"
