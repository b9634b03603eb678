"""A128: files uploaded to a signing service by people who lie about length and digest, pack them, stop, send without end, and attack its parsers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kit.doors import Told, eventually, hear, line, post, told
from kit.serving import memory_kib
from kit.signingservice import House, house, running
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.errors import UsageError
from sealwright.formats.registry import manifest
from sealwright.service.connections import Limits
from sealwright.service.spool import Spool, Uploading
from sealwright.signing.items import item_of

POLICY = """
@id("all") permit (principal, action in [Action::"request", Action::"read", Action::"prepare"], resource);
@id("uploaded") permit (principal, action == Action::"sign", resource) when { context.uploaded };
"""
LIMITS = Limits(request_s=20.0, octets_a_s=1_000_000, head_s=2.0, idle_s=30, stop_s=2)
SLOW = Limits(request_s=6.0, octets_a_s=1_000_000, head_s=1.0, idle_s=30, stop_s=2)
UPLOAD = '[upload]\nspool = "spool"\nlargest_mib = 4\ntogether_mib = 6\n'
MIB = 1 << 20
FILE = b"firmware" * 1000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("uploads") / "house", POLICY)
    with made.configuration.open("a") as file:
        file.write(UPLOAD)
    (made.folder / "spool").mkdir(mode=0o700)
    (made.folder / "spool" / "upload-left").mkdir()  # what a killed one left
    (made.folder / "spool" / "upload-left" / "drive.bin").write_bytes(b"left")
    with running(made, LIMITS):
        assert not spooled(made)
        yield made


def spooled(made: House) -> list[Path]:
    return list((made.folder / "spool").iterdir())


def asked(made: House, folder: Path, *contents: bytes) -> str:
    """A request of Max for files with those contents."""
    items = []
    for number, data in enumerate(contents):
        path = folder / f"drive-{number}.bin"
        path.write_bytes(data)
        item = item_of(manifest().prepare(str(path), (HashName.SHA256,), Claims(product="drive"), None))
        items.append({"line": item.line.decode(), "content": base64.b64encode(item.content or b"").decode()})
    answer = told(made, "max", post("/v1/requests", json.dumps({"key": "release", "items": items}).encode()))
    assert answer.status == 202, answer
    assert answer.json["needs_upload"]
    return str(answer.json["id"])


def head(id_: str, data: bytes, *more: str, number: int = 0, length: int | None = None, digest: str = "") -> bytes:
    """The head of an upload. digest: what is said of it, if not its own."""
    own = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    lines = [
        f"PUT /v1/requests/{id_}/files/{number} HTTP/1.1",
        "Host: localhost",
        *(more or ("Content-Type: application/octet-stream",)),
        f"Content-Length: {len(data) if length is None else length}",
        f"Content-Digest: {digest or own}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def uploaded(made: House, id_: str, data: bytes, *more: str, who: str = "max", **about: object) -> Told:
    return told(made, who, head(id_, data, *more, **about), data)  # type: ignore[arg-type]


def recorded(made: House, id_: str) -> list[str]:
    """The results that the log has of a request's files."""
    with closing(sqlite3.connect(made.folder / "service.db", timeout=30)) as database:
        found = [json.loads(row[0]) for row in database.execute("select entry from log_entries order by number")]
    return [f"{one['item']} {one['result']}" for one in found if one["type"] == "upload" and one["request"] == id_]


def test_files_that_are_the_same_are_signed_and_gone(service: House, tmp_path: Path) -> None:
    id_ = asked(service, tmp_path, FILE, b"second")
    other = uploaded(service, id_, FILE + b"!")
    assert (other.status, other.json["code"]) == (422, "SW-REQUEST-REFUSED")
    assert "drive-0.bin is sha256:" in other.json["detail"]
    first = uploaded(service, id_, FILE)
    assert (first.status, first.json["state"]) == (201, "waiting")
    assert uploaded(service, id_, b"second", number=1).json["state"] in ("signing", "signed")
    assert recorded(service, id_) == ["0 different", "0 same", "1 same"]
    assert not spooled(service)


@pytest.mark.parametrize(
    ("headers", "said", "status"),
    [
        (("Content-Type: application/octet-stream", "Content-Encoding: gzip"), "not compressed", 422),
        (("Content-Type: application/json",), "application/octet-stream", 422),
        (("Content-Type: multipart/form-data; boundary=b",), "", 415),
    ],
)
def test_a128_a_file_comes_as_it_is(
    service: House, tmp_path: Path, headers: Sequence[str], said: str, status: int
) -> None:
    id_ = asked(service, tmp_path, FILE)
    answer = uploaded(service, id_, gzip.compress(FILE), *headers)
    assert answer.status == status
    assert said in answer.json["detail"]
    assert recorded(service, id_) == []
    assert uploaded(service, id_, FILE).status == 201


@pytest.mark.parametrize(
    "digest",
    [
        f"sha-256=:{base64.b64encode(bytes(32)).decode()}:",
        "sha-256=:AAAA:",
        "md5=:AAAA:",
        f"sha-256=:{base64.b64encode(bytes(32)).decode()}:, sha-256=:{base64.b64encode(hashlib.sha256(FILE).digest()).decode()}:",
    ],
)
def test_a128_what_came_is_what_was_said_to_come(service: House, tmp_path: Path, digest: str) -> None:
    id_ = asked(service, tmp_path, FILE)
    answer = uploaded(service, id_, FILE, digest=digest)
    assert answer.status == 422
    assert "Content-Digest" in answer.json["detail"]
    assert recorded(service, id_) == []
    also = f"sha-512=:AAAA:, sha-256=:{base64.b64encode(hashlib.sha256(FILE).digest()).decode()}:"
    assert uploaded(service, id_, FILE, digest=also).status == 201
    assert not spooled(service)


def test_a128_a_file_without_a_length_or_too_large_is_not_read(service: House, tmp_path: Path) -> None:
    id_ = asked(service, tmp_path, FILE)
    endless = head(id_, FILE).replace(f"Content-Length: {len(FILE)}".encode(), b"Transfer-Encoding: chunked")
    answer = told(service, "max", endless, *([b"10000\r\n" + b"x" * 0x10000 + b"\r\n"] * 100))
    assert (answer.status, "how long" in answer.json["detail"]) == (422, True)
    before = memory_kib(service.process)
    large = uploaded(service, id_, bytes(2 * MIB), length=5 * MIB)
    assert large.status == 413
    assert memory_kib(service.process) < before + 16 * 1024
    assert uploaded(service, id_, FILE).status == 201


def test_a128_a_file_that_stops_or_ends_too_early_leaves_nothing(service: House, tmp_path: Path) -> None:
    id_ = asked(service, tmp_path, FILE)
    with line(service, "max") as secured:
        secured.sendall(head(id_, FILE) + FILE[:100])
        eventually(lambda: spooled(service) or None)
    eventually(lambda: None if spooled(service) else True)
    assert recorded(service, id_) == []
    assert uploaded(service, id_, FILE).status == 201


def test_a128_a_slow_file_is_cut(tmp_path: Path) -> None:
    made = house(tmp_path / "house", POLICY)
    with made.configuration.open("a") as file:
        file.write(UPLOAD)
    with running(made, SLOW):
        id_ = asked(made, tmp_path, FILE)
        with line(made, "max") as secured:
            secured.sendall(head(id_, FILE) + FILE[:100])
            assert hear(secured).status == 0
        eventually(lambda: None if spooled(made) else True)
        assert uploaded(made, id_, FILE).status == 201


def test_a121_a_file_for_what_is_not_theirs_is_not_read(service: House, tmp_path: Path) -> None:
    id_ = asked(service, tmp_path, FILE)
    assert uploaded(service, id_, FILE, who="stranger").status == 404
    assert uploaded(service, "0" * 64, FILE).status == 404
    assert uploaded(service, id_, FILE, number=7).status == 404
    with line(service) as secured:  # nobody
        secured.sendall(head(id_, FILE))
        assert hear(secured).status == 401
    assert uploaded(service, id_, FILE, who="eva").status == 201  # she may prepare


def test_a128_a_spool_is_of_one_service_and_bounded_together(tmp_path: Path) -> None:
    uploading = Uploading(str(tmp_path / "spool"), 4 * MIB, 6 * MIB)
    spool = Spool.open(uploading)
    with pytest.raises(UsageError, match="another service"):
        Spool.open(uploading)
    spool.close()
    Spool.open(uploading).close()
