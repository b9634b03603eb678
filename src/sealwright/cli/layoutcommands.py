"""The shell commands that check an image under a maker's own header by hand: coreutils cut it up, OpenSSL verifies.

They need nothing of ours but what a layout says, so that anybody can see for himself which bytes a signature is over.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from sealwright.envelope.algorithms import Scheme
from sealwright.formats.layoutplaced import Placed
from sealwright.formats.layouttext import Encoding, Layout, Role
from sealwright.formats.layoutvalue import der_bytes

_HEX = "od -An -v -tx1 | tr -d ' \\n'"
_HEX_BACKWARDS = "od -An -v -tx1 -w1 | tac | tr -d ' \\n'"
_BACKWARDS = "od -An -v -to1 -w1 | tac | sed 's/ */\\\\0/' | tr -d '\\n'"


def commands(path: str, placed: Placed, signature: bytes) -> list[str]:
    """One line each; the last one says `Verified OK`. signature: the bytes of its place."""
    layout = placed.layout
    made = [": > signed.bytes"]
    for part, start, end in placed.spans():
        if part.role is Role.HASHED and start < end:
            made.append(f"{_cut(path, start, end)} >> signed.bytes")
        elif part.hashed_as is not None:
            turned = f" | tr '\\0' '\\{part.hashed_as:03o}'" if part.hashed_as else ""
            made.append(f"head -c {end - start} /dev/zero{turned} >> signed.bytes")
    made += _digests(path, placed)
    made += _value(path, placed.span(Role.SIGNATURE) or (0, 0), layout, signature)
    padding = " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest" if layout.scheme is Scheme.RSA_PSS else ""
    made.append(f"openssl dgst -{layout.digest}{padding} -verify public.pem -signature signature.bin signed.bytes")
    return made


def _digests(path: str, placed: Placed) -> Iterator[str]:
    """Comparing the digests that an image says of itself; nothing where they hold."""
    layout = placed.layout
    if (stored := placed.span(Role.STORED_DIGEST)) is not None:
        yield f'test "$({_cut(path, *stored)} | {_HEX})" = "$({layout.digest}sum < signed.bytes | cut -d" " -f1)"'
    if layout.payload_digest is not None:
        spot, name = layout.payload_digest
        at = spot.at.among(placed.values)
        spans = [(start, end) for part, start, end in placed.spans() if part.role is Role.PAYLOAD and start < end]
        yield "{ " + "".join(f"{_cut(path, *span)}; " for span in spans) + ": ; } > payload.bytes"
        said = f"{_cut(path, at, at + spot.size)} | {_HEX}"
        yield f'test "$({said})" = "$({name}sum < payload.bytes | cut -d" " -f1)"'


def _value(path: str, place: tuple[int, int], layout: Layout, signature: bytes) -> Iterator[str]:
    start, end = place
    backwards = layout.encoding is Encoding.RAW_LE
    if layout.encoding is Encoding.DER:
        yield f"{_cut(path, start, start + der_bytes(signature))} > signature.bin"
    elif layout.scheme is not Scheme.ECDSA:
        cut = _cut(path, start, end)
        yield f"printf '%b' \"$({cut} | {_BACKWARDS})\" > signature.bin" if backwards else f"{cut} > signature.bin"
    else:
        middle, turned = (start + end) // 2, _HEX_BACKWARDS if backwards else _HEX
        numbers = " ".join(f'"$({_cut(path, *half)} | {turned})"' for half in ((start, middle), (middle, end)))
        yield rf"printf 'asn1=SEQUENCE:s\n[s]\nr=INTEGER:0x%s\ns=INTEGER:0x%s\n' {numbers} > signature.conf"
        yield "openssl asn1parse -genconf signature.conf -noout -out signature.bin"


def _cut(path: str, start: int, end: int) -> str:
    name = shlex.quote(f"if={path}")
    return f"dd {name} bs=64K iflag=skip_bytes,count_bytes,fullblock skip={start} count={end - start} status=none"
