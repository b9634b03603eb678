"""What every Authenticode signature signs: SpcIndirectDataContent, a digest of the file by its own format's rules.

    SpcIndirectDataContent ::= SEQUENCE { data SpcAttributeTypeAndOptionalValue, messageDigest DigestInfo }

Source: Windows Authenticode Portable Executable Signature Format (2008). The digest is the last field, so the content for
delivered bytes is the received one with its last octets exchanged: nothing else of it is believed or encoded anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryptography.hazmat import asn1

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS, READ_DIGESTS, with_null
from sealwright.envelope.asn1 import OID, SPC_INDIRECT_DATA, TLV, der
from sealwright.envelope.ber import element_size
from sealwright.envelope.cms import BrokenSigner, Envelope, Profile, Signer, read_envelope
from sealwright.envelope.kinds import AUTHENTICODE
from sealwright.errors import LimitExceeded, MalformedArtifact, MalformedEnvelope, SealwrightError, WeakAlgorithm
from sealwright.findings import Finding, reject
from sealwright.formats.format import Candidate, Coverage, Prepared, Search, Slot

MAX_NESTED = 8
NO_CLAIMS = Claims()
# what readers look for in the bytes of any file: Java for an archive at its end (CVE-2020-1464), cabextract for cabinets
_HIDDEN = {b"PK\x05\x06": "the end of a ZIP archive", b"MSCF": "a cabinet"}
_AGAIN = "Ask the signer for the file again."


@asn1.sequence
class _Data:
    type: OID
    value: TLV


@asn1.sequence
class _DigestInfo:
    algorithm: TLV
    digest: bytes


@asn1.sequence
class _IndirectData:
    data: _Data
    digest: _DigestInfo


class IndirectData(NamedTuple):
    """data: the DER of SpcAttributeTypeAndOptionalValue, which says what kind of file it is; digest: of the file."""

    data: bytes
    digest: Digest


class Authenticode(NamedTuple):
    """One signature: its envelope and what it signs, or None with the finding that says why it cannot be read."""

    envelope: Envelope | None
    content: bytes
    indirect: IndirectData | None
    findings: tuple[Finding, ...]


def indirect_data(data: bytes, digest: Digest) -> bytes:
    """The DER of SpcIndirectDataContent. data: DER of SpcAttributeTypeAndOptionalValue."""
    identifier = with_null(DIGEST_IDENTIFIERS[digest.algorithm])
    return der(0x30, data + der(0x30, identifier + der(0x04, digest.value)))


def read_indirect_data(content: bytes, subject: str) -> IndirectData:
    """Read a whole SpcIndirectDataContent; MalformedEnvelope or WeakAlgorithm where it is none."""
    try:
        read = asn1.decode_der(_IndirectData, content)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "what it signs is not SpcIndirectDataContent in DER", _AGAIN) from cause
    name = READ_DIGESTS.get(asn1.encode_der(read.digest.algorithm))
    if name is None:
        raise WeakAlgorithm(subject, "a digest of the file that is not SHA-256, SHA-384 or SHA-512", _AGAIN)
    if len(read.digest.digest) != name.size:
        raise MalformedEnvelope(subject, f"a {name} digest of {len(read.digest.digest)} bytes", _AGAIN)
    return IndirectData(asn1.encode_der(read.data), Digest(name, read.digest.digest))


def check_indirect_data(prepared: Prepared) -> None:
    """MalformedArtifact where the content of a `Prepared` is not what `indirect_data` writes."""
    content = prepared.content or b""
    read = read_indirect_data(content, prepared.path)
    if indirect_data(read.data, read.digest) != content:
        raise MalformedArtifact(prepared.path, "its content is not as we write it", "Prepare it again.")


def read_authenticode(data: bytes, kinds: tuple[bytes, ...], subject: str) -> list[Authenticode]:
    """A signature and those nested in it (Microsoft's unsigned attribute), each read alone.

    kinds: the DER of the SpcAttributeTypeAndOptionalValue types that files of this format have, or their beginnings.
    """
    found: list[Authenticode] = []
    waiting = [data]
    while waiting:
        if len(found) == MAX_NESTED:
            raise LimitExceeded(subject, f"more than {MAX_NESTED} nested signatures", "Remove some of them.")
        one = _read(waiting.pop(0), kinds, subject)
        found.append(one)
        if one.envelope is not None:
            waiting += one.envelope.nested
    return found


def delivered_digests(one: Authenticode, delivered: Mapping[HashName, Digest]) -> dict[HashName, Digest]:
    """What the signature's message-digest must be for the delivered file, by each algorithm its signers used."""
    if one.indirect is None or one.envelope is None:
        return {}
    digest = delivered[one.indirect.digest.algorithm]
    content = one.content[: -len(digest.value)] + digest.value
    names = {signer.digest.algorithm for signer in one.envelope.signers if isinstance(signer, Signer)}
    return {name: AUTHENTICODE.digest(content, name) for name in names}


def wanted_digests(found: Sequence[Authenticode], search: Search) -> list[HashName]:
    """By which algorithms the delivered file is digested: those that were signed, those a deny list asks for, and SHA-256."""
    signed = {one.indirect.digest.algorithm for one in found if one.indirect is not None}
    return sorted({HashName.SHA256, *signed, *(digest.algorithm for digest in search.watched)})


def candidates_of(
    found: Sequence[Authenticode],
    form: str,
    name: str,
    delivered: Mapping[HashName, Digest],
    coverage: Coverage,
    whole: tuple[Digest, ...],
    claims: Claims = NO_CLAIMS,
) -> tuple[Candidate, ...]:
    """A candidate for each signature. form: the format's name; name: of the file; delivered: by its format's rules; whole: of all its bytes."""
    return tuple(
        Candidate(
            source=name,
            slot=Slot.MAKER,
            format=form,
            kind=AUTHENTICODE.name,
            envelope=one.envelope,
            digests=delivered_digests(one, delivered),
            artifact=delivered[HashName.SHA256],
            claims=claims,
            coverage=coverage,
            findings=one.findings,
            contents=(*delivered.values(), *whole),
            name=name,
        )
        for one in found
    )


def pkcs7_size(data: bytes) -> int:
    """How many bytes the SEQUENCE at the start has, without the padding that may lie behind it; 0 where there is none."""
    if len(data) < 2 or data[0] != 0x30:
        return 0
    if data[1] == 0x80:
        try:
            return element_size(data)
        except ValueError:
            return 0
    octets = data[1] & 0x7F if data[1] & 0x80 else 0
    length = int.from_bytes(data[2 : 2 + octets], "big") if octets else data[1]
    return 2 + octets + length if octets <= 4 and 2 + octets + length <= len(data) else 0


def _read(data: bytes, kinds: tuple[bytes, ...], subject: str) -> Authenticode:
    envelope = None
    try:
        if hidden := next((what for mark, what in _HIDDEN.items() if mark in data), None):
            raise MalformedEnvelope(subject, f"{hidden} lies in it, which nothing signs", _AGAIN)
        envelope = read_envelope(data, Profile.FOREIGN_AUTHENTICODE, subject)
        if envelope.content is None:
            raise MalformedEnvelope(
                subject, f"it signs no content of the type {SPC_INDIRECT_DATA.dotted_string}", _AGAIN
            )
        content = der(0x30, envelope.content)
        indirect = read_indirect_data(content, subject)
        if not indirect.data[2:].startswith(kinds):
            raise MalformedEnvelope(subject, "it is a signature for another kind of file", _AGAIN)
        return Authenticode(envelope, content, indirect, ())
    except WeakAlgorithm as cause:
        if envelope is not None:  # what is too weak to count still says whose it is
            weak = tuple(_refused(one, cause) for one in envelope.signers)
            return Authenticode(envelope._replace(signers=weak), b"", None, ())
        return Authenticode(None, b"", None, (reject(cause.code, subject, found=cause.what),))
    except SealwrightError as cause:
        return Authenticode(None, b"", None, (reject(cause.code, subject, found=cause.what),))


def _refused(signer: Signer | BrokenSigner, cause: SealwrightError) -> BrokenSigner:
    return BrokenSigner(cause, signer.certificate)
