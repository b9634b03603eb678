"""Our log's witnesses, asked by the service: who is asked again and when, what is published, and what no witness can do to us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kit.witnesses import silent
from kit.writtenlogs import AT, SoftSigner, opened, sqlite_url
from sealwright.artifact.section import Complaint, Section
from sealwright.envelope.verifierkey import NoteType
from sealwright.errors import MalformedConfiguration
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint, time_said
from sealwright.log.note import cosign
from sealwright.log.reader import LogReader
from sealwright.log.witness import PLAIN, SIZE_TYPE, Answer, Post, Witness
from sealwright.log.writer import LogWriter
from sealwright.service.cosigning import Cosigner
from sealwright.service.publishing import Publishing, WitnessEntry, read_publishing

LOG = SoftSigner.make()
SIGNERS = [SoftSigner.make(f"w{at}.example", NoteType.WITNESS) for at in range(3)]
Says = Callable[[bytes], Answer]


class Town:
    """A log, its three witnesses, and what each of them says instead where it says something else."""

    def __init__(self, folder: Path, reader: LogReader, writer: LogWriter) -> None:
        self.reader, self.writer = reader, writer
        self.instead: dict[str, Says] = {}
        self.asked: list[str] = []
        self.told: list[object] = []
        self.witnesses = {}
        for one in SIGNERS:
            (folder / one.key.name).mkdir()
            self.witnesses[one.key.name] = Witness(str(folder / one.key.name), one, {LOG.key.name: [LOG.key]})

    def cosigner(self, needed: int) -> Cosigner:
        entries = tuple(WitnessEntry(f"https://{one.key.name}", one.key) for one in SIGNERS)
        return Cosigner(self.reader, Publishing(cosignatures=needed, witnesses=entries), self.told.append, self.post_to)

    def post_to(self, entry: WitnessEntry) -> Post:
        def post(_: str, body: bytes) -> Answer:
            name = entry.key.name
            self.asked.append(name)
            return self.instead[name](body) if name in self.instead else self.witnesses[name].add_checkpoint(body, AT)

        return post

    def grow(self) -> int:
        return self.writer.append([b"entry"]).result()[0] + 1

    def published(self) -> tuple[int, list[str]]:
        """Size and witnesses of the cosigned checkpoint."""
        note = self.reader.cosigned()
        if note is None:
            return -1, []
        read = read_checkpoint(note, "note")
        return read.size, sorted(check_checkpoint(read, [LOG.key], [one.key for one in SIGNERS], "note").times)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, LOG) as writer:
        yield Town(tmp_path, LogReader(store), writer)


ALL = ["w0.example", "w1.example", "w2.example"]


def away(_: bytes) -> Answer:
    raise OSError("no route to host")


def test_all_are_asked_once_for_each_checkpoint_and_their_lines_are_published_together(town: Town) -> None:
    cosigner = town.cosigner(2)
    size = town.grow()
    for _ in range(3):
        cosigner.round()
    assert (town.published(), sorted(town.asked)) == ((size, ALL), ALL)
    later = town.grow() and town.grow()
    cosigner.round()
    assert (town.published(), len(town.asked)) == ((later, ALL), 6)
    assert cosigner.problems == []
    assert town.told == []


def test_with_fewer_than_are_needed_the_checkpoint_before_stays(town: Town) -> None:
    cosigner = town.cosigner(2)
    first = town.grow()
    cosigner.round()
    town.instead = {"w0.example": away, "w2.example": lambda _: Answer(200, PLAIN, b"nonsense\n")}
    town.grow()
    cosigner.round()
    assert town.published() == (first, ALL)
    assert [one.partition(":")[0] for one in cosigner.problems] == ["witness w0.example", "witness w2.example"]
    assert sorted(one["witness"] for one in town.told) == ["w0.example", "w2.example"]  # type: ignore[index]
    for _ in range(3):  # those who failed are left alone for a while
        cosigner.round()
    assert len(town.asked) == 6
    del town.instead["w0.example"]
    again = town.cosigner(2)  # as after a restart, which knows no sizes
    again.round()
    assert town.published()[1] == ["w0.example", "w1.example"]
    assert [one.partition(":")[0] for one in again.problems] == ["witness w2.example"]


@pytest.mark.parametrize(
    "lie",
    [
        lambda _: Answer(200, PLAIN, b""),
        lambda _: Answer(200, PLAIN, b"x" * 1_000_000),
        lambda _: Answer(409, SIZE_TYPE, b"9000000000\n"),
        lambda _: Answer(409, SIZE_TYPE, b"0\n"),
        lambda _: Answer(409, SIZE_TYPE, b"1\n"),
        lambda _: Answer(302, PLAIN, b""),
        lambda _: Answer(500, PLAIN, b"\x1b[31m"),
        away,
    ],
)
def test_no_lie_of_one_witness_keeps_the_others_from_being_heard(town: Town, lie: Says) -> None:
    cosigner = town.cosigner(2)
    town.instead = {"w1.example": lie}
    town.grow()
    size = town.grow()
    cosigner.round()
    assert town.published() == (size, ["w0.example", "w2.example"])
    (problem,) = cosigner.problems
    assert problem.startswith("witness w1.example: ")
    assert "\x1b" not in problem


def test_a136_one_witness_has_one_line_however_often_it_signs(town: Town) -> None:
    """64 lines that hold would fill the note, so that nobody could read it and nothing more were published."""
    cosigner = town.cosigner(1)
    first = town.grow()
    cosigner.round()
    assert town.published() == (first, ALL)

    def often(body: bytes) -> Answer:
        text = body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
        lines = [cosign(text, SIGNERS[1], AT - timedelta(seconds=at)) for at in (0, *range(63, 0, -1))]
        return Answer(200, PLAIN, "".join(lines).encode())

    town.instead = {"w1.example": often}
    later = town.grow()
    cosigner.round()
    assert town.published() == (later, ALL)
    assert cosigner.problems == []
    note = town.reader.cosigned()
    assert note is not None
    (earliest,) = (one for one in read_checkpoint(note, "note").signatures if one.name == "w1.example")
    assert time_said(earliest) == AT - timedelta(seconds=63)


def test_a_witness_that_has_seen_more_is_told_unless_the_log_has_just_grown(town: Town) -> None:
    cosigner = town.cosigner(1)
    size = town.grow()

    def faster(body: bytes) -> Answer:
        del town.instead["w1.example"]
        town.grow()  # another replica appends, and asks before us
        return Answer(409, SIZE_TYPE, b"%d\n" % (size + 1))

    town.instead = {"w1.example": faster}
    cosigner.round()
    assert cosigner.problems == []
    cosigner.round()
    assert town.published() == (size + 1, ALL)
    town.instead = {"w1.example": lambda _: Answer(409, SIZE_TYPE, b"77\n")}
    town.grow()
    cosigner.round()
    assert cosigner.problems == [
        f"witness w1.example: the witness w1.example has seen 77 entries, and there are {size + 2}"
    ]


def test_a_witness_that_never_answers_is_left_after_a_while(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.service.cosigning.ANSWER_S", 0.3)
    with silent() as url:
        entries = (WitnessEntry(url, SIGNERS[0].key),)
        cosigner = Cosigner(town.reader, Publishing(cosignatures=1, witnesses=entries))
        town.grow()
        cosigner.round()
    assert cosigner.problems == ["witness w0.example: no answer (TimeoutError)"]
    assert town.published() == (-1, [])


KEY = str(SIGNERS[0].key)


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ({"cosignatures": 1, "witness": [{"url": "https://w.example/x", "key": KEY}]}, ""),
        ({"cosignatures": 1, "witness": [{"url": "http://127.0.0.1:8080", "key": KEY, "authority": "ca.pem"}]}, ""),
        ({}, ""),
        ({"cosignatures": 2, "witness": [{"url": "https://w.example/x", "key": KEY}]}, "at most 1"),
        ({"cosignatures": 0, "witness": [{"url": "https://w.example/x", "key": KEY}]}, "from 1"),
        ({"witness": [{"url": "https://w.example/x", "key": KEY}]}, "cosignatures"),
        ({"cosignatures": 1, "witness": [{"url": "http://w.example/x", "key": KEY}]}, "https"),
        ({"cosignatures": 1, "witness": [{"url": "w.example", "key": KEY}]}, "a URL"),
        ({"cosignatures": 1, "witness": [{"url": "https://w.example", "key": str(LOG.key)}]}, "key of a witness"),
        ({"cosignatures": 1, "witness": [{"url": "https://w.example", "key": KEY}] * 2}, "different names"),
        ({"cosignatures": 1, "witness": [{"url": "https://w.example", "key": KEY, "name": "w"}]}, "name"),
        ({"public_log": "yes"}, "true or false"),
    ],
)
def test_what_is_published_is_said_exactly(table: dict[str, object], wanted: str) -> None:
    top = Section(table, "top", "service.toml", Complaint(MalformedConfiguration, 1000, "Correct it."))
    if not wanted:
        read = read_publishing(top, "/folder")
        assert len(read.witnesses) == read.cosignatures == len(table.get("witness", []))  # type: ignore[arg-type]
        return
    with pytest.raises(MalformedConfiguration, match=wanted):
        read_publishing(top, "/folder")
