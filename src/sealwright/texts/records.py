"""What is said of installation records: findings of writing and checking them, and the words of `record`."""

from __future__ import annotations

from sealwright.texts.text import Text

_EVIDENCE = "Keep the folder as it is, as evidence; compare it with its newest copy."

TEXTS: dict[str, Text] = {
    "SW-RECORD-NOT-WRITTEN": Text(
        "{subject}: its installation record could not be written ({found})",
        "Make the record folder or the station's key available, then verify again; nothing is installed without its record.",
        "its installation record could not be written",
    ),
    "SW-RECORD-DAMAGED": Text("the record {subject} cannot be read: {found}", _EVIDENCE),
    "SW-RECORD-MISSING": Text("records {subject} are missing", _EVIDENCE),
    "SW-RECORD-CHAIN": Text(
        "the record {subject} does not follow the one before it: that one was changed, or this one was put there ({found})",
        _EVIDENCE,
    ),
    "SW-RECORD-OTHER-FOLDER": Text("the record {subject} belongs to another folder ({found})", _EVIDENCE),
    "SW-RECORD-SIGNATURE": Text("the signature of the record {subject} does not hold: {found}", _EVIDENCE),
    "SW-RECORD-SIGNER": Text(
        "the record {subject} is signed by a key that does not count here: {found}",
        "Name the station's key or the trust file that knows it; where it is known, keep the folder as evidence.",
    ),
    "SW-RECORD-UNSIGNED": Text(
        "the record {subject} is not signed",
        "Verify with --station-home; whoever can write to the folder could have written this record.",
    ),
    "SW-RECORD-STRAY": Text(
        "{subject} is no record and lies among them", "Find out who put it there, and move it away."
    ),
    "SW-RECORD-LEFTOVER": Text(
        "{subject} is left over from a verification that was interrupted, and counts for nothing",
        "Nothing to do; it may be removed.",
    ),
    "SW-RECORD-CLOCK": Text(
        "the clock of {subject} went back, from {wanted} to {found}",
        "Set the station's clock; times of then are in doubt.",
    ),
    "SW-RECORD-END": Text(
        "the folder does not contain what was written down of it: {found}",
        "Newest records were removed, the folder was put back to an older copy, or the last verification was interrupted before it answered; find the newest copy.",
    ),
    "SW-RECORD-UNTRUE": Text(
        "the record {subject} was signed outside the dates of its station's certificate ({found})",
        "See whether the station's clock was wrong then.",
        plain="the record {subject} was signed outside the dates of its station ({found})",
    ),
}

WORDS: dict[str, str] = {
    "verify.record": "Record: {path}",
    "record.first": "the record folder {folder} is empty: a new chain of records begins there",
    "record.line": "{number}  {time}  {outcome}  {purpose}  {name}  {host}  {signed}",
    "record.signed": "signed",
    "record.unsigned": "unsigned",
    "record.none": "no record in {folder} fits",
    "record.next": "Next: {step}",
    "record.unchecked": "{count} records, listed as they stand: `sealwright record check` says whether they are genuine.",
    "record.problem": "{what}.",
    "record.remark": "remark: {what}.",
    "record.whole": "{folder}: {count} records, whole, from {first} to {last}",
    "record.broken": "{folder}: NOT WHOLE. Records: {count}, problems: {problems}",
    "record.empty": "{folder}: no record in it. Is it the folder that `verify --record` was given?",
    "record.keys": "{host}: {count} signed by {key}",
    "record.no-key": "{host}: {count} not signed",
    "record.more": "and {number} more of hosts and keys (--json has them all)",
    "record.signatures-unchecked": "Signatures were not checked: name the trust file (--trust) or the station's key (--key).",
    "record.keep-line": "Next: write this line down, outside this machine; --contains checks it later:",
    "record.exported": "{path}: {count} records",
    "record.unread": "{path}: this record cannot be read and is not in the export ({why})",
}
