"""What the parts of the service keep, and where: the few calls that they need of a storage."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class StoredRecord(Protocol):
    """A document as kept."""

    @property
    def key(self) -> str:
        """Its name in the collection."""
        ...

    @property
    def body(self) -> str:
        """Its text, JSON here."""
        ...

    @property
    def revision(self) -> int:
        """Counts its changes."""
        ...


@runtime_checkable
class RecordsPort(Protocol):
    """Documents by collection and key. What `put` has answered is durable."""

    def put(
        self,
        collection: str,
        key: str,
        body: str,
        *,
        state: str = "",
        tenant: str = "",
        expected_revision: int | None = None,
    ) -> int:
        """Writes a document and gives its revision. Raises where `expected_revision` (0: none yet) is not the last."""
        ...

    def get(self, collection: str, key: str) -> StoredRecord | None:
        """A document, None where there is none."""
        ...

    def list(self, collection: str) -> Sequence[StoredRecord]:
        """Every document of a collection."""
        ...

    def delete(self, collection: str, key: str) -> None:
        """Removes a document, if there is one."""
        ...


@runtime_checkable
class OrderedRecordsPort(Protocol):
    """Documents that are found again in the order of their time, and may be kept beside operation."""

    def get(self, collection: str, key: str) -> StoredRecord | None:
        """A document, None where there is none."""
        ...

    def list(self, collection: str) -> Sequence[StoredRecord]:
        """Every document of a collection."""
        ...

    def later(
        self, collection: str, key: str, body: str, *, state: str = "", at_s: float | None = None
    ) -> "Future[Any]":
        """Keeps a document as one of the time `at_s` (epoch seconds; now if not given); the future is done once it is
        durable.
        """
        ...

    def newest(
        self, collection: str, limit: int, *, state: str | None = None, before: tuple[float, str] | None = None
    ) -> Sequence[StoredRecord]:
        """Documents, newest first, from before a time and key."""
        ...


@runtime_checkable
class LogPort(Protocol):
    """The append-only log."""

    def log(self, actor: str, action: str, target: str, outcome: str, detail: str) -> None:
        """Appends one entry; `detail` is JSON."""
        ...
