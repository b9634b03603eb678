"""Attacks on a log that a service shows over HTTP: A133 (unlogged), A135 (rewind), A136 (fork), A141 (tiles), A142 (truncation), by the commands alone."""

from __future__ import annotations

import gzip
import http.server
import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from kit.asgi import ask, serving
from kit.service import World, opened, public_log, world
from kit.writtenlogs import SoftSigner, signature_entry
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.verifierkey import NoteType
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.note import sign_checkpoint
from sealwright.log.tiles import encode_bundle, read_bundle
from sealwright.log.witness import Witness, question
from sealwright.signing.home import KeyPurpose

Run = Callable[..., tuple[int, str, str]]
SIZE = 600


def logged(first: int, count: int) -> list[bytes]:
    return [signature_entry(at).encoded() for at in range(first, first + count)]


@contextmanager
def published(service: World) -> Iterator[str]:
    """The URL of its log."""
    with serving(public_log(service)) as port:
        yield f"http://127.0.0.1:{port}/log"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A service whose log has 600 entries, and stands still."""
    service = world(tmp_path_factory.mktemp("world"))
    service.writer.append(logged(0, SIZE)).result()
    service.close()
    return service


def again(made: World, folder: Path) -> World:
    """The same service with a database of its own, as it was."""
    folder.mkdir()
    shutil.copy(made.folder / "service.db", folder / "service.db")
    return opened(made.folder, made.home, made.persons, made.people, f"sqlite:///{folder}/service.db")


def alarms(run: Run, url: str, key: str, *more: object) -> tuple[int, list[str]]:
    """The exit code of a monitor, or of a check without a state, and its alarms."""
    what = "monitor" if "--state" in more else "check"
    code, out, _ = run("log", what, url, "--log-key", key, "--json", *map(str, more))
    found = [json.loads(line) for line in out.splitlines()]
    return code, [one["code"] for one in found if one.get("severity") == "reject"]


def test_a133_a_signature_made_by_a_key_of_the_log_past_it_is_missed(made: World, run: Run, tmp_path: Path) -> None:
    service = again(made, tmp_path / "one")
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    (tmp_path / "other-home").mkdir()
    assert run("init", tmp_path / "other-home" / "home")[0] == 0
    assert run("sign", drive, "--home", tmp_path / "other-home" / "home")[0] == 0
    of_release = key_digest(made.home.key("release", KeyPurpose.ARTIFACT).public_key)
    service.writer.append([signature_entry(9000)._replace(key=of_release).encoded()]).result()
    key = str(service.writer.key)
    watched = ("--state", tmp_path / "state", "--files", tmp_path)
    with published(service) as url:
        assert alarms(run, url, key, *watched) == (0, [])  # a stranger's signature is not looked for
        assert run("sign", drive, "--home", made.folder / "home", "--key", "release", "--replace")[0] == 0
        assert alarms(run, url, key, *watched) == (1, ["SW-LOG-UNLOGGED"])
        counted = ("audit", "keys", url, "--log-key", key, "--counter")
        assert run(*counted, f"{of_release}=1")[0] == 1  # the log has no intent of it
        assert run(*counted, f"{signature_entry(0).key}=0")[0] == 1
    service.close()


def test_a135_a_service_restored_from_a_backup_is_shorter_for_monitors_and_witnesses(
    made: World, run: Run, tmp_path: Path
) -> None:
    service = again(made, tmp_path / "one")
    service.writer.append(logged(7000, 5)).result()
    key, state = str(service.writer.key), tmp_path / "state"
    witness = Witness(
        str(tmp_path / "one"), SoftSigner.make("w", NoteType.WITNESS), {service.writer.key.name: [service.writer.key]}
    )
    with published(service) as url:
        assert alarms(run, url, key, "--state", state) == (0, [])
        newest = urllib.request.urlopen(f"{url}/checkpoint").read().decode()
        assert witness.add_checkpoint(question(0, (), newest), datetime.now(UTC)).status == 200
    service.close()
    restored = again(made, tmp_path / "two")
    with published(restored) as url:
        assert alarms(run, url, key) == (0, [])  # by itself it is whole
        assert alarms(run, url, key, "--state", state) == (1, ["SW-LOG-REWOUND"])
        older = urllib.request.urlopen(f"{url}/checkpoint").read().decode()
    answer = witness.add_checkpoint(question(0, (), older), datetime.now(UTC))
    assert (answer.status, answer.body) == (409, b"605\n")
    restored.close()


def test_a136_two_histories_under_one_key_are_evidence_of_each_other(made: World, run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    notes = []
    for name, first, codes in (("one", 7000, []), ("two", 8000, ["SW-LOG-FORKED"])):
        service = again(made, tmp_path / name)
        service.writer.append(logged(first, 300)).result()
        key = service.writer.key
        with published(service) as url:
            assert alarms(run, url, str(key)) == (0, [])
            assert alarms(run, url, str(key), "--state", state) == (len(codes), codes)
            notes.append(urllib.request.urlopen(f"{url}/checkpoint").read())
        service.close()
    kept = [one.read_bytes() for one in tmp_path.glob("state.*.checkpoint")]
    assert set(kept) == set(notes)
    read = [read_checkpoint(one.decode(), "evidence") for one in kept]
    assert [check_checkpoint(one, [key], [], "evidence").log for one in read] == [key, key]
    assert read[0].size == read[1].size
    assert read[0].root != read[1].root


class Between(http.server.BaseHTTPRequestHandler):
    """Somebody on the way, who changes what one path leads to."""

    def __init__(
        self, *arguments: object, behind: str, path: str, change: Callable[[bytes], bytes | None], **more: object
    ) -> None:
        self.behind, self.changed, self.change = behind, path, change
        super().__init__(*arguments, **more)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        try:
            body: bytes | None = urllib.request.urlopen(self.behind + self.path).read()
        except urllib.error.HTTPError:
            body = None
        if body is not None and self.path == self.changed:
            body = self.change(body)
        self.send_response(200 if body is not None else 404)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def changed(behind: str, path: str, change: Callable[[bytes], bytes | None]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0),
        partial(Between, behind=behind, path=path, change=change),  # type: ignore[arg-type]
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def flipped(data: bytes) -> bytes:
    return bytes((*data[:40], data[40] ^ 1, *data[41:]))


def without_an_entry(data: bytes) -> bytes:
    return encode_bundle(read_bundle(data, 88)[:-1])


@pytest.mark.parametrize(
    ("path", "change", "codes"),
    [
        ("/nothing", flipped, []),
        ("/tile/0/000", flipped, ["SW-LOG-TILE"]),
        ("/tile/0/001", lambda data: data[: 32 * 200], ["SW-LOG-TILE"]),
        ("/tile/0/002.p/88", lambda data: data + bytes(32), ["SW-LOG-TILE"]),
        ("/tile/0/000", lambda data: None, ["SW-LOG-TILE"]),
        ("/tile/1/000.p/2", flipped, ["SW-LOG-TILE"]),
        ("/tile/entries/000", flipped, ["SW-LOG-ENTRY"]),
        ("/tile/entries/001", lambda data: None, ["SW-LOG-MISSING"]),
        ("/tile/entries/001", gzip.compress, ["SW-LOG-MISSING"]),
        ("/tile/entries/001", lambda data: data + data, ["SW-LOG-MISSING"]),
        ("/tile/entries/001", lambda data: bytes(20_000_000), ["SW-LOG-MISSING"]),
        ("/checkpoint", lambda data: None, ["SW-LOG-CHECKPOINT"]),
        ("/checkpoint", lambda data: data.replace(b"\n600\n", b"\n599\n"), ["SW-LOG-CHECKPOINT"]),
    ],
)
def test_a141_whoever_changes_a_tile_on_the_way_is_noticed(
    made: World, run: Run, tmp_path: Path, path: str, change: Callable[[bytes], bytes | None], codes: list[str]
) -> None:
    service = again(made, tmp_path / "one")
    with published(service) as behind, changed(behind, path, change) as url:
        assert alarms(run, url, str(service.writer.key)) == (len(codes), codes)
    service.close()


def test_a142_a_log_that_is_cut_needs_a_checkpoint_that_only_its_key_can_sign(
    made: World, run: Run, tmp_path: Path
) -> None:
    service = again(made, tmp_path / "one")
    key = str(service.writer.key)

    def cut(_: bytes) -> bytes:
        return sign_checkpoint(512, service.writer.reader.root(512), SoftSigner.make(service.writer.key.name)).encode()

    with published(service) as behind:
        with changed(behind, "/checkpoint", cut) as url:
            assert alarms(run, url, key) == (1, ["SW-LOG-CHECKPOINT"])
        with changed(behind, "/tile/entries/002.p/88", without_an_entry) as url:
            assert alarms(run, url, key) == (1, ["SW-LOG-MISSING"])
        with changed(
            behind, "/tile/entries/002.p/88", lambda data: encode_bundle(sorted(read_bundle(data, 88)))
        ) as url:
            assert alarms(run, url, key)[0] == 1
        port = int(behind.split(":")[2].split("/")[0])
        assert ask(port, "GET", "/log/tile/entries/002.p/88").status == 200
        assert ask(port, "GET", "/log/tile/entries/002.p/89").status == 404  # nothing that the log does not have
    service.close()
