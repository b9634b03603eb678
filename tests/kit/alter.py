"""Signed artifacts with one bit changed: in what they deliver, or in the signature value. Each changes the file where it lies."""

from __future__ import annotations

import base64
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from kit.archives import signature_block, with_member
from kit.house import Maker
from kit.updates import members_of, repacked
from sealwright.artifact.source import open_artifact
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.formats.efi_variable import read_update, signed_for
from sealwright.formats.embedded import recognise
from sealwright.formats.format import Search
from sealwright.formats.msi import read_package

Alteration = Callable[[Path, Maker], None]
_FROM_END = 3
_SECTOR, _BLOCK = 4096, 1196  # of Espressif: the block without its checksum


def flip(data: bytes, at: int) -> bytes:
    """The data with one bit of that byte changed. at: from the end where negative."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def within(sample: bytes) -> Alteration:
    """One bit in the middle of the first place where the sample stands."""

    def altered(path: Path, _: Maker) -> None:
        data = path.read_bytes()
        path.write_bytes(flip(data, data.index(sample) + len(sample) // 2))

    return altered


def at(offset: int) -> Alteration:
    """One bit of that byte."""
    return lambda path, _: _write(path, flip(path.read_bytes(), offset))


def behind(sample: bytes, distance: int, suffix: str = "") -> Alteration:
    """One bit so many bytes behind the first place where the sample stands. suffix: of the file beside it that is meant."""

    def altered(path: Path, _: Maker) -> None:
        meant = path.with_name(path.name + suffix)
        data = meant.read_bytes()
        _write(meant, flip(data, data.index(sample) + distance))

    return altered


def end_of(suffix: str) -> Alteration:
    """One bit near the end of a file beside it, which is where a signature without anything else has its value."""

    def altered(path: Path, _: Maker) -> None:
        beside = path.with_name(path.name + suffix)
        _write(beside, flip(beside.read_bytes(), -_FROM_END))

    return altered


def content_of_package(path: Path, _: Maker) -> None:
    """One bit of a stream of a Windows Installer package."""
    with open_artifact(str(path)) as source:
        start, _end = read_package(source).hashed[0]
    _write(path, flip(path.read_bytes(), start + _FROM_END))


def value_inside(path: Path, maker: Maker) -> None:
    """The value where it stands in the file as the format's reader found it."""
    certificates = tuple(one.public_bytes(Encoding.DER) for one in maker.certificates)
    with open_artifact(str(path)) as source:
        form = recognise(source)
        assert form is not None
        (candidate,) = form.extract(str(path), Search(source=source, certificates=certificates)).candidates
    assert candidate.envelope is not None
    (signer,) = candidate.envelope.signers
    assert isinstance(signer, Signer)
    data = path.read_bytes()
    _write(path, flip(data, data.index(signer.signature) + len(signer.signature) - _FROM_END))


def value_beside(suffix: str) -> Alteration:
    """The value in the signature file beside it."""

    def altered(path: Path, _: Maker) -> None:
        beside = path.with_name(path.name + suffix)
        _write(beside, _cms(beside.read_bytes()))

    return altered


def value_in_archive(path: Path, _: Maker) -> None:
    """The value in a JAR's signature block; the archive is packed anew."""
    block, other = signature_block(path), path.with_name("packing")
    _write(path, with_member(path, block, _cms(_member(path, block)), other).read_bytes())
    other.unlink()


def member_of_archive(name: str, data: bytes) -> Alteration:
    """Another member of that name; the archive is packed anew."""

    def altered(path: Path, _: Maker) -> None:
        other = path.with_name("packing")
        _write(path, with_member(path, name, data, other).read_bytes())
        other.unlink()

    return altered


def member_of_update(name: str, data: bytes) -> Alteration:
    """Another file of that name in a cpio, with its checksum made anew."""
    return lambda path, _: _write(path, repacked(path, path.parent, {name: data}).read_bytes())


def value_in_update(path: Path, maker: Maker) -> None:
    """The value in a cpio's sw-description.sig."""
    member_of_update("sw-description.sig", _cms(members_of(path)["sw-description.sig"]))(path, maker)


def value_in_script(path: Path, _: Maker) -> None:
    """The value in a script's block of comments, its lines as long as before."""
    lines = path.read_bytes().split(b"\r\n")
    first = next(number for number, line in enumerate(lines) if b"Begin signature block" in line) + 1
    last = next(number for number, line in enumerate(lines) if b"End signature block" in line)
    cms = base64.b64decode(b"".join(line[2:] for line in lines[first:last]))
    text = base64.b64encode(_cms(cms, Profile.FOREIGN_AUTHENTICODE))
    width = len(lines[first]) - 2
    lines[first:last] = [b"# " + text[start : start + width] for start in range(0, len(text), width)]
    _write(path, b"\r\n".join(lines))


def value_in_sector(path: Path, maker: Maker) -> None:
    """The value in the first signature block of an Espressif image, with the block's checksum made anew."""
    data = path.read_bytes()
    start = len(data) - _SECTOR
    # RSA: behind the key and what is computed from it; ECDSA: within r and s of both curves
    block = flip(data[start : start + _BLOCK], 900 if "rsa" in maker.name else 150)
    _write(path, data[:start] + block + zlib.crc32(block).to_bytes(4, "little") + data[start + _BLOCK + 4 :])


def value_in_variable(path: Path, _: Maker) -> None:
    """The value in the update of a UEFI variable."""
    data = path.read_bytes()
    (signer,) = signed_for(read_update(data, path.name), path.name)[1].signers
    assert isinstance(signer, Signer)
    _write(path, flip(data, data.index(signer.signature) + len(signer.signature) - _FROM_END))


def _member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def _cms(data: bytes, profile: Profile = Profile.FOREIGN_CMS) -> bytes:
    (signer,) = read_envelope(data, profile, "the signature").signers
    assert isinstance(signer, Signer)
    return flip(data, data.index(signer.signature) + len(signer.signature) - _FROM_END)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
