"""Who else prepared what a request asks to sign."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "prepares",
        sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("request", "person", name="prepares_person"),
    )
