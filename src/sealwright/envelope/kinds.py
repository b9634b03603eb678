"""Kinds of signed content: the content type, whether the content travels inside the CMS, and which bytes message-digest binds.

| kind | eContentType | eContent |
| file, manifest, trust, deny | id-data | absent: the content lies beside (RULES 1) |
| rauc-verity | id-data | OCTET STRING: the bundle's manifest |
| authenticode | SPC_INDIRECT_DATA | SEQUENCE; message-digest is of what it holds, without tag and length (PKCS #7 section 9.3) |
| timestamp | id-ct-TSTInfo | OCTET STRING (RFC 3161 section 2.4.2) |
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import Scheme
from sealwright.envelope.asn1 import OID


class Carried(Enum):
    """Where the content of a CMS is."""

    BESIDE = auto()
    OCTETS = auto()
    SEQUENCE = auto()


class ContentKind(NamedTuple):
    """name: what content-hints says (`sealwright/<name>/1`) where the content type is id-data.

    schemes: what its verifiers read; a key of another scheme must not sign it.
    """

    name: str
    type: OID = types.DATA
    carried: Carried = Carried.BESIDE
    schemes: frozenset[Scheme] = frozenset(Scheme)

    def digest(self, content: bytes, algorithm: HashName) -> Digest:
        """What message-digest binds of a content. content: for a SEQUENCE its whole DER."""
        return Digest.of(inner(content) if self.carried is Carried.SEQUENCE else content, algorithm)


# OpenSSL 3.0 refuses every Ed25519 and ML-DSA CMS (RULES 1); Windows and firmware know PKCS #1 v1.5 and ECDSA alone
_OPENSSL = frozenset((Scheme.RSA_PKCS1, Scheme.RSA_PSS, Scheme.ECDSA))
_PLAIN = frozenset((Scheme.RSA_PKCS1, Scheme.ECDSA))
FILE = ContentKind("file")
MANIFEST = ContentKind("manifest")
TRUST = ContentKind("trust")
DENY = ContentKind("deny")
TIMESTAMP = ContentKind("timestamp", types.TST_INFO, Carried.OCTETS)
AUTHENTICODE = ContentKind("authenticode", types.SPC_INDIRECT_DATA, Carried.SEQUENCE, _PLAIN)
RAUC_PLAIN = ContentKind("rauc", schemes=_OPENSSL)
RAUC_VERITY = ContentKind("rauc-verity", carried=Carried.OCTETS, schemes=_OPENSSL)
SWUPDATE = ContentKind("swupdate", schemes=_OPENSSL)
KINDS = {
    kind.name: kind
    for kind in (FILE, MANIFEST, TRUST, DENY, TIMESTAMP, AUTHENTICODE, RAUC_PLAIN, RAUC_VERITY, SWUPDATE)
}


def inner(element: bytes) -> bytes:
    """What a DER element holds, without its tag and length."""
    return element[2 if element[1] < 0x80 else 2 + (element[1] & 0x7F) :]
