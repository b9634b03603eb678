"""Section 8, TUF's attack classes: what a server, a thief of online keys or one holder below the threshold can do to python-tuf's own client."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater

from kit.repository import (
    PRODUCT,
    Folder,
    begun,
    client,
    fetched,
    folder_client,
    holders,
    home_in,
    make_home,
    now,
    published,
    release,
    repository,
    trust_of,
)
from sealwright.artifact.digest import Digest
from sealwright.artifact.digestcopy import DigestingCopier
from sealwright.errors import MalformedArtifact, OutputRefused, ReleaseRefused
from sealwright.release import roles
from sealwright.release.beginning import hold, renew
from sealwright.release.catalogue import channels_of
from sealwright.release.channels import channels_bytes
from sealwright.release.intake import add_releases, stage_channels
from sealwright.release.publication import Foreign, publish, refresh
from sealwright.release.rolekeys import Payload, RoleSigners, enrolled_role_key
from sealwright.release.roles import Holders
from sealwright.release.staging import Staging, Terms
from sealwright.release.thresholds import sign_staged
from sealwright.signing.home import Home

FIRMWARE = "drives/vx-200/1.4.2/application/fw.bin"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def public(staging: Staging) -> Path:
    return Path(staging.folder, "public")


def added(staging: Staging, home: Home, folder: Path, version: str, generation: int) -> None:
    add_releases(staging, [str(release(folder, home, version, generation))], PRODUCT, trust_of(home), now())
    published(staging, home)


def stolen(home: Home, name: str, signed: Timestamp | Snapshot | Targets | Root, role: str) -> bytes:
    """Metadata that a thief of one key of a home signs."""
    made = Metadata(signed)
    key = enrolled_role_key(next(one for one in home.keys if one.name == name)).keyid
    with RoleSigners(home, None, now) as signers:
        (made.signatures[key],) = signers.sign(key, [Payload(role, signed.version, made.signed_bytes)])
    return made.to_bytes()


def test_rollback_of_all_metadata_is_refused(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    shutil.copytree(public(staging), tmp_path / "old")
    added(staging, home, tmp_path / "next", "1.4.3", 8)
    updater = folder_client(tmp_path / "client", staging)
    assert updater.get_targetinfo("drives/vx-200/1.4.3.manifest") is not None
    root = (tmp_path / "old/metadata/1.root.json").read_bytes()
    behind = client(tmp_path / "client", root, "folder:", Folder(tmp_path / "old"))
    with pytest.raises(BadVersionNumberError):
        behind.refresh()


def test_rollback_of_one_role_by_the_online_keys_is_refused(tmp_path: Path, home: Home) -> None:
    """A thief of the online keys offers the line's role as it was before the withdrawal."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    added(staging, home, tmp_path / "next", "1.4.3", 8)
    folder_client(tmp_path / "client", staging).refresh()
    assert staging.published is not None
    old = staging.published.snapshot.signed
    old.version += 1
    old.meta["drives.json"] = MetaFile(2)
    _point_at(staging, home, old)
    with pytest.raises(BadVersionNumberError):
        folder_client(tmp_path / "client", staging).refresh()


def _point_at(staging: Staging, home: Home, snapshot: Snapshot, version: int = 0) -> None:
    """What a thief of the online keys puts there."""
    metadata = public(staging) / "metadata"
    (metadata / f"{snapshot.version}.snapshot.json").write_bytes(stolen(home, "repo-online", snapshot, "snapshot"))
    assert staging.published is not None
    pointer = Timestamp(
        version=version or staging.published.timestamp.signed.version + 1,
        expires=now() + timedelta(days=3),
        snapshot_meta=MetaFile(snapshot.version),
    )
    (metadata / "timestamp.json").write_bytes(stolen(home, "repo-online", pointer, "timestamp"))


def test_after_a_fast_forward_new_online_keys_bring_every_client_back(tmp_path: Path, home: Home) -> None:
    """Versions near the end of the numbers, signed by a thief, would be believed for ever; other keys in the root end that."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    assert staging.published is not None
    forward = staging.published.snapshot.signed
    forward.version = 2**31
    _point_at(staging, home, forward, 2**31)
    folder_client(tmp_path / "client", staging).refresh()
    with RoleSigners(home, None, now) as signers, pytest.raises(ReleaseRefused, match="not the one"):
        refresh(staging, signers, now())
    new = make_home(tmp_path / "new", ("online",))
    staging = Staging(staging.folder)
    for role in ("snapshot", "timestamp"):
        hold(staging, role, holders(new, "online"), now())
    with RoleSigners(home, None, now) as signers:
        sign_staged(staging, signers)
    with RoleSigners(new, None, now) as signers:
        done = publish(staging, signers, now(), Foreign.REPLACE)
    assert done.timestamp < 100
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


def test_a_server_that_stands_still_is_noticed_when_its_timestamp_ends(tmp_path: Path, home: Home) -> None:
    """Freeze: A147."""
    staging = begun(tmp_path / "desk", home, terms=Terms(timestamp=timedelta(days=7)))
    published(staging, home)
    folder_client(tmp_path / "client", staging).refresh()
    later = folder_client(tmp_path / "client", staging)
    later._trusted_set.reference_time = now() + timedelta(days=8)
    with pytest.raises(ExpiredMetadataError):
        later.refresh()
    with RoleSigners(home, None, now) as signers:
        refresh(staging, signers, now() + timedelta(days=7))
    again = folder_client(tmp_path / "client", staging)
    again._trusted_set.reference_time = now() + timedelta(days=8)
    again.refresh()


def test_roles_of_two_publications_are_not_mixed(tmp_path: Path, home: Home) -> None:
    """Mix-and-match: the line's role of one publication with the snapshot of another."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    added(staging, home, tmp_path / "next", "1.4.3", 8)
    metadata = public(staging) / "metadata"
    good = (metadata / "3.drives.json").read_bytes()
    (metadata / "3.drives.json").write_bytes((metadata / "2.drives.json").read_bytes())
    with pytest.raises((RepositoryError, DownloadError)):
        folder_client(tmp_path / "client", staging).get_targetinfo(FIRMWARE)
    (metadata / "3.drives.json").write_bytes(good)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


class Endless(Folder):
    """A server that never ends one file."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name
        self.sent = 0

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.endswith(self.name):
            return super()._fetch(url)
        return self._endless()

    def _endless(self) -> Iterator[bytes]:
        while True:
            self.sent += 1 << 16
            yield bytes(1 << 16)


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.drives.json", "fw.bin"])
def test_endless_data_is_cut_off_at_the_length_that_was_signed(tmp_path: Path, home: Home, name: str) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    assert fetched(folder_client(tmp_path / "good", staging), FIRMWARE) == b"firmware 1.4.2"
    server = Endless(public(staging), name)
    root = (public(staging) / "metadata/1.root.json").read_bytes()
    with pytest.raises(DownloadError):
        fetched(client(tmp_path / "client", root, "folder:", server), FIRMWARE)
    assert server.sent <= 1 << 17


def test_wrong_software_is_never_what_was_asked_for(tmp_path: Path, home: Home) -> None:
    """Another signed file in the place of the one asked for."""
    staging = repository(tmp_path, home, ("1.4.2", 7), ("1.4.3", 8))
    (first, second) = sorted((public(staging) / "targets").rglob("*fw.bin"))
    good = first.read_bytes()
    first.write_bytes(second.read_bytes())
    version = first.parent.parent.name
    with pytest.raises((LengthOrHashMismatchError, DownloadError)):
        fetched(folder_client(tmp_path / "client", staging), f"drives/vx-200/{version}/application/fw.bin")
    first.write_bytes(good)
    assert fetched(folder_client(tmp_path / "client", staging), f"drives/vx-200/{version}/application/fw.bin") == good


def test_a_line_speaks_for_its_own_products_alone(tmp_path: Path, home: Home) -> None:
    """The keys of one line list a product of another: no home signs it, it is not published where a thief signed it, and where a thief
    publishes it too, no client looks for it there."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    theirs = "gateways/edge/1.0.manifest"
    line = staging.next_version("drives")
    assert line is not None
    assert staging.published is not None
    line.signed.targets[theirs] = roles.target_of(theirs, 1, "ab" * 32)
    staging.stage({"drives": line.signed}, now())
    with pytest.raises(MalformedArtifact, match="claimed is role drives"):
        published(staging, home)
    # a thief's program claims what it likes
    thiefs = stolen(home, "repo-targets", line.signed, "targets")
    staging.write_staged({"drives": Metadata.from_bytes(thiefs)})
    with RoleSigners(home, None, now) as signers, pytest.raises(ReleaseRefused, match="it does not lie below the line"):
        publish(staging, signers, now())
    metadata = public(staging) / "metadata"
    (metadata / "3.drives.json").write_bytes(thiefs)
    snapshot = staging.published.snapshot.signed
    snapshot.version += 1
    snapshot.meta["drives.json"] = MetaFile(3)
    _point_at(staging, home, snapshot)
    updater = folder_client(tmp_path / "client", staging)
    assert updater.get_targetinfo(theirs) is None
    assert fetched(updater, FIRMWARE) == b"firmware 1.4.2"


def test_one_stolen_key_below_the_threshold_signs_nothing(tmp_path: Path, home: Home) -> None:
    eva = make_home(tmp_path / "eva", ("eva",))
    staging = repository(tmp_path, home, ("1.4.2", 7))
    both = Holders((*holders(home, "repo-targets").keys, *holders(eva, "eva").keys), 2)
    hold(staging, "drives", both, now())
    for one in (home, eva):
        with RoleSigners(one, None, now) as signers:
            sign_staged(staging, signers)
    published(staging, home)
    assert fetched(folder_client(tmp_path / "good", staging), FIRMWARE) == b"firmware 1.4.2"
    assert staging.published is not None
    evil = staging.line("drives").signed
    evil.version += 1
    evil.targets[FIRMWARE] = roles.target_of(FIRMWARE, 4, "ab" * 32)
    metadata, data = public(staging) / "metadata", stolen(home, "repo-targets", evil, "drives")
    (metadata / f"{evil.version}.drives.json").write_bytes(data)
    snapshot = staging.published.snapshot.signed
    snapshot.version += 1
    snapshot.meta["drives.json"] = MetaFile(evil.version)
    _point_at(staging, home, snapshot)  # the thief has the online keys too
    with pytest.raises(UnsignedMetadataError):
        folder_client(tmp_path / "client", staging).get_targetinfo(FIRMWARE)


def test_a_root_of_one_holder_below_the_threshold_is_not_followed(tmp_path: Path, home: Home) -> None:
    eva = make_home(tmp_path / "eva", ("eva",))
    staging = repository(tmp_path, home)
    hold(staging, "root", Holders((*holders(home, "repo-root").keys, *holders(eva, "eva").keys), 2), now())
    for one in (home, eva):
        with RoleSigners(one, None, now) as signers:
            sign_staged(staging, signers)
    published(staging, home)
    mallory = CryptoSigner.generate_ecdsa()
    root = staging.root.signed
    root.version = 3
    root.add_key(mallory.public_key, "root")
    root.roles["root"].threshold = 1
    evil = Metadata[Root].from_bytes(stolen(home, "repo-root", root, "root"))
    evil.sign(mallory, append=True)
    (public(staging) / "metadata/3.root.json").write_bytes(evil.to_bytes())
    updater: Updater = folder_client(tmp_path / "client", staging)
    with pytest.raises(UnsignedMetadataError):
        updater.refresh()
    (public(staging) / "metadata/3.root.json").unlink()
    folder_client(tmp_path / "client", staging).refresh()


@pytest.mark.parametrize("change", ["bytes", "gone"])
def test_a_released_version_with_other_bytes_is_not_published_whoever_signed_it(
    tmp_path: Path, home: Home, change: str
) -> None:
    """A160, where it is published: the line's own key signed the change."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    line = staging.next_version("drives")
    assert line is not None
    if change == "gone":
        del line.signed.targets[FIRMWARE]
    else:
        line.signed.targets[FIRMWARE] = roles.target_of(FIRMWARE, 1, "ab" * 32)
    staging.stage({"drives": line.signed}, now())
    with pytest.raises(ReleaseRefused, match="it was released, and"):
        published(staging, home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"
    (tmp_path / "desk/staged/metadata/drives.json").unlink()
    staging = Staging(staging.folder)
    renew(staging, ["drives"], now())
    published(staging, home)


def test_a_staged_role_that_was_swapped_is_not_published(tmp_path: Path, home: Home) -> None:
    """Between the signer offline and the desk somebody changes what was signed."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    renew(staging, ["drives"], now())
    with RoleSigners(home, None, now) as signers:
        sign_staged(staging, signers)
    path = tmp_path / "desk/staged/metadata/drives.json"
    good = path.read_bytes()
    value = json.loads(good)
    value["signed"]["expires"] = "2099-01-01T00:00:00Z"
    path.write_text(json.dumps(value))
    other = make_home(tmp_path / "other", ("online",))
    with RoleSigners(other, None, now) as signers, pytest.raises(ReleaseRefused, match="1 more of its keys"):
        publish(Staging(staging.folder), signers, now())
    path.write_bytes(good)
    published(Staging(staging.folder), home)


class Writing:
    """Somebody who may write into the staging folder, by a second name of a file and by one that was left open."""

    def __init__(self, path: Path, kept: Path) -> None:
        os.link(path, kept)
        self.kept = kept
        self.open = path.open("r+b")

    def write(self, data: bytes) -> None:
        with self.open as file:
            file.write(data)
        self.kept.write_bytes(data)


def test_who_can_write_in_the_staging_folder_changes_nothing_that_is_published(tmp_path: Path, home: Home) -> None:
    staging = begun(tmp_path / "desk", home)
    published(staging, home)
    add_releases(staging, [str(release(tmp_path / "releases", home, "1.4.2", 7))], PRODUCT, trust_of(home), now())
    (staged,) = (tmp_path / "desk" / "staged" / "targets").rglob("*.fw.bin")
    somebody = Writing(staged, tmp_path / "second-name")
    published(staging, home)
    assert fetched(folder_client(tmp_path / "before", staging), FIRMWARE) == b"firmware 1.4.2"
    somebody.write(b"FIRMWARE 1.4.2")
    assert fetched(folder_client(tmp_path / "after", staging), FIRMWARE) == b"firmware 1.4.2"


def test_a_file_that_changes_while_it_is_published_is_refused_and_leaves_nothing(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = begun(tmp_path / "desk", home)
    published(staging, home)
    add_releases(staging, [str(release(tmp_path / "releases", home, "1.4.2", 7))], PRODUCT, trust_of(home), now())
    (staged,) = (tmp_path / "desk" / "staged" / "targets").rglob("*.fw.bin")
    real = DigestingCopier.copy

    def changing(self: DigestingCopier, source: int, start: int, size: int, target: int) -> tuple[int, Digest]:
        if os.path.samestat(os.fstat(source), staged.stat()):
            staged.write_bytes(b"FIRMWARE 1.4.2")
        return real(self, source, start, size, target)

    with monkeypatch.context() as patch:
        patch.setattr(DigestingCopier, "copy", changing)
        with pytest.raises(ReleaseRefused, match="not staged any more"):
            published(staging, home)
    assert not [one for one in (public(staging) / "targets").rglob("*") if one.is_file()]
    staged.write_bytes(b"firmware 1.4.2")
    published(Staging(staging.folder), home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


def test_channels_are_not_staged_through_a_link_that_lies_there(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    channels = channels_of(staging, PRODUCT)
    assert channels is not None
    place = Path(staging.target_path(roles.published_name(stage_channels(staging, PRODUCT, channels))))
    mine = tmp_path / "authorized_keys"
    mine.write_bytes(b"mine")
    place.unlink()
    place.symlink_to(mine)
    with pytest.raises(OutputRefused, match="symbolic link"):
        stage_channels(staging, PRODUCT, channels)
    place.unlink()
    os.link(mine, place)
    stage_channels(staging, PRODUCT, channels)
    assert mine.read_bytes() == b"mine"
    assert place.read_bytes() == channels_bytes(channels)
