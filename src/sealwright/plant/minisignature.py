"""A minisign signature, checked by minisign with one public key.

    untrusted comment: …                                 anybody's words, never shown
    RUQ…  base64 of algorithm `ED` or `Ed`, key id, signature
    trusted comment: timestamp:1700000000  file:drive.bin
    …     base64 of the signature over the first signature and the trusted comment

Files are written anew from what was parsed, so that minisign reads nothing but that. Source: minisign's man page, "Signature format".
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealwright.errors import OldSignatureRefused
from sealwright.plant.oldkinds import AGAIN, Checked, Given, Kind, weaknesses_of
from sealwright.plant.tools import MINISIGN, Workshop

_COMMENT, _TRUSTED = b"untrusted comment: ", b"trusted comment: "
_KEY_BYTES, _SIGNATURE_BYTES, _GLOBAL_BYTES = 42, 74, 64
_TIME = re.compile(rb"(?:^|\t)timestamp:([0-9]{1,10})(?:\t|$)")


def check_minisign(given: Given, content: str, workshop: Workshop) -> Checked:
    """Raises OldSignatureRefused, or Unreadable without minisign. content: the copy of the file."""
    text, key = _key(given)
    signature, trusted, signed_comment = _signature(given)
    if signature[2:10] != key[2:10]:
        raise OldSignatureRefused(
            given.signature_path,
            f"it is by the key {_id(signature)}, and {given.key_path} is {_id(key)}",
            "Name the key file that has its key with --old-key.",
        )
    written = b"\n".join(
        (_COMMENT + b"-", base64.b64encode(signature), _TRUSTED + trusted, base64.b64encode(signed_comment), b"")
    )
    named = workshop.place("key.pub", _COMMENT + b"-\n" + text + b"\n")
    signed = workshop.place("signature", written)
    if workshop.run(MINISIGN, ("-V", "-q", "-p", named, "-x", signed, "-m", content)).code != 0:
        raise OldSignatureRefused(given.signature_path, "it does not hold for this file", AGAIN)
    stamp = _TIME.search(trusted)
    made = f", made {datetime.fromtimestamp(int(stamp[1]), UTC):%Y-%m-%d} by its own word" if stamp else ""
    return Checked(
        kind=Kind.MINISIGN,
        tool=workshop.version(MINISIGN),
        key=f"minisign:{text.decode()}",
        signer="",
        how=f"Ed25519 (minisign){made}",
        weaknesses=weaknesses_of(Ed25519PublicKey.from_public_bytes(key[10:]), given.key_path),
    )


def _key(given: Given) -> tuple[bytes, bytes]:
    """The line in base64, and what it holds: `Ed`, key id, Ed25519 key."""
    lines = given.key.replace(b"\r\n", b"\n").strip().split(b"\n")
    text = lines[-1].strip()
    key = _decoded(text)
    if len(lines) > 2 or len(key) != _KEY_BYTES or not key.startswith(b"Ed"):
        raise OldSignatureRefused(given.key_path, "it is no public key of minisign", "Ask the vendor for it again.")
    return text, key


def _signature(given: Given) -> tuple[bytes, bytes, bytes]:
    """The signature with its head, the trusted comment, and the signature over both."""
    lines = given.signature.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    if len(lines) == 4 and lines[2].startswith(_TRUSTED) and b"\r" not in lines[2]:
        signature, over = _decoded(lines[1].strip()), _decoded(lines[3].strip())
        if len(signature) == _SIGNATURE_BYTES and signature[:2] in (b"Ed", b"ED") and len(over) == _GLOBAL_BYTES:
            return signature, lines[2].removeprefix(_TRUSTED), over
    raise OldSignatureRefused(
        given.signature_path,
        "it is no signature of minisign: four lines, the third a trusted comment (signify's have two and are not checked)",
        "Ask the vendor for the signature again.",
    )


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _id(head: bytes) -> str:
    """As minisign shows it."""
    return f"{int.from_bytes(head[2:10], 'little'):016X}"
