"""What one finding code says: the sentence, the next step, the clause of the first line, and the sentence in plain words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Placeholders are `{subject}`, `{wanted}` and `{found}`. headline follows "DO NOT INSTALL: "; "" where never first.

    plain: the sentence for who did not ask for details, without certificate words; "" where the sentence has none.
    """

    sentence: str
    next_step: str
    headline: str = ""
    plain: str = ""
