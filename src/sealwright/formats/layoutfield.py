"""Fields of a maker's header that say what an image is: texts, numbers, and numbers that stand for texts.

    [version]                                       [product]
    at = 12                                         at = 20
    numbers = ["u8", "u8", "u16-le"]   # 2.1.900    number = "u16-le"
                                                    names = { "0x0012" = "VX-200 drive" }

A text ends at its first padding byte, and nothing but padding follows. A field of zero bytes alone, or of 0xFF alone, is empty
unless `names` says what that number means: it claims nothing, and signing may fill it. What is full is never overwritten.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from sealwright.artifact.names import display

MAX_GENERATION = 2**63 - 1
MAX_TEXT = 200
_NUMBER = re.compile(r"u(8|16|32|64)(?:-(le|be))?")


class Number(NamedTuple):
    """An unsigned number of 1 to 8 bytes."""

    size: int
    order: Literal["little", "big"]

    def read(self, data: bytes) -> int:
        """What the bytes say."""
        return int.from_bytes(data, self.order)

    def written(self, value: int) -> bytes:
        """The bytes; ValueError where it does not fit."""
        if value < 0 or value >> (8 * self.size):
            raise ValueError(f"{value} does not fit into {8 * self.size} bits")
        return value.to_bytes(self.size, self.order)

    def __str__(self) -> str:
        return f"u{8 * self.size}" + ("" if self.size == 1 else "-le" if self.order == "little" else "-be")


def read_number(text: str) -> Number:
    """u8, u16-le, u32-be ...; ValueError for anything else."""
    match = _NUMBER.fullmatch(text)
    if match is None or (match[1] == "8") is not (match[2] is None):
        raise ValueError(f"{text!r} is not u8, u16-le, u16-be, u32-le, u32-be, u64-le or u64-be")
    return Number(int(match[1]) // 8, "big" if match[2] == "be" else "little")


class TextField(NamedTuple):
    """Text of a fixed size, UTF-8, filled up with a padding byte."""

    size: int
    padding: int

    def read(self, data: bytes) -> str | None:
        """The text, None where it is empty; ValueError where it is none that can be read aloud."""
        pad = bytes((self.padding,))
        said = data.rstrip(pad) if self.padding == 0x20 else data.partition(pad)[0]
        if said + pad * (self.size - len(said)) != data:
            raise ValueError("something follows the end of its text")
        if not said or is_empty(data):
            return None
        text = said.decode()  # UnicodeDecodeError is a ValueError
        if len(text) > MAX_TEXT or text != text.strip() or display(text) != text:
            raise ValueError("its text is too long, not printable, or has spaces around it")
        return text

    def written(self, value: str | int) -> bytes:
        """The bytes; ValueError where they are too many, or would be read as another text."""
        text = str(value).encode()
        data = text + bytes((self.padding,)) * (self.size - len(text))
        if len(data) != self.size:
            raise ValueError(f"{len(text)} bytes are more than the {self.size} of the field")
        if self.read(data) != str(value):
            raise ValueError("the field would be read as another text")
        return data

    def __str__(self) -> str:
        return f"text of {self.size} bytes"


class NumbersField(NamedTuple):
    """Numbers one after the other, said with dots between them."""

    numbers: tuple[Number, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(one.size for one in self.numbers)

    def read(self, data: bytes) -> str | None:
        """`1.2.3`, or None where all are 0 or all bytes 0xFF."""
        if is_empty(data):
            return None
        said, at = [], 0
        for one in self.numbers:
            said.append(str(one.read(data[at : at + one.size])))
            at += one.size
        return ".".join(said)

    def written(self, value: str | int) -> bytes:
        """The bytes; ValueError for other than that many numbers, each as it would be read again."""
        parts = str(value).split(".")
        if len(parts) != len(self.numbers) or not all(re.fullmatch(r"0|[1-9][0-9]{0,19}", part) for part in parts):
            raise ValueError(f"it is not {len(self.numbers)} numbers with dots between them")
        return b"".join(one.written(int(part)) for one, part in zip(self.numbers, parts, strict=True))

    def __str__(self) -> str:
        return " . ".join(map(str, self.numbers))


class CounterField(NamedTuple):
    """One number that is a number."""

    number: Number

    @property
    def size(self) -> int:
        """In bytes."""
        return self.number.size

    def read(self, data: bytes) -> int | None:
        """The number; None for 0xFF alone, which is erased memory; ValueError beyond what generations are."""
        if not data.strip(b"\xff"):
            return None
        value = self.number.read(data)
        if value > MAX_GENERATION:
            raise ValueError(f"{value} is beyond 63 bits")
        return value

    def written(self, value: str | int) -> bytes:
        """The bytes; ValueError where it does not fit or would be read as none."""
        data = self.number.written(int(value))
        if self.read(data) is None:
            raise ValueError(f"{value} looks like erased memory in {self.number}")
        return data

    def __str__(self) -> str:
        return str(self.number)


class NamedField(NamedTuple):
    """A number that stands for a text."""

    number: Number
    names: tuple[tuple[int, str], ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return self.number.size

    def read(self, data: bytes) -> str | None:
        """The text; None where it is empty and stands for nothing; ValueError for a number nobody named."""
        value = self.number.read(data)
        for number, name in self.names:
            if number == value:
                return name
        if is_empty(data):
            return None
        raise ValueError(f"the number {value:#x} has no name in the layout")

    def written(self, value: str | int) -> bytes:
        """The bytes; ValueError for a text that no number stands for."""
        for number, name in self.names:
            if name == value:
                return self.number.written(number)
        raise ValueError("it is none of " + ", ".join(name for _, name in self.names))

    def __str__(self) -> str:
        return f"{self.number}, one of " + ", ".join(f"{number:#x} {name}" for number, name in self.names)


Field = TextField | NumbersField | CounterField | NamedField


def is_empty(data: bytes) -> bool:
    """Whether nobody has written there: zero bytes, or erased memory."""
    return not data.strip(b"\0") or not data.strip(b"\xff")
