"""RAUC update bundles, plain and verity; crypt as long as the signature itself is not encrypted.

    rauc info --keyring=ca.pem signed.raucb        (the signature; the payload of a plain bundle)
    veritysetup verify …                           (the payload of a verity bundle, which `rauc info` never reads)

Layout (RAUC Reference, "Bundle Formats"):

| bytes | plain | verity, crypt |
| squashfs, in a crypt bundle encrypted | hashed | hashed, by way of the hash tree |
| hash tree of dm-verity, as many bytes as the manifest says | - | hashed, by way of its root |
| CMS in DER, at most 64 KiB | signature, detached: over everything before it | signature, with the manifest inside |
| its size, 8 bytes, big-endian | signature | signature |

1. The size of the CMS is that of its outermost DER value; nothing lies between the parts or behind them.
2. A squashfs says in its superblock how long it is; only zero bytes up to a multiple of 4096 may follow (what RAUC signs it
   also mounts, and a file behind the squashfs would be signed, but seen by nobody).
3. Plain: every byte of the payload is hashed, whatever its size (RAUC before 1.15.2 stopped at 2 GiB: CVE-2026-34155, A074).
4. Verity: the whole tree is made again from the payload and compared with the tree and with the root in the manifest.
5. OpenSSL demands that every SignerInfo verifies, so a bundle has exactly one; RULES 1.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import NamedTuple

from sealwright.artifact.blocks import BLOCK_BYTES
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.cms import BrokenSigner, Envelope, Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import RAUC_PLAIN, RAUC_VERITY, ContentKind
from sealwright.errors import LimitExceeded, MalformedArtifact, MalformedEnvelope, SealwrightError, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_but_one
from sealwright.formats.dmverity import Verity, first_difference
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
from sealwright.formats.raucmanifest import RaucManifest, read_manifest

NAME = "rauc"
MAX_CMS_BYTES = 64 * 1024
_SIZE_BYTES = 8
_SUPERBLOCK_BYTES = 96
_MAGIC = b"hsqs"
_ENVELOPED_DATA = bytes.fromhex("06092a864886f70d010703")
_NEXT = "Ask its maker for the bundle again."


class Bundle(NamedTuple):
    """Where the parts of a bundle are. payload_end: where the CMS begins; cms: DER, None for a squashfs that is no bundle yet.

    manifest: what the CMS holds, None in a plain bundle; envelope: the CMS, read.
    """

    size: int
    payload_end: int
    cms: bytes | None
    envelope: Envelope | None
    manifest: RaucManifest | None

    @property
    def kind(self) -> ContentKind:
        """What its signature is of."""
        return RAUC_PLAIN if self.manifest is None else RAUC_VERITY

    @property
    def image_end(self) -> int:
        """Where the squashfs ends and, in a verity bundle, the tree begins."""
        return self.payload_end - (self.manifest.tree_bytes if self.manifest is not None else 0)

    @property
    def verity(self) -> Verity | None:
        """The tree that the manifest speaks of."""
        if self.manifest is None:
            return None
        return Verity(self.image_end, self.manifest.salt, self.manifest.root)

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        ranges = [Range(0, self.payload_end, Extent.HASHED)]
        if self.cms is not None:
            ranges.append(Range(self.payload_end, self.size, Extent.SIGNATURE))
        return Coverage(tuple(ranges))


class Rauc:
    """The format for RAUC bundles."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """A CMS in front of its own size. A bare squashfs is one only where its user says so."""
        return _cms_start(source) is not None

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """A squashfs becomes a plain bundle; a bundle is signed again as what it is, after its payload and signature held.

        UsageError where the claims are not the manifest's, or it is signed and `existing` is not REPLACE.
        """
        with open_artifact(path) as source:
            bundle = read_bundle(source)
            _check_asked(path, bundle, claims, existing)
            wanted = {*algorithms, *_signed_algorithms(bundle)}
            digests, finding = _delivered(source, bundle, wanted, progress)
            if finding is not None:
                raise MalformedArtifact(path, finding, "Sign the bundle as its maker made it.")
        _check_old_signature(path, bundle, digests)
        return Prepared(
            NAME,
            bundle.kind.name,
            path,
            {name: digests[name] for name in algorithms},
            bundle.envelope.content if bundle.envelope is not None else None,
            bundle.size,
            bundle.coverage,
            bundle.manifest.claims if bundle.manifest is not None else claims,
            existing=existing,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The payload as it was, the new CMS and its size."""
        with open_artifact(prepared.path) as source:
            end = read_bundle(source).payload_end
        count = len(sealed.envelope)
        if count > MAX_CMS_BYTES:
            raise LimitExceeded(
                prepared.path, f"a signature of {count} bytes", f"RAUC reads {MAX_CMS_BYTES}; sign with a shorter path."
            )
        return FileRange(prepared.path, 0, end), sealed.envelope, count.to_bytes(_SIZE_BYTES, "big")

    def strip(self, path: str) -> Parts:
        """The squashfs. The manifest and the tree of a verity bundle go with the signature that holds them."""
        with open_artifact(path) as source:
            bundle = read_bundle(source)
        if bundle.cms is None:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        if bundle.manifest is not None and bundle.manifest.crypt:
            raise UsageError(path, "its signature holds the key of its payload", "Keep it, or sign it again.")
        return (FileRange(path, 0, bundle.image_end),)

    def extract(self, path: str, search: Search) -> Found:
        """The one signature of a bundle, with the digests of the payload, or of the manifest whose tree the payload fits."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            bundle = read_bundle(source)
            if bundle.envelope is None:
                return Found(path, source.size, (), None)
            watched = {digest.algorithm for digest in search.watched}
            wanted = {HashName.SHA256, *_signed_algorithms(bundle), *watched}
            digests, finding = _delivered(source, bundle, wanted, search.progress)
            whole = watched_digests(source, search)
        findings: list[Finding] = []
        if finding is not None:
            findings.append(reject("SW-ARTIFACT-MALFORMED", name, found=finding))
        if (count := len(bundle.envelope.signers)) != 1:
            said = f"{count} signers; RAUC refuses a bundle unless all of them verify, so one is read"
            findings.append(reject("SW-SIGNATURE-MALFORMED", name, found=said))
        artifact = digests[HashName.SHA256]
        candidate = Candidate(
            source=name,
            slot=Slot.MAKER,
            format=NAME,
            kind=bundle.kind.name,
            envelope=bundle.envelope,
            digests=digests,
            artifact=artifact,
            claims=bundle.manifest.claims if bundle.manifest is not None else Claims(),
            coverage=bundle.coverage,
            findings=tuple(findings),
            contents=(*digests.values(), *whole),
            name=name,
        )
        return Found(path, bundle.size, (candidate,), artifact)


def read_bundle(source: OpenArtifact) -> Bundle:
    """Where everything is, of a bundle or a bare squashfs.

    Raises MalformedArtifact with the offset, LimitExceeded, or what `read_envelope` raises.
    """
    size = source.size
    image_bytes = _squashfs_bytes(source)
    start = _cms_start(source)
    if start is None:
        if image_bytes is None:
            raise _wrong(source, max(0, size - _SIZE_BYTES), "there is no size of a CMS that lies before it")
        _check_image_end(source, image_bytes, size)
        return Bundle(size, size, None, None, None)
    cms = source.read_at(start, size - _SIZE_BYTES - start)
    if _ENVELOPED_DATA in cms[:24]:
        raise MalformedEnvelope(
            source.path,
            "its signature is encrypted for its devices (rauc encrypt), so only they can check it",
            "Verify the bundle before it is encrypted.",
        )
    envelope = read_envelope(cms, Profile.FOREIGN_CMS, source.path)
    manifest = None if envelope.content is None else read_manifest(envelope.content, source.path)
    bundle = Bundle(size, start, cms, envelope, manifest)
    if manifest is not None:
        _check_tree_size(source, bundle)
    if manifest is None or not manifest.crypt:
        if image_bytes is None:
            raise _wrong(source, 0, "there is no squashfs")
        _check_image_end(source, image_bytes, bundle.image_end)
    return bundle


def check_manifest(prepared: Prepared) -> None:
    """MalformedArtifact where the manifest of a `Prepared` claims something else than it says."""
    if read_manifest(prepared.content or b"", prepared.path).claims != prepared.claims:
        raise MalformedArtifact(prepared.path, "its manifest claims something else than was asked for", _NEXT)


def _cms_start(source: OpenArtifact) -> int | None:
    """Where a DER SEQUENCE begins that ends at the last 8 bytes, which say how long it is; None where there is none."""
    end = source.size - _SIZE_BYTES
    if end <= 0:
        return None
    count = int.from_bytes(source.read_at(end, _SIZE_BYTES), "big")
    if not 0 < count <= min(end, MAX_CMS_BYTES):
        return None
    return end - count if _sequence_bytes(source.read_at(end - count, 5)) == count else None


def _sequence_bytes(head: bytes) -> int:
    """The size of the DER SEQUENCE that begins so; 0 where none does."""
    if len(head) < 5 or head[0] != 0x30:
        return 0
    if head[1] < 0x80:
        return 2 + head[1]
    octets = head[1] & 0x7F
    return 2 + octets + int.from_bytes(head[2 : 2 + octets], "big") if 1 <= octets <= 3 else 0


def _squashfs_bytes(source: OpenArtifact) -> int | None:
    """The size in the superblock at the start; None where there is none."""
    head = source.read_at(0, _SUPERBLOCK_BYTES)
    if len(head) < _SUPERBLOCK_BYTES or not head.startswith(_MAGIC) or head[28:32] != b"\x04\x00\x00\x00":
        return None
    return int.from_bytes(head[40:48], "little")


def _check_image_end(source: OpenArtifact, image_bytes: int, end: int) -> None:
    """Behind the squashfs there are only zero bytes, up to a multiple of 4096."""
    if not _SUPERBLOCK_BYTES <= image_bytes <= end:
        raise _wrong(source, 40, f"the squashfs says that it has {image_bytes} bytes, there are {end}")
    rest = end - image_bytes
    if rest >= BLOCK_BYTES or any(source.read_at(image_bytes, rest)):
        raise _wrong(source, image_bytes, f"{rest} bytes lie behind the squashfs that are not of it")


def _check_tree_size(source: OpenArtifact, bundle: Bundle) -> None:
    end = bundle.image_end
    if end <= BLOCK_BYTES or end % BLOCK_BYTES:
        raise _wrong(source, bundle.payload_end, f"its manifest leaves {end} bytes for the squashfs")
    verity = bundle.verity
    if verity is not None and verity.tree_bytes != bundle.payload_end - end:
        raise _wrong(source, end, f"a hash tree of {bundle.payload_end - end} bytes, wanted are {verity.tree_bytes}")


def _signed_algorithms(bundle: Bundle) -> set[HashName]:
    signers = bundle.envelope.signers if bundle.envelope is not None else ()
    return {signer.digest.algorithm for signer in signers if isinstance(signer, Signer)}


def _delivered(
    source: OpenArtifact, bundle: Bundle, names: Collection[HashName], progress: Progress | None
) -> tuple[Mapping[HashName, Digest], str | None]:
    """The digests of what the signature is of, and what is wrong with the payload where that is the manifest."""
    content = bundle.envelope.content if bundle.envelope is not None else None
    if content is None or bundle.verity is None:
        return source.digest_ranges(sorted(names), [(0, bundle.payload_end)], b"", progress), None
    found = first_difference(source, bundle.verity, progress)
    said = None if found is None else f"at byte {found.offset}: {found.what}"
    return {name: Digest.of(content, name) for name in names}, said


def _check_asked(path: str, bundle: Bundle, claims: Claims, existing: Existing) -> None:
    refuse_but_one(path, bundle.cms is not None, existing, "RAUC refuses a bundle unless all its signers verify")
    if not claims or (bundle.manifest is not None and claims == bundle.manifest.claims):
        return
    if bundle.manifest is not None:
        raise UsageError(path, "its manifest claims something else", "Leave out product, version and generation.")
    raise UsageError(
        path,
        "the claims of a plain bundle are in the manifest inside its squashfs",
        "Sign it without them, or make a verity bundle.",
    )


def _check_old_signature(path: str, bundle: Bundle, digests: Mapping[HashName, Digest]) -> None:
    """What is signed again is what was signed: the old value holds for this content, whoever made it."""
    for signer in bundle.envelope.signers if bundle.envelope is not None else ():
        if isinstance(signer, BrokenSigner):
            raise signer.reason
        try:
            check_signer(signer, digests, bundle.kind.name, path)
        except SealwrightError as cause:
            next_step = "Ask its maker for the bundle again; only an intact one is signed anew."
            raise type(cause)(path, f"its old signature does not hold: {cause.what}", next_step) from cause


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"at byte {offset}: {what}", _NEXT)
