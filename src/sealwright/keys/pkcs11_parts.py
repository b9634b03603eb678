"""A private key as the attributes of a PKCS#11 object (PKCS#11 3.0, sections 2.1 and 2.3), in hex, for the worker that stores it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.errors import KeyRefused
from sealwright.keys.file import PrivateKey

_EC_PARAMS = {
    "secp256r1": "06082a8648ce3d030107",
    "secp384r1": "06052b81040022",
    "secp521r1": "06052b81040023",
}


_ED25519_PARAMS = "130c656477617264733235353139"  # PrintableString edwards25519, which SoftHSM and PKCS#11 3.0 read


def parts_of(uri: str, private: PrivateKey) -> tuple[str, dict[str, str]]:
    """A private key as PKCS#11's attributes, in hex."""
    if isinstance(private, rsa.RSAPrivateKey):
        numbers = private.private_numbers()
        values = {
            "modulus": numbers.public_numbers.n, "public_exponent": numbers.public_numbers.e,
            "private_exponent": numbers.d, "prime_1": numbers.p, "prime_2": numbers.q,
            "exponent_1": numbers.dmp1, "exponent_2": numbers.dmq1, "coefficient": numbers.iqmp,
        }  # fmt: skip
        return "rsa", {
            name: value.to_bytes((value.bit_length() + 7) // 8, "big").hex() for name, value in values.items()
        }
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = (private.curve.key_size + 7) // 8
        value = private.private_numbers().private_value.to_bytes(size, "big")
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return "ec", {
            "ec_params": _EC_PARAMS[private.curve.name],
            "value": value.hex(),
            "ec_point": _octet_string(point).hex(),
        }
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519", {
            "ec_params": _ED25519_PARAMS,
            "value": private.private_bytes_raw().hex(),
            "ec_point": _octet_string(private.public_key().public_bytes_raw()).hex(),
        }
    raise KeyRefused(uri, "ML-DSA keys in tokens are not supported", "Import it as a development key, into a file.")


def _octet_string(value: bytes) -> bytes:
    """DER; a point has at most 133 octets."""
    length = bytes([len(value)]) if len(value) < 128 else bytes([0x81, len(value)])
    return b"\x04" + length + value
