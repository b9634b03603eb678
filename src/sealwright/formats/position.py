"""Places in a file as a layout says them: numbers, the file's end, and lengths that stand in the file.

    64      0x40      "end"      "end - 256"      "header"      "header + payload + 64"

A place is a sum of these, from which only numbers are taken away. Lengths are never negative, so that some things can be said
of a sum whatever a file holds: `header + 4` is never below 4, `end - 16` always lies 16 bytes before the end.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

END = "end"
MAX_NUMBER = 2**53
MAX_TERMS = 16
_TERM = re.compile(r"\s*([+-]?)\s*(0x[0-9a-f]{1,14}|[0-9]{1,16}|[a-z][a-z0-9_]{0,31})\s*")


class Position(NamedTuple):
    """number: bytes; lengths: how often each length counts, sorted by name, none of them 0 times."""

    number: int
    lengths: tuple[tuple[str, int], ...] = ()

    def plus(self, other: Position) -> Position:
        """The sum."""
        return self._with(other, 1)

    def minus(self, other: Position) -> Position:
        """How far it lies behind the other."""
        return self._with(other, -1)

    def beyond(self, size: int) -> Position:
        """That many bytes further."""
        return Position(self.number + size, self.lengths)

    def without(self, name: str, meant: Position) -> Position:
        """The same place where a length is that sum."""
        times = dict(self.lengths).get(name, 0)
        rest = Position(self.number, tuple(one for one in self.lengths if one[0] != name))
        for _ in range(times):
            rest = rest.plus(meant)
        return rest

    def counts(self, name: str) -> int:
        """How often a length counts in it."""
        return dict(self.lengths).get(name, 0)

    @property
    def names(self) -> frozenset[str]:
        """The lengths in it."""
        return frozenset(name for name, _ in self.lengths)

    @property
    def never_negative(self) -> bool:
        """True where it is 0 or more in every file."""
        return self.number >= 0 and all(times > 0 for _, times in self.lengths)

    @property
    def always_negative(self) -> bool:
        """True where it is below 0 in every file."""
        return self.number < 0 and all(times < 0 for _, times in self.lengths)

    @property
    def may_be_positive(self) -> bool:
        """True where it is 0 or more in every file, or in those whose lengths are large enough."""
        return self.never_negative or any(times > 0 for _, times in self.lengths)

    def among(self, values: Mapping[str, int]) -> int:
        """The number of bytes in a file with these lengths."""
        return self.number + sum(values[name] * times for name, times in self.lengths)

    def __str__(self) -> str:
        said = " + ".join(name for name, times in self.lengths for _ in range(times))
        if not said:
            return str(self.number)
        if not self.number:
            return said
        return f"{said} {'+' if self.number > 0 else '-'} {abs(self.number)}"

    def _with(self, other: Position, sign: int) -> Position:
        counted = dict(self.lengths)
        for name, times in other.lengths:
            counted[name] = counted.get(name, 0) + sign * times
        return Position(self.number + sign * other.number, tuple(sorted(one for one in counted.items() if one[1])))


def read_position(text: int | str, known: Collection[str]) -> Position:
    """A place as it is written; ValueError saying what is wrong. known: the names of lengths."""
    if isinstance(text, int):
        text = str(text)
    found, at, count = Position(0), 0, 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or bool(match[1]) is not bool(at) or count == MAX_TERMS:
            raise ValueError(f"{text!r} is not a sum of at most {MAX_TERMS} numbers and lengths")
        sign, term = match[1], match[2]
        if term[0].isdigit():
            number = int(term, 0) if term.startswith("0x") else int(term)
            found = found.beyond(-number if sign == "-" else number)
        elif sign == "-":
            raise ValueError(f"{text!r} takes away a length, and only numbers can be taken away")
        elif term not in (END, *known):
            raise ValueError(f"{text!r} names {term}, which is no [[length]]")
        else:
            found = found.plus(Position(0, ((term, 1),)))
        at, count = match.end(), count + 1
    if not count or found.counts(END) > 1 or found.always_negative or abs(found.number) > MAX_NUMBER:
        raise ValueError(f"{text!r} is no place in a file")
    return found
