"""Sentences about the trust file itself."""

from __future__ import annotations

from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {
    "SW-TRUST-TRIAL": Text(
        "the trust file {subject} is a trial: it may be unsigned, and nothing may be enforced by it",
        "Have it signed by its officers before it is used in a plant.",
    ),
    "SW-TRUST-RECOVERED": Text(
        "version {found} of the trust file {subject} was signed by its recovery keys, which replaced the officers",
        "Make sure that this was meant; it shows until the next ordinary version.",
    ),
}
