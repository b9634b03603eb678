"""JAR archives, and Java as their other signer and verifier."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from kit.openssl import run
from kit.pki import NOW, Pki, Signer

SECRET = "changeit"
FILES: dict[str, bytes] = {
    "fw.bin": b"\x7fELF firmware " * 300,
    "data/": b"",
    "data/\u00e4 project.xml": b"<project/>",
    "data/" + "long-name-" * 9 + ".txt": b"x",
    "META-INF/services/a.b.C": b"a.b.D\n",
    "empty": b"",
}
_FAKE = os.environ | {"DONT_FAKE_MONOTONIC": "1"}


def _clock(at: datetime | None) -> list[str | Path]:
    """Java judges certificates by the machine's clock."""
    return ["faketime", f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"] if at is not None else []


def zipped(path: Path, files: Mapping[str, bytes] | None = None, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    """A plain archive."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in (FILES if files is None else files).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), data, packing)
    return path


def with_member(path: Path, name: str, data: bytes | None, out: Path) -> Path:
    """The archive with another member of that name, or without it."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for one in old.infolist():
            if one.filename != name:
                new.writestr(one, old.read(one))
        if data is not None:
            new.writestr(name, data)
    return out


def signature_block(path: Path) -> str:
    """The name of the member that is the CMS."""
    return next(name for name in zipfile.ZipFile(path).namelist() if name.endswith((".EC", ".RSA")))


def key_store(path: Path, certificates: Sequence[x509.Certificate]) -> Path:
    """A Java key store of certificates that are trusted."""
    entries = [pkcs12.PKCS12Certificate(one, str(number).encode()) for number, one in enumerate(certificates)]
    path.write_bytes(pkcs12.serialize_java_truststore(entries, BestAvailableEncryption(SECRET.encode())))
    return path


def anchors(folder: Path, pki: Pki, name: str = "anchors") -> Path:
    """Root and intermediate in a key store: jarsigner -strict wants one of a chain's certificates in it."""
    ders = (pki.root.certificate, *pki.leaf().chain)
    return key_store(folder / f"{name}.p12", [x509.load_der_x509_certificate(der) for der in ders])


def jarsigner(path: Path, keystore: Path, at: datetime | None = NOW) -> tuple[bool, str]:
    """`jarsigner -verify -strict`: a chain that is not trusted is an error. at: None for now, which costs Java much less."""
    done, words = run(
        [
            *_clock(at),
            "jarsigner",
            "-J-XX:TieredStopAtLevel=1",
            "-verify",
            "-strict",
            "-keystore",
            keystore,
            "-storepass",
            SECRET,
            path,
        ],
        environment=_FAKE,
    )
    return done and "jar verified." in words, words


def signed_by_jarsigner(path: Path, signer: Signer, name: str = "LEAF") -> Path:
    """The archive, signed where it lies."""
    key = signer.key._private
    assert key is not None
    store = path.with_suffix(".key.p12")
    chain = [x509.load_der_x509_certificate(der) for der in signer.chain]
    secret = BestAvailableEncryption(SECRET.encode())
    store.write_bytes(pkcs12.serialize_key_and_certificates(name.encode(), key, signer.x509, chain, secret))  # type: ignore[arg-type]
    made, words = run(
        [*_clock(NOW), "jarsigner", "-keystore", store, "-storepass", SECRET, "-storetype", "PKCS12", path, name],
        environment=_FAKE,
    )
    assert made, words
    return path


def java_reads(paths: Sequence[Path]) -> list[bool]:
    """Whether java.util.jar takes every member of each for signed and unaltered, whoever signed; many in one go."""
    listing = paths[0].with_name("list.txt")
    listing.write_text("".join(f"{path}\n" for path in paths))
    done, words = run(["java", Path(__file__).with_name("Reads.java"), listing])
    assert done, words
    answers = words.splitlines()
    assert len(answers) == len(paths), words
    return [answer == "ok" for answer in answers]
