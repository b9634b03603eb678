"""The fleet's view: the register of devices, and what their newest reports say."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "fleet_devices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("grp", "plant")),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("added", "retired", "number", "made", "received")
        ),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("channel", "trust")),
        sa.Column("trust_version", sa.BigInteger, nullable=False),
        sa.Column("said", sa.Text, nullable=False),
    )
    op.create_index("fleet_devices_received", "fleet_devices", ["retired", "received", "id"])
    op.create_table(
        "fleet_running",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("device", "product")),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("grp", "plant", "channel")),
        sa.Column("wanted", sa.BigInteger, nullable=False),
    )
    op.create_index(
        "fleet_running_runs",
        "fleet_running",
        ["product", "generation", "manifest", "version", "grp", "channel", "device"],
    )
    op.create_index("fleet_running_manifest", "fleet_running", ["manifest", "device"])
    op.create_index("fleet_running_wanted", "fleet_running", ["wanted", "product", "grp", "device"])
    op.create_table(
        "fleet_events",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("outcome", "code", "product", "version")),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("fleet_events_code", "fleet_events", ["outcome", "code", "product", "generation"])
    op.create_table(
        "fleet_used",
        *(sa.Column(name, sa.Text, primary_key=True) for name in ("device", "kind", "digest")),
    )
    op.create_index("fleet_used_digest", "fleet_used", ["kind", "digest", "device"])
    op.create_table(
        "fleet_reports",
        sa.Column("device", sa.Text, primary_key=True),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
