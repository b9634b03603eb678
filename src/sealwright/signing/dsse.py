"""DSSE envelopes: a payload with its type, and signatures over both (github.com/secure-systems-lab/dsse, protocol 1.0.2).

    {"payloadType": "application/vnd.in-toto+json", "payload": "BASE64", "signatures": [{"sig": "BASE64"}]}

1. What is signed is `DSSEv1 SP LENGTH(type) SP type SP LENGTH(payload) SP payload`, so a payload of one type never serves as another.
2. The payload is read once it is known whose signature holds, and these very octets are read.
3. `keyid` is a hint of whoever wrote it and chooses nothing; fields beside those above are ignored, as the protocol wants it.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, check_signature
from sealwright.errors import BadSignature

IN_TOTO = "application/vnd.in-toto+json"
MAX_SIGNATURES = 4
MAX_SIGNATURE_BYTES = 8 * 1024
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")


@dataclass(frozen=True, slots=True)
class Dsse:
    """One envelope. signatures: values, of which nothing is known yet."""

    type: str
    payload: bytes
    signatures: tuple[bytes, ...]

    @property
    def signed(self) -> bytes:
        """Point 1."""
        kind = self.type.encode()
        return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(self.payload), self.payload)

    def signed_by(self, key: PublicKey, algorithm: SignatureAlgorithm) -> bool:
        """Whether one of its signatures is that key's."""
        signed = self.signed
        for value in self.signatures:
            try:
                check_signature(key, algorithm, value, signed, subject="provenance")
            except BadSignature:
                continue
            return True
        return False


def envelope_of(named: dict[str, object]) -> Dsse:
    """An envelope out of its JSON; ValueError with a clause that says what is wrong."""
    kind, listed = named.get("payloadType"), named.get("signatures")
    if kind != IN_TOTO:
        raise ValueError(f"`payloadType` is not {IN_TOTO}")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_SIGNATURES:
        raise ValueError(f"`signatures` is no list of 1 to {MAX_SIGNATURES}")
    values = []
    for one in listed:
        value = decoded(one.get("sig") if isinstance(one, dict) else None, "sig")
        if not 0 < len(value) <= MAX_SIGNATURE_BYTES:
            raise ValueError("`sig` cannot be a signature")
        values.append(value)
    return Dsse(IN_TOTO, decoded(named.get("payload"), "payload"), tuple(values))


def decoded(text: object, name: str) -> bytes:
    """Octets of base64 in either alphabet, padded, with one spelling; ValueError."""
    if not isinstance(text, str) or not _BASE64.fullmatch(text):
        raise ValueError(f"`{name}` is no base64")
    try:
        data = base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except binascii.Error as cause:
        raise ValueError(f"`{name}` is no base64") from cause
    if base64.b64encode(data).decode() != text.translate(str.maketrans("-_", "+/")):
        raise ValueError(f"`{name}` hides bits that say nothing")
    return data
