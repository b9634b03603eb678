"""Devices with updaters of others, which are asked by hawkBit's device interface, and what they told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "hawkbit_devices",
        sa.Column("id", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.Text, nullable=False)
            for name in ("grp", "plant", "updater", "path", "channel", "proof", "digest", "attributes")
        ),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("generation", "added", "polled", "described")),
    )
    op.create_table(
        "hawkbit_actions",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("path", "version", "manifest", "state", "details")),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("generation", "offered", "told")),
    )
    op.create_table(
        "hawkbit_seen",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
