"""Private keys in a release's folder are found before it is signed (A167); public ones and certificates are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sealwright.errors import ReleaseRefused
from sealwright.release.privatekeys import private_keys, refuse_private_keys

KEY = ec.generate_private_key(ec.SECP256R1())
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
KEYS = {
    "key.pem": PEM,
    "config.ini": b"[tls]\nkey = '''\n" + PEM + b"'''\n",
    "sec1.txt": KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    "locked.pem": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    "id_ed25519": ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    ),
    "key.der": KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
    "locked.der": KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
    "tls.p12": b"anything",
    "store.jks": b"anything",
    "server.key": b"anything",
    "putty.txt": b"PuTTY-User-Key-File-3: ssh-ed25519\n",
    "behind.bin": bytes((1 << 20) - 12) + PEM,
}


def put(folder: Path, name: str, data: bytes) -> None:
    (folder / "application").mkdir(exist_ok=True)
    (folder / "application" / name).write_bytes(data)


@pytest.mark.parametrize("name", KEYS)
def test_a_private_key_is_found(tmp_path: Path, name: str) -> None:
    put(tmp_path, "fw.bin", bytes(100))
    refuse_private_keys(str(tmp_path), ())
    put(tmp_path, name, KEYS[name])
    with pytest.raises(ReleaseRefused, match="whoever gets the release would have it"):
        refuse_private_keys(str(tmp_path), ())
    refuse_private_keys(str(tmp_path), (f"application/{name}",))


def test_public_keys_are_none(tmp_path: Path) -> None:
    public = KEY.public_key()
    put(tmp_path, "public.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    put(tmp_path, "public.der", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    put(tmp_path, "der.bin", b"\x30" + bytes(50))
    assert list(private_keys(str(tmp_path))) == []
