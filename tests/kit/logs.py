"""A small log with witnesses, for tests: trees by the definition of RFC 6962, notes and cosignatures by C2SP's words, without the code under test.

log, witnesses = NoteSigner.make("log.example"), [NoteSigner.make("w1.example", WITNESS)]
data = tlog_proof(entry_of(signer, value, artifact), log, {witness: NOW for witness in witnesses})
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kit.notes import verifier_key
from kit.pki import Signer
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.envelope.cms import Signer as Read
from sealwright.log.canonical import Field, canonical_json
from sealwright.trust.certificate import tbs_digest

LOG, WITNESS = 1, 4
DASH = "\u2014"


@dataclass(frozen=True)
class NoteSigner:
    """A log or a witness with its key."""

    name: str
    kind: int
    key: Ed25519PrivateKey

    @classmethod
    def make(cls, name: str, kind: int = LOG) -> NoteSigner:
        """A new one."""
        return cls(name, kind, Ed25519PrivateKey.generate())

    @property
    def vkey(self) -> str:
        """As trust files name it."""
        return verifier_key(self.name, self.kind, self.key.public_key().public_bytes_raw())

    def __hash__(self) -> int:
        return hash(self.vkey)

    def line(self, body: str, at: datetime | int | None = None) -> str:
        """The signature under a note; a witness's with its time (a number: seconds since 1970)."""
        identity = bytes.fromhex(self.vkey.split("+")[1])
        if self.kind == LOG:
            value = self.key.sign(body.encode())
        else:
            seconds = at if isinstance(at, int) else int(at.timestamp()) if at else 0
            value = seconds.to_bytes(8, "big") + self.key.sign(f"cosignature/v1\ntime {seconds}\n{body}".encode())
        return f"{DASH} {self.name} {base64.b64encode(identity + value).decode()}\n"


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


def tree_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*tree_path(index, leaves[:half]), tree_hash(leaves[half:])]
    return [*tree_path(index - half, leaves[half:]), tree_hash(leaves[:half])]


def entry_of(signer: Signer, p7s: bytes, content: bytes, **changes: Field | None) -> bytes:
    """The entry of a bare `.p7s` over `content`; a field given as None is left out."""
    (read,) = read_envelope(p7s, Profile.OURS, "signature").signers
    assert isinstance(read, Read)
    fields: dict[str, Field | None] = {
        "type": "signature",
        "format": "detached",
        "artifact": str(Digest.of(content)),
        "signature": str(Digest.of(read.signature)),
        "key": signer.key_digest,
        "certificate": str(tbs_digest(signer.x509)),
        "construction": "cms-attributes",
        "policy": str(Digest.of(b"policy")),
        "private": str(Digest.of(b"salt and persons")),
        **changes,
    }
    return canonical_json({name: value for name, value in fields.items() if value is not None})


def tlog_proof(
    entry: bytes,
    log: NoteSigner,
    witnesses: Mapping[NoteSigner, datetime | int],
    *,
    index: int = 5,
    size: int = 11,
    extra: bytes | None = None,
) -> bytes:
    """A `.tlog-proof`: the entry among others in a tree, signed by the log and cosigned."""
    leaves = [entry if number == index else b"other %d" % number for number in range(size)]
    body = f"{log.name}\n{size}\n{_base64(tree_hash(leaves))}\n"
    signatures = log.line(body) + "".join(witness.line(body, at) for witness, at in witnesses.items())
    path = "".join(_base64(one) + "\n" for one in tree_path(index, leaves))
    said = _base64(entry if extra is None else extra)
    return f"c2sp.org/tlog-proof@v1\nextra {said}\nindex {index}\n{path}\n{body}\n{signatures}".encode()


def write_proof(
    path: Path, maker: Signer, log: NoteSigner, witnesses: Mapping[NoteSigner, datetime | int], **changes: Field | None
) -> Path:
    """The proof of the maker's signature beside a file."""
    signature = path.with_name(path.name + ".p7s").read_bytes()
    proof = path.with_name(path.name + ".tlog-proof")
    proof.write_bytes(tlog_proof(entry_of(maker, signature, path.read_bytes(), **changes), log, witnesses))
    return proof


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
