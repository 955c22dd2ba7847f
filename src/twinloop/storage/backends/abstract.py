"""What storage asks of a database system."""

from abc import ABC, abstractmethod

from sqlalchemy import Connection, Engine


class AbstractBackend(ABC):
    """One database: how to connect to it, who may write to it, how its files stay bounded."""

    place: str
    """Name for messages, without a password."""
    reading: Engine
    """Pooled connections that cannot write; each transaction sees one state of the database."""
    writing: Engine
    """Connections of the one writer; a transaction takes the write lock when it begins."""

    @abstractmethod
    def claim(self, connection: Connection) -> None:
        """Makes this process the only writer, on a new connection of `writing`.

        Raises StorageUnavailable, naming the holder, where another process is.
        """

    @abstractmethod
    def release(self) -> None:
        """Lets go of all connections and of the claim."""

    @abstractmethod
    def shrink(self, connection: Connection) -> bool:
        """Gives some of the free pages back to the disk, quickly; True while more are to be given back."""

    @abstractmethod
    def truncate_log(self) -> None:
        """Empties a log of changes that readers have kept from being emptied. Called from any thread, out of any
        transaction; waits a second at most."""
