"""Timestamps of the signing service: the openssl program asks, `sign --service` gets one with each signature, and what is no query is none."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from kit.openssl import run
from kit.signingservice import House, house, running
from sealwright.cli.main import main
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.errors import MalformedConfiguration, UsageError
from sealwright.log.journal import read_journal
from sealwright.service.api import _resources
from sealwright.service.bodies import LargeBodies
from sealwright.service.config import read_configuration
from sealwright.service.server import no_log
from sealwright.service.signing import opened

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
BY_HAND = '[timestamps]\ntime_sources = ["none"]\nhead = "stamps.head"\n'


def with_timestamps(folder: Path, lines: str = BY_HAND) -> House:
    made = house(folder / "house")
    made.configuration.write_text(made.configuration.read_text() + lines)
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running(with_timestamps(tmp_path_factory.mktemp("stamps"))) as made:
        yield made


def ask(
    made: House, body: bytes | None, who: str | None = "max", kind: str = QUERY, method: str = "POST"
) -> tuple[int, str, bytes]:
    context = ssl.create_default_context(cafile=str(made.folder / "servers.pem"))
    if who is not None:
        context.load_cert_chain(*made.identity(who))
    line = HTTPSConnection("127.0.0.1", made.port, context=context, timeout=60)
    try:
        line.request(method, "/v1/timestamps", body, {"content-type": kind} if body is not None else {})
        answer = line.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read()
    finally:
        line.close()


def query(folder: Path, *options: str) -> bytes:
    (folder / "data").write_bytes(b"a signature value")
    made, words = run(["openssl", "ts", "-query", "-data", "data", *options, "-out", "q"], cwd=folder)
    assert made, words
    return (folder / "q").read_bytes()


@pytest.mark.parametrize("who", ["max", "stranger"])
def test_openssl_verifies_what_whoever_is_known_is_given(served: House, tmp_path: Path, who: str) -> None:
    status, kind, body = ask(served, query(tmp_path, "-sha256", "-cert"), who)
    assert (status, kind) == (200, REPLY)
    (tmp_path / "r").write_bytes(body)
    verify = ["openssl", "ts", "-verify", "-in", "r", "-CAfile", str(served.folder / "home" / "ca.pem")]
    assert run([*verify, "-queryfile", "q"], cwd=tmp_path)[0]
    (tmp_path / "other").write_bytes(b"other data")
    assert not run([*verify, "-data", "other"], cwd=tmp_path)[0]
    entries = list(read_journal(str(served.folder / "home" / "timestamps")))
    assert any(one.type == "result" for one in entries)
    assert (served.folder / "stamps.head").exists()


def test_a_rejection_is_that_of_rfc_3161(served: House, tmp_path: Path) -> None:
    status, kind, body = ask(served, query(tmp_path, "-sha1"))
    assert (status, kind) == (200, REPLY)
    (tmp_path / "r").write_bytes(body)
    said = run(["openssl", "ts", "-reply", "-in", "r", "-text"], cwd=tmp_path)[1]
    assert "Status: Rejected." in said


def test_a128_a129_who_is_nobody_and_what_is_no_query_get_problems(served: House, tmp_path: Path) -> None:
    good = query(tmp_path, "-sha256")
    assert ask(served, good)[0] == 200
    for wanted, answer in (
        (401, ask(served, good, who=None)),
        (415, ask(served, good, kind="application/json")),
        (415, ask(served, good, kind="text/plain")),
        (413, ask(served, good + b"x" * 4096)),
        (405, ask(served, None, method="GET")),
    ):
        status, kind, body = answer
        assert (status, kind.partition(";")[0]) == (wanted, "application/problem+json"), answer
        assert json.loads(body)["status"] == wanted


def sign(made: House, artifact: Path, *options: str, code: int = 0) -> str:
    certificate, key = made.identity("max")
    service = [
        "--service",
        made.address,
        "--service-ca",
        made.folder / "servers.pem",
        "--client",
        certificate,
        "--client-key",
        key,
    ]
    words = ["sign", artifact, "--environment", "development", "--product", "drive", *service, *options]
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def tokens(signature: Path) -> int:
    (signer,) = read_envelope(signature.read_bytes(), Profile.OURS, "s").signers
    assert isinstance(signer, Signer)
    return len(signer.tokens)


def test_sign_gets_its_timestamp_there_unless_it_is_told_otherwise(served: House, tmp_path: Path) -> None:
    for name, options, count in (("a.bin", (), 1), ("b.bin", ("--timestamp", "none"), 0)):
        artifact = tmp_path / name
        artifact.write_bytes(name.encode())
        said = sign(served, artifact, *options)
        assert ("date proved" in said) is bool(count)
        assert tokens(tmp_path / f"{name}.manifest.p7s") == count
        assert main(["verify", str(artifact), "--trust", str(served.folder / "home" / "trust.toml")]) in (0, 3)


def test_a_service_without_an_authority_offers_none(tmp_path: Path) -> None:
    with running(house(tmp_path / "house")) as made:
        assert ask(made, query(tmp_path, "-sha256"))[0] == 404
        artifact = tmp_path / "a.bin"
        artifact.write_bytes(b"a")
        sign(made, artifact)
        assert tokens(tmp_path / "a.bin.manifest.p7s") == 0


def test_a_clock_that_nobody_vouches_for_stops_timestamps_and_no_signature(tmp_path: Path) -> None:
    lines = BY_HAND.replace('"none"', '"sntp:127.0.0.1:9"') + '[webhook]\nurl = "https://127.0.0.1:1/"\n'
    made = with_timestamps(tmp_path, lines)
    text = made.configuration.read_text()
    made.configuration.write_text(text.replace("[tls]", f'metrics_listen = "unix:{tmp_path}/m"\n[tls]', 1))
    with running(made):
        status, _, body = ask(made, query(tmp_path, "-sha256"))
        (tmp_path / "r").write_bytes(body)
        said = run(["openssl", "ts", "-reply", "-in", "r", "-text"], cwd=tmp_path)[1]
        assert (status, "time" in said, "Rejected" in said) == (200, True, True)
        context = ssl.create_default_context(cafile=str(made.folder / "servers.pem"))
        context.load_cert_chain(*made.identity("max"))
        line = HTTPSConnection("127.0.0.1", made.port, context=context, timeout=60)
        line.request("GET", "/health")
        told = json.loads(line.getresponse().read())
        line.close()
        assert told["status"] == "ok"
        assert [one for one in told["warnings"] if one.startswith("timestamps: ")]
        shown = subprocess.run(
            ["curl", "-s", "--unix-socket", f"{tmp_path}/m", "http://x/metrics"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert "sealwright_timestamps_up 0.0" in shown
        artifact = tmp_path / "a.bin"
        artifact.write_bytes(b"a")
        sign(made, artifact, code=1)
        sign(made, artifact, "--timestamp", "none")


def test_the_document_names_it_and_no_declaration_is_one_that_ends_with_litestar_3(tmp_path: Path) -> None:
    made = with_timestamps(tmp_path)
    with opened(read_configuration(str(made.configuration))) as service, warnings.catch_warnings():
        warnings.simplefilter("error")
        app = _resources(service.office, LargeBodies(), no_log)
    operation = app.openapi_schema.to_schema()["paths"]["/v1/timestamps"]["post"]
    assert list(operation["requestBody"]["content"]) == [QUERY]
    assert list(operation["responses"]["200"]["content"]) == [REPLY]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('[timestamps]\ntime_sources = ["none", "kernel"]\n', MalformedConfiguration),
        ('[timestamps]\ntime_sources = ["sundial:1"]\n', MalformedConfiguration),
        ("[timestamps]\nmax_drift_s = 0\n", MalformedConfiguration),
        ("[timestamps]\nport = 1\n", MalformedConfiguration),
        ('[timestamps]\nkey = "release"\n', UsageError),
    ],
)
def test_a132_what_nobody_meant_is_no_start(tmp_path: Path, lines: str, error: type[Exception]) -> None:
    made = with_timestamps(tmp_path, '[timestamps]\ntime_sources = ["none"]\nkey = "timestamp"\n')
    good = made.configuration.read_text()
    with opened(read_configuration(str(made.configuration))):
        pass
    made.configuration.write_text(good[: good.index("[timestamps]")] + lines)
    with pytest.raises(error), opened(read_configuration(str(made.configuration))):
        pass
