"""A service whose keys nobody holds, from outside: a CI job asks, two approve by keys in tokens, a device without network demands the log's proof.

Then what must be caught: who approves their own request, a digest exchanged after an approval, an approval used again, rows written over
in the database, and the HSM used behind the service's back.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.ciservice import CiHouse, ci_house
from kit.killable import add_key
from kit.network import fingerprint, without_network
from kit.openssl import cms_verify
from kit.service import spki_of
from kit.signingservice import House, log_key
from kit.tokens import PIN, another_token
from kit.witnesses import RunningWitness, prepare, start
from sealwright.signing.home import KeyPurpose, open_home

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve", Action::"read-log"], resource);
@id("by-two") permit (principal, action == Action::"sign", resource) when { context.approvals >= 2 && resource.claims_signed };
"""
APPROVERS = ("ute", "uwe")
CLAIMS = ("--product", "drive", "--version", "7", "--environment", "development", "--key", "hsm")


def command(*arguments: object, code: int | None = 0, before: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [*before, sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def prepared(made: House) -> None:
    """A key in a token signs, and the approvers' keys are in tokens of their own."""
    add_key(made, "hsm", another_token() + ";object=hsm", PIN)
    register = (made.folder / "people.toml").read_text()
    for name in APPROVERS:
        home, pin = made.folder / f"{name}-token", made.folder / "hsm.pin"
        command("init", home, "--organisation", "ACME", "--token", another_token(), "--pin-file", pin)
        command("key", "enrol", "approval", "--home", home, "--name", "approval", "--pin-file", pin)
        in_file = spki_of(made.persons[name], KeyPurpose.APPROVAL)
        register = register.replace(str(in_file), str(open_home(str(home)).key(None, KeyPurpose.APPROVAL).digest))
    (made.folder / "people.toml").write_text(register)


WITNESSES: list[RunningWitness] = []


def witnessed(made: House) -> None:
    """A witness of its own sees each checkpoint."""
    prepared(made)
    WITNESSES.append(start(prepare(made.folder / "witness", "w.one.example", [log_key(made)])))
    text = made.configuration.read_text().replace('head = "head"\n', 'head = "head"\ncosignatures = 1\n')
    made.configuration.write_text(text + f'[[witness]]\nurl = "{WITNESSES[0].url}"\nkey = "{WITNESSES[0].key}"\n')


@pytest.fixture(scope="module")
def ci(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CiHouse]:
    with ci_house(tmp_path_factory.mktemp("ci"), POLICY, officers=APPROVERS, prepare=witnessed) as made:
        yield made
    WITNESSES.pop().stop()


def who(ci: CiHouse, name: str) -> list[str]:
    certificate, key = ci.service.identity(name)
    return [*ci.where, "--client", str(certificate), "--client-key", str(key)]


def curl(ci: CiHouse, name: str, path: str, body: object | None = None) -> tuple[int, Any]:
    certificate, key = ci.service.identity(name)
    more = [] if body is None else ["-H", "content-type: application/json", "-d", json.dumps(body)]
    done = subprocess.run(
        ["curl", "-sS", "--cacert", ci.service.folder / "servers.pem", "--cert", certificate, "--key", key,
         "-w", "\n%{http_code}", *more, ci.service.address + path],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    text, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(text) if text.startswith("{") else text


def asked(ci: CiHouse, path: Path) -> str:
    """Asked for by a CI job, which does not wait: the request's id."""
    before = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=waiting")[1]["requests"]}
    tokens = {"TOKEN": ci.token(), "TOKEN_2": ci.token()}
    options = ["--token-env", "TOKEN", "--token-env", "TOKEN_2", "--wait", "0m"]
    ci.ci("sign", path, *ci.where, *CLAIMS, *options, code=3, **tokens)
    (id_,) = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=waiting")[1]["requests"]} - before
    return str(id_)


def approve(ci: CiHouse, name: str, id_: str, *more: object, code: int = 0) -> str:
    home = ci.service.folder / f"{name}-token"
    own = ("--home", home, "--pin-file", ci.service.folder / "hsm.pin", "--yes")
    return command("approve", id_, *own, *more, *who(ci, name), code=code)


def drive(folder: Path, name: str = "drive.bin") -> Path:
    path = folder / name
    path.write_bytes(f"release 7 of {name}".encode())
    return path


def signed(ci: CiHouse, path: Path) -> None:
    """Asked for by a job that waits, and approved by both."""
    said: list[str] = []
    tokens = {"TOKEN": ci.token(), "TOKEN_2": ci.token()}
    options = ["--token-env", "TOKEN", "--token-env", "TOKEN_2"]
    before = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=waiting")[1]["requests"]}
    job = threading.Thread(target=lambda: said.append(ci.ci("sign", path, *ci.where, *CLAIMS, *options, **tokens)))
    job.start()
    new: set[str] = set()
    while not new:
        time.sleep(0.2)
        new = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=waiting")[1]["requests"]} - before
    (id_,) = new
    assert "it is waiting now" in approve(ci, "ute", id_, "--artifact", path)
    approve(ci, "uwe", id_, "--artifact", path)
    job.join(60)
    assert said


def edited(ci: CiHouse, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What somebody with the database's file does."""
    database = sqlite3.connect(ci.service.folder / "service.db", timeout=30)
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


def test_a_ci_job_two_approvers_with_tokens_and_a_device_that_demands_the_log(ci: CiHouse, tmp_path: Path) -> None:
    path, home = drive(tmp_path), ci.service.folder / "home"
    signed(ci, path)
    manifest = tmp_path / "drive.bin.manifest"
    assert cms_verify(tmp_path / "drive.bin.manifest.p7s", manifest, home / "ca.pem")[0]
    trust = tmp_path / "trust.toml"
    text = (home / "trust.toml").read_text()
    text = text.replace(
        'environment = "development"\ntimestamp', 'environment = "development"\nlog = "required"\ntimestamp'
    )
    text += f'[[log]]\nname = "ACME"\nvkey = "{log_key(ci.service)}"\n'
    text += f'[[witness]]\nname = "one"\nvkey = "{WITNESSES[0].key}"\n'
    trust.write_text(text)
    command("trust", "sign", trust, "--home", home, "--person", "officer")
    verify = ("verify", path, "--trust", trust, *fingerprint(trust))
    proof = tmp_path / "drive.bin.manifest.tlog-proof"
    data = cosigned(ci, proof)
    assert "INSTALL: allowed" in command(*verify, before=without_network())
    proof.unlink()
    assert "INSTALL: allowed" not in command(*verify, before=without_network(), code=None)
    other = drive(tmp_path, "other.bin")
    signed(ci, other)
    shutil.copy(tmp_path / "other.bin.manifest.tlog-proof", proof)
    assert "INSTALL: allowed" not in command(*verify, before=without_network(), code=None)
    proof.write_bytes(data)
    assert "INSTALL: allowed" in command(*verify, before=without_network())
    path.write_bytes(b"release 8")
    command(*verify, before=without_network(), code=1)


def test_nobody_approves_what_they_asked_for(ci: CiHouse, tmp_path: Path) -> None:
    """Max asks; the job's owner is Max too."""
    id_ = asked(ci, drive(tmp_path))
    home = ci.service.folder / "eva-home"
    said = command("approve", id_, "--home", home, "--yes", *who(ci, "max"), code=1)
    assert "not-your-own-request" in said
    assert "it is waiting now" in approve(ci, "ute", id_)


def test_a_digest_that_was_exchanged_after_an_approval_is_not_signed(ci: CiHouse, tmp_path: Path) -> None:
    good, bad = asked(ci, drive(tmp_path, "good.bin")), asked(ci, drive(tmp_path, "bad.bin"))
    assert "it is not among what is to be signed" in approve(
        ci, "ute", good, "--artifact", tmp_path / "bad.bin", code=1
    )
    approve(ci, "ute", good, "--artifact", tmp_path / "good.bin")
    exchange = "UPDATE requests SET items = ?, contents = ? WHERE id = ?"
    true, other = (edited(ci, "SELECT items, contents FROM requests WHERE id = ?", one)[0] for one in (good, bad))
    edited(ci, exchange, *other, good)
    assert "the service shows is not what the request binds" in approve(ci, "uwe", good, code=1)
    approval = {"scheme": "cms", "proof": base64.b64encode(b"0").decode()}
    assert curl(ci, "uwe", f"/v1/requests/{good}/approvals", approval)[0] in (422, 500)
    edited(ci, exchange, *true, good)
    approve(ci, "uwe", good)


def test_an_approval_is_good_for_one_request_once(ci: CiHouse, tmp_path: Path) -> None:
    one, other = asked(ci, drive(tmp_path, "one.bin")), asked(ci, drive(tmp_path, "another.bin"))
    approve(ci, "ute", one)
    ((proof,),) = edited(ci, "SELECT proof FROM approvals WHERE request = ?", one)
    body = {"scheme": "cms", "proof": base64.b64encode(proof).decode()}
    status, problem = curl(ci, "ute", f"/v1/requests/{other}/approvals", body)
    assert (status, "no approval of this request" in problem["detail"]) == (422, True)
    assert curl(ci, "ute", f"/v1/requests/{one}/approvals", body)[0] == 409
    approve(ci, "uwe", one)
    approve(ci, "ute", other)
    assert curl(ci, "ute", f"/v1/requests/{other}")[1]["state"] == "waiting"


def test_rows_that_were_written_over_sign_nothing(ci: CiHouse, tmp_path: Path) -> None:
    path = drive(tmp_path, "rows.bin")
    before = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=signed")[1]["requests"]}
    signed(ci, path)
    (id_,) = {one["id"] for one in curl(ci, "ute", "/v1/requests?state=signed")[1]["requests"]} - before
    edited(ci, "DELETE FROM signatures WHERE request = ?", id_)
    edited(ci, "UPDATE requests SET state = 'failed' WHERE id = ?", id_)
    status, problem = curl(ci, "max", f"/v1/requests/{id_}/attempts", {})
    assert (status, problem["code"]) == (500, "SW-LOG-BROKEN")
    size = curl(ci, "ute", "/v1/log/checkpoint")[1].splitlines()[1]
    waits = asked(ci, drive(tmp_path, "waits.bin"))
    approve(ci, "ute", waits)
    copied = "SELECT request, 1, 'uwe', scheme, proof, at, leaf FROM approvals WHERE request = ?"
    edited(ci, "INSERT INTO approvals (request, number, person, scheme, proof, at, leaf) " + copied, waits)
    assert curl(ci, "ute", f"/v1/requests/{waits}")[1]["state"] == "waiting"
    edited(ci, "DELETE FROM approvals WHERE request = ? AND person = 'uwe'", waits)
    approve(ci, "uwe", waits)
    checked = command("log", "check", *log(ci))
    assert "SW-" not in checked
    assert int(curl(ci, "ute", "/v1/log/checkpoint")[1].splitlines()[1]) > int(size)


def cosigned(ci: CiHouse, proof: Path) -> bytes:
    """The proof again, once the witness has seen it."""
    leaf = next(line for line in proof.read_text().splitlines() if line.startswith("index "))[6:]
    for _ in range(100):
        command("log", "prove", leaf, "--folder", *log(ci)[:1], *log(ci)[3:], "--out", proof, code=None)
        if b"w.one.example" in proof.read_bytes():
            return proof.read_bytes()
        time.sleep(0.2)
    raise AssertionError("no witness has seen it")


def log(ci: CiHouse) -> list[object]:
    """The log over HTTPS, as an auditor reads it."""
    certificate, key = ci.service.identity("ute")
    return [
        ci.service.address + "/log", "--log-key", log_key(ci.service), "--ca", ci.service.folder / "servers.pem",
        "--client", certificate, "--client-key", key,
    ]  # fmt: skip


def test_the_hsm_used_behind_the_services_back_is_found(ci: CiHouse, tmp_path: Path) -> None:
    good = tmp_path / "field"
    good.mkdir()
    signed(ci, drive(good))
    cosigned(ci, good / "drive.bin.manifest.tlog-proof")
    monitor = ("log", "monitor", *log(ci), "--state", tmp_path / "state", "--files", good)
    command(*monitor)
    home, pin = ci.service.folder / "home", ci.service.folder / "hsm.pin"
    command("sign", drive(good, "secret.bin"), "--home", home, "--key", "hsm", "--pin-file", pin)
    said = command(*monitor, code=1)
    assert "secret.bin.p7s" in said
    assert "is not in the log" in said
