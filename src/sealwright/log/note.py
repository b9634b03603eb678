"""Checkpoints written and signed, and cosignatures (C2SP signed-note, tlog-checkpoint, tlog-cosignature); `checkpoint.py` reads them.

    note = sign_checkpoint(edge.size, edge.root, signer)

A signer is a name, a key and `sign`: an Ed25519 key of any backend (`KeySigner`), used by one thread. The log's key signs
checkpoints and nothing else: the text is built here from origin, size and root. A backup's checkpoint has one line more, which C2SP
tlog-checkpoint lets readers pass over: what the backup has besides the log.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import ED25519, PublicKey
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.envelope.verifierkey import NoteType, VerifierKey, key_id, parse_verifier_key
from sealwright.errors import KeyRefused, UsageError
from sealwright.keys.key import OpenKey
from sealwright.log.checkpoint import NoteSignature

BACKUP = "sealwright-backup"


class NoteSigner(Protocol):
    """Who signs notes: a log, or a witness. Not to be shared between threads."""

    @property
    def key(self) -> VerifierKey:
        """Its name, key id and public key, as verifiers know it."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over the message, 64 bytes. Raises KeyRefused or KeyUnavailable."""
        ...


class KeySigner:
    """An opened key of any backend as the signer of a log or witness of that name; KeyRefused unless it is Ed25519."""

    def __init__(self, name: str, kind: NoteType, opened: OpenKey) -> None:
        self.key = verifier_key(name, kind, opened.info.public_key)
        self._opened = opened

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over the message, verified by the backend before it is handed back."""
        (value,) = self._opened.sign([ToBeSigned(Kind.MESSAGE, message, ED25519)])
        return value


def verifier_key(name: str, kind: NoteType, public: PublicKey) -> VerifierKey:
    """A key as those know it who check notes of that name; KeyRefused unless it is Ed25519, UsageError for what is no name."""
    if not isinstance(public, Ed25519PublicKey):
        raise KeyRefused(name, "logs and witnesses sign with Ed25519", "Name a key of that kind.")
    raw = public.public_bytes_raw()
    try:
        return parse_verifier_key(str(VerifierKey(name, key_id(name, kind, raw), kind, raw)), kind)
    except ValueError as cause:
        raise UsageError(name[:80], f"no log can be called so: {cause}", "Name it like log.example/1.") from cause


def checkpoint_text(origin: str, size: int, root: bytes) -> str:
    """The lines that are signed."""
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign_checkpoint(size: int, root: bytes, signer: NoteSigner) -> str:
    """A signed checkpoint of the log whose name is the signer's."""
    text = checkpoint_text(signer.key.name, size, root)
    return f"{text}\n{_line(signer.key, signer.sign(text.encode()))}"


def sign_backup(size: int, root: bytes, manifest: Digest, signer: NoteSigner) -> str:
    """The checkpoint of a backup of the service: a checkpoint of the log that names the backup's manifest too."""
    text = f"{checkpoint_text(signer.key.name, size, root)}{BACKUP} {manifest}\n"
    return f"{text}\n{_line(signer.key, signer.sign(text.encode()))}"


def cosign(text: bytes, signer: NoteSigner, now: datetime) -> str:
    """A witness's line under the signed lines of a checkpoint; now: when it had seen that tree."""
    seconds = int(now.timestamp())
    value = signer.sign(b"cosignature/v1\ntime %d\n" % seconds + text)
    return _line(signer.key, seconds.to_bytes(8, "big") + value)


def _line(key: VerifierKey, value: bytes) -> str:
    return NoteSignature(key.name, key.id, value).line
