"""A signature value as a maker's header holds it, and as CMS does: DER, or numbers of a fixed size in either byte order.

| scheme | der | raw-be, raw-le |
| ECDSA | SEQUENCE of r and s (X9.62), then nothing but empty bytes | r and s, each as long as the curve's order, in that byte order |
| RSA | - | the number, as long as the key |

Every value has one form: what is longer, shorter or followed by anything is refused.
"""

from __future__ import annotations

from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from sealwright.envelope.algorithms import ALGORITHMS, Scheme, SignatureAlgorithm
from sealwright.envelope.certified import Certified, certified
from sealwright.errors import KeyRefused, MalformedArtifact
from sealwright.formats.format import Sealed
from sealwright.formats.layouttext import RAW_ECDSA_BYTES, Encoding, Layout


def algorithm_of(layout: Layout) -> SignatureAlgorithm:
    """What the signatures of a layout are."""
    (found,) = (one for one in ALGORITHMS if one.scheme is layout.scheme and one.digest is layout.digest)
    return found


def fits(layout: Layout, known: Certified) -> bool:
    """Whether a key could have made a value of this place."""
    size = layout.signature_bytes
    if layout.scheme is not Scheme.ECDSA:
        return isinstance(known.key, rsa.RSAPublicKey) and known.key.key_size == 8 * size
    if not isinstance(known.key, ec.EllipticCurvePublicKey):
        return False
    return layout.encoding is Encoding.DER or RAW_ECDSA_BYTES[size] == known.key.curve.name


def value_in(layout: Layout, place: bytes, subject: str) -> bytes:
    """The value of a place that is not empty, as CMS holds it; MalformedArtifact where it is none."""
    order = _order(layout)
    if layout.scheme is not Scheme.ECDSA:
        return place if order == "big" else place[::-1]
    if layout.encoding is not Encoding.DER:
        half = len(place) // 2
        return encode_dss_signature(int.from_bytes(place[:half], order), int.from_bytes(place[half:], order))
    size = der_bytes(place)
    value, behind = place[:size], place[size:]
    try:
        if encode_dss_signature(*decode_dss_signature(value)) != value:
            raise ValueError("another encoding of the same numbers")
    except ValueError as cause:
        raise MalformedArtifact(subject, "the signature in it is not DER of r and s", _AGAIN) from cause
    if behind.strip(bytes((layout.empty,))):
        raise MalformedArtifact(subject, "something follows the signature in its place", _AGAIN)
    return value


def der_bytes(place: bytes) -> int:
    """How many bytes the DER at the start of a place says it has; at most all of them."""
    if len(place) < 3:
        return len(place)
    return min(len(place), 2 + place[1] if place[1] < 0x80 else 3 + place[2])


def in_place(layout: Layout, sealed: Sealed, subject: str) -> bytes:
    """The bytes of the place for a new signature; KeyRefused where its key is not one of the layout."""
    size, value = layout.signature_bytes, sealed.value
    if sealed.algorithm is not algorithm_of(layout) or not fits(layout, certified(sealed.certificate)):
        what = f"the layout {layout.name} wants {algorithm_of(layout).name} in {size} bytes ({layout.encoding})"
        raise KeyRefused(subject, what, "Sign with a key of that type and size.")
    if layout.scheme is not Scheme.ECDSA:
        return value if layout.encoding is Encoding.RAW_BE else value[::-1]
    if layout.encoding is Encoding.DER:
        if len(value) > size:
            raise KeyRefused(subject, f"its value of {len(value)} bytes is larger than the place", "Use P-256.")
        return value.ljust(size, bytes((layout.empty,)))
    return b"".join(number.to_bytes(size // 2, _order(layout)) for number in decode_dss_signature(value))


def _order(layout: Layout) -> Literal["little", "big"]:
    return "little" if layout.encoding is Encoding.RAW_LE else "big"


_AGAIN = "Fetch it again; if that does not help, ask the maker which layout it is of."
