"""What can go wrong with a database, and how the words of its driver become one of three faults."""

import sqlite3

from sqlalchemy import exc

from twinloop.errors import StorageError

RETRY_AFTER_S = 1.0

PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
PASSING_CLASSES = {"08", "40", "53", "55", "57", "58"}
PASSING_STATES = {"25006"}
DISK_FULL = "53100"


class StorageUnavailable(StorageError):  # noqa: N818 - a state of the database, named as the service answers it
    """The database does not answer now; nothing of what was asked is known to be kept. Asking again may succeed.

    `retry_after_s`: when to ask again.
    """

    def __init__(self, message: str, retry_after_s: float = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageFull(StorageError):  # noqa: N818 - a state of the disk
    """There is no room on the disk; nothing of what was asked is kept. Reading goes on, writing once there is room."""


class Unstorable(StorageError):  # noqa: N818 - what a value is, whoever sent it
    """A value that no database keeps, such as a text with the character NUL; `why` says so without naming the place."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: a value cannot be stored: {why}")
        self.why = why


class Conflict(StorageError):  # noqa: N818 - the word of HTTP for it
    """A document is not at the revision that was expected; it is left as it is."""


def storage_fault(error: Exception, place: str) -> Exception:
    """The fault of storage behind an exception of the driver; an exception of other origin is given back as it is.

    `place` names the database, without a password.
    """
    if isinstance(error, exc.TimeoutError):
        return StorageUnavailable(f"{place}: all connections for reading are in use; try again")
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return Unstorable(place, _line(error))
    if not isinstance(error, exc.DBAPIError):
        unknown = isinstance(error, exc.SQLAlchemyError)
        return StorageError(f"{place}: the driver failed ({type(error).__name__})") if unknown else error
    driver = error.orig or error
    if isinstance(error, exc.DataError):
        return Unstorable(place, _line(driver))
    if isinstance(error, exc.IntegrityError):
        return StorageError(f"{place}: a value cannot be stored: {_line(driver)}")
    words = f"{place}: {_line(driver)}"
    code = getattr(driver, "sqlite_errorcode", None)
    state = getattr(driver, "sqlstate", None)
    if (code is not None and code & 0xFF == sqlite3.SQLITE_FULL) or state == DISK_FULL:
        return StorageFull(f"{words}; make room on the disk")
    if _passes(error, code, state):
        return StorageUnavailable(words)
    return StorageError(words)


def _passes(error: exc.DBAPIError, code: int | None, state: str | None) -> bool:
    """True where the same request may succeed later."""
    if code is not None:
        return code & 0xFF in PASSING
    if state is not None:
        return state[:2] in PASSING_CLASSES or state in PASSING_STATES
    return error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
