"""The tables of the log; the scripts in `store/migrations/` make them.

The head row is the log's one lock: who appends locks it, reads the right edge from it and writes the new one with the signed
checkpoint. Hashes of leaves are not kept: they are of the entries. `token`: of the transaction that began with this entry, by
which a writer finds out whether it was committed. SQLite counts the entries in the small index of their numbers.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, MetaData, Table, Text

from sealwright.store.octets import Octets

METADATA = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite's rows are kept in this order by themselves

HEAD = Table(
    "log_head",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="log_head_one"), primary_key=True),
    Column("origin", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("edge", Octets, nullable=False),
    Column("note", Text, nullable=False),
)
ENTRIES = Table(
    "log_entries",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=False),
    Column("entry", Octets, nullable=False),
    Column("token", Octets),
)
Index("log_entries_numbers", ENTRIES.c.number).ddl_if(dialect="sqlite")
# roots of whole subtrees of 256**level entries, from level 1
NODES = Table(
    "log_nodes",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", Octets, nullable=False),
    sqlite_with_rowid=False,
)
# the newest checkpoint that witnesses have cosigned
COSIGNED = Table(
    "log_cosigned",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="log_cosigned_one"), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
)
