"""The table of real verifiers: what each said of a format with a key in each backend; printed by the tests, kept in docs/verifiers.md.

A test carries its `Cell` home as a property, through however many processes the tests run in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kit.house import MAKES, Backend
from kit.rows import ROWS, Row
from sealwright.keys.key import KeyKind

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verifiers.md"
NAMES = {Backend.FILE: "key in a file", Backend.TOKEN: "PKCS#11 (SoftHSM)", Backend.TPM: "TPM (swtpm)"}
_OPENING = """# Formats and their real verifiers

Each format below is signed by `sealwright sign` with a key in a development file, in a PKCS#11 token (SoftHSM2) and in a TPM 2.0
(swtpm), of every kind that its verifier reads and the backend makes. The verifier is the program that devices or their makers use.
It is shown four artifacts for each key: what was signed, which it has to accept; and the same with its content altered,
with its signature altered, and before a verifier that knows another maker, which it has to refuse.
`sealwright verify` has to answer the same with the home's own trust file (about UEFI variables it gives no verdict, and layouts are in no home's).
`make test` prints this table at its end, and fails where an answer is another one; `make verifiers` writes this page from the answers.

"""
_CLOSING = """
Pairs that do not exist: {absent}. A kind that a format does not show is one that not all of its verifiers read,
or that was not tried.
"""


@dataclass(frozen=True)
class Cell:
    """What the real verifier said: whether it accepted each of the four."""

    format: str
    backend: Backend
    kind: KeyKind
    good: bool = True
    content: bool = False
    signature: bool = False
    stranger: bool = False

    @property
    def as_wanted(self) -> bool:
        """Accepted what was signed and nothing else."""
        return self.good and not (self.content or self.signature or self.stranger)

    @property
    def accepted(self) -> int:
        """How many of the four."""
        return sum((self.good, self.content, self.signature, self.stranger))

    def text(self) -> str:
        """For the journey home."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Cell:
        """What `text` wrote."""
        value = json.loads(text)
        return cls(**value | {"backend": Backend(value["backend"]), "kind": KeyKind(value["kind"])})


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """What is wanted of the rows."""
    return [
        Cell(row.format, backend, kind)
        for row in rows
        for backend in Backend
        for kind in row.kinds
        if kind in MAKES[backend]
    ]


def lines(cells: Iterable[Cell]) -> Iterator[tuple[str, ...]]:
    """One line a row that was tried: format, verifier, and for each backend the keys and how much was accepted and refused."""
    every = list(cells)
    for row in ROWS:
        own = [cell for cell in every if cell.format == row.format]
        if own:
            yield (row.format, row.verifier, *(_said([c for c in own if c.backend is b], row) for b in Backend))


def page(cells: Iterable[Cell]) -> str:
    """docs/verifiers.md."""
    heads = ("format", "real verifier", *NAMES.values())
    table = "".join(f"| {' | '.join(line)} |\n" for line in (heads, ("---",) * len(heads), *lines(cells)))
    return _OPENING + table + _CLOSING.format(absent="; ".join(_absent()))


def screen(cells: Iterable[Cell]) -> Iterator[str]:
    """The same in columns."""
    rows = [("format", "real verifier", *NAMES.values()), *lines(cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def _said(cells: Sequence[Cell], row: Row) -> str:
    if not cells:
        return "no such key"
    order = {kind: number for number, kind in enumerate(row.kinds)}
    kinds = " ".join(
        f"{cell.kind}" if cell.as_wanted else f"{cell.kind} (NOT AS WANTED)"
        for cell in sorted(cells, key=lambda cell: order[cell.kind])
    )
    accepted = sum(cell.accepted for cell in cells)
    return f"{kinds}: {accepted} accepted, {4 * len(cells) - accepted} refused"


def _absent() -> Iterator[str]:
    every = [kind for kind in KeyKind if any(kind in row.kinds for row in ROWS)]
    for backend, name in NAMES.items():
        missing = [kind for kind in every if kind not in MAKES[backend]]
        if missing:
            yield f"{name} makes no {', no '.join(missing)}"
