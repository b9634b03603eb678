"""RFC 3161 tokens written fast: what never changes for an authority, or within one second, is encoded once.

    maker = TokenMaker(signing, TIMESTAMP_POLICY, timedelta(seconds=2))
    draft = maker.draft(imprint, serial, now, nonce)
    value = key.sign([maker.to_be_signed(draft)])[0]
    token = maker.token(draft, value, Certificates.INCLUDED)

The octets are those of `tsp.tst_info`, `cms_write.signed_attributes` and `cms_write.assemble`: a test compares them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS
from sealwright.envelope.asn1 import OID, der
from sealwright.envelope.cms_write import SigningCertificate, signed_attributes, to_be_signed
from sealwright.envelope.kinds import TIMESTAMP
from sealwright.envelope.tobesigned import ToBeSigned

_VERSION_1 = b"\x02\x01\x01"
_VERSION_3 = b"\x02\x01\x03"  # RFC 5652 section 5.1: the content is not id-data


class Certificates(Enum):
    """Whether a token carries the authority's path (certReq)."""

    INCLUDED = "included"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Draft:
    """A token before it is signed. info: the DER TSTInfo; attributes: the DER SET that is signed."""

    serial: int
    gen_time: datetime
    imprint: Digest
    info: bytes
    attributes: bytes


class TokenMaker:
    """One authority's tokens, for one certificate, policy and accuracy."""

    def __init__(self, signing: SigningCertificate, policy: str, accuracy: timedelta) -> None:
        self.signing = signing
        seconds, rest = divmod(accuracy, timedelta(seconds=1))
        millis = rest // timedelta(milliseconds=1)
        digest = DIGEST_IDENTIFIERS[signing.algorithm.digest]
        self._info_head = _VERSION_1 + asn1.encode_der(OID(policy))
        self._accuracy = asn1.encode_der(types.Accuracy(seconds=seconds or None, millis=millis or None))
        self._signer_head = _VERSION_1 + signing.sid + digest
        self._signed_head = _VERSION_3 + der(0x31, digest)
        self._content_type = asn1.encode_der(TIMESTAMP.type)
        self._signed_data = asn1.encode_der(types.SIGNED_DATA)
        self._bag = {
            Certificates.INCLUDED: der(0xA0, b"".join(sorted({signing.der, *signing.chain}))),
            Certificates.LEFT_OUT: b"",
        }
        self._second: datetime | None = None
        self._time = self._before = self._after = b""

    def draft(self, imprint: Digest, serial: int, now: datetime, nonce: int | None) -> Draft:
        """Everything a token says, ready to be signed. now: aware; cut to its second."""
        second = now.astimezone(UTC).replace(microsecond=0)
        if second != self._second:
            self._new_second(second)
        info = der(
            0x30,
            self._info_head
            + der(0x30, DIGEST_IDENTIFIERS[imprint.algorithm] + der(0x04, imprint.value))
            + _integer(serial) + self._time + self._accuracy
            + (b"" if nonce is None else _integer(nonce)),
        )  # fmt: skip
        digest = Digest.of(info, self.signing.algorithm.digest).value
        return Draft(serial, second, imprint, info, self._before + digest + self._after)

    def to_be_signed(self, draft: Draft) -> ToBeSigned:
        """What the key signs."""
        return to_be_signed(draft.attributes, self.signing.algorithm)

    def token(self, draft: Draft, signature: bytes, certificates: Certificates) -> bytes:
        """The DER ContentInfo."""
        signer = der(
            0x30,
            self._signer_head + b"\xa0" + draft.attributes[1:]
            + self.signing.algorithm.identifier + der(0x04, signature),
        )  # fmt: skip
        inside = der(0x30, self._content_type + der(0xA0, der(0x04, draft.info)))
        signed = der(0x30, self._signed_head + inside + self._bag[certificates] + der(0x31, signer))
        return der(0x30, self._signed_data + der(0xA0, signed))

    def _new_second(self, second: datetime) -> None:
        """Time and attributes of one second. The digest's value moves nothing: a SET is sorted by what stands before it."""
        name = self.signing.algorithm.digest
        mark = secrets.token_bytes(name.size)
        whole = signed_attributes(self.signing, TIMESTAMP, Digest(name, mark), second)
        self._before, _, self._after = whole.partition(mark)
        self._time = asn1.encode_der(asn1.GeneralizedTime(second))
        self._second = second


def _integer(number: int) -> bytes:
    magnitude = number if number >= 0 else ~number
    return der(0x02, number.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))
