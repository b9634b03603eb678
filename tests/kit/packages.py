"""Windows Installer packages: real ones that wixl makes, a small one whose every byte can be changed, and places in it."""

from __future__ import annotations

import struct
from pathlib import Path

from kit.openssl import run
from sealwright.artifact.output import Output, write_batch
from sealwright.formats.compoundfile import Item, Type
from sealwright.formats.compoundfile_write import written

PACKAGE_CLASS = bytes.fromhex("84100c0000000000c000000000000046")
STREAMS = {"\5SummaryInformation": b"s" * 100, "Tables": b"launch conditions" * 20, "Cabinet": bytes(range(250)) * 20}
WXS = """<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Name="Drive tool" Id="ABCDDCBA-86C7-4D14-AEC0-86416A69ABDE" UpgradeCode="ABCDDCBA-7349-453F-94F6-BCB5110BA4FD"
    Language="1033" Codepage="1252" Version="1.0.0" Manufacturer="ACME">
    <Package Id="*" Keywords="Installer" Description="Drive tool" Manufacturer="ACME" InstallerVersion="100"
      Languages="1033" Compressed="yes" SummaryCodepage="1252"/>
    <Media Id="1" Cabinet="tool.cab" EmbedCab="yes" DiskPrompt="CD #1"/>
    <Property Id="DiskPrompt" Value="Drive tool"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFilesFolder" Name="PFiles">
      <Directory Id="INSTALLDIR" Name="ACME">
        <Component Id="Main" Guid="ABCDDCBA-83F1-4F22-985B-FDB3C8ABD471">
          <File Id="Tool" Name="tool.txt" DiskId="1" Source="tool.txt" KeyPath="yes"/>
        </Component>
      </Directory></Directory></Directory>
    <Feature Id="Complete" Level="1"><ComponentRef Id="Main"/></Feature>
  </Product>
</Wix>
"""


def stream(name: str, data: bytes) -> Item:
    """A stream of new bytes."""
    return Item(name.encode("utf-16-le"), Type.STREAM, size=len(data), data=data, modified=struct.pack("<Q", len(data)))


def storage(name: str, *children: Item) -> Item:
    """A storage that was made long ago."""
    return Item(name.encode("utf-16-le"), Type.STORAGE, clsid=bytes(range(16)), created=b"\1" * 8, children=children)


def package(path: Path, *children: Item, sector: int = 512) -> Path:
    """A package of these, or of `STREAMS` and a storage."""
    held = children or (
        *(stream(name, data) for name, data in STREAMS.items()),
        storage("Patch", stream("Inner", b"inner"), stream("Void", b"")),
    )
    root = Item("Root Entry".encode("utf-16-le"), Type.ROOT, clsid=PACKAGE_CLASS, children=held)
    write_batch([Output(str(path), written("", sector, root))])
    return path


def wixl(folder: Path) -> Path:
    """A package as msitools' wixl makes it, with a cabinet inside."""
    (folder / "tool.wxs").write_text(WXS)
    (folder / "tool.txt").write_bytes(bytes(range(256)) * 100)
    made, words = run(["wixl", "-o", "plain.msi", "tool.wxs"], cwd=folder)
    assert made, words
    return folder / "plain.msi"


def entry(data: bytes, name: str) -> int:
    """Where the directory entry of that name is."""
    return data.index(name.encode("utf-16-le").ljust(64, b"\0") + struct.pack("<H", 2 * len(name) + 2))


def number(data: bytes, at: int) -> int:
    """32 bits, little-endian."""
    return int.from_bytes(data[at : at + 4], "little")


def table(data: bytes, sector: int) -> int:
    """Where the first table sector speaks of a sector (of 512 bytes)."""
    return (number(data, 76) + 1) * 512 + 4 * sector


def put(data: bytes, at: int, value: int | bytes) -> bytes:
    """Bytes, or 32 bits, exchanged."""
    new = value if isinstance(value, bytes) else struct.pack("<I", value)
    return data[:at] + new + data[at + len(new) :]
