"""Tokens of CI systems that were used, and since when all uses are known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "token_uses",
        sa.Column("once", sa.Text, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_index("token_uses_until", "token_uses", ["until"])
    op.create_table(
        "token_floor",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="token_floor_one"), primary_key=True),
        sa.Column("issued", sa.BigInteger, nullable=False),
    )
