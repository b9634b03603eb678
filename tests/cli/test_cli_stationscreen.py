"""The checking station's screen in a terminal that changes its size."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from textual.widgets import Static

from sealwright.cli.stationscreen import Station
from sealwright.plant.media import watching


def words_at(folder: Path, *widths: int) -> list[str]:
    """The large word as it is drawn after each change of the terminal's width, from 140 on."""
    args = argparse.Namespace(watch=str(folder), write=None, label=None, print_command=None)

    async def resized() -> list[str]:
        drawn = []
        with watching() as watch:
            station = Station(args, watch)
            async with station.run_test(size=(140, 30)) as pilot:
                for width in widths:
                    await pilot.resize_terminal(width, 30)
                    await pilot.pause()
                    drawn.append(str(station.query_one("#word", Static).render()))
        return drawn

    return asyncio.run(resized())


def test_the_large_word_is_drawn_as_large_as_the_terminal_is(tmp_path: Path) -> None:
    wide, narrow, tiny, again = words_at(tmp_path, 139, 75, 20, 139)
    assert "██" in wide
    assert "██" not in narrow
    assert len(narrow.strip().splitlines()) > 2
    assert tiny.split() == ["PUT", "A", "STICK", "IN"]
    assert again == wide
