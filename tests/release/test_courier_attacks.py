"""Attacks on a courier by those on its way, by who packs it and by who holds the repository; each with its accepted twin."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from kit.gap import NOW, Gap, copy_gap, make_gap, run
from sealwright.artifact.digest import Digest
from sealwright.release.couriernonces import answered, ask, claim


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    make_gap(folder)
    return folder


@pytest.fixture
def gap(made: Path, tmp_path: Path) -> Gap:
    return copy_gap(made, tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    """Every file by its name."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("way", ["target", "digest"])
def test_a_repository_whose_names_leave_it_puts_nothing_beside_the_courier(gap: Gap, way: str) -> None:
    usb = gap.folder / "usb"
    shutil.copytree(gap.repo.folder, usb / "a" / "repo")
    gap.repo.folder = usb / "a" / "repo"
    (path,) = (gap.repo.folder / "metadata").glob("*.drives.json")
    good, text = path.read_bytes(), json.loads(path.read_bytes())
    data = b"* * * * * root id"
    up = "../" * 6  # of repo/targets/drives/vx-200/1.4.2 it is usb, of the courier being built the stick
    name, digest = (f"{up}planted", Digest.of(data).value.hex()) if way == "target" else ("planted", f"{up}x")
    (usb / f"{digest.removeprefix(up)}.planted").write_bytes(data)
    text["signed"]["targets"][f"drives/vx-200/1.4.2/{name}"] = {"length": len(data), "hashes": {"sha256": digest}}
    path.write_text(json.dumps(text))
    assert gap.pack() == 1
    assert os.listdir(gap.stick) == []
    path.write_bytes(good)
    assert gap.pack() == 0


def test_what_a_slice_says_beside_python_tufs_view_never_comes_into_the_mirror(gap: Gap) -> None:
    assert gap.pack(None, "--number", "41") == 0
    assert gap.unpack() == 0
    mirror = gap.into / "repository" / "metadata"
    good = files(mirror)
    (gap.folder / "second").mkdir()
    for name in ("1.snapshot.json", "1.targets.json", "1.drives.json"):
        path = gap.repo.folder / "metadata" / name
        path.write_bytes(path.read_bytes().replace(b"{", b"{ ", 1))
    assert gap.pack(gap.folder / "second", "--number", "42") == 0
    shutil.rmtree(gap.into / "repository")
    gap.unpack(gap.folder / "second")
    assert not mirror.exists() or files(mirror) == good


def test_metadata_that_was_changed_in_the_mirror_is_put_right(gap: Gap) -> None:
    assert gap.pack(None, "--number", "41") == 0
    assert gap.unpack() == 0
    mirror = gap.into / "repository"
    good = files(mirror)
    (mirror / "metadata" / "1.drives.json").write_bytes(b"{}")
    app = next((mirror / "targets").rglob("*.app.bin"))
    app.unlink()
    app.write_bytes(b"")
    (gap.folder / "second").mkdir()
    assert gap.pack(gap.folder / "second", "--number", "42") == 0
    assert gap.unpack(gap.folder / "second") == 0
    assert files(mirror) == good


@pytest.mark.parametrize("name", ["1.drives.json", "1.targets.json", "1.snapshot.json", "timestamp.json"])
def test_a_slice_without_some_of_its_metadata_is_refused_and_the_mirror_stays(gap: Gap, name: str) -> None:
    from sealwright.release import repositoryslice

    assert gap.pack(None, "--number", "43") == 0
    real = repositoryslice.slice_of

    def without(folder: str, *more: object) -> repositoryslice.Slice:
        found = real(folder, *more)  # type: ignore[arg-type]
        return repositoryslice.Slice(tuple(one for one in found.names if one != f"metadata/{name}"), found.versions)

    (gap.folder / "less").mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(repositoryslice, "slice_of", without)
        assert gap.pack(gap.folder / "less", "--number", "42") == 0
    assert gap.unpack(gap.folder / "less") == 1
    assert not (gap.into / "repository").exists()
    assert gap.unpack() == 0


def test_what_lies_beside_a_courier_and_is_no_signature_stays_on_the_stick(gap: Gap) -> None:
    assert gap.pack() == 0
    name = os.fsencode(gap.courier().name)
    for odd in (b".exe", b".\xff\xfe", b".manifest.p7s\n", b".plant", *(b".%d" % n for n in range(30))):
        (gap.stick / os.fsdecode(name + odd)).write_bytes(b"odd")
    assert gap.unpack() == 0
    assert not [one for one in files(gap.into).values() if one == b"odd"]


def test_a_name_that_is_no_text_beside_a_courier_is_a_refusal(gap: Gap) -> None:
    assert gap.pack() == 0
    odd = gap.stick / os.fsdecode(os.fsencode(gap.courier().name) + b".\xff.p7s")
    odd.write_bytes(b"odd")
    assert gap.unpack() in (0, 1)
    odd.unlink()
    if not os.listdir(gap.into / "couriers"):
        assert gap.unpack() == 0


def test_what_lies_beside_a_courier_in_its_archive_stays_there(gap: Gap) -> None:
    path = gap.folder / "out.courier"
    assert gap.pack(path) == 0
    odd = gap.folder / "autorun.inf"
    odd.write_bytes(b"odd")
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        archive.add(odd, "autorun.inf")
    assert gap.unpack(path) == 0
    assert not [one for one in files(gap.into).values() if one == b"odd"]


def test_a_courier_that_was_refused_does_not_stand_in_the_way_of_others(gap: Gap) -> None:
    for name, number in (("old", 41), ("new", 42)):
        (gap.folder / name).mkdir()
        assert gap.pack(gap.folder / name, "--number", number) == 0
    assert gap.unpack(gap.folder / "new", "--answered") == 1
    assert gap.unpack(gap.folder / "old") == 0
    assert gap.unpack(gap.folder / "new") == 0


def test_a_nonce_is_one_couriers_even_where_two_are_unpacked_at_once(tmp_path: Path) -> None:
    state, one, two = str(tmp_path), Digest.of(b"one"), Digest.of(b"two")
    nonce = ask(state, NOW, timedelta(days=1))
    assert claim(state, [nonce], one, NOW)
    assert not claim(state, [nonce], two, NOW)
    assert claim(state, [nonce], one, NOW), "after a crash the same courier goes on"
    answered(state, [nonce])
    assert not claim(state, [nonce], one, NOW)


def test_a_clock_that_was_set_back_keeps_no_nonce_alive(tmp_path: Path) -> None:
    nonce = ask(str(tmp_path), NOW, timedelta(days=1))
    assert not claim(str(tmp_path), [nonce], Digest.of(b"one"), NOW + timedelta(days=2))
    assert claim(str(tmp_path), [nonce], Digest.of(b"one"), NOW)


def test_nobody_else_may_write_what_was_unpacked_whatever_the_umask_is(gap: Gap) -> None:
    assert gap.pack() == 0
    before = os.umask(0)
    try:
        assert gap.unpack() == 0
    finally:
        os.umask(before)
    open_ = [one for one in gap.into.rglob("*") if stat.S_IMODE(one.lstat().st_mode) & 0o022]
    assert open_ == []


def test_a_state_folder_that_others_may_write_is_refused(gap: Gap) -> None:
    assert gap.pack() == 0
    (gap.folder / "state").chmod(0o777)
    assert gap.unpack() == 1
    (gap.folder / "state").chmod(0o700)
    assert gap.unpack() == 0


def test_a_courier_as_one_file_is_packed_onto_a_stick_without_links(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", no_links)
        assert gap.pack(gap.stick / "out.courier") == 0
    assert os.listdir(gap.stick) == ["out.courier"]
    assert gap.unpack(gap.stick / "out.courier") == 0


def test_what_lies_there_under_a_couriers_name_is_never_removed(gap: Gap) -> None:
    keep = gap.stick / "courier-acme-42.manifest"
    keep.write_bytes(b"somebody's")
    assert gap.pack(None, "--number", 42) == 1
    assert keep.read_bytes() == b"somebody's"
    keep.unlink()
    assert gap.pack(None, "--number", 42) == 0


def test_it_is_not_unpacked_into_the_state_folder(gap: Gap) -> None:
    assert gap.pack() == 0
    words = ("courier", "unpack", gap.stick, "--as", "nordhof", "--trust", gap.home / "trust.toml")
    state = gap.folder / "state"
    assert run(*words, "--into", state, "--state", state) != 0
    assert run(*words, "--into", gap.into, "--state", state) == 0
