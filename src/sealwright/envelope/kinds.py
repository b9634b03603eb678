"""Kinds of signed content: how their signatures are built, and for CMS the content type, where the content is, and what message-digest binds.

| kind | eContentType | eContent |
| file, manifest, trust, deny, ceremony, transcript, backup, loss, record, acceptance, receiving, approval, permit, permit-follow-up, report | id-data | absent: the content lies beside (RULES 1) |
| rauc-verity | id-data | OCTET STRING: the bundle's manifest |
| authenticode | SPC_INDIRECT_DATA | SEQUENCE; message-digest is of what it holds, without tag and length (PKCS #7 section 9.3) |
| timestamp | id-ct-TSTInfo | OCTET STRING (RFC 3161 section 2.4.2) |

A key is enrolled for one construction (RULES 2): a key that signs bare digests could be made to sign the attributes of any CMS.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import (
    MIN_RSA_BITS_TO_SIGN,
    MIN_RSA_BITS_TO_VERIFY,
    Scheme,
    SignatureAlgorithm,
)
from sealwright.envelope.asn1 import OID


class Construction(StrEnum):
    """The one way an enrolled key's signatures are built (RULES 2).

    cms-bare: CMS without signed attributes, as old formats want it; digest: the signature value alone, over a digest;
    xmldsig: over SignedInfo, which has the digest in it as signed attributes have; signed-note: over the lines of a log's checkpoint;
    tuf-metadata: over the canonical JSON of a release repository's role.
    """

    CMS_ATTRIBUTES = "cms-attributes"
    CERTIFICATE = "x509"
    KMOD = "cms-bare:kmod"
    MCUBOOT = "digest:mcuboot"
    FIT = "digest:fit"
    ESP32 = "digest:esp32"
    UEFI_VARIABLE = "cms-bare:uefi-variable"
    LAYOUT = "digest:layout"
    VERITY = "cms-bare:verity"
    FSVERITY = "cms-bare:fsverity"
    IMA = "digest:ima"
    XMLDSIG = "xmldsig"
    NOTE = "signed-note"
    TUF = "tuf-metadata"


# boards have the public key burnt in, and many have one of 2048 bits: it may go on signing for them, and for nothing else
_BURNT_IN = frozenset((Construction.MCUBOOT, Construction.FIT))


def least_rsa_bits(construction: Construction) -> int:
    """How long an RSA key must be to sign by a construction."""
    return MIN_RSA_BITS_TO_VERIFY if construction in _BURNT_IN else MIN_RSA_BITS_TO_SIGN


class Carried(Enum):
    """Where the content of a CMS is."""

    BESIDE = auto()
    OCTETS = auto()
    SEQUENCE = auto()


class ContentKind(NamedTuple):
    """name: what content-hints says (`sealwright/<name>/1`) where the content type is id-data.

    schemes: what its verifiers read; a key of another scheme must not sign it. message_digest: of what is not CMS, the digest
    that a key signs which takes whole messages (Ed25519). purpose: the extended key usage, dotted, that its verifiers ask for
    unless they are told otherwise; "" for none.
    """

    name: str
    type: OID = types.DATA
    carried: Carried = Carried.BESIDE
    schemes: frozenset[Scheme] = frozenset(Scheme)
    construction: Construction = Construction.CMS_ATTRIBUTES
    message_digest: HashName = HashName.SHA256
    purpose: str = ""

    @property
    def carries_tokens(self) -> bool:
        """Whether a signature has room for a timestamp; that of a bare one lies beside."""
        return self.construction is Construction.CMS_ATTRIBUTES

    def digest_name(self, algorithm: SignatureAlgorithm) -> HashName:
        """By which digest a key of this algorithm signs it."""
        bare = self.construction.value.startswith("digest:")
        return self.message_digest if bare and algorithm.signs_message else algorithm.digest

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
# who attends a key ceremony, and what was done at it
CEREMONY = ContentKind("ceremony")
TRANSCRIPT = ContentKind("transcript")
BACKUP = ContentKind("backup")
LOSS = ContentKind("loss")
# what a station found when it verified something (plant/records.py)
RECORD = ContentKind("record")
# what a plant says of an artifact: beside the maker's signature, and in its place
ACCEPTANCE = ContentKind("acceptance")
RECEIVING = ContentKind("receiving")
# that persons let one device do what its trust file refuses, and what others say of it afterwards
PERMIT = ContentKind("permit")
PERMIT_FOLLOW_UP = ContentKind("permit-follow-up")
# that somebody lets a request for signatures through (signing/approval.py)
APPROVAL = ContentKind("approval")
# what a device says of itself (artifact/report.py)
REPORT = ContentKind("report")
# what a log's key signs, and nothing else does (log/note.py); not CMS
CHECKPOINT = ContentKind("checkpoint", schemes=frozenset((Scheme.ED25519,)), construction=Construction.NOTE)
# the roles of a release repository (release/roles.py), as every client of The Update Framework reads them; not CMS
TUF = ContentKind(
    "tuf",
    schemes=frozenset((Scheme.RSA_PKCS1, Scheme.RSA_PSS, Scheme.ECDSA, Scheme.ED25519)),
    construction=Construction.TUF,
)
TIMESTAMP = ContentKind("timestamp", types.TST_INFO, Carried.OCTETS)
AUTHENTICODE = ContentKind("authenticode", types.SPC_INDIRECT_DATA, Carried.SEQUENCE, _PLAIN)
_EMAIL_PROTECTION = "1.3.6.1.5.5.7.3.4"  # what OpenSSL's purpose for S/MIME, the default of both updaters, wants to see
RAUC_PLAIN = ContentKind("rauc", schemes=_OPENSSL, purpose=_EMAIL_PROTECTION)
RAUC_VERITY = ContentKind("rauc-verity", carried=Carried.OCTETS, schemes=_OPENSSL, purpose=_EMAIL_PROTECTION)
SWUPDATE = ContentKind("swupdate", schemes=_OPENSSL, purpose=_EMAIL_PROTECTION)
JAR = ContentKind("jar", schemes=_OPENSSL)
# crypto/asymmetric_keys of Linux: RSA PKCS #1 and, since 5.13, ECDSA; the boards of MCUboot: PSS, ECDSA, Ed25519
KMOD = ContentKind("kmod", schemes=_PLAIN, construction=Construction.KMOD)
MCUBOOT = ContentKind(
    "mcuboot",
    schemes=frozenset((Scheme.RSA_PSS, Scheme.ECDSA, Scheme.ED25519)),
    construction=Construction.MCUBOOT,
)
FIT = ContentKind("fit", schemes=frozenset((Scheme.RSA_PKCS1, Scheme.RSA_PSS)), construction=Construction.FIT)
# the ROMs of Espressif's chips
ESP32 = ContentKind("esp32", schemes=frozenset((Scheme.RSA_PSS, Scheme.ECDSA)), construction=Construction.ESP32)
# firmware is built without elliptic curves more often than with them
UEFI_VARIABLE = ContentKind(
    "uefi-variable", schemes=frozenset((Scheme.RSA_PKCS1,)), construction=Construction.UEFI_VARIABLE
)
LAYOUT = ContentKind("layout", schemes=_OPENSSL, construction=Construction.LAYOUT)
# the root hash in hexadecimal; the digest of fs-verity with its header; IMA: the digest of a file
VERITY = ContentKind("verity", schemes=_PLAIN, construction=Construction.VERITY)
FSVERITY = ContentKind("fsverity", schemes=_PLAIN, construction=Construction.FSVERITY)
IMA = ContentKind("ima", schemes=_PLAIN, construction=Construction.IMA)
# what xmlsec1, Java and .NET read alike; SignedInfo says whether it is over its own document or over another file
XMLDSIG = ContentKind("xmldsig", schemes=_PLAIN, construction=Construction.XMLDSIG)
XMLDSIG_DETACHED = ContentKind("xmldsig-detached", schemes=_PLAIN, construction=Construction.XMLDSIG)
KINDS = {
    kind.name: kind
    for kind in (
        FILE,
        MANIFEST,
        TRUST,
        DENY,
        CEREMONY,
        TRANSCRIPT,
        BACKUP,
        LOSS,
        RECORD,
        ACCEPTANCE,
        RECEIVING,
        PERMIT,
        PERMIT_FOLLOW_UP,
        APPROVAL,
        REPORT,
        CHECKPOINT,
        TUF,
        TIMESTAMP,
        AUTHENTICODE,
        RAUC_PLAIN,
        RAUC_VERITY,
        SWUPDATE,
        JAR,
        KMOD,
        MCUBOOT,
        FIT,
        ESP32,
        UEFI_VARIABLE,
        LAYOUT,
        VERITY,
        FSVERITY,
        IMA,
        XMLDSIG,
        XMLDSIG_DETACHED,
    )
}


def inner(element: bytes) -> bytes:
    """What a DER element holds, without its tag and length."""
    return element[2 if element[1] < 0x80 else 2 + (element[1] & 0x7F) :]
