"""Development keys in a file: PKCS#8 PEM that only its owner can read. No production trust file accepts them (DESIGN).

create_file_key("keys/release.pem", KeyKind.P256, None)
with closing(open_file_key("file:keys/release.pem", None, ECDSA_SHA256)) as key: key.sign([to_be_signed])
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealwright.artifact.output import write_atomic
from sealwright.artifact.source import open_artifact
from sealwright.envelope.algorithms import (
    PublicKey,
    Scheme,
    SignatureAlgorithm,
    algorithm_for,
    hash_of,
    rsa_padding,
)
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, Unreadable
from sealwright.keys.checked import SignatureCheck
from sealwright.keys.key import KeyInfo, KeyKind, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.uri import path_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor  # start-up time: most sign a few files

MAX_KEY_BYTES = 64 * 1024
MANY = 32  # to-be-signed that are worth a second thread
CORES = min(4, os.cpu_count() or 1)
PrivateKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)


class FileKey:
    """An open key file."""

    def __init__(self, info: KeyInfo, private: PrivateKey) -> None:
        self.info = info
        self._private: PrivateKey | None = private
        self._check = SignatureCheck(info)
        self._threads: ThreadPoolExecutor | None = None

    def sign(self, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """Signature values in order, each verified; KeyRefused or KeyUnavailable, and then none leaves."""
        private = self._private
        if private is None:
            raise KeyUnavailable(self.info.uri, "it was closed", "Open it again.")
        self._check.before(batch)
        values = self._verified(private, batch) if len(batch) < MANY else self._by_threads(private, batch)
        for one, value in zip(batch, values, strict=True):
            self._check.remember(one, value)
        return values

    def close(self) -> None:
        """Forget the private key."""
        self._private = None
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None

    def _verified(self, private: PrivateKey, batch: Sequence[ToBeSigned]) -> list[bytes]:
        values = []
        for one in batch:
            value = raw_signature(private, one)
            self._check.verify(one, value)
            values.append(value)
        return values

    def _by_threads(self, private: PrivateKey, batch: Sequence[ToBeSigned]) -> list[bytes]:
        """The arithmetic, which is most of it, goes on without the interpreter."""
        from concurrent.futures import ThreadPoolExecutor  # start-up time

        if self._threads is None:
            self._threads = ThreadPoolExecutor(CORES, "sealwright-file-key")
        size = -(-len(batch) // CORES)
        parts = [batch[at : at + size] for at in range(0, len(batch), size)]
        return [value for part in self._threads.map(partial(self._verified, private), parts) for value in part]


def raw_signature(private: PrivateKey, one: ToBeSigned) -> bytes:
    """One private-key operation of `cryptography`."""
    if one.kind is not Kind.DIGEST:
        return private.sign(one.data)  # type: ignore[call-arg]
    prehashed = Prehashed(hash_of(one.algorithm.digest))
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(one.data, ec.ECDSA(prehashed))
    return cast("rsa.RSAPrivateKey", private).sign(one.data, rsa_padding(one.algorithm), prehashed)


def create_file_key(path: str, kind: KeyKind, pin: Pin | None) -> KeyInfo:
    """Generate a key and write it, mode 0600; OutputRefused if the file exists. pin: encrypts the file."""
    private = generate(kind)
    encryption = BestAvailableEncryption(pin.reveal().encode()) if pin is not None else NoEncryption()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    write_atomic(path, pem, mode=0o600)
    return _info(f"file:{path}", private.public_key(), kind.algorithm)


def import_file_key(path: str, private: PrivateKey, pin: Pin | None) -> KeyInfo:
    """Write a key that was made elsewhere as a development key; OutputRefused if the file exists."""
    encryption = BestAvailableEncryption(pin.reveal().encode()) if pin is not None else NoEncryption()
    write_atomic(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), mode=0o600)
    public = private.public_key()
    return _info(f"file:{path}", public, algorithm_for(public, subject=path))


def open_file_key(uri: str, pin: Pin | None, algorithm: SignatureAlgorithm | None) -> FileKey:
    """Open a key file. algorithm: RSA keys sign PKCS#1 v1.5 unless it says PSS; None for the key's own.

    Raises KeyRefused if others can read the file or the key is too weak to sign, KeyUnavailable if it cannot be opened.
    """
    path = path_of(uri)
    try:
        with open_artifact(path) as source:
            _check_owner(path, source.status())
            data = source.read(MAX_KEY_BYTES)
    except Unreadable as cause:
        raise KeyUnavailable(f"file:{path}", f"it cannot be opened: {cause.what}", cause.next_step) from cause
    secret = pin.reveal().encode() if pin is not None and b"ENCRYPTED" in data[:100] else None
    try:
        private = load_pem_private_key(data, secret)
    except TypeError as cause:
        raise KeyUnavailable(uri, "it is encrypted and no passphrase was given", "Give it with --pin-file.") from cause
    except (ValueError, UnsupportedAlgorithm) as cause:
        raise KeyUnavailable(
            uri, "it is not a PKCS#8 key in PEM, or the passphrase is wrong", "Check the file and --pin-file."
        ) from cause
    public = private.public_key()
    own = algorithm_for(public, subject=uri)
    wanted = algorithm or own
    if wanted != own and not (own.scheme is Scheme.RSA_PKCS1 and wanted.scheme in (Scheme.RSA_PKCS1, Scheme.RSA_PSS)):
        raise KeyRefused(uri, f"it signs {own.name}, not {wanted.name}", "Name the key that is enrolled for this.")
    return FileKey(_info(uri, cast("PublicKey", public), wanted), cast("PrivateKey", private))


def generate(kind: KeyKind) -> PrivateKey:
    """A fresh private key in memory."""
    match kind:
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.P521:
            return ec.generate_private_key(ec.SECP521R1())
        case KeyKind.RSA3072 | KeyKind.RSA3072_PSS:
            return rsa.generate_private_key(65537, 3072)
        case KeyKind.RSA4096 | KeyKind.RSA4096_PSS:
            return rsa.generate_private_key(65537, 4096)
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyKind.ML_DSA_44:
            return mldsa.MLDSA44PrivateKey.generate()
        case KeyKind.ML_DSA_65:
            return mldsa.MLDSA65PrivateKey.generate()
        case KeyKind.ML_DSA_87:
            return mldsa.MLDSA87PrivateKey.generate()


def _check_owner(path: str, status: os.stat_result) -> None:
    """status: of the descriptor that the key is read from, so that no other file can be put in between."""
    if sys.platform == "win32":
        return
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyRefused(f"file:{path}", "other users can read the private key", f"Run: chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeyRefused(f"file:{path}", "the private key belongs to another user", "Use a key of your own.")


def _info(uri: str, public: PublicKey, algorithm: SignatureAlgorithm) -> KeyInfo:
    return KeyInfo(uri, public, algorithm, Provenance.DEVELOPMENT, f"file {path_of(uri)} (development only)")
