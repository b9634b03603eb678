"""Who may read the log where it is not everybody's, and what an auditor is shown of it: pages, filters, and entries as they were hashed."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.service import ORIGIN, POLICY
from kit.signingservice import House, house, log_key, running

RULES = POLICY.replace(', Action::"read-log"', "") + (
    '@id("auditors-read-the-log") permit (principal in Role::"auditor", action == Action::"read-log", resource);\n'
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Jan is an auditor, the others are not. Three files are signed, two of them in one request."""
    made = house(tmp_path_factory.mktemp("house"), RULES)
    register = made.folder / "people.toml"
    text = register.read_text()
    register.write_text(
        text.replace('id = "jan"\ntenant = "acme"\nroles = [', 'id = "jan"\ntenant = "acme"\nroles = ["auditor", ')
    )
    with running(made):
        yield made


@pytest.fixture(scope="module")
def requests(service: House) -> list[str]:
    """Their ids."""
    certificate, key = service.identity("max")
    folder = service.folder / "files"
    folder.mkdir()
    for names in (["a.bin"], ["b.bin", "c.bin"]):
        for name in names:
            (folder / name).write_bytes(name.encode())
        words = ["sign", *(str(folder / name) for name in names), "--product", "drive", "--environment", "development"]
        who = ["--service", service.address, "--service-ca", str(service.folder / "servers.pem")]
        who += ["--client", str(certificate), "--client-key", str(key)]
        subprocess.run([sys.executable, "-m", "sealwright", *words, *who], check=True, capture_output=True, timeout=60)
    found = [one["id"] for one in ask(service, "max", "/v1/requests?state=signed")[1]["requests"]]
    assert len(found) == 2
    return found


def ask(service: House, name: str | None, path: str) -> tuple[int, Any]:
    certificate, key = service.identity(name) if name else (None, None)
    who = ["--cert", str(certificate), "--key", str(key)] if name else []
    done = subprocess.run(
        ["curl", "-sS", "--cacert", service.folder / "servers.pem", *who, "-w", "\n%{http_code}", service.address + path],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    body, _, status = done.stdout.decode("utf-8", "replace").rpartition("\n")
    return int(status), json.loads(body) if body.startswith("{") else body


def entries(service: House, query: str) -> list[dict[str, Any]]:
    """Of all pages."""
    found: list[dict[str, Any]] = []
    after = -1
    while after is not None:
        status, page = ask(service, "jan", f"/v1/audit/entries?after={after}&{query}")
        assert status == 200, page
        found += page["entries"]
        after = page["next"]
    return found


def types(service: House, query: str) -> list[str]:
    return [json.loads(one["entry"])["type"] for one in entries(service, query)]


def test_an_auditor_sees_every_entry_as_the_log_hashed_it(service: House, requests: list[str]) -> None:
    found = entries(service, "count=2")
    size = ask(service, "jan", "/v1/audit/entries")[1]["size"]
    assert [one["number"] for one in found] == list(range(size))
    for one in found:
        assert hashlib.sha256(b"\x00" + one["entry"].encode()).hexdigest() == one["leaf"]
    assert types(service, "") == types(service, "count=1")
    assert "start" in types(service, "")
    assert types(service, "type=signature") == ["signature"] * 3
    assert types(service, "type=nothing") == []


def test_a_request_is_shown_whole_and_with_its_signatures_alone(service: House, requests: list[str]) -> None:
    kinds = [types(service, f"request={id_}") for id_ in requests]
    assert sorted(one.count("signature") for one in kinds) == [1, 2]
    for id_, one in zip(requests, kinds, strict=True):
        assert one.count("request") == one.count("used") == 1
        status, made = ask(service, "max", f"/v1/requests/{id_}/signatures")
        digests = sorted(
            "sha256:" + hashlib.sha256(base64.b64decode(each["value"])).hexdigest() for each in made["signatures"]
        )
        shown = [json.loads(each["entry"]) for each in entries(service, f"request={id_}&type=signature")]
        assert (status, sorted(each["signature"] for each in shown)) == (200, digests)
    assert types(service, "request=" + "0" * 64) == []


def test_times_are_those_of_the_entry_or_of_the_one_before(service: House, requests: list[str]) -> None:
    everything = entries(service, "")
    assert entries(service, "since=2001-01-01T00:00:00Z") == everything
    assert entries(service, "until=2001-01-01T00:00:00Z") == []
    assert entries(service, "since=2999-01-01T00:00:00Z") == []
    assert entries(service, "until=2999-01-01T00:00:00Z") == everything
    for wrong in ("since=yesterday", "after=-2", "after=x", "count=0", "count=257", "type=" + "x" * 50):
        status, problem = ask(service, "jan", f"/v1/audit/entries?{wrong}")
        assert (status, problem["code"]) == (400, "SW-USAGE"), wrong
    status, page = ask(service, "jan", "/v1/audit/entries?after=4000000000")
    assert (status, page["entries"], page["next"]) == (200, [], None)


def test_who_may_not_read_the_log_hears_that_it_is_not_there(service: House, requests: list[str]) -> None:
    for path in ("/v1/audit/entries", "/log/checkpoint", "/log/tile/entries/000.p/1", "/log/tile/0/000.p/1"):
        assert ask(service, "jan", path)[0] == 200, path
        for name in ("max", "eva", "stranger"):
            status, problem = ask(service, name, path)
            assert (status, problem["detail"]) == (404, "Not Found"), (name, path)
        assert ask(service, None, path)[0] == 401


def test_a_monitor_reads_it_with_an_auditors_certificate(service: House, requests: list[str], tmp_path: Path) -> None:
    certificate, key = service.identity("jan")
    note = ask(service, "jan", "/log/checkpoint")[1]
    command = [
        sys.executable,
        "-m",
        "sealwright",
        "log",
        "monitor",
        f"{service.address}/log",
        "--state",
        tmp_path / "state",
    ]
    web = ["--ca", service.folder / "servers.pem", "--client", certificate, "--client-key", key]
    log = ["--log-key", log_key(service)]
    assert note.startswith(ORIGIN)
    done = subprocess.run([*command, *log, *web], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command, *log, *web[:2]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
