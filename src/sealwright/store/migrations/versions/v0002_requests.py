"""Requests for signatures with their approvals and signatures, the erasable part of records, and the replicas that serve."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "requests",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("requester", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("request", sa.LargeBinary, nullable=False),
        sa.Column("items", sa.LargeBinary, nullable=False),
        sa.Column("contents", sa.LargeBinary, nullable=False),
        sa.Column("private", sa.Text, nullable=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
        sa.Column("word", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.UniqueConstraint("requester", "word", name="requests_word"),
    )
    op.create_index("requests_tenant", "requests", ["tenant", "number"])
    op.create_index("requests_requester", "requests", ["requester", "created"])
    op.create_index("requests_product", "requests", ["product", "created"])
    op.create_index("requests_state", "requests", ["state", "number"])
    op.create_table(
        "approvals",
        sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("scheme", sa.Text, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("request", "person", name="approvals_person"),
    )
    op.create_table(
        "signatures",
        sa.Column("request", sa.Text, sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("first", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("leaf", sa.BigInteger, nullable=False),
        sa.Column("values", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "private",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("text", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
    )
