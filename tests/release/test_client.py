"""A repository in a folder, read from the root that a trust file names: good, and each of TUF's attacks refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from kit.tufrepo import TufRepository
from sealwright.artifact.digest import Digest
from sealwright.errors import RepositoryRefused, RepositoryStale, RepositoryUnavailable
from sealwright.release.channels import Channels, Named, Offer, channels_bytes
from sealwright.release.client import Client, check_versions, fetch_first_root, open_client
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.release.layout import product_path

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
PRODUCT = product_path("drives/vx-200")
CHANNELS = Channels("VX-200 drive", 1, (Offer("pilot", Named("1.4.2", 7, Digest.of(b"m")), 100, ()),), ())


@pytest.fixture
def repo(tmp_path: Path) -> TufRepository:
    made = TufRepository(tmp_path / "repo", NOW)
    made.put(PRODUCT.channels, channels_bytes(CHANNELS))
    made.put("drives/vx-200/1.4.2/app/a.bin", b"application")
    made.publish()
    return made


def client_of(repo: TufRepository, cache: Path, judged: datetime = NOW) -> Client:
    cache.mkdir(exist_ok=True)
    fetcher = FolderFetcher(str(repo.folder))
    first = fetch_first_root(fetcher, METADATA)
    return open_client(first, repo.root_digest, str(cache), fetcher, (METADATA, TARGETS), judged)


def test_channels_and_targets_are_read_and_their_bytes_are_checked(repo: TufRepository, tmp_path: Path) -> None:
    client = client_of(repo, tmp_path / "cache")
    assert client.channels(PRODUCT) == CHANNELS
    target = client.target("drives/vx-200/1.4.2/app/a.bin")
    assert target is not None
    client.download(target, str(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == b"application"
    assert client.target("drives/vx-200/9/none") is None
    with pytest.raises(RepositoryRefused, match="offers nothing"):
        client.channels(product_path("drives/other"))


def test_another_first_root_is_another_repository(repo: TufRepository, tmp_path: Path) -> None:
    client_of(repo, tmp_path / "cache")
    other = TufRepository(tmp_path / "other", NOW)
    with pytest.raises(RepositoryRefused, match="another repository"):
        open_client(
            other.first_root,
            repo.root_digest,
            str(tmp_path),
            FolderFetcher(str(other.folder)),
            (METADATA, TARGETS),
            NOW,
        )


def _altered_target(repo: TufRepository) -> None:
    (path,) = (repo.folder / "targets/drives/vx-200").glob("*.channels.json")
    path.write_bytes(path.read_bytes().replace(b"1.4.2", b"1.4.3"))


def _altered_metadata(repo: TufRepository) -> None:
    path = repo.folder / "metadata" / "1.drives.json"
    path.write_bytes(path.read_bytes().replace(b"vx-200/1.4.2", b"vx-200/1.4.3"))


def _wrong_key(repo: TufRepository) -> None:
    repo.signers["drives"] = CryptoSigner.generate_ecdsa()
    repo.publish()


def _endless(repo: TufRepository) -> None:
    (path,) = (repo.folder / "targets/drives/vx-200").glob("*.channels.json")
    path.write_bytes(path.read_bytes() + b"x" * 100_000)


def _mixed(repo: TufRepository) -> None:
    old = (repo.folder / "metadata" / "1.snapshot.json").read_bytes()
    repo.publish()
    (repo.folder / "metadata" / "2.snapshot.json").write_bytes(old)


@pytest.mark.parametrize("attack", [_altered_target, _altered_metadata, _wrong_key, _endless, _mixed])
def test_what_the_keys_did_not_sign_is_refused(
    repo: TufRepository, tmp_path: Path, attack: Callable[[TufRepository], None]
) -> None:
    assert client_of(repo, tmp_path / "before").channels(PRODUCT) == CHANNELS
    attack(repo)
    with pytest.raises(RepositoryRefused):
        client_of(repo, tmp_path / "after").channels(PRODUCT)


def test_expiry_is_judged_at_the_time_that_is_given(repo: TufRepository, tmp_path: Path) -> None:
    client_of(repo, tmp_path / "cache", NOW + timedelta(days=29))
    with pytest.raises(RepositoryStale):
        client_of(repo, tmp_path / "cache", NOW + timedelta(days=31))
    # a clock at 1970 does not stop who knows no later time
    client_of(repo, tmp_path / "fresh", datetime(1970, 1, 1, tzinfo=UTC))


def test_an_older_repository_is_refused_with_the_cache_and_without_it(repo: TufRepository, tmp_path: Path) -> None:
    shutil.copytree(repo.folder, tmp_path / "old")
    repo.publish()
    seen = client_of(repo, tmp_path / "cache").versions()
    shutil.rmtree(repo.folder)
    (tmp_path / "old").rename(repo.folder)
    with pytest.raises(RepositoryRefused, match=r"timestamp|version"):
        client_of(repo, tmp_path / "cache")
    old = client_of(repo, tmp_path / "lost").versions()
    check_versions(old, {}, "repo")
    with pytest.raises(RepositoryRefused, match="timestamp is version 1, and version 2"):
        check_versions(old, seen, "repo")


def test_new_keys_may_begin_anew_after_a_fast_forward(repo: TufRepository, tmp_path: Path) -> None:
    repo.timestamp.version = repo.snapshot.version = 2**31 - 2
    repo.publish()
    seen = client_of(repo, tmp_path / "cache").versions()
    old = repo.signers["timestamp"].public_key.keyid, repo.signers["snapshot"].public_key.keyid
    for role, keyid in zip(("timestamp", "snapshot"), old, strict=True):
        repo.signers[role] = CryptoSigner.generate_ecdsa()
        repo.root.revoke_key(keyid, role)
        repo.root.add_key(repo.signers[role].public_key, role)
    repo.root.version = 2
    repo.write_root()
    repo.timestamp.version = repo.snapshot.version = 1
    repo.write_current()
    new = client_of(repo, tmp_path / "cache").versions()
    check_versions(new, seen, "repo")


def test_a_new_repository_begins_anew_and_the_former_ones_root_stays_where_it_was(
    repo: TufRepository, tmp_path: Path
) -> None:
    first = dict(client_of(repo, tmp_path / "first").versions())
    repo.root.version += 1
    repo.write_root()
    repo.publish()
    seen = client_of(repo, tmp_path / "cache").versions()
    other = TufRepository(tmp_path / "other", NOW)
    other.put(PRODUCT.channels, channels_bytes(CHANNELS))
    other.publish()
    check_versions(client_of(other, tmp_path / "new").versions(), seen, "other")
    roots = {name: number for name, number in first.items() if name.startswith("tuf root ")}
    with pytest.raises(RepositoryRefused, match="root is version 1"):
        check_versions(roots, seen, "old")


def test_a_root_below_its_threshold_is_refused(repo: TufRepository, tmp_path: Path) -> None:
    second, thief = CryptoSigner.generate_ecdsa(), CryptoSigner.generate_ecdsa()
    repo.root.add_key(second.public_key, "root")
    repo.root.roles["root"].threshold = 2
    repo.root.version = 2
    repo.write_root(second)
    client_of(repo, tmp_path / "two")
    repo.root.add_key(thief.public_key, "timestamp")
    repo.root.version = 3
    repo.write_root(thief)
    with pytest.raises(RepositoryRefused):
        client_of(repo, tmp_path / "three")
    repo.write_root(second)
    client_of(repo, tmp_path / "good")


def test_names_that_lead_out_of_the_folder_and_links_are_not_followed(repo: TufRepository, tmp_path: Path) -> None:
    fetcher = FolderFetcher(str(repo.folder))
    assert fetcher.download_bytes(METADATA + "timestamp.json", 16384)
    from tuf.api.exceptions import DownloadError

    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink(tmp_path / "secret", repo.folder / "metadata" / "link.json")
    os.symlink(tmp_path, repo.folder / "targets" / "up")
    os.mkfifo(repo.folder / "targets" / "fifo")
    for url in (
        METADATA + "link.json",
        TARGETS + "up/secret",
        TARGETS + "../../secret",
        METADATA + "%2e%2e%2fmetadata/timestamp.json",
        TARGETS + "fifo",
        TARGETS + "drives",
        "https://example.invalid/timestamp.json",
    ):
        with pytest.raises(DownloadError):
            fetcher.download_bytes(url, 16384)


def test_a_repository_that_is_not_there_is_unavailable(repo: TufRepository, tmp_path: Path) -> None:
    client_of(repo, tmp_path / "cache")
    (repo.folder / "metadata" / "timestamp.json").unlink()
    with pytest.raises(RepositoryUnavailable):
        client_of(repo, tmp_path / "cache")
