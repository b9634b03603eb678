"""Firmware of microcontrollers, and the programs that check it as their bootloaders do."""

from __future__ import annotations

import sys
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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
