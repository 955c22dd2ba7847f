"""Settings: few small facts that a database must remember about itself."""

from concurrent.futures import Future

from sqlalchemy import Connection, insert, select, update

from twinloop.storage.database import Database
from twinloop.storage.schema import SETTINGS


class Settings:
    """Texts by name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> str | None:
        """The value of a name; None where it was never set."""
        with self._database.reading() as connection:
            return _value(connection, name)

    def put(self, name: str, value: str) -> Future[None]:
        """Sets a value, whatever stood before."""

        def write(connection: Connection) -> None:
            if _value(connection, name) is None:
                connection.execute(insert(SETTINGS).values(name=name, value=value))
            else:
                connection.execute(update(SETTINGS).where(SETTINGS.c.name == name).values(value=value))

        return self._database.submit(write)

    def keep(self, name: str, value: str) -> Future[str]:
        """Sets a value where none stands; the future has the one that then stands, for ever the same."""

        def write(connection: Connection) -> str:
            standing = _value(connection, name)
            if standing is None:
                connection.execute(insert(SETTINGS).values(name=name, value=value))
            return value if standing is None else standing

        return self._database.submit(write)


def _value(connection: Connection, name: str) -> str | None:
    return connection.execute(select(SETTINGS.c.value).where(SETTINGS.c.name == name)).scalar()
