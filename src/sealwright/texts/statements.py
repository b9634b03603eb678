"""Sentences about the plant's two statements: an acceptance beside a maker's signature, a receiving record in its place."""

from __future__ import annotations

from sealwright.texts.text import Text

_ACCEPT_AGAIN = "Have this delivery tested and accepted again (`sealwright accept`)."
_BRING = "Copy it again from where the statement was made, with everything that lies beside it."

TEXTS: dict[str, Text] = {
    "SW-ACCEPTANCE-OTHER-FILE": Text(
        "{subject}: the plant accepted something else ({wanted}), and this is {found}",
        _ACCEPT_AGAIN,
        "the plant accepted another file",
        plain="{subject}: the plant accepted something else, not this",
    ),
    "SW-ACCEPTANCE-OTHER-SIGNATURE": Text(
        "{subject}: the plant accepted it with the signature {wanted} as it was then, and here is {found}",
        _ACCEPT_AGAIN,
        "the plant accepted another signature of the maker",
    ),
    "SW-ACCEPTANCE-LINE": Text(
        "{subject}: the plant accepted it for {wanted}, and this is {found}",
        "Take the file that was accepted for this line, or have this one tested and accepted for it.",
        "the plant accepted it for another line",
    ),
    "SW-ACCEPTANCE-LINE-UNSAID": Text(
        "{subject}: the plant accepted it for {wanted} only, and it is not said which line this is",
        "Say which production line this is, with `--line`.",
        "it is accepted for some lines only",
    ),
    "SW-ACCEPTANCE-HARDWARE": Text(
        "{subject}: the plant accepted it for the hardware {wanted}, and this is {found}",
        "Take the file that was accepted for this hardware, or have this one tested and accepted for it.",
        "the plant accepted it for other hardware",
    ),
    "SW-ACCEPTANCE-HARDWARE-UNSAID": Text(
        "{subject}: the plant accepted it for the hardware {wanted} only, and it is not said which this is",
        "Say which hardware this is, with `--hardware`.",
        "it is accepted for some hardware only",
    ),
    "SW-ACCEPTANCE-EARLY": Text(
        "{subject}: the plant accepted it from {wanted} on, and now it is {found}",
        "Wait until then, or have it accepted for an earlier day.",
        "the plant accepted it for later",
    ),
    "SW-ACCEPTANCE-ENDED": Text(
        "{subject}: the plant accepted it until {wanted}, and now it is {found}",
        "Have it tested and accepted again, or take what is accepted now.",
        "the plant's acceptance has ended",
    ),
    "SW-ACCEPTANCE-REFUSED": Text(
        "{subject} is not accepted: {found}", "Do what the message says; nothing was signed."
    ),
    "SW-STATEMENT-PERSON": Text(
        "{subject} is signed by {found}, and the statement is one of {wanted}",
        "Ask the person whom it names to sign it.",
        "the plant's statement is signed by somebody else",
    ),
    "SW-STATEMENT-UNSIGNED": Text(
        "{subject}: the signature of {wanted} is not here, so the statement beside it is nobody's word",
        "Have {wanted} sign it, or copy it again from where it was made, with everything that lies beside it.",
        "the plant's statement is not signed",
    ),
    "SW-ATTACHMENT-MISSING": Text(
        "{subject} is listed in {found}, and is not here",
        _BRING,
        "a report or piece of evidence is missing",
    ),
    "SW-ATTACHMENT-CHANGED": Text(
        "{subject} is not the one that was signed with the statement ({found})",
        _BRING,
        "a report or piece of evidence was changed",
        plain="{subject} is not the one that was signed with the statement",
    ),
    "SW-RECEIVED": Text(
        "not signed by its maker: the receiving record {subject} stands in for that ({wanted}; {found})",
        "Nothing to do. Ask the maker to sign the next release.",
        plain="Not signed by its maker; the plant received it: {wanted}; {found}",
    ),
    "SW-RECEIVING-OTHER-FILE": Text(
        "{subject}: something else was received ({wanted}), and this is {found}",
        "Take what was received, or have a receiving record made of this.",
        "something else was received",
        plain="{subject}: something else was received, not this",
    ),
    "SW-GRADE-NOT-ALLOWED": Text(
        "{subject}: it is received as {found}, and the rule takes {wanted} in place of its maker's signature",
        "Compare it over a second channel and record that, or ask the maker for a signed one.",
        "too little is known of where it came from",
    ),
    "SW-EVIDENCE-UNACCOUNTED": Text(
        "no rule that decides here takes {subject}, by which {found} files of evidence were not checked one by one",
        "Remove the record and its folder, or bring the ones that were signed.",
        "evidence lies there that nobody vouches for",
    ),
}

WORDS: dict[str, str] = {
    # Verdicts.
    "verify.part.acceptance": "plant (acceptance)",
    "verify.part.receiving": "plant (receiving record)",
    "verify.accepted": "Accepted by the plant at {time} {where}; test reports: {reports}.",
    "verify.accepted-until": "Accepted by the plant at {time} {where}, until {until}; test reports: {reports}.",
    "verify.accepted-for": "for {places}",
    "verify.accepted-anywhere": "for every line",
    # What `accept` prints.
    "accept.accepted": "accepted {path} -> {outputs}",
    "accept.by": "signed for {person} by {subject} ({algorithm}), {date}",
    "accept.by-development": "signed for {person} by {subject} ({algorithm}, DEVELOPMENT key), {date}",
    "accept.scope": "for {where}{until}; test reports: {reports}",
    "accept.anywhere": "every line",
    "accept.until": ", until {time}",
    "accept.refused": "NOT ACCEPTED {path}: {why}",
    "accept.summary": "{accepted} accepted, {failed} not",
    # Trust files.
    "rule.no-signer": "no maker",
    "rule.sentence-grades": "{sentence}; in place of the maker's signature a receiving record ({grades}) by {receivers}",
    # What `inspect` shows.
    "kind.acceptance": "acceptance by a plant",
    "kind.receiving": "receiving record",
    "kind.record": "installation record",
    "fact.anywhere": "anywhere",
    "fact.compared": "{algorithm} {value} ({channel})",
    "fact.asked": "{outcome}, asked for: {purpose}",
    "fact.accepted-signer": "accepted: {who}, as {slot}, key {key}",
    "fact.refused-signer": "refused: {who}, as {slot}, key {key}",
    "fact.finding": "{severity} {code}, times: {times}",
    "fact.time-by": "{time}, by {by}",
    "fact.trust": "{id}, version {version}, stage {stage}, {digest}",
    "fact.believed": "the trust file was believed because {why}; an older version: {rollback}",
    "fact.account": "{host}, account {account}",
    "fact.of-chain": "{number} of the chain {folder}",
    "fact.no-station-key": "none: nobody signed this record",
    "fact.old-signature": "of {signer}: {verdict} ({tool})",
}
