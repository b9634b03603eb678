"""A new database of each kind, for the tests of the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.postgres import Postgres, postgres
from kit.writtenlogs import sqlite_url


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A server of this process."""
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    running: Postgres = request.getfixturevalue("server")
    return running.database()
