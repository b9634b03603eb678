"""The process that owns one token: single-threaded, spawned, spoken to in frames over its standard input and output.

python-pkcs11 and SoftHSM corrupt memory when threads or forks share them, and a vendor's library may crash: here it takes
nothing with it but this process. A frame is four octets of length, big-endian, and one JSON object; octets travel as hex.
The PIN comes in a frame, never in argv or the environment. Exceptions travel as their class's name: the messages are empty.

    {"do": "open", "module": …, "token": …, "serial": …, "id": …, "label": …, "pin": …}  ->  {"key": {…}}
    {"do": "sign", "scheme": "ecdsa", "digest": "sha256", "data": [hex, …]}              ->  {"values": [hex, …]}

On an error that means a lost session it opens the token again, finds the key again, checks its flags and public key again
and tries once more; then the error goes back and nothing was signed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

from sealwright.keys.frames import Message, read_frame, write_frame
from sealwright.keys.pkcs11_objects import attribute, fits, plain, spki_hex, templates

OPEN_TRIES = 5
OPEN_WAIT_S = 0.1
LOST_SESSION = frozenset(
    ["ObjectHandleInvalid", "SessionHandleInvalid", "SessionClosed", "UserNotLoggedIn", "DeviceRemoved", "TokenNotPresent",
     "DeviceError", "KeyHandleInvalid"]
)  # fmt: skip
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_CURVES = {"p256": "secp256r1", "p384": "secp384r1", "p521": "secp521r1"}
_FLAGS = {
    "sensitive": Attribute.SENSITIVE,
    "always_sensitive": Attribute.ALWAYS_SENSITIVE,
    "never_extractable": Attribute.NEVER_EXTRACTABLE,
    "local": Attribute.LOCAL,
    "extractable": Attribute.EXTRACTABLE,
}


class Refusal(Exception):
    """What the parent is told beside a library's own errors: a short code."""


class Worker:
    """One token session and one key."""

    def __init__(self) -> None:
        self.asked: Message = {}
        self.token: pkcs11.Token | None = None
        self.session: pkcs11.Session | None = None
        self.key: Any = None  # the binding's types leave out `sign`
        self.found: Message = {}

    def open(self, message: Message) -> Message:
        """Log in and find exactly one private key; its public key and flags."""
        self.asked = message
        self._login(message, rw=False)
        self._find()
        return {"key": self.found, "slot": str(self._session().token.slot.slot_id)}

    def present(self, message: Message) -> Message:
        """Find the token without logging in, so that what hangs or crashes before a login costs no PIN try."""
        token = self._token(message)
        return {"token": f"{token.label.strip(chr(0) + ' ')} {plain(token.serial)}"}

    def look(self, _: Message) -> Message:
        """Whether the session is alive and the key's flags and public half are what they were (A162, A163)."""
        key = self.key
        if key is None:
            raise Refusal("not-open")
        try:
            now = self._described(key)
            list(
                self._session().get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: key[Attribute.ID]})
            )
        except pkcs11.PKCS11Error as cause:
            raise Refusal("session-lost") from cause
        if now != self.found:
            raise Refusal("key-changed")
        return {}

    def create(self, message: Message) -> Message:
        """Generate a key pair that can never leave the token."""
        self._login(message, rw=True)
        session = self._session()
        label, kind = str(message["label"]), str(message["kind"])
        if list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})):
            raise Refusal("label-exists")
        identifier = os.urandom(16)
        private = {
            Attribute.EXTRACTABLE: False,
            Attribute.SENSITIVE: True,
            Attribute.SIGN: True,
            Attribute.MODIFIABLE: False,
        }
        if kind in _CURVES:
            parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[kind])}
            domain = session.create_domain_parameters(KeyType.EC, parameters, local=True)
            domain.generate_keypair(
                store=True, label=label, id=identifier, private_template={**private, Attribute.DERIVE: False}
            )
        elif kind == "ed25519":
            parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}
            domain = session.create_domain_parameters(KeyType.EC_EDWARDS, parameters, local=True)
            domain.generate_keypair(
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                store=True,
                label=label,
                id=identifier,
                private_template=private,
            )
        elif kind.startswith("rsa"):
            bits = int(kind[3:7])
            template = {**private, Attribute.DECRYPT: False, Attribute.UNWRAP: False}
            session.generate_keypair(
                KeyType.RSA, bits, store=True, label=label, id=identifier, private_template=template
            )
        else:
            raise Refusal("kind-unknown")
        self.asked = {**message, "id": identifier.hex(), "label": label}
        self._find()
        return {"key": self.found}

    def take(self, message: Message) -> Message:
        """Store a private key that was made elsewhere, and its public half, so that it can be used and never read.

        Both objects or none: what was stored is destroyed again if anything after it fails.
        """
        self._login(message, rw=True)
        session = self._session()
        label, kind = str(message["label"]), str(message["kind"])
        if list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})):
            raise Refusal("label-exists")
        identifier = os.urandom(16)
        both = {Attribute.LABEL: label, Attribute.ID: identifier, Attribute.TOKEN: True, Attribute.MODIFIABLE: False}
        private, public = templates(kind, {name: bytes.fromhex(value) for name, value in message["parts"].items()})  # type: ignore[attr-defined]
        template = {
            **both, **private, Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.PRIVATE: True, Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False, Attribute.SIGN: True, Attribute.DECRYPT: False, Attribute.UNWRAP: False,
        }  # fmt: skip
        if kind == "ec":
            template |= {Attribute.DERIVE: False}
        stored: list[Any] = []
        try:
            stored.append(session.create_object(template))
            stored.append(
                session.create_object(
                    {**both, **public, Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.VERIFY: True}
                )
            )
            self.asked = {**message, "parts": {}, "id": identifier.hex(), "label": label}
            self._find()
        except BaseException:
            for one in stored:
                with suppress(pkcs11.PKCS11Error):
                    one.destroy()
            raise
        return {"key": self.found}

    def destroy(self, message: Message) -> Message:
        """Remove one key, found by its id and label, with its public half."""
        self._login(message, rw=True)
        if not message.get("id"):
            raise Refusal("no-key")
        self.asked = message
        self._find()
        wanted = {Attribute.ID: bytes.fromhex(str(message["id"]))}
        for one in list(self._session().get_objects(wanted)):
            one.destroy()
        self.key = None
        return {}

    def keys(self, message: Message) -> Message:
        """Every private key of a token, with its flags."""
        self._login(message, rw=False)
        found = list(self._session().get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
        return {"keys": [self._described(key) for key in found if isinstance(key, pkcs11.PrivateKey)]}

    def tokens(self, message: Message) -> Message:
        """The tokens a module shows, without logging in."""
        found = []
        for slot in pkcs11.lib(str(message["module"])).get_slots(token_present=True):
            token = slot.get_token()
            flags = [flag.name or "" for flag in pkcs11.TokenFlag if flag in token.flags]
            found.append(
                {
                    "label": token.label.strip("\0 "),
                    "serial": plain(token.serial),
                    "model": plain(token.model),
                    "flags": flags,
                }
            )
        return {"tokens": found}

    def about(self, message: Message) -> Message:
        """What module and token say of themselves, and how many sessions can be open at once (at most `sessions`)."""
        self._logout()
        library, token = pkcs11.lib(str(message["module"])), self._token(message)
        opened: list[pkcs11.Session] = []
        ended = ""
        try:
            while len(opened) < int(str(message["sessions"])):
                opened.append(token.open())
        except pkcs11.PKCS11Error as cause:
            ended = type(cause).__name__
        finally:
            for session in opened:
                with suppress(pkcs11.PKCS11Error):
                    session.close()
        return {
            "module": f"{plain(library.manufacturer_id)} {plain(library.library_description)} {_version(library.library_version)}",
            "cryptoki": _version(library.cryptoki_version),
            "token": token.label.strip("\0 "),
            "serial": plain(token.serial),
            "model": f"{plain(token.manufacturer_id)} {plain(token.model)}",
            "flags": [flag.name or "" for flag in pkcs11.TokenFlag if flag in token.flags],
            "mechanisms": sorted(
                one.name if isinstance(one, Mechanism) else hex(one) for one in token.slot.get_mechanisms()
            ),
            "sessions": len(opened),
            "ended": ended,
        }

    def probe(self, message: Message) -> Message:
        """What the open key's token refuses to do with it, as it must, and the attributes that say how it is used."""
        key = self.key
        if key is None:
            raise Refusal("not-open")
        secret = Attribute.PRIVATE_EXPONENT if key.key_type is KeyType.RSA else Attribute.VALUE
        answers: Message = {"read": _refused(lambda: key[secret])}
        # in a session that may write: a refusal of one that may not would say nothing about the key
        with self._token(self.asked).open(rw=True) as writing:
            template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: key[Attribute.ID]}
            found: list[Any] = list(writing.get_objects(template))
            if len(found) != 1:
                raise Refusal("no-key")
            answers["weaken"] = _refused(lambda: found[0].__setitem__(Attribute.EXTRACTABLE, True))
        self._again()  # closing that session logged out
        key = self.key
        names = ("PRIVATE", "MODIFIABLE", "SIGN", "DECRYPT", "UNWRAP", "DERIVE", "ALWAYS_AUTHENTICATE")
        answers["attributes"] = {name: str(attribute(key, getattr(Attribute, name))).lower() for name in names}
        if message.get("length") is not None:
            data = bytes(int(str(message["length"])))
            answers["odd"] = _refused(lambda: self._sign(data, "ecdsa", "sha256"))
        return answers

    def drop(self, _: Message) -> Message:
        """Lose the session behind the worker's own back, as a token does that was taken out and put in again."""
        self._session().close()
        return {}

    def sign(self, message: Message) -> Message:
        """One value for each to-be-signed, in order."""
        data = [bytes.fromhex(one) for one in message["data"]]  # type: ignore[attr-defined]
        scheme, digest = str(message["scheme"]), str(message["digest"])
        values = []
        for one in data:
            try:
                values.append(self._sign(one, scheme, digest))
            except pkcs11.PKCS11Error as cause:
                if type(cause).__name__ not in LOST_SESSION:
                    raise
                if self.asked.get("on_loss") == "give-up":
                    raise Refusal("session-lost") from cause
                self._again()
                values.append(self._sign(one, scheme, digest))
        return {"values": [value.hex() for value in values]}

    def _again(self) -> None:
        """A lost session: everything anew, and the key must be the one it was."""
        before = self.found
        self._logout()
        self._login(self.asked, rw=False)
        self._find()
        if self.found != before:
            raise Refusal("key-changed")

    def _sign(self, data: bytes, scheme: str, digest: str) -> bytes:
        key = self.key
        if key is None:
            raise Refusal("not-open")
        if scheme == "ecdsa":
            raw = bytes(key.sign(data, mechanism=Mechanism.ECDSA))
            half = len(raw) // 2
            return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        if scheme == "rsa-pkcs1":
            return bytes(key.sign(_DIGEST_INFO[digest] + data, mechanism=Mechanism.RSA_PKCS))
        if scheme == "rsa-pss":
            name = digest.upper()
            parameters = (getattr(Mechanism, name), getattr(pkcs11.MGF, name), len(data))
            return bytes(key.sign(data, mechanism=Mechanism.RSA_PKCS_PSS, mechanism_param=parameters))
        if scheme == "ed25519":
            return bytes(key.sign(data, mechanism=Mechanism.EDDSA))
        raise Refusal("scheme-unknown")

    def _session(self) -> pkcs11.Session:
        if self.session is None:
            raise Refusal("not-open")
        return self.session

    def _login(self, message: Message, *, rw: bool) -> None:
        self._logout()
        token = self._token(message)
        flags = token.flags
        if pkcs11.TokenFlag.USER_PIN_LOCKED in flags:
            raise Refusal("pin-locked")
        if pkcs11.TokenFlag.USER_PIN_FINAL_TRY in flags:
            raise Refusal("pin-final-try")
        pin = message.get("pin")
        try:
            self.session = token.open(user_pin=str(pin) if pin is not None else None, rw=rw)
        except pkcs11.PinIncorrect as cause:
            raise Refusal(self._wrong_pin(message)) from cause

    def _wrong_pin(self, message: Message) -> str:
        """What the token says of the tries that are left."""
        try:
            flags = self._token(message).flags
        except (pkcs11.PKCS11Error, Refusal):
            return "PinIncorrect"  # the news is the PIN; that the token went away too shows at the next try
        if pkcs11.TokenFlag.USER_PIN_LOCKED in flags:
            return "pin-wrong-locked"
        if pkcs11.TokenFlag.USER_PIN_FINAL_TRY in flags:
            return "pin-wrong-final"
        return "pin-wrong-low" if pkcs11.TokenFlag.USER_PIN_COUNT_LOW in flags else "PinIncorrect"

    def _logout(self) -> None:
        session, self.session, self.key = self.session, None, None
        if session is not None:
            try:
                session.close()
            except pkcs11.PKCS11Error:
                return

    def _token(self, message: Message) -> pkcs11.Token:
        """The one token of that label and serial; SoftHSM sometimes needs a second look when processes start together."""
        library = pkcs11.lib(str(message["module"]))
        last: Exception = Refusal("no-token")
        for attempt in range(OPEN_TRIES):
            try:
                found = [
                    slot.get_token()
                    for slot in library.get_slots(token_present=True)
                    if fits(slot.get_token(), message)
                ]
                if len(found) == 1:
                    return found[0]
                last = Refusal("no-token" if not found else "several-tokens")
                if found:
                    break
            except pkcs11.PKCS11Error as cause:
                last = cause
            time.sleep(OPEN_WAIT_S)
            if attempt:
                library.reinitialize()
        raise last

    def _find(self) -> None:
        template: dict[Attribute, object] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if self.asked.get("id"):
            template[Attribute.ID] = bytes.fromhex(str(self.asked["id"]))
        if self.asked.get("label"):
            template[Attribute.LABEL] = str(self.asked["label"])
        found = list(self._session().get_objects(template))
        if not found and self.asked.get("pin") is None:
            raise Refusal("no-pin")
        if len(found) != 1:
            raise Refusal("no-key" if not found else "several-keys")
        self.key = found[0]
        self.found = self._described(self.key)

    def _described(self, key: Any) -> Message:
        flags = {name: attribute(key, which) is True for name, which in _FLAGS.items()}
        token = self._session().token
        return {
            "label": str(attribute(key, Attribute.LABEL) or ""),
            "id": bytes(attribute(key, Attribute.ID) or b"").hex(),
            "public": self._public(key),
            "flags": flags,
            "token": token.label.strip("\0 "),
            "serial": plain(token.serial),
        }

    def _public(self, key: Any) -> str:
        """The SPKI in DER as hex; "" where the token keeps no public key beside the private one."""
        if key.key_type is KeyType.RSA:
            numbers = rsa.RSAPublicNumbers(
                int.from_bytes(key[Attribute.PUBLIC_EXPONENT], "big"), int.from_bytes(key[Attribute.MODULUS], "big")
            )
            return spki_hex(numbers.public_key())
        template = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: key[Attribute.ID]}
        found: list[Any] = list(self._session().get_objects(template))
        if len(found) != 1:
            return ""
        if key.key_type is KeyType.EC:
            loaded = serialization.load_der_public_key(encode_ec_public_key(found[0]))
            return spki_hex(loaded) if isinstance(loaded, ec.EllipticCurvePublicKey) else ""
        if key.key_type is KeyType.EC_EDWARDS:
            point = bytes(found[0][Attribute.EC_POINT])
            # CKA_EC_POINT is an OCTET STRING around the 32 octets, with some modules the octets alone
            return spki_hex(ed25519.Ed25519PublicKey.from_public_bytes(point[2:] if len(point) == 34 else point))
        return ""


def _refused(what: Callable[[], object]) -> str:
    """The error's name, "" for what was done."""
    try:
        what()
    except pkcs11.PKCS11Error as cause:
        return type(cause).__name__
    return ""


def _version(value: object) -> str:
    return ".".join(map(str, value)) if isinstance(value, tuple) else str(value)


def main() -> None:
    """Serve frames until the parent closes the pipe."""
    worker = Worker()
    table: dict[str, Callable[[Message], Message]] = {
        "present": worker.present,
        "open": worker.open,
        "look": worker.look,
        "sign": worker.sign,
        "create": worker.create,
        "take": worker.take,
        "destroy": worker.destroy,
        "about": worker.about,
        "probe": worker.probe,
        "drop": worker.drop,
        "keys": worker.keys,
        "tokens": worker.tokens,
    }
    # a library that prints must not write into the frames
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while (message := read_frame(sys.stdin.buffer)) is not None:
        try:
            answer = table[str(message["do"])](message)
        except Refusal as cause:
            answer = {"error": str(cause)}
        except (pkcs11.PKCS11Error, RuntimeError) as cause:
            answer = {"error": type(cause).__name__}
        except (ValueError, TypeError, KeyError, OSError) as cause:
            answer = {"error": f"worker: {type(cause).__name__}"}
        write_frame(frames, answer)


if __name__ == "__main__":
    main()
