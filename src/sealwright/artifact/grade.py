"""Grades of receiving records, of which the rules of a trust file say which count in place of a maker's signature."""

from __future__ import annotations

from enum import StrEnum


class Grade(StrEnum):
    """How well it is known where something came from: a second channel agreed; an old signature was checked; two persons took it
    upon them; it was in use already, and changes from now on show."""

    COMPARED = "compared"
    OLD_SIGNATURE = "old-signature"
    UNCOMPARED = "uncompared"
    FOUND_IN_USE = "found-in-use"
