"""Secure Boot variables: which keys and hashes a firmware trusts (PK, KEK, db) or refuses (dbx), and who may change them.

    cert-to-efi-sig-list, sig-list-to-certs, sign-efi-sig-list           efitools, which read and write the same

| file | what it holds |
| .esl | EFI_SIGNATURE_LISTs: type, sizes, then entries of an owner and a certificate (DER), or the SHA-256 of an image or certificate |
| .auth | EFI_TIME, WIN_CERTIFICATE_UEFI_GUID with bare CMS, then the lists: what SetVariable() is given |

The signature is over name (UTF-16, without end), vendor GUID, attributes, time and lists; name and attributes travel nowhere, so
that an update for db is none for dbx, and one that replaces is none that appends. PK signs itself and KEK, a key of KEK signs db
and dbx. Source: UEFI Specification 2.10, sections 8.2.2 and 32.4.1.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.bare import read_bare_cms
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.cms import Envelope, Signer, check_signer
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError

MAX_BYTES = 1 << 20
MAX_ENTRIES = 4096
APPEND = 0x40
_NON_VOLATILE_BOOT_RUNTIME_TIME = 0x27
_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_DATABASE = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
VARIABLES = {"PK": _GLOBAL, "KEK": _GLOBAL, "db": _DATABASE, "dbx": _DATABASE}
X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
SHA256 = uuid.UUID("c1c41626-504c-4092-aca9-41f936934328")
X509_SHA256 = uuid.UUID("3bd2a492-96c0-4079-b420-fcf98ef103ed")
_PKCS7 = uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
_LIST = struct.Struct("<16sIII")
_TIME = struct.Struct("<HBBBBBBIhBB")
_CERTIFICATE = struct.Struct("<IHH16s")
_SIZES = {SHA256: 32, X509_SHA256: 32 + _TIME.size}
_REVISION, _TYPE = 0x0200, 0x0EF1
# PKfail (CVE-2024-8105): keys of firmware makers' examples that went into products
_EXAMPLE_KEYS = ("DO NOT TRUST", "DO NOT SHIP", "TEST PK", "AMI TEST")
_AGAIN = "Make it again, or fetch it again."


class Entry(NamedTuple):
    """owner: who put it there; data by type: X509 DER, SHA256 an image's 32 bytes, X509_SHA256 a certificate's, then the time it
    is refused from, 16 zero bytes for always."""

    type: uuid.UUID
    owner: uuid.UUID
    data: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """An authenticated variable update as it was read. signature: SignedData; data: the lists."""

    time: datetime
    signature: bytes
    data: bytes
    entries: tuple[Entry, ...]


def lists_of(entries: Sequence[Entry]) -> bytes:
    """The lists in the order of the entries: one for each certificate, one for all digests of one type and owner in a row."""
    parts: list[bytes] = []
    at = 0
    while at < len(entries):
        first = entries[at]
        count = 1
        while first.type in _SIZES and at + count < len(entries) and entries[at + count][:2] == first[:2]:
            count += 1
        body = b"".join(one.owner.bytes_le + one.data for one in entries[at : at + count])
        size = 16 + len(first.data)
        parts.append(_LIST.pack(first.type.bytes_le, _LIST.size + len(body), 0, size) + body)
        at += count
    return b"".join(parts)


def certificate_entry(data: bytes, owner: uuid.UUID, subject: str) -> Entry:
    """An entry for a certificate in PEM or DER; MalformedArtifact where it is none."""
    try:
        if data.lstrip().startswith(b"-----"):
            loaded = x509.load_pem_x509_certificate(data)
        else:
            loaded = x509.load_der_x509_certificate(data)
    except UNREADABLE as cause:
        raise MalformedArtifact(subject, "it is no certificate in PEM or DER", "Name a certificate.") from cause
    return Entry(X509, owner, loaded.public_bytes(Encoding.DER))


def certificate_digest_entry(data: bytes, owner: uuid.UUID, subject: str) -> Entry:
    """An entry that refuses whatever the certificate is above, always; MalformedArtifact where it is none.

    The digest is that of the TBSCertificate (UEFI Specification 2.10, section 32.4.1, EFI_CERT_X509_SHA256_GUID).
    """
    loaded = x509.load_der_x509_certificate(certificate_entry(data, owner, subject).data)
    return Entry(X509_SHA256, owner, Digest.of(loaded.tbs_certificate_bytes).value + bytes(_TIME.size))


def read_lists(data: bytes, subject: str) -> tuple[Entry, ...]:
    """The entries of an .esl; MalformedArtifact with the offset, LimitExceeded above 1 MiB or 4,096 entries."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    entries: list[Entry] = []
    at = 0
    while at < len(data):
        if len(data) - at < _LIST.size:
            raise _wrong(subject, at, "a list is cut off")
        kind, total, header, size = _LIST.unpack_from(data, at)
        body = total - _LIST.size - header
        if header or total > len(data) - at or size <= 16 or body <= 0 or body % size:
            raise _wrong(subject, at, f"a list of {total} bytes with entries of {size} and a header of {header}")
        type_ = uuid.UUID(bytes_le=kind)
        for place in range(at + _LIST.size, at + total, size):
            if len(entries) == MAX_ENTRIES:
                raise LimitExceeded(subject, f"more than {MAX_ENTRIES} entries", "Split it.")
            owner = uuid.UUID(bytes_le=data[place : place + 16])
            entries.append(Entry(type_, owner, data[place + 16 : place + size]))
            _check_entry(entries[-1], subject, place)
        at += total
    if not entries:
        raise _wrong(subject, 0, "there is no entry in it")
    return tuple(entries)


def to_be_signed(variable: str, data: bytes, time: datetime, *, append: bool) -> bytes:
    """What an update's signature is over. data: the lists; time: aware, whole seconds count."""
    attributes = _NON_VOLATILE_BOOT_RUNTIME_TIME | (APPEND if append else 0)
    name = variable.encode("utf-16-le")
    return name + VARIABLES[variable].bytes_le + struct.pack("<I", attributes) + _efi_time(time) + data


def update_of(data: bytes, time: datetime, signature: bytes) -> bytes:
    """The .auth file. signature: SignedData in DER, without ContentInfo around it."""
    head = _CERTIFICATE.pack(_CERTIFICATE.size + len(signature), _REVISION, _TYPE, _PKCS7.bytes_le)
    return _efi_time(time) + head + signature + data


def read_update(data: bytes, subject: str) -> Update:
    """Read an .auth file; MalformedArtifact with the offset where it is none."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_BYTES} are read.")
    if len(data) < _TIME.size + _CERTIFICATE.size:
        raise _wrong(subject, 0, "it is too short for a time and a signature")
    year, month, day, hour, minute, second, pad, nano, zone, light, pad2 = _TIME.unpack_from(data)
    if any((pad, nano, zone, light, pad2)):
        raise _wrong(subject, 7, "its time has more than seconds, or a zone, which firmware refuses")
    try:
        time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as cause:
        raise _wrong(subject, 0, f"its time is none: {cause}") from cause
    length, revision, kind, type_ = _CERTIFICATE.unpack_from(data, _TIME.size)
    if (revision, kind, type_) != (_REVISION, _TYPE, _PKCS7.bytes_le):
        raise _wrong(subject, _TIME.size, "its signature is not PKCS #7")
    start, end = _TIME.size + _CERTIFICATE.size, _TIME.size + length
    if not start < end <= len(data):
        raise _wrong(subject, _TIME.size, f"a signature of {length} bytes")
    entries = read_lists(data[end:], subject) if end < len(data) else ()
    return Update(time, data[start:end], data[end:], entries)


def signed_for(update: Update, subject: str) -> tuple[tuple[str, bool] | None, Envelope]:
    """For which variable the signature holds, and whether it appends (None: for none), and the signature with its signers."""
    envelopes = {
        (variable, append): _envelope(update, to_be_signed(variable, update.data, update.time, append=append), subject)
        for variable in VARIABLES
        for append in (False, True)
    }
    for asked, envelope in envelopes.items():
        if _holds(envelope, subject):
            return asked, envelope
    return None, envelopes["PK", False]


def check_content(variable: str, entries: Sequence[Entry], *, append: bool, subject: str) -> None:
    """UsageError for what no firmware takes, or no plant should: an example key, a second platform key."""
    if variable == "PK" and (len(entries) != 1 or entries[0].type != X509 or append):
        raise UsageError(subject, "PK is exactly one certificate and cannot be appended to", "Give one certificate.")
    if variable == "KEK" and any(entry.type != X509 for entry in entries):
        raise UsageError(subject, "KEK holds certificates alone", "Put digests into db or dbx.")
    if variable != "dbx" and any(entry.type == X509_SHA256 for entry in entries):
        raise UsageError(subject, "digests of certificates can only be refused", "Put them into dbx.")
    for entry in entries:
        if entry.type == X509 and variable != "dbx":
            name = x509.load_der_x509_certificate(entry.data).subject.rfc4514_string()
            if any(words in name.upper() for words in _EXAMPLE_KEYS):
                raise UsageError(
                    subject,
                    f"{name} is an example key that others know (PKfail, CVE-2024-8105)",
                    "Make a key of your own.",
                )


def _envelope(update: Update, signed: bytes, subject: str) -> Envelope:
    def digest_of(name: HashName) -> Digest:
        return Digest.of(signed, name)

    return read_bare_cms(update.signature, digest_of, (), subject)


def _holds(envelope: Envelope, subject: str) -> bool:
    for signer in envelope.signers:
        if not isinstance(signer, Signer):
            return False
        try:
            check_signer(signer, {signer.digest.algorithm: signer.digest}, "uefi-variable", subject)
        except SealwrightError:
            return False
    return True


def _check_entry(entry: Entry, subject: str, at: int) -> None:
    if len(entry.data) != _SIZES.get(entry.type, len(entry.data)):
        raise _wrong(subject, at, f"a SHA-256 digest of {len(entry.data)} bytes")
    if entry.type == X509:
        try:
            x509.load_der_x509_certificate(entry.data).subject.rfc4514_string()
        except UNREADABLE as cause:
            raise _wrong(subject, at, "an entry that is no certificate in DER") from cause


def _efi_time(time: datetime) -> bytes:
    utc = time.astimezone(UTC)
    return _TIME.pack(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, 0, 0, 0, 0, 0)


def _wrong(subject: str, offset: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(subject, f"byte {offset}: {what}", _AGAIN)
