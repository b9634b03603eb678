"""The files that a plant starts the service with: units that systemd itself reads and rates, a container file, and what systemd is told."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from kit.doors import get, told
from kit.signingservice import house, running
from sealwright.cli.main import COMMANDS, parser_of
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.pin import credential_path, placed_pin

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ("sealwright-signing.service", "sealwright-backup.service")
MOST_EXPOSED = 15  # tenths, of 100


def readable(name: str, folder: Path) -> Path:
    """A unit whose program is one that is on this machine, since systemd looks for it."""
    path = folder / name
    path.write_text((DEPLOY / name).read_text().replace("/opt/sealwright/bin/sealwright", "/bin/true"))
    return path


def test_systemd_reads_every_unit_without_a_remark(tmp_path: Path) -> None:
    paths = [readable(one.name, tmp_path) for one in DEPLOY.iterdir() if one.suffix in (".service", ".timer")]
    assert len(paths) == 4
    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    text = paths[0].read_text()
    paths[0].write_text(text + "\n[Service]\nProtectEverything=yes\n")
    done = subprocess.run(
        ["systemd-analyze", "verify", paths[0]], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ProtectEverything" in done.stderr


@pytest.mark.parametrize("name", UNITS)
def test_systemd_rates_the_exposure_of_a_unit_as_low_as_the_page_says(tmp_path: Path, name: str) -> None:
    path = readable(name, tmp_path)
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    score = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score is not None
    assert f"`{name}` {score[1]}" in (ROOT / "docs" / "operating.md").read_text()
    path.write_text(path.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode != 0


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_a_command_that_there_is(name: str) -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", (DEPLOY / name).read_text(), re.MULTILINE)
    _, _, words = start.partition("/opt/sealwright/bin/sealwright ")
    parser_of(COMMANDS).parse_args(shlex.split(words.rstrip("'")))


def test_the_container_runs_as_nobody_special_and_holds_no_secret() -> None:
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    words = [line.split(" ", 1)[0] for line in lines]
    known = {"FROM", "RUN", "COPY", "VOLUME", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
    assert set(words) <= known, "nothing is fetched by ADD, nothing is left in an ARG"
    last = lines[len(words) - 1 - words[::-1].index("FROM") :]
    assert [line for line in last if line.startswith("USER")] == ["USER 10001"]
    assert not [line for line in last if line.startswith("RUN") and lines.index(line) > lines.index("USER 10001")]
    assert all(
        "--require-hashes" in line for line in lines if " -r " in line for line in line.split("&&") if " -r " in line
    )
    assert not re.search(r"(?i)pin=|password|secret|token", text)
    command = re.search(r'CMD \["(.*)"\]', text)
    assert command is not None
    parser_of(COMMANDS).parse_args(command[1].split('", "'))


def test_systemd_is_told_when_the_service_is_ready_alive_and_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house(tmp_path / "house")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        said: list[bytes] = []
        with running(made):
            while said.count(b"WATCHDOG=1") < 5 or b"READY=1" not in said:
                said.append(line.recv(4096))
            assert told(made, "max", get("/v1/keys")).status == 200
        while said[-1] != b"STOPPING=1":
            said.append(line.recv(4096))
    assert set(said) == {b"READY=1", b"WATCHDOG=1", b"STOPPING=1"}
    assert said.count(b"READY=1") == 1


def test_a_key_that_systemd_hands_over_is_read_and_the_unit_must_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house(tmp_path / "house")
    credentials = tmp_path / "credentials"
    credentials.mkdir(mode=0o700)
    shutil.move(made.folder / "server.key", credentials / "tls-key")
    (credentials / "tls-key").chmod(0o440)
    made.configuration.write_text(made.configuration.read_text().replace("server.key", "credential:tls-key"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    with running(made):
        assert told(made, "max", get("/v1/keys")).status == 200
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(UsageError, match="gave this process no credentials"):
        credential_path("credential:tls-key")


def test_a_pin_is_a_file_of_its_owner_or_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = tmp_path / "release-pin"
    pin.write_text("471147\n")
    pin.chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert placed_pin("credential:release-pin").reveal() == "471147"
    with pytest.raises(KeyRefused, match="other users can read"):
        placed_pin(str(pin))
    pin.chmod(0o400)
    assert placed_pin(str(pin)).reveal() == "471147"
    for name in ("", "../release-pin", "a/b", ".hidden", "/etc/passwd"):
        with pytest.raises(UsageError, match="no name of a credential"):
            placed_pin(f"credential:{name}")
