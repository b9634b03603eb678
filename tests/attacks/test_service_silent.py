"""A129, A142: nothing that a signing service says, writes or shows to others has a PIN, a key, a token, a name or a free text in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.doors import Told, ask_body, events, eventually, get, post, told
from kit.oidc import CiIssuer, rsa_key
from kit.signingservice import House, house, running
from kit.tokens import PIN, TOKEN, make_token
from sealwright.keys.pin import Pin
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import open_home
from sealwright.signing.init import InitOptions, init_home

WORDS = ("Eva Muster", "eva.muster@acme.example", "for the pump of Eva Muster", "hunter2-secret")
NASTY = '/v1/keys\x1b[31m\r\n{"event":"forged"}'


@dataclass
class Watched:
    """A service whose keys are in a token, everything that it was told, and all that it answered to others than who asked."""

    service: House
    secrets: list[str]
    answers: list[Told] = field(default_factory=list)


def private_lines(path: Path) -> list[str]:
    """The lines of a key in PEM, each of them enough to know that it got out."""
    return [line for line in path.read_text().splitlines() if len(line) > 40 and not line.startswith("-")]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("house")
    made = house(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path_factory.mktemp("token"), "line-1")))
        shutil.rmtree(folder / "home")
        pin, now = Pin(PIN), datetime.now(UTC)
        init_home(str(folder / "home"), InitOptions(now, "Test", "ACME", token=TOKEN, pin=pin))
        enrol_for(open_home(str(folder / "home")), "log", "log", pin, now)
        (folder / "pin.txt").write_text(PIN + "\n")
        (folder / "pin.txt").chmod(0o600)
        (folder / "names.toml").write_text(
            f'# sealwright names 1\n[[name]]\nid = "eva"\nname = "{WORDS[0]}"\nmail = "{WORDS[1]}"\n'
        )
        text = made.configuration.read_text().replace('tenant = "acme"', 'tenant = "acme"\npin_file = "pin.txt"')
        text = text.replace("[tls]", 'log_pin_file = "pin.txt"\n[tls]', 1)
        made.configuration.write_text(text + '[[issuer]]\nkind = "github"\naudience = "https://sign.acme.example"\n')
        token = CiIssuer({"rsa-1": rsa_key()}, at=now).token().decode()
        secrets = [PIN, token, token.rpartition(".")[2], *WORDS, *private_lines(folder / "server.key")]
        for name in ("eva", "max"):
            secrets += private_lines(folder / f"{name}.key")
        one = Watched(made, secrets)
        with running(made, access=str(folder / "access.log")):
            speak(one, token)
            yield one


def speak(one: Watched, token: str) -> None:
    """Much of what clients do, well and badly."""
    service = one.service
    answer = told(service, "max", post("/v1/requests", ask_body("a", environment="development", reason=WORDS[2])))
    assert answer.status == 201, answer
    waits = told(service, "max", post("/v1/requests", ask_body("b", reason=WORDS[2]))).json["id"]
    approve = [
        sys.executable,
        "-m",
        "sealwright",
        "approve",
        waits,
        "--home",
        str(service.folder / "eva-home"),
        "--yes",
    ]
    address = ["--service", service.address, "--service-ca", str(service.folder / "servers.pem")]
    who = ["--client", str(service.folder / "eva.pem"), "--client-key", str(service.folder / "eva.key")]
    subprocess.run([*approve, *address, *who], check=True, capture_output=True, timeout=60)
    for data in (
        get("/v1/keys"),
        get("/v1/keys", f"Authorization: Bearer {token}"),
        get("/v1/keys", f"Authorization: Basic {WORDS[3]}"),
        get(f"/v1/keys?token={token}&pin={PIN}"),
        get(f"/{WORDS[3]}"),
        get(NASTY.replace("\x1b", "%1b").replace("\r\n", "%0d%0a")),
        post("/v1/requests", json.dumps({"key": WORDS[3]}).encode(), f"Authorization: Bearer {token}"),
    ):
        one.answers.append(told(service, None, data))
    for data in (
        get(f"/v1/requests/{waits}"),
        get("/v1/requests"),
        get("/metrics"),
        get("/health"),
        get("/v1/log/checkpoint"),
        get("/v1/keys"),
        post("/v1/requests", b'{"key": "nothing", "items": 7}'),
        post("/v1/requests", ask_body("x").replace(b"release", b"unknown")),
        post(f"/v1/requests/{waits}/approvals", b'{"scheme": "cms", "proof": "AAAA"}'),
    ):
        one.answers.append(told(service, "stranger", data))


def found(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


def test_a129_the_logs_have_no_secret_and_nobodys_name(watched: Watched) -> None:
    folder = watched.service.folder
    eventually(lambda: "unidentified" in (folder / "service.log").read_text() or None)
    for log in ("service.log", "access.log"):
        text = (folder / log).read_text()
        assert text
        assert found(text, watched.secrets) == []
        for line in text.splitlines():
            json.loads(line)
            assert line.isascii()
            assert line.isprintable()
    assert not [one for one in events(watched.service) if one["event"] == "forged"]


def test_a129_the_access_log_tells_who_by_a_mark_alone(watched: Watched) -> None:
    text = (watched.service.folder / "access.log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    marks = {one["who"] for one in lines if "who" in one}
    assert len(marks) == 3, "Max, Eva and the stranger"
    assert all(re.fullmatch(r"[0-9a-f]{12}", mark) for mark in marks)
    assert {"time", "id", "client", "method", "route", "path", "status", "bytes", "ms"} <= set(lines[0])
    assert not re.search(r'"(max|eva|stranger)"', text)
    assert "token=" not in text


def test_a129_answers_to_others_have_nothing_of_it(watched: Watched) -> None:
    for answer in watched.answers:
        text = (answer.head + answer.body).decode("latin-1")
        asked_for = [WORDS[3]]  # what a client wrote into its own path may stand in its own answer
        assert found(text, [one for one in watched.secrets if one not in asked_for]) == []
        assert "Traceback" not in text
        assert "sqlite" not in text.lower()
        assert str(watched.service.folder) not in text


def test_a129_neither_command_lines_nor_the_environment_have_a_pin(watched: Watched) -> None:
    ours = [watched.service.process]
    for process in ours:
        ours += map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())
    assert len(ours) > 1, "the token has a worker of its own"
    for process in ours:
        for what in ("cmdline", "environ"):
            assert found(Path(f"/proc/{process}/{what}").read_bytes().decode("latin-1"), watched.secrets) == []


def test_a142_the_public_log_has_no_name_and_no_free_text(watched: Watched, tmp_path: Path) -> None:
    url = f"sqlite:///{watched.service.folder}/service.db"
    command = [sys.executable, "-m", "sealwright", "log", "export", "--database", url]
    subprocess.run(
        [*command, "--out", str(tmp_path / "log"), "--csv", str(tmp_path / "log.csv")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert any("entries" in one.parts for one in files)
    for path in files:
        text = path.read_bytes().decode("latin-1")
        assert found(text, watched.secrets) == []
        assert not re.search(r'"(max|eva|stranger)"', text)


def test_a129_no_secret_is_in_the_database(watched: Watched) -> None:
    """Reasons are there, in the part that can be erased; a PIN, a key or a token never is."""
    folder = watched.service.folder
    secrets = [one for one in watched.secrets if one not in WORDS]
    for name in ("service.db", "service.db-wal", "head"):
        assert found((folder / name).read_bytes().decode("latin-1"), secrets) == []


@pytest.mark.parametrize(
    "wrong", ["a PIN that others can read", "a wrong PIN", "an empty PIN", "a file that is no text"]
)
def test_a129_a_service_that_cannot_start_says_why_without_the_pin(
    watched: Watched, tmp_path: Path, wrong: str
) -> None:
    pin = {"a wrong PIN": "9" * 6 + "4711", "an empty PIN": "\n", "a file that is no text": "\udcff4711"}.get(
        wrong, PIN
    )
    (tmp_path / "pin.txt").write_bytes(pin.encode("utf-8", "surrogateescape"))
    (tmp_path / "pin.txt").chmod(0o644 if "others" in wrong else 0o600)
    folder = watched.service.folder
    text = watched.service.configuration.read_text().replace("pin.txt", str(tmp_path / "pin.txt"))
    other = folder / f"wrong-{os.getpid()}-{len(wrong)}.toml"
    other.write_text(text.replace("service.db", f"{other.stem}.db").replace('head = "head"', ""))
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", "serve", "signing", str(other), "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1 or done.returncode == 2, done
    assert done.stderr.count("\n") <= 3
    assert "Traceback" not in done.stderr
    assert not found(done.stdout + done.stderr, [PIN, "9" * 6 + "4711", "4711\n"])
