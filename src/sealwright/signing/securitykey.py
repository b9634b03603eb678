"""Security keys (FIDO2) at the command line: one is made known, and one approves (`webauthn.py` says what counts).

    with attached() as device:
        made = registered(device, place_of(url), touch)
        approval = approved(device, request, place_of(url), credentials, touch)

The command line is the WebAuthn client: relying party and origin are host and address of the service that was called, as a browser has
them, so that a key answers nobody who calls himself otherwise. It asks for the PIN or finger each time; a wrong PIN is tried once.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.cose import ES256, RS256, CoseKey, EdDSA
from fido2.ctap import CtapDevice, CtapError
from fido2.ctap2.pin import ClientPin
from fido2.hid import CtapHidDevice
from fido2.webauthn import (
    AuthenticatorData,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialCreationOptions,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialParameters,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    UserVerificationRequirement,
)

from sealwright.errors import KeyRefused, KeyUnavailable, UsageError
from sealwright.keys.pin import Pin
from sealwright.signing.approval import Approval, Scheme
from sealwright.signing.webauthn import Assertion, challenge_of

WAIT_MS = 60_000
CHALLENGE_BYTES = 32
_KINDS = (ES256.ALGORITHM, EdDSA.ALGORITHM, RS256.ALGORITHM)
_PUBLIC_KEY = PublicKeyCredentialType.PUBLIC_KEY
_FLAG = AuthenticatorData.FLAG


class Place(NamedTuple):
    """Where a credential is for. rp: a host name; origin: https://RP[:PORT]."""

    rp: str
    origin: str


@dataclass(frozen=True, slots=True)
class Touch:
    """What a security key needs of its owner. pin: asks for it, None where there is nobody to ask; touch: says that it waits for a finger."""

    pin: Callable[[], Pin | None]
    touch: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Registered:
    """A credential as it was made. credential: its id; pem: its public key; aaguid: what model the authenticator says it is."""

    place: Place
    credential: bytes
    pem: str
    aaguid: str


def place_of(url: str) -> Place:
    """Relying party and origin of a service's address; UsageError where it is called by a number."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" or not host or ":" in host or host.replace(".", "").isdigit():
        raise UsageError(
            url[:80], "a security key is bound to a host's name", "Call the service by its name: https://HOST:PORT"
        )
    port = "" if parts.port in (None, 443) else f":{parts.port}"
    return Place(host, f"https://{host}{port}")


def attached() -> CtapDevice:
    """The security key that is plugged in; KeyUnavailable where there is none, UsageError where there are several."""
    found = list(CtapHidDevice.list_devices())
    if not found:
        raise KeyUnavailable(
            "security key",
            "none is plugged in, or you may not use it",
            "Plug it in; on Linux it needs the rules of libfido2.",
        )
    if len(found) > 1:
        for one in found:
            one.close()
        raise UsageError("security key", f"{len(found)} are plugged in", "Leave one of them in.")
    return found[0]


def approved(device: CtapDevice, request: bytes, place: Place, credentials: Sequence[bytes], touch: Touch) -> Approval:
    """A request approved by one of the credentials; KeyRefused where the key does not, or has none of them."""
    options = PublicKeyCredentialRequestOptions(
        challenge=challenge_of(request),
        rp_id=place.rp,
        timeout=WAIT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(type=_PUBLIC_KEY, id=one) for one in credentials],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    try:
        answer = _client(device, place, touch).get_assertion(options).get_response(0)
    except (ClientError, CtapError, OSError, ValueError) as cause:
        _refused(cause)
    signed = answer.response
    assertion = Assertion(answer.raw_id, bytes(signed.authenticator_data), bytes(signed.client_data), signed.signature)
    return Approval(Scheme.WEBAUTHN, assertion.encoded())


def registered(device: CtapDevice, place: Place, touch: Touch) -> Registered:
    """A new credential; KeyRefused where the key makes none that approvals count by. No attestation is asked for."""
    options = PublicKeyCredentialCreationOptions(
        rp=PublicKeyCredentialRpEntity(name="Sealwright", id=place.rp),
        user=PublicKeyCredentialUserEntity(name="approver", id=secrets.token_bytes(16), display_name="approver"),
        challenge=secrets.token_bytes(CHALLENGE_BYTES),
        pub_key_cred_params=[PublicKeyCredentialParameters(type=_PUBLIC_KEY, alg=kind) for kind in _KINDS],
        timeout=WAIT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(user_verification=UserVerificationRequirement.REQUIRED),
    )
    try:
        made = _client(device, place, touch).make_credential(options).response.attestation_object.auth_data
    except (ClientError, CtapError, OSError, ValueError) as cause:
        _refused(cause)
    credential = made.credential_data
    if credential is None or not made.flags & _FLAG.UP or not made.flags & _FLAG.UV:
        raise KeyRefused("security key", "it did not verify who touched it", "Set a PIN on it first.")
    if made.flags & (_FLAG.BE | _FLAG.BS):
        raise KeyRefused(
            "security key", "its keys can be copied from it (a synced passkey)", "Use one that keeps them."
        )
    pem = _public(credential.public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return Registered(place, credential.credential_id, pem, str(credential.aaguid))


def _client(device: CtapDevice, place: Place, touch: Touch) -> Fido2Client:
    collector = DefaultClientDataCollector(place.origin, lambda rp, origin: (rp, origin) == place)
    return Fido2Client(device, collector, _Interaction(touch), extensions=())


class _Interaction(UserInteraction):
    def __init__(self, touch: Touch) -> None:
        self._touch = touch

    def prompt_up(self) -> None:
        self._touch.touch()

    def request_pin(self, permissions: ClientPin.PERMISSION, rp_id: str | None) -> str | None:  # noqa: ARG002 - the library's
        pin = self._touch.pin()
        return None if pin is None else pin.reveal()


def _public(key: CoseKey) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey:
    """A COSE key (RFC 9053, RFC 8230) as a public key."""
    try:
        if key[3] == ES256.ALGORITHM and key[-1] == 1:
            numbers = ec.EllipticCurvePublicNumbers(_number(key[-2]), _number(key[-3]), ec.SECP256R1())
            return numbers.public_key()
        if key[3] == EdDSA.ALGORITHM and key[-1] == 6:
            return ed25519.Ed25519PublicKey.from_public_bytes(key[-2])
        if key[3] == RS256.ALGORITHM:
            return rsa.RSAPublicNumbers(_number(key[-2]), _number(key[-1])).public_key()
    except (KeyError, ValueError, TypeError) as cause:
        raise KeyRefused("security key", "the key that it made cannot be read", "Use another one.") from cause
    raise KeyRefused(
        "security key", f"it made a key of the COSE algorithm {key.get(3)}", "Use one with ES256 or EdDSA."
    )


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


_CAUSES = {
    CtapError.ERR.PIN_INVALID: ("the PIN is wrong", "Look at it before you try again: after some wrong ones the key locks."),
    CtapError.ERR.PIN_AUTH_BLOCKED: ("it takes no PIN now", "Take it out, put it in again, and look at the PIN."),
    CtapError.ERR.PIN_BLOCKED: ("it is locked after too many wrong PINs", "It has to be reset, which ends its credentials."),
    CtapError.ERR.NO_CREDENTIALS: ("it has none of the credentials that the register has of you", "Use the key that was enrolled."),
}  # fmt: skip


def _refused(cause: Exception) -> NoReturn:
    """A library's error in words."""
    inner = cause.cause if isinstance(cause, ClientError) else cause
    code = inner.code if isinstance(inner, CtapError) else None
    if code in _CAUSES:
        what, then = _CAUSES[code]
    elif isinstance(cause, ClientError) and cause.code is ClientError.ERR.TIMEOUT:
        what, then = "nobody touched it in time", "Try again, and touch it when it blinks."
    elif isinstance(cause, ClientError) and cause.code is ClientError.ERR.CONFIGURATION_UNSUPPORTED:
        what, then = "it cannot verify who touches it", "Set a PIN on it, or use a FIDO2 key that has one."
    else:
        what, then = f"it answers: {inner or cause}"[:200], "Try again; if it fails again, try another key."
    raise KeyRefused("security key", what, then) from cause
