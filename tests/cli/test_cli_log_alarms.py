"""What `log monitor` does on an alarm, and which signatures of files it looks for."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.writtenlogs import SoftSigner, digest, signature_entry, sqlite_url, written
from sealwright.cli.main import main
from sealwright.log.ahead import AheadSource
from sealwright.log.export import export_log
from sealwright.log.infield import FieldSignature, NotRead, signatures_in
from sealwright.log.source import FolderSource

Run = Callable[..., tuple[int, str, str]]
SIGNER = SoftSigner.make()


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    with written(sqlite_url(folder), SIGNER, [signature_entry(at).encoded() for at in range(300)]) as log:
        export_log(log, str(folder / "export"))
    return folder / "export"


@pytest.fixture
def watch(run: Run, export: Path, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """A monitor that has an alarm: a signature that is not there."""
    (tmp_path / "found").write_text(f"{digest('never')}\n")

    def look(*more: object, found: str = "found") -> tuple[int, str, str]:
        words = ("log", "monitor", export, "--log-key", str(SIGNER.key), "--state", tmp_path / "state")
        return run(*words, "--signatures", tmp_path / found, *map(str, more))

    return look


def test_a_program_hears_the_alarm_and_nothing_else(
    watch: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, heard = tmp_path / "ho ok;x", tmp_path / "heard"
    hook.write_text(
        f"#!/bin/sh\ncat > '{heard}'; echo \"$#\" >> '{heard}'; env | grep -c SECRET >> '{heard}'\nexit 0\n"
    )
    hook.chmod(0o755)
    monkeypatch.setenv("SECRET", "1")
    (tmp_path / "fine").write_text(f"{signature_entry(7).signature}\n")
    assert watch("--alarm-run", hook, found="fine")[0] == 0
    assert not heard.exists()
    assert watch("--alarm-run", hook)[0] == 1
    alarm, summary, arguments, secrets = heard.read_text().splitlines()
    assert json.loads(alarm)["code"] == "SW-LOG-UNLOGGED"
    assert (json.loads(summary)["alarms"], arguments, secrets) == (1, "0", "0")


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 7\n", "#!/no/such/program\n"])
def test_an_alarm_that_nobody_heard_is_said_loudly(watch: Run, tmp_path: Path, text: str) -> None:
    hook = tmp_path / "hook"
    hook.write_text(text)
    hook.chmod(0o755)
    code, out, err = watch("--alarm-run", hook)
    assert (code, "is not in the log" in out) == (1, True)
    assert "Tell the people who are responsible yourself" in err
    hook.chmod(0o644)
    assert watch("--alarm-run", hook)[0] == 2
    assert watch("--alarm-url", "ftp://x")[0] == 2
    assert watch("--alarm-url", "http://elsewhere.example/")[0] == 2
    assert watch("--alarm-url", "http://127.0.0.1:9/x")[0] == 1


@pytest.fixture
def listener() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    heard: list[tuple[str, bytes]] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", heard
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_told_the_alarm(watch: Run, listener: tuple[str, list[tuple[str, bytes]]]) -> None:
    url, heard = listener
    assert watch("--alarm-url", f"{url}/hooks/1?room=plant")[0] == 1
    ((path, body),) = heard
    assert path == "/hooks/1?room=plant"
    assert json.loads(body.splitlines()[0])["subject"] == str(digest("never"))
    code, _, err = watch("--alarm-url", f"{url}/broken")
    assert (code, "it answered 500" in err) == (1, True)


def test_signatures_are_found_beside_files_and_inside_of_them(tmp_path: Path) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    (files / "sub").mkdir(parents=True)
    assert main(["init", str(home), "--organisation", "ACME"]) == 0
    assert main(["key", "enrol", "jar", "--home", str(home), "--name", "jar"]) == 0
    (files / "drive.bin").write_bytes(b"firmware")
    assert main(["sign", str(files / "drive.bin"), "--home", str(home)]) == 0
    shutil.make_archive(str(files / "sub" / "tool"), "zip", home / "certificates")
    (files / "sub" / "tool.zip").rename(files / "sub" / "tool.jar")
    signed = ["sign", str(files / "sub" / "tool.jar"), "--format", "jar", "--home", str(home), "--key", "jar"]
    assert main([*signed, "--out", str(files / "sub" / "signed.jar")]) == 0
    (files / "broken.p7s").write_bytes((files / "drive.bin.p7s").read_bytes()[:200])
    (files / "link.p7s").symlink_to(files / "drive.bin.p7s")
    (files / "loop").symlink_to(files)
    found = list(signatures_in(str(files)))
    paths = [one.path.rpartition("/")[2] for one in found if isinstance(one, FieldSignature)]
    assert paths == ["drive.bin.p7s", "signed.jar"]
    assert len({one.key for one in found if isinstance(one, FieldSignature)}) == 2
    assert [one.path.rpartition("/")[2] for one in found if isinstance(one, NotRead)] == ["broken.p7s"]
    (one,) = signatures_in(str(files / "drive.bin.p7s"))
    assert one in found


def test_what_is_read_ahead_is_what_is_there(export: Path) -> None:
    made: list[FolderSource] = []

    def source() -> FolderSource:
        made.append(FolderSource(str(export)))
        return made[-1]

    ahead, plain = AheadSource("log", source), FolderSource(str(export))
    for _ in range(2):
        for path in (
            "checkpoint",
            "tile/0/000",
            "tile/0/001",
            "tile/0/001.p/44",
            "tile/entries/000",
            "tile/0/000",
            "tile/x",
            "../x",
        ):
            assert ahead.read(path, 1 << 24) == plain.read(path, 1 << 24), path
    assert 1 <= len(made) <= 4
