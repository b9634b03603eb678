"""What is said where a release is handed to a device's own tool, a read-back is compared, or a share is filled."""

from __future__ import annotations

from sealwright.texts.text import Text

_READ_AGAIN = "Read it back once more; if it stays so, install the release again and find out who changed the device."

TEXTS: dict[str, Text] = {
    "SW-HANDOVER-REFUSED": Text("{subject}: {found}", "Do what the message says; nothing was handed over."),
    "SW-HANDOVER-CHANGED": Text(
        "{subject} in the private copy is not what was checked any more",
        "Do not use the device; tell who looks after this station, and hand the release over again.",
        "the private copy was changed",
    ),
    "SW-HANDOVER-SERIAL": Text(
        "it is for the devices {wanted}, and {subject} is {found}",
        "Use the files that were made for this device.",
        "it is for another device",
    ),
    "SW-HANDOVER-NOT-CARRIED": Text(
        "{subject} is a link or an empty folder, which neither shares nor sticks keep on every system",
        "Ask its maker for a release without it, or hand it over on this machine.",
        "there is a link or an empty folder in it",
    ),
    "SW-HANDOVER-REQUIRES": Text(
        "{subject} has to be installed before, in generation {wanted} or newer; there is {found}",
        "Look what the device has, and say it: --present PRODUCT=GENERATION; else install that first.",
        "it needs something that has to be installed before",
    ),
    "SW-READBACK-DIFFERS": Text(
        "{subject} the device has {found}, and {wanted} was signed", _READ_AGAIN, "the device gave back something else"
    ),
    "SW-READBACK-OTHER": Text(
        "{subject} is not what was loaded: recorded was {wanted}, read back {found}",
        "Compare it with the release itself, which names the place that differs.",
        "the device gave back something else",
    ),
    "SW-READBACK-ADDRESS": Text(
        "{subject} begins at {found}, and what was signed at {wanted}",
        "Read back the part of the memory that was loaded.",
        "the device gave back another part of its memory",
    ),
    "SW-READBACK-SHORT": Text(
        "{subject} ends at {found}, before what was signed does", _READ_AGAIN, "the device gave back too little"
    ),
    "SW-READBACK-LONGER": Text(
        "{subject} goes on behind what was signed: at {found} there is something else than {wanted}",
        "If the device fills its memory, say by which byte: --padding; if not, find out what is there.",
        "the device has more than was signed",
    ),
    "SW-READBACK-MISSING": Text("{subject} was not read back", _READ_AGAIN, "a file is missing in the device"),
    "SW-READBACK-EXTRA": Text(
        "{subject} was read back, and was never signed", _READ_AGAIN, "the device has a file that was not signed"
    ),
    "SW-READBACK-MORE": Text("{subject}: more than {found} differences", _READ_AGAIN),
    "SW-READBACK-PADDED": Text(
        "{subject}: behind the end there are {found} bytes {wanted}, as was declared", "Nothing to do."
    ),
    "SW-READBACK-GAPS": Text(
        "{subject}: {found} bytes between the signed records were compared with ff, as erased memory reads",
        "Nothing to do.",
    ),
}

WORDS: dict[str, str] = {
    "handover.load": "Load this, from this path and no other: {path}",
    "handover.wait": "Then type done and press Enter; anything else leaves it: ",
    "handover.done": "{name} was handed over for {serial}; the copy is unchanged and gone.",
    "handover.failed": "NOT DONE: {why}",
    "handover.tool-failed": "the vendor's tool did not do it ({code})",
    "handover.not-started": "the vendor's tool could not be started",
    "handover.left": "nobody said that it is done",
    "handover.refused": "NOT HANDED OVER: {why}",
    "handover.not-compared": "NOT COMPARED: {why}",
    "handover.finding": "{what}.",
    "handover.next": "Next: {step}",
    "handover.record": "Record: {path}",
    "handover.same": "{path}: the device gave back exactly what was signed.",
    "handover.differs": "{path}: THE DEVICE GAVE BACK SOMETHING ELSE: {why}",
    "handover.shared": "{name}: released",
    "handover.kept": "{name}: was there already",
    "handover.taken-off": "{name}: TAKEN OFF the share: {why}",
    "handover.not-shared": "{name}: NOT RELEASED: {why}",
    "handover.strange": "{name} lies on the share and was not put there by this station",
    "handover.stick": "Written to {path}: {files} files, read back and found the same.",
    "fact.installation": "{stage}, for the device {serial}",
    "fact.component": "{name} ({digest})",
    "fact.tool": "{path}, ended with {code} ({digest})",
    "fact.readback-same": "the same ({digest})",
    "fact.readback-differs": "SOMETHING ELSE ({digest})",
    "record.installation": "{line}  {stage} for {serial}",
}
