"""Verifier keys of logs and witnesses, for tests: written down here from the specification, without the code under test."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def verifier_key(name: str, kind: int, key: bytes | None = None) -> str:
    """The line of one key (C2SP signed-note); a new key where none is given."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw() if key is None else key
    data = bytes((kind,)) + public
    short = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    return f"{name}+{short}+{base64.b64encode(data).decode()}"
