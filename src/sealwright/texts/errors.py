"""Sentences of the error codes: what the verdict says where something could not be read or done.

An error raised by a command prints its own words; these are used where it becomes a finding, with `{found}` its clause.
"""

from __future__ import annotations

from sealwright.texts.text import Text

_AGAIN = "Copy it again from its source and try again."
_REPORT = "Report this with the command you used; nothing was changed."

TEXTS: dict[str, Text] = {
    "SW-ERROR": Text("{subject}: {found}", _REPORT, "it could not be judged"),
    "SW-USAGE": Text(
        "{subject}: {found}", "Check what was asked; `--help` shows examples.", "the question cannot be answered"
    ),
    "SW-FILE-UNREADABLE": Text(
        "{subject} cannot be read: {found}", "Check the path, the medium and who may read it.", "it cannot be read"
    ),
    "SW-FILE-CHANGING": Text(
        "{subject} changed while it was read: {found}",
        "Stop whatever writes to it and verify it again.",
        "it changed while it was checked",
    ),
    "SW-LIMIT": Text("{subject} is beyond a limit: {found}", "Ask whoever made it.", "it is larger than is allowed"),
    "SW-ARTIFACT-MALFORMED": Text(
        "{subject} is not what its format demands: {found}", _AGAIN, "the file or its manifest is damaged"
    ),
    "SW-LAYOUT-MALFORMED": Text(
        "the layout {subject} is not usable: {found}",
        "Ask whoever wrote it; `sealwright layout check FILE` reads it.",
        "the description of its header cannot be used",
    ),
    "SW-SIGNATURE-MALFORMED": Text(
        "{subject} is not a signature that can be read: {found}",
        "Ask the signer for the signature file again.",
        "its signature file is damaged",
    ),
    "SW-ALGORITHM-WEAK": Text(
        "{subject} uses an algorithm or key that is too weak: {found}",
        "Ask the signer for a signature by today's rules.",
        "its signature is too weak",
    ),
    "SW-SIGNATURE-INVALID": Text(
        "the signature {subject} is not genuine: {found}", _AGAIN, "its signature is not genuine"
    ),
    "SW-SIGNATURE-KIND": Text(
        "the signature {subject} was made for something else: {found}",
        "Ask whoever delivered the file for its own signature.",
        "its signature was made for something else",
    ),
    "SW-SIGNER-UNKNOWN": Text(
        "{subject}: {found}",
        "Ask your security officer for the folder `trust.d` that belongs to the trust file.",
        "it is not known who signed it",
        plain="{subject}: it does not say who signed it, and the key is none of those known here",
    ),
    "SW-TIMESTAMP-UNAVAILABLE": Text(
        "{subject} gave no timestamp: {found}", "Try again, or sign with `--timestamp local`."
    ),
    "SW-TIMESTAMP-TOO-LATE": Text(
        "{subject} can no longer be stamped: {found}", "Have the file signed again, by a key that may still sign."
    ),
    "SW-TRUST-MALFORMED": Text(
        "{subject} cannot be used: {found}",
        "Ask your security officer for the current trust file.",
        "the trust file cannot be used",
    ),
    "SW-TRUST-NOT-BELIEVED": Text(
        "nothing makes this verifier believe {subject}: {found}",
        "Give its fingerprint with `--trust-fingerprint`, from the card of your security officer.",
        "the trust file is not believed here",
    ),
    "SW-CEREMONY-REFUSED": Text(
        "the ceremony {subject} does not hold: {found}",
        "Have the officers of its plan look at it together.",
        "the record of the ceremony does not hold",
    ),
    "SW-KEY-UNAVAILABLE": Text("{subject} could not be reached: {found}", "Run `sealwright doctor`."),
    "SW-KEY-PIN-REFUSED": Text(
        "{subject} refused its PIN: {found}",
        "Correct the PIN; it is not tried again by itself, so that the token does not lock.",
    ),
    "SW-KEY-REFUSED": Text("{subject} must not be used like this: {found}", "Use the key that is made for this."),
    "SW-OUTPUT-REFUSED": Text(
        "{subject} could not be written: {found}",
        "Choose another place with `--out`; what was there is still there.",
        "the result could not be written down",
    ),
    "SW-JOURNAL": Text(
        "the record could not be written: {subject}: {found}", "Run `sealwright doctor`; nothing was signed."
    ),
    "SW-HOME-LOCKED": Text("{subject} signs nothing yet: {found}", "Unlock it as docs/disaster.md says."),
    "SW-BACKUP-REFUSED": Text(
        "the backup {subject} cannot be used: {found}",
        "Use another copy of it, or the backup before; nothing was restored.",
    ),
    "SW-RECEIVING-REFUSED": Text(
        "{subject} gets no receiving record: {found}", "Say what is missing; nothing was recorded or signed."
    ),
    "SW-RECEIVING-NOT-COMPARED": Text(
        "{subject} compares nothing: {found}", "Ask the vendor for SHA-256 of this file by another way."
    ),
    "SW-RECEIVING-DIFFERS": Text(
        "{subject} is another file than its source says: {found}",
        "Do not install it. Fetch it again, and tell the vendor if it differs again.",
    ),
    "SW-SAMPLE-REFUSED": Text(
        "nothing is taken into a trust file from {subject}: {found}",
        "Ask the maker for a file as it is shipped, and compare its fingerprint over a second channel.",
    ),
    "SW-RECEIVING-OLD-SIGNATURE": Text(
        "the old signature {subject} stands for nothing: {found}",
        "Receive the file by another grade, or ask the vendor for a signature by today's rules.",
    ),
    "SW-REQUEST-REFUSED": Text(
        "the request {subject} is refused: {found}", "Ask again, or ask who decides what is allowed there."
    ),
    "SW-KEY-CLONED": Text(
        "the key {subject} may have been copied: {found}",
        "Take the key out of people.toml, find out who has a copy of it, and look at what it approved.",
    ),
    "SW-SERVICE-UNAVAILABLE": Text(
        "the signing service {subject} gives no answer: {found}", "Ask again in a moment; nothing is signed twice."
    ),
    "SW-SERVICE-WAITING": Text(
        "the signing service {subject} has not signed yet: {found}", "Ask again the same way: that goes on waiting."
    ),
    "SW-PEOPLE-MALFORMED": Text(
        "the register {subject} is not usable: {found}",
        "Correct it; `sealwright people check FILE` reads it.",
    ),
    "SW-IDENTITY-REFUSED": Text(
        "{subject} is nobody here: {found}",
        "Ask the PKI officer to look at the register of people and machines.",
    ),
    "SW-POLICY-MALFORMED": Text(
        "the policies {subject} cannot be used, so nothing is allowed by them: {found}",
        "Correct the policies; `sealwright policy check FOLDER` reads them.",
    ),
    "SW-POLICY-CHANGE": Text(
        "the policies {subject} do not count: {found}",
        "Have the change approved (`policy change`), or put the former policies back.",
    ),
    "SW-REQUEST-UNKNOWN": Text("{subject} is not known: {found}", "Check its name, and as whom you ask."),
    "SW-POLICY-REFUSED": Text(
        "the policies do not allow it ({subject}): {found}", "Ask who decides what is allowed there."
    ),
    "SW-PROVENANCE-REFUSED": Text(
        "the build provenance {subject} is not one for this: {found}",
        "Sign what the builder built, with the provenance that it made for it.",
    ),
    "SW-SPOOL-FULL": Text("{subject} has no room for a file now: {found}", "Upload it again in a moment."),
    "SW-REQUEST-OVER": Text(
        "nothing more can be done with the request {subject}: {found}",
        "Look how it stands, and ask anew where you must.",
    ),
    "SW-CONFIGURATION-MALFORMED": Text(
        "the configuration {subject} cannot be used: {found}", "Correct it, and start the service again."
    ),
    "SW-REPOSITORY-MALFORMED": Text(
        "the release repository {subject} is not what its keys signed: {found}",
        "Restore it from a copy; nothing was published.",
    ),
    "SW-RELEASE-REFUSED": Text(
        "{subject} is not taken into the release repository: {found}", "Correct it; nothing was published."
    ),
    "SW-SERVICE-REFUSED": Text("the signing service {subject} refuses: {found}", "Ask its operator."),
}
