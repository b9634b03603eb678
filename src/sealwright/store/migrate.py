"""The schema of a database, brought to this version's by Alembic scripts that lie in the package (`migrations/versions/`).

The scripts stand in one line, each with the name of the one before it, and are never changed once they were released. They say in
their own words what they make, and import no room's tables: those are what the schema is today, the scripts how it came so.
A schema that this version does not know was made by a newer one: it is left alone. Of several replicas that start at once one
migrates and the others wait.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from sealwright.errors import StoreRefused

SCRIPTS = "sealwright.store:migrations"
_LOCK = 0x5EA1_0000_0001  # any number, as long as every version takes the same


def migrate(connection: Connection, name: str) -> None:
    """Bring the schema to the newest version; StoreRefused where it is newer than this program. Within the caller's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    found = _found(connection, name)
    config = _config()
    if found != _newest(config):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_current(connection: Connection, name: str) -> None:
    """StoreRefused unless the schema is this version's."""
    if _found(connection, name) != _newest(_config()):
        raise StoreRefused(name, "it has an older schema, or none", "Start the service on it once: that migrates it.")


def versions() -> list[str]:
    """The versions of the schema, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [one.revision for one in scripts.walk_revisions()][::-1]


def _found(connection: Connection, name: str) -> str | None:
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in versions():
        raise StoreRefused(
            name,
            f"its schema {found[:40]} is of a newer version of Sealwright",
            "Use that version, or restore the backup that was made before it.",
        )
    return found


def _newest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    return config
