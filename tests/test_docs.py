"""The documents typed as they stand, in a new folder: the first steps, and every command of a format's `Sign` and `Check`."""

from __future__ import annotations

import hashlib
import os
import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.archives import zipped
from kit.boards import FIRMWARE, esp_image
from kit.cabinets import gcab
from kit.efi import PROGRAMS
from kit.modules import tiny_module
from kit.openssl import run
from kit.packages import wixl
from kit.powershell import FILES as SCRIPTS
from kit.samples import project
from kit.share import Share, by_hand
from kit.tokens import PIN, make_token
from kit.uboot import compiled
from kit.uboot import fit as mkimage
from kit.updates import swupdate as judged_by_swupdate
from kit.xmldocs import AML

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "formats"
HEX = ":0400000001020304F2\n:00000001FF\n"


def named(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def certified(folder: Path, key: str, certificate: str, kind: str) -> None:
    """A key of OpenSSL's and a certificate for it."""
    words = ["-newkey", kind, "-nodes", "-keyout", folder / key, "-out", folder / certificate, "-subj", "/CN=theirs"]
    made, said = run(["openssl", "req", "-x509", *words])
    assert made, said
    (folder / key).chmod(0o600)


def cab(folder: Path) -> None:
    gcab(folder).rename(folder / "drivers.cab")


def esp32(folder: Path) -> None:
    esp_image(folder, secure_pad=True).rename(folder / "app.bin")


def fit(folder: Path) -> None:
    mkimage(folder, signatures=2).unlink()
    compiled(folder, '/ { model = "u-boot"; };', "u-boot")


def fsverity(folder: Path) -> None:
    named(folder, "app.bin", FIRMWARE)


def hexfile(folder: Path) -> None:
    named(folder, "drive.hex", HEX)
    named(folder, "zephyr.hex", HEX)


def ima(folder: Path) -> None:
    named(folder, "app.bin", FIRMWARE)
    named(folder, "bin/tool", FIRMWARE)
    project(folder).rename(folder / "rootfs")


def jar(folder: Path) -> None:
    zipped(folder / "project.jar")


def kmod(folder: Path) -> None:
    named(folder, "drivers/probe.ko", tiny_module())


def layout(folder: Path) -> None:
    """The layout that the page shows, and an image of it with room for its signature, version and counter."""
    (whole,) = re.findall(r"```toml\n(# sealwright layout.*?)```", (PAGES / "layout.md").read_text(), re.DOTALL)
    named(folder, "acme.layout", whole)
    header = struct.pack("<4sBBHI4xI12s64x", b"ACME", 2, 0, 0, len(FIRMWARE), 0, b"drive")
    named(folder, "image.bin", header + FIRMWARE)


def mcuboot(folder: Path) -> None:
    named(folder, "zephyr.bin", FIRMWARE)
    named(folder, "zephyr.hex", HEX)
    certified(folder, "boot.pem", "boot.crt", "rsa:2048")


def msi(folder: Path) -> None:
    wixl(folder).rename(folder / "tool.msi")


def pe(folder: Path) -> None:
    PROGRAMS[0].copy_to(folder).rename(folder / "boot.efi")


def powershell(folder: Path) -> None:
    named(folder, "rotate.ps1", SCRIPTS["crlf.ps1"])


def rauc(folder: Path) -> None:
    named(folder, "content/rootfs.img", random.Random(1).randbytes(51_200))
    named(
        folder,
        "content/manifest.raucm",
        "[update]\ncompatible=plc\nversion=1\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nfilename=rootfs.img\n",
    )


def secure_boot(folder: Path) -> None:
    PROGRAMS[0].copy_to(folder).rename(folder / "bad.efi")


def swupdate(folder: Path) -> None:
    files = {name: random.Random(name).randbytes(51_200) for name in ("fw.bin", "rootfs.ext4")}
    for name, data in files.items():
        named(folder, name, data)
    listed = ", ".join(
        f'{{ filename = "{name}"; path = "{name}"; sha256 = "{hashlib.sha256(data).hexdigest()}"; }}'
        for name, data in files.items()
    )
    text = f'software = {{ version = "1.0"; hardware-compatibility: [ "1.0" ]; files: ( {listed} ); }}'
    named(folder, "sw-description", text)


def verity(folder: Path) -> None:
    named(folder, "rootfs.squashfs", FIRMWARE.ljust(4096) * 16)
    named(folder, "image.roothash", "ab" * 32)
    certified(folder, "key.pem", "cert.pem", "rsa:3072")


def xml(folder: Path) -> None:
    named(folder, "plant.aml", AML)


WORLDS: dict[str, Callable[[Path], None]] = {
    "cab": cab,
    "esp32": esp32,
    "fit": fit,
    "fsverity": fsverity,
    "hex": hexfile,
    "ima": ima,
    "jar": jar,
    "kmod": kmod,
    "layout": layout,
    "mcuboot": mcuboot,
    "msi": msi,
    "pe": pe,
    "powershell": powershell,
    "rauc": rauc,
    "secure-boot": secure_boot,
    "swupdate": swupdate,
    "verity": verity,
    "xml": xml,
}
# on Windows; by a kernel that is asked for it; on the way to an installation; one at a time on a machine, with `kit.updates`
ELSEWHERE = ("Get-AuthenticodeSignature", "fsverity enable", "veritysetup open", "pip install", "swupdate -c")


def typed(page: Path) -> Iterator[str]:
    """The commands of a page's sections on signing and checking, without the remarks behind them."""
    for section in re.split(r"^## ", page.read_text(), flags=re.MULTILINE)[1:]:
        if section.startswith(("Sign", "Check", "Make")):
            for command in re.findall(r"^    ([A-Za-z(](?:.*\\\n)*.*)$", section, re.MULTILINE):
                if not command.startswith(ELSEWHERE):
                    yield re.split(r"\s+# ", command)[0]


def test_every_page_is_typed() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(WORLDS)


@pytest.mark.parametrize("name", WORLDS)
def test_what_a_page_tells_to_type_does_what_it_says(name: str, tmp_path: Path) -> None:
    """A command that ends with another code than 0 is a mistake of the page, or of ours."""
    WORLDS[name](tmp_path)
    commands = list(typed(PAGES / f"{name}.md"))
    assert any("sealwright verify" in command or "secure-boot show" in command for command in commands)
    if not any(command.startswith("sealwright init home") for command in commands):
        commands.insert(0, "sealwright init home")
    code, said = bash(tmp_path, *commands)
    assert code == 0, said
    if name == "swupdate":
        accepted, said = judged_by_swupdate(tmp_path / "update.swu", tmp_path / "swupdate-ca.pem")
        assert accepted, said


def test_the_first_steps_answer_as_the_readme_shows(tmp_path: Path) -> None:
    """Each command that stands behind a `$`, and below it the first line of its answer."""
    named(tmp_path, "drive.bin", FIRMWARE)
    lines = re.findall(r"^    (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    typed_ones = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    assert len(typed_ones) == 5
    for at in typed_ones:
        _, said = bash(tmp_path, re.split(r"\s+# ", lines[at][2:])[0])
        shown = lines[at + 1] if at + 1 < len(lines) and not lines[at + 1].startswith("$ ") else ""
        assert shown.strip() in said, said


def test_a_script_runs_as_its_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "running.md").read_text().partition("## ")[0]
    commands = [re.split(r"\s+# ", line)[0] for line in re.findall(r"^    (.+)$", page, re.MULTILINE)]
    code, said = bash(tmp_path, "sealwright init home", *commands)
    assert (code, "kept 7 days" in said) == (0, True), said


def test_a_file_is_received_as_its_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "receiving.md").read_text()
    named(tmp_path, "drive.bin", FIRMWARE)
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    waits = [" || test $? = 3" if line.endswith("# exit code 3") else "" for line in lines]
    commands = [re.split(r"\s+# ", line)[0] + end for line, end in zip(lines, waits, strict=True)]
    code, said = bash(tmp_path, "sealwright init home", *commands)
    assert code == 0, said
    assert "drive.bin.received/list-from-acme.txt: OK" in said


def test_the_page_on_accepting_is_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "accepting.md").read_text().partition("## Try it here")[2]
    commands = re.findall(r"^    (.+)$", page, re.MULTILINE)
    code, said = bash(tmp_path, *commands)
    assert (code, "INSTALL: allowed" in said, "drive.bin.p7s: OK" in said) == (0, True, True), said


def test_the_page_on_permits_is_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "permits.md").read_text().partition("## Try it here")[2]
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    waits = [" || test $? = 3" if line.endswith("# exit code 3") else "" for line in lines]
    commands = [re.split(r"\s+# ", line)[0] + end for line, end in zip(lines, waits, strict=True)]
    code, said = bash(tmp_path, *commands)
    assert code == 0, said
    for words in ("6.manifest: OK", "INSTALL BY PERMIT ONLY", "RED: break-glass", "confirmed by p-3 and p-4"):
        assert words in said, words


def test_the_page_on_engineering_stations_is_typed(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "engineering-station.md").read_text().partition("## Try it here")[2]
    lines = re.findall(r"^    (.+)$", page.partition("\n## ")[0], re.MULTILINE)
    ends = [" || test $? = 1" if line.endswith("# exit code 1") else "" for line in lines]
    commands = [re.split(r"\s+# ", line)[0] + end for line, end in zip(lines, ends, strict=True)]
    code, said = bash(tmp_path, *commands)
    assert code == 0, said
    for words in (
        "handed over for 4711-003",
        "back.bin: the device gave back exactly what was signed",
        "it is for the devices 4711-003, and this device is 4711-004",
        "refused for 4711-004",
        "records: 4 records, whole",
    ):
        assert words in said, (words, said)


def test_the_first_week_goes_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command ends as it says, with the first line of its answer where that is shown."""
    Share.make(tmp_path, datetime.now(UTC).replace(microsecond=0)).tamper()
    named(tmp_path, "pin.txt", PIN).chmod(0o600)
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path / "tokens", "anna")))
    run(["softhsm2-util", "--init-token", "--free", "--label", "bert", "--pin", PIN, "--so-pin", "87654321"])
    page = (ROOT / "docs" / "first-week.md").read_text()
    lines = re.findall(r"^    (.+)$|^(<!-- the editor -->)$", page, re.MULTILINE)
    shown = [line or "edit" for line, _ in lines]
    for at, line in enumerate(shown):
        if line == "edit":
            trust = tmp_path / "office" / "trust.toml"
            trust.write_text(by_hand(trust.read_text()))
        if line.startswith("$ "):
            command, _, remark = line[2:].partition("     # exit code ")
            if "WORDS OF THE CARD" in command:
                trust = (tmp_path / "office" / "trust.toml").read_bytes()
                command = command.replace("WORDS OF THE CARD", hashlib.sha256(trust).hexdigest())
            code, said = bash(tmp_path, command)
            assert code == int(remark or 0), said
            following = shown[at + 1] if at + 1 < len(shown) else ""
            assert following.startswith(("$ ", "edit")) or following in said, said


def bash(folder: Path, *commands: str) -> tuple[int, str]:
    """Commands typed one after the other until one fails: the exit code, and all that was said."""
    path = f"{Path(sys.executable).parent}:/usr/sbin:/sbin:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
