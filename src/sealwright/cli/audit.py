"""`audit keys`: was a key used past its log? (docs/log.md)"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json, rfc3339
from sealwright.cli.logsource import ALARM, WHOLE, add_log, keys_of, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwright.log.usage import TransitName, Use

EXAMPLES = """examples:
  sealwright audit keys export --log-key log.vkey --counter release.pem=1742             a number that the HSM shows
  sealwright audit keys export --log-key log.vkey --openbao audit.log --transit transit/release@1=release.pem
  sealwright audit keys https://sign.acme.example:8443/log --ca ca.pem --log-key log.vkey --openbao audit.log --transit transit/release@1=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keys = add_action(commands, "keys", "compare the uses of keys with the log's intents and signatures", EXAMPLES)
    add_log(keys)
    uses = keys.add_argument_group("how often a key was used", "KEY: sha256:… of SPKI, or a file with its certificate")
    uses.add_argument(
        "--counter",
        metavar="KEY=N",
        action="append",
        default=[],
        help="a number that an operator read: a counter, an HSM's own log (repeat)",
    )
    uses.add_argument(
        "--openbao", metavar="FILE", action="append", default=[], help="OpenBao's file audit log (repeat)"
    )
    uses.add_argument(
        "--transit",
        metavar="MOUNT/NAME[@V]=KEY",
        action="append",
        default=[],
        help="a key in its transit engine, with its version (repeat)",
    )
    time = keys.add_argument_group("of which time (else of all)")
    time.add_argument("--since", metavar="TIME", type=rfc3339, help="from then on, as the log and the count have it")
    time.add_argument("--until", metavar="TIME", type=rfc3339, help="before then")
    add_json(keys)
    keys.set_defaults(run=run_keys)


def run_keys(args: argparse.Namespace) -> int:
    """The log is computed again first: counts of a log that is not whole prove nothing."""
    from sealwright.artifact.names import display
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.jsonout import finding_object, line
    from sealwright.cli.logsource import told
    from sealwright.envelope.verifierkey import NoteType
    from sealwright.errors import UsageError
    from sealwright.findings import Severity
    from sealwright.log.audit import Audit
    from sealwright.log.usage import Counts, reconcile
    from sealwright.texts.words import say

    uses = _uses(args)
    if not uses:
        raise UsageError(
            "audit keys", "nothing says how often a key was used", "Give --counter, or --openbao and --transit."
        )
    counts = Counts(args.since, args.until)
    witnesses = keys_of(args.witness_key, NoteType.WITNESS)
    with TerminalProgress("reading", unit="entries") as progress:
        logs = keys_of(args.log_key, NoteType.LOG)
        audit = Audit(source_of(args, args.log), logs, witnesses, counts.add, progress)
        code = told(args, audit, audit.findings(), witnesses)
    if code != WHOLE:
        return code
    findings = list(reconcile(uses, counts))
    wrong = sum(one.severity is Severity.REJECT for one in findings)
    not_counted = sorted(key for key in counts.intents if key not in uses)
    if args.json:
        for one in findings:
            print(line(finding_object(one)))
        for key, use in sorted(uses.items()):
            known = {"intents": counts.intents[key], "signatures": counts.signatures[key]}
            print(line({"key": key, "uses": use.times, "by": use.by, **known}))
        print(line({"keys": len(uses), "wrong": wrong, "not_counted": not_counted}))
        return ALARM if wrong else WHOLE
    for key, use in sorted(uses.items()):
        told_by = {"uses": f"{use.times:,}", "by": use.by}
        print(
            say(
                "audit.key",
                key=key,
                intents=f"{counts.intents[key]:,}",
                signatures=f"{counts.signatures[key]:,}",
                **told_by,
            )
        )
    for key in not_counted:
        print(say("audit.not-counted", key=display(key), intents=f"{counts.intents[key]:,}"))
    for one in findings:
        alarm = one.severity is Severity.REJECT
        print(say("log.alarm", what=display(one.sentence)) if alarm else say("log.remark", what=display(one.sentence)))
    print(say("audit.wrong", count=wrong) if wrong else say("audit.fits"))
    return ALARM if wrong else WHOLE


def _uses(args: argparse.Namespace) -> Mapping[str, Use]:
    """What was said of each key; UsageError for a key that was counted twice."""
    from sealwright.errors import UsageError
    from sealwright.log.usage import Use, openbao_uses

    uses: dict[str, Use] = {}
    for text in args.counter:
        named, _, number = text.rpartition("=")
        if not named or not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise UsageError("--counter", f"{text[:100]} does not read KEY=N", "Write release.pem=1742.")
        key = _key(named)
        if key in uses:
            raise UsageError("--counter", f"{named[:100]} has two numbers", "Give the one of this time.")
        uses[key] = Use("by hand", int(number))
    names = dict(map(_transit, args.transit))
    if bool(args.openbao) is not bool(names):
        raise UsageError("--openbao", "it goes with --transit, which says whose keys its are", "Give both, or neither.")
    if twice := set(names.values()) & uses.keys():
        raise UsageError("--counter", f"{min(twice)} is counted by --openbao too", "Leave one of both out.")
    for key in names.values():
        uses[key] = Use("OpenBao", 0)
    for path in args.openbao:
        for key, count in openbao_uses(path, names, args.since, args.until).items():
            uses[key] = Use("OpenBao", uses[key].times + count)
    return uses


def _transit(text: str) -> tuple[TransitName, str]:
    from sealwright.errors import UsageError
    from sealwright.log.usage import TransitName

    place, _, named = text.partition("=")
    place, _, version = place.partition("@")
    mount, _, name = place.rpartition("/")
    if not (mount and name and named) or (
        version and not (version.isascii() and version.isdigit() and len(version) < 10)
    ):
        raise UsageError(
            "--transit", f"{text[:100]} does not read MOUNT/NAME@VERSION=KEY", "Write transit/release@1=release.pem."
        )
    return TransitName(mount, name, int(version or 0)), _key(named)


def _key(text: str) -> str:
    """The digest of a key as the log has it."""
    from sealwright.trust.intake import key_named

    return key_named(text)
