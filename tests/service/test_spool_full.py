"""A spool without room, on a disk that is really full and by the bound of its own: told with cause and next step, and free again afterwards."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kit.doors import Told, events, eventually, line, post, told
from kit.signingservice import House, house, running
from kit.waiting import command
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.formats.registry import manifest
from sealwright.signing.items import item_of

POLICY = """
@id("all") permit (principal, action in [Action::"request", Action::"read", Action::"prepare"], resource);
@id("uploaded") permit (principal, action == Action::"sign", resource) when { context.uploaded };
"""
MIB = 1 << 20
SMALL = 3 * MIB  # of the disk, where the service itself would take 6


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Its spool is a small disk of its own."""
    made = house(tmp_path_factory.mktemp("full") / "house", POLICY)
    with made.configuration.open("a") as file:
        file.write('[upload]\nspool = "spool"\nlargest_mib = 4\ntogether_mib = 6\n')
    spool = made.folder / "spool"
    spool.mkdir(mode=0o700)
    mount = f"mount -t tmpfs -o mode=700,size={SMALL} none '{spool}' && exec \"$@\""
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    with running(made, around=["unshare", *own, "--mount", "sh", "-c", mount, "sh"]):
        yield made


def spooled(made: House) -> list[str]:
    return os.listdir(f"/proc/{made.process}/root{made.folder}/spool")


def asked(made: House, folder: Path, data: bytes) -> str:
    path = folder / "door.bin"
    path.write_bytes(data)
    item = item_of(manifest().prepare(str(path), (HashName.SHA256,), Claims(product="door"), None))
    items = [{"line": item.line.decode(), "content": base64.b64encode(item.content or b"").decode()}]
    return str(
        told(made, "max", post("/v1/requests", json.dumps({"key": "release", "items": items}).encode())).json["id"]
    )


def head(id_: str, data: bytes) -> bytes:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return (
        f"PUT /v1/requests/{id_}/files/0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        f"Content-Digest: sha-256=:{digest}:\r\n\r\n"
    ).encode()


def check_full(answer: Told, cause: str) -> None:
    """What there is no room for is told so, and when to come again."""
    assert (answer.status, answer.json["code"]) == (503, "SW-SPOOL-FULL")
    assert cause in answer.json["detail"]
    assert answer.json["next_step"] == "Upload it again in a moment."
    assert b"retry-after" in answer.head.lower()


def test_a_file_for_which_the_disk_has_no_room_is_refused_and_the_next_smaller_one_taken(
    service: House, tmp_path: Path
) -> None:
    large, small = os.urandom(4 * MIB), os.urandom(2 * MIB)
    id_ = asked(service, tmp_path, large)
    check_full(told(service, "max", head(id_, large), large), "its disk is full")
    assert spooled(service) == []
    assert any("its disk is full" in str(one.get("why")) for one in events(service)), "its operator is told"
    id_ = asked(service, tmp_path, small)
    assert told(service, "max", head(id_, small), small).status == 201
    assert spooled(service) == []


def test_what_fills_the_disk_besides_is_told_and_the_same_file_taken_when_it_is_gone(
    service: House, tmp_path: Path
) -> None:
    data = os.urandom(MIB)
    id_ = asked(service, tmp_path, data)
    fill = Path(f"/proc/{service.process}/root{service.folder}/spool/fill")
    with fill.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    check_full(told(service, "max", head(id_, data), data), "its disk is full")
    assert spooled(service) == ["fill"]
    fill.unlink()
    assert told(service, "max", head(id_, data), data).status == 201


def test_files_of_two_people_that_are_too_much_together_come_one_after_the_other(
    service: House, tmp_path: Path
) -> None:
    first, second = os.urandom(4 * MIB), os.urandom(3 * MIB - 2 * 65536)
    one, other = asked(service, tmp_path, first), asked(service, tmp_path, second)
    with line(service, "max") as slow:
        slow.sendall(head(one, first) + first[:4096])  # keeps 4 of 6 MiB, though so little has come
        eventually(lambda: spooled(service) or None)
        check_full(told(service, "eva", head(other, second), second), "other files fill it")
    eventually(lambda: None if spooled(service) else True)
    assert told(service, "eva", head(other, second), second).status == 201


def test_the_command_says_why_nothing_was_signed_and_signs_when_there_is_room(service: House, tmp_path: Path) -> None:
    path = tmp_path / "door.bin"
    path.write_bytes(os.urandom(4 * MIB))
    said = command(service, "max", "sign", path, "--product", "door", "--upload", code=1)
    assert "its disk is full (SW-SPOOL-FULL)" in said
    assert "Upload it again in a moment." in said
    assert not list(tmp_path.glob("*.p7s"))
    path.write_bytes(os.urandom(MIB))
    assert "signed" in command(service, "max", "sign", path, "--product", "door", "--upload")
