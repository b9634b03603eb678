"""Make src/sealwright/pki/knownkeys.txt: SHA-256 of the SPKI of private keys that are published, with where they stand.

    python scripts/known_keys.py 'MCUboot=checkouts/mcuboot' 'RFC=checkouts/examplekeys' … > src/sealwright/pki/knownkeys.txt

Each argument is NAME=FOLDER, a checkout or an unpacked package; a folder that is a bare git repository is read at HEAD.
NAME+ takes the keys of certificates and public keys as well: for places that publish only those of keys that leaked.
What is found: private keys in PEM anywhere in a file (PKCS#8, PKCS#1, SEC1, OpenSSH; in C strings too), PKCS#8 in DER (*.pk8,
*.der, *.key). Only the digest of the public half is written. Left out are keys that are refused anyway for their kind or size. The
same key counts once, for the first place named. Nothing is fetched: the folders are the caller's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, pkcs7

MAX_BYTES = 8 << 20
MAX_PATH = 80
SUFFIX = re.compile(r"\.[A-Za-z0-9_-]{5}\.key$")  # what a collection adds to the name of the file
CURVES = ("secp256r1", "secp384r1", "secp521r1")
BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{3,40})-----(.{16,20000}?)-----END \1-----", re.DOTALL)
BINARY = (".pk8", ".der", ".key", ".p7", ".cer", ".crt")
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)
HEAD = """# Public keys whose private half is published: tests, examples, demonstrations, leaks. SHA-256 of the SPKI in DER:
#   openssl pkey -in KEY -pubout -outform DER | sha256sum
# Digest, two spaces, where the key stands, under the source it was found in. Made by scripts/known_keys.py.
"""


def main(arguments: list[str]) -> None:
    """Print the list."""
    found: dict[str, tuple[int, str]] = {}
    sources: list[tuple[str, int]] = []
    for place, argument in enumerate(arguments):
        name, _, folder = argument.partition("=")
        public, name = name.endswith("+"), name.rstrip("+")
        before = len(found)
        for path, data in files(folder):
            for digest in digests(path, data, public):
                found.setdefault(digest, (place, re.sub("[^ -~]", "?", SUFFIX.sub("", path))[:MAX_PATH]))
        sources.append((f"{name}{commit(folder)}", len(found) - before))
    print(HEAD, end="")
    for place, (source, count) in enumerate(sources):
        if count:
            print(f"@ {source}")
        own = sorted((path, digest) for digest, (of, path) in found.items() if of == place)
        print("".join(f"{digest}  {path}\n" for path, digest in own), end="")


def files(folder: str) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder or bare repository: its path there and its bytes."""
    if os.path.exists(os.path.join(folder, "HEAD")):
        listed = subprocess.run(
            ["git", "-C", folder, "ls-tree", "-r", "-z", "HEAD"], check=True, capture_output=True
        ).stdout.split(b"\0")
        with subprocess.Popen(
            ["git", "-C", folder, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as reader:
            if reader.stdin is None or reader.stdout is None:
                return
            for entry in filter(None, listed):
                about, _, path = entry.partition(b"\t")
                mode, _, identifier = about.split(b" ")
                if mode == b"160000":
                    continue
                reader.stdin.write(identifier + b"\n")
                reader.stdin.flush()
                head = reader.stdout.readline().split()
                if len(head) == 3:
                    yield path.decode("ascii", "replace"), reader.stdout.read(int(head[2]) + 1)[:-1]
            reader.stdin.close()
        return
    for parent, folders, inside in os.walk(folder):
        folders.sort()
        for name in sorted(inside):
            path = os.path.join(parent, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    yield os.path.relpath(path, folder), file.read(MAX_BYTES)


def digests(path: str, data: bytes, public: bool) -> Iterator[str]:
    """The keys of one file."""
    for match in BLOCK.finditer(data[:MAX_BYTES]) if b"PRIVATE KEY-----" in data or public else ():
        kind, body = match.groups()
        body = re.sub(rb'\\[nr]|["\'][ \t]*\+|["\',\\]', b"\n", body)
        lines = [line.strip() for line in body.splitlines()]
        pem = b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (kind, b"\n".join(filter(None, lines)), kind)
        yield from spki(pem, public)
    if path.lower().endswith(BINARY):
        yield from spki(data, public)


def spki(data: bytes, public: bool) -> Iterator[str]:
    """The digests of the keys in one block."""
    key: object = None
    loaders = (
        lambda: serialization.load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True),
        lambda: serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True),
        lambda: serialization.load_ssh_private_key(data, None),
    )
    for load in loaders:
        try:
            key = load().public_key()
            break
        except UNREADABLE:
            continue
    keys = [key]
    if public and key is None:
        for read in (
            lambda: [x509.load_pem_x509_certificate(data)],
            lambda: [x509.load_der_x509_certificate(data)],
            lambda: pkcs7.load_der_pkcs7_certificates(data),
            lambda: pkcs7.load_der_pkcs7_certificates(content_info(data)),
        ):
            try:
                keys = [certificate.public_key() for certificate in read()]
                break
            except UNREADABLE:
                continue
    for one in keys:
        if wanted(one):
            der = one.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
            yield sha256(der).hexdigest()


def content_info(data: bytes) -> bytes:
    """A bare SignedData, as updates of UEFI's variables carry it, in the ContentInfo that a reader wants."""

    def tlv(tag: int, value: bytes) -> bytes:
        length = len(value).to_bytes(4, "big").lstrip(b"\0")
        return bytes([tag, 0x80 | len(length)]) + length + value

    return tlv(0x30, bytes.fromhex("06092a864886f70d010702") + tlv(0xA0, data))


def wanted(key: object) -> bool:
    """Whether it is of a kind and size that is not refused anyway."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= 2048
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in CURVES
    return isinstance(
        key, ed25519.Ed25519PublicKey | mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
    )


def commit(folder: str) -> str:
    """Which state of a repository was read."""
    done = subprocess.run(["git", "-C", folder, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True)
    bare = os.path.exists(os.path.join(folder, "HEAD"))
    return f", commit {done.stdout.strip()}" if bare and done.returncode == 0 else ""


if __name__ == "__main__":
    main(sys.argv[1:])
