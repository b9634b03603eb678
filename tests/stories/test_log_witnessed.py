"""A signing service and its log among others, by commands and HTTPS alone: witnesses of whom one lies and one is dead, a plant that
wants their word, monitors from outside, and keys used behind the service's back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.asgi import serving
from kit.network import fingerprint
from kit.signingservice import House, house, log_key, running
from kit.witnesses import RunningWitness, dead, prepare, silent, start
from kit.writtenlogs import SoftSigner
from sealwright.envelope.verifierkey import NoteType
from sealwright.log.note import cosign
from sealwright.service.server import Answer, Request, application, no_log
from sealwright.signing.stamps import utc_now

LIAR = SoftSigner.make("w.liar.example", NoteType.WITNESS)
AWAY = SoftSigner.make("w.away.example", NoteType.WITNESS)
SLOW = SoftSigner.make("w.slow.example", NoteType.WITNESS)


class Liar:
    """A witness that cosigns another tree than it was asked about."""

    methods = ("POST",)
    types = ()
    max_body = 1 << 20

    async def answer(self, request: Request) -> Answer:
        text = request.body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
        return Answer(200, cosign(text.replace(b"log.", b"lag."), LIAR, utc_now()).encode(), "text/plain")


@dataclass
class Town:
    """The service with everybody around it."""

    house: House
    witnesses: list[RunningWitness]
    log_key: str

    @property
    def log(self) -> list[str]:
        """How its log is read from outside."""
        return [f"{self.house.address}/log", "--ca", str(self.house.folder / "servers.pem"), "--log-key", self.log_key]

    def client(self, name: str) -> list[str]:
        certificate, key = self.house.identity(name)
        return [
            "--service", self.house.address, "--service-ca", str(self.house.folder / "servers.pem"),
            "--client", str(certificate), "--client-key", str(key),
        ]  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    made = house(folder / "house")
    own = log_key(made)
    witnesses = [start(prepare(folder / name, f"w.{name}.example", [own])) for name in ("one", "two")]
    with serving(application({"/add-checkpoint": Liar()}, no_log, no_log)) as port, silent() as slow:
        asked = [(one.url, one.key) for one in witnesses]
        asked += [(f"http://127.0.0.1:{port}", str(LIAR.key)), (dead(), str(AWAY.key)), (slow, str(SLOW.key))]
        trust = folder / "house" / "published"
        (trust / "trust.d").mkdir(parents=True)
        for path in (made.folder / "home").glob("trust.toml*"):
            (trust / path.name).write_bytes(path.read_bytes())
        (trust / "trust.d" / "acme.crl").write_bytes(b"a list")
        text = made.configuration.read_text()
        text = text.replace(
            'head = "head"\n', 'head = "head"\npublic_log = true\ncosignatures = 2\ntrust = "published"\n'
        )
        text += "".join(f'[[witness]]\nurl = "{url}"\nkey = "{key}"\n' for url, key in asked)
        made.configuration.write_text(text)
        with running(made):
            yield Town(made, witnesses, own)
    for one in witnesses:
        one.stop()


def command(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def curl(town: Town, path: str, *more: str) -> tuple[int, bytes]:
    done = subprocess.run(
        ["curl", "-sS", "--cacert", town.house.folder / "servers.pem", "-w", "\n%{http_code}", *more, town.house.address + path],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def as_whom(town: Town, name: str) -> list[str]:
    certificate, key = town.house.identity(name)
    return ["--cert", str(certificate), "--key", str(key)]


def signed(town: Town, folder: Path, name: str) -> tuple[Path, int]:
    """A file signed by the service, and the number of its entry."""
    path = folder / name
    path.write_bytes(name.encode())
    command("sign", path, "--product", "drive", "--environment", "development", *town.client("max"))
    proof = (folder / f"{name}.manifest.tlog-proof").read_text()
    return path, int(next(line for line in proof.splitlines() if line.startswith("index "))[6:])


def wait_for(town: Town, size: int) -> str:
    """The published checkpoint, once it has so many entries."""
    for _ in range(600):
        status, note = curl(town, "/log/checkpoint")
        if status == 200 and int(note.split(b"\n")[1]) >= size:
            return note.decode()
        assert status in (200, 503)
        time.sleep(0.1)
    raise AssertionError((town.house.folder / "service.log").read_text())


def test_a_plant_that_wants_two_witnesses_believes_a_file_once_they_have_seen_it(town: Town, tmp_path: Path) -> None:
    path, leaf = signed(town, tmp_path, "drive.bin")
    home = town.house.folder / "home"
    trust = tmp_path / "trust.toml"
    text = (home / "trust.toml").read_text()
    text = text.replace("\nversion = 1\n", "\nversion = 1\nwitness_threshold = 2\n").replace(
        'environment = "development"\ntimestamp', 'environment = "development"\nlog = "required"\ntimestamp'
    )
    text += f'[[log]]\nname = "ACME"\nvkey = "{town.log_key}"\n'
    keys = [one.key for one in town.witnesses] + [str(LIAR.key), str(AWAY.key)]
    text += "".join(f'[[witness]]\nname = "w{at}"\nvkey = "{key}"\n' for at, key in enumerate(keys))
    trust.write_text(text)
    command("trust", "sign", trust, "--home", home, "--person", "officer")
    verify = ("verify", path, "--trust", trust, *fingerprint(trust))
    proof = tmp_path / "drive.bin.manifest.tlog-proof"
    wait_for(town, leaf + 1)
    command("log", "prove", leaf, "--folder", *town.log[:3], "--out", proof)
    command(*verify)
    assert "seen by 2 witnesses" in command(*verify, "--details")
    note = proof.read_text()
    lines = note.splitlines(keepends=True)
    assert sum(line.startswith("\u2014 w.") for line in lines) == 2
    proof.write_text("".join(line for line in lines if not line.startswith("\u2014 w.two")))
    assert "of the 2 witnesses" in command(*verify, "--details", code=3)
    proof.write_text(note)
    command(*verify)


def test_what_is_published_has_enough_cosignatures_and_health_names_those_who_do_not(
    town: Town, tmp_path: Path
) -> None:
    _, leaf = signed(town, tmp_path, "other.bin")
    note = wait_for(town, leaf + 1)
    assert [line.split()[1] for line in note.splitlines() if line.startswith("\u2014 w.")] == [
        "w.one.example",
        "w.two.example",
    ]
    status, body = curl(town, "/health")
    health: dict[str, Any] = json.loads(body)
    assert (status, health["status"], health["problems"]) == (200, "ok", [])
    warned = " ".join(health["warnings"])
    assert "w.liar.example: " in warned
    assert "w.away.example: " in warned
    assert "w.slow.example: " in warned
    assert "w.one.example" not in warned
    witnesses = [word for one in town.witnesses for word in ("--witness-key", one.key)]
    assert "seen by w.two.example" in command("log", "check", *town.log, *witnesses)
    assert "has not cosigned" in command("log", "check", *town.log, *witnesses, "--witness-key", LIAR.key, code=1)


def test_a_monitor_over_https_remembers_and_misses_a_signature_made_past_the_log(town: Town, tmp_path: Path) -> None:
    _, leaf = signed(town, tmp_path, "pump.bin")
    wait_for(town, leaf + 1)
    monitor = ["log", "monitor", *town.log, "--state", tmp_path / "state"]
    command(*monitor)
    (tmp_path / "field").mkdir()
    command(*monitor, "--files", tmp_path)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > '{tmp_path}/heard'\necho \"$#\" >> '{tmp_path}/heard'\n")
    hook.chmod(0o755)
    secret = tmp_path / "field" / "secret.bin"
    secret.write_bytes(b"behind the service's back")
    command("sign", secret, "--home", town.house.folder / "home", "--key", "release")  # its key, without the service
    said = command(*monitor, "--files", tmp_path / "field", "--alarm-run", hook, code=1)
    assert "is not in the log" in said
    assert "secret.bin.p7s" in said
    *heard, arguments = (tmp_path / "heard").read_text().splitlines()
    assert arguments == "0"
    assert [json.loads(one).get("code") for one in heard] == ["SW-LOG-UNLOGGED", None]
    assert json.loads(heard[1])["alarms"] == 1
    assert command("log", "monitor", "https://127.0.0.1:9/log", *town.log[1:], "--state", tmp_path / "s2", code=3)
    assert command("log", "check", town.log[0], "--log-key", town.log_key, code=3)  # without its authority


def test_trust_files_certificates_and_entries_are_shown_to_those_who_may_see_them(town: Town) -> None:
    published = town.house.folder / "published"
    status, body = curl(town, "/v1/trust", *as_whom(town, "max"))
    files = json.loads(body)["files"]
    assert status == 200
    assert [one["name"] for one in files] == ["trust.d/acme.crl", "trust.toml", "trust.toml.officer.p7s"]
    for one in files:
        status, body = curl(town, f"/v1/trust/{one['name']}", *as_whom(town, "max"))
        assert (status, body) == (200, (published / one["name"]).read_bytes())
    for path in (
        "nothing",
        "..%2fservice.toml",
        "trust.d",
        "trust.d/..%2ftrust.toml",
        "%2e%2e/x",
    ):
        assert curl(town, f"/v1/trust/{path}", "--path-as-is", *as_whom(town, "max"))[0] == 404, path
    (published / "link").symlink_to(town.house.folder / "server.key")
    assert curl(town, "/v1/trust/link", *as_whom(town, "max"))[0] == 404
    (published / "link").unlink()
    for path in ("/v1/trust", "/v1/trust/trust.toml", "/v1/certificates", "/v1/audit/entries"):
        assert curl(town, path)[0] == 401, path
    status, body = curl(town, "/v1/certificates", *as_whom(town, "max"))
    (certificate,) = json.loads(body)["certificates"]
    assert (status, certificate["name"]) == (200, "release")
    assert json.loads(curl(town, "/v1/certificates", *as_whom(town, "stranger"))[1]) == {
        "certificates": [],
        "next": None,
    }


def test_an_answer_that_somebody_has_already_is_not_sent_again(town: Town) -> None:
    who = as_whom(town, "max")
    for path in ("/v1/trust", "/v1/trust/trust.toml", "/v1/certificates", "/v1/keys", "/v1/requests?state=withdrawn"):
        _, body = curl(town, path, *who, "-D", "-")
        head = body.decode("utf-8", "replace").partition("\r\n\r\n")[0].lower()
        tag = next(line.partition(": ")[2] for line in head.splitlines() if line.startswith("etag"))
        assert "cache-control: private, no-cache" in head, path
        assert curl(town, path, *who, "-H", f"If-None-Match: {tag}") == (304, b""), path
        assert curl(town, path, *who, "-H", 'If-None-Match: "other"')[0] == 200, path
        assert curl(town, path, "-H", f"If-None-Match: {tag}")[0] == 401, (
            path
        )  # whoever has the tag is nobody all the same
