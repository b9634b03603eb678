"""A signing service from outside, by its commands, HTTP and curl alone: asked, approved by two, signed, verified offline; and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.network import fingerprint
from kit.openssl import cms_verify
from kit.signingservice import House, house, running

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve", Action::"read-log"], resource);
@id("development-alone") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"development" };
@id("production-by-two") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"production" && context.approvals >= 2 && resource.claims_signed };
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("house"), POLICY)
    with running(made):
        yield made


def as_whom(service: House, name: str) -> list[str]:
    certificate, key = service.identity(name)
    return [
        "--service", service.address, "--service-ca", str(service.folder / "servers.pem"),
        "--client", str(certificate), "--client-key", str(key),
    ]  # fmt: skip


def command(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def curl(service: House, name: str | None, path: str, *more: str) -> tuple[int, Any]:
    """Status and body of an answer, asked as somebody, or with no certificate."""
    certificate, key = service.identity(name) if name else (None, None)
    who = ["--cert", str(certificate), "--key", str(key)] if name else []
    done = subprocess.run(
        ["curl", "-sS", "--cacert", service.folder / "servers.pem", *who, "-w", "\n%{http_code}", *more, service.address + path],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body) if body.startswith(("{", "[")) else body


def test_what_needs_nobody_is_signed_at_once_and_openssl_agrees(service: House, tmp_path: Path) -> None:
    (tmp_path / "drive.bin").write_bytes(b"firmware")
    claims = ("--product", "drive", "--environment", "development")
    command("sign", tmp_path / "drive.bin", *claims, *as_whom(service, "max"))
    manifest = tmp_path / "drive.bin.manifest"
    assert cms_verify(tmp_path / "drive.bin.manifest.p7s", manifest, service.folder / "home" / "ca.pem")[0]
    assert (tmp_path / "drive.bin.manifest.tlog-proof").read_text().startswith("c2sp.org/tlog-proof@v1\n")
    trust = service.folder / "home" / "trust.toml"
    verified = ("verify", tmp_path / "drive.bin", "--trust", trust, *fingerprint(trust))
    command(*verified)
    (tmp_path / "drive.bin").write_bytes(b"firmwarE")
    command(*verified, code=1)


def test_production_waits_for_two_others_who_see_what_they_approve(service: House, tmp_path: Path) -> None:
    drive = tmp_path / "drive.bin"
    drive.write_bytes(b"release 7")
    claims = ("--product", "drive", "--version", "7", "--generation", "7", "--environment", "production")
    said: list[str] = []

    def ask() -> None:
        said.append(command("sign", drive, *claims, "--reason", "spring release", *as_whom(service, "max")))

    asking = threading.Thread(target=ask)
    asking.start()
    id_ = ""
    for _ in range(200):
        listed = [json.loads(line) for line in command("approve", *as_whom(service, "eva"), "--json").splitlines()]
        if listed:
            id_ = listed[0]["id"]
            break
    assert id_
    assert command("approve", *as_whom(service, "stranger")) == ""  # another tenant sees nothing of it
    (tmp_path / "other.bin").write_bytes(b"another file")
    eva = ("approve", id_, "--home", service.folder / "eva-home", *as_whom(service, "eva"))
    jan = ("approve", id_, "--home", service.folder / "jan-home", *as_whom(service, "jan"))
    assert "spring release" in command(*eva, code=1)  # nobody typed yes
    assert "it is not among what is to be signed" in command(
        *eva, "--yes", "--artifact", tmp_path / "other.bin", code=1
    )
    assert "it is waiting now" in command(*eva, "--yes", "--artifact", drive)
    assert "approved it already" in command(*eva, "--yes", code=1)
    by_max = ("approve", id_, "--home", service.folder / "jan-home", *as_whom(service, "max"))
    assert "not-your-own-request" in command(*by_max, "--yes", code=1)
    command(*jan, "--yes")
    asking.join(60)
    assert "signed" in said[0]
    assert cms_verify(
        tmp_path / "drive.bin.manifest.p7s", tmp_path / "drive.bin.manifest", service.folder / "home" / "ca.pem"
    )[0]
    assert "signed" in command(*jan, "--yes", code=1)  # nothing is approved twice
    status, standing = curl(service, "max", f"/v1/requests/{id_}")
    assert (status, standing["state"], standing["approvals"]) == (200, "signed", ["eva", "jan"])


def test_the_device_demands_the_log_and_its_proof_travels_beside(service: House, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    command("sign", tmp_path / "f", "--product", "drive", "--environment", "development", *as_whom(service, "max"))
    proof = (tmp_path / "f.manifest.tlog-proof").read_text()
    note = proof.partition("\n\n")[2]
    status, newest = curl(service, "max", "/v1/log/checkpoint")
    assert status == 200
    assert note.split("\n")[0] == newest.split("\n")[0] == "log.acme.example/signing"
    assert int(newest.split("\n")[1]) >= int(note.split("\n")[1])


@pytest.mark.parametrize(
    ("name", "path", "more", "status"),
    [
        ("max", "/v1/keys", (), 200),
        (None, "/v1/keys", (), 401),
        (None, "/v1/requests", (), 401),
        (None, "/health", (), 200),
        ("max", "/v1/requests/" + "0" * 64, (), 404),
        ("max", "/v1/requests/..%2f..%2fhealth", (), 404),
        ("max", "/v1/Keys", (), 404),
        ("max", "/v1/keys/", (), 404),
        ("max", "/v1/keys", ("-X", "DELETE"), 405),
        ("max", "/v1/keys", ("-H", "X-HTTP-Method-Override: GET", "-d", "{}", "-H", "content-type: application/json"), 405),
        ("max", "/v1/requests", ("-d", "{", "-H", "content-type: application/json"), 400),
        ("max", "/v1/requests", ("-d", "[" * 5000, "-H", "content-type: application/json"), 400),
        ("max", "/v1/requests", ("-d", '{"key":"release","items":[],"role":"admin"}', "-H", "content-type: application/json"), 400),
    ],
)  # fmt: skip
def test_answers_are_what_they_must_be(
    service: House, name: str | None, path: str, more: tuple[str, ...], status: int
) -> None:
    found, body = curl(service, name, path, *more)
    assert found == status, body
    assert "Traceback" not in str(body)


def test_a_stranger_to_the_pki_does_not_get_in(service: House, tmp_path: Path) -> None:
    from kit.pki import Pki
    from kit.tls import client_certificate, pem_files

    pem_files(client_certificate(Pki.make("ACME people"), "max"), tmp_path, "max")
    done = subprocess.run(
        ["curl", "-sS", "--cacert", service.folder / "servers.pem", "--cert", tmp_path / "max.pem", "--key", tmp_path / "max.key", service.address + "/v1/keys"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0 or '"status":401' in done.stdout


def test_a_service_goes_on_where_it_ended_and_refuses_a_wrong_file(tmp_path: Path) -> None:
    made = house(tmp_path, POLICY)
    (tmp_path / "f").write_bytes(b"x")
    claims = ("--product", "drive", "--environment", "development")
    with running(made):
        command("sign", tmp_path / "f", *claims, *as_whom(made, "max"))
    assert "listening" in command("serve", "signing", made.configuration, "--check")
    with running(made):
        (tmp_path / "g").write_bytes(b"y")
        command("sign", tmp_path / "g", *claims, *as_whom(made, "max"))
        _, listed = curl(made, "max", "/v1/requests")
    assert [one["state"] for one in listed["requests"]] == ["signed", "signed"]
    good = made.configuration.read_text()
    assert tomllib.loads(good)["id"] == "acme-signing"
    for wrong in (good.replace("[tls]", "four_eyes = false\n[tls]"), good.replace('"release"', '"nobody"'), good[2:]):
        made.configuration.write_text(wrong)
        command("serve", "signing", made.configuration, "--check", code=1 if '"nobody"' not in wrong else 2)
    made.configuration.write_text(good)
    (made.folder / "policies" / "rules.cedar").write_text("permit (principal, action, resource)")
    command("serve", "signing", made.configuration, "--check", code=1)
