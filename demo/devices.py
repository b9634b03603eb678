"""The chapter of the devices: a panel's installer, a gateway's file system and a drive's own header are signed inside.

Each stands beside the program that its device, or its maker, checks it with: accepted as signed, refused with one bit changed.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

from stage import HERE, Expect, chapter, run, step, tool

PAGE = (HERE / "docs" / "formats" / "layout.md").read_text()
LAYOUT = re.findall(r"```toml\n(# sealwright layout.*?)```", PAGE, re.DOTALL)[0]
HEADER = struct.Struct("<4sBBHI4xI12s64x")
ACME = ("--home", "acme-home", "--pin-file", "pin")
PANEL = """<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Name="Oven panel" Id="ABCDDCBA-86C7-4D14-AEC0-86416A69ABDE" UpgradeCode="ABCDDCBA-7349-453F-94F6-BCB5110BA4FD"
    Language="1033" Codepage="1252" Version="2.0.0" Manufacturer="Acme Drives">
    <Package Id="*" Description="Oven panel" InstallerVersion="100" Languages="1033" Compressed="yes" SummaryCodepage="1252"/>
    <Media Id="1" Cabinet="panel.cab" EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Component Id="Main" Guid="ABCDDCBA-83F1-4F22-985B-FDB3C8ABD471">
      <File Id="Panel" Name="screens.json" DiskId="1" Source="../backup-line-3/hmi/screens.json" KeyPath="yes"/>
    </Component></Directory>
    <Feature Id="Complete" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
"""


def devices() -> None:
    """Signed inside or where the device looks, checked, and refused when altered."""
    chapter("4. Where devices look for the signature themselves")
    for name in ("devices", "devices/altered", "trust.d"):
        Path(name).mkdir()
    for form in ("msi", "verity", "layout"):
        run("key", "enrol", form, *ACME, lines=1)
    for form in ("verity", "layout"):  # their signatures carry no certificate: verifiers know it beforehand
        shutil.copy(f"acme-home/trust.d/{form}.pem", "trust.d")
    panel()
    gateway()
    drive()


def panel() -> None:
    """The installer of an operator panel, as Windows reads it."""
    Path("devices/panel.wxs").write_text(PANEL)
    made("wixl", "-o", "plain.msi", "panel.wxs")
    run("sign", "devices/plain.msi", *ACME, "--key", "msi", "--format", "msi", "--out", "devices/panel.msi")
    check = ("osslsigncode", "verify", "-CAfile", "acme-home/ca.pem", "-TSA-CAfile", "acme-home/ca.pem", "-in")
    step("the installer of the oven's panel", 0, "devices/panel.msi")
    tool(*check, "devices/panel.msi")
    altered("panel.msi", Path("devices/panel.msi").read_bytes().index(b"MSCF") + 60)
    step("a bit of the installer's cabinet altered", 1, "devices/altered/panel.msi")
    tool(*check, "devices/altered/panel.msi", expect=Expect.REFUSES)


def gateway() -> None:
    """The root file system of a gateway, whose kernel checks every block that it reads."""
    made("mksquashfs", "../backup-line-3", "rootfs.squashfs", "-quiet", "-no-progress", "-noappend")
    size = Path("devices/rootfs.squashfs").stat().st_size
    run("sign", "devices/rootfs.squashfs", *ACME, "--format", "verity", "--out", "devices/rootfs.raw")
    step("the file system of the gateway", 0, "devices/rootfs.raw")
    tool(*blocks("devices/rootfs.raw", size))
    tool(
        "openssl", "smime", "-verify", "-inform", "der", "-in", "devices/rootfs.raw.roothash.p7s", "-content",
        "devices/rootfs.raw.roothash", "-binary", "-certfile", "trust.d/verity.pem", "-nointern", "-noverify", "-out", "/dev/null",
    )  # fmt: skip
    altered("rootfs.raw", 100, ".roothash", ".roothash.p7s")
    step("a bit of one block altered", 1, "devices/altered/rootfs.raw")
    tool(*blocks("devices/altered/rootfs.raw", size), expect=Expect.REFUSES)


def drive() -> None:
    """Firmware under Acme's own header, which a layout of forty lines describes."""
    firmware = Path("stick/opensbi.bin").read_bytes()
    Path("acme.layout").write_text(LAYOUT)
    Path("devices/plain.bin").write_bytes(HEADER.pack(b"ACME", 2, 0, 0, len(firmware), 0, b"oven fan") + firmware)
    claims = ("--version", "2.1.900", "--generation", "7")
    run("sign", "devices/plain.bin", *ACME, "--layout", "acme.layout", *claims, "--out", "devices/fan.bin")
    certificate = Path("trust.d/layout.pem")
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], capture_output=True, check=True)
    Path("public.pem").write_bytes(key.stdout)
    step("firmware under Acme's own header", 0, "devices/fan.bin")
    by_hand("devices/fan.bin")
    altered("fan.bin", 96 + len(firmware) // 2)
    step("a bit of that firmware altered", 1, "devices/altered/fan.bin")
    by_hand("devices/altered/fan.bin", Expect.REFUSES)


def by_hand(image: str, expect: Expect = Expect.AGREES) -> None:
    """OpenSSL on the bytes that `layout check` says are signed, cut out as it says."""
    said = subprocess.run(
        [str(HERE / ".venv" / "bin" / "sealwright"), "layout", "check", "acme.layout", image],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    commands = [line.strip() for line in said.partition("public.pem:")[2].splitlines() if line.strip()]
    Path("commands.sh").write_text("\n".join(commands[:-1]) + "\n")
    print(f"   (what `sealwright layout check acme.layout {image}` tells to type, the last line of it shown)")
    subprocess.run(["bash", "-e", "commands.sh"], check=True, capture_output=True)
    tool(*commands[-1].split(), expect=expect)


def blocks(image: str, size: int) -> list[str]:
    """veritysetup on every block, as the kernel does when it reads them."""
    root = Path(f"{image}.roothash").read_text().strip()
    return ["/sbin/veritysetup", "verify", image, image, root, f"--hash-offset={size}"]


def altered(name: str, at: int, *beside: str) -> None:
    """A copy with one bit changed, and what lies beside it."""
    data = bytearray(Path("devices", name).read_bytes())
    data[at] ^= 1
    Path("devices/altered", name).write_bytes(bytes(data))
    for ending in beside:
        shutil.copy(f"devices/{name}{ending}", "devices/altered")


def made(*command: str) -> None:
    """What a maker's build makes."""
    subprocess.run(command, cwd="devices", check=True, capture_output=True)
