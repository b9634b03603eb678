"""Every format, with a key in every backend, before its real verifier, shown four ways; the answers are printed as a table.

Accepted is what was signed. Refused are altered content, an altered signature, and the same artifact where another maker is known.
`sealwright verify` must answer the same each time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.house import MAKES, Backend, House, Maker
from kit.rows import ROWS, Row
from kit.table import PAGE, Cell, cells_of, page
from sealwright.formats.known import EMBEDDED
from sealwright.keys.key import KeyKind

CELLS = [
    pytest.param(row, backend, kind, id=f"{row.format}-{backend}-{kind}")
    for row in ROWS
    for backend in Backend
    for kind in row.kinds
    if kind in MAKES[backend]
]


class Town:
    """The houses of one test process, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.houses: dict[str, House] = {}

    def house(self, name: str, backend: Backend) -> House:
        if name not in self.houses:
            (self.folder / name).mkdir()
            self.houses[name] = House.make(self.folder / name, backend)
        return self.houses[name]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town(tmp_path_factory.mktemp("town"))


@pytest.mark.parametrize(("row", "backend", "kind"), CELLS)
def test_the_real_verifier_accepts_what_is_signed_and_refuses_the_rest(
    row: Row,
    backend: Backend,
    kind: KeyKind,
    town: Town,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    maker = town.house(backend.name, backend).maker(row.key_format, kind)
    other = town.house("stranger", Backend.FILE).maker(row.key_format, kind)
    (tmp_path / "good").mkdir()
    signed = row.signs(row.make(tmp_path / "good"), maker)

    def judged(name: str, alteration: Callable[[Path, Maker], None] | None = None, knowing: Maker = maker) -> bool:
        folder = tmp_path / "good"
        if alteration is not None:
            folder = Path(shutil.copytree(folder, tmp_path / name, symlinks=True))
            alteration(folder / signed.name, maker)
        accepted, words = row.judge(folder / signed.name, knowing)
        if row.judged_here:
            assert knowing.house.trusts(folder / signed.name) is accepted, f"{name}: {words}"
        return accepted

    cell = Cell(
        row.format,
        backend,
        kind,
        good=judged("good"),
        content=judged("content", row.content),
        signature=judged("signature", row.signature),
        stranger=judged("stranger", None, other),
    )
    record_property("verifier", cell.text())
    assert cell.as_wanted, cell


def test_every_format_that_keeps_its_signature_inside_has_a_row() -> None:
    assert set(EMBEDDED) - {row.format for row in ROWS} == set(), "add a Row to tests/kit/rows.py"


def test_the_page_of_verifiers_shows_these_rows() -> None:
    assert PAGE.read_text() == page(cells_of(ROWS)), "run `make verifiers`"
