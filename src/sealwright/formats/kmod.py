"""Linux kernel modules: the signature is appended, and the kernel checks it when the module is loaded.

    modinfo signed.ko                    # lists signer and digest, verifies nothing
    openssl cms -verify -inform DER -in signature -content module -binary -certfile signer.pem -CAfile ca.pem -purpose any

| bytes | to the signature |
| the module, an ELF relocatable object | hashed |
| CMS without attributes and certificates, DER | signature |
| struct module_signature, 12 bytes: id_type 2 (PKCS #7), the rest 0, size of the CMS as big endian number | signature |
| `~Module signature appended~` and a line feed | signature |

The kernel names a signer by issuer and serial, so the certificate must be in its keyring. One signature a module.
Source: Linux kernel/module_signature.c, scripts/sign-file.c, Documentation/admin-guide/module-signing.rst.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Collection
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.bare import read_bare_cms
from sealwright.envelope.cms import Envelope
from sealwright.envelope.kinds import KMOD
from sealwright.errors import MalformedArtifact, SealwrightError, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_but_one, refuse_claims
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

NAME = "kmod"
MARK = b"~Module signature appended~\n"
MAX_CMS_BYTES = 64 * 1024
_INFO = struct.Struct(">BBBBB3sI")
_PKCS7 = 2
_RELOCATABLE = 1  # e_type ET_REL, in the byte order that EI_DATA says


class Layout(NamedTuple):
    """module_end: where the module ends and its CMS begins; signature_end: where that ends. Both the file's end if unsigned."""

    size: int
    module_end: int
    signature_end: int

    @property
    def signed(self) -> bool:
        """Whether a signature is appended."""
        return self.module_end < self.size

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        ranges = [Range(0, self.module_end, Extent.HASHED)]
        if self.signed:
            ranges.append(Range(self.module_end, self.size, Extent.SIGNATURE))
        return Coverage(tuple(ranges))


class KernelModule:
    """The format for kernel modules."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """An ELF object that is still to be linked, or one with the mark at its end."""
        return _is_object(source) or _is_marked(source)

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, which a module has no fields for, and for `--add`: a kernel reads one signature."""
        refuse_claims(path, claims, "a kernel module has no fields for product, version or generation")
        with open_artifact(path) as source:
            if not _is_object(source):
                raise UsageError(path, "it is no ELF object", "Decompress it first, or name a .ko file.")
            layout = read_layout(source)
            refuse_but_one(path, layout.signed, existing, "the kernel reads one signature of a module")
            digests = source.digest_ranges(algorithms, [(0, layout.module_end)], b"", progress)
        return Prepared(NAME, KMOD.name, path, digests, None, layout.size, layout.coverage, claims, existing=existing)

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The module, its CMS, and how long that is."""
        with open_artifact(prepared.path) as source:
            layout = read_layout(source)
        info = _INFO.pack(0, 0, _PKCS7, 0, 0, bytes(3), len(sealed.envelope))
        return (FileRange(prepared.path, 0, layout.module_end), sealed.envelope + info + MARK)

    def strip(self, path: str) -> Parts:
        """The module as it was before it was signed."""
        with open_artifact(path) as source:
            layout = read_layout(source)
        if not layout.signed:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        return (FileRange(path, 0, layout.module_end),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate, or none; the signer is found by issuer and serial."""
        with search.opened(path) as source:
            layout = read_layout(source)
            if not layout.signed:
                return Found(path, source.size, (), None)
            if not _is_object(source):
                raise MalformedArtifact(path, "byte 0: what is signed is no ELF object", _AGAIN)
            data = source.read_at(layout.module_end, layout.signature_end - layout.module_end)
            module = [(0, layout.module_end)]
            wanted = {HashName.SHA256, *(digest.algorithm for digest in search.watched)}
            delivered = source.digest_ranges(sorted(wanted), module, b"", search.progress)

            def digest_of(name: HashName) -> Digest:
                if name not in delivered:
                    delivered.update(source.digest_ranges((name,), module, b"", search.progress))
                return delivered[name]

            envelope, findings = _read(data, digest_of, search.certificates, os.path.basename(path))
            whole = watched_digests(source, search)
        artifact, name = delivered[HashName.SHA256], os.path.basename(path)
        candidate = Candidate(
            source=name,
            slot=Slot.MAKER,
            format=NAME,
            kind=KMOD.name,
            envelope=envelope,
            digests=delivered,
            artifact=artifact,
            coverage=layout.coverage,
            findings=findings,
            contents=(*delivered.values(), *whole),
            name=name,
        )
        return Found(path, layout.size, (candidate,), artifact)


def read_layout(source: OpenArtifact) -> Layout:
    """Where the module ends; MalformedArtifact with the offset where what is appended is not as the kernel reads it."""
    size = source.size
    if not _is_marked(source):
        return Layout(size, size, size)
    at = size - len(MARK) - _INFO.size
    head = source.read_at(at, _INFO.size) if at >= 0 else b""
    if len(head) < _INFO.size:
        raise _wrong(source, 0, "there is a mark, and nothing in front of it")
    algorithm, digest, kind, signer, key_id, padding, length = _INFO.unpack(head)
    if kind != _PKCS7 or algorithm or digest or signer or key_id or padding != bytes(3):
        raise _wrong(source, at, "the appended signature is not of the kind PKCS #7 with all else zero")
    if not 0 < length <= min(MAX_CMS_BYTES, at):
        raise _wrong(source, at + 8, f"an appended signature of {length} bytes")
    return Layout(size, at - length, at)


def _read(
    data: bytes, digest_of: Callable[[HashName], Digest], certificates: tuple[bytes, ...], name: str
) -> tuple[Envelope | None, tuple[Finding, ...]]:
    try:
        return read_bare_cms(data, digest_of, certificates, name), ()
    except SealwrightError as cause:
        return None, (reject(cause.code, name, found=cause.what),)


def _is_marked(source: OpenArtifact) -> bool:
    return source.size >= len(MARK) and source.read_at(source.size - len(MARK), len(MARK)) == MARK


def _is_object(source: OpenArtifact) -> bool:
    head = source.read_at(0, 18)
    if len(head) < 18 or head[:4] != b"\x7fELF":
        return False
    return int.from_bytes(head[16:18], "big" if head[5] == 2 else "little") == _RELOCATABLE


_AGAIN = "Build the module again, or fetch it again."


def _wrong(source: OpenArtifact, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, f"byte {offset}: {what}", _AGAIN)
