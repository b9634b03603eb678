"""Sentences of the run gate: why a script that is signed does not run here and now."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK_AUTHOR = "Ask its author for a corrected and newly signed script."
_ASK_OFFICER = "Have [[interpreter]] in the trust file corrected and signed by your security officer."

TEXTS: dict[str, Text] = {
    "SW-RUN-KIND": Text(
        "{subject}: neither its name nor its first line says what it is written in",
        "Have a first line such as #!/bin/sh or `-- sealwright-run: kind = sql` written into it, and have it signed.",
        "it is not known what runs it",
    ),
    "SW-RUN-KIND-UNSIGNED": Text(
        "{subject}: only its name says that it is written for {found}, and the signature does not cover the name",
        "Write `{wanted}` as its first line and sign it again; or sign it with --product, whose manifest names the file.",
        "nothing signed says what runs it",
    ),
    "SW-RUN-TEXT": Text("{subject}: {found}", _ASK_AUTHOR, "its text is not what it looks like"),
    "SW-RUN-LINE-ENDS": Text(
        "{subject}: its line ends were changed from {wanted} to {found} after it was signed; nothing else was",
        "Copy it again from its source, as binary; an editor or transfer program rewrote it.",
        "its line ends were changed",
    ),
    "SW-RUN-INTERPRETER-OTHER": Text(
        "{subject}: its first line calls {found}", _ASK_AUTHOR, "its first line calls another interpreter"
    ),
    "SW-RUN-INTERPRETER-MISSING": Text(
        "{subject}: the trust file names no interpreter for {found}",
        _ASK_OFFICER,
        "nothing may run scripts of this kind",
    ),
    "SW-RUN-INTERPRETER-UNSAFE": Text(
        "the interpreter {subject} cannot be relied on: {found}",
        "Install the interpreter from its packages again; only root may be able to change it.",
        "its interpreter cannot be relied on",
    ),
    "SW-RUN-ARGUMENTS": Text(
        "{subject}: scripts for {found} take no arguments here",
        "Leave them out, or have them allowed in [[interpreter]] of the trust file.",
        "arguments are not allowed",
    ),
    "SW-RUN-DECLARATION": Text(
        "{subject}: what it declares of its runs cannot be read: {found}", _ASK_AUTHOR, "its declaration cannot be read"
    ),
    "SW-RUN-HOST": Text(
        "{subject}: it is for {wanted}, this machine is {found}",
        "Run it where it is meant to run.",
        "it is for other machines",
    ),
    "SW-RUN-ACCOUNT": Text(
        "{subject}: {wanted} may run it, this is {found}", "Run it as that account.", "another account must run it"
    ),
    "SW-RUN-WINDOW": Text(
        "{subject}: {wanted}, and now it is {found}",
        "Run it in its window, or ask its author for another one.",
        "it is outside its time window",
    ),
    "SW-RUN-COUNT": Text(
        "{subject}: it may be started {wanted} times on this machine: {found}",
        "Ask its author whether it is meant to run again.",
        "its number of runs is used up",
    ),
}
