"""The table of key backends, by the scheme of a key string."""

from __future__ import annotations

from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, key_digest
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.key import KeyInfo, KeyKind, OpenKey
from sealwright.keys.pin import Pin
from sealwright.keys.uri import path_of, scheme_of

SCHEMES = ("file", "pkcs11", "tpm")


def open_key(
    uri: str, pin: Pin | None = None, *, algorithm: SignatureAlgorithm | None = None, expected: PublicKey | None = None
) -> OpenKey:
    """Find, check and open a key. expected: the enrolled public key; KeyRefused if the key found is another one."""
    key = _open(uri, pin, algorithm)
    if expected is not None and key_digest(key.info.public_key) != key_digest(expected):
        key.close()
        raise KeyRefused(
            uri,
            "the key found there is not the one that was enrolled",
            "Restore the enrolled key, or enrol this one anew.",
        )
    return key


def create_key(uri: str, kind: KeyKind, pin: Pin | None = None) -> KeyInfo:
    """Create a key that never leaves its backend; `info.uri` is the canonical key string to enrol."""
    match scheme_of(uri):
        case "file":
            from sealwright.keys.file import create_file_key

            return create_file_key(path_of(uri), kind, pin)
        case "pkcs11":
            from sealwright.keys.pkcs11 import create_token_key

            return create_token_key(uri, kind, pin)
        case "tpm":
            from sealwright.keys.tpm import create_tpm_key

            return create_tpm_key(path_of(uri), kind)
    raise _unknown(uri)


def _open(uri: str, pin: Pin | None, algorithm: SignatureAlgorithm | None) -> OpenKey:
    # each backend is imported only where it is used: start-up time, and the TPM's is an extra
    match scheme_of(uri):
        case "file":
            from sealwright.keys.file import open_file_key

            return open_file_key(uri, pin, algorithm)
        case "pkcs11":
            from sealwright.keys.pkcs11 import open_token_key

            return open_token_key(uri, pin, algorithm)
        case "tpm":
            from sealwright.keys.tpm import open_tpm_key

            return open_tpm_key(uri, algorithm)
    raise _unknown(uri)


def _unknown(uri: str) -> UsageError:
    return UsageError(
        uri[:80], "no backend is called that", "Write " + ", ".join(f"{scheme}:…" for scheme in SCHEMES) + "."
    )
