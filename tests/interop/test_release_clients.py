"""python-tuf's own client, as it comes, against our repository: from a folder, from nginx, from an object store; good and three times bad."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from tuf.api.exceptions import DownloadError, LengthOrHashMismatchError, RepositoryError, UnsignedMetadataError
from tuf.ngclient import Updater

from kit.bucket import bucket
from kit.nginx import nginx
from kit.repository import Folder, client, fetched, home_in, make_home, now, published, repository
from sealwright.release.beginning import renew
from sealwright.release.staging import Staging
from sealwright.signing.home import Home

FIRMWARE = "drives/vx-200/1.4.2/application/fw.bin"
PLACES = ["folder", "nginx", "s3"]


@dataclass
class Place:
    """A published repository. updater: a new client of it; read, write: a published file."""

    staging: Staging
    home: Home
    root: bytes
    updater: Callable[[str], Updater]
    read: Callable[[str], bytes]
    write: Callable[[str, bytes], None]
    names: Callable[[], list[str]]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    home = home_in(tmp_path)
    if request.param == "s3":
        with bucket(monkeypatch) as (url, name):
            staging = repository(tmp_path, home, ("1.4.2", 7), storage=f"s3://{name}/plant?endpoint={url}")
            store = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
            where = {"Bucket": name}
            root = (tmp_path / "desk/metadata/1.root.json").read_bytes()
            yield Place(
                staging, home, root,
                lambda memory: client(tmp_path / memory, root, f"{url}/{name}/plant"),
                lambda key: store.get_object(Key=f"plant/{key}", **where)["Body"].read(),
                lambda key, data: store.put_object(Key=f"plant/{key}", Body=data, **where),
                lambda: [one["Key"].removeprefix("plant/") for one in store.list_objects_v2(**where)["Contents"]],
            )  # fmt: skip
        return
    staging = repository(tmp_path, home, ("1.4.2", 7))
    public = tmp_path / "desk/public"
    root = (public / "metadata/1.root.json").read_bytes()

    def names() -> list[str]:
        return [str(path.relative_to(public)) for path in public.rglob("*") if path.is_file()]

    def write(name: str, data: bytes) -> None:
        (public / name).write_bytes(data)

    def read(name: str) -> bytes:
        return (public / name).read_bytes()

    if request.param == "folder":
        new = lambda name: client(tmp_path / name, root, "folder:", Folder(public))  # noqa: E731
        yield Place(staging, home, root, new, read, write, names)
        return
    with nginx(public, tmp_path / "nginx") as url:
        served = lambda name: client(tmp_path / name, root, url)  # noqa: E731
        yield Place(staging, home, root, served, read, write, names)


def test_a_target_comes_as_it_was_released(place: Place) -> None:
    assert fetched(place.updater("client"), FIRMWARE) == b"firmware 1.4.2"


def test_an_altered_target_is_refused(place: Place) -> None:
    (name,) = [one for one in place.names() if one.endswith(".fw.bin")]
    place.write(name, b"firmware 6.6.6")
    with pytest.raises((LengthOrHashMismatchError, DownloadError)):
        fetched(place.updater("client"), FIRMWARE)


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.drives.json", "1.targets.json"])
def test_altered_metadata_is_refused(place: Place, name: str) -> None:
    good = place.read(f"metadata/{name}")
    value = json.loads(good)
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    place.write(f"metadata/{name}", json.dumps(value).encode())
    with pytest.raises((RepositoryError, DownloadError)):
        fetched(place.updater("client"), FIRMWARE)
    place.write(f"metadata/{name}", good)
    assert fetched(place.updater("second"), FIRMWARE) == b"firmware 1.4.2"


def test_metadata_of_other_keys_is_refused(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    theirs = repository(other, make_home(other / "home"), ("1.4.2", 7))
    assert theirs.published is not None
    place.write("metadata/timestamp.json", (other / "desk/public/metadata/timestamp.json").read_bytes())
    with pytest.raises(UnsignedMetadataError):
        fetched(place.updater("client"), FIRMWARE)


def test_a_client_follows_the_next_publication(place: Place) -> None:
    assert fetched(place.updater("client"), FIRMWARE) == b"firmware 1.4.2"
    renew(place.staging, ["root", "targets", "drives"], now())
    published(place.staging, place.home)
    updater = place.updater("client")
    assert fetched(updater, FIRMWARE) == b"firmware 1.4.2"
