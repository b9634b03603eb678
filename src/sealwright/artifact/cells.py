"""Rows of CSV (RFC 4180) for spreadsheets, in whose cells nothing is a formula (A142).

>>> cell("=cmd()")
"'=cmd()"

What a spreadsheet would calculate begins with an apostrophe; no cell has a line break or what a terminal obeys.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from sealwright.artifact.names import display

# what a spreadsheet takes for a formula at the beginning of a cell, the wide forms of East Asian ones too
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")


def cell(text: str) -> str:
    """A text as a cell that no spreadsheet calculates and no terminal obeys."""
    shown = display(text)
    return f"'{shown}" if text.startswith(_FORMULA) else shown


def row_of(cells: Sequence[str]) -> bytes:
    """One line."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().encode("utf-8", "backslashreplace")
