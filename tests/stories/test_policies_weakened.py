"""Somebody wants production signed without a second pair of eyes: refused while it runs and at the start, until two officers have signed it."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from kit.openssl import cms_verify
from kit.service import wanted
from kit.signingservice import House, house, running

ASKING = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"read", Action::"approve"], resource);
"""
STRICT = (
    ASKING + '@id("sign") permit (principal, action == Action::"sign", resource) when { context.approvals >= 2 };\n'
)
WEAK = ASKING + '@id("sign") permit (principal, action == Action::"sign", resource);\n'
OFFICERS = ("olga", "otto")
# what other programs take for a way around their rules, and ours might be thought to
TRICKS = {
    "SEALWRIGHT_FORCE": "1",
    "SEALWRIGHT_DEBUG": "1",
    "SEALWRIGHT_POLICIES": "policies",
    "SEALWRIGHT_SKIP_POLICY": "1",
    "SEALWRIGHT_FOUR_EYES": "off",
    "DEBUG": "1",
    "FORCE": "1",
    "LITESTAR_DEBUG": "1",
    "PYTHONOPTIMIZE": "2",
}


def command(*arguments: object, code: int = 0, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def asked(made: House, name: str) -> int:
    """The status with which Max is answered who asks for a signature for production: 201 signed, 202 it waits for others."""
    certificate, key = made.identity("max")
    body = {"key": "release", "items": [{"line": wanted([name], "production")[0].line.decode()}], "wait_s": 60}
    asking = [
        "curl", "-sS", "--cacert", made.folder / "servers.pem", "--cert", certificate, "--key", key, "-o", os.devnull,
        "-w", "%{http_code}", "-H", "content-type: application/json", "-d", json.dumps(body), made.address + "/v1/requests",
    ]  # fmt: skip
    return int(subprocess.run(asking, capture_output=True, text=True, timeout=120, check=True).stdout)


def health(made: House) -> dict[str, object]:
    asked = ["curl", "-sS", "--cacert", made.folder / "servers.pem", made.address + "/health"]
    found = json.loads(subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert isinstance(found, dict)
    return found


def reloaded(made: House, problems: int) -> list[str]:
    """Tell the service to read its policies again, and wait until /health has so many problems."""
    os.kill(made.process, signal.SIGHUP)
    for _ in range(600):
        found = health(made)
        assert found["status"] == "ok"
        told = found["problems"]
        assert isinstance(told, list)
        if len(told) == problems:
            return told
        time.sleep(0.1)
    raise AssertionError(told)


def logged(made: House) -> list[dict[str, object]]:
    """What the service told its operator about policies."""
    lines = map(json.loads, (made.folder / "service.log").read_text().splitlines())
    return [one for one in lines if str(one.get("event")).startswith("policies")]


def test_weaker_policies_count_when_two_officers_have_signed_them_and_not_before(tmp_path: Path) -> None:
    made = house(tmp_path / "house", STRICT, OFFICERS)
    rules = made.folder / "policies" / "rules.cedar"
    with running(made):
        assert asked(made, "waits") == 202
        shutil.copytree(made.folder / "policies", tmp_path / "former")
        rules.write_text(WEAK)
        (problem,) = reloaded(made, 1)
        assert "those in the folder do not count (SW-POLICY-CHANGE); edition 1 (sha256:" in problem
        assert str(tmp_path) not in problem
        assert asked(made, "waits still") == 202

        check = ("serve", "signing", made.configuration, "--check")
        told = command(*check, code=1)
        assert told == command(*check, code=1, environment=TRICKS)
        for option in ("--force", "--debug", "--yes", "--no-policy"):
            assert option in command(*check, option, code=2)

        (printed,) = re.findall(r"have these approved: sealwright (policy change .*--out \S+?)\.?\n", told)
        assert printed in str(logged(made)[-1]["why"])
        words = {"FORMER": str(tmp_path / "former"), "ID": "max"}
        shown = command(*(words.get(word, word) for word in shlex.split(printed)))
        assert "WEAKER: " in shown
        change = made.folder / "policies.changes" / "2.change"
        about = (change, made.folder / "policies", "--previous", tmp_path / "former")
        assert "2.change" in shown
        command("policy", "approve", *about, "--home", made.folder / "olga-home", "--person", "olga", code=1)
        assert not list(change.parent.glob("*.p7s"))  # nobody typed yes
        olga = command("policy", "approve", *about, "--home", made.folder / "olga-home", "--person", "olga", "--yes")
        assert (
            f"edition 2 for the service acme-signing and its log {'log.acme.example/signing'}, asked for by max" in olga
        )
        assert "WEAKER: " in olga
        assert cms_verify(change.with_name("2.olga.p7s"), change, made.folder / "olga-home" / "ca.pem")[0]
        assert "needs 2 distinct persons beside max, 2 of them officers" in command(*check, code=1)
        (problem,) = reloaded(made, 1)
        command("policy", "approve", *about, "--home", made.folder / "otto-home", "--person", "otto", "--yes")
        assert "edition 2, " in (ready := command(*check))
        assert "NEW, approved by olga, otto" in ready  # looking changes nothing
        assert asked(made, "waits still") == 202
        reloaded(made, 0)
        assert (logged(made)[-1]["edition"], logged(made)[-1]["how"]) == (2, "approved")
        assert asked(made, "signed") == 201
    assert "edition 2, " in (again := command(*check))
    assert "as the log says" in again
    command("log", "export", "--database", f"sqlite:///{made.folder}/service.db", "--out", tmp_path / "export", "--csv", tmp_path / "log.csv")  # fmt: skip
    with (tmp_path / "log.csv").open(newline="") as table:
        first, second = (row for row in csv.DictReader(table) if row["type"] == "policy")
    assert second["previous"] == first["policy"]
    assert second["change"] == "sha256:" + hashlib.sha256(change.read_bytes()).hexdigest()
    assert hashlib.sha256(change.with_name("2.otto.p7s").read_bytes()).hexdigest() in second["approvals"]
    backup = ("service", "backup", made.configuration)
    assert "was approved" not in command(*backup, tmp_path / "backup")
    kept = tmp_path / "backup" / "policies.changes"
    assert sorted(one.name for one in kept.iterdir()) == ["2.change", "2.olga.p7s", "2.otto.p7s"]
    assert cms_verify(kept / "2.olga.p7s", kept / "2.change", made.folder / "olga-home" / "ca.pem")[0]
    check_it = ("service", "restore", tmp_path / "backup", made.configuration, "--check")
    assert "2.change" not in command(*check_it)
    moved = change.rename(tmp_path / "2.change")  # as on a disk that is lost
    assert "policies.changes/2.change is another one" in command(*check_it)
    assert "edition 2 of the policies was approved" in command(*backup, tmp_path / "without")
    assert json.loads(command(*backup, tmp_path / "again", "--json"))["missing_changes"] == [2]
    shutil.copy(kept / "2.change", change)
    assert change.read_bytes() == moved.read_bytes()
    (kept / "2.change").write_bytes(moved.read_bytes().replace(b"acme", b"acne", 1))
    assert "2.change was changed" in command(*check_it, code=1)


def test_an_officer_approves_only_the_folders_that_they_looked_at(tmp_path: Path) -> None:
    made = house(tmp_path / "house", STRICT, OFFICERS)
    (tmp_path / "former").mkdir()
    (tmp_path / "former" / "rules.cedar").write_text(STRICT)
    folder = made.folder / "policies"
    words = ("--service-id", "acme-signing", "--origin", "log.acme.example/signing", "--requester", "max")
    making = ("policy", "change", folder, "--previous", tmp_path / "former", *words, "--out", tmp_path / "changes")
    assert "needs nobody's approval" in command(*making, "--edition", "2")
    assert not (tmp_path / "changes").exists()
    (folder / "rules.cedar").write_text(WEAK)
    table = tmp_path / "cases.csv"
    table.write_text(
        "who,roles,action,environment,approvals,expected\nanna,requester,sign,production,1,refused\nanna,requester,request,,0,allowed\n"
    )
    command(*making, "--edition", "1", code=2)
    command(*making, "--edition", "2", "--days", "31", code=2)
    shown = command(*making, "--edition", "2", "--table", table)
    assert "anna sign environment=production approvals=1: REFUSED (approvals: 2), now ALLOWED (approvals: 0)" in shown
    assert "anna request" not in shown
    command(*making, "--edition", "2", code=1)  # one is there, and somebody may have signed it
    change = tmp_path / "changes" / "2.change"
    olga = ("--home", made.folder / "olga-home", "--person", "olga", "--yes")
    former = ("--previous", tmp_path / "former")
    assert "it is about sha256:" in command("policy", "approve", change, tmp_path / "former", *former, *olga, code=1)
    assert "it is about sha256:" in command("policy", "approve", change, folder, "--previous", folder, *olga, code=1)
    by_max = ("--home", made.folder / "olga-home", "--person", "max", "--yes")
    assert "nobody approves that" in command("policy", "approve", change, folder, *former, *by_max, code=1)
    told = json.loads(command("policy", "approve", change, folder, *former, *olga, "--json"))
    assert (told["direction"], told["approval"]) == ("weaker", str(tmp_path / "changes" / "2.olga.p7s"))
