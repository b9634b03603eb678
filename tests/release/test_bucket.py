"""An object store as the place of a repository: nothing gets other bytes, and of two who publish one is refused (moto)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.bucket import bucket
from sealwright.artifact.digest import Digest
from sealwright.errors import LimitExceeded, ReleaseRefused, RepositoryUnavailable, UsageError
from sealwright.release.bucket import BucketStorage, open_bucket
from sealwright.release.storage import POINTER, Added, open_storage


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketStorage]:
    with bucket(monkeypatch) as (url, name):
        yield open_bucket(f"s3://{name}/plant/a?endpoint={url}")


def staged(folder: Path, name: str, data: bytes) -> Added:
    path = folder / "file"
    path.write_bytes(data)
    return Added(f"targets/{name}", str(path), len(data), Digest.of(data))


def test_what_was_added_keeps_its_bytes(place: BucketStorage, tmp_path: Path) -> None:
    place.add([staged(tmp_path, "a+b", b"one")])
    place.add([staged(tmp_path, "a+b", b"one")])
    assert place.read("targets/a+b", 10) == b"one"
    for other in (b"two", b"longer"):
        with pytest.raises(ReleaseRefused, match="published with other bytes"):
            place.add([staged(tmp_path, "a+b", other)])
    assert place.read("targets/a+b", 10) == b"one"
    assert place.read("targets/none", 10) is None
    with pytest.raises(LimitExceeded):
        place.read("targets/a+b", 2)


def test_what_changes_before_or_while_it_is_sent_is_not_published(
    place: BucketStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = staged(tmp_path, "a", b"one")
    Path(one.path).write_bytes(b"two")
    with pytest.raises(ReleaseRefused, match="not staged any more"):
        place.add([one])
    assert place.read(one.name, 10) is None
    Path(one.path).write_bytes(b"one")
    real, sent = BucketStorage._put, []

    def put(self: BucketStorage, name: str, body: object, **condition: str) -> bool:
        sent.append(condition["ChecksumSHA256"])
        return real(self, name, body, **condition)

    monkeypatch.setattr(BucketStorage, "_put", put)
    place.add([one])
    assert place.read(one.name, 10) == b"one"
    assert sent == [b64encode(one.digest.value).decode()], "by which the store refuses what arrives otherwise"


def test_of_two_who_publish_one_is_refused(place: BucketStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    place.exchange(None, b"one")
    place.exchange(None, b"one")
    place.exchange(b"one", b"two")
    with pytest.raises(ReleaseRefused, match="not the one that was published from here last"):
        place.exchange(b"one", b"three")
    real = place._read

    def raced(name: str, limit: int) -> tuple[bytes | None, str]:
        found = real(name, limit)
        monkeypatch.undo()
        place.exchange(b"two", b"theirs")
        return found

    monkeypatch.setattr(BucketStorage, "_read", lambda _, *asked: raced(*asked))
    with pytest.raises(ReleaseRefused, match="not the one"):
        place.exchange(b"two", b"ours")
    assert place.read(POINTER, 10) == b"theirs"


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://B/x", "s3://user:secret@bucket/x", "s3://bucket/x#y", "s3://bucket/x?password=1", "ftp://host/x"],
)
def test_a_place_with_anything_else_in_it_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        open_storage(url, str(tmp_path))
    assert "secret" not in str(refused.value)


def test_a_store_that_is_not_there_or_forbids_is_told(place: BucketStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = open_bucket("s3://nothing-here/x?endpoint=http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(RepositoryUnavailable):
        gone.read(POINTER, 10)
    missing = BucketStorage(place._client, "no-such-bucket", "x")
    with pytest.raises(RepositoryUnavailable, match="the object store says"):
        missing.exchange(None, b"x")
