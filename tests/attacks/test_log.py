"""Attacks on the log of a signing service: A133 (unlogged), A135 (rewind), A136 (fork), A137 (proofs), A141 (tiles), A142 (truncation, cells)."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.logs import tree_hash
from kit.writtenlogs import AT, SoftSigner, every_entry, opened, signature_entry, sqlite_url, written
from sealwright.artifact.claims import Claims
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import KeyUnavailable, LogRewound
from sealwright.findings import Severity
from sealwright.log.audit import Audit
from sealwright.log.canonical import canonical_json
from sealwright.log.export import COLUMNS, export_log, heading, rows
from sealwright.log.merkle import check_consistency, leaf_hash, root_of
from sealwright.log.monitor import Monitor
from sealwright.log.note import sign_checkpoint
from sealwright.log.source import FolderSource
from sealwright.log.tiles import TileName, encode_bundle, read_bundle
from sealwright.log.tree import Edge, Growing, TiledTree, consistency_path, inclusion_path
from sealwright.log.witness import Witness, question
from sealwright.log.writer import LogWriter

SIGNER = SoftSigner.make()
SIZE = 700


def entries(count: int = SIZE, since: int = 0) -> list[bytes]:
    return [signature_entry(at).encoded() for at in range(since, count)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 700 entries, its database and its export."""
    folder = tmp_path_factory.mktemp("log")
    with written(sqlite_url(folder), SIGNER, entries()) as log:
        export_log(log, str(folder / "export"))
    return folder


@pytest.fixture
def export(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported / "export", tmp_path / "export"))


def codes(folder: Path, state: Path | None = None) -> list[str]:
    """The alarms of an audit, or of a monitor with a state."""
    source = FolderSource(str(folder))
    findings = (
        Audit(source, [SIGNER.key]).findings()
        if state is None
        else Monitor(str(state), source, [SIGNER.key]).findings()
    )
    return [one.code for one in findings if one.severity is Severity.REJECT]


def evidence(folder: Path) -> set[bytes]:
    """The checkpoints that a monitor kept beside its state."""
    return {one.read_bytes() for one in folder.glob("state.*.checkpoint")}


# A133: no signature without its entry; the process that is killed is in tests/log/test_writer_killed.py


def test_a133_nobody_is_told_of_an_entry_before_it_is_committed(tmp_path: Path) -> None:
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, SIGNER) as writer:
        with store.write() as connection:  # the lock is held: nothing can be committed
            future = writer.append([b"entry"])
            assert not future.done()
            assert connection.exec_driver_sql("SELECT count(*) FROM log_entries").scalar() == 0
        assert future.result() == (0,)


@pytest.mark.parametrize("fault", ["disk full", "key away"])
def test_a133_what_cannot_be_recorded_is_told_to_all_and_leaves_no_gap(tmp_path: Path, fault: str) -> None:
    class Away:
        key = SIGNER.key
        away = False

        def sign(self, message: bytes) -> bytes:
            if self.away:
                raise KeyUnavailable("token", "gone", "Put it in again.")
            return SIGNER.sign(message)

    signer = Away()
    with opened(sqlite_url(tmp_path)) as store:
        with LogWriter.open(store, signer) as writer:
            assert writer.append([b"first"]).result() == (0,)
            if fault == "disk full":
                with store.read() as connection:
                    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
                for connection in (store.engine.connect(),):
                    connection.close()
                limited = store.engine.raw_connection()
                limited.cursor().execute(f"PRAGMA max_page_count={pages}")
                limited.close()
            else:
                signer.away = True
            futures = [writer.append([bytes(60_000)]) for _ in range(10)]
            assert all(one.exception() is not None for one in futures)
            signer.away = False
            lifted = store.engine.raw_connection()
            lifted.cursor().execute("PRAGMA max_page_count=1000000")
            lifted.close()
            assert writer.append([b"second"]).result() == (1,)
        LogWriter.open(store, SIGNER).close()


# A135


def test_a135_a_database_restored_from_a_backup_does_not_start(exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    head = str(tmp_path / "head")
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, SIGNER, head) as writer:
        writer.append([b"later"]).result()
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    with opened(sqlite_url(tmp_path)) as store, pytest.raises(LogRewound):
        LogWriter.open(store, SIGNER, head)


def test_a135_a_monitor_and_a_witness_refuse_what_is_shorter(export: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert codes(export, state) == []
    remembered = state.read_bytes()
    with written(sqlite_url(tmp_path), SIGNER, entries(500)) as log:
        export_log(log, str(tmp_path / "shorter"))
    assert codes(tmp_path / "shorter") == []
    assert codes(tmp_path / "shorter", state) == ["SW-LOG-REWOUND"]
    assert state.read_bytes() == remembered
    assert evidence(tmp_path) == {(one / "checkpoint").read_bytes() for one in (export, tmp_path / "shorter")}
    witness = Witness(str(tmp_path), SoftSigner.make("w", NoteType.WITNESS), {SIGNER.key.name: [SIGNER.key]})
    assert witness.add_checkpoint(question(0, (), (export / "checkpoint").read_text()), AT).status == 200
    answer = witness.add_checkpoint(question(0, (), (tmp_path / "shorter/checkpoint").read_text()), AT)
    assert (answer.status, answer.body) == (409, b"700\n")


# A136


@pytest.mark.parametrize("size", [700, 701, 1500])
@pytest.mark.parametrize("changed", [3, 600, 699])
def test_a136_a_monitor_refuses_another_history_and_keeps_both(
    export: Path, tmp_path: Path, size: int, changed: int
) -> None:
    state = tmp_path / "state"
    assert codes(export, state) == []
    other = entries(size)
    other[changed] = signature_entry(99_999).encoded()
    with written(sqlite_url(tmp_path), SIGNER, other) as log:
        export_log(log, str(tmp_path / "other"))
    assert codes(tmp_path / "other") == []  # by itself it is whole
    before = state.read_bytes()
    assert codes(tmp_path / "other", state) == ["SW-LOG-FORKED"]
    assert state.read_bytes() == before
    assert evidence(tmp_path) == {(one / "checkpoint").read_bytes() for one in (export, tmp_path / "other")}
    source = FolderSource(str(tmp_path / "other"))
    again = Monitor(str(state), source, [SIGNER.key]).findings_from_start()
    assert [one.code for one in again] == ["SW-LOG-FORKED"]
    assert codes(export, state) == []


# A137

HASHES = [leaf_hash(b"%d" % at) for at in range(40)]
TREE = TiledTree(lambda *_: HASHES)


def rooted(size: int) -> bytes:
    return tree_hash([b"%d" % at for at in range(size)])


def mutations(path: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """Flipped, truncated, extended, swapped."""
    found: list[tuple[bytes, ...]] = [(*path, bytes(32)), (bytes(32), *path), (*path, rooted(40))]
    for at in range(len(path)):
        flipped = bytes((path[at][0] ^ 1, *path[at][1:]))
        last = bytes((*path[at][:-1], path[at][-1] ^ 0x80))
        found += [(*path[:at], one, *path[at + 1 :]) for one in (flipped, last, b"", path[at][:-1], path[at] + b"\0")]
        found += [path[:at], path[at + 1 :], (*path[:at], *path[at + 1 :]), (*path[: at + 1], *path[at:])]
        if at:
            found.append((*path[: at - 1], path[at], path[at - 1], *path[at + 1 :]))
    return [one for one in found if one != path]


def refused(check: Callable[[], bool]) -> bool:
    try:
        return not check()
    except ValueError:
        return True


@given(st.integers(1, 40), st.data())
def test_a137_no_mutation_of_an_inclusion_proof_holds(size: int, draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, size - 1))
    path, root, leaf = inclusion_path(TREE, index, size), rooted(size), HASHES[index]
    assert root_of(leaf, index, size, path) == root
    for wrong in mutations(path):
        assert refused(lambda wrong=wrong: root_of(leaf, index, size, wrong) == root)  # type: ignore[misc]
    for at, of in (
        (index + 1, size),
        (index - 1, size),
        (size, size),
        (index, 0),
        (-1, size),
        (index, index),
        (index, 2**63),
    ):
        assert refused(lambda at=at, of=of: root_of(leaf, at, of, path) == root)  # type: ignore[misc]
    assert refused(lambda: root_of(bytes(32), index, size, path) == root)


@given(st.integers(1, 40), st.data())
def test_a137_no_mutation_of_a_consistency_proof_holds(size: int, draw: st.DataObject) -> None:
    old = draw.draw(st.integers(1, size))
    path, roots = consistency_path(TREE, old, size), (rooted(old), rooted(size))

    def holds(old: int, first: bytes, size: int, second: bytes, path: tuple[bytes, ...]) -> bool:
        check_consistency(old, first, size, second, path)
        return True

    assert holds(old, roots[0], size, roots[1], path)
    for wrong in mutations(path):
        assert refused(lambda wrong=wrong: holds(old, roots[0], size, roots[1], wrong))  # type: ignore[misc]
    assert refused(lambda: holds(old, bytes(32), size, roots[1], path))
    assert refused(lambda: holds(old, roots[0], size, bytes(32), path))
    for of in ((0, size), (size, old), (size + 1, size), (-1, size), (old + 1, size)):
        if of != (old, size):
            assert refused(lambda of=of: holds(of[0], roots[0], of[1], roots[1], path))  # type: ignore[misc]
    assert refused(lambda: holds(size, roots[1], size, roots[1], (bytes(32),)))


# A141


def cut(data: bytes) -> bytes:
    return data[:-32]


def flipped(data: bytes) -> bytes:
    return bytes((data[0], data[1], data[2] ^ 1, *data[3:]))


@pytest.mark.parametrize(
    "change", [cut, flipped, lambda data: data + bytes(32), lambda data: b"", lambda data: data[::-1]]
)
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tile/0/000", "SW-LOG-TILE"),
        ("tile/0/001", "SW-LOG-TILE"),
        ("tile/0/002.p/188", "SW-LOG-TILE"),
        ("tile/1/000.p/2", "SW-LOG-TILE"),
        ("tile/entries/000", "SW-LOG-ENTRY|SW-LOG-MISSING"),
        ("tile/entries/002.p/188", "SW-LOG-ENTRY|SW-LOG-MISSING"),
    ],
)
def test_a141_every_file_is_what_the_checkpoint_says_or_named(
    export: Path, change: Callable[[bytes], bytes], path: str, code: str
) -> None:
    assert codes(export) == []
    file = export / path
    file.write_bytes(change(file.read_bytes()))
    found = codes(export)
    assert len(found) == 1
    assert found[0] in code.split("|")


def test_a141_a_partial_tile_in_the_place_of_a_full_one_and_one_that_is_gone(export: Path) -> None:
    bundle, tile = export / "tile/entries/002.p/188", export / "tile/0/002.p/188"
    for file, full, fill in ((bundle, "tile/entries/002", b"\0\1x" * 68), (tile, "tile/0/002", leaf_hash(b"x") * 68)):
        (export / full).write_bytes(file.read_bytes() + fill)
        file.unlink()  # the full tile has taken its place: the tree's own part of it counts
    assert codes(export) == []
    (export / "tile/entries/002").unlink()
    assert codes(export) == ["SW-LOG-MISSING"]
    shutil.copy(export / "tile/entries/001", export / "tile/entries/002")
    assert codes(export) == ["SW-LOG-ENTRY"] * 100  # as many as are shown


def test_a141_bundles_that_were_exchanged_are_found(export: Path) -> None:
    first, second = export / "tile/entries/000", export / "tile/entries/001"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert set(codes(export)) == {"SW-LOG-ENTRY"}


# A142


def rewritten(export: Path, change: Callable[[list[bytes]], None]) -> list[str]:
    """The alarms after the entries of a bundle were changed, and its tile with them so that both fit."""
    for number, width in ((0, 256), (1, 256), (2, 188)):
        bundle, tile = export / TileName(None, number, width).path, export / TileName(0, number, width).path
        content = read_bundle(bundle.read_bytes(), width)
        if number == 1:
            change(content)
        bundle.write_bytes(encode_bundle(content))
        tile.write_bytes(b"".join(leaf_hash(one) for one in content))
    return codes(export)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda content: None, []),
        (lambda content: content.pop(), ["SW-LOG-MISSING"]),
        (lambda content: content.pop(7), ["SW-LOG-MISSING"]),
        (lambda content: content.sort(), ["SW-LOG-ROOT"]),
        (lambda content: content.__setitem__(5, every_entry()[4].encoded()), ["SW-LOG-ROOT"]),
        (lambda content: content.__setitem__(5, content[5].replace(b"4.2.", b"4.3.")), ["SW-LOG-ROOT"]),
        (lambda content: content.append(b"one more"), ["SW-LOG-MISSING"]),
    ],
)
def test_a142_rows_removed_sorted_changed_or_added_do_not_lead_to_the_checkpoint(
    export: Path, change: Callable[[list[bytes]], None], code: list[str]
) -> None:
    assert rewritten(export, change) == code


def test_a142_an_export_cut_at_its_end_needs_a_checkpoint_that_only_the_log_can_sign(export: Path) -> None:
    growing = Growing(Edge(0, ()))
    for entry in entries(512):
        growing.add(leaf_hash(entry))
    (export / "checkpoint").write_text(sign_checkpoint(512, growing.edge.root, SoftSigner.make()))
    assert codes(export) == ["SW-LOG-CHECKPOINT"]
    text = (export / "checkpoint").read_text()
    (export / "checkpoint").write_text(text.replace("512", "256"))
    assert codes(export) == ["SW-LOG-CHECKPOINT"]


@pytest.mark.parametrize(
    "text",
    ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "a\r\n7,fake,row", "\x1b[31mred", "＝1", 'a","b', "%0"],
)
def test_a142_no_cell_is_a_formula_no_row_is_forged_and_no_terminal_obeys(text: str) -> None:
    entry = replace_product(text)
    data = heading() + b"".join(rows(0, [entry, b"\r\n=no entry"]))
    read = list(csv.DictReader(data.decode().splitlines()))
    assert len(read) == 2
    assert data.count(b"\r\n") == 3
    cell = read[0]["product"]
    assert cell[0] not in "=+-@\t\r\n＝%|"
    assert cell.isprintable()
    assert set(read[0]) == set(COLUMNS)
    assert read[1]["type"] == ""


def replace_product(text: str) -> bytes:
    return signature_entry(1)._replace(claims=Claims(text)).encoded()


def test_a142_an_entry_with_a_line_break_is_one_entry_and_no_name_has_room_in_one() -> None:
    assert b"\r" not in replace_product("a\r\n{}")
    expired = every_entry()[4]
    with pytest.raises(ValueError):
        replace(expired, request="eva\r\n").encoded()  # type: ignore[type-var]
    assert canonical_json({"a": "\x1b"}) == b'{"a":"\\u001b"}'
