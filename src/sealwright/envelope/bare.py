"""Bare signatures: a value over a digest, without signed attributes, and often without the signer's certificate.

Boards, kernels and firmware read them so: MCUboot, U-Boot, IMA have the value alone; kernel modules and UEFI variables CMS
without attributes. Whose key it was is then found among the certificates a verifier knows (`[[certificate]]` in the trust
file and `trust.d/*.pem` beside it), each of which counts only by its own path to an anchor. What a signature cannot say, nobody
is told: it has no time, no kind, and the file's format alone says what it covers.

Signed attributes are refused here as they are demanded elsewhere, so that no signature made for one serves as the other (A027).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import (
    DIGEST_IDENTIFIERS,
    READ_DIGESTS,
    SignatureAlgorithm,
    agreed_algorithm,
    belongs,
    check_digest_signature,
)
from sealwright.envelope.asn1 import der
from sealwright.envelope.certified import Certified, certified_or_none, name_text, short
from sealwright.envelope.cms import SAYS_NOTHING, BrokenSigner, Envelope, Signer
from sealwright.envelope.cms_write import SigningCertificate
from sealwright.errors import (
    BadSignature,
    LimitExceeded,
    MalformedEnvelope,
    SealwrightError,
    UnknownSigner,
    WeakAlgorithm,
)

MAX_BYTES = 1 << 20
MAX_SIGNATURE_BYTES = 8192
HEAD_BYTES = 16
_AGAIN = "Ask the signer for the file again."
_BRING = (
    "Put the signer's certificate (PEM) into trust.d beside the trust file; it counts only by its path to an anchor."
)


def is_attributes(head: bytes, size: int) -> bool:
    """Whether content is one DER SET of attributes. head: its first HEAD_BYTES; size: of all of it.

    A bare signature over it is also that of a CMS over whatever the attributes name, and the other way round: formats that sign
    content of any kind refuse it, making and reading (A027).
    """
    whole = _inside(head, 0, 0x31)
    first = _inside(head, whole[0], 0x30) if whole is not None else None
    if whole is None or first is None:
        return False
    return sum(whole) == size and head[first[0] : first[0] + 1] == b"\x06"


def bare_signers(
    value: bytes,
    digest: Digest,
    algorithm: SignatureAlgorithm,
    certificates: Collection[bytes],
    names: Callable[[bytes, Certified], bool],
    subject: str,
    called: str,
) -> tuple[Signer | BrokenSigner, ...]:
    """Whose value it is, among certificates in DER; one entry a certificate where a key has several.

    digest: what the value is over, as the file says it; names: whether what the file says of its signer fits a certificate;
    called: what it says, for people.
    Where the value fits none, those that are named stand for it: `check_signer` will refuse them with the reason.
    """
    named = _of_type(value, digest, algorithm, certificates, names)
    return _chosen(named, subject) or (_nobody(subject, called, digest),)


def matching_signers(
    value: bytes,
    digest: Digest,
    algorithm: SignatureAlgorithm,
    certificates: Collection[bytes],
    fits: Callable[[bytes, Certified], bool],
    subject: str,
    called: str,
) -> tuple[Signer | BrokenSigner, ...]:
    """The same where the file does not say whose key it is: only those whose key the value fits.

    fits: whether a certificate's key is of the type that the file says.
    """
    of_type = _of_type(value, digest, algorithm, certificates, fits)
    found = tuple(signer for signer in of_type if _fits(signer, subject))
    if found or not of_type:
        return found or (_nobody(subject, called, digest),)
    what = f"the signature fits none of the {len(of_type)} keys known here that could have made it ({called})"
    return (BrokenSigner(BadSignature(subject, what, _BRING)),)


def read_bare_cms(
    data: bytes, delivered: Callable[[HashName], Digest], certificates: Collection[bytes], subject: str
) -> Envelope:
    """CMS SignedData of one signer without signed attributes (RFC 5652 section 5.4), the content beside it.

    data: DER of a ContentInfo, or of SignedData alone (UEFI); delivered: the digest of the delivered content, asked for each
    algorithm that a signer used; certificates: known ones, DER, beside those inside. Raises MalformedEnvelope or
    LimitExceeded where the whole is not usable.
    """
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a signature of {len(data)} bytes", f"At most {MAX_BYTES} bytes are read.")
    signed = _signed_data(data, subject)
    inside = tuple(asn1.encode_der(one) for one in signed.certificates or [])
    if len(inside) > types.MAX_CERTIFICATES:
        raise LimitExceeded(subject, f"{len(inside)} certificates", f"At most {types.MAX_CERTIFICATES} are read.")
    infos = signed.signers.as_list()
    if not infos:
        raise MalformedEnvelope(subject, "nobody signed it: there is no SignerInfo in it", _AGAIN)
    if len(infos) > 1:
        # kernels, firmware and openssl refuse a whole of which one signer does not verify, or is not known to them
        raise MalformedEnvelope(subject, f"it has {len(infos)} signers, and signatures of this format have one", _AGAIN)
    if signed.content.type != types.DATA or signed.content.content is not None:
        raise MalformedEnvelope(subject, "its content is not beside it", _AGAIN)
    signers: tuple[Signer | BrokenSigner, ...]
    try:
        signers = _signers(infos[0], signed, delivered, (*inside, *certificates), subject)
    except SealwrightError as cause:
        signers = (BrokenSigner(cause, b"", _named_as(infos[0].sid)),)
    return Envelope(types.DATA.dotted_string, None, inside, signers)


def bare_cms(certificate: SigningCertificate, value: bytes, *, bag: Sequence[bytes] = ()) -> bytes:
    """The DER of SignedData without attributes; the caller wraps it. bag: certificates that travel in it."""
    digest = DIGEST_IDENTIFIERS[certificate.algorithm.digest]
    signer = der(0x30, b"\x02\x01\x01" + certificate.sid + digest + certificate.algorithm.identifier + der(0x04, value))
    content = der(0x30, asn1.encode_der(types.DATA))
    certificates = der(0xA0, b"".join(sorted(set(bag)))) if bag else b""
    return der(0x30, b"\x02\x01\x01" + der(0x31, digest) + content + certificates + der(0x31, signer))


def content_info(signed_data: bytes) -> bytes:
    """SignedData as a ContentInfo (RFC 5652 section 3)."""
    return der(0x30, asn1.encode_der(types.SIGNED_DATA) + der(0xA0, signed_data))


def _inside(data: bytes, at: int, tag: int) -> tuple[int, int] | None:
    """Where the content of a DER element begins, and its size; None for another tag."""
    if data[at : at + 1] != bytes((tag,)) or len(data) < at + 2:
        return None
    count = data[at + 1] & 0x7F if data[at + 1] & 0x80 else 0
    start = at + 2 + count
    return start, int.from_bytes(data[at + 2 : start], "big") if count else data[at + 1]


def _signed_data(data: bytes, subject: str) -> types.SignedData:
    try:
        if _is_content_info(data):
            info = asn1.decode_der(types.ContentInfo, data)
            if info.type != types.SIGNED_DATA:
                raise MalformedEnvelope(subject, f"it is CMS {info.type.dotted_string}, not SignedData", _AGAIN)
            signed = info.content
        else:
            signed = asn1.decode_der(types.SignedData, data)
    except ValueError as cause:
        raise MalformedEnvelope(subject, f"it is not CMS SignedData in DER: {short(cause)}", _AGAIN) from cause
    if signed.version not in (1, 3):
        raise MalformedEnvelope(subject, f"SignedData version {signed.version}", _AGAIN)
    return signed


def _is_content_info(data: bytes) -> bool:
    """A ContentInfo begins with its type, SignedData with its version."""
    header = 2 if len(data) < 2 or data[1] < 0x80 else 2 + (data[1] & 0x7F)
    return data[header : header + 1] == b"\x06"


def _signers(
    info: types.SignerInfo,
    signed: types.SignedData,
    delivered: Callable[[HashName], Digest],
    certificates: Collection[bytes],
    subject: str,
) -> tuple[Signer | BrokenSigner, ...]:
    wanted = 3 if isinstance(info.sid.value, bytes) else 1
    if info.version != wanted or len(info.signature) > MAX_SIGNATURE_BYTES:
        what = f"SignerInfo version {info.version}, signature of {len(info.signature)} bytes"
        raise MalformedEnvelope(subject, what, _AGAIN)
    if info.signed_attributes is not None or info.unsigned_attributes is not None:
        raise MalformedEnvelope(subject, "it has attributes, and signatures of this format have none", _AGAIN)
    identifier = asn1.encode_der(info.digest_algorithm)
    name = READ_DIGESTS.get(identifier)
    if name is None:
        raise WeakAlgorithm(subject, "a digest algorithm that is not SHA-256, SHA-384 or SHA-512", _AGAIN)
    if identifier not in [asn1.encode_der(one) for one in signed.digest_algorithms.as_list()]:
        raise MalformedEnvelope(subject, "its digest algorithm is not that of the SignedData", _AGAIN)
    found: list[Signer] = []
    reason: SealwrightError | None = None
    digest = delivered(name)
    for one in dict.fromkeys(certificates):
        known = certified_or_none(one)
        if known is None or not _names(info.sid, known):
            continue
        try:
            used = agreed_algorithm(asn1.encode_der(info.signature_algorithm), name, known.algorithm, subject=subject)
        except SealwrightError as cause:
            reason = cause
            continue
        found.append(Signer(one, known.key, digest, used, info.signature, None, None, SAYS_NOTHING, (), False, ()))
    if found:
        return _chosen(found, subject)
    what = f"it names its signer by {_called(info.sid)}, and none of the certificates known here is that one's"
    return (BrokenSigner(reason or UnknownSigner(subject, what, _BRING), b"", _named_as(info.sid), digest),)


def _names(sid: types.Sid, known: Certified) -> bool:
    if isinstance(sid.value, bytes):
        return sid.value == known.key_identifier
    issuer = sid.value.issuer
    return sid.value.serial == known.serial and issuer.tag_bytes == b"\x30" and issuer.data == known.issuer_inside


def _called(sid: types.Sid) -> str:
    return f"key {sid.value.hex()}" if isinstance(sid.value, bytes) else f"serial {sid.value.serial:x}"


def _named_as(sid: types.Sid) -> str:
    """The same with the issuer's name, as far as it can be read."""
    issuer = "" if isinstance(sid.value, bytes) else name_text(asn1.encode_der(sid.value.issuer))
    return f"{_called(sid)} of {issuer}" if issuer else _called(sid)


def _of_type(
    value: bytes,
    digest: Digest,
    algorithm: SignatureAlgorithm,
    certificates: Collection[bytes],
    names: Callable[[bytes, Certified], bool],
) -> list[Signer]:
    known = {one: known for one in dict.fromkeys(certificates) if (known := certified_or_none(one)) is not None}
    return [
        Signer(one, about.key, digest, algorithm, value, None, None, SAYS_NOTHING, (), False, ())
        for one, about in known.items()
        if belongs(about.algorithm, algorithm) and names(one, about)
    ]


def _nobody(subject: str, called: str, digest: Digest) -> BrokenSigner:
    what = f"it names its signer by {called}, and none of the certificates known here is that one's"
    return BrokenSigner(UnknownSigner(subject, what, _BRING), b"", called, digest)


def _chosen(named: Sequence[Signer], subject: str) -> tuple[Signer, ...]:
    """Those whose key the value fits; where it fits none, all of them, to be refused one by one."""
    return tuple(signer for signer in named if _fits(signer, subject)) or tuple(named)


def _fits(signer: Signer, subject: str) -> bool:
    try:
        check_digest_signature(signer.key, signer.algorithm, signer.signature, signer.digest, subject=subject)
    except BadSignature:
        return False
    return True
