"""A key of a key service from the command line: made, enrolled, signed with, checked with openssl, judged by a trust file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.bao import Bao, bao
from kit.openssl import run as program
from sealwright.cli.main import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with bao(tmp_path_factory.mktemp("bao")) as running:
        yield running


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command: exit code, everything printed."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        shown = capfd.readouterr()
        return code, shown.out + shown.err

    return call


def test_a_key_of_a_service_is_made_enrolled_signs_and_openssl_agrees(run: Run, server: Bao, tmp_path: Path) -> None:
    home, drive = tmp_path / "home", tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    assert run("init", home)[0] == 0
    code, shown = run("key", "create", server.uri("release"), "--algorithm", "p256", "--json")
    made = json.loads(shown)
    assert (code, made["provenance"]) == (0, "service-held")
    assert "version=1" in made["uri"]
    take = ("key", "import-certificate", "--own-authority", "--home", home, "--name", "bao", "--key", made["uri"])
    code, shown = run(*take)
    assert code == 0, shown
    code, shown = run("sign", drive, "--home", home, "--key", "bao")
    assert code == 0, shown
    check: list[str | Path] = [
        "openssl",
        "cms",
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-in",
        tmp_path / "drive.bin.p7s",
        "-content",
        drive,
    ]
    assert program([*check, "-CAfile", home / "ca.pem", "-purpose", "any", "-out", "/dev/null"])[0]
    assert run("verify", drive, "--trust", home / "trust.toml")[0] == 0
    code, shown = run("key", "list", "--token", server.engine)
    assert code == 0
    assert "release: service-held" in shown
    code, shown = run("key", "report", "--home", home, "--json")
    (row,) = [one for one in map(json.loads, shown.splitlines()) if one["name"] == "bao"]
    assert (row["declared"], row["checked"]) == ("service-held", "service-held")
    code, shown = run("doctor", "--token", server.engine)
    assert code == 2
    assert "sealwright key list" in shown
    server.configure("release", exportable=True)
    code, shown = run("sign", drive, "--home", home, "--key", "bao", "--replace")
    assert code == 1
    assert "exportable" in shown
    for text in (shown, (home / "home.toml").read_text()):
        assert server.token not in text


def test_a_rotated_key_signs_as_enrolled_and_its_new_version_only_once_it_is_enrolled(
    run: Run, server: Bao, tmp_path: Path
) -> None:
    home, drive = tmp_path / "home", tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    assert run("init", home)[0] == 0
    server.make("line")
    take = ("key", "import-certificate", "--own-authority", "--home", home, "--key")
    assert run(*take, server.uri("line"), "--name", "line-1")[0] == 0
    server.call("POST", "transit/keys/line/rotate")
    assert run("sign", drive, "--home", home, "--key", "line-1")[0] == 0
    assert run("sign", drive, "--home", home, "--key", "line-2", "--replace")[0] == 2
    assert run(*take, server.uri("line", 2), "--name", "line-2")[0] == 0
    assert run("sign", drive, "--home", home, "--key", "line-2", "--replace")[0] == 0
