"""Reading a private key that already exists, in the forms in which people keep them, to be taken into a token, TPM or home.

PEM and DER: PKCS#8 (plain and encrypted), PKCS#1, SEC1, OpenSSH, imgtool's; PKCS#12 with its certificates. The file is only read.
What is no private key is named for what it is, with the command that turns it into one.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from math import prod
from typing import cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from sealwright.artifact.source import open_artifact
from sealwright.envelope.algorithms import PublicKey, algorithm_for
from sealwright.errors import KeyRefused, KeyUnavailable
from sealwright.keys.file import PrivateKey
from sealwright.keys.pin import Pin

MAX_BYTES = 256 * 1024
MAX_ROUNDS = 10_000_000
MAX_BCRYPT_ROUNDS = 1_000  # some 8 s; ssh-keygen writes 24 of itself
_SCRYPT = bytes.fromhex("06092b06010401da47040b")
# PBKDF2, the schemes of PKCS#5 version 1 and of PKCS#12, scrypt; their parameters follow
_PKCS5, _PKCS12 = bytes.fromhex("06092a864886f70d0105"), bytes.fromhex("060a2a864886f70d010c01")
_DERIVATIONS = re.compile(
    re.escape(_PKCS5)
    + rb"[\x01\x03\x04\x06\x0a\x0b\x0c]|"
    + re.escape(_PKCS12)
    + rb"[\x01-\x06]|"
    + re.escape(_SCRYPT),
    re.DOTALL,
)
_OPENSSH, _BCRYPT = b"openssh-key-v1\0", b"\0\0\0\x06bcrypt"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{3,40})-----.*?-----END \1-----", re.DOTALL)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)
_PSS_ONLY = bytes.fromhex("06092a864886f70d01010a")
_FOREIGN = (
    (b"\xfe\xed\xfe\xed", "a Java keystore", "Turn it into PKCS#12: keytool -importkeystore -srckeystore FILE "
     "-destkeystore FILE.p12 -deststoretype PKCS12"),
    (b"PuTTY-User-Key-File", "a PuTTY key", "Write it as OpenSSH: puttygen FILE -O private-openssh-new -o FILE.key"),
    (b"\x1e\xf1\xb5\xb0", "a PVK file of Windows", "Write it as PEM: openssl rsa -inform PVK -in FILE -out FILE.pem"),
    (b"-----BEGIN TSS2 PRIVATE KEY", "a key that lives in a TPM already", "Name it as tpm:FILE with `key import-certificate`."),
    (b"-----BEGIN PGP", "an OpenPGP key", "Its signatures are of another standard; make a new key."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PrivateFile:
    """What a file held. form: for people; certificates: DER, the key's own first, of PKCS#12; others_read: by its mode."""

    key: PrivateKey
    public: PublicKey
    form: str
    certificates: tuple[bytes, ...]
    others_read: bool


def read_private_key(path: str, password: Pin | None) -> PrivateFile:
    """The one private key of a file; KeyUnavailable for a wrong passphrase or no key, KeyRefused for several keys."""
    with open_artifact(path) as source:
        others = bool(source.status().st_mode & 0o077)
        data = source.read(MAX_BYTES)
    for start, name, hint in _FOREIGN:
        if data.startswith(start):
            raise KeyUnavailable(path, f"it is {name}", hint)
    secret = password.reveal().encode() if password is not None else None
    if secret is not None:
        _check_work(path, data)
        _check_bcrypt(path, data)
    key, form, certificates = _pem(path, data, secret) if b"-----BEGIN " in data else _binary(path, data, secret)
    if isinstance(key, rsa.RSAPrivateKey) and _PSS_ONLY in _octets(data):
        raise KeyRefused(
            path,
            "it is an RSA key for PSS alone (id-RSASSA-PSS), and an imported RSA key signs PKCS#1 v1.5",
            "Make a new key of the kind rsa3072-pss with `sealwright key create`.",
        )
    public = key.public_key()  # type: ignore[attr-defined]
    algorithm_for(public, subject=path)
    return PrivateFile(cast("PrivateKey", key), cast("PublicKey", public), form, certificates, others)


def _check_work(path: str, data: bytes) -> None:
    """KeyRefused where the passphrase would be hashed for minutes: the file says how often, and it may be a stranger's.

    What lies encrypted inside a PKCS#12 file once more says so only after the first decryption.
    """
    from asn1crypto import core, pkcs12  # only encrypted keys need it

    blocks = [_octets(match[0]) for match in _BLOCK.finditer(data)] or [data]
    most = 0
    for der in blocks:
        for match in _DERIVATIONS.finditer(der):
            try:
                parameters = core.load(der[match.end() :], strict=False)
                numbers = [one for one in parameters.native.values() if isinstance(one, int)]
            except (ValueError, TypeError, AttributeError):
                continue  # not parameters but bytes that look like it; what decrypts reads them strictly
            cost = prod(numbers[:3]) // 16 if match[0] == _SCRYPT else numbers[0] if numbers else 0
            most = max(most, cost)
        try:
            mac = pkcs12.Pfx.load(der)["mac_data"]
            most = max(most, mac["iterations"].native if mac.native else 0)
        except (ValueError, TypeError, KeyError):
            continue
    if most > MAX_ROUNDS:
        raise KeyRefused(
            path,
            f"its passphrase would be hashed {most:,} times; at most {MAX_ROUNDS:,} are done",
            "Have it exported again: openssl pkcs8 -topk8 -iter 600000 -in FILE -out NEW",
        )


def _check_bcrypt(path: str, data: bytes) -> None:
    """The same for OpenSSH's own form: "openssh-key-v1", cipher, "bcrypt", salt and rounds (PROTOCOL.key of OpenSSH)."""
    at = (opened := _octets(data)).find(_BCRYPT)
    if not opened.startswith(_OPENSSH) or at < 0:
        return
    options = opened[at + len(_BCRYPT) + 4 :]
    salt = int.from_bytes(options[:4])
    rounds = int.from_bytes(options[4 + salt : 8 + salt])
    if rounds > MAX_BCRYPT_ROUNDS:
        raise KeyRefused(
            path,
            f"its passphrase would be hashed {rounds:,} times with bcrypt; at most {MAX_BCRYPT_ROUNDS:,} are done",
            "Give a copy of it fewer: ssh-keygen -p -a 100 -f COPY",
        )


def _octets(data: bytes) -> bytes:
    """The DER inside a PEM, or what is DER already; of an encrypted key nothing can be seen."""
    match = _BLOCK.search(data)
    if match is None:
        return data
    try:
        return base64.b64decode(b"".join(match[0].splitlines()[1:-1]))
    except ValueError:
        return b""


def _pem(path: str, data: bytes, secret: bytes | None) -> tuple[object, str, tuple[bytes, ...]]:
    blocks = [(match[1].decode(), match[0] + b"\n") for match in _BLOCK.finditer(data)]
    private = [(kind, block) for kind, block in blocks if kind.endswith("PRIVATE KEY")]
    if not private:
        held = ", ".join(sorted({kind.lower() for kind, _ in blocks})) or "nothing that is whole"
        raise KeyUnavailable(path, f"there is no private key in it ({held})", "Name the file of the private key.")
    if len(private) > 1:
        raise KeyRefused(path, f"there are {len(private)} private keys in it", "Put the one that is meant into a file.")
    kind, block = private[0]
    encrypted = b"ENCRYPTED" in block[:200]
    if kind == "OPENSSH PRIVATE KEY":
        locked = ", encrypted" if _BCRYPT in _octets(block) else ""
        return _loaded(path, block, secret, "ssh"), f"OpenSSH{locked}", ()
    form = {"RSA PRIVATE KEY": "PKCS#1", "EC PRIVATE KEY": "SEC1"}.get(kind, "PKCS#8")
    return _loaded(path, block, secret if encrypted else None, "pem"), form + (", encrypted" if encrypted else ""), ()


def _binary(path: str, data: bytes, secret: bytes | None) -> tuple[object, str, tuple[bytes, ...]]:
    for one in (None, secret):
        try:
            return serialization.load_der_private_key(data, one), "DER" + (", encrypted" if one else ""), ()
        except TypeError as cause:
            if secret is None and "encrypted" in str(cause):
                raise _no_password(path) from cause
        except (ValueError, UnsupportedAlgorithm):
            continue
    key, own, others = _pkcs12(path, data, secret)
    if key is None:
        raise KeyUnavailable(
            path, "there are only certificates in this PKCS#12 file", "Export it with its private key."
        )
    found: list[x509.Certificate] = [own] if own is not None else []
    found += others if own is not None else []
    return key, "PKCS#12", tuple(certificate.public_bytes(Encoding.DER) for certificate in found)


def _pkcs12(
    path: str, data: bytes, secret: bytes | None
) -> tuple[object, x509.Certificate | None, list[x509.Certificate]]:
    cause: Exception | None = None
    for one in dict.fromkeys((secret, None)):  # a passphrase may be given for a file that has none
        try:
            return pkcs12.load_key_and_certificates(data, one)
        except _UNREADABLE as failed:
            cause = cause or failed
    if secret is None and data[:1] == b"\x30" and "password" in str(cause).lower():
        raise _no_password(path) from cause
    raise KeyUnavailable(
        path,
        "it is no private key in PEM, DER or PKCS#12, or the passphrase is wrong",
        "Check the file and --password-file.",
    ) from cause


def _loaded(path: str, block: bytes, secret: bytes | None, form: str) -> object:
    load = serialization.load_ssh_private_key if form == "ssh" else serialization.load_pem_private_key
    try:
        return load(block, secret)
    except TypeError as cause:
        if secret is None:
            raise _no_password(path) from cause
        try:
            return load(block, None)  # a passphrase was given for a key that has none
        except _UNREADABLE:
            raise _unreadable(path) from cause
    except (ValueError, UnsupportedAlgorithm) as cause:
        if secret is None and "password" in str(cause).lower():
            raise _no_password(path) from cause
        if "bcrypt" in str(cause):
            raise KeyUnavailable(
                path,
                "it is an OpenSSH key with a passphrase, which is read only where the package bcrypt is installed",
                "Install bcrypt, or turn a copy of the key into PKCS#8, which may be encrypted too: ssh-keygen -p -m PKCS8 -f COPY",
            ) from cause
        raise _unreadable(path) from cause


def _unreadable(path: str) -> KeyUnavailable:
    return KeyUnavailable(
        path,
        "its private key cannot be read: the passphrase is wrong, or it is damaged or of a kind that is not read",
        "Check --password-file; `openssl pkey -in FILE -noout -text` says what it is.",
    )


def _no_password(path: str) -> KeyUnavailable:
    return KeyUnavailable(path, "it is encrypted and no passphrase was given", "Give it with --password-file.")
