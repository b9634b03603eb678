"""Firmware of microcontrollers, and the programs that check it as their bootloaders do."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from esptool.bin_image import ELFSection, ESP32FirmwareImage, ESP32S3FirmwareImage

from kit.openssl import run
from kit.pki import Signer

FIRMWARE = bytes(range(1, 251)) * 8


def public_key(signer: Signer, folder: Path) -> Path:
    """The signer's public key in PEM, as devices and their tools want it."""
    path = folder / f"{signer.key_digest[7:15]}.pem"
    path.write_bytes(signer.key.info.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def imgtool(*arguments: str | Path) -> tuple[bool, str]:
    """MCUboot's own tool. `verify` without -k checks no signature."""
    return run([Path(sys.executable).parent / "imgtool", *arguments])


def esp_image(
    folder: Path,
    *,
    chip: type[ESP32FirmwareImage] = ESP32S3FirmwareImage,
    description: tuple[str, str, int] | None = ("drive", "1.2.3", 7),
    code: bytes = FIRMWARE,
    digest: bool = True,
    secure_pad: bool = False,
) -> Path:
    """An application as esptool's elf2image writes it. description: project, version and security version."""
    image = chip(append_digest=digest)
    image.chip_id = chip.ROM_LOADER.IMAGE_CHIP_ID
    image.secure_pad = "2" if secure_pad else None
    about = b""
    if description is not None:
        project, version, generation = description
        about = struct.pack("<II8x32s32s", 0xABCD5432, generation, version.encode(), project.encode()).ljust(256, b"\0")
    constants, program = chip.ROM_LOADER.DROM_MAP_START + 0x20, 0x4008_0000  # memory, of every chip
    if about:
        image.segments.append(ELFSection(b".flash.appdesc", constants, about, 0))
    image.segments.append(ELFSection(b".iram0.text", program, code, 0))
    path = folder / "esp.bin"
    image.save(str(path))
    return path


def espsecure(*arguments: str | Path) -> tuple[bool, str]:
    """Espressif's own tool."""
    return run([Path(sys.executable).parent / "espsecure", *arguments])
