"""The transfer station's share: verified copies and nothing else, whole or not there, and taken off when they are denied or overtaken."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.engineering import BOOT, release, sign
from kit.openssl import cms_verify, sums
from sealwright.cli.main import main
from sealwright.plant import transfer

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes") / "maker"
    assert main(["init", str(folder)]) == 0
    return folder


@pytest.fixture
def run(maker: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """`handover share` with what every run needs: exit code and all that was said."""
    for name in ("state", "share", "inbox"):
        (tmp_path / name).mkdir()

    def call(*more: str | Path, trust: Path | None = None) -> tuple[int, str]:
        words = ["handover", "share", *more, "--trust", trust or maker / "trust.toml"]
        capfd.readouterr()
        code = main([str(word) for word in words])
        shown = capfd.readouterr()
        return code, shown.out + shown.err

    return call


def entries(share: Path) -> list[str]:
    return sorted(name.rpartition("-")[0] for name in os.listdir(share) if name != "index.html")


def entry(share: Path, name: str) -> Path:
    (found,) = [one for one in share.iterdir() if one.name.rpartition("-")[0] == name]
    return found


def test_what_is_verified_is_on_the_share_with_its_signatures_and_sums(run: Run, maker: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    path, file = release(tmp_path / "inbox", maker), tmp_path / "inbox" / "drive.bin"
    file.write_bytes(BOOT)
    sign(file, maker, 3)
    code, said = run(path, file, "--to", share)
    assert (code, "6: released" in said, "drive.bin: released" in said) == (0, True, True), said
    assert entries(share) == ["6", "drive.bin"]
    there = entry(share, "6")
    assert sums(there / "SHA256SUMS", there)[0]
    assert sums(there / "6.manifest", there / "6")[0]
    assert cms_verify(there / "6.manifest.p7s", there / "6.manifest", maker / "ca.pem")[0]
    assert stat.S_IMODE((there / "6" / "boot.bin").stat().st_mode) == 0o644
    page = (share / "index.html").read_text()
    assert "<td>VX-200</td><td>6</td><td>6</td><td>sha256:" in page
    assert run(path, "--to", share) == (0, "6: was there already\n")


def test_the_next_station_verifies_what_nginx_gives_it(run: Run, maker: Path, tmp_path: Path) -> None:
    share, socket = tmp_path / "share", tmp_path / "s"
    assert run(release(tmp_path / "inbox", maker), "--to", share)[0] == 0
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"pid {tmp_path}/nginx.pid; error_log {tmp_path}/error.log; daemon off; user root;\nevents {{}}\n"
        f"http {{ access_log off; server {{ listen unix:{socket}; root {share}; autoindex on; }} }}\n"
    )
    served = subprocess.Popen(["nginx", "-p", str(tmp_path), "-c", str(conf)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if socket.exists():
                break
            time.sleep(0.05)
        page = got(socket, "")
        assert b"Checked releases" in page
        folder = page.decode().partition('href="')[2].partition('"')[0]
        fetched = tmp_path / "fetched"
        (fetched / "6" / "application").mkdir(parents=True)
        names = [line[66:] for line in (share / folder / "SHA256SUMS").read_text().splitlines()]
        assert "6/boot.bin" in names
        for name in names:
            (fetched / name).write_bytes(got(socket, folder + name))
    finally:
        served.terminate()
        served.wait(timeout=10)
    assert main(["verify", str(fetched / "6"), "--trust", str(maker / "trust.toml")]) == 0


def got(socket: Path, name: str) -> bytes:
    """What the server gives for a name."""
    words = ["curl", "-sf", "--unix-socket", str(socket), f"http://share/{name}"]
    return subprocess.run(words, capture_output=True, check=True).stdout


def test_what_is_refused_does_not_come_onto_the_share(run: Run, maker: Path, tmp_path: Path) -> None:
    path, share = release(tmp_path / "inbox", maker), tmp_path / "share"
    (path / "boot.bin").write_bytes(BOOT[::-1])
    code, said = run(path, "--to", share)
    assert (code, "6: NOT RELEASED: a file was changed" in said, entries(share)) == (1, True, [])
    (path / "boot.bin").write_bytes(BOOT)
    assert run(path, "--to", share)[0] == 0
    assert entries(share) == ["6"]


def test_a154_what_a_newer_one_overtook_is_taken_off_and_told(run: Run, maker: Path, tmp_path: Path) -> None:
    share, state = tmp_path / "share", tmp_path / "state"
    old, new = release(tmp_path / "inbox", maker, 5), release(tmp_path / "inbox", maker, 6)
    assert run(old, "--to", share, "--state", state)[0] == 0
    code, said = run(new, "--to", share, "--state", state)
    assert (code, "5: TAKEN OFF the share" in said, entries(share)) == (1, True, ["6"])
    assert "<td>5</td>" not in (share / "index.html").read_text()
    assert run("--to", share, "--state", state) == (0, "")
    code, said = run(old, "--to", share, "--state", state)
    assert (code, "5: NOT RELEASED" in said) == (1, True)


def test_a154_what_is_denied_by_now_is_taken_off(run: Run, maker: Path, tmp_path: Path) -> None:
    share, home = tmp_path / "share", tmp_path / "maker"
    shutil.copytree(maker, home)
    path = release(tmp_path / "inbox", home)
    assert run(path, "--to", share, trust=home / "trust.toml")[0] == 0
    digest = "sha256:" + hashlib.sha256((path.parent / "6.manifest").read_bytes()).hexdigest()
    trust = str(home / "trust.toml")
    assert main(["trust", "new", "--next", trust]) == 0
    assert main(["trust", "add", trust, "deny", "artifact", digest, "--reason", "a hole"]) == 0
    assert main(["trust", "sign", trust, "--home", str(home), "--person", "officer"]) == 0
    code, said = run("--to", share, trust=home / "trust.toml")
    assert (code, "6: TAKEN OFF the share" in said, entries(share)) == (1, True, [])


def altered(there: Path) -> None:
    (there / "6" / "boot.bin").write_bytes(b"evil")


def renamed(there: Path) -> None:
    there.rename(there.with_name("6-" + "0" * 12))


@pytest.mark.parametrize("alter", [altered, renamed])
def test_what_was_changed_on_the_share_is_taken_off(
    alter: Callable[[Path], None], run: Run, maker: Path, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    path = release(tmp_path / "inbox", maker)
    assert run(path, "--to", share)[0] == 0
    alter(entry(share, "6"))
    code, said = run(path, "--to", share)
    assert (code, "6: TAKEN OFF the share" in said, "6: released" in said) == (1, True, True)
    assert run("--to", share) == (0, "")


def test_what_this_station_did_not_put_there_is_told_and_left(run: Run, maker: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    assert run(release(tmp_path / "inbox", maker), "--to", share)[0] == 0
    (share / "setup.exe").write_bytes(b"MZ")
    code, said = run("--to", share)
    assert (code, "setup.exe lies on the share" in said, (share / "setup.exe").exists()) == (1, True, True)
    assert "setup.exe" not in (share / "index.html").read_text()


def test_a_folder_that_is_no_share_is_not_used(run: Run, maker: Path, tmp_path: Path) -> None:
    share, path = tmp_path / "share", release(tmp_path / "inbox", maker)
    (share / "photos").mkdir()
    code, said = run(path, "--to", share)
    assert (code, "it is not empty and no share of ours" in said, os.listdir(share)) == (1, True, ["photos"])
    (share / "photos").rmdir()
    share.chmod(0o777)
    code, said = run(path, "--to", share)
    assert (code, "others may write in" in said) == (1, True)
    share.chmod(0o755)
    assert run(path, "--to", share)[0] == 0


def test_a_run_that_was_cut_off_leaves_nothing_that_is_seen(
    run: Run, maker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, path = tmp_path / "share", release(tmp_path / "inbox", maker)
    assert run("--to", share)[0] == 0

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "write_atomic", full)
        code, said = run(path, "--to", share)
        assert (code, "No space left on device" in said, os.listdir(share)) == (1, True, ["index.html"])
    (share / ".sealwright-new-0badc0de").mkdir()
    assert run(path, "--to", share)[0] == 0
    assert entries(share) == ["6"]


def test_neighbours_with_longer_names_are_not_taken_along(run: Run, maker: Path, tmp_path: Path) -> None:
    share = tmp_path / "share"
    path = release(tmp_path / "inbox", maker)
    other = shutil.copytree(path, tmp_path / "inbox" / "6.1")
    sign(other, maker, 7)
    assert run(path, "--to", share)[0] == 0
    assert sorted(os.listdir(entry(share, "6"))) == ["6", "6.manifest", "6.manifest.p7s", "SHA256SUMS"]
    assert run(path, other, "--to", share)[0] == 0
    assert entries(share) == ["6", "6.1"]


@pytest.mark.parametrize("other", ["link", "folder"])
def test_what_a_share_does_not_carry_is_refused_as_a_whole(other: str, run: Run, maker: Path, tmp_path: Path) -> None:
    share, path = tmp_path / "share", release(tmp_path / "inbox", maker)
    assert run(path, "--to", share)[0] == 0
    if other == "link":
        (path / "application" / "current.st").symlink_to("main.st")
    else:
        (path / "application" / "logs").mkdir()
    sign(path, maker, 7)
    assert main(["verify", str(path), "--trust", str(maker / "trust.toml")]) == 0
    code, said = run(path, "--to", share)
    assert (code, "6: NOT RELEASED: there is a link or an empty folder in it" in said) == (1, True), said


def test_an_empty_stick_gets_the_same_and_a_used_one_nothing(run: Run, maker: Path, tmp_path: Path) -> None:
    path, stick = release(tmp_path / "inbox", maker), tmp_path / "stick"
    stick.mkdir()
    code, said = run(path, "--stick", stick)
    assert (code, "read back and found the same" in said) == (0, True), said
    assert sums(stick / "sealwright-checked.txt", stick)[0]
    assert main(["verify", str(stick / "6"), "--trust", str(maker / "trust.toml")]) == 0
    code, said = run(path, "--stick", stick)
    assert (code, "it is not empty" in said) == (1, True)
