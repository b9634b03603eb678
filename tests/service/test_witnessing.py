"""`serve witness`, a process of its own, asked by curl and by our own log: what it signs, what it refuses, and what it remembers."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.pki import Pki
from kit.tls import pem_files, server_certificate
from kit.witnesses import RunningWitness, prepare, start, write_configuration
from kit.writtenlogs import SoftSigner, sqlite_url, written
from sealwright.cli.main import main
from sealwright.envelope.verifierkey import NoteType, parse_verifier_key
from sealwright.errors import LogRewound
from sealwright.log.checkpoint import check_checkpoint, read_checkpoint
from sealwright.log.note import sign_checkpoint
from sealwright.log.witness import Asked, ask_witness, question
from sealwright.service.cosigning import posting
from sealwright.service.publishing import WitnessEntry

LOG = SoftSigner.make("log.example/9")
ENTRIES = [b"entry %d" % at for at in range(600)]


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWitness]:
    running = start(prepare(tmp_path_factory.mktemp("witnesses") / "one", "w.example/1", [str(LOG.key)]))
    yield running
    running.stop()


def curl(url: str, folder: Path, body: bytes | None = None, *more: str) -> tuple[int, str, bytes]:
    """Status, type and body of curl's answer."""
    (folder / "body").write_bytes(body or b"")
    send = [] if body is None else ["--data-binary", f"@{folder / 'body'}"]
    done = subprocess.run(
        ["curl", "-sS", *more, *send, "-o", folder / "answer", "-w", "%{http_code} %{content_type}", url],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    status, _, type_ = done.stdout.partition(" ")
    return int(status), type_, (folder / "answer").read_bytes()


def test_a_witness_cosigns_what_continues_and_never_a_fork_or_an_older_tree(
    witness: RunningWitness, tmp_path: Path
) -> None:
    key = parse_verifier_key(witness.key, NoteType.WITNESS)
    entry = WitnessEntry(witness.url, key)
    with written(sqlite_url(tmp_path), LOG, ENTRIES[:300]) as log:
        first = log.head().note
        got = ask_witness(Asked(witness.url, key), first, 0, log.consistency, posting(entry))
        assert list(check_checkpoint(read_checkpoint(first + got.line, ""), [LOG.key], [key], "").times) == [key.name]
    with written(sqlite_url(tmp_path), LOG, ENTRIES[300:]) as log:
        url = f"{witness.url}/add-checkpoint"
        head = log.head().note
        assert curl(url, tmp_path, question(0, (), head)) == (409, "text/x.tlog.size", b"300\n")
        assert curl(url, tmp_path, question(300, (), head))[0] == 422
        forged = sign_checkpoint(600, bytes(32), LOG)
        assert curl(url, tmp_path, question(300, log.consistency(300, 600), forged))[0] == 422
        assert curl(url, tmp_path, question(300, (), forged.replace("\n600\n", "\n601\n")))[0] == 403
        other = sign_checkpoint(600, bytes(32), SoftSigner.make("log.example/10"))
        assert curl(url, tmp_path, question(0, (), other))[0] == 404
        assert curl(url, tmp_path, b"nonsense")[0] == 400
        assert curl(url, tmp_path, b"x" * 200_000)[0] == 413
        status, _, lines = curl(url, tmp_path, question(300, log.consistency(300, 600), head))
        assert status == 200
        check_checkpoint(read_checkpoint(head + lines.decode(), ""), [LOG.key], [key], "")
        assert curl(url, tmp_path, question(600, (), first))[0] == 400  # older: rewound (A135)
        with pytest.raises(LogRewound):
            ask_witness(Asked(witness.url, key), first, 0, log.consistency, posting(entry))
        assert curl(url, tmp_path, question(600, (), sign_checkpoint(600, bytes(32), LOG)))[0] == 422
    origin = hashlib.sha256(LOG.key.name.encode()).hexdigest()
    status, _, note = curl(f"{witness.url}/{origin}/checkpoint", tmp_path)
    assert (status, note.startswith(b"log.example/9\n600\n")) == (200, True)
    assert len(list((witness.folder / "seen" / "evidence").iterdir())) >= 2
    for path in ("/", "/x/checkpoint", f"/{origin}", f"/{origin}/checkpoint/", "/..%2fseen/checkpoint"):
        assert curl(witness.url + path, tmp_path)[0] == 404, path
    assert curl(url, tmp_path)[0] == 405


def test_a_witness_over_tls_remembers_over_a_kill(tmp_path: Path) -> None:
    configuration = prepare(tmp_path / "one", "w.example/2", [str(LOG.key)])
    servers = Pki.make("witnesses")
    pem_files(server_certificate(servers), configuration.parent, "server")
    (tmp_path / "ca.pem").write_text(servers.root.pem)
    write_configuration(
        configuration.parent, "w.example/2", [str(LOG.key)],
        '[tls]\ncertificate = "server.pem"\nkey = "server.key"\n',
    )  # fmt: skip
    running = start(configuration)
    ca = ("--cacert", str(tmp_path / "ca.pem"))
    with written(sqlite_url(tmp_path), LOG, ENTRIES[:9]) as log:
        key = parse_verifier_key(running.key, NoteType.WITNESS)
        entry = WitnessEntry(running.url, key, str(tmp_path / "ca.pem"))
        ask_witness(Asked(running.url, key), log.head().note, 0, log.consistency, posting(entry))
        running.process.kill()
        running.process.wait()
        assert running.process.stdout is not None
        running.process.stdout.close()
        again = start(configuration)
        asked = curl(f"{again.url}/add-checkpoint", tmp_path, question(0, (), log.head().note), *ca)
        assert asked == (409, "text/x.tlog.size", b"9\n")
        again.stop()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("# sealwright witness 1", "# sealwright witness 2"), "the first line is not"),
        (('key = "witness"', 'key = "release"'), "release"),
        (("log.example/9+", "log.example/8+"), "[[log]]"),
        (('folder = "seen"', 'folders = "seen"'), "folder"),
        (('listen = "127.0.0.1:0"', 'listen = "nowhere"'), "nowhere"),
        (("[[log]]", "[[logs]]"), "log"),
    ],
)
def test_a_configuration_that_is_not_usable_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], said: str
) -> None:
    path = prepare(tmp_path / "one", "w.example/1", [str(LOG.key)])
    assert main(["serve", "witness", str(path), "--check"]) == 0
    assert "w.example/1+" in capsys.readouterr().out
    path.write_text(path.read_text().replace(*change))
    assert main(["serve", "witness", str(path), "--check"]) in (1, 2)
    assert said in capsys.readouterr().err
