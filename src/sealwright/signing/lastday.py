"""The last second in which a replaced key signs, by home.toml and by the register (A113).

home.toml is a file for editing; the register is the journal of what was decided, so the earlier of the two counts.
"""

from __future__ import annotations

from datetime import datetime

from sealwright.envelope.algorithms import key_digest
from sealwright.signing.home import REGISTER, EnrolledKey, Home
from sealwright.signing.register import read_register


def last_second(home: Home, key: EnrolledKey) -> datetime | None:
    """None while nobody has set one."""
    own = key_digest(key.public_key)
    retired = [one for one in read_register(home.path(REGISTER)).issued.values() if one.signs_until is not None]
    decided = [one.signs_until for one in retired if one.key == own][-1:]
    return min((time for time in (key.signs_until, *decided) if time is not None), default=None)
