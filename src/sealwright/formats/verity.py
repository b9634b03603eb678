"""Images checked by dm-verity: hash tree behind the image, root hash and its signature beside it, as systemd has them.

    veritysetup verify OUT OUT "$(cat OUT.roothash)" --hash-offset=IMAGE_BYTES
    openssl smime -verify -inform der -in OUT.roothash.p7s -content OUT.roothash -binary -certfile signer.pem -nointern \\
        -noverify -out /dev/null
    veritysetup open OUT name OUT "$(cat OUT.roothash)" --hash-offset=IMAGE_BYTES --root-hash-signature=OUT.roothash.p7s

| bytes of OUT | to the signature |
| the image, whole blocks of 4096 bytes | hashed, by way of the tree |
| superblock: version and format 1, SHA-256, block sizes 4096, number of blocks, salt | hashed: others give another root |
| its UUID, 16 bytes | uncovered |
| zero bytes up to 4096, then the tree, the top level first | hashed, by way of its root |

`OUT.roothash` is the root hash in 64 hexadecimal digits without line feed, `OUT.roothash.p7s` CMS without attributes and
certificates over these 64 bytes: what the kernel checks in front of a root hash (dm_verity.require_signatures).

1. Where the image ends follows from the file's size alone; there has to be the superblock, and nothing lies behind the tree.
2. The whole tree is made again from the delivered image and compared, byte for byte, with what is written.
Source: cryptsetup, "DMVerity" (on-disk format 1); kernel Documentation/admin-guide/device-mapper/verity.rst; systemd-dissect(1).
"""

from __future__ import annotations

import os
import re
import secrets
import struct
import uuid
from collections.abc import Collection
from typing import NamedTuple

from sealwright.artifact.blocks import BLOCK_BYTES
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import VERITY
from sealwright.errors import LimitExceeded, MalformedArtifact, UsageError
from sealwright.findings import reject
from sealwright.formats.asked import refuse_claims
from sealwright.formats.dmverity import MAX_SALT_BYTES, Verity, first_difference, level_blocks, make_tree
from sealwright.formats.format import (
    Candidate,
    Companion,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES, read_bare_sidecar

NAME = "verity"
ROOT_SUFFIX, SIGNATURE_SUFFIX = ".roothash", ".roothash.p7s"
MAX_IMAGE_BYTES = 64 << 30
SALT_BYTES = 32
_MAGIC = b"verity\0\0"
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6s256s168s")
_UUID_AT, _UUID_BYTES = 16, 16
_ROOT = re.compile(rb"[0-9a-f]{64}")
_AGAIN = "Ask its maker for the image again, with what lies beside it."


class Superblock(NamedTuple):
    """What a superblock says that is not the same in all that are read here."""

    uuid: uuid.UUID
    data_blocks: int
    salt: bytes


class Layout(NamedTuple):
    """data_bytes: where the image ends; superblock: None where no tree follows."""

    size: int
    data_bytes: int
    superblock: Superblock | None

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        if self.superblock is None:
            return Coverage.whole(self.size)
        at = self.data_bytes + _UUID_AT
        unbound = Range(at, at + _UUID_BYTES, Extent.UNCOVERED, "the UUID, which the root hash does not bind")
        return Coverage((Range(0, at, Extent.HASHED), unbound, Range(unbound.end, self.size, Extent.HASHED)))


class VerityFormat:
    """The format for images of read-only file systems."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """A superblock where the size wants it. That alone says nothing of a signature."""
        return _has_superblock(source)

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """The image is read once, and its tree made. UsageError for a size that is no multiple of 4096, and for claims."""
        refuse_claims(path, claims, "a root hash has no fields for product, version or generation")
        with open_artifact(path) as source:
            data_bytes = _image_bytes(source, existing)
            salt = secrets.token_bytes(SALT_BYTES)
            root, tree = make_tree(source, data_bytes, salt, progress)
            size = source.size
        content = root.hex().encode()
        head = superblock_bytes(Superblock(uuid.uuid4(), data_bytes // BLOCK_BYTES, salt))
        return Prepared(
            NAME,
            VERITY.name,
            path,
            {name: Digest.of(content, name) for name in algorithms},
            content,
            size,
            Coverage.whole(data_bytes),
            claims,
            existing=existing,
            behind=head.ljust(BLOCK_BYTES, b"\0") + tree,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:  # noqa: ARG002 (the protocol)
        """The image, the superblock and the tree."""
        return FileRange(prepared.path, 0, prepared.coverage.ranges[-1].end), prepared.behind

    def beside(self, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:
        """The root hash and its signature."""
        return Companion(ROOT_SUFFIX, prepared.content or b""), Companion(SIGNATURE_SUFFIX, sealed.envelope)

    def strip(self, path: str) -> Parts:
        """The image alone, as it was."""
        with open_artifact(path) as source:
            layout = read_layout(source)
        if layout.superblock is None:
            raise UsageError(path, "there is no hash tree in it", "Nothing has to be removed.")
        return (FileRange(path, 0, layout.data_bytes),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, where there is a signature: with the digests of the root hash, if the image and its tree fit it."""
        name = os.path.basename(path)
        signature = search.read_beside(path, SIGNATURE_SUFFIX, MAX_ENVELOPE_BYTES)
        with search.opened(path) as source:
            if signature is None:
                return Found(path, source.size, (), None)
            root = _read_root(search.read_beside(path, ROOT_SUFFIX, MAX_ENVELOPE_BYTES), name + ROOT_SUFFIX)
            layout = read_layout(source)
            if layout.superblock is None:
                at = f"byte {layout.data_bytes}: there is no superblock of a hash tree"
                raise MalformedArtifact(path, at, _AGAIN)
            differs = first_difference(source, _verity(layout, root), search.progress)
            whole = watched_digests(source, search) if differs is None else ()
        content = root.hex().encode()
        digests = {one: Digest.of(content, one) for one in HashName}
        envelope, findings = read_bare_sidecar(signature, digests, search.certificates, name + SIGNATURE_SUFFIX)
        if differs is not None:
            said = f"at byte {differs.offset}: {differs.what}"
            findings = (*findings, reject("SW-ARTIFACT-MALFORMED", name, found=said))
        artifact = digests[HashName.SHA256]
        candidate = Candidate(
            source=name + SIGNATURE_SUFFIX,
            slot=Slot.MAKER,
            format=NAME,
            kind=VERITY.name,
            envelope=envelope,
            digests=digests,
            artifact=artifact,
            coverage=layout.coverage,
            findings=findings,
            contents=(*digests.values(), *whole),
            name=name,
        )
        return Found(path, layout.size, (candidate,), artifact, structure=_structure(layout, root))


def read_layout(source: OpenArtifact) -> Layout:
    """Where image and tree are; MalformedArtifact with the offset for a superblock of another kind than is read here."""
    data_bytes = _data_bytes(source.size)
    if data_bytes is None or not _has_superblock(source):
        return Layout(source.size, source.size, None)
    return Layout(source.size, data_bytes, _read_superblock(source, data_bytes))


def superblock_bytes(superblock: Superblock) -> bytes:
    """The 512 bytes of format 1."""
    return _SUPERBLOCK.pack(
        _MAGIC,
        1,
        1,
        superblock.uuid.bytes,
        b"sha256",
        BLOCK_BYTES,
        BLOCK_BYTES,
        superblock.data_blocks,
        len(superblock.salt),
        b"",
        superblock.salt,
        b"",
    )


def check_root(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is no root hash."""
    if not _ROOT.fullmatch(prepared.content or b""):
        raise MalformedArtifact(prepared.path, "its content is no root hash", "Prepare it again.")


def _data_bytes(size: int) -> int | None:
    """The size of the image whose image, superblock and tree have this size together; None where there is none."""
    total, rest = divmod(size, BLOCK_BYTES)
    if rest:
        return None
    low, high = 1, max(1, total)
    while low < high:
        middle = (low + high) // 2
        if middle + 1 + sum(level_blocks(middle)) < total:
            low = middle + 1
        else:
            high = middle
    return low * BLOCK_BYTES if low + 1 + sum(level_blocks(low)) == total else None


def _has_superblock(source: OpenArtifact) -> bool:
    data_bytes = _data_bytes(source.size)
    return data_bytes is not None and source.read_at(data_bytes, len(_MAGIC)) == _MAGIC


def _read_superblock(source: OpenArtifact, at: int) -> Superblock:
    block = source.read_at(at, BLOCK_BYTES)
    _, version, form, identity, hash_name, data_block, hash_block, count, salt_size, gap, salt, rest = (
        _SUPERBLOCK.unpack_from(block)
    )
    if (version, form, data_block, hash_block) != (1, 1, BLOCK_BYTES, BLOCK_BYTES):
        said = f"version {version}, format {form}, blocks of {data_block} and {hash_block} bytes"
        raise _wrong(source, at + len(_MAGIC), f"{said}; read are 1, 1, 4096 and 4096")
    if hash_name != b"sha256".ljust(32, b"\0"):
        raise _wrong(source, at + 32, f"the hash {hash_name.rstrip(bytes(1))[:32]!r}; read is sha256")
    if count * BLOCK_BYTES != at:
        raise _wrong(source, at + 72, f"it says that the image has {count} blocks, there are {at // BLOCK_BYTES}")
    if salt_size > MAX_SALT_BYTES:
        raise _wrong(source, at + 80, f"a salt of {salt_size} bytes")
    if any(gap) or any(salt[salt_size:]) or any(rest) or any(block[_SUPERBLOCK.size :]):
        raise _wrong(source, at, "bytes of its superblock that mean nothing are not zero")
    return Superblock(uuid.UUID(bytes=identity), count, salt[:salt_size])


def _verity(layout: Layout, root: bytes) -> Verity:
    salt = layout.superblock.salt if layout.superblock is not None else b""
    return Verity(layout.data_bytes, salt, root, gap_bytes=BLOCK_BYTES)


def _image_bytes(source: OpenArtifact, existing: Existing) -> int:
    """How much of a file is the image to sign; the tree of an earlier signature is not."""
    layout = read_layout(source)
    if layout.superblock is not None and existing is Existing.REFUSE:
        raise UsageError(source.path, "there is a hash tree in it already", "Use --replace to make it anew.")
    if layout.superblock is not None and existing is Existing.ADD:
        raise UsageError(source.path, "an image has one hash tree and one signature", "Use --replace.")
    if not layout.data_bytes or layout.data_bytes % BLOCK_BYTES:
        raise UsageError(
            source.path,
            f"its {layout.data_bytes} bytes are no whole blocks of {BLOCK_BYTES}, of which a hash tree is made",
            "Fill it up, for instance with `truncate --size=%4096 FILE`, and sign it then.",
        )
    if layout.data_bytes > MAX_IMAGE_BYTES:
        raise LimitExceeded(
            source.path, f"an image of {layout.data_bytes} bytes", f"At most {MAX_IMAGE_BYTES} are signed."
        )
    return layout.data_bytes


def _read_root(data: bytes | None, name: str) -> bytes:
    """The root hash; a line feed behind it is let pass, as systemd does."""
    if data is None:
        raise MalformedArtifact(name, "there is no such file with the root hash", _AGAIN)
    text = data.removesuffix(b"\n")
    if not _ROOT.fullmatch(text):
        raise MalformedArtifact(name, "it is not a root hash in 64 digits 0-9 and a-f", _AGAIN)
    return bytes.fromhex(text.decode())


def _structure(layout: Layout, root: bytes) -> tuple[str, ...]:
    superblock = layout.superblock
    if superblock is None:
        return ()
    return (
        f"image of {layout.data_bytes} bytes, hash tree from byte {layout.data_bytes} (veritysetup --hash-offset)",
        f"root hash {root.hex()}, salt {superblock.salt.hex() or '-'}",
        f"UUID {superblock.uuid}",
    )


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", _AGAIN)
