"""What Alembic runs around the scripts: always on the connection, and in the transaction, of `store/migrate.py`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
