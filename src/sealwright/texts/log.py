"""What is said of databases and of logs: errors of writing them, and the words of `log`."""

from __future__ import annotations

from sealwright.texts.text import Text

_EVIDENCE = "Keep everything as it is, as evidence, and tell who is responsible for security."

TEXTS: dict[str, Text] = {
    "SW-STORE-REFUSED": Text(
        "the database {subject} is not one that may be used: {found}",
        "Follow the error's own words; nothing was changed.",
    ),
    "SW-STORE-UNAVAILABLE": Text(
        "the database {subject} could not be read or written: {found}", "Nothing was recorded; see to the database."
    ),
    "SW-STORE-CONFLICT": Text(
        "the database {subject} holds something else already: {found}", "Nothing was recorded; ask for what is there."
    ),
    "SW-STORE-IN-DOUBT": Text(
        "the database {subject} was lost while it committed: {found}", "Read the log before asking again."
    ),
    "SW-LOG-BROKEN": Text("the log {subject} contradicts itself: {found}", _EVIDENCE),
    "SW-LOG-REWOUND": Text("the log {subject} is shorter than it was: {found}", _EVIDENCE),
    "SW-LOG-FORKED": Text(
        "the log {subject} showed two trees of which neither continues the other: {found}", _EVIDENCE
    ),
    "SW-LOG-UNAVAILABLE": Text(
        "the log {subject} could not be read: {found}", "Try again; if it stays so, ask who runs the log."
    ),
    "SW-LOG-WITNESS": Text("the witness {subject} did not cosign: {found}", "See what it said, then ask it again."),
    "SW-LOG-CHECKPOINT": Text("the checkpoint of {subject} is not the log's: {found}", _EVIDENCE),
    "SW-LOG-MISSING": Text(
        "{subject} of the log is missing: {found}", "Ask for the log again; what its checkpoint signs, it must show."
    ),
    "SW-LOG-ENTRY": Text("{subject} of the log is not what the log signed: it was changed", _EVIDENCE),
    "SW-LOG-TILE": Text("{subject} of the log is not what its entries say", _EVIDENCE),
    "SW-LOG-ROOT": Text("the {wanted} entries of {subject} do not lead to its checkpoint", _EVIDENCE),
    "SW-LOG-ENTRY-UNKNOWN": Text(
        "{subject} of the log cannot be read by this version: {found}",
        "Use the version of Sealwright that the log's newest `start` entry names.",
    ),
    "SW-LOG-UNLOGGED": Text(
        "the signature {subject} is not in the log",
        "Somebody used the key past the log: treat it as compromised, and tell who is responsible for security.",
    ),
    "SW-LOG-UNPUBLISHED": Text(
        "the signature {subject} is not published yet: the log's own checkpoint of {found} entries has it, {wanted} are published",
        "Look again in a few minutes. After a quarter of an hour it is an alarm: see why its witnesses do not cosign.",
    ),
    "SW-AUDIT-UNLOGGED-USE": Text(
        "the key {subject} was used {found} times, and the log has {wanted} intents of it: it was used past the log",
        "Treat it as compromised: find out who can reach it beside the service, and tell who is responsible for security.",
    ),
    "SW-AUDIT-USES-MISSING": Text(
        "the key {subject} was used {found} times, and the log has {wanted} signatures of it: the count is of another key or time, or was cut",
        "Get the whole count, of exactly this key and time.",
    ),
    "SW-AUDIT-OPEN-INTENTS": Text(
        "{found} intents to use the key {subject} have no signature: so many uses could be anybody's",
        "Look for their refusals, and for a crash at that time.",
    ),
    "SW-AUDIT-TPM-PAST": Text(
        "the TPM attests other commands than {subject} has among its {wanted}: at least {found} (signatures, or changes of what is audited) are missing there",
        "Find out what else uses this TPM: where it was no program of yours, treat every key in it as compromised.",
    ),
    "SW-AUDIT-TPM-RESET": Text(
        "the TPM of {subject} was reset before it attested {found}: whether there were others nobody can tell",
        "Compare with the restarts that you know of; stop the service before the machine, and have uses attested by a timer.",
    ),
    "SW-AUDIT-TPM-BROKEN-OFF": Text(
        "a signature was broken off between the TPM and {subject}, so its {found} cannot be compared with what the TPM attests",
        "Look for the crash at that time; where there was none, treat every key in the TPM as compromised.",
    ),
    "SW-AUDIT-TPM-OFF": Text(
        "the TPM of {subject} did not audit signing, and nothing else, during its {found}",
        "Find out who changed that; begin a new journal with `sealwright key begin-audit KEY --journal FILE`.",
    ),
    "SW-AUDIT-TPM-FALSE": Text(
        "an attestation in {subject} is not this TPM's: {found}",
        "Get the journal as the machine wrote it; where it is that, somebody wrote into it.",
    ),
    "SW-AUDIT-TPM-STALE": Text(
        "nothing in {subject} answers the challenge: it may be an old copy",
        "Have the machine run `sealwright key attest-uses KEY` with it as --nonce, and get the journal again.",
    ),
    "SW-AUDIT-TPM-OTHER": Text(
        "the attestation key {found} vouches for {subject}, not {wanted}",
        "Get the journal of the right machine; where it is that, its TPM is another one.",
    ),
    "SW-AUDIT-TPM-WAITING": Text(
        "the last {found} uses in {subject} are not attested yet",
        "Run `sealwright key attest-uses KEY`, then look again.",
    ),
    "SW-AUDIT-HSM-GAP": Text(
        "entries {found} in {subject} do not continue one another: entries between them are missing, or were changed",
        "Collect the device's log more often, and before it is full; where it was, find out who took entries away.",
    ),
    "SW-LOG-ALARM": Text(
        "the alarm could not be told to {subject}: {found}",
        "Tell the people who are responsible yourself: there is an alarm.",
    ),
}

WORDS: dict[str, str] = {
    "log.alarm": "ALARM: {what}.",
    "log.remark": "remark: {what}.",
    "log.whole": "{log}: {size} entries, whole; {read} of them read now",
    "log.broken": "{log}: {alarms} ALARMS",
    "log.witnessed": "  seen by {name}, {time}",
    "log.no-witness": "ALARM: the witness {name} has not cosigned this checkpoint.",
    "log.evidence": "Next: keep {path} as evidence, and tell who is responsible for security.",
    "log.strangers": "{count} of the signatures are of keys that this log does not know; they are not looked for.",
    "log.not-read": "remark: {path} was not looked at: {why}",
    "audit.key": "{key}: used {uses} times ({by}); the log has {intents} intents and {signatures} signatures",
    "audit.fits": "every use is in the log",
    "audit.wrong": "{count} ALARMS: the uses DO NOT FIT the log",
    "audit.not-counted": "the log has {intents} intents of {key}, whose uses nobody counted",
    "audit.no-counter": "{name} ({place}) {why}; the log has {intents} intents of it",
    "audit.why-token": "offers no counter: PKCS#11 has none. Where the token keeps a log of its own, read that: --counter, --yubihsm",
    "audit.why-file": "offers no counter: whoever has the file has the key",
    "audit.why-tpm": "is not counted: begin with `sealwright key begin-audit KEY --journal FILE`, then give --tpm",
    "audit.why-transit": "is not counted: give the key service's audit log with --openbao and --transit",
    "audit.why-awskms": "is not counted: give CloudTrail's log files with --cloudtrail and --kms",
    "audit.tpm": "{path}: begun {begun}, attested with the attestation key {key}; compare it with the TPM's own record",
    "audit.open": "nothing counts {count} keys: of them this says nothing",
    "log.exported": "{path}: {count} entries, {new} of them new",
    "log.proved": "{path}: proof of entry {number}",
}
