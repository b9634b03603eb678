"""Build provenance that came with requests, and the tickets by which CI jobs wait for theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "provenance",
        sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("statement", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tickets",
        sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("machine", sa.Text, nullable=False),
        sa.Column("claims", sa.LargeBinary, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
    )
