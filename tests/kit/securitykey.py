"""A security key in software, from CTAP 2.0's text: what stands in for the hardware that a machine for tests does not have.

It speaks the protocol's bytes below python-fido2's real client: getInfo, clientPIN (protocol one), makeCredential and getAssertion
with P-256. What browsers' authenticators answer is in `kit/authenticator.py`; this one is for the command line's way to a key.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.ctap import STATUS, CtapDevice, CtapError
from fido2.ctap2.pin import PinProtocolV1
from fido2.hid import CAPABILITY, CTAPHID

UP, UV, AT = 0x01, 0x04, 0x40
AAGUID = bytes.fromhex("0123456789abcdef0123456789abcdef")
ERR = CtapError.ERR


@dataclass
class SoftKey(CtapDevice):
    """A key with a PIN. count: of its signatures; tries: how many PINs it was shown; backed_up: its flags say that it is copied."""

    pin: str = "1234"
    count: int = 0
    tries: int = 0
    backed_up: bool = False
    keys: dict[bytes, tuple[str, ec.EllipticCurvePrivateKey]] = field(default_factory=dict)
    agreement: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    token: bytes = bytes(range(32))

    @property
    def capabilities(self) -> int:
        return CAPABILITY.CBOR

    @classmethod
    def list_devices(cls) -> Iterator[CtapDevice]:
        yield cls()

    def call(
        self,
        cmd: int,
        data: bytes = b"",
        event: Event | None = None,
        on_keepalive: Callable[[STATUS], None] | None = None,
    ) -> bytes:
        """One command: its status, and CBOR."""
        assert cmd == CTAPHID.CBOR
        asked: Any = cbor.decode(data[1:]) if len(data) > 1 else {}
        try:
            if on_keepalive is not None and data[0] in (1, 2) and asked.get(5 if data[0] == 2 else 7) != {"up": False}:
                on_keepalive(STATUS.UPNEEDED)
            answer = {1: self._make, 2: self._assert, 4: self._info, 6: self._client_pin}[data[0]](asked)
        except CtapError as cause:
            return bytes([cause.code])
        return b"\0" + (cbor.encode(answer) if answer else b"")

    def _info(self, asked: Any) -> Any:
        return {1: ["FIDO_2_0"], 3: AAGUID, 4: {"rk": False, "up": True, "clientPin": True}, 6: [1]}

    def _client_pin(self, asked: Any) -> Any:
        if asked[2] == 2:
            return {1: dict(ES256.from_cryptography_key(self.agreement.public_key())) | {3: -25}}
        assert asked[2] == 5, asked
        x, y = (int.from_bytes(asked[3][one], "big") for one in (-2, -3))
        theirs = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        shared = hashlib.sha256(self.agreement.exchange(ec.ECDH(), theirs)).digest()
        protocol = PinProtocolV1()
        self.tries += 1
        if protocol.decrypt(shared, asked[6]) != hashlib.sha256(self.pin.encode()).digest()[:16]:
            raise CtapError(ERR.PIN_INVALID)
        return {2: protocol.encrypt(shared, self.token)}

    def _make(self, asked: Any) -> Any:
        verified = self._verified(asked[1], asked.get(8))
        rp = asked[2]["id"]
        key = ec.generate_private_key(ec.SECP256R1())
        credential = hashlib.sha256(b"credential" + bytes([len(self.keys)]) + AAGUID).digest()
        self.keys[credential] = rp, key
        attested = AAGUID + struct.pack(">H", len(credential)) + credential
        attested += cbor.encode(dict(ES256.from_cryptography_key(key.public_key())))
        return {1: "none", 2: self._data(rp, verified | AT, attested), 3: {}}

    def _assert(self, asked: Any) -> Any:
        rp = asked[1]
        found = next((one["id"] for one in asked.get(3, []) if self.keys.get(one["id"], ("",))[0] == rp), None)
        if found is None:
            raise CtapError(ERR.NO_CREDENTIALS)
        data = self._data(rp, self._verified(asked[2], asked.get(6)), b"")
        signature = self.keys[found][1].sign(data + asked[2], ec.ECDSA(hashes.SHA256()))
        return {1: {"id": found, "type": "public-key"}, 2: data, 3: signature}

    def _verified(self, client: bytes, proof: bytes | None) -> int:
        if proof is None:
            return 0
        if not hmac.compare_digest(hmac.digest(self.token, client, "sha256")[:16], proof):
            raise CtapError(ERR.PIN_AUTH_INVALID)
        return UV

    def _data(self, rp: str, flags: int, attested: bytes) -> bytes:
        self.count += 1
        flags |= UP | (0x18 if self.backed_up else 0)
        return hashlib.sha256(rp.encode()).digest() + bytes([flags]) + struct.pack(">I", self.count) + attested
