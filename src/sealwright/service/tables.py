"""The tables of the HTTP door; the scripts in `store/migrations/` make them. Times are seconds since 1970.

`once` is the digest that a token is known by, `until` when it is worthless anyway. `token_floor` has one row: of tokens that were
issued before it nobody knows which were used. Who takes the row away (a restored backup) says that this holds for all until now.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text

METADATA = MetaData()

TOKEN_USES = Table(
    "token_uses",
    METADATA,
    Column("once", Text, primary_key=True),
    Column("until", BigInteger, nullable=False),
)
Index("token_uses_until", TOKEN_USES.c.until)

TOKEN_FLOOR = Table(
    "token_floor",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="token_floor_one"), primary_key=True),
    Column("issued", BigInteger, nullable=False),
)
