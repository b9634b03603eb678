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
}
WORDS: dict[str, str] = {}
