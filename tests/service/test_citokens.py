"""The tokens of a CI job on the job's side: where they come from, how many there are, and that nobody is shown one."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kit.pki import Pki
from kit.tls import pem_files, server_certificate
from sealwright.errors import SealwrightError, ServiceUnavailable, UsageError
from sealwright.service.cirun import CiRun, System, run_of, statement_path
from sealwright.service.citokens import GithubTokens, GivenTokens, tokens_of

TOKEN = "eyJh.eyJi.c2ln"
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/fw",
    "GITHUB_WORKFLOW_REF": "acme/fw/.github/workflows/release.yml@refs/tags/v1",
    "GITHUB_REF": "refs/tags/v1",
    "GITHUB_SHA": "5eed",
    "GITHUB_RUN_ID": "7",
    "GITHUB_JOB": "sign",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_SERVER_URL": "https://gitlab.acme.example",
    "CI_PROJECT_URL": "https://gitlab.acme.example/acme/fw",
    "CI_PIPELINE_ID": "42",
    "CI_JOB_NAME": "sign",
    "CI_COMMIT_TAG": "v1",
    "CI_COMMIT_SHA": "5eed",
}
JENKINS = {
    "JENKINS_URL": "https://jenkins.acme.example/",
    "BUILD_URL": "https://jenkins.acme.example/job/fw/7/",
    "GIT_URL": "https://git.acme.example/fw",
    "BRANCH_NAME": "main",
    "GIT_COMMIT": "5eed",
}


def test_variables_and_files_are_used_one_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN + "3\n")
    found = tokens_of({"A": TOKEN + "1", "B": TOKEN + "2"}, ["A", "B"], [str(tmp_path / "token")], "unused")
    assert [found.next() for _ in range(3)] == [TOKEN + "1", TOKEN + "2", TOKEN + "3"]
    assert not found.has_more()
    with pytest.raises(UsageError, match="none is left"):
        found.next()


@pytest.mark.parametrize("wrong", ["", "a.b", "a.b.c.d", "a b.c.d", TOKEN + "\nx", "a.b." + "c" * 9000, "ä.b.c"])
def test_what_is_no_token_is_refused_without_being_shown(wrong: str) -> None:
    assert GivenTokens([("A", TOKEN)]).has_more()
    with pytest.raises(UsageError) as refused:
        GivenTokens([("A", wrong)])
    assert wrong == "" or wrong not in str(refused.value)


def test_a_job_without_a_token_is_told_how_to_get_one() -> None:
    with pytest.raises(UsageError, match="no such variable"):
        tokens_of({}, ["A"], [], "unused")
    with pytest.raises(UsageError, match="no token to show who it is"):
        tokens_of({}, [], [], "unused")


class Runner:
    """What gives GitHub's jobs tokens, or misbehaves."""

    def __init__(self) -> None:
        self.answer = (200, json.dumps({"value": TOKEN}).encode())
        self.asked: list[tuple[str, str | None]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/token?api-version=2.0"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    pki, made = Pki.make("Runner", at=datetime.now(UTC) - timedelta(days=1)), Runner()
    certificate, key = pem_files(server_certificate(pki), tmp_path, "runner")
    (tmp_path / "ca.pem").write_text(pki.root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers.get("authorization")))
            status, data = made.answer
            self.send_response(status)
            self.send_header("location", "https://localhost/elsewhere")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_github_gives_a_new_one_for_each_call_and_for_this_service_alone(runner: Runner) -> None:
    tokens = tokens_of(
        {"ACTIONS_ID_TOKEN_REQUEST_URL": runner.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
        [],
        [],
        "https://sign?&x",
    )
    assert [tokens.next(), tokens.next()] == [TOKEN, TOKEN]
    assert runner.asked == [("/token?api-version=2.0&audience=https%3A%2F%2Fsign%3F%26x", "bearer secret")] * 2
    assert tokens.has_more()


@pytest.mark.parametrize(
    "answer",
    [
        (401, b"{}"),
        (302, b"{}"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b"{"),
        (200, json.dumps({"value": "no token"}).encode()),
        (200, b" " * 100_000),
        (200, b"[" * 60_000),
    ],
)
def test_what_the_runner_says_instead_is_refused_without_its_secret(runner: Runner, answer: tuple[int, bytes]) -> None:
    tokens = GithubTokens(runner.url, "secret", "https://sign")
    assert tokens.next() == TOKEN
    runner.answer = answer
    with pytest.raises(SealwrightError) as refused:
        tokens.next()
    assert "secret" not in str(refused.value)


def test_the_runner_is_asked_by_https_that_holds(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert GithubTokens(runner.url, "secret", "https://sign").next()
    for url in (runner.url.replace("https", "http"), "https:///token", "file:///etc/passwd"):
        with pytest.raises(UsageError, match="no https address"):
            GithubTokens(url, "secret", "https://sign")
    for secret in ("", "two\nlines", "ä"):
        with pytest.raises(UsageError):
            GithubTokens(runner.url, secret, "https://sign")
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(ServiceUnavailable):
        GithubTokens(runner.url, "secret", "https://sign").next()


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (
            GITHUB,
            CiRun(
                System.GITHUB,
                "https://github.com/acme/fw/actions/runs/7#sign",
                "https://github.com/acme/fw/.github/workflows/release.yml@refs/tags/v1",
                "https://github.com/acme/fw",
                "refs/tags/v1",
                "5eed",
            ),
        ),
        (
            GITLAB,
            CiRun(
                System.GITLAB,
                "https://gitlab.acme.example/acme/fw/-/pipelines/42#sign",
                "https://gitlab.acme.example",
                "https://gitlab.acme.example/acme/fw",
                "refs/tags/v1",
                "5eed",
            ),
        ),
        (
            JENKINS,
            CiRun(
                System.JENKINS,
                "https://jenkins.acme.example/job/fw/7/",
                "https://jenkins.acme.example/",
                "https://git.acme.example/fw",
                "refs/heads/main",
                "5eed",
            ),
        ),
        ({}, CiRun(System.OTHER, "", "sealwright:ci-run/1", "", "", "")),
    ],
)
def test_a_run_is_known_by_its_environment(environment: dict[str, str], wanted: CiRun) -> None:
    assert run_of(environment, "") == wanted
    assert run_of(environment, "mine").name == "mine"


@pytest.mark.parametrize("environment", [GITHUB, GITLAB, JENKINS])
def test_a_job_that_is_run_again_is_the_same_run_and_another_run_is_not(environment: dict[str, str]) -> None:
    again = {"GITHUB_RUN_ATTEMPT": "2", "CI_JOB_ID": "8", "CI_RUNNER_ID": "9", "BUILD_TAG": "x"}
    first = run_of(environment, "")
    assert run_of(environment | again, "") == first
    assert first.word("release", [], b"p") == run_of(environment | again, "").word("release", [], b"p")
    other = {"GITHUB_RUN_ID": "8", "CI_PIPELINE_ID": "43", "BUILD_URL": "https://jenkins.acme.example/job/fw/8/"}
    words = {
        first.word("release", [], b"p"),
        first.word("other", [], b"p"),
        first.word("release", [], b"q"),
        run_of(environment | other, "").word("release", [], b"p"),
    }
    assert len(words) == 4
    assert run_of({}, "").word("release", [], b"p") == ""


def test_the_statement_lies_beside_the_results(tmp_path: Path) -> None:
    drive, out = tmp_path / "drive.bin", tmp_path / "out"
    out.mkdir()
    assert statement_path([str(drive)], None) == str(drive) + ".intoto.jsonl"
    assert statement_path([str(drive)], str(out)) == str(out / "drive.bin.intoto.jsonl")
    assert statement_path([str(drive)], str(out / "signed.efi")) == str(out / "signed.efi.intoto.jsonl")
    assert statement_path([str(drive), "x"], str(out)) == str(out / "multiple.intoto.jsonl")
