"""The journal: durable before anything leaves, and every edit shows."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import JournalError
from sealwright.log.canonical import canonical_json, read_canonical
from sealwright.log.journal import FILE, TORN, Entry, EntryType, Journal, read_journal, unfinished

FIELDS = st.dictionaries(
    st.text(max_size=12),
    st.one_of(
        st.text(max_size=20), st.integers(-(2**53) + 1, 2**53 - 1), st.lists(st.text(max_size=5), max_size=3).map(tuple)
    ),
    max_size=6,
)


def entries(count: int, start: int = 0) -> list[Entry]:
    return [
        Entry(EntryType.INTENT, {"request": f"r{number}", "size": number}) for number in range(start, start + count)
    ]


@given(FIELDS)
def test_our_canonical_json_is_that_of_the_standard(fields: dict[str, object]) -> None:
    try:
        ours = canonical_json(fields)  # type: ignore[arg-type]
    except UnicodeEncodeError:
        return
    assert ours == rfc8785.dumps({name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()})  # type: ignore[misc]
    assert read_canonical(ours) == fields


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"a":1.0}',
        b'{"a":1,"a":2}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":null}',
        b'{"a":true}',
        b'{"a":{"b":1}}',
        b'{"a":"\xff"}',
        b'{"a":9007199254740993}',
        b'{"a":[1]}',
        b"{" * 9000,
        b'{"a":' * 12000,
    ],
)
def test_a079_what_is_not_canonical_is_refused(data: bytes) -> None:
    assert read_canonical(b'{"a":1}') == {"a": 1}
    with pytest.raises(ValueError):
        read_canonical(data)


def test_entries_come_back_in_order_and_linked(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(3))
        journal.append([Entry(EntryType.RESULT, {"request": "r1", "signature": "sha256:00"})])
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(2, 3))
    read = list(read_journal(str(tmp_path)))
    assert [entry.number for entry in read] == list(range(6))
    assert [entry.fields["request"] for entry in unfinished(str(tmp_path))] == ["r0", "r2", "r3", "r4"]


@pytest.mark.parametrize("how", ["edit", "remove", "swap", "insert", "reseq"])
def test_every_change_of_the_past_shows(tmp_path: Path, how: str) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(5))
    assert len(list(read_journal(str(tmp_path)))) == 5
    path = tmp_path / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edit":
        lines[1] = lines[1].replace(b'"r1"', b'"r9"')
    elif how == "remove":
        del lines[2]
    elif how == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif how == "insert":
        lines.insert(2, lines[1])
    else:
        lines[3] = lines[3].replace(b'"seq":3', b'"seq":4')
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError):
        list(read_journal(str(tmp_path)))


def test_a_damaged_last_line_stops_signing_and_a_torn_one_is_set_aside(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(2))
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"half a line')
    with Journal.open(str(tmp_path)) as journal:
        assert journal.count == 2
        journal.append(entries(1, 2))
    assert (tmp_path / TORN).read_bytes() == b'{"half a line\n'
    assert len(list(read_journal(str(tmp_path)))) == 3
    path.write_bytes(whole + b"nonsense\n")
    with pytest.raises(JournalError, match="damaged"):
        Journal.open(str(tmp_path))


def test_opening_checks_the_end_and_reading_checks_every_line(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(20))
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes().replace(b'"request":"r3"', b'"request":"r9"'))
    Journal.open(str(tmp_path)).close()
    with pytest.raises(JournalError, match="line 5 is damaged"):
        list(read_journal(str(tmp_path)))


@pytest.mark.parametrize(
    "bad",
    [{"request": "x" * 70_000}, {"request": "\udc80"}, {"request": "r", "size": 2**60}],
    ids=["above 64 KiB", "lone surrogate", "number without an exact form"],
)
def test_an_entry_that_could_not_be_read_back_is_refused_before_anything_is_written(
    tmp_path: Path, bad: dict[str, str | int]
) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(1))
        before = (tmp_path / FILE).read_bytes()
        with pytest.raises(JournalError):
            journal.append([*entries(1, 1), Entry(EntryType.INTENT, bad)])
        assert (tmp_path / FILE).read_bytes() == before
        journal.append(entries(1, 1))
    assert [entry.fields["request"] for entry in read_journal(str(tmp_path))] == ["r0", "r1"]


def test_a_journal_that_is_not_a_file_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal.open(str(tmp_path))
    (tmp_path / FILE).rmdir()
    Journal.open(str(tmp_path), wait_s=0.2).close()


def test_only_one_process_writes(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)):
        code = "import sys; from sealwright.log.journal import Journal\nJournal.open(sys.argv[1], wait_s=0.2)"
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert "another process is signing" in done.stderr
    Journal.open(str(tmp_path)).close()


def test_a_reader_beside_a_writer_sees_whole_lines_and_no_damage(tmp_path: Path) -> None:
    code = (
        "import sys; from sealwright.log.journal import *\njournal = Journal.open(sys.argv[1])\n"
        "while True: journal.append([Entry(EntryType.INTENT, {'request': 'x' * 3000})] * 7); print('', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen, until = [0], time.monotonic() + 1
        while time.monotonic() < until:
            seen.append(sum(1 for _ in read_journal(str(tmp_path))))
        writer.kill()
    assert seen == sorted(seen)
    assert seen[-1] > seen[1] > 0


def test_a_half_line_is_the_writers_while_it_writes_and_torn_when_it_is_gone(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(3))
        with (tmp_path / FILE).open("ab") as file:
            file.write(b'{"half a line')
        assert len(list(read_journal(str(tmp_path)))) == 3
    with pytest.raises(JournalError, match="line 4 is torn"):
        list(read_journal(str(tmp_path)))


def test_a_line_that_was_finished_or_set_aside_while_it_was_read_is_read_as_it_is_then(tmp_path: Path) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(3))
    path = tmp_path / FILE
    whole = path.read_bytes()
    for half in (whole[:-40], whole + b'{"set aside'):
        path.write_bytes(half)
        reading = read_journal(str(tmp_path))
        assert [next(reading).number, next(reading).number] == [0, 1]
        path.write_bytes(whole)
        assert [entry.number for entry in reading] == [2]


@pytest.mark.parametrize("line", [b"x" * 70_000, b"x" * 70_000 + b"\n", b"\n", b"{}\n"])
def test_a_line_that_is_none_is_damaged_also_beside_a_writer(tmp_path: Path, line: bytes) -> None:
    with Journal.open(str(tmp_path)) as journal:
        journal.append(entries(1))
        assert len(list(read_journal(str(tmp_path)))) == 1
        with (tmp_path / FILE).open("ab") as file:
            file.write(line + b'{"more":1}\n')
        with pytest.raises(JournalError, match="line 2 is damaged"):
            list(read_journal(str(tmp_path)))


def test_after_a_failed_write_nothing_more_is_signed(tmp_path: Path) -> None:
    code = (
        "import sys, signal, resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from sealwright.log.journal import *\nfrom sealwright.errors import JournalError\n"
        "journal = Journal.open(sys.argv[1]); journal.append([Entry(EntryType.INTENT, {'request': 'a'})])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400))\n"
        "for _ in range(2):\n"
        "    try: journal.append([Entry(EntryType.INTENT, {'request': 'x' * 900})]); print('written')\n"
        "    except JournalError as refused: print(refused.what)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "written" not in done.stdout
    assert "an earlier write failed" in done.stdout
    with Journal.open(str(tmp_path)) as journal:
        assert journal.count == 1


def test_a152_every_acknowledged_entry_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys; from sealwright.log.journal import *\njournal = Journal.open(sys.argv[1])\n"
        "while True:\n"
        "    journal.append([Entry(EntryType.INTENT, {'request': str(journal.count)})] * 3); print(journal.count, flush=True)\n"
    )
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            acknowledged = int(writer.stdout.readline())
            time.sleep(random.random() * 0.2)
            os.kill(writer.pid, signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = int(line) if line.endswith("\n") else acknowledged
        with Journal.open(str(tmp_path)) as journal:
            assert journal.count >= acknowledged
        assert len(list(read_journal(str(tmp_path)))) >= acknowledged
