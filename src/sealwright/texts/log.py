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
}

WORDS: dict[str, str] = {}
