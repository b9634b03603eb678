"""What happens around a signing service: its disk fills up, its clock jumps, and somebody asks whether it can start at all."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from kit.doors import ask_body, events, eventually, get, post, told
from kit.service import ORIGIN
from kit.signingservice import House, house, running
from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType
from sealwright.log.note import verifier_key
from sealwright.signing.home import KeyPurpose

SMALL = "3m"


def command(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def sign(service: House, name: str) -> int:
    return told(service, "max", post("/v1/requests", ask_body(name, environment="development"))).status


def check_log(service: House, database: str, folder: Path, answered: int) -> None:
    """The log is in order, and every signature that was answered is in it."""
    enrolled = service.home.key("log", KeyPurpose.LOG, CHECKPOINT)
    key = str(verifier_key(ORIGIN, NoteType.LOG, enrolled.public_key))
    command("log", "export", "--database", database, "--out", folder / "export")
    said = json.loads(command("log", "check", folder / "export", "--log-key", key, "--json"))
    assert said["alarms"] == 0
    assert said["signatures"] == answered


def test_on_a_full_disk_nothing_is_signed_it_is_told_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    made = house(tmp_path / "house")
    small = made.folder / "small"
    small.mkdir(mode=0o700)
    made.configuration.write_text(made.configuration.read_text().replace("///service.db", "///small/service.db"))
    mount = f"mount -t tmpfs -o mode=700,size={SMALL} none '{small}' && exec \"$@\""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    with running(made, around=["unshare", *own, "--mount", "sh", "-c", mount, "sh"]):
        inside = Path(f"/proc/{made.process}/root{small}")
        assert sign(made, "before") == 201
        with (inside / "fill").open("wb", buffering=0) as fill, suppress(OSError):
            while True:
                fill.write(b"x" * 4096)
        answered = 1
        refusals = []
        for number in range(30):  # what is free in the log beside the database may last for some
            answer = told(made, "max", post("/v1/requests", ask_body(f"full {number}", environment="development")))
            answered += answer.status == 201
            refusals += [answer] if answer.status != 201 else []
        assert refusals
        assert {one.status for one in refusals} <= {202, 503}
        assert any(one.status == 503 and b"retry-after" in one.head for one in refusals)
        assert told(made, "max", get("/v1/keys")).status == 200, "reading goes on"
        said = [line for line in events(made) if line.get("event") == "failed"]
        assert any("full" in str(line["why"]) for line in said)
        (inside / "fill").unlink()
        assert eventually(lambda: sign(made, "after") == 201 or None)
        answered += 1
        assert told(made, None, get("/health")).status == 200
        enter = [
            "nsenter",
            "-t",
            str(made.process),
            "--mount",
            *([] if own == [] else ["-U", "--preserve-credentials"]),
        ]
        backup = ["service", "backup", str(made.configuration), str(tmp_path / "backup")]
        subprocess.run(
            [*enter, sys.executable, "-m", "sealwright", *backup], check=True, capture_output=True, timeout=60
        )
    restored = made.folder / "restored.toml"
    restored.write_text(made.configuration.read_text().replace("small/service.db", "restored.db"))
    command("service", "restore", tmp_path / "backup", restored)
    check_log(made, f"sqlite:///{made.folder}/restored.db", tmp_path, answered)


(LIBRARY,) = map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))  # of this machine's architecture


def test_a_clock_that_jumps_signs_nothing_that_it_should_not_and_the_log_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lists are good for a day: a clock beyond that lets nobody in, and none is let in by what ended."""
    made = house(tmp_path / "house")
    offset = tmp_path / "offset"

    def jump(by: timedelta) -> None:
        new = offset.with_suffix(".new")
        new.write_text(f"{int(by.total_seconds()):+d}")
        new.replace(offset)

    jump(timedelta(0))
    settings = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    around = ["env", *(f"{name}={value}" for name, value in settings.items()), "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    answered = 0
    with running(made, around=around):
        waits = told(made, "max", post("/v1/requests", ask_body("waits", valid_s=3600)))
        path = f"/v1/requests/{waits.json['id']}"
        for minutes in (0, 30, -30, 0):
            jump(timedelta(minutes=minutes))
            assert eventually(lambda: sign(made, "again and again") == 201 or None)
            answered += 1
        assert told(made, "max", get(path)).json["state"] == "waiting"
        jump(timedelta(hours=2))
        assert eventually(lambda: swept(made) or None)
        jump(timedelta(days=3))
        for _ in range(3):
            with suppress(OSError):
                assert told(made, "max", get("/v1/keys")).status in (0, 401)
        jump(timedelta(0))
        assert eventually(lambda: served(made) or None)
        assert sign(made, "at last") == 201
        answered += 1
        assert told(made, "max", get(path)).json["state"] == "expired", "what has ended does not come back"
    check_log(made, f"sqlite:///{made.folder}/service.db", tmp_path, answered)


def swept(made: House) -> bool:
    """Whether the end of a request is in the database, which the service looks after every few seconds."""
    with closing(sqlite3.connect(made.folder / "service.db")) as database:
        return database.execute("SELECT count(*) FROM requests WHERE state = 'expired'").fetchone() == (1,)


def served(made: House) -> bool:
    """Whether somebody gets in; a handshake may be refused."""
    try:
        return told(made, "max", get("/v1/keys")).status == 200
    except OSError:
        return False


def test_a_check_tells_everything_that_is_wrong_with_what_to_do_about_it(tmp_path: Path) -> None:
    made = house(tmp_path / "house")
    assert "checked" in command("serve", "signing", made.configuration, "--check")
    (made.folder / "people.toml").write_text("nonsense")
    (made.folder / "policies" / "rules.cedar").write_text("permit (principal, action, resource)")
    (made.folder / "ca.crl").unlink()
    (made.folder / "pin.txt").write_text("1234")
    text = made.configuration.read_text().replace('tenant = "acme"', 'tenant = "acme"\npin_file = "pin.txt"')
    made.configuration.write_text(text.replace('name = "release"', 'name = "nothing"'))
    (made.folder / "pin.txt").chmod(0o644)
    said = command("serve", "signing", made.configuration, "--check", code=2)
    lines = [one for one in said.splitlines() if one.startswith("sealwright: ")]
    assert len(lines) == 5
    for name in ("people.toml", "rules.cedar", "ca.crl", "nothing", "chmod 600"):
        assert any(name in one for one in lines), name
    as_json = command("serve", "signing", made.configuration, "--check", "--json", code=2)
    objects = [json.loads(one) for one in as_json.splitlines() if one.startswith("{")]
    assert len(objects) == 5
    assert all(one["error"]["next_step"] if "error" in one else one["next_step"] for one in objects)
