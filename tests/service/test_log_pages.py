"""The log's files over HTTP: every tile and bundle of any size that the log had, caching, compression, and what is not there."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.asgi import Said, ask, serving
from kit.service import World, public_log, world
from kit.writtenlogs import signature_entry
from sealwright.findings import Severity
from sealwright.log.audit import Audit
from sealwright.log.checkpoint import read_checkpoint
from sealwright.log.export import export_log
from sealwright.log.prove import proof_from
from sealwright.log.source import Got, UrlSource
from sealwright.log.tiles import tiles_of

SIZE = 1000


@dataclass
class Published:
    """A log on a port."""

    world: World
    port: int

    def get(self, path: str, **headers: str) -> Said:
        """One file of it."""
        return ask(
            self.port, "GET", f"/log/{path}", headers={key.replace("_", "-"): one for key, one in headers.items()}
        )


@contextmanager
def publishing(folder: Path) -> Iterator[Published]:
    made = world(folder)
    made.writer.append([signature_entry(at).encoded() for at in range(SIZE)]).result()
    with serving(public_log(made)) as port:
        yield Published(made, port)
    made.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    with publishing(tmp_path_factory.mktemp("world")) as one:
        yield one


def source(published: Published) -> UrlSource:
    connection = http.client.HTTPConnection("127.0.0.1", published.port, timeout=20)

    def get(url: str, limit: int) -> Got:
        connection.request("GET", "/" + url.split("/", 3)[3])
        answer = connection.getresponse()
        return Got(answer.status, answer.read(limit + 1))

    return UrlSource(f"http://127.0.0.1:{published.port}/log", get)


def test_every_file_is_that_of_an_export_and_the_whole_is_audited(published: Published, tmp_path: Path) -> None:
    export_log(published.world.writer.reader, str(tmp_path))
    names = ["checkpoint", *(one.path for one in tiles_of(SIZE))]
    assert len(names) == 10
    for name in names:
        said = published.get(name)
        assert (said.status, said.body) == (200, (tmp_path / name).read_bytes()), name
    audit = Audit(source(published), [published.world.writer.key])
    assert [one for one in audit.findings() if one.severity is Severity.REJECT] == []
    assert (audit.entries, audit.signatures) == (SIZE, SIZE)
    assert proof_from(source(published), 7) == published.world.writer.proof(7)


def test_a_client_with_an_older_checkpoint_finds_the_tiles_of_its_size(published: Published) -> None:
    full = published.get("tile/0/000").body
    for width in (1, 100, 255):
        assert published.get(f"tile/0/000.p/{width}").body == full[: 32 * width]
    assert published.get("tile/entries/003.p/232").status == 200
    assert published.get("tile/entries/003.p/231").status == 200
    for later in (
        "tile/entries/003.p/233",
        "tile/0/003",
        "tile/0/004.p/1",
        "tile/1/000",
        "tile/1/000.p/4",
        "tile/2/000.p/1",
    ):
        assert published.get(later).status == 404, later


def test_tiles_may_be_kept_for_ever_and_the_checkpoint_for_seconds(published: Published) -> None:
    tile, checkpoint = published.get("tile/0/001"), published.get("checkpoint")
    assert tile.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert checkpoint.headers["cache-control"] == "public, max-age=5"
    assert checkpoint.headers["content-type"].startswith("text/plain")
    for path, said in (("tile/0/001", tile), ("checkpoint", checkpoint)):
        again = published.get(path, if_none_match=said.headers["etag"])
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", said.headers["etag"])
        assert again.headers["cache-control"] == said.headers["cache-control"]
        assert published.get(path, if_none_match=f'"other", W/{said.headers["etag"]}').status == 304
        assert published.get(path, if_none_match='"other"').status == 200


def test_bundles_are_compressed_for_who_asks_for_it_and_tiles_never(published: Published) -> None:
    plain = published.get("tile/entries/001")
    assert "content-encoding" not in plain.headers
    for said in ("gzip", "br;q=1, gzip;q=0.5", "GZIP"):
        packed = published.get("tile/entries/001", accept_encoding=said)
        assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
        assert gzip.decompress(packed.body) == plain.body
        assert len(packed.body) < len(plain.body) / 2
        assert packed.headers["etag"] != plain.headers["etag"]
    for said in ("identity", "gzip;q=0", "gzip; q=0.0", "*", "xgzip"):
        assert published.get("tile/entries/001", accept_encoding=said).body == plain.body
    assert "content-encoding" not in published.get("tile/0/001", accept_encoding="gzip").headers


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/", "tile/0", "tile/0/0", "tile/0/0000", "tile/00/000", "tile/0/000/", "tile/0//000", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/x000/000", "tile/-1/000", "tile/64/000", "tile/data/000",
        "tile/0%2f000", "tile/0/%30%300", "tile/0/../0/000", "tile/entries/000%00", "checkpoint/", "Checkpoint", "../health/x",
        "tile/0/" + "x000/" * 400 + "000", "tile/0/" + "x999/" * 20 + "999", "tile/0/%D9%A0%D9%A0%D9%A0",
    ],
)  # fmt: skip
def test_every_other_spelling_is_not_there(published: Published, path: str) -> None:
    assert published.get(path).status == 404


def test_nothing_but_reading_is_there(published: Published) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert ask(published.port, method, "/log/checkpoint", b"").status == 405
        assert ask(published.port, method, "/log/tile/0/000", b"").status == 405


def test_a_log_that_grows_shows_it_at_once(tmp_path: Path) -> None:
    with publishing(tmp_path) as published:
        assert published.get("tile/entries/003").status == 404
        published.world.writer.append([signature_entry(at).encoded() for at in range(5000, 5100)]).result()
        assert read_checkpoint(published.get("checkpoint").body.decode(), "").size == SIZE + 100
        assert published.get("tile/entries/003").status == 200
        assert published.get("tile/entries/003.p/232").status == 200  # of the older size
