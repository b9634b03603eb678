"""Many entries that differ in a few digests: one is encoded whole, and the others take its shape, in a tenth of the time.

    shape = Shape.of(lambda artifact: Intent(artifact=artifact, ...).encoded(), 1)
    shape.encoded(digest)                # the octets that Intent(artifact=digest, ...).encoded() gives

    shapes = Shapes()                    # for entries of several kinds: what is the only one of its kind takes no shape
    shapes.encoded("a kind", lambda artifact: ..., digest)

The entry is encoded with digests that nobody can have guessed, and they are looked for in its octets: no claim that somebody chose can
stand where a digest does. A digest is written in one way, in letters that JSON leaves as they are, so nothing else changes with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.log.merkle import HASH_BYTES

_MARK = "\0"  # JSON has it as an escape only


@dataclass(frozen=True, slots=True)
class Shape:
    """An entry without its digests. pieces: what stands between them; places: for each gap which of the digests stands in it."""

    pieces: tuple[str, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, encoded: Callable[..., bytes], count: int) -> Shape:
        """The shape of what is encoded of so many digests."""
        guesses = [Digest(HashName.SHA256, secrets.token_bytes(HASH_BYTES)) for _ in range(count)]
        text = encoded(*guesses).decode()
        for place, guess in enumerate(guesses):
            text = text.replace(str(guess), f"{_MARK}{place}{_MARK}")
        found = text.split(_MARK)
        return cls(tuple(found[::2]), tuple(map(int, found[1::2])))

    def encoded(self, *digests: Digest) -> bytes:
        """The entry with these digests."""
        texts = list(map(str, digests))
        parts = [self.pieces[0]]
        for place, piece in zip(self.places, self.pieces[1:], strict=True):
            parts += (texts[place], piece)
        return "".join(parts).encode()


class Shapes:
    """Entries of several kinds, each of which differs in a few digests from the others of its kind."""

    def __init__(self) -> None:
        self._shapes: dict[Hashable, Shape | None] = {}

    def encoded(self, kind: Hashable, encoded: Callable[..., bytes], *digests: Digest) -> bytes:
        """The next entry of a kind. encoded: of its digests; the first is encoded so, the others by its shape."""
        if kind not in self._shapes:
            self._shapes[kind] = None
            return encoded(*digests)
        if (shape := self._shapes[kind]) is None:
            shape = self._shapes[kind] = Shape.of(encoded, len(digests))
        return shape.encoded(*digests)
