"""Claims: what an artifact says it is. They count only when read from signed bytes (RULES 3)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claims:
    """Product, version (text), generation (the anti-rollback counter), hardware list, environment.

    None or () where nothing is claimed. The names are UTF-8 text without control characters, at most 200 characters
    each; generation is 0..2**63-1.
    """

    product: str | None = None
    version: str | None = None
    generation: int | None = None
    hardware: tuple[str, ...] = ()
    environment: str | None = None

    def __bool__(self) -> bool:
        return self is not _NOTHING and self != _NOTHING


_NOTHING = Claims()
