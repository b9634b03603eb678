"""A vendor's file as it comes, and `sealwright receive` as people type it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kit.openssl import cms_verify, run
from sealwright.envelope.cms import Profile, Signer, read_envelope

CONTENT = b"firmware of a drive, version 2.4\n"
SOURCE, CHANNEL = "https://acme.example/drive.bin", "mail of ACME support"
Words = list[str | Path]


def delivered(folder: Path, content: bytes = CONTENT) -> Path:
    """drive.bin in a folder of its own."""
    (folder / "in").mkdir(exist_ok=True)
    path = folder / "in" / "drive.bin"
    path.write_bytes(content)
    return path


def sums(folder: Path, *files: Path) -> Path:
    """The vendor's list, which came another way."""
    path = folder / "SHA256SUMS"
    path.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return path


def compared(file: Path, listed: Path | str, home: Path, person: str = "release-engineer") -> Words:
    """The words of a command that receives by the grade `compared`."""
    return ["receive", file, "--grade", "compared", "--source", SOURCE, "--compare", listed, "--channel", CHANNEL,
            "--person", person, "--home", home]  # fmt: skip


def uncompared(file: Path, home: Path, *more: str | Path) -> Words:
    """By two persons, the first of whom signs."""
    return ["receive", file, "--grade", "uncompared", "--source", "ACME, USB stick", "--reason", "ACME is out of business",
            "--person", "release-engineer", "--person", "p-4", "--home", home, *more]  # fmt: skip


def record_of(file: Path) -> Path:
    """Where its record lies."""
    return Path(f"{file}.received.manifest")


def anyone_agrees(record: Path, anchors: Path, signature: str = ".p7s") -> bool:
    """`openssl cms -verify` of the record, and `sha256sum -c` of what it lists."""
    signed, _ = cms_verify(Path(f"{record}{signature}"), record, anchors)
    whole, _ = run(["sha256sum", "-c", "--strict", "--quiet", f"./{record.name}"], cwd=record.parent)
    return signed and whole


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below, with what is in it."""
    return {str(one.relative_to(folder)): one.read_bytes() for one in sorted(folder.rglob("*")) if one.is_file()}


def spoil(path: Path) -> None:
    """Change one bit: of the signature value in a `.p7s`, of the last but one byte of everything else."""
    data = path.read_bytes()
    at = len(data) - 2
    if path.suffix == ".p7s":
        (signer,) = read_envelope(data, Profile.OURS, path.name).signers
        assert isinstance(signer, Signer)
        at = data.index(signer.signature) + len(signer.signature) - 1
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
