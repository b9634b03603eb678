"""What is staged and published: whole or not at all, signed by enough, never with other bytes, and read by python-tuf's own client."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Timestamp

from kit.repository import (
    PRODUCT,
    begun,
    fetched,
    folder_client,
    holders,
    home_in,
    line_role,
    make_home,
    now,
    published,
    release,
    repository,
    sign_release,
    trust_of,
)
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import MalformedRepository, ReleaseRefused, SealwrightError, UsageError
from sealwright.keys.key import KeyKind
from sealwright.release import publication, roles
from sealwright.release import staging as staging_module
from sealwright.release.beginning import add_line, hold, renew
from sealwright.release.catalogue import channels_of, release_of, versions_of
from sealwright.release.channels import Channels, Offer
from sealwright.release.intake import add_releases, put_channels
from sealwright.release.layout import ProductPath
from sealwright.release.offers import Wanted, promoted, withdrawn
from sealwright.release.publication import Foreign, Publication, publish, refresh
from sealwright.release.readiness import plan
from sealwright.release.rolekeys import RoleSigners
from sealwright.release.roles import Holders
from sealwright.release.staging import Staging
from sealwright.release.storage import FolderStorage
from sealwright.release.thresholds import sign_staged, standing_of
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import Home, open_home
from sealwright.signing.released import place_of, releases_of
from sealwright.signing.sign import SignOptions, sign_paths

MANIFEST = "drives/vx-200/1.4.2.manifest"
FIRMWARE = "drives/vx-200/1.4.2/application/fw.bin"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def taken_in(staging: Staging, home: Home, *paths: Path, product: ProductPath = PRODUCT) -> None:
    add_releases(staging, [str(path) for path in paths], product, trust_of(home), now())


def offered(staging: Staging, channel: str = "pilot", version: str = "1.4.2") -> None:
    channels = channels_of(staging, PRODUCT)
    assert channels is not None
    offer = Offer(channel, release_of(staging, PRODUCT, version).named, 100, ())
    put_channels(staging, PRODUCT, promoted(channels, Wanted(offer, {})), now())


def test_a_published_release_is_what_tufs_client_gets_and_what_verify_allows(tmp_path: Path, home: Home) -> None:
    files = {"application/fw.bin": b"firmware", "application/read_me,a=b@c+d.txt": b"odd"}
    made = release(tmp_path / "releases", home, "1.4.2", 7, files)
    staging = begun(tmp_path / "desk", home)
    published(staging, home)
    taken_in(staging, home, made)
    done = published(staging, home)
    assert (len(done.targets), done.snapshot, done.timestamp) == (6, 2, 2)
    updater = folder_client(tmp_path / "client", staging)
    assert fetched(updater, FIRMWARE) == b"firmware"
    assert fetched(updater, PRODUCT.member("1.4.2", b"application/read_me,a=b@c+d.txt")) == b"odd"
    assert fetched(updater, MANIFEST) == Path(f"{made}.manifest").read_bytes()
    assert updater.get_targetinfo("drives/vx-200/1.4.3.manifest") is None
    assert versions_of(staging, PRODUCT) == ("1.4.2",)


def test_the_initial_root_is_what_a_trust_file_names(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home)
    assert staging.settings.root == Digest.of((tmp_path / "desk/public/metadata/1.root.json").read_bytes())
    assert Staging(staging.folder).published is not None


def test_what_does_not_verify_is_not_taken_in(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home)
    good, bad = (release(tmp_path / one, home, "1.4.2", 7) for one in ("good", "bad"))
    (bad / "application/fw.bin").write_bytes(b"altered")
    with pytest.raises(ReleaseRefused, match="devices would not install it"):
        taken_in(staging, home, bad)
    assert staging.staged_names == ()
    taken_in(staging, home, good)
    assert staging.staged_names == ("drives",)


@pytest.mark.parametrize("change", ["claims", "folder", "description", "more"])
def test_a_release_that_does_not_say_what_it_is_is_not_taken_in(tmp_path: Path, home: Home, change: str) -> None:
    staging = repository(tmp_path, home)
    made = release(tmp_path / "releases", home, "1.4.2", 7)
    if change == "folder":
        for name in ("1.4.2", "1.4.2.manifest", "1.4.2.manifest.p7s"):
            (tmp_path / "releases" / name).rename(tmp_path / "releases" / name.replace("1.4.2", "1.4.4"))
        made = tmp_path / "releases" / "1.4.4"
    else:
        for one in (f"{made}.manifest", f"{made}.manifest.p7s"):
            Path(one).unlink()
        if change == "description":
            (made / "release.toml").unlink()
        if change == "more":
            (made / "stray.txt").write_text("x")
        if change == "claims":
            list(sign_paths([str(made)], home, SignOptions(timestamp="none")))
        else:
            sign_release(made, home, 7)
    with pytest.raises(SealwrightError) as refused:
        taken_in(staging, home, made)
    assert refused.value.code in ("SW-RELEASE-REFUSED", "SW-ARTIFACT-MALFORMED", "SW-FILE-UNREADABLE")
    taken_in(staging, home, release(tmp_path / "good", home, "1.4.2", 7))


def test_a_version_never_gets_other_bytes(tmp_path: Path, home: Home) -> None:
    """A160, where it is taken in."""
    staging = repository(tmp_path, home, ("1.4.2", 7))
    with pytest.raises(ReleaseRefused, match="in the repository already"):
        taken_in(staging, home, tmp_path / "releases" / "1.4.2")
    other = release(tmp_path / "other", home, "1.4.2", 7, {"application/fw.bin": b"other"})
    with pytest.raises(ReleaseRefused, match="never gets other bytes"):
        taken_in(staging, home, other)
    taken_in(staging, home, release(tmp_path / "next", home, "1.4.3", 8))
    published(staging, home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


@pytest.mark.parametrize("how", ["altered", "link", "gone"])
def test_a160_what_was_changed_between_taking_it_in_and_publishing_is_not_published(
    tmp_path: Path, home: Home, how: str
) -> None:
    made = release(tmp_path / "releases", home, "1.4.2", 7, {"application/fw.bin": b"firmware"})
    staging = begun(tmp_path / "desk", home)
    published(staging, home)
    taken_in(staging, home, made)
    (path,) = (tmp_path / "desk" / "staged" / "targets").rglob("*.fw.bin")
    path.unlink()
    if how == "altered":
        path.write_bytes(b"FIRMWARE")
    elif how == "link":
        (tmp_path / "elsewhere").write_bytes(b"firmware")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ReleaseRefused, match="not staged any more"):
        published(staging, home)
    assert not list((tmp_path / "desk").rglob("public/**/*.fw.bin"))
    path.unlink(missing_ok=True)
    path.write_bytes(b"firmware")
    published(staging, home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware"


def test_proofs_that_come_later_lie_beside_a_release_that_is_there(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    made = tmp_path / "releases" / "1.4.2"
    assert main(["stamp", str(made), "--home", home.folder, "--timestamp", "local"]) == 0
    taken_in(staging, home, made)
    published(staging, home)
    updater = folder_client(tmp_path / "client", staging)
    assert fetched(updater, f"{MANIFEST}.tsr") == Path(f"{made}.manifest.tsr").read_bytes()


def test_a_threshold_needs_signatures_of_different_people(tmp_path: Path, home: Home) -> None:
    eva, jan = make_home(tmp_path / "eva", ("eva",)), make_home(tmp_path / "jan", ("jan",))
    staging = repository(tmp_path, home)
    both = Holders((*holders(eva, "eva").keys, *holders(jan, "jan").keys), 2)
    assert hold(staging, "root", both, now()) == ("root",)
    for one, missing in ((home, 2), (eva, 1)):
        with RoleSigners(one, None, now) as signers:
            (standing,) = sign_staged(staging, signers)
        assert standing.missing == missing
        with pytest.raises(ReleaseRefused, match="more of its keys must sign it"):
            published(staging, home)
    with RoleSigners(jan, None, now) as signers:
        sign_staged(staging, signers)
    published(staging, home)
    assert staging.published is not None
    assert staging.published.root.signed.version == 2
    updater = folder_client(tmp_path / "client", staging)
    updater.refresh()
    assert (tmp_path / "client/metadata/root_history/2.root.json").exists()


def test_a_line_of_its_own_has_its_own_keys(tmp_path: Path, home: Home) -> None:
    other = make_home(tmp_path / "other", ("gateways",))
    staging = repository(tmp_path, home, ("1.4.2", 7))
    add_line(staging, "gateways", holders(other, "gateways"), now())
    with RoleSigners(other, None, now) as signers:
        assert {one.role for one in sign_staged(staging, signers) if one.signed} == {"gateways"}
    published(staging, home)
    edge = ProductPath("gateways", "edge-1")
    made = release(tmp_path / "more", home, "2.0", 1)
    taken_in(staging, home, made, product=edge)
    with pytest.raises(ReleaseRefused, match="role gateways"):
        published(staging, home)
    with RoleSigners(other, None, now) as signers:
        sign_staged(staging, signers)
    published(staging, home)
    updater = folder_client(tmp_path / "client", staging)
    assert fetched(updater, "gateways/edge-1/2.0.manifest") == Path(f"{made}.manifest").read_bytes()


def test_a_line_with_new_keys_is_signed_by_them_before_it_is_published(tmp_path: Path, home: Home) -> None:
    other = make_home(tmp_path / "other", ("new",))
    staging = repository(tmp_path, home, ("1.4.2", 7))
    assert set(hold(staging, "drives", holders(other, "new"), now())) == {"targets", "drives"}
    with RoleSigners(home, None, now) as signers:
        assert {one.role: one.missing for one in sign_staged(staging, signers)} == {"targets": 0, "drives": 1}
    os.unlink(tmp_path / "desk/staged/metadata/drives.json")
    staging = Staging(staging.folder)
    with pytest.raises(ReleaseRefused, match="its keys change"):
        published(staging, home)
    renew(staging, ["drives"], now())
    with RoleSigners(other, None, now) as signers:
        sign_staged(staging, signers)
    published(staging, home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


@pytest.mark.parametrize("name", ["root", "targets", "snapshot", "timestamp", "drives", "drives.bin-0a", "Drives", ""])
def test_a_line_is_not_called_like_a_role(tmp_path: Path, home: Home, name: str) -> None:
    staging = repository(tmp_path, home)
    with pytest.raises(UsageError):
        add_line(staging, name, holders(home, "repo-targets"), now())
    add_line(staging, "drives.2", holders(home, "repo-targets"), now())


def test_a_key_on_the_server_signs_nothing_that_is_offline(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home)
    for role in ("root", "targets", "drives"):
        with pytest.raises(UsageError, match="signs snapshot or timestamp too"):
            hold(staging, role, holders(home, "repo-online"), now())
    for role in ("snapshot", "timestamp"):
        with pytest.raises(UsageError, match="signs snapshot or timestamp too"):
            hold(staging, role, holders(home, "repo-targets"), now())


def test_a_large_line_lies_in_bins_and_a_further_release_changes_few(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "BINS_FROM", 60)
    staging = repository(tmp_path, home, ("1.4.2", 7))
    many = release(tmp_path / "more", home, "1.5.0", 8, {f"application/{n}": b"%d" % n for n in range(60)})
    taken_in(staging, home, many)
    published(staging, home)
    assert len(roles.bins_of(line_role(staging))) == 64
    assert list(line_role(staging).targets) == [PRODUCT.channels]
    taken_in(staging, home, release(tmp_path / "next", home, "1.5.1", 9))
    assert 1 <= len(staging.staged_names) <= 4
    assert all(".bin-" in name for name in staging.staged_names)
    offered(staging, version="1.5.1")
    published(staging, home)
    updater = folder_client(tmp_path / "client", staging)
    assert fetched(updater, "drives/vx-200/1.5.0/application/41") == b"41"
    assert fetched(updater, FIRMWARE) == b"firmware 1.4.2"
    assert versions_of(staging, PRODUCT) == ("1.4.2", "1.5.0", "1.5.1")
    other = release(tmp_path / "other", home, "1.5.1", 9, {"application/fw.bin": b"other"})
    with pytest.raises(ReleaseRefused, match="never gets other bytes"):
        taken_in(staging, home, other)
    new = make_home(tmp_path / "new", ("new",))
    assert len(hold(staging, "drives", holders(new, "new"), now())) == 66
    with RoleSigners(new, None, now) as signers:
        sign_staged(staging, signers)
    published(staging, home)
    assert fetched(folder_client(tmp_path / "second", staging), "drives/vx-200/1.5.0/application/41") == b"41"


def test_a_refresh_publishes_a_new_timestamp_and_leaves_what_is_staged(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    offered(staging)
    with RoleSigners(home, None, now) as signers:
        done = refresh(staging, signers, now())
    assert (done.timestamp, done.snapshot, done.roles) == (3, 2, ())
    assert staging.staged_names == ("drives",)
    with RoleSigners(home, None, now) as signers:
        later = refresh(staging, signers, now() + timedelta(days=8))
    assert (later.timestamp, later.snapshot) == (4, 3)
    assert published(staging, home).roles == ("drives",)


def test_what_goes_out_is_in_the_journal(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    manifest = str(Digest.of((tmp_path / "releases/1.4.2.manifest").read_bytes()))
    assert [(one.artifact, one.channel) for one in releases_of(home)] == [(manifest, "")]
    offered(staging)
    published(staging, home)
    assert [(one.artifact, one.channel) for one in releases_of(home)] == [(manifest, ""), (manifest, "pilot")]
    assert place_of(home, releases_of(home)[0]).endswith("desk/public")
    assert not releases_of(home)[0].elsewhere


def test_a_role_that_ended_is_not_published(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    offered(staging)
    with RoleSigners(home, None, now) as signers:
        sign_staged(staging, signers)
    with pytest.raises(ReleaseRefused, match="it ended on"):
        plan(staging, now() + timedelta(days=500))
    assert plan(staging, now()).staged.keys() == {"drives"}


def test_somebody_elses_timestamp_stops_a_publication(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    pointer = tmp_path / "desk/public/metadata/timestamp.json"
    old, good = (tmp_path / "desk/public/metadata/1.snapshot.json").read_bytes(), pointer.read_bytes()
    for data in (old, b"{}", b"hello", None):
        pointer.write_bytes(data) if data is not None else pointer.unlink()
        offered(staging) if not staging.staged_names else None
        with pytest.raises(ReleaseRefused, match="not the one that was published from here last"):
            published(staging, home)
    pointer.write_bytes(good)
    published(staging, home)


def test_after_a_loss_there_everything_is_put_back(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    shutil.rmtree(tmp_path / "desk/public/metadata")
    with RoleSigners(home, None, now) as signers:
        with pytest.raises(ReleaseRefused, match="not the one"):
            publish(staging, signers, now())
        publish(staging, signers, now(), Foreign.REPLACE)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"


def test_a_staging_folder_that_was_altered_is_not_believed(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    for name in ("2.drives.json", "1.root.json", "timestamp.json", "2.snapshot.json"):
        path = tmp_path / "desk/metadata" / name
        good = path.read_bytes()
        path.write_bytes(good.replace(b'"version":', b'"version": '))
        if name != "1.root.json":  # its digest is what counts
            path.write_bytes(good.replace(b'"expires":"20', b'"expires":"21'))
        with pytest.raises(MalformedRepository):
            release_of(Staging(staging.folder), PRODUCT, "1.4.2")
        path.write_bytes(good)
    assert release_of(Staging(staging.folder), PRODUCT, "1.4.2").named.generation == 7


class Stopped(Exception):
    """The process ended here."""


@pytest.mark.parametrize(
    "place", ["add 1", "keep 1", "add 2", "record", "exchange", "settle", "after keep"], ids=lambda one: one
)
def test_a_publication_that_was_killed_leaves_the_old_or_the_new_and_ends_the_next_time(
    tmp_path: Path, home: Home, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    taken_in(staging, home, release(tmp_path / "next", home, "1.4.3", 8))
    with monkeypatch.context() as patched:
        _stop_at(place, patched)
        with pytest.raises(Stopped):
            published(staging, home)
    staging = Staging(staging.folder)
    before = folder_client(tmp_path / "before", staging)
    assert fetched(before, FIRMWARE) == b"firmware 1.4.2"
    visible = before.get_targetinfo("drives/vx-200/1.4.3.manifest") is not None
    assert visible is (place in ("settle", "after keep"))
    offered(staging, version="1.4.3")
    published(staging, home)
    after = folder_client(tmp_path / "after", staging)
    assert fetched(after, "drives/vx-200/1.4.3/application/fw.bin") == b"firmware 1.4.3"
    assert b"1.4.3" in fetched(after, PRODUCT.channels)
    assert Staging(staging.folder).staged_names == ()


def _stop_at(place: str, patched: pytest.MonkeyPatch) -> None:
    """End the process before the n-th call of something, or in the middle of settling."""
    calls = {"add": 0, "keep": 0}

    def stopping(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            calls[name] += 1
            if place == f"{name} {calls[name]}":
                raise Stopped
            return real(*arguments)

        return call

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    patched.setattr(FolderStorage, "add", stopping("add", FolderStorage.add))
    patched.setattr(Staging, "keep", stopping("keep", Staging.keep))
    if place == "record":
        patched.setattr(publication, "record_sent", stop)
    if place == "exchange":
        patched.setattr(FolderStorage, "exchange", stop)
    if place == "settle":
        patched.setattr(Staging, "settle", stop)
    if place == "after keep":
        patched.setattr(staging_module.shutil, "rmtree", stop)


def test_channels_are_promoted_step_by_step(tmp_path: Path, home: Home) -> None:
    staging = repository(tmp_path, home, ("1.4.2", 7))
    offered(staging)
    offered(staging, "production")
    channels = channels_of(staging, PRODUCT)
    assert channels is not None
    assert (channels.serial, {one.channel for one in channels.offers}) == (3, {"pilot", "production"})
    gone = withdrawn(channels, release_of(staging, PRODUCT, "1.4.2").named, "CVE-1")
    put_channels(staging, PRODUCT, gone, now())
    published(staging, home)
    assert b"CVE-1" in fetched(folder_client(tmp_path / "client", staging), PRODUCT.channels)
    with pytest.raises(ReleaseRefused, match="withdrawn"):
        offered(staging)


def test_a_first_publication_shows_its_roles(tmp_path: Path, home: Home) -> None:
    staging = begun(tmp_path / "desk", home)
    assert [standing_of(staging, name).missing for name in staging.staged_names] == [1, 1, 1]
    done = published(staging, home)
    assert isinstance(done, Publication)
    assert done.roles == ("root", "targets", "drives")
    pointer = Metadata[Timestamp].from_bytes((tmp_path / "desk/public/metadata/timestamp.json").read_bytes())
    assert pointer.signed.version == 1
    assert replace(done, place="").targets == ()
    assert isinstance(channels_of(staging, PRODUCT), Channels | None)


def test_a_manifest_of_another_digest_is_published_by_sha_256_too(tmp_path: Path, home: Home) -> None:
    """A key on P-384 lists SHA-384; the repository names every file by SHA-256."""
    enrol_for(home, "file", "strong", None, now(), KeyKind.P384)
    home = open_home(home.folder)
    staging = repository(tmp_path, home)
    made = release(tmp_path / "releases", home, "1.4.2", 7)
    for name in ("1.4.2.manifest", "1.4.2.manifest.p7s"):
        (tmp_path / "releases" / name).unlink()
    claims = Claims("VX-200 drive", "1.4.2", 7, (), "development")
    list(sign_paths([str(made)], home, SignOptions(key="strong", claims=claims, timestamp="none")))
    assert Path(f"{made}.manifest").read_bytes().startswith(b"# sealwright manifest 1 sha384")
    taken_in(staging, home, made)
    published(staging, home)
    assert fetched(folder_client(tmp_path / "client", staging), FIRMWARE) == b"firmware 1.4.2"
