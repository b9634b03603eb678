"""The counters of authenticators: each approval must have a greater one than the last, unless its authenticator does not count.

    take(connection, credential, counter)          in the transaction that records the approval

Two authenticators with one key cannot both go on: whichever is used with the lower count is refused, and somebody is told (WebAuthn
level 2, section 7.2 step 21). The row is a watch, no proof: whoever writes over it only loses the watch.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from sealwright.artifact.digest import Digest
from sealwright.errors import KeyCloned
from sealwright.signing.tables import SIGN_COUNTS


class SignCount(NamedTuple):
    """credential: its id; said: what its authenticator said with a signature, 0 where it does not count."""

    credential: bytes
    said: int


def take(connection: Connection, counted: SignCount) -> None:
    """Remember a count; KeyCloned where it has not grown. StoreConflict where two first ones come at once."""
    name = str(Digest.of(counted.credential))
    last = connection.execute(
        select(SIGN_COUNTS.c.count).where(SIGN_COUNTS.c.credential == name).with_for_update()
    ).scalar()
    if last is None:
        connection.execute(insert(SIGN_COUNTS).values(credential=name, count=counted.said))
        return
    if counted.said <= last and not counted.said == last == 0:
        raise KeyCloned(
            f"credential {name}",
            f"its counter is {counted.said} and was {last} before",
            "Take the key out of people.toml, find out who has a copy of it, and look at what it approved.",
        )
    connection.execute(update(SIGN_COUNTS).where(SIGN_COUNTS.c.credential == name).values(count=counted.said))
