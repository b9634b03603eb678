"""What somebody hands to the PKI officer of a security key that they have made known: its public key, in a small file.

    # sealwright security key 1
    scheme = "webauthn"
    rp = "sign.acme.example"
    origin = "https://sign.acme.example:8443"
    credential = "IHLwbOKTWdH4P7lc3JnvOGhd9WUDRkpJybuiiWhFZ14"
    aaguid = "2fc0579f-8113-47ea-b116-bb5a8db9202a"
    key = '''
    -----BEGIN PUBLIC KEY-----
    …'''

There is no secret in it, and no proof that it comes from whom it says: both look at the key's digest. No attestation is asked for, so
that the key lives in hardware is the word of who enrolled it; `aaguid` is what the authenticator calls its model.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sealwright.artifact.section import read_toml
from sealwright.signing.approvalkeys import WebauthnKey, webauthn_key
from sealwright.signing.people import PEOPLE
from sealwright.signing.webauthn import base64url
from sealwright.trust.toml import Toml, toml_text

FIRST_LINE = "# sealwright security key 1"
SCHEME = "webauthn"


def entry_of(rp: str, origin: str, credential: str, aaguid: str, pem: str) -> Mapping[str, Toml]:
    """What the register says of a credential. credential: base64url; pem: the public key."""
    said = {"aaguid": aaguid} if aaguid else {}
    return {"scheme": SCHEME, "rp": rp, "origin": origin, "credential": credential, **said, "key": pem}


def entry_text(entry: Mapping[str, Toml]) -> str:
    """The file."""
    return toml_text(FIRST_LINE, entry)


def read_entry(data: bytes, subject: str) -> tuple[WebauthnKey, Mapping[str, Toml]]:
    """Read it, as nobody's key, and as the register says it; MalformedPeople naming the line."""
    section = read_toml(data, subject, FIRST_LINE, PEOPLE)
    section.word("scheme", (SCHEME,))
    key = webauthn_key(section, "")
    section.done()
    pem = load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return key, entry_of(key.rp, key.origin, base64url(key.credential), key.aaguid, pem)


def is_entry(data: bytes) -> bool:
    """Whether a file is one."""
    return data.partition(b"\n")[0] == FIRST_LINE.encode()
