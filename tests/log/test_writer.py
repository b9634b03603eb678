"""The writer of a log: groups, replicas, start checks, and what becomes of who waits when something fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import OperationalError

from kit.logs import tree_hash
from kit.writtenlogs import SoftSigner, opened, sqlite_url, written
from sealwright.errors import (
    CommitInDoubt,
    KeyUnavailable,
    LimitExceeded,
    LogForked,
    LogRefused,
    LogRewound,
    StoreConflict,
    StoreUnavailable,
)
from sealwright.log import writer as module
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.reader import LogReader
from sealwright.log.tables import ENTRIES, HEAD
from sealwright.log.tiles import MAX_ENTRY
from sealwright.log.writer import LogWriter, NewRow
from sealwright.store.engine import Store, open_store

SIGNER = SoftSigner.make()


def some(count: int, name: str = "entry") -> list[bytes]:
    return [f"{name} {number}".encode() for number in range(count)]


def all_entries(store: Store) -> list[bytes]:
    with store.read() as connection:
        return [bytes(one) for one in connection.execute(select(ENTRIES.c.entry).order_by(ENTRIES.c.number)).scalars()]


@contextmanager
def writing(url: str, head_file: str | None = None) -> Iterator[LogWriter]:
    with opened(url) as store, LogWriter.open(store, SIGNER, head_file) as writer:
        yield writer


def test_entries_get_their_numbers_in_the_order_in_which_they_were_ordered(url: str) -> None:
    with writing(url) as writer:
        futures = [writer.append([b"a %d" % number, b"b %d" % number]) for number in range(300)]
        assert [one.result() for one in futures] == [(2 * at, 2 * at + 1) for at in range(300)]
        assert writer.head.size == 600
        assert writer.head.root == tree_hash(all_entries(writer._store))


def test_every_entry_has_a_proof_that_holds_under_the_logs_key_alone(url: str) -> None:
    other = SoftSigner.make()
    with writing(url) as writer:
        writer.append(some(600)).result()
        for leaf in (0, 1, 255, 256, 511, 512, 598, 599):
            proof = read_proof(writer.proof(leaf), "proof")
            assert (proof.leaf, proof.entry) == (leaf, b"entry %d" % leaf)
            check_proof(proof, proof.entry, [SIGNER.key], [], "proof")
            with pytest.raises(Exception, match="no log of the trust file"):
                check_proof(proof, proof.entry, [other.key], [], "proof")
        for leaf in (-1, 600):
            with pytest.raises(Exception, match="Numbers begin with 0"):
                writer.proof(leaf)


def test_a_restart_goes_on_where_the_log_ended(url: str) -> None:
    for at in range(5):
        with writing(url) as writer:
            assert writer.append(some(103)).result() == tuple(range(at * 103, at * 103 + 103))
    with opened(url) as store:
        assert LogReader(store).head().checkpoint.root == tree_hash(some(103) * 5)


def test_other_rows_are_written_with_the_entries_or_neither(url: str) -> None:
    with writing(url) as writer:
        store = writer._store
        with store.write() as connection:
            connection.execute(text("CREATE TABLE used (approval VARCHAR PRIMARY KEY, leaf INTEGER)"))

        def use(approval: str) -> Callable[[Connection, int], None]:
            def write(connection: Connection, leaf: int) -> None:
                connection.execute(text("INSERT INTO used VALUES (:a, :leaf)"), {"a": approval, "leaf": leaf})

            return write

        orders = [writer.append([b"%d" % at], use(str(at // 2))) for at in range(40)]
        done = [one.result() for one in orders if one.exception() is None]
        assert len(done) == 20
        assert {type(one.exception()) for one in orders if one.exception()} == {StoreConflict}
        with pytest.raises(ZeroDivisionError):
            writer.append([b"x"], lambda connection, leaf: 1 / 0).result()  # type: ignore[arg-type]
        with store.read() as connection:
            leaves = [row[0] for row in connection.execute(text("SELECT leaf FROM used ORDER BY leaf"))]
        assert leaves == sorted(numbers[0] for numbers in done) == list(range(20))
        assert len(all_entries(store)) == 20


def test_many_who_wait_share_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    real = LogWriter._appended

    def counted(self: LogWriter, connection: Connection, group: list[object], token: bytes, run: object) -> object:
        groups.append(len(group))
        return real(self, connection, group, token, run)  # type: ignore[arg-type]

    monkeypatch.setattr(LogWriter, "_appended", counted)
    with writing(sqlite_url(tmp_path)) as writer:
        for future in [writer.append([b"%d" % at]) for at in range(1000)]:
            future.result()
    assert sum(groups) == 1000
    assert len(groups) < 100


def test_one_alone_does_not_wait_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_S", 5.0)
    with writing(sqlite_url(tmp_path)) as writer:
        started = time.monotonic()
        for at in range(5):
            writer.append([b"%d" % at]).result()
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("replicas", [4])
def test_replicas_write_one_log(url: str, replicas: int) -> None:
    stores = [open_store(url) for _ in range(replicas)]
    writers = [LogWriter.open(store, SIGNER) for store in stores]
    told: dict[bytes, int] = {}
    lock = threading.Lock()

    def work(at: int) -> None:
        for number in range(50):
            entry = b"%d of replica %d" % (number, at)
            (leaf,) = writers[at].append([entry]).result(30)
            with lock:
                told[entry] = leaf

    threads = [threading.Thread(target=work, args=(at,)) for at in range(replicas)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    entries = all_entries(stores[0])
    assert len(entries) == 50 * replicas == len(told)
    assert all(entries[leaf] == entry for entry, leaf in told.items())
    assert LogReader(stores[0]).head().checkpoint.root == tree_hash(entries)
    for writer, store in zip(writers, stores, strict=True):
        writer.close()
        store.close()


def test_replicas_found_one_log(url: str) -> None:
    founded: list[LogWriter] = []
    stores = [open_store(url) for _ in range(4)]
    threads = [threading.Thread(target=lambda s=store: founded.append(LogWriter.open(s, SIGNER))) for store in stores]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(founded) == 4
    for writer in founded:
        writer.append([b"x"]).result()
        writer.close()
    assert LogReader(stores[0]).head().size == 4
    for store in stores:
        store.close()


def test_closing_answers_what_was_ordered_and_takes_nothing_more(url: str) -> None:
    with opened(url) as store:
        writer = LogWriter.open(store, SIGNER)
        futures = [writer.append([b"%d" % at]) for at in range(500)]
        writer.close()
        assert [one.result(0) for one in futures] == [(at,) for at in range(500)]
        with pytest.raises(LogRefused, match="closed"):
            writer.append([b"late"])
        writer.close()


def test_what_is_too_long_for_a_log_is_refused_at_once(tmp_path: Path) -> None:
    with writing(sqlite_url(tmp_path)) as writer:
        assert writer.append([bytes(MAX_ENTRY)]).result() == (0,)
        with pytest.raises(LimitExceeded):
            writer.append([bytes(MAX_ENTRY + 1)])
        with pytest.raises(ValueError):
            writer.append([])


def test_too_many_who_wait_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    with writing(sqlite_url(tmp_path)) as writer:
        store = writer._store
        with store.write():
            futures = [writer.append([b"a"])]
            time.sleep(0.1)
            futures += [writer.append([b"b"]) for _ in range(3)]
            with pytest.raises(StoreUnavailable, match="wait already"):
                writer.append([b"c"])
        assert [one.result() for one in futures] == [(0,), (1,), (2,), (3,)]


class Failing:
    """A signer whose key is away for some time."""

    def __init__(self) -> None:
        self.key = SIGNER.key
        self.away = False

    def sign(self, message: bytes) -> bytes:
        if self.away:
            raise KeyUnavailable("token", "it does not answer", "Put it in again.")
        return SIGNER.sign(message)


def test_a_key_that_is_away_records_nothing_and_tells_everybody(url: str) -> None:
    signer = Failing()
    with opened(url) as store, LogWriter.open(store, signer) as writer:
        assert writer.append([b"a"]).result() == (0,)
        signer.away = True
        futures = [writer.append([b"lost"]) for _ in range(20)]
        assert {type(one.exception()) for one in futures} == {KeyUnavailable}
        signer.away = False
        assert writer.append([b"b"]).result() == (1,)
        assert all_entries(store) == [b"a", b"b"]


class Losing:
    """COMMIT of a connection that is lost, before or after the server has done it."""

    def __init__(self, store: Store, after: bool) -> None:
        self.after = after
        self.times = 1
        self._real = store.engine.dialect.do_commit
        store.engine.dialect.do_commit = self  # type: ignore[method-assign, assignment]

    def __call__(self, connection: object) -> None:
        if threading.current_thread().name.startswith("log ") and self.times:
            self.times -= 1
            if self.after:
                self._real(connection)  # type: ignore[arg-type]
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))
        self._real(connection)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [True, False])
def test_a_commit_in_doubt_is_looked_up_and_never_done_twice(url: str, after: bool) -> None:
    with opened(url) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append([b"first"]).result()
        losing = Losing(store, after)
        future = writer.append([b"doubtful", b"doubtful too"])
        if after:
            assert future.result() == (1, 2)
        else:
            with pytest.raises(StoreUnavailable) as said:
                future.result()
            assert not isinstance(said.value, CommitInDoubt)
        assert losing.times == 0
        assert writer.append([b"next"]).result() == ((3,) if after else (1,))
        assert all_entries(store).count(b"doubtful") == after
        assert writer.head.root == tree_hash(all_entries(store))


def test_a_commit_in_doubt_that_nobody_can_look_up_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.1)
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, SIGNER) as writer:
        Losing(store, True)
        real = writer._store

        class Away:
            name, is_sqlite = real.name, True

            def write(self) -> object:
                if losing:
                    raise StoreUnavailable("db", "no route", "wait")
                return real.write()

        losing: list[int] = []
        writer._store = Away()  # type: ignore[assignment]
        monkeypatch.setattr(writer, "_committed", _when_called(writer._committed, lambda: losing.append(1)))
        with pytest.raises(CommitInDoubt, match="may be recorded"):
            writer.append([b"x"]).result()
        losing.clear()
        assert writer.append([b"y"]).result() == (1,)
        assert all_entries(store) == [b"x", b"y"]


def _when_called(real: Callable[..., bool], before: Callable[[], None]) -> Callable[..., bool]:
    def call(*arguments: object) -> bool:
        before()
        return real(*arguments)

    return call


def test_a_server_that_goes_away_under_the_writer_loses_nothing_and_doubles_nothing(database_server: object) -> None:
    from kit.postgres import Postgres

    own = Postgres.made()
    try:
        own.start()
        url = own.database()
        with opened(url) as store, LogWriter.open(store, SIGNER) as writer:
            futures: list[tuple[bytes, Future[tuple[int, ...]]]] = []
            stop = threading.Event()

            def load() -> None:
                number = 0
                while not stop.is_set():
                    entry = b"entry %d" % number
                    futures.append((entry, writer.append([entry])))
                    number += 1
                    time.sleep(0.001)

            thread = threading.Thread(target=load)
            thread.start()
            for _ in range(3):
                time.sleep(0.4)
                own.stop("immediate")
                own.start()
            time.sleep(0.4)
            stop.set()
            thread.join()
            told = {entry: one.result(60)[0] for entry, one in futures if one.exception(60) is None}
            entries = all_entries(store)
            assert all(entries[leaf] == entry for entry, leaf in told.items())
            assert len(set(entries)) == len(entries)
            refused = {entry for entry, one in futures if isinstance(one.exception(), StoreUnavailable)}
            doubtful = {entry for entry, one in futures if isinstance(one.exception(), CommitInDoubt)}
            assert not (refused - doubtful) & set(entries)
            assert told
    finally:
        own.remove()


# what is found at a start, and at the next order of a replica that runs


def damage(store: Store, statement: str) -> None:
    with store.write() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM log_entries WHERE number = 100", "599 entries"),
        ("DELETE FROM log_entries WHERE number = 599", "numbered 0 to 598"),
        ("DELETE FROM log_entries WHERE number = 0", "numbered 1 to 599"),
        ("UPDATE log_entries SET number = 700 WHERE number = 300", "numbered 0 to 700"),
        ("UPDATE log_entries SET entry = entry || '' WHERE number = -1", ""),
        ("DELETE FROM log_head", "no head"),
        ("UPDATE log_head SET size = 599", "right edge|head is damaged"),
        ("UPDATE log_head SET size = 601", "right edge|head is damaged"),
        ("UPDATE log_head SET origin = 'other'", "the log other"),
        ("DELETE FROM log_nodes WHERE number = 1", "tiles are damaged"),
        ("DELETE FROM log_nodes WHERE number = 0", "gaps"),
        ("UPDATE log_nodes SET number = 5 WHERE number = 1", "gaps|tiles are damaged"),
    ],
)
def test_a_log_that_is_not_whole_is_not_opened(url: str, statement: str, said: str) -> None:
    with opened(url) as store:
        with LogWriter.open(store, SIGNER) as writer:
            writer.append(some(600)).result()
        damage(store, statement)
        if not said:
            LogWriter.open(store, SIGNER).close()
            return
        with pytest.raises(LogRefused, match=said):
            LogWriter.open(store, SIGNER)


def test_an_entry_at_the_end_that_was_changed_shows_at_the_start_and_one_before_in_its_proof(url: str) -> None:
    with opened(url) as store:
        with LogWriter.open(store, SIGNER) as writer:
            writer.append(some(600)).result()
        for leaf, at_start in ((599, True), (512, True), (3, False)):
            with store.write() as connection:
                connection.execute(update(ENTRIES).where(ENTRIES.c.number == leaf).values(entry=b"changed"))
            if at_start:
                with pytest.raises(LogRefused, match="were changed"):
                    LogWriter.open(store, SIGNER)
            else:
                with pytest.raises(LogRefused, match="was changed"):
                    LogReader(store).proof(leaf)
            with store.write() as connection:
                connection.execute(update(ENTRIES).where(ENTRIES.c.number == leaf).values(entry=b"entry %d" % leaf))
        LogWriter.open(store, SIGNER).close()


def test_a_checkpoint_that_another_key_signed_is_not_the_logs(url: str) -> None:
    other = SoftSigner.make()
    with written(url, SIGNER, some(10)) as log, pytest.raises(LogRefused, match="not this log's"):
        LogWriter.open(log.store, other)


def test_a_replica_notices_that_the_log_became_shorter_and_ends(url: str) -> None:
    with opened(url) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append(some(10)).result()
        with store.read() as connection:
            head = connection.execute(select(HEAD)).one()
        writer.append(some(5)).result()
        with store.write() as connection:
            connection.execute(text("DELETE FROM log_entries WHERE number >= 10"))
            connection.execute(update(HEAD).values(**head._mapping))
        with pytest.raises(LogRewound, match="10 entries, and had 15"):
            writer.append([b"x"]).result()
        with pytest.raises(LogRewound):
            writer.append([b"y"])


def test_a_head_outside_the_database_shows_a_restored_backup(tmp_path: Path) -> None:
    url, head = sqlite_url(tmp_path), str(tmp_path / "head")
    with writing(url, head) as writer:
        writer.append(some(300)).result()
    for name in ("log.db",):
        (tmp_path / "backup").write_bytes((tmp_path / name).read_bytes())
    with writing(url, head) as writer:
        writer.append([b"later"]).result()
    newest = (tmp_path / "log.db").read_bytes()
    (tmp_path / "log.db").write_bytes((tmp_path / "backup").read_bytes())
    with opened(url) as store, pytest.raises(LogRewound, match="300 entries, and had 301"):
        LogWriter.open(store, SIGNER, head)
    with opened(url) as store:  # who goes on without it makes a fork, which the same head shows later
        with LogWriter.open(store, SIGNER) as writer:
            writer.append([b"another", b"history"]).result()
        with pytest.raises(LogForked, match="first 301 entries"):
            LogWriter.open(store, SIGNER, head)
    (tmp_path / "log.db").write_bytes(newest)
    with writing(url, head) as writer:
        assert writer.append([b"goes on"]).result() == (301,)


def test_a_head_of_another_log_or_of_none_is_refused(tmp_path: Path) -> None:
    url, head = sqlite_url(tmp_path), tmp_path / "head"
    with writing(url, str(head)) as writer:
        writer.append([b"x"]).result()
    good = head.read_bytes()
    with opened(url) as store:
        for wrong in (b"", b"nonsense\n", b"\xff", good.replace(b"\n1\n", b"\n2\n"), good[:-3]):
            head.write_bytes(wrong)
            with pytest.raises(Exception, match=r"checkpoint|signature"):
                LogWriter.open(store, SIGNER, str(head))
        head.write_bytes(good)
        LogWriter.open(store, SIGNER, str(head)).close()
    with pytest.raises(Exception, match="folder does not exist"):
        writing(url, str(tmp_path / "nowhere" / "head")).__enter__()


def test_new_rows_of_many_orders_stand_with_their_leaves_and_one_that_cannot_takes_no_other_with_it(url: str) -> None:
    with writing(url) as writer:
        store = writer._store
        used = Table("used", MetaData(), Column("approval", String, primary_key=True), Column("leaf", Integer))
        with store.write() as connection:
            used.create(connection)
        statement = insert(used)

        def row(approval: int) -> list[NewRow]:
            return [NewRow(statement, {"approval": str(approval)}, leaf="leaf")]

        def seen(connection: Connection, first: int) -> None:
            assert connection.execute(select(used.c.approval).where(used.c.leaf == first)).scalar()

        blocked = writer.append([b"first"], lambda *_: time.sleep(0.2))
        orders = [writer.append([b"%d" % at, b"and %d" % at], seen, row(at)) for at in range(20)]
        assert [one.result() for one in orders] == [(at, at + 1) for at in range(1, 41, 2)]
        again = [writer.append([b"again %d" % at], None, row(at)) for at in range(15, 25)]
        assert [type(one.exception()) for one in again] == [StoreConflict] * 5 + [type(None)] * 5
        assert (blocked.result(), [one.result() for one in again[5:]]) == ((0,), [(at,) for at in range(41, 46)])
        with store.read() as connection:
            leaves = [row[0] for row in connection.execute(text("SELECT leaf FROM used ORDER BY leaf"))]
        assert leaves == [*range(1, 41, 2), *range(41, 46)]


def test_one_order_whose_rows_raise_takes_no_other_with_it(tmp_path: Path) -> None:
    """The transaction is run anew, and everybody else's rows are run again: nothing of them stands twice."""
    with writing(sqlite_url(tmp_path)) as writer:
        ran: list[str] = []

        def good(name: str) -> Callable[[Connection, int], None]:
            return lambda connection, _: ran.append(name) if connection else None

        def bad(connection: Connection, first: int) -> None:
            raise StoreConflict("word", f"it is taken at {first} {connection.closed}", "Take another.")

        blocked = writer.append([b"first"], lambda *_: time.sleep(0.2))
        futures = [writer.append([b"a"], good("a")), writer.append([b"b"], bad), writer.append([b"c"], good("c"))]
        blocked.result()
        (a,), (c,) = futures[0].result(), futures[2].result()
        with pytest.raises(StoreConflict):
            futures[1].result()
        assert (a, c, writer.head.size) == (1, 2, 3)
        assert writer.reader.entries(0, 9) == [b"first", b"a", b"c"]
        assert ran.count("a") == 2
