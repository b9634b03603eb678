"""Keys with which people approve, as `people.toml` has them: one that signs CMS, or a credential of an authenticator.

    [[person.approval_key]]
    scheme = "cms"
    key = "sha256:…"                             # SHA-256 of SPKI

    [[person.approval_key]]
    scheme = "webauthn"
    rp = "sign.acme.example"                     # the service's host
    origin = "https://sign.acme.example:8443"    # where it is asked; left out for the port 443
    credential = "IHLwbOKT…"                     # its id, base64url
    aaguid = "2fc0579f-8113-47ea-b116-bb5a8db9202a"
    key = '''
    -----BEGIN PUBLIC KEY-----
    …'''

The algorithm of an authenticator's key is that of its kind: ES256 for P-256, EdDSA for Ed25519, RS256 for RSA.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Section
from sealwright.envelope.algorithms import (
    ECDSA_SHA256,
    ED25519,
    RSA_SHA256,
    PublicKey,
    algorithm_for,
    check_encoding,
)
from sealwright.errors import SealwrightError

OF_AUTHENTICATORS = (ECDSA_SHA256, ED25519, RSA_SHA256)
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_AAGUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_CREDENTIAL_BYTES = range(16, 1024)


@dataclass(frozen=True, slots=True)
class CmsKey:
    """A key with which a person signs approvals as CMS. key: SHA-256 of SPKI."""

    person: str
    key: Digest


@dataclass(frozen=True, slots=True)
class WebauthnKey:
    """A credential of an authenticator. rp: the relying party's id, a host name; origin: where it is asked, https://RP[:PORT].

    credential: its id; spki: its public key, DER; aaguid: what model it says it is, "" where that was not written down.
    """

    person: str
    key: Digest
    rp: str
    origin: str
    credential: bytes
    spki: bytes
    aaguid: str


ApprovalKey = CmsKey | WebauthnKey


def approval_keys(section: Section, person: str) -> Iterator[ApprovalKey]:
    """Those of a person; MalformedPeople naming the line."""
    for one in section.tables("approval_key", f"person.approval_key of {person}"):
        if one.word("scheme", ("cms", "webauthn")) == "cms":
            yield CmsKey(person, one.digest("key"))
        else:
            yield webauthn_key(one, person)
        one.done()


def webauthn_key(section: Section, person: str) -> WebauthnKey:
    """A credential as a register has it; MalformedPeople naming the line."""
    rp, text, pem = section.text("rp"), section.text("credential"), section.raw("key") or ""
    if not _HOST.fullmatch(rp):
        raise section.wrong("rp", "a host name in lower case, such as sign.acme.example")
    origin = section.text("origin", f"https://{rp}")
    if not _origin_of(rp, origin):
        raise section.wrong("origin", f"https://{rp}, with a port that is not 443 where the service has one")
    aaguid = section.text("aaguid", "")
    if aaguid and not _AAGUID.fullmatch(aaguid):
        raise section.wrong("aaguid", "what `sealwright people enrol-key` wrote")
    try:
        credential = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        credential = b""
    if len(credential) not in _CREDENTIAL_BYTES or base64.urlsafe_b64encode(credential).rstrip(b"=") != text.encode():
        raise section.wrong("credential", "the credential's id in base64url without padding")
    try:
        key = load_pem_public_key(pem.encode())
        if algorithm_for(key, subject=section.where) not in OF_AUTHENTICATORS:
            raise ValueError("no algorithm of authenticators")
        check_encoding(cast("PublicKey", key), pem.encode(), subject=section.where)
    except (ValueError, UnsupportedAlgorithm, SealwrightError) as cause:
        raise section.wrong("key", "a public key in PEM (BEGIN PUBLIC KEY): P-256, Ed25519 or RSA") from cause
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return WebauthnKey(person, Digest.of(spki), rp, origin, credential, spki, aaguid)


def _origin_of(rp: str, origin: str) -> bool:
    """Whether an origin is one of that host, as browsers write it (RFC 6454: without the port 443)."""
    host, colon, port = origin.removeprefix("https://").partition(":")
    fits = not colon or (_PORT.fullmatch(port) is not None and int(port) < 65536 and port != "443")
    return origin.startswith("https://") and host == rp and fits
