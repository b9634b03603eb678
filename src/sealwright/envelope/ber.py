"""BER to DER for timestamp tokens of others (RULES 3): some authorities write indefinite lengths and octet strings in parts.

Only lengths and divided OCTET STRINGs are rewritten; whatever is DER already comes out byte for byte, so signed parts are
hashed as they were received. SET OF keeps its order. Bounded in depth and number of elements (A052).

>>> to_der(bytes.fromhex("3080 2480 0401aa 0401bb 0000 0000")).hex()
'30040402aabb'
"""

from __future__ import annotations

from sealwright.envelope.asn1 import der

MAX_DEPTH = 32
MAX_ELEMENTS = 20_000
_OCTETS, _CONSTRUCTED, _END = 0x04, 0x20, b"\x00\x00"


def to_der(data: bytes) -> bytes:
    """One BER element and nothing behind it, with definite, minimal lengths. ValueError if it is none, or out of bounds."""
    reader = _Reader(data)
    element = reader.element(len(data), 0)
    if reader.at != len(data):
        raise ValueError("bytes behind the end")
    return element


def element_size(data: bytes) -> int:
    """How many bytes the BER element at the start has, whatever lies behind it; ValueError if there is none."""
    reader = _Reader(data)
    reader.element(len(data), 0)
    return reader.at


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.count = 0

    def element(self, end: int, depth: int) -> bytes:
        """The element at `at`, which must end at or before `end`."""
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_ELEMENTS:
            raise ValueError("too many elements, or nested too deep")
        tag, size = self._header(end)
        if not tag & _CONSTRUCTED:
            if size is None:
                raise ValueError("a primitive element of indefinite length")
            content = self.data[self.at : self.at + size]
            self.at += size
            return der(tag, content)
        children = self._children(end if size is None else self.at + size, size is None, depth + 1)
        if tag == _OCTETS | _CONSTRUCTED:
            return der(_OCTETS, b"".join(_content(child) for child in children))
        return der(tag, b"".join(children))

    def _children(self, end: int, indefinite: bool, depth: int) -> list[bytes]:
        children: list[bytes] = []
        while True:
            if indefinite and self.data[self.at : self.at + 2] == _END and self.at + 2 <= end:
                self.at += 2
                return children
            if self.at == end and not indefinite:
                return children
            children.append(self.element(end, depth))

    def _header(self, end: int) -> tuple[int, int | None]:
        """Tag and length; None where the length is indefinite."""
        if self.at + 2 > end:
            raise ValueError("the end comes too early")
        tag, first = self.data[self.at], self.data[self.at + 1]
        self.at += 2
        if tag & 0x1F == 0x1F or tag == 0:
            raise ValueError("a tag that CMS does not use")
        if first == 0x80:
            return tag, None
        size = first
        if first > 0x80:
            octets = first & 0x7F
            if octets > 4 or self.at + octets > end:
                raise ValueError("a length that is too long")
            size = int.from_bytes(self.data[self.at : self.at + octets], "big")
            self.at += octets
        if self.at + size > end:
            raise ValueError("a length that runs past the end")
        return tag, size


def _content(child: bytes) -> bytes:
    """The octets of one part, which `element` has made definite."""
    if child[0] != _OCTETS:
        raise ValueError("an octet string in parts that are none")
    return child[2:] if child[1] < 0x80 else child[2 + (child[1] & 0x7F) :]
