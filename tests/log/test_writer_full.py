"""A full disk ends SQLite's whole transaction, savepoints and all: what was ordered together is refused together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from kit.writtenlogs import SoftSigner, opened, sqlite_url
from sealwright.errors import StoreUnavailable
from sealwright.log.writer import LogWriter

ENDLESS = 2**31 - 2


def filling(pages: Callable[[int], int], size: int) -> Callable[[Connection, int], None]:
    """Rows of so many octets on a disk that has so many pages, by those that are there."""

    def rows(connection: Connection, _: int) -> None:
        there = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages(there)}")
        connection.execute(text("INSERT INTO much VALUES (zeroblob(:size))"), {"size": size})

    return rows


@pytest.mark.parametrize("full", [False, True])
def test_a_full_disk_refuses_the_whole_group_and_nothing_of_it_stands(tmp_path: Path, full: bool) -> None:
    large = filling((lambda there: there + 5) if full else (lambda _: ENDLESS), 1_000_000)
    small = filling(lambda _: ENDLESS, 10)
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, SoftSigner.make()) as writer:
        with store.write() as connection:
            connection.execute(text("CREATE TABLE much (data BLOB)"))
        writes, go_on = threading.Event(), threading.Event()
        blocked = writer.append([b"first"], lambda *_: writes.set() or go_on.wait(60))  # type: ignore[func-returns-value]
        assert writes.wait(60)
        together = [writer.append([b"large"], large), writer.append([b"small"], small)]
        go_on.set()
        assert blocked.result() == (0,)
        refused = [one.exception() for one in together]
        assert [type(one) for one in refused] == [StoreUnavailable if full else type(None)] * 2
        assert all("disk is full" in str(one) for one in refused) is full
        with store.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM much")).scalar() == (0 if full else 2)
        assert writer.append([b"after"], small).result() == (1 if full else 3,)
        assert writer.reader.entries(0, 9) == [b"first", *([] if full else [b"large", b"small"]), b"after"]
