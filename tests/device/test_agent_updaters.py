"""Parts handed to real updaters: RAUC and SWUpdate of Debian read the agent's own copy, and write what it says."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.agents import Maker, program, site
from kit.pki import Pki
from kit.updates import bundle, ring, swu, swupdate, updater
from sealwright.device.round import Doing

ONE = "# sealwright release 1\n[[component]]\nname = '{name}'\npath = '{path}'\n"
IMAGE = random.Random(8).randbytes(200_000)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


def installer(name: str, *words: str | Path, undo: str = "") -> str:
    listed = ", ".join(f"'{word}'" for word in words)
    return f"[[installer]]\ncomponent = '{name}'\nkind = 'exec'\ninstall = [{listed}]\ntimeout = '2m'\n{undo}"


@pytest.fixture
def rauc(tmp_path: Path) -> Iterator[dict[str, str]]:
    """RAUC's service on a bus of its own, with two raw slots in files; what its client needs in the environment."""
    place = tmp_path / "rauc"
    place.mkdir()
    for slot in ("slot0", "slot1"):
        (place / slot).write_bytes(bytes(2 * len(IMAGE)))
    (place / "primary").write_text("A\n")
    backend = program(
        place / "backend",
        f"case $1 in get-primary) cat {place}/primary;; set-primary) echo $2 > {place}/primary;; get-state) echo good;; esac",
    )
    slots = "".join(
        f"[slot.rootfs.{number}]\ndevice={place}/slot{number}\ntype=raw\nbootname={name}\n"
        for number, name in enumerate("AB")
    )
    (place / "system.conf").write_text(
        f"[system]\ncompatible=acme-plc\nbootloader=custom\nmountprefix={place}/mnt\nstatusfile={place}/status\n"
        f"bundle-formats=plain verity\n[handlers]\nbootloader-custom-backend={backend}\n"
        f"[keyring]\npath={tmp_path}/keyring.pem\nuse-bundle-signing-time=true\n{slots}"
    )
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--print-address", "--nofork"], stdout=subprocess.PIPE, text=True
    )
    assert bus.stdout is not None
    environment = {"DBUS_SESSION_BUS_ADDRESS": bus.stdout.readline().strip(), "DBUS_STARTER_BUS_TYPE": "session"}
    with (place / "log").open("w") as log:
        command = ["rauc", f"--conf={place}/system.conf", "--override-boot-slot=A", "service"]
        service = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log)
    try:
        yield environment
    finally:
        for process in (service, bus):
            process.terminate()
            process.wait(timeout=10)
        bus.stdout.close()


def test_rauc_installs_the_bundle_that_the_agent_hands_it_and_is_told_to_go_back(
    maker: Maker, tmp_path: Path, rauc: dict[str, str]
) -> None:
    makers = Pki.make("Updates")
    ring(tmp_path / "keyring.pem", makers)
    words = " ".join(f"{name}='{value}'" for name, value in rauc.items())
    client = program(
        tmp_path / "rauc-client",
        f'export {words}\nfor try in 1 2 3 4 5 6 7 8 9; do rauc "$@" && exit 0; sleep 0.5; done; exit 1',
    )
    sick = program(tmp_path / "healthy", f"test ! -e {tmp_path}/sick")
    undo = f"undo = ['{client}', 'status', 'mark-active', 'booted']\n"
    device = site(
        tmp_path / "device",
        maker,
        installers=installer("system", client, "install", "{file}", undo=undo),
        extra=f"[health]\ncommand = ['{sick}']\ntries = 1\n",
    )
    description = ONE.format(name="system", path="update.raucb")
    good = bundle(tmp_path / "good", updater(makers), form="plain", image=IMAGE)
    maker.offer(maker.release("1.0.0", 1, files={"update.raucb": good.read_bytes()}, description=description))
    assert device.install() == "installed", (tmp_path / "rauc/log").read_text()
    assert (tmp_path / "rauc/slot1").read_bytes()[: len(IMAGE)] == IMAGE
    assert (tmp_path / "rauc/primary").read_text() == "B\n"
    # the next one does not work: RAUC is told to boot what is running
    (tmp_path / "sick").touch()
    other = bundle(tmp_path / "other", updater(makers), form="plain", image=bytes(reversed(IMAGE)))
    maker.offer(maker.release("1.1.0", 2, files={"update.raucb": other.read_bytes()}, description=description))
    assert (device.install(), device.version) == ("returned", "1.0.0")
    assert (tmp_path / "rauc/primary").read_text() == "A\n"


def test_a_bundle_that_rauc_refuses_takes_the_release_back(maker: Maker, tmp_path: Path) -> None:
    makers = Pki.make("Updates")
    signed, strange = bundle(tmp_path / "good", updater(makers)), bundle(tmp_path / "bad", updater(Pki.make("Other")))
    keyring = ring(tmp_path / "keyring.pem", makers)
    checks = installer("system", "/usr/bin/rauc", f"--keyring={keyring}", "info", "--no-check-time", "{file}")
    device = site(tmp_path / "device", maker, installers=checks)
    description = ONE.format(name="system", path="update.raucb")
    maker.offer(maker.release("1.0.0", 1, files={"update.raucb": signed.read_bytes()}, description=description))
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2, files={"update.raucb": strange.read_bytes()}, description=description))
    done = device.round()
    assert (done.outcome, device.version) == ("returned", "1.0.0")
    assert "system: /usr/bin/rauc ended with 1" in done.trouble


def test_swupdate_writes_the_image_of_the_agents_copy_and_the_undo_writes_the_former_one(
    maker: Maker, tmp_path: Path
) -> None:
    makers = Pki.make("Updates")
    keyring, flash = ring(tmp_path / "keyring.pem", makers), tmp_path / "flash"
    flash.write_bytes(bytes(len(IMAGE)))
    other = bytes(reversed(IMAGE))
    first = swu(tmp_path / "first", makers, "1.0.0", IMAGE, flash)
    second = swu(tmp_path / "second", makers, "1.1.0", other, flash)
    kept = tmp_path / "kept.swu"
    kept.write_bytes(first.read_bytes())
    # its sockets in a place of its own, and its exit status is a client's, which may come too early: the wrapper looks at the flash
    runs = program(
        tmp_path / "swu-install",
        f'export TMPDIR="{tmp_path}/tmp$$"; mkdir "$TMPDIR"; cd "$TMPDIR"\n'
        "for try in 1 2 3 4 5 6 7 8; do\n"
        f' timeout 20 unshare --net /usr/bin/swupdate -v -k {keyring} -H board:1.0 -i "$1" > words 2>&1\n'
        ' grep -q "SWUPDATE successful" words && exit 0; grep -q "\\[ERROR\\]" words && { grep "\\[ERROR\\]" words; exit 1; }\n'
        "done; exit 2",
    )
    sick = program(tmp_path / "healthy", f"! cmp -s {flash} {tmp_path}/other")
    (tmp_path / "other").write_bytes(other)
    undo = f"undo = ['{runs}', '{kept}']\n"
    device = site(
        tmp_path / "device",
        maker,
        installers=installer("firmware", runs, "{file}", undo=undo),
        extra=f"[health]\ncommand = ['{sick}']\ntries = 1\n",
    )
    description = ONE.format(name="firmware", path="fw.swu")
    maker.offer(maker.release("1.0.0", 1, files={"fw.swu": first.read_bytes()}, description=description))
    assert device.round().outcome == "installed"
    assert flash.read_bytes() == IMAGE
    maker.offer(maker.release("1.1.0", 2, files={"fw.swu": second.read_bytes()}, description=description))
    done = device.round()
    assert (done.outcome, device.version) == ("returned", "1.0.0")
    assert "health" in done.trouble
    assert flash.read_bytes() == IMAGE


def test_swupdate_finds_the_handed_over_copy_whole(maker: Maker, tmp_path: Path) -> None:
    makers = Pki.make("Updates")
    keyring = ring(tmp_path / "keyring.pem", makers)
    made = swu(tmp_path / "first", makers, "1.0.0", IMAGE, tmp_path / "flash")
    true = program(tmp_path / "true", "exit 0")
    device = site(tmp_path / "device", maker, installers=installer("firmware", true, "{file}"))
    description = ONE.format(name="firmware", path="fw.swu")
    maker.offer(maker.release("1.0.0", 1, files={"fw.swu": made.read_bytes()}, description=description))
    assert device.round(Doing.INSTALL).outcome == "installed"
    assert swupdate(device.current / "fw.swu", keyring)[0]
