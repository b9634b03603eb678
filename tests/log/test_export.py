"""Exports that anybody checks, monitors that remember, and proofs from public files; by the command line as people use it."""

from __future__ import annotations

import csv
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kit.writtenlogs import AT, SoftSigner, every_entry, opened, signature_entry, sqlite_url, written
from sealwright.envelope.verifierkey import NoteType
from sealwright.log.checkpoint import read_checkpoint
from sealwright.log.export import COLUMNS, export_log
from sealwright.log.note import cosign
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.reader import LogReader
from sealwright.log.tiles import TileName, encode_bundle, read_bundle, tiles_of
from sealwright.log.witness import keep_cosigned
from sealwright.log.writer import LogWriter

Run = Callable[..., tuple[int, str, str]]
SIGNER = SoftSigner.make()
WITNESS = SoftSigner.make("w1.example", NoteType.WITNESS)
ENTRIES = [*(one.encoded() for one in every_entry()), *(signature_entry(at).encoded() for at in range(699))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, its database and its export."""
    folder = tmp_path_factory.mktemp("log")
    with written(sqlite_url(folder), SIGNER, ENTRIES) as log:
        export_log(log, str(folder / "export"))
    return folder


@pytest.fixture
def export(exported: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    return Path(shutil.copytree(exported / "export", tmp_path / "export"))


def check(run: Run, folder: Path | str, *more: str) -> tuple[int, str]:
    code, out, err = run("log", "check", folder, "--log-key", str(SIGNER.key), *more)
    return code, out + err


def test_an_export_is_the_layout_of_tlog_tiles_and_nothing_else(exported: Path) -> None:
    folder = exported / "export"
    found = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    assert found == {"checkpoint", *(one.path for one in tiles_of(len(ENTRIES)))}


def test_a_whole_export_is_found_whole(run: Run, export: Path) -> None:
    code, said = check(run, export)
    assert (code, f"{len(ENTRIES)} entries, whole" in said) == (0, True), said
    code, said = check(run, export, "--json")
    answer = json.loads(said.splitlines()[-1])
    assert (code, answer["entries"], answer["signatures"], answer["alarms"]) == (0, len(ENTRIES), 700, 0)


def test_the_key_of_another_log_finds_nothing_whole(run: Run, export: Path, tmp_path: Path) -> None:
    code, out, _ = run("log", "check", export, "--log-key", str(SoftSigner.make().key))
    assert (code, "is not the log's" in out) == (1, True)
    keys = tmp_path / "log.vkey"
    keys.write_text(f"# the log of the service\n{SIGNER.key}\n")
    assert run("log", "check", export, "--log-key", keys)[0] == 0
    assert run("log", "check", export, "--log-key", "nonsense")[0] == 2
    assert run("log", "check", export / "nowhere", "--log-key", keys)[0] == 2


def test_a_witness_that_is_named_must_have_seen_the_log(run: Run, exported: Path, tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    shutil.copy(exported / "log.db", database)
    with opened(sqlite_url(tmp_path)) as store:
        note = LogReader(store).head().note
        keep_cosigned(store, note + cosign(read_checkpoint(note, "log").text, WITNESS, AT))
        export_log(LogReader(store), str(tmp_path / "export"))
    code, said = check(run, tmp_path / "export", "--witness-key", str(WITNESS.key))
    assert (code, "seen by w1.example, 2026-11-26 05:00 UTC" in said) == (0, True), said
    code, said = check(run, exported / "export", "--witness-key", str(WITNESS.key))
    assert (code, "w1.example has not cosigned" in said) == (1, True), said


def test_an_export_grows_with_its_log_and_refuses_another_history(run: Run, exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    folder = shutil.copytree(exported / "export", tmp_path / "export")
    old = shutil.copytree(folder, tmp_path / "old")
    database = sqlite_url(tmp_path)
    with opened(database) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append([b"later %d" % at for at in range(300)]).result()
    code, out, _ = run("log", "export", "--database", database, "--out", folder, "--json")
    assert (code, json.loads(out)["new"]) == (0, 300)
    code, said = check(run, folder)
    assert (code, "cannot be read by this version" in said) == (0, True)
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    code, _, err = run("log", "export", "--database", database, "--out", folder)
    assert (code, "716 entries, and the export 1016" in err) == (1, True)
    with opened(database) as store, LogWriter.open(store, SIGNER) as writer:
        writer.append([b"another %d" % at for at in range(400)]).result()
    code, _, err = run("log", "export", "--database", database, "--out", folder)
    assert (code, "are not those of the export" in err) == (1, True)
    assert run("log", "export", "--database", database, "--out", old)[0] == 0
    assert check(run, old)[0] == 0


def test_an_export_of_a_database_in_which_somebody_wrote_gets_no_checkpoint(
    run: Run, exported: Path, tmp_path: Path
) -> None:
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    database = sqlite_url(tmp_path)
    with opened(database) as store, store.write() as connection:
        connection.exec_driver_sql("UPDATE log_entries SET entry = x'00' WHERE number = 3")
    code, _, err = run("log", "export", "--database", database, "--out", tmp_path / "export")
    assert (code, "do not lead to its checkpoint" in err) == (1, True)
    assert not (tmp_path / "export" / "checkpoint").exists()


def test_rows_for_a_spreadsheet_say_what_the_entries_say(run: Run, exported: Path, tmp_path: Path) -> None:
    database = sqlite_url(exported)
    code, _, _ = run(
        "log", "export", "--database", database, "--out", tmp_path / "export", "--csv", tmp_path / "log.csv"
    )
    assert code == 0
    with (tmp_path / "log.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(ENTRIES)
    for number, (row, entry) in enumerate(zip(rows, ENTRIES, strict=True)):
        fields = {
            name: " ".join(value) if isinstance(value, list) else str(value)
            for name, value in json.loads(entry).items()
        }
        assert {name: value for name, value in row.items() if value and name not in ("number", "leaf")} == fields
        assert row["number"] == str(number)


def test_every_field_of_an_entry_has_its_column() -> None:
    fields = {name for entry in ENTRIES for name in json.loads(entry)}
    assert fields <= set(COLUMNS), fields - set(COLUMNS)


@pytest.mark.parametrize("where", ["folder", "database"])
def test_a_proof_is_made_from_public_files_as_from_the_database(
    run: Run, exported: Path, tmp_path: Path, where: str
) -> None:
    at = ["--folder", str(exported / "export")] if where == "folder" else ["--database", sqlite_url(exported)]
    wanted = signature_entry(321)
    for number, (entry, leaf) in enumerate((("0", 0), ("715", 715), (str(wanted.signature), 17 + 321))):
        out = tmp_path / f"{number}.tlog-proof"
        assert run("log", "prove", entry, *at, "--out", out)[0] == 0
        proof = read_proof(out.read_bytes(), "proof")
        assert (proof.leaf, proof.entry) == (leaf, ENTRIES[leaf])
        check_proof(proof, ENTRIES[leaf], [SIGNER.key], [], "proof")
    for wrong in ("716", "-1", "x", "sha256:" + "00" * 32):
        code, _, _ = run("log", "prove", "--out", tmp_path / "no", *at, "--", wrong)
        assert (code, (tmp_path / "no").exists()) == (2, False)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that shows a folder."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(export: Path) -> Iterator[str]:
    """The export, served as any web server does."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(export)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_log_is_checked_and_watched_over_http(run: Run, web: str, export: Path, tmp_path: Path) -> None:
    assert check(run, web)[0] == 0
    assert monitor(run, web, tmp_path)[0] == 0
    assert run("log", "prove", "7", "--folder", web, "--out", tmp_path / "p")[0] == 0
    (export / "tile/entries/001").unlink()
    code, said = check(run, web)
    assert (code, "tile/entries/001 of the log is missing" in said) == (1, True)
    (export / "checkpoint").write_bytes(b"x" * 70_000)
    assert check(run, web)[0] == 1


def test_a_server_that_gives_no_answer_leaves_the_question_open(run: Run, tmp_path: Path) -> None:
    code, said = check(run, "http://127.0.0.1:9/")
    assert (code, "could" in said or "refused" in said.lower()) == (3, True), said
    assert check(run, "ftp://x/")[0] == 2


def monitor(run: Run, log: Path | str, tmp_path: Path, *more: str) -> tuple[int, str]:
    code, out, err = run("log", "monitor", log, "--state", tmp_path / "state", "--log-key", str(SIGNER.key), *more)
    return code, out + err


def test_a_monitor_reads_what_is_new_and_remembers_it(run: Run, exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported / "log.db", tmp_path / "log.db")
    database, folder = sqlite_url(tmp_path), tmp_path / "export"
    assert run("log", "export", "--database", database, "--out", folder)[0] == 0
    assert "716 of them read now" in monitor(run, folder, tmp_path)[1]
    assert "0 of them read now" in monitor(run, folder, tmp_path)[1]
    for more in (3, 256, 1, 700):
        with opened(database) as store, LogWriter.open(store, SIGNER) as writer:
            writer.append([signature_entry(10_000 + at).encoded() for at in range(more)]).result()
        assert run("log", "export", "--database", database, "--out", folder)[0] == 0
        code, said = monitor(run, folder, tmp_path)
        assert (code, f"; {more} of them read now" in said) == (0, True), said
    assert "1,676 of them read now" in monitor(run, folder, tmp_path, "--whole")[1]


def test_a_monitor_misses_no_signature_of_its_list(run: Run, export: Path, tmp_path: Path) -> None:
    found = tmp_path / "found.txt"
    found.write_text(
        f"# seen in plant Wels\n{signature_entry(5).signature}\n{str(signature_entry(6).signature)[7:]}  # too\n"
    )
    assert monitor(run, export, tmp_path, "--signatures", str(found))[0] == 0
    unlogged = signature_entry(4711).signature
    found.write_text(f"{signature_entry(5).signature}\n{unlogged}\n")
    for _ in range(2):
        code, said = monitor(run, export, tmp_path, "--signatures", str(found))
        assert (code, f"the signature {unlogged} is not in the log" in said) == (1, True), said
    found.write_text("nonsense\n")
    assert monitor(run, export, tmp_path, "--signatures", str(found))[0] == 2


def test_a_state_that_was_damaged_or_is_of_another_log_is_not_used(run: Run, export: Path, tmp_path: Path) -> None:
    assert monitor(run, export, tmp_path)[0] == 0
    state = tmp_path / "state"
    good = state.read_text()
    for wrong in (
        "",
        good.replace("edge ", "edge A"),
        good.replace("\n716\n", "\n717\n"),
        good.replace("# seal", "# Seal"),
    ):
        state.write_text(wrong)
        assert monitor(run, export, tmp_path)[0] == 1
    state.write_text(good)
    assert monitor(run, export, tmp_path)[0] == 0


def test_the_bundle_of_a_tile_reads_back(export: Path) -> None:
    data = (export / TileName(None, 0, 256).path).read_bytes()
    assert encode_bundle(read_bundle(data, 256)) == data


def test_a_log_of_no_entries_is_exported_and_checked(run: Run, tmp_path: Path) -> None:
    with written(sqlite_url(tmp_path), SIGNER, []):
        pass
    assert run("log", "export", "--database", sqlite_url(tmp_path), "--out", tmp_path / "export")[0] == 0
    assert check(run, tmp_path / "export")[0] == 0
    assert monitor(run, tmp_path / "export", tmp_path)[0] == 0
    assert monitor(run, tmp_path / "export", tmp_path)[0] == 0
