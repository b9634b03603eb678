"""The counters of authenticators that approve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sign_counts",
        sa.Column("credential", sa.Text, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
