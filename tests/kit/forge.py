"""SignedData with any part replaced, signed with the real key: what is refused is refused for the rule, not for the value.

forge(signer, DATA)                                    # as we write it
forge(signer, DATA, drop=[types.MESSAGE_DIGEST])       # without an attribute, the value still fits
"""

from collections.abc import Sequence

from cryptography.hazmat import asn1

from kit.pki import NOW, Signer
from sealwright.artifact.digest import Digest
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS
from sealwright.envelope.asn1 import OID, der
from sealwright.envelope.cms import Profile
from sealwright.envelope.cms_write import signed_attributes, to_be_signed
from sealwright.envelope.kinds import FILE

# Profiles that read a signature over data; Authenticode signs its own content (tests/formats/test_pe.py)
DATA_PROFILES = tuple(one for one in Profile if one is not Profile.FOREIGN_AUTHENTICODE)


def attribute(type_: OID, *values: bytes) -> bytes:
    """One Attribute of encoded values."""
    return der(0x30, asn1.encode_der(type_) + der(0x31, b"".join(values)))


def forge(
    signer: Signer,
    data: bytes,
    *,
    drop: Sequence[OID] = (),
    add: Sequence[bytes] = (),
    reverse: bool = False,
    signed: bool = True,
    unsigned: Sequence[bytes] = (),
    sid: bytes | None = None,
    digest_identifier: bytes | None = None,
    signature_identifier: bytes | None = None,
    value: bytes | None = None,
    named_digests: Sequence[bytes] | None = None,
    content: bytes | None = None,
    content_type: OID = types.DATA,
    certificates: Sequence[bytes] | None = None,
    versions: tuple[int, int] = (1, 1),
    infos: Sequence[bytes] | None = None,
) -> bytes:
    """The DER ContentInfo. Attributes are sorted unless `reverse`; the bag is written in the order that is given."""
    name = signer.key.info.algorithm.digest
    digest = digest_identifier or DIGEST_IDENTIFIERS[name]
    info = signer_info(
        signer, data, drop=drop, add=add, reverse=reverse, signed=signed, unsigned=unsigned, sid=sid,
        digest_identifier=digest, signature_identifier=signature_identifier, value=value, version=versions[1],
    )  # fmt: skip
    all_infos = [info] if infos is None else infos
    bag = sorted([signer.certificate, *signer.chain]) if certificates is None else certificates
    inside = asn1.encode_der(content_type) + (der(0xA0, der(0x04, content)) if content is not None else b"")
    named = [digest] if named_digests is None else named_digests
    body = (
        bytes((2, 1, versions[0])) + der(0x31, b"".join(named)) + der(0x30, inside)
        + (der(0xA0, b"".join(bag)) if bag else b"") + der(0x31, b"".join(sorted(all_infos)))
    )  # fmt: skip
    return der(0x30, asn1.encode_der(types.SIGNED_DATA) + der(0xA0, der(0x30, body)))


def signer_info(
    signer: Signer,
    data: bytes,
    *,
    drop: Sequence[OID] = (),
    add: Sequence[bytes] = (),
    reverse: bool = False,
    signed: bool = True,
    unsigned: Sequence[bytes] = (),
    sid: bytes | None = None,
    digest_identifier: bytes | None = None,
    signature_identifier: bytes | None = None,
    value: bytes | None = None,
    version: int = 1,
) -> bytes:
    """One SignerInfo whose value fits its attributes, or the data where `signed` is false."""
    made = signer.signing
    whole = signed_attributes(made, FILE, Digest.of(data, made.algorithm.digest), NOW)
    kept = [one for one in _split(whole) if not any(asn1.encode_der(oid) in one[:20] for oid in drop)]
    attributes = der(0x31, b"".join(sorted([*kept, *add], reverse=reverse)))
    if value is None:
        value = signer.key.sign([to_be_signed(attributes if signed else data, made.algorithm)])[0]
    return der(
        0x30,
        bytes((2, 1, version))
        + (made.sid if sid is None else sid)
        + (digest_identifier or DIGEST_IDENTIFIERS[made.algorithm.digest])
        + (b"\xa0" + attributes[1:] if signed else b"")
        + (made.algorithm.identifier if signature_identifier is None else signature_identifier)
        + der(0x04, value)
        + (der(0xA1, b"".join(sorted(unsigned))) if unsigned else b""),
    )


def with_unsigned(envelope: bytes, value: bytes) -> bytes:
    """A signature that holds as before, with an attribute that nobody signed behind the last thing in it. value: DER."""
    return _grown(envelope, 5, der(0xA1, der(0x30, bytes.fromhex("06032a0304") + der(0x31, value))))


def _grown(element: bytes, depth: int, more: bytes) -> bytes:
    """An element with more at the end of its last part, so many levels down."""
    *front, last = _elements(_inside(element))
    behind = last + more if depth == 1 else _grown(last, depth - 1, more)
    return der(element[0], b"".join(front) + behind)


def _elements(data: bytes) -> list[bytes]:
    found, at = list[bytes](), 0
    while at < len(data):
        size = 2 + (data[at + 1] & 0x7F if data[at + 1] & 0x80 else 0)
        end = at + size + (int.from_bytes(data[at + 2 : at + size], "big") if size > 2 else data[at + 1])
        found.append(data[at:end])
        at = end
    return found


def _inside(element: bytes) -> bytes:
    return element[2 + (element[1] & 0x7F if element[1] & 0x80 else 0) :]


def _split(whole: bytes) -> list[bytes]:
    wrapped = asn1.decode_der(_Wrapped, der(0x30, whole))
    return [asn1.encode_der(one) for one in wrapped.attributes.as_list()]


@asn1.sequence
class _Wrapped:
    attributes: asn1.SetOf[asn1.TLV]
