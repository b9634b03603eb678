"""`audit keys`: was a key used past its log? (docs/log.md)"""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json, rfc3339
from sealwright.cli.auditcounts import add_counts, counted, not_counted
from sealwright.cli.logsource import ALARM, UNKNOWN, WHOLE, add_log, keys_of, source_of

EXAMPLES = """examples:
  sealwright audit keys export --log-key log.vkey --counter release.pem=1742             a number that the HSM shows
  sealwright audit keys export --log-key log.vkey --openbao audit.log --transit transit/release@1=release.pem
  sealwright audit keys export --log-key log.vkey --yubihsm monday.txt --yubihsm tuesday.txt --yubihsm-key 0x0065=release.pem
  sealwright audit keys export --log-key log.vkey --tpm tpm.audit --tpm-nonce 5eed... --home home
  sealwright audit keys https://sign.acme.example:8443/log --ca ca.pem --log-key log.vkey --openbao audit.log --transit transit/release@1=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    keys = add_action(commands, "keys", "compare the uses of keys with the log's intents and signatures", EXAMPLES)
    add_log(keys)
    add_counts(keys)
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
    from sealwright.findings import Severity
    from sealwright.log.audit import Audit
    from sealwright.log.usage import Counts, reconcile
    from sealwright.texts.words import say

    counted_uses = counted(args)
    uses = counted_uses.uses
    counts = Counts(args.since, args.until)
    witnesses = keys_of(args.witness_key, NoteType.WITNESS)
    with TerminalProgress("reading", unit="entries") as progress:
        logs = keys_of(args.log_key, NoteType.LOG)
        audit = Audit(source_of(args, args.log), logs, witnesses, counts.add, progress)
        code = told(args, audit, audit.findings(), witnesses)
    if code != WHOLE:
        return code
    findings = [*counted_uses.findings, *reconcile(uses, counts)]
    wrong = sum(one.severity is Severity.REJECT for one in findings)
    strangers = sorted(key for key in counts.intents if key not in uses)
    uncounted = not_counted(args.home, counts.intents, uses) if args.home is not None else []
    code = ALARM if wrong else UNKNOWN if uncounted else WHOLE
    if args.json:
        for one in findings:
            print(line(finding_object(one)))
        for one_tpm in counted_uses.vouched:
            print(line({"tpm": one_tpm.journal, "attestation_key": one_tpm.key, "begun": one_tpm.begun}))
        for key, use in sorted(uses.items()):
            known = {"intents": counts.intents[key], "signatures": counts.signatures[key]}
            print(line({"key": key, "uses": use.times, "by": use.by, **known}))
        print(line({"keys": len(uses), "wrong": wrong, "not_counted": strangers, "no_counter": uncounted}))
        return code
    for one_tpm in counted_uses.vouched:
        print(say("audit.tpm", path=display(one_tpm.journal), begun=one_tpm.begun, key=one_tpm.key))
    for key, use in sorted(uses.items()):
        known_texts = {"intents": f"{counts.intents[key]:,}", "signatures": f"{counts.signatures[key]:,}"}
        print(say("audit.key", key=key, uses=f"{use.times:,}", by=use.by, **known_texts))
    if args.home is None:
        for key in strangers:
            print(say("audit.not-counted", key=display(key), intents=f"{counts.intents[key]:,}"))
    for text in uncounted:
        print(text)
    for one in findings:
        alarm = one.severity is Severity.REJECT
        print(say("log.alarm", what=display(one.sentence)) if alarm else say("log.remark", what=display(one.sentence)))
    if wrong:
        print(say("audit.wrong", count=wrong))
    elif uncounted:
        print(say("audit.open", count=len(uncounted)))
    else:
        print(say("audit.fits"))
    return code
