"""The door to a database: what is kept by name, and what is done to all of it."""

from concurrent.futures import Future
from io import BufferedIOBase
from types import TracebackType

from sqlalchemy import Connection, select

from twinloop.storage import backup, retention
from twinloop.storage.backends import backend_of
from twinloop.storage.database import Database
from twinloop.storage.migrating import check_revision, migrate
from twinloop.storage.retention import Retention, Swept
from twinloop.storage.tables import Events, Frames, Log, Records, Refusals, Settings, Snapshots


class Storage:
    """An open database. All of it may be used from any thread.

    What writes gives a future, done when it is durable, or waits itself where it says so; what reads sees every write
    whose future was done before. Either raises, or fails with, StorageUnavailable, StorageFull or StorageError.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.events = Events(database)
        self.refusals = Refusals(database)
        self.snapshots = Snapshots(database)
        self.frames = Frames(database)
        self.records = Records(database)
        self.log = Log(database)
        self.settings = Settings(database)

    @property
    def place(self) -> str:
        """Name of the database for messages, without a password."""
        return self._database.place

    @property
    def waiting(self) -> int:
        """Writes that have not begun: who takes in more than can be written must bound this."""
        return self._database.waiting

    def check(self) -> Future[None]:
        """Done when the database has answered the writer, behind all that waits."""
        return self._database.submit(_ask)

    def sweep(self, limits: Retention, now_s: float) -> Swept:
        """Removes what is beyond the limits, in small transactions, and waits for them. `now_s`: epoch seconds."""
        return retention.sweep(self._database, limits, now_s)

    def dump(self, stream: BufferedIOBase) -> dict[str, int]:
        """Writes a backup of this moment to `stream` while writing goes on. Gives rows by table. May raise OSError."""
        return backup.dump(self._database, stream)

    def load(self, stream: BufferedIOBase) -> dict[str, int]:
        """Fills this database, which must be empty, from a backup. Gives rows by table.

        Raises StorageError, with nothing written, where the backup is damaged or the database is not empty.
        """
        return backup.load(self._database, stream)

    def close(self) -> None:
        """Carries out what waits, then lets go of the database."""
        self._database.close()

    def __enter__(self) -> "Storage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def open_storage(url: str, *, fsync: bool = False, read_only: bool = False) -> Storage:
    """Opens the database at `url`: a file, `sqlite:///FILE`, or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.

    Makes an SQLite file that is not there, creates or upgrades the tables, and lets no second process write.
    `fsync`: what SQLite acknowledges survives the loss of power too, not only the end of the process at any moment;
    what PostgreSQL acknowledges survives both anyway. `read_only`: opens beside the process that writes.

    Raises StorageError (StorageUnavailable where waiting may help) for a database that cannot be reached or used, that
    another process writes, or that a newer twinloop wrote; MissingExtraError for PostgreSQL without psycopg.
    """
    database = Database(backend_of(url, fsync=fsync, read_only=read_only), read_only=read_only)
    try:
        if read_only:
            with database.reading() as connection:
                check_revision(connection, database.place)
        else:
            database.submit(lambda connection: migrate(connection, database.place)).result()
    except BaseException:
        database.close()
        raise
    return Storage(database)


def _ask(connection: Connection) -> None:
    connection.execute(select(1)).close()
