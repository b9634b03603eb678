"""JAR archives, and Java as their other signer and verifier."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
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
# at the tests' time: Java judges certificates by the machine's clock
_FAKE = os.environ | {"DONT_FAKE_MONOTONIC": "1"}
_CLOCK: list[str | Path] = ["faketime", f"{NOW:%Y-%m-%d %H:%M:%S} UTC"]


def zipped(path: Path, files: Mapping[str, bytes] | None = None, packing: int = zipfile.ZIP_DEFLATED) -> Path:
    """A plain archive."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, data in (FILES if files is None else files).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6)), data, packing)
    return path


def anchors(folder: Path, pki: Pki, name: str = "anchors") -> Path:
    """Root and intermediate in a key store: jarsigner -strict wants one of a chain's certificates in it."""
    path = folder / f"{name}.p12"
    if not path.exists():
        for alias, der in zip(("root", "mid"), (pki.root.certificate, *pki.leaf().chain), strict=False):
            (folder / "one.der").write_bytes(der)
            made, words = run(
                ["keytool", "-importcert", "-noprompt", "-file", folder / "one.der", "-alias", alias, "-keystore", path,
                 "-storepass", SECRET, "-storetype", "PKCS12"]
            )  # fmt: skip
            assert made, words
    return path


def jarsigner(path: Path, keystore: Path) -> tuple[bool, str]:
    """`jarsigner -verify -strict`: a chain that is not trusted is an error."""
    done, words = run(
        [*_CLOCK, "jarsigner", "-verify", "-strict", "-keystore", keystore, "-storepass", SECRET, path],
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
        [*_CLOCK, "jarsigner", "-keystore", store, "-storepass", SECRET, "-storetype", "PKCS12", path, name],
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
