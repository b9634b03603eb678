"""Sentences about signature files."""

from __future__ import annotations

from sealwright.texts.text import Text

TEXTS: dict[str, Text] = {
    "SW-SIGNATURE-NO-ALGORITHM-PROTECTION": Text(
        "{subject} does not repeat its algorithms among the signed attributes",
        "Nothing to do; other programs sign like this.",
        plain="{subject} was made by another program, in an older way",
    ),
    "SW-SIGNATURE-ATTRIBUTE-IGNORED": Text(
        "{subject} carries the unsigned attribute {found}, which was ignored",
        "Nothing to do; it proves nothing.",
        plain="{subject} carries something unsigned, which was ignored",
    ),
}
