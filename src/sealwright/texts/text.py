"""What one finding code says: the sentence, the next step, and the clause of the first line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Placeholders are `{subject}`, `{wanted}` and `{found}`. headline follows "DO NOT INSTALL: "; "" where never first."""

    sentence: str
    next_step: str
    headline: str = ""
