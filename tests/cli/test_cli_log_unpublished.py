"""A file that was signed a moment ago, whose entry no witness has seen yet: remarked for a quarter of an hour, and an alarm then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.writtenlogs import SoftSigner, opened, signature_entry, sqlite_url
from sealwright.cli.main import main
from sealwright.log.canonical import time_text
from sealwright.log.export import export_log
from sealwright.log.infield import FieldSignature, proofs_beside, signatures_in
from sealwright.log.reader import LogReader
from sealwright.log.writer import LogWriter

Run = Callable[..., tuple[int, str, str]]
SIGNER = SoftSigner.make()


@dataclass
class Field:
    """A log of which two entries are published, and a third, of a file in the field, is not."""

    folder: Path
    run: Run

    @property
    def file(self) -> Path:
        return self.folder / "field" / "drive.bin"

    @property
    def proof(self) -> Path:
        return self.folder / "field" / "drive.bin.tlog-proof"

    def monitor(self) -> tuple[int, str]:
        words = (
            "log",
            "monitor",
            self.folder / "export",
            "--log-key",
            str(SIGNER.key),
            "--state",
            self.folder / "state",
        )
        code, out, err = self.run(*words, "--files", self.folder / "field")
        assert err == ""
        return code, out

    def published(self) -> None:
        """Witnesses have seen it, and it is published."""
        with opened(sqlite_url(self.folder)) as store:
            export_log(LogReader(store), str(self.folder / "export"))

    def later(self, by: timedelta) -> None:
        """So much time goes by: what is awaited was first seen so much earlier."""
        path = self.folder / "state.awaited"
        first, line = path.read_text().splitlines()
        path.write_text(f"{first}\n{time_text(datetime.now(UTC) - by)} {line.split(' ')[1]}\n")


@pytest.fixture
def field(tmp_path: Path, run: Run) -> Field:
    made = Field(tmp_path, run)
    made.file.parent.mkdir()
    made.file.write_bytes(b"firmware")
    assert main(["init", str(tmp_path / "home"), "--organisation", "ACME"]) == 0
    assert main(["sign", str(made.file), "--home", str(tmp_path / "home")]) == 0
    (found,) = signatures_in(str(made.file) + ".p7s")
    assert isinstance(found, FieldSignature)
    before = [signature_entry(at)._replace(key=found.key).encoded() for at in range(2)]
    with opened(sqlite_url(tmp_path)) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append(before).result()
        export_log(LogReader(store), str(tmp_path / "export"))
        (leaf,) = writer.append(
            [signature_entry(9)._replace(key=found.key, signature=found.signature).encoded()]
        ).result()
        made.proof.write_bytes(writer.proof(leaf))
    return made


def test_a_signature_that_no_witness_has_seen_yet_is_no_alarm_and_is_in_the_log_when_they_have(field: Field) -> None:
    for _ in range(2):
        code, said = field.monitor()
        assert (code, "is not published yet" in said) == (0, True)
        assert "checkpoint of 3 entries has it, 2 are published" in said
    field.published()
    code, said = field.monitor()
    assert (code, "not published" in said) == (0, False)
    assert "sha256:" not in (field.folder / "state.awaited").read_text()


def test_one_that_is_not_published_for_a_quarter_of_an_hour_is_an_alarm(field: Field) -> None:
    assert field.monitor()[0] == 0
    field.later(timedelta(minutes=14))
    assert field.monitor()[0] == 0
    field.later(timedelta(minutes=16))
    code, said = field.monitor()
    assert (code, "is not in the log" in said) == (1, True)
    assert field.monitor()[0] == 1  # and stays one
    field.published()
    assert field.monitor()[0] == 0


def test_a_promise_that_the_published_log_does_not_keep_is_an_alarm(field: Field) -> None:
    """The log goes on without the entry: its key has signed two histories."""
    assert field.monitor()[0] == 0
    shutil.rmtree(field.folder / "export")
    other = field.folder / "other"
    other.mkdir()
    (found,) = signatures_in(str(field.file) + ".p7s")
    assert isinstance(found, FieldSignature)
    entries = [signature_entry(at)._replace(key=found.key).encoded() for at in range(4)]
    with opened(sqlite_url(other)) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append(entries).result()
        export_log(LogReader(store), str(field.folder / "export"))
    code, said = field.monitor()
    assert (code, "is not in the log" in said) == (1, True)


def other_log(field: Field) -> None:
    with opened(sqlite_url(field.folder / "field")) as store, LogWriter.open(store, SoftSigner.make()) as writer:
        writer.append([signature_entry(at).encoded() for at in range(3)]).result()
        field.proof.write_bytes(writer.proof(2))


def other_entry(field: Field) -> None:
    with opened(sqlite_url(field.folder)) as store, LogWriter.open(store, SIGNER) as writer:
        (leaf,) = writer.append([signature_entry(10).encoded()]).result()
        field.proof.write_bytes(writer.proof(leaf))


def cut_off(field: Field) -> None:
    field.proof.write_bytes(field.proof.read_bytes()[:-30])


def published_place(field: Field) -> None:
    """It names a place that everybody can look at, and is not there."""
    text = field.proof.read_text().splitlines(keepends=True)
    field.proof.write_text("".join("index 1\n" if line.startswith("index ") else line for line in text))


@pytest.mark.parametrize("spoilt", [other_log, other_entry, cut_off, published_place, lambda one: one.proof.unlink()])
def test_a138_what_is_no_proof_of_this_signature_by_this_log_is_no_excuse(
    field: Field, spoilt: Callable[[Field], None]
) -> None:
    assert field.monitor()[0] == 0
    spoilt(field)
    code, said = field.monitor()
    assert (code, "is not in the log" in said) == (1, True)


def test_what_is_remembered_must_be_whole(field: Field) -> None:
    assert field.monitor()[0] == 0
    (field.folder / "state.awaited").write_text("# something else\n")
    code, _, err = field.run(
        "log", "monitor", field.folder / "export", "--log-key", str(SIGNER.key), "--state", field.folder / "state",
        "--files", field.folder / "field",
    )  # fmt: skip
    assert code == 1
    assert "Remove it" in err


def test_proofs_lie_beside_each_signature() -> None:
    assert proofs_beside("a/drive.bin.plant.p7s") == ("a/drive.bin.plant.tlog-proof",)
    assert proofs_beside("a/tool.jar")[0] == "a/tool.jar.tlog-proof"
