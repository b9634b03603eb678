"""What is said of release repositories, and of who carries them."""

from __future__ import annotations

from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {
    "SW-REPOSITORY-REFUSED": Text(
        "the repository {subject} is refused: {found}", "Fetch from its own server, or ask whoever publishes it."
    ),
    "SW-REPOSITORY-STALE": Text(
        "the repository {subject} has ended, so newer releases may be withheld: {found}",
        "Fetch it again, or have it published again.",
    ),
    "SW-REPOSITORY-UNAVAILABLE": Text(
        "the repository {subject} could not be read or written: {found}", "Check its address, the network and the disk."
    ),
    "SW-COURIER-REFUSED": Text(
        "the courier {subject} is refused: {found}", "Do not use it; ask its sender for another one, on another way."
    ),
}
WORDS: dict[str, str] = {
    "courier.packed": "packed: {name} for {to}, {files} files: {out}",
    "courier.until": "  good until {until}",
    "courier.next-unpack": "Next: carry it over; there: sealwright courier unpack",
    "courier.taken": "taken over: {name}, packed {made}: {folder}",
    "courier.part-repository": "repository: {targets} files of releases, now in {into}/repository",
    "courier.part-trust": "trust file: {folder}/trust; install it with sealwright trust install",
    "courier.part-log": "a log's checkpoint and proofs",
    "courier.part-files": "signed files: {folder}/files; verify them where they are used",
    "courier.part-reports": "reports of devices: {folder}/reports",
    "courier.acknowledge": "acknowledged as {digest}",
}
