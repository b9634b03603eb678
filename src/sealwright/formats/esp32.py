"""Secure Boot V2 of Espressif's chips: the image, filled with 0xFF to 4096 bytes, and behind it a sector with up to three signatures.

    espsecure verify-signature --version 2 --keyfile public.pem signed.bin

| bytes | to the signature |
| the image (`espimage`), filled with 0xFF to a multiple of 4096 | hashed |
| the sector: blocks with digest, key, signature and CRC-32 (`espblocks`), filled with 0xFF | signatures |

The bootloader walks through the image to find its end, and looks for the sector at the next multiple of 4096; espsecure takes the
last 4096 bytes of the file. Only files where both are the same place are read. A block holds the key itself: its signer is the
known certificate with that key. Product, version and generation are those of the application's description, which is hashed.
Source: ESP-IDF docs/en/security/secure-boot-v2; espsecure of esptool 5.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.bare import bare_signers
from sealwright.envelope.certified import certified
from sealwright.envelope.cms import BrokenSigner, Envelope
from sealwright.envelope.kinds import ESP32
from sealwright.errors import KeyRefused, LimitExceeded, MalformedArtifact, UsageError, WeakAlgorithm
from sealwright.formats.asked import refuse_second
from sealwright.formats.espblocks import (
    BLOCK_STARTS,
    EMPTY,
    MAX_BLOCKS,
    SECTOR_BYTES,
    Block,
    key_field,
    read_sector,
    sector_of,
    write_block,
)
from sealwright.formats.espimage import DIGEST_BYTES, Image, check_checksum, read_image, wrong
from sealwright.formats.format import (
    Candidate,
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

NAME = "esp32"
_NO_CLAIMS = Claims()
_ONE_SIGNATURE = ("ESP32", "ESP32-C2")


class Esp32:
    """The format for signed images of Espressif's chips."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """An image that can be walked through, or a signature block where one has to be: many other things begin with 0xE9."""
        if source.size >= 2 * SECTOR_BYTES and source.read_at(source.size - SECTOR_BYTES, 4) in BLOCK_STARTS:
            return True
        try:
            read_image(source)
        except MalformedArtifact:
            return False
        return True

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims that are not the image's own, MalformedArtifact for an image that no chip would start."""
        (name,) = algorithms
        if name is HashName.SHA512:
            raise KeyRefused(path, "no chip reads a key of this type", "Use an RSA-3072 key for PSS, P-256 or P-384.")
        with open_artifact(path) as source:
            image, blocks = _read(source)
            _check_claims(path, claims, image.claims)
            if blocks:
                _check_existing(path, blocks, name, existing)
            check_checksum(source, image, None)
            delivered, whole = _digests(source, image, {name, *(one.digest.algorithm for one in blocks)}, progress)
            if not whole:
                raise _not_its_own(source, image)
            if blocks and blocks[0].digest != delivered[blocks[0].digest.algorithm]:
                raise MalformedArtifact(path, "the digest in its signatures is not its own", "Build the image again.")
            size = source.size
        return Prepared(
            NAME,
            ESP32.name,
            path,
            {name: delivered[name]},
            None,
            size,
            _coverage(image, size) if blocks else Coverage.whole(size),
            image.claims or _NO_CLAIMS,
            existing=existing,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The image with its filling, and a sector with this signature behind those that are kept."""
        ((_, digest),) = prepared.digests.items()
        path, key = prepared.path, certified(sealed.certificate).key
        mine = write_block(key, digest, sealed.value, path)
        with open_artifact(path) as source:
            image, blocks = _read(source)
            kept = blocks if prepared.existing is Existing.ADD else ()
            if any(one.layout.start != mine[: len(one.layout.start)] for one in kept):
                raise UsageError(
                    path,
                    f"its signatures are made with {kept[0].layout.name}, and chips want all of one scheme",
                    "Sign it with a key of the same type, or use --replace.",
                )
            if any(one.key == key_field(key) for one in kept):
                raise UsageError(path, "this key has signed it already", "Use --replace to sign it again.")
            covered = min(source.size, _padded(image))
            return (
                FileRange(path, 0, covered),
                EMPTY * (_padded(image) - covered),
                sector_of((*(one.raw for one in kept), mine)),
            )

    def strip(self, path: str) -> Parts:
        """The image as it was built: without the sector, and without the filling before it."""
        with open_artifact(path) as source:
            image, blocks = _read(source)
        if not blocks:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        return (FileRange(path, 0, image.end),)

    def extract(self, path: str, search: Search) -> Found:
        """A candidate for each block; the signer is found by the key in it."""
        with search.opened(path) as source:
            image, blocks = _read(source)
            structure = _structure(image, blocks)
            if not blocks:
                return Found(path, source.size, (), None, structure=structure)
            wanted = {HashName.SHA256, blocks[0].digest.algorithm, *(one.algorithm for one in search.watched)}
            delivered, whole = _digests(source, image, wanted, search.progress)
            if not whole and blocks[0].digest == delivered[blocks[0].digest.algorithm]:
                raise _not_its_own(source, image)
            watched, size = watched_digests(source, search), source.size
        name = os.path.basename(path)
        candidates = tuple(
            Candidate(
                source=name,
                slot=Slot.MAKER,
                format=NAME,
                kind=ESP32.name,
                envelope=_envelope(block, search.certificates, name),
                digests=delivered,
                artifact=delivered[HashName.SHA256],
                claims=image.claims or _NO_CLAIMS,
                coverage=_coverage(image, size),
                contents=(*delivered.values(), *watched),
                name=name,
            )
            for block in blocks
        )
        return Found(path, size, candidates, delivered[HashName.SHA256], structure=structure)


def _padded(image: Image) -> int:
    """Where the sector is: the first multiple of 4096 that the image does not reach beyond."""
    return -(-image.end // SECTOR_BYTES) * SECTOR_BYTES


def _read(source: OpenArtifact) -> tuple[Image, tuple[Block, ...]]:
    """The image and its signatures, which tile the file; none where it is not signed."""
    image = read_image(source)
    padded = _padded(image)
    filling = source.read_at(image.end, padded - image.end)
    if filling != EMPTY * len(filling):
        raise wrong(source, image.end, f"the image ends here, and up to byte {padded} there is not 0xFF alone")
    if source.size in (image.end, padded):
        return image, ()
    if source.size != padded + SECTOR_BYTES:
        raise wrong(
            source,
            image.end,
            f"the image ends here, so with a signature it has {padded + SECTOR_BYTES} bytes, and this has {source.size}",
        )
    return image, read_sector(source, padded)


def _check_claims(path: str, asked: Claims, own: Claims | None) -> None:
    if asked and own is None:
        raise UsageError(
            path,
            "it has no application's description that could carry claims",
            "Leave them out, or sign the result again with a manifest.",
        )
    if asked.hardware or asked.environment:
        raise UsageError(
            path,
            "an ESP image has fields for product, version and generation only",
            "Leave out hardware and environment, or sign the result again with a manifest.",
        )
    said = own or _NO_CLAIMS
    for what, wanted, there in (
        ("product", asked.product, said.product),
        ("version", asked.version, said.version),
        ("generation", asked.generation, said.generation),
    ):
        if wanted is not None and wanted != there:
            found = f"the image says {what} {there}" if there is not None else f"the image has no {what}"
            raise UsageError(path, found, f"Leave out --{what}, or build the image with it.")


def _check_existing(path: str, blocks: tuple[Block, ...], name: HashName, existing: Existing) -> None:
    refuse_second(path, bool(blocks), existing)
    if existing is not Existing.ADD:
        return
    if blocks[0].digest.algorithm is not name:
        raise UsageError(
            path,
            f"its signatures are over {blocks[0].digest.algorithm}, and this key signs {name}",
            "Sign it with a key of the same type, or use --replace.",
        )
    if len(blocks) == MAX_BLOCKS:
        raise LimitExceeded(path, f"it has {MAX_BLOCKS} signatures, and there is room for no more", "Use --replace.")


def _digests(
    source: OpenArtifact, image: Image, names: Collection[HashName], progress: Progress | None
) -> tuple[dict[HashName, Digest], bool]:
    """Of the image with its filling, which need not be there yet; and whether the digest appended to it, if any, is its own."""
    covered = min(source.size, _padded(image))
    behind = EMPTY * (_padded(image) - covered)
    every = sorted({HashName.SHA256, *names})
    if image.digest_at is None:
        return source.digest_prefixes(every, (covered,), behind, progress)[0], True
    before, delivered = source.digest_prefixes(every, (image.digest_at, covered), behind, progress)
    return delivered, source.read_at(image.digest_at, DIGEST_BYTES) == before[HashName.SHA256].value


def _not_its_own(source: OpenArtifact, image: Image) -> MalformedArtifact:
    return wrong(source, image.digest_at or 0, "the SHA-256 appended to the image is not its own")


def _envelope(block: Block, certificates: tuple[bytes, ...], name: str) -> Envelope:
    if block.layout.algorithm is None:
        weak = WeakAlgorithm(
            name, f"a signature with {block.layout.name}", "Ask for one with RSA-3072, P-256 or P-384."
        )
        return Envelope("", None, (), (BrokenSigner(weak),))
    signers = bare_signers(
        block.value,
        block.digest,
        block.layout.algorithm,
        certificates,
        lambda _, known: key_field(known.key) == block.key,
        name,
        f"the key of digest {block.key_digest.value.hex()}",
    )
    return Envelope("", None, (), signers)


def _coverage(image: Image, size: int) -> Coverage:
    return Coverage((Range(0, _padded(image), Extent.HASHED), Range(_padded(image), size, Extent.SIGNATURE)))


def _structure(image: Image, blocks: tuple[Block, ...]) -> tuple[str, ...]:
    said = [f"image for {image.chip} up to byte {image.end}, segments: {len(image.segments)}"]
    said += [f"signature {at}: {one.layout.name}, key digest {one.key_digest}" for at, one in enumerate(blocks)]
    if len(blocks) > 1 and image.chip in _ONE_SIGNATURE:
        said.append(f"{image.chip} looks at signature 0 alone")
    return tuple(said)
