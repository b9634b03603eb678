"""A column of octets that holds octets alone.

SQLite keeps in any column whatever somebody wrote there; text in the place of octets is no value of ours, and SQLAlchemy's own type fails
on it with an error that nobody expects (A130).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Dialect, LargeBinary

from sealwright.errors import LogRefused

_EVIDENCE = "Keep the database as evidence: somebody has written into it."


class Octets(LargeBinary):
    """As LargeBinary; LogRefused where a value read is anything else."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], bytes | None]:  # noqa: ARG002 - of the base
        """What a driver gives, looked at."""
        return _octets


def _octets(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    raise LogRefused("database", f"there is {type(value).__name__} where octets were kept", _EVIDENCE)
