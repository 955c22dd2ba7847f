"""Brings a database of any age to the tables of today, by the revisions in `migrations`."""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from twinloop.errors import StorageError
from twinloop.storage.schema import METADATA, VERSION_TABLE

SCRIPTS = Path(__file__).parent / "migrations"
_UPGRADING = threading.Lock()  # Alembic keeps what it works on in a global


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def revision_of(connection: Connection) -> str | None:
    """Revision of the tables in a database; None where there are none."""
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()


def newest_revision() -> str:
    """Revision of the tables of today."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


def migrate(connection: Connection, place: str) -> None:
    """Creates the tables, or brings older ones to today's, within the transaction of `connection`.

    Raises StorageError for tables of a newer twinloop, and for a database that belongs to something else.
    """
    revision = revision_of(connection)
    known = [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()]
    if revision == known[0]:
        return
    if revision is None:
        _refuse_tables_of_others(connection, place)
    elif revision not in known:
        raise StorageError(
            f"{place} was written by a newer twinloop (tables {revision}, this one knows up to {known[0]});"
            " update twinloop, or choose another database"
        )
    with _UPGRADING:
        command.upgrade(_config(connection), "head")


def check_revision(connection: Connection, place: str) -> None:
    """Raises StorageError unless the tables are today's: for reading without a right to change them."""
    revision, newest = revision_of(connection), newest_revision()
    if revision != newest:
        raise StorageError(
            f"{place} has the tables {revision or 'of nothing yet'}, not {newest};"
            " start the server on it once, by the same version of twinloop"
        )


def _refuse_tables_of_others(connection: Connection, place: str) -> None:
    """A file of SQLite belongs to one program; a database of PostgreSQL may be shared while no names collide."""
    names = set(inspect(connection).get_table_names())
    if connection.dialect.name != "sqlite":
        names &= set(METADATA.tables)
    if names:
        raise StorageError(
            f"{place} holds the tables of something else ({', '.join(sorted(names)[:3])}); choose another database"
        )
