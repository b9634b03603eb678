"""A survey of some paths, for tests that ask what was seen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.pki import NOW
from sealwright.plant.spool import Spool
from sealwright.plant.survey import survey


@contextmanager
def looked(*paths: Path) -> Iterator[Spool]:
    """A survey of some paths."""
    with survey([os.fsencode(path) for path in paths], now=NOW) as spool:
        yield spool


def states(spool: Spool) -> dict[str, int]:
    """How many files are in which state."""
    return {one.what: one.number for one in spool.counts.files}
