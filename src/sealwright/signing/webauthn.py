"""Approvals by authenticators: security keys (FIDO2), from the command line or a browser (W3C Web Authentication level 2).

    challenge_of(request)                          what the authenticator is given
    assertion = read_assertion(proof, "approval 1")
    verified(assertion, request, credential, "approval 1")

An approval of this scheme is the W3C's AuthenticationResponseJSON in one form: RFC 8785, with the members that are signed and no others,
so that any WebAuthn library reads it. It holds by these steps (level 2, section 7.2), all of them:

 1. `type` is webauthn.get: a registration approves nothing.
 2. `challenge` is SHA-256("sealwright approval 1\\n" || the request's bytes): another request, service, key or day is another challenge (A116, A118).
 3. `origin` is the one that the register has for the credential, letter by letter.
 4. `crossOrigin` is there and false: no frame in somebody else's page asked (A126).
 5. The authenticator's data is 37 octets: hash of the relying party's id, flags, counter. Extensions and new credentials are none of an approval.
 6. The hash is that of the register's `rp`.
 7. Flags: somebody was there (UP) and was recognised by PIN or finger (UV); the key cannot leave the authenticator (BE, BS are unset).
 8. The signature over that data and SHA-256 of the client's data is of the register's key, by the one algorithm of a key of its kind
    (ES256, EdDSA or RS256): the assertion has no say in it.
 9. The counter is handed back. It must grow from one approval to the next, unless it is always zero (`signcounts.py`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import NoReturn

from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.artifact.names import display
from sealwright.envelope.algorithms import algorithm_for, check_signature
from sealwright.errors import BadSignature, RequestRefused
from sealwright.signing.approvalkeys import WebauthnKey

DOMAIN = b"sealwright approval 1\n"
MAX_CLIENT_DATA = 2048
MAX_SIGNATURE = 1024
MAX_CREDENTIAL = 1023
AUTHENTICATOR_DATA = 37
UP, UV, BE, BS = 0x01, 0x04, 0x08, 0x10
_AGAIN = "Approve it again: sealwright approve ID --fido2"


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator signed. credential: its id; authenticator, client: the two parts that are signed; signature: over both."""

    credential: bytes
    authenticator: bytes
    client: bytes
    signature: bytes

    def encoded(self) -> bytes:
        """The proof of an approval."""
        id_ = base64url(self.credential)
        parts = {
            "authenticatorData": base64url(self.authenticator),
            "clientDataJSON": base64url(self.client),
            "signature": base64url(self.signature),
        }
        whole = {"clientExtensionResults": {}, "id": id_, "rawId": id_, "response": parts, "type": "public-key"}
        return json.dumps(whole, separators=(",", ":")).encode()


def challenge_of(request: bytes) -> bytes:
    """What an authenticator is asked to sign for a request, 32 octets."""
    return hashlib.sha256(DOMAIN + request).digest()


def read_assertion(proof: bytes, subject: str) -> Assertion:
    """The parts of a proof; RequestRefused for anything but its one form."""
    try:
        whole = json.loads(proof.decode())
        parts = whole["response"]
        made = Assertion(
            _octets(whole["rawId"], MAX_CREDENTIAL),
            _octets(parts["authenticatorData"], AUTHENTICATOR_DATA),
            _octets(parts["clientDataJSON"], MAX_CLIENT_DATA),
            _octets(parts["signature"], MAX_SIGNATURE),
        )
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise RequestRefused(subject, "it is no answer of an authenticator", _AGAIN) from cause
    if made.encoded() != proof:  # names twice, other members, other spelling
        raise RequestRefused(subject, "the authenticator's answer is not in its one form", _AGAIN)
    return made


def verified(assertion: Assertion, request: bytes, credential: WebauthnKey, subject: str) -> int:
    """The counter of an assertion that approves these bytes by that credential; RequestRefused naming what is wrong."""
    _check_client(assertion.client, challenge_of(request), credential.origin, subject)
    data = assertion.authenticator
    if len(data) != AUTHENTICATOR_DATA:
        _refuse(subject, f"the authenticator's data has {len(data)} octets, not {AUTHENTICATOR_DATA}")  # 5
    if data[:32] != hashlib.sha256(credential.rp.encode()).digest():
        _refuse(subject, f"it was made for another service than {credential.rp}")  # 6
    _check_flags(data[32], subject)
    key = load_der_public_key(credential.spki)
    try:
        signed = data + hashlib.sha256(assertion.client).digest()
        check_signature(key, algorithm_for(key, subject=subject), assertion.signature, signed, subject=subject)  # 8
    except BadSignature as cause:
        raise RequestRefused(subject, "its signature is not of the credential that it names", _AGAIN) from cause
    return int.from_bytes(data[33:], "big")


def base64url(data: bytes) -> str:
    """Without padding, as WebAuthn has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _check_client(data: bytes, challenge: bytes, origin: str, subject: str) -> None:
    """Steps 1 to 4. Members that are not known here are let be: browsers add some."""
    try:
        named = json.loads(data.decode(), object_pairs_hook=_once)
        if not isinstance(named, dict):
            raise TypeError
    except (ValueError, TypeError, RecursionError) as cause:
        raise RequestRefused(subject, "the client's data cannot be read", _AGAIN) from cause
    if named.get("type") != "webauthn.get":
        _refuse(subject, "it is no answer to the question for an approval")
    if named.get("challenge") != base64url(challenge):
        _refuse(subject, "another challenge was signed: it approves another request")
    if named.get("origin") != origin:
        _refuse(subject, f"it was made at {display(str(named.get('origin')))[:200]}, not at {origin}")
    if named.get("crossOrigin") is not False or "topOrigin" in named:
        _refuse(subject, "it was asked for in a frame of another page")


def _check_flags(flags: int, subject: str) -> None:
    """Step 7."""
    if not flags & UP:
        _refuse(subject, "nobody touched the authenticator")
    if not flags & UV:
        _refuse(subject, "the authenticator did not verify who touched it (PIN or finger)")
    if flags & (BE | BS):
        _refuse(subject, "the key can be copied from its authenticator (a synced passkey)")
    if flags & ~(UP | UV):
        _refuse(subject, f"the authenticator's flags are {flags:#04x}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("a name stands twice")
    return named


def _octets(text: object, most: int) -> bytes:
    if not isinstance(text, str) or len(text) > 2 * most:
        raise ValueError("no octets")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as cause:
        raise ValueError("no base64url") from cause


def _refuse(subject: str, what: str) -> NoReturn:
    raise RequestRefused(subject, what, _AGAIN)
