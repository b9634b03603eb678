"""Keys and tokens in PKCS#11's terms: templates to create objects by, and what objects and tokens say of themselves."""

from __future__ import annotations

from typing import Any

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType

from sealwright.keys.frames import Message


def templates(kind: str, parts: dict[str, bytes]) -> tuple[dict[Attribute, Any], dict[Attribute, Any]]:
    """The attributes of a private key and of its public half. parts: by PKCS#11's names, in octets."""
    if kind == "rsa":
        names = ("modulus", "public_exponent", "private_exponent", "prime_1", "prime_2", "exponent_1", "exponent_2",
                 "coefficient")  # fmt: skip
        both: dict[Attribute, Any] = {Attribute.KEY_TYPE: KeyType.RSA}
        return (
            {**both, **{getattr(Attribute, name.upper()): parts[name] for name in names}},
            {**both, **{getattr(Attribute, name.upper()): parts[name] for name in names[:2]}},
        )
    both = {
        Attribute.KEY_TYPE: KeyType.EC if kind == "ec" else KeyType.EC_EDWARDS,
        Attribute.EC_PARAMS: parts["ec_params"],
    }
    return {**both, Attribute.VALUE: parts["value"]}, {**both, Attribute.EC_POINT: parts["ec_point"]}


def fits(token: pkcs11.Token, message: Message) -> bool:
    """Every attribute that was asked for is the token's; one that is absent or empty asks for nothing."""
    own = {
        "token": token.label.strip("\0 "),
        "serial": plain(token.serial),
        "manufacturer": plain(token.manufacturer_id),
        "model": plain(token.model),
    }
    return all(message.get(name) in (None, "", value) for name, value in own.items())


def attribute(key: Any, which: Attribute) -> Any:
    """What an object has there, None where its module does not say."""
    try:
        return key[which]
    except pkcs11.PKCS11Error:
        return None


def spki_hex(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> str:
    """A public key as SubjectPublicKeyInfo in DER, in hex as frames carry it."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo).hex()


def plain(value: bytes | str) -> str:
    """A name of a token or module without its padding."""
    return (value.decode(errors="replace") if isinstance(value, bytes) else value).strip("\0 ")
