"""What a channel offers, fetched from a repository that means no good: bounded, and nothing in it stands in for a plant's acceptance."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from kit.tufrepo import TufRepository
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import FileEntry, Manifest, Over, manifest_bytes
from sealwright.errors import MalformedArtifact, RepositoryRefused, RepositoryUnavailable, UsageError
from sealwright.release.channels import Channels, Named, Offer, channels_bytes, parse_channels
from sealwright.release.client import Client, fetch_first_root, open_client
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.release.layout import checked_part, product_path
from sealwright.release.offered import MAX_BESIDE_BYTES, MAX_MANIFEST_BYTES, Fetched, fetch_offered
from sealwright.signing.stamps import utc_now

PRODUCT = product_path("drives/vx-200")
DATA = b"application"
LARGE = 1 << 60


@pytest.fixture
def repo(tmp_path: Path) -> TufRepository:
    made = TufRepository(tmp_path / "repo", utc_now())
    files = (FileEntry(b"a.bin", Digest.of(DATA).value),)
    text = manifest_bytes(Manifest(HashName.SHA256, Over.TREE, Claims("VX-200 drive", "1.4.2", 7), files))
    offer = Offer("pilot", Named("1.4.2", 7, Digest.of(text)), 100, ())
    made.put(PRODUCT.channels, channels_bytes(Channels("VX-200 drive", 1, (offer,), ())))
    made.put(PRODUCT.manifest("1.4.2"), text)
    made.put(f"{PRODUCT.manifest('1.4.2')}.p7s", b"signature")
    made.put(PRODUCT.member("1.4.2", b"a.bin"), DATA)
    made.publish()
    return made


def offered(repo: TufRepository, tmp_path: Path) -> list[Fetched]:
    cache, fetcher = tmp_path / "cache", FolderFetcher(str(repo.folder))
    cache.mkdir(exist_ok=True)
    first = fetch_first_root(fetcher, METADATA)
    client: Client = open_client(first, repo.root_digest, str(cache), fetcher, (METADATA, TARGETS), utc_now())
    return list(fetch_offered(client, PRODUCT, "pilot", str(tmp_path / "into")))


@pytest.mark.parametrize(
    ("name", "limit", "error"),
    [
        ("1.4.2.manifest", MAX_MANIFEST_BYTES, RepositoryRefused),
        ("1.4.2.manifest.p7s", MAX_BESIDE_BYTES, RepositoryRefused),
        ("1.4.2/a.bin", LARGE - 1, RepositoryUnavailable),
    ],
)
def test_nothing_is_fetched_that_is_larger_than_it_may_be_or_than_there_is_room(
    repo: TufRepository, tmp_path: Path, name: str, limit: int, error: type[Exception]
) -> None:
    into = tmp_path / "into" / str(PRODUCT)
    good = repo.lines.targets[f"{PRODUCT}/{name}"]
    repo.lines.targets[f"{PRODUCT}/{name}"] = TargetFile(limit + 1, good.hashes, good.path)
    repo.publish()
    with pytest.raises(error, match=f"{limit + 1:,}"):
        offered(repo, tmp_path)
    assert not (into / "1.4.2").exists()
    repo.lines.targets[f"{PRODUCT}/{name}"] = good
    repo.publish()
    (one,) = offered(repo, tmp_path)
    assert (one.new, (into / "1.4.2/a.bin").read_bytes()) == (True, DATA)


def test_no_version_is_called_like_what_lies_beside_another_one() -> None:
    """The manifest of a version `1.4.2.plant` would be where the plant's acceptance of 1.4.2 is looked for."""
    digest = Digest.of(b"m")
    text = channels_bytes(Channels("VX-200 drive", 1, (Offer("pilot", Named("1.4.2-plant", 7, digest), 100, ()),), ()))
    assert parse_channels(text, "channels.json").offers
    for version in ("1.4.2.plant", "1.4.2.manifest", "1.4.2.manifest.p7s", "1.4.2.plant.manifest.p7s"):
        with pytest.raises(UsageError):
            checked_part(version, "version")
        with pytest.raises(MalformedArtifact):
            parse_channels(text.replace(b"1.4.2-plant", version.encode()), "channels.json")
