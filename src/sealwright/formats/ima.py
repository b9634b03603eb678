"""IMA signatures: a copy of the file, and beside it what the kernel wants to find in the extended attribute security.ima.

    evmctl ima_verify --sigfile -k signer.der OUT                       (OUT.sig)
    setfattr -n security.ima -v 0x"$(xxd -p OUT.sig | tr -d '\\n')" OUT    on the device, as its root

| bytes of OUT.sig | |
| 0x03, 0x02 | a signature, version 2 |
| 4, 5 or 6 | the digest of the file: SHA-256, SHA-384, SHA-512 |
| 4 bytes | the key: the end of SHA-1 over the public key bits of its SPKI |
| u16, big-endian | size of the value, which is all that follows |
| the value | RSA PKCS #1 v1.5 or ECDSA (DER) over the digest |

The kernel finds the certificate by the end of its subject key identifier, evmctl by its key; we write what both find.
The signature is over the content: neither the file's name nor its mode is bound. A whole tree: `imalist.py`.
Source: Linux security/integrity/integrity.h (signature_v2_hdr), digsig_asymmetric.c; ima-evm-utils libimaevm.c.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple

from cryptography import x509

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm
from sealwright.envelope.bare import HEAD_BYTES, bare_signers, is_attributes
from sealwright.envelope.certified import Certified, certified
from sealwright.envelope.cms import BrokenSigner, Envelope, Signer
from sealwright.envelope.kinds import IMA
from sealwright.errors import KeyRefused, MalformedArtifact, MalformedEnvelope, WeakAlgorithm
from sealwright.findings import Finding, reject
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
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES

NAME = "ima"
SUFFIX = ".sig"
MAX_VALUE_BYTES = 1024
_HEAD = struct.Struct(">BBB4sH")
_SIGNATURE, _VERSION = 3, 2
_DIGESTS = {4: HashName.SHA256, 5: HashName.SHA384, 6: HashName.SHA512}
_NUMBERS = {name: number for number, name in _DIGESTS.items()}
_LEAST_RSA_BYTES = 256  # a value of ECDSA has at most 141
_USED = {(one.scheme, one.digest): one for one in ALGORITHMS}
_AGAIN = "Ask the signer for the file again."


class ImaSignature(NamedTuple):
    """One signature as it was read. digest: the algorithm of the file's digest; key: the four bytes that name it."""

    digest: HashName
    key: bytes
    value: bytes

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """By its size: no RSA key that is let pass is as short as an ECDSA value is long."""
        scheme = Scheme.RSA_PKCS1 if len(self.value) >= _LEAST_RSA_BYTES else Scheme.ECDSA
        return _USED[scheme, self.digest]


class Ima:
    """The format for files that the kernel's integrity measurement architecture appraises."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:  # noqa: ARG002 (the protocol)
        """Never: any file may be one."""
        return False

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, which there are no fields for, and for `--add`: a file has one signature."""
        check_asked(path, claims, existing)
        with open_artifact(path) as source:
            check_content(source)
            digests, size = source.digests(algorithms, progress), source.size
        return prepared_file(path, digests, size)._replace(existing=existing)

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:  # noqa: ARG002 (the protocol)
        """The file as it is."""
        return (FileRange(prepared.path, 0, prepared.size),)

    def beside(self, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:  # noqa: ARG002 (the protocol)
        """The signature."""
        return (Companion(SUFFIX, signature_bytes(sealed)),)

    def strip(self, path: str) -> Parts:
        """The file as it is; its signature stays where it was."""
        with open_artifact(path) as source:
            return (FileRange(path, 0, source.size),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate; none where what is called `.sig` does not begin as a signature of IMA does."""
        name = os.path.basename(path)
        data = search.read_beside(path, SUFFIX, MAX_ENVELOPE_BYTES)
        with search.opened(path) as source:
            if data is None or data[:1] != bytes((_SIGNATURE,)):
                return Found(path, source.size, (), None)
            check_content(source)
            wanted = {HashName.SHA256, *(digest.algorithm for digest in search.watched)}
            envelope: Envelope | None = None
            findings: tuple[Finding, ...] = ()
            structure: tuple[str, ...] = ()
            digests: dict[HashName, Digest] = {}
            try:
                signature = read_signature(data, name + SUFFIX)
                digests = source.digests({*wanted, signature.digest}, search.progress)
                signers = signers_of(signature, digests[signature.digest], search.certificates, name + SUFFIX)
                envelope = envelope_of(signers)
                structure = (f"IMA signature over {signature.digest}, key {signature.key.hex()}",)
            except (MalformedEnvelope, WeakAlgorithm) as cause:
                findings = (reject(cause.code, name + SUFFIX, found=cause.what),)
                digests = source.digests(wanted, search.progress)
            whole = watched_digests(source, search)
            size = source.size
        artifact = digests[HashName.SHA256]
        candidate = Candidate(
            source=name + SUFFIX,
            slot=Slot.MAKER,
            format=NAME,
            kind=IMA.name,
            envelope=envelope,
            digests=digests,
            artifact=artifact,
            coverage=Coverage.whole(size),
            findings=findings,
            contents=(*digests.values(), *whole),
            name=name,
        )
        return Found(path, size, (candidate,), artifact, structure=structure)


def check_asked(path: str, claims: Claims, existing: Existing) -> None:
    """UsageError for what a signature of IMA cannot have."""
    refuse_claims(path, claims, "a signature for IMA has no fields for product, version or generation")
    refuse_but_one(path, False, existing, "the kernel reads one signature of a file")


def check_content(source: OpenArtifact) -> None:
    """MalformedArtifact for content that a CMS could have signed as its attributes: the kernel asks for no construction (A027)."""
    if is_attributes(source.read_at(0, HEAD_BYTES), source.size):
        raise MalformedArtifact(
            source.path,
            "it is one DER SET of attributes, as a CMS signs",
            "Sign it without --format, or leave it out of the tree.",
        )


def prepared_file(path: str, digests: dict[HashName, Digest], size: int) -> Prepared:
    """What a signature of one file binds."""
    return Prepared(NAME, IMA.name, path, digests, None, size, Coverage.whole(size), Claims())


def signature_bytes(sealed: Sealed) -> bytes:
    """The attribute's value.

    Raises KeyRefused for a certificate that the kernel would not find, because its key identifier is not made of the key.
    """
    known = certified(sealed.certificate)
    key = _key_name(sealed.certificate)
    if known.key_identifier is None or known.key_identifier[-4:] != key:
        raise KeyRefused(
            "the signer's certificate",
            "its subject key identifier is not the SHA-1 of its key, and IMA finds the key by both",
            "Have it issued with the usual identifier (RFC 5280 section 4.2.1.2, method 1).",
        )
    number = _NUMBERS[sealed.algorithm.digest]
    return _HEAD.pack(_SIGNATURE, _VERSION, number, key, len(sealed.value)) + sealed.value


def read_signature(data: bytes, name: str) -> ImaSignature:
    """MalformedEnvelope with the offset where it is none of version 2, WeakAlgorithm for a digest that is not SHA-2."""
    if len(data) < _HEAD.size:
        raise MalformedEnvelope(name, f"byte 0: {len(data)} bytes, at least {_HEAD.size} are wanted", _AGAIN)
    kind, version, number, key, size = _HEAD.unpack_from(data)
    if (kind, version) != (_SIGNATURE, _VERSION):
        raise MalformedEnvelope(name, f"byte 0: type {kind}, version {version}; read are 3 and 2", _AGAIN)
    if number not in _DIGESTS:
        raise WeakAlgorithm(name, f"byte 2: digest number {number} is not SHA-256, SHA-384 or SHA-512", _AGAIN)
    if not 0 < size <= MAX_VALUE_BYTES or size != len(data) - _HEAD.size:
        raise MalformedEnvelope(name, f"byte 7: a value of {size} bytes, {len(data) - _HEAD.size} bytes follow", _AGAIN)
    return ImaSignature(_DIGESTS[number], key, data[_HEAD.size :])


def signers_of(
    signature: ImaSignature, digest: Digest, certificates: Collection[bytes], name: str
) -> tuple[Signer | BrokenSigner, ...]:
    """Whose it is, among known certificates in DER. digest: of the delivered file."""

    def names(certificate: bytes, _known: Certified) -> bool:
        return _key_name(certificate) == signature.key

    return bare_signers(
        signature.value, digest, signature.algorithm, certificates, names, name, f"key {signature.key.hex()}"
    )


def envelope_of(signers: tuple[Signer | BrokenSigner, ...]) -> Envelope:
    """As the judgement takes it."""
    return Envelope("", None, (), signers)


@lru_cache(maxsize=256)
def _key_name(certificate: bytes) -> bytes:
    """The last four bytes of SHA-1 over the public key bits (evmctl's calc_keyid_v2)."""
    return x509.SubjectKeyIdentifier.from_public_key(certified(certificate).key).digest[-4:]
