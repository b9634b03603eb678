"""Files checked by fs-verity: a copy of the file, and beside it the signature that the kernel checks when verity is enabled.

    fsverity enable OUT --signature=OUT.fsverity.p7s
    fsverity digest OUT --for-builtin-sig --compact | xxd -r -p > digest
    openssl cms -verify -inform DER -in OUT.fsverity.p7s -content digest -binary -certfile signer.pem -CAfile ca.pem \\
        -purpose any -out /dev/null

The signature, CMS without attributes and certificates, is over "FSVerity", the hash's number (1: SHA-256) and the size of the
digest (32) as u16, little-endian, and the digest: SHA-256 of the descriptor, 256 bytes:

| offset | field |
| 0 | version 1, hash 1, log2 of the block size 12, size of the salt 0, four zero bytes |
| 8 | size of the file, u64, little-endian |
| 16 | root of the hash tree over blocks of 4096 bytes, without salt, in 64 bytes; zero for an empty file |
| 80 | zero to the end |

Source: kernel Documentation/filesystems/fsverity.rst, "File digest computation" and "Built-in signature verification".
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Collection

from sealwright.artifact.blocks import block_digests
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import FSVERITY
from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.formats.asked import refuse_but_one, refuse_claims
from sealwright.formats.format import (
    Candidate,
    Companion,
    Coverage,
    Existing,
    Found,
    Prepared,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.hashtree import HashTree
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES, read_bare_sidecar

NAME = "fsverity"
SUFFIX = ".fsverity.p7s"
MAX_SIGNATURE_BYTES = 16128  # FS_VERITY_MAX_SIGNATURE_SIZE of the kernel
_DESCRIPTOR = struct.Struct("<BBBBIQ64s32s144s")
_SIGNED_HEAD = b"FSVerity" + struct.pack("<HH", 1, 32)


class FsVerity:
    """The format for files on a file system with fs-verity."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:  # noqa: ARG002 (the protocol)
        """Never: any file may be one."""
        return False

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, which there are no fields for, and for `--add`: a file has one signature."""
        refuse_claims(path, claims, "a signature for fs-verity has no fields for product, version or generation")
        refuse_but_one(path, False, existing, "the kernel reads one signature of a file")
        with open_artifact(path) as source:
            content = signed_bytes(source, progress)
            size = source.size
        digests = {name: Digest.of(content, name) for name in algorithms}
        return Prepared(
            NAME, FSVERITY.name, path, digests, content, size, Coverage.whole(size), claims, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:  # noqa: ARG002 (the protocol)
        """The file as it is."""
        return (FileRange(prepared.path, 0, prepared.size),)

    def beside(self, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:  # noqa: ARG002 (the protocol)
        """The signature."""
        return (Companion(SUFFIX, sealed.envelope),)

    def strip(self, path: str) -> Parts:
        """The file as it is; its signature stays where it was."""
        with open_artifact(path) as source:
            return (FileRange(path, 0, source.size),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, where there is a signature, with the digests of what the kernel would compare it with."""
        name = os.path.basename(path)
        signature = search.read_beside(path, SUFFIX, MAX_ENVELOPE_BYTES)
        if signature is not None and len(signature) > MAX_SIGNATURE_BYTES:
            what = f"a signature of {len(signature)} bytes"
            raise LimitExceeded(name + SUFFIX, what, f"The kernel reads at most {MAX_SIGNATURE_BYTES}.")
        with search.opened(path) as source:
            if signature is None:
                return Found(path, source.size, (), None)
            content, size = signed_bytes(source, search.progress), source.size
            whole = watched_digests(source, search)
        digests = {one: Digest.of(content, one) for one in HashName}
        envelope, findings = read_bare_sidecar(signature, digests, search.certificates, name + SUFFIX)
        artifact = digests[HashName.SHA256]
        candidate = Candidate(
            source=name + SUFFIX,
            slot=Slot.MAKER,
            format=NAME,
            kind=FSVERITY.name,
            envelope=envelope,
            digests=digests,
            artifact=artifact,
            coverage=Coverage.whole(size),
            findings=findings,
            contents=(*digests.values(), *whole),
            name=name,
        )
        structure = (f"fs-verity digest sha256:{content[len(_SIGNED_HEAD) :].hex()}",)
        return Found(path, size, (candidate,), artifact, structure=structure)


def signed_bytes(source: OpenArtifact, progress: Progress | None = None) -> bytes:
    """What a built-in signature is over, 44 bytes. The file is read once, by all cores.

    Raises ChangedWhileRead or Unreadable.
    """
    root = b""
    if source.size:
        tree = HashTree(b"")
        for digests in block_digests(source, source.size, b"", progress):
            tree.add(digests)
        root = tree.root()
    source.check_unchanged()
    descriptor = _DESCRIPTOR.pack(1, 1, 12, 0, 0, source.size, root, b"", b"")
    return _SIGNED_HEAD + hashlib.sha256(descriptor).digest()


def check_digest(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is no digest of fs-verity."""
    content = prepared.content or b""
    if len(content) != len(_SIGNED_HEAD) + 32 or not content.startswith(_SIGNED_HEAD):
        raise MalformedArtifact(prepared.path, "its content is no digest of fs-verity", "Prepare it again.")
