"""Three makers' headers: their layouts, images of them built from the makers' own words, and their signing without a home."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from kit.inside import sign_inside
from kit.pki import Pki, Signer
from kit.trust import believed, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.formats.format import Existing
from sealwright.formats.layouttext import Layout, parse_layout
from sealwright.trust.belief import Believed
from sealwright.trust.layouts import layouts_in
from sealwright.trust.toml import Toml

PAYLOAD = bytes(range(1, 251)) * 8

# Header of 128 bytes: fields, then r and s; the counter is what the boot loader compares with its fuses.
DRIVE = """# sealwright layout 1
name = "acme-drive"
title = "Acme drives, boot header 2"
digest = "sha256"
length_of_file = "128 + payload"

[[magic]]
at = 0
text = "ACMEBOOT"
[[magic]]
at = 8
bytes = "02 00"

[[length]]
name = "payload"
at = 12
number = "u32-le"

[[part]]
from = 0
to = 64
is = "hashed"
[[part]]
from = 64
to = 128
is = "signature"
[[part]]
from = 128
to = "128 + payload"
is = "hashed"

[signature]
scheme = "ecdsa"
encoding = "raw-be"

[version]
at = 16
numbers = ["u8", "u8", "u16-le"]
[generation]
at = 20
number = "u32-le"
[product]
at = 24
number = "u16-le"
names = { "0x0200" = "VX-200 drive", "0x0201" = "VX-201 drive" }
[hardware]
at = 32
text = 16

[[constant]]
at = 10
bytes = "00 00"
[[filled]]
from = 48
to = 64
byte = 0
"""

# Big endian numbers, then the image, its digest, and the RSA signature behind it.
PLC = """# sealwright layout 1
name = "nordic-plc"
digest = "sha256"
length_of_file = "32 + image + 32 + 384"

[[magic]]
at = 0
bytes = "de ad c0 de 00 00 00 01"

[[length]]
name = "image"
at = 8
number = "u32-be"
unit = 4

[[part]]
from = 0
to = "32 + image"
is = "hashed"
[[part]]
from = "32 + image"
to = "32 + image + 32"
is = "stored-digest"
[[part]]
from = "32 + image + 32"
to = "end"
is = "signature"

[signature]
scheme = "rsa-pkcs1"
encoding = "raw-be"
appended = true

[version]
at = 16
text = 12
[generation]
at = 12
number = "u32-be"
"""

# A signed header with the payload's digest in it; erased flash behind the payload.
METER = """# sealwright layout 1
name = "zeta-meter"
digest = "sha256"

[[magic]]
at = 0
text = "ZMTR"

[[length]]
name = "header"
at = 4
number = "u16-le"
[[length]]
name = "payload"
at = 8
number = "u32-le"

[[part]]
from = 0
to = 96
is = "hashed"
[[part]]
from = 96
to = 176
is = "signature"
hashed_as = 255
[[part]]
from = 176
to = "header"
is = "hashed"
[[part]]
from = "header"
to = "header + payload"
is = "payload"
[[part]]
from = "header + payload"
to = "end - 16"
is = "fill"
byte = 255
[[part]]
from = "end - 16"
to = "end"
is = "uncovered"
reason = "production data, written by the factory"

[signature]
scheme = "ecdsa"
encoding = "der"
empty = 255

[payload_digest]
at = 32
[generation]
at = 16
number = "u64-le"
[product]
at = 64
text = 32
padding = 32
"""


def drive_image(payload: bytes = PAYLOAD, *, version: tuple[int, int, int] = (0, 0, 0), counter: int = 0) -> bytes:
    """An unsigned image of DRIVE."""
    head = struct.pack("<8sHHIBBHIHH4x16s", b"ACMEBOOT", 2, 0, len(payload), *version, counter, 0x200, 0, b"rev C")
    return head.ljust(64, b"\0") + bytes(64) + payload


def plc_image(payload: bytes = PAYLOAD) -> bytes:
    """An unsigned image of PLC, with its digest and without room for a signature."""
    payload = payload + bytes(-len(payload) % 4)
    image = struct.pack(">8sII12s4x", bytes.fromhex("deadc0de00000001"), len(payload) // 4, 7, b"4.2-lts") + payload
    return image + hashlib.sha256(image).digest()


def meter_image(payload: bytes = PAYLOAD, flash: int = 8192) -> bytes:
    """An unsigned image of METER: digest and signature still erased, product blank."""
    head = struct.pack("<4sHHIIQ8x", b"ZMTR", 256, 0, len(payload), 0, 9)
    head += b"\xff" * 32 + b"meter 3".ljust(32) + b"\xff" * 80
    return (head.ljust(256, b"\0") + payload).ljust(flash - 16, b"\xff") + b"factory data 16!"


def layout(text: str) -> Layout:
    """A layout, read."""
    return parse_layout(text.encode(), "test.layout")


def sign_layout(
    path: Path,
    signer: Signer,
    out: Path,
    text: str,
    *,
    claims: Claims = Claims(),  # noqa: B008
    existing: Existing = Existing.REFUSE,
) -> Path:
    """Sign under a layout as the pipeline does."""
    return sign_inside(path, signer, out, "layout", layouts=(layout(text),), claims=claims, existing=existing)


def named(*texts: str) -> list[Toml]:
    """[[layout]] sections with their text."""
    return [{"name": layout(one).name, "digest": str(Digest.of(one.encode())), "text": one} for one in texts]


def trusting(pki: Pki, *texts: str, known: tuple[Signer, ...], **changes: Toml) -> Believed:
    """A trust file that names layouts and signers."""
    found = believed(pki, certificate=knowing(*known), layout=named(*texts), **changes)
    return found.__class__(
        found.trust,
        found.reason,
        found.findings,
        found.crls,
        found.denied,
        certificates=found.certificates,
        layouts=layouts_in(found.trust.layouts, ()),
    )
