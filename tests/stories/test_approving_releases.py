"""Releases of one product at a running service, approved by a security key and a home: what each changes is shown before it is approved."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fido2.hid import CtapHidDevice

from kit.securitykey import SoftKey
from kit.signingservice import House, house, running
from sealwright.cli.main import main

POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve"], resource);
@id("development-alone") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"development" };
@id("production-by-two") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"production" && context.approvals >= 2 };
"""


def as_whom(service: House, name: str) -> list[str]:
    certificate, key = service.identity(name)
    return [
        "--service", service.address.replace("127.0.0.1", "localhost"), "--service-ca", str(service.folder / "servers.pem"),
        "--client", str(certificate), "--client-key", str(key),
    ]  # fmt: skip


def get(service: House, name: str, path: str) -> tuple[int, Any]:
    certificate, key = service.identity(name)
    command = ["curl", "-sS", "--cacert", str(service.folder / "servers.pem"), "--cert", str(certificate)]
    command += ["--key", str(key), "-w", "\n%{http_code}", service.address + path]
    body, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), json.loads(body)


@contextmanager
def asked(service: House, tree: Path, *claims: str) -> Iterator[str]:
    """A request that somebody waits for; at the end of the block it is signed."""
    signed: list[subprocess.CompletedProcess[str]] = []
    command = [sys.executable, "-m", "sealwright", "sign", str(tree), "--product", "drive", *claims, "--replace"]

    def ask() -> None:
        signed.append(subprocess.run([*command, *as_whom(service, "max")], capture_output=True, text=True, check=False))

    asking = threading.Thread(target=ask)
    asking.start()
    listed: list[Any] = []
    while not listed and asking.is_alive():
        listed = get(service, "eva", "/v1/requests?state=waiting")[1]["requests"]
    assert listed, signed
    yield listed[-1]["id"]
    asking.join(60)
    assert signed[0].returncode == 0, signed[0].stderr


def release(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_what_a_release_changes_is_shown_before_a_security_key_approves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SoftKey()
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([key]))
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o600)
    pin = ["--pin-file", str(tmp_path / "pin")]
    with running(house(tmp_path / "house", POLICY)) as service:
        out, register = str(tmp_path / "eva-key.toml"), str(service.folder / "people.toml")
        url = service.address.replace("127.0.0.1", "localhost")
        assert main(["people", "enrol-key", out, "--service", url, *pin]) == 0
        assert main(["people", "add", register, "approval-key", "eva", out]) == 0

        def eva(id_: str, *more: str) -> tuple[int, str]:
            capsys.readouterr()
            code = main(["approve", id_, *as_whom(service, "eva"), *more])
            return code, capsys.readouterr().out

        def jan(id_: str) -> None:
            home = str(service.folder / "jan-home")
            assert main(["approve", id_, "--home", home, "--yes", *as_whom(service, "jan")]) == 0

        claims = ("--environment", "production", "--generation", "1", "--version")
        with asked(service, release(tmp_path / "r1", start="a", lib="b", notes="c"), *claims, "1.9") as first:
            code, said = eva(first)
            assert (code, "first release of drive for production" in said) == (1, True)
            assert f"lib  sha256:{sha256(b'b').hexdigest()}" in said
            assert get(service, "eva", f"/v1/requests/{first}/previous") == (200, {"request": None})
            status, challenge = get(service, "eva", f"/v1/requests/{first}/challenge")
            assert (status, [one["origin"] for one in challenge["credentials"]]) == (200, [url])
            assert get(service, "jan", f"/v1/requests/{first}/challenge")[1]["credentials"] == []
            for path in ("challenge", "previous"):
                assert get(service, "stranger", f"/v1/requests/{first}/{path}")[0] == 404
            capsys.readouterr()
            assert main(["approve", first, "--fido2", "--yes", *pin, *as_whom(service, "jan")]) == 1
            assert "the register has none of yours" in capsys.readouterr().err
            code, said = eva(first, "--fido2", "--yes", *pin)
            assert (code, "it is waiting now, approved by eva" in said) == (0, True)
            jan(first)

        # what developers sign is no release before one of production: it would hide the change
        with asked_alone(service, release(tmp_path / "d", start="x"), "--environment", "development"):
            pass
        second = release(tmp_path / "r2", start="a2", lib="b", more="d")
        with asked(service, second, "--environment", "production", "--generation", "2", "--version", "1.10") as id_:
            _, said = eva(id_)
            assert "version: 1.9 -> 1.10" in said
            assert "generation: 1 -> 2" in said
            assert "(1 files are the same)" in said
            for line in ("changed  start", "added    more", "removed  notes"):
                assert line in said
            assert "!!" not in said
            code, said = eva(id_, "--json")
            told = json.loads(said)
            assert (code, told["state"], told["changes"]["previous"], told["changes"]["back"]) == (
                1,
                "waiting",
                first,
                None,
            )
            found = {one["name"]: one["change"] for one in told["changes"]["files"]}
            assert found == {"start": "changed", "more": "added", "notes": "removed"}
            assert eva(id_, "--fido2", "--yes", *pin)[0] == 0
            jan(id_)

        third = release(tmp_path / "r3", start="a", lib="b", notes="c")
        with asked(service, third, "--environment", "production", "--generation", "1", "--version", "1.9") as id_:
            assert "!! OLDER THAN THE LAST RELEASE: generation 1 after 2" in eva(id_)[1]
            assert eva(id_, "--fido2", "--yes", *pin)[0] == 0
            jan(id_)
        fourth = release(tmp_path / "r4", start="evil", lib="b", notes="c")
        with asked(service, fourth, "--environment", "production", "--generation", "1", "--version", "1.9") as id_:
            assert "!! OTHER BYTES UNDER THE SAME version 1.9" in eva(id_)[1]
            key.count = 1  # a copy of the key that was taken before it approved
            capsys.readouterr()
            assert main(["approve", id_, "--fido2", "--yes", *pin, *as_whom(service, "eva")]) == 1
            assert "SW-KEY-CLONED" in capsys.readouterr().err
            assert '"event": "alarm"' in (service.folder / "service.log").read_text()
            assert (
                main(["approve", id_, "--home", str(service.folder / "eva-home"), "--yes", *as_whom(service, "eva")])
                == 0
            )
            jan(id_)


@contextmanager
def asked_alone(service: House, tree: Path, *claims: str) -> Iterator[None]:
    """What needs nobody's approval, signed."""
    command = [sys.executable, "-m", "sealwright", "sign", str(tree), "--product", "drive", *claims]
    done = subprocess.run([*command, *as_whom(service, "max")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield
