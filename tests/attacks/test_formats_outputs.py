"""Signing inside and stripping: inputs stay, outputs are whole or absent, whatever lies or happens at either end (A150, A171)."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.archives import zipped
from kit.inside import sign_inside, stripped
from kit.signedfiles import MAKERS, RELEASE, TRUST, format_of
from kit.trust import judge
from kit.updates import archive
from kit.xmldocs import TINY
from sealwright.artifact.output import OLD, Replace, permissions_of, write_atomic
from sealwright.cli.main import main
from sealwright.errors import ChangedWhileRead, OutputRefused, SealwrightError, Unreadable
from sealwright.formats import jar, swupdate
from sealwright.formats.format import Prepared, Sealed
from sealwright.signing.strip import strip
from sealwright.trust.verdict import Outcome


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another file system, where the kernel copies no ranges."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.parametrize("name", MAKERS)
def test_a171_an_output_may_lie_on_another_file_system(tmp_path: Path, elsewhere: Path, name: str) -> None:
    path = MAKERS[name](tmp_path)
    assert elsewhere.stat().st_dev != tmp_path.stat().st_dev
    near = stripped(path, tmp_path / f"near{path.suffix}", format_of(name))
    far = stripped(path, elsewhere / f"far{path.suffix}", format_of(name))
    assert far.read_bytes() == near.read_bytes()


def test_a171_a_signature_may_go_to_another_file_system(tmp_path: Path, elsewhere: Path) -> None:
    plain = zipped(tmp_path / "plain.jar", {"large": os.urandom(700_000)})
    assert judge(sign_inside(plain, RELEASE, elsewhere / "signed.jar", "jar"), TRUST).outcome is Outcome.TRUSTED


def test_a171_a_full_disk_on_another_file_system_is_told_and_leaves_nothing(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, write = zipped(tmp_path / "plain.jar", {"large": os.urandom(700_000)}), os.write
    sign_inside(plain, RELEASE, elsewhere / "good.jar", "jar")

    def full(descriptor: int, data: bytes | memoryview) -> int:
        if len(data) > 100_000:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputRefused, match="the disk is full"):
        sign_inside(plain, RELEASE, elsewhere / "bad.jar", "jar")
    assert [one.name for one in elsewhere.iterdir()] == ["good.jar"]


def test_a171_links_and_devices_are_never_written_over(tmp_path: Path) -> None:
    path, out = MAKERS["kmod"](tmp_path), tmp_path / "out.ko"
    strip(str(path), str(out))
    before = path.read_bytes()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(path.name)
    (tmp_path / "other").symlink_to(out.name)
    os.link(path, tmp_path / "hard")
    for name, why in (
        ("fifo", "device, socket or FIFO"),
        ("dangling", "symbolic link"),
        ("other", "symbolic link"),
        ("link", "written over"),
        ("hard", "written over"),
        (path.name, "written over"),
        (".", "it is a folder"),
    ):
        with pytest.raises(OutputRefused, match=why):
            strip(str(path), str(tmp_path / name), Replace.YES)
    assert path.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()
    assert not [one.name for one in tmp_path.iterdir() if one.name.endswith(".tmp")]


def test_a171_what_is_still_to_be_signed_is_not_written_over_by_the_output_of_another(tmp_path: Path) -> None:
    home, folder = str(tmp_path / "home"), tmp_path / "d"
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "ima", "--home", home, "--algorithm", "p256"]) == 0
    folder.mkdir()
    (tmp_path / "x").write_bytes(b"one")
    (folder / "x.sig").write_bytes(b"a file of somebody's")
    path, options = str(tmp_path / "x"), ["--home", home, "--format", "ima", "--out", str(folder), "--replace"]
    assert main(["sign", path, str(folder / "x.sig"), *options]) == 1
    assert (folder / "x.sig").read_bytes() == b"a file of somebody's"
    assert not (folder / "x").exists()
    (folder / "x.sig").unlink()
    assert main(["sign", path, *options]) == 0
    assert main(["sign", path, *options]) == 0


def test_a171_a_link_that_leads_nowhere_is_told_with_its_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "home")]) == 0
    plain = zipped(tmp_path / "plain.jar")
    words = ["sign", str(plain), "--home", str(tmp_path / "home"), "--format", "jar", "--json", "--out"]
    assert main([*words, str(tmp_path / "good.jar")]) == 0
    (tmp_path / "dangling").symlink_to("nowhere")
    capsys.readouterr()
    for more in ([], ["--replace"]):
        assert main([*words, str(tmp_path / "dangling"), *more]) == 1
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        finding = said[0]["error"] if "error" in said[0] else said[0]["findings"][0]
        assert (len(said), finding["code"]) == (1, "SW-OUTPUT-REFUSED")
        assert finding["next_step"]
    assert not (tmp_path / "nowhere").exists()


def test_a150_an_archive_that_changes_between_digest_and_copy_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = zipped(tmp_path / "plain.jar", {"fw.bin": b"good firmware"})
    assert judge(sign_inside(plain, RELEASE, tmp_path / "good.jar", "jar"), TRUST).outcome is Outcome.TRUSTED
    attach = jar.JarFormat.attach

    def swapped(self: jar.JarFormat, prepared: Prepared, sealed: Sealed) -> object:
        zipped(plain, {"fw.bin": b"evil firmware"})
        return attach(self, prepared, sealed)

    monkeypatch.setattr(jar.JarFormat, "attach", swapped)
    with pytest.raises(ChangedWhileRead, match=r"fw\.bin"):
        sign_inside(plain, RELEASE, tmp_path / "bad.jar", "jar")
    assert not (tmp_path / "bad.jar").exists()


def test_a150_an_update_that_changes_between_digest_and_copy_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = archive(tmp_path)
    assert judge(sign_inside(plain, RELEASE, tmp_path / "good.swu", "swupdate"), TRUST).outcome is Outcome.TRUSTED
    attach = swupdate.SwUpdate.attach

    def swapped(self: swupdate.SwUpdate, prepared: Prepared, sealed: Sealed) -> object:
        data = bytearray(plain.read_bytes())
        data[-1000] ^= 1
        plain.write_bytes(data)
        return attach(self, prepared, sealed)

    monkeypatch.setattr(swupdate.SwUpdate, "attach", swapped)
    with pytest.raises(ChangedWhileRead, match=r"fw\.bin"):
        sign_inside(plain, RELEASE, tmp_path / "bad.swu", "swupdate")
    assert not (tmp_path / "bad.swu").exists()


def test_a171_an_artifact_that_is_gone_is_a_typed_error(tmp_path: Path) -> None:
    path = MAKERS["kmod"](tmp_path)
    path.chmod(0o6755)
    assert permissions_of(str(path)) == 0o755
    path.unlink()
    with pytest.raises(Unreadable):
        permissions_of(str(path))
    with pytest.raises(SealwrightError):
        strip(str(path), str(tmp_path / "out"))


def test_a171_what_stands_at_one_name_stops_no_other_path_of_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token's name without --replace, a link with it."""
    home, out = str(tmp_path / "home"), tmp_path / "out"
    assert main(["init", home]) == main(["key", "enrol", "xmldsig", "--home", home]) == 0
    for folder in (out, tmp_path / "in"):
        folder.mkdir()
    paths = [tmp_path / "in" / f"{number}.xml" for number in range(3)]
    for path in paths:
        path.write_bytes(TINY)
    words = [
        "sign",
        *map(str, paths),
        "--home",
        home,
        "--format",
        "xmldsig",
        "--timestamp",
        "local",
        "--out",
        str(out),
        "--json",
    ]
    for name, more in (("1.xml.tsr", []), ("1.xml", ["--replace"])):
        shutil.rmtree(out)
        out.mkdir()
        (out / name).symlink_to("nowhere")
        capsys.readouterr()
        assert main([*words, *more]) == 1
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["outcome"] for one in said] == ["signed", "not-signed", "signed"]
        assert said[1]["findings"][0]["code"] == "SW-OUTPUT-REFUSED"
        assert {one.name for one in out.iterdir()} == {"0.xml", "0.xml.tsr", name, "2.xml", "2.xml.tsr"}


def test_a152_a_crash_while_a_signature_and_its_token_are_replaced_is_undone(tmp_path: Path) -> None:
    home, out = str(tmp_path / "home"), tmp_path / "signed.xml"
    assert main(["init", home]) == main(["key", "enrol", "xmldsig", "--home", home]) == 0
    plain = tmp_path / "plain.xml"
    plain.write_bytes(TINY)
    words = ["sign", str(plain), "--home", home, "--format", "xmldsig", "--timestamp", "local", "--out", str(out)]
    assert main(words) == 0
    names = [f"{out}.tsr", str(out)]
    before = [Path(name).read_bytes() for name in names]
    for name in names:
        os.link(name, name + OLD)
    write_atomic(names[0], b"the new token", replace=Replace.YES)
    assert main(words) == 1
    assert [Path(name).read_bytes() for name in names] == before
    assert not list(tmp_path.glob(f"*{OLD}"))
    assert main([*words, "--replace"]) == 0
