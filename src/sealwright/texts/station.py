"""What a checking station says about a stick: its findings, its screens and its labels."""

from __future__ import annotations

from sealwright.texts.text import Text

_FROM_SENDER = "Ask who brought it for a stick with the delivery alone."

TEXTS: dict[str, Text] = {
    "SW-STATION-MEDIUM-GONE": Text(
        "{subject} could not be read to its end: {found}",
        "Put the stick in again and leave it in until the station says so.",
        "the stick was pulled out, or stopped answering",
    ),
    "SW-STATION-LINK": Text(
        "{subject} is a link, which leads to something else on every machine; it was not taken",
        "Ask for the file itself.",
        "there is a link",
    ),
    "SW-STATION-SPECIAL": Text(
        "{subject} is a device, socket or FIFO; it was not taken", _FROM_SENDER, "there is a device file"
    ),
    "SW-STATION-NAME": Text(
        "{subject} was not taken: {found}", "Ask for it under another name.", "there is a name that is not safe"
    ),
    "SW-STATION-UNREAD": Text(
        "{subject} could not be read: {found}",
        "Copy it to another stick; if that fails too, the stick is damaged.",
        "a file could not be read",
    ),
    "SW-STATION-CHANGING": Text(
        "{subject} changed while it was read: it is half written, or something writes to it",
        "Copy it again and take the stick out of the other machine properly.",
        "a file is only half written",
    ),
    "SW-STATION-DIFFERS": Text(
        "{subject} read a second time was not what it had been the first time",
        "Do not use this stick anywhere; keep it, and tell who is responsible for security.",
        "this stick gives different answers",
    ),
    "SW-STATION-OTHER-MEDIUM": Text(
        "{subject} is another file system, mounted there; it was not taken", "Check it as a medium of its own."
    ),
    "SW-STATION-BESIDE": Text(
        "{subject} lies beside {found} as what belongs to its signature would, and cannot be read as that, or nobody trusted signed it: it goes no further",
        "Ask whoever delivered it what it is for; the file itself was judged without it.",
        "something lies beside a file that is not of its signature",
    ),
    "SW-STATION-FILESYSTEM": Text(
        "{subject} has the file system {found}, which sticks do not come with",
        "Ask who brought it for a stick with FAT, exFAT, NTFS or ext4.",
    ),
    "SW-STATION-UNFINISHED": Text(
        "{subject} has the name of an unfinished download", "Ask whether it was copied to its end."
    ),
}

WORDS: dict[str, str] = {
    "station.word.trusted": "ALLOWED",
    "station.word.rejected": "DO NOT USE",
    "station.word.undecided": "NOT DECIDED",
    "station.insert": "PUT A STICK IN",
    "station.reading": "CHECKING",
    "station.leave-in": "Leave the stick in.",
    "station.take-out": "You can take the stick out now.",
    "station.gone": "STICK PULLED OUT",
    "station.error": "NOT CHECKED",
    "station.counts": "{trusted} allowed, {rejected} not, {undecided} not decided",
    "station.progress": "{files} files, {size}",
    "station.nothing-counts": "Nothing of this stick was checked to the end: nothing of it may be used.",
    "station.some-refused": "Some files must not be used. Only what is in the list of allowed files may be.",
    "station.all-allowed": "Every file on this stick may be used.",
    "station.none-allowed": "Nothing on this stick may be used.",
    "station.clean-written": "Written to {path}: {files} files that are allowed, read back and found the same.",
    "station.label-title": "SEALWRIGHT CHECKING STATION",
    "station.label-verdict": "Verdict:  {verdict}",
    "station.label-file": "File:     {name}",
    "station.label-digest": "SHA-256:  {digest}",
    "station.label-date": "Checked:  {time}",
    "station.label-station": "Station:  {station}",
    "station.label-trust": "Trust:    version {version}, {digest}",
    "station.label-clean": "the {files} files on the clean stick",
    "station.label-medium": "the {files} files that were checked",
    "station.clean-done": "Everything that is allowed was written to {path}, read back and found the same.",
    "station.no-clean": "No clean stick: {why}",
    "station.no-answer": "the check ended without a result",
    "station.not-printed": "The label was not printed",
    "station.more": "and {number} more, not shown here",
    "station.keys": "F2 label   F5 again   F10 end",
}
