"""The storage's documents and log as the service's parts ask for them: at once, and durable when answered."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from twinloop.storage import LogLine, Record, Storage

_PAGE = 1000


class Records:
    """Documents by collection and key, and the append-only log."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock

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
        """Writes a document and gives its revision. Raises Conflict where `expected_revision` is not the last."""
        return self._put(collection, key, body, state, tenant, expected_revision).result().revision

    def later(
        self, collection: str, key: str, body: str, *, state: str = "", at_s: float | None = None
    ) -> "Future[Record]":
        """Writes a document, as one of the time `at_s` (epoch seconds; now if not given); the future is done once it is
        durable.
        """
        return self._put(collection, key, body, state, "", None, at_s)

    def get(self, collection: str, key: str) -> Record | None:
        """A document, None where there is none."""
        return self._storage.records.get(collection, key)

    def list(self, collection: str) -> Sequence[Record]:
        """Every document of a collection, by key."""
        found: list[Record] = []
        after: str | None = None
        while page := self._storage.records.by_key(collection, after=after, limit=_PAGE):
            found += page
            after = page[-1].key
        return found

    def newest(
        self, collection: str, limit: int, *, state: str | None = None, before: tuple[float, str] | None = None
    ) -> Sequence[Record]:
        """The documents changed last, newest first; `before`: time and key of the last one of the page before."""
        return self._storage.records.newest(collection, state=state, before=before, limit=limit)

    def delete(self, collection: str, key: str) -> None:
        """Removes a document, if there is one."""
        self._storage.records.delete(collection, key).result()

    def log(self, actor: str, action: str, target: str, outcome: str, detail: str) -> None:
        """Appends one entry; durable once the writer has come to it."""
        self._storage.log.add([LogLine(self._clock(), actor, action, target, outcome, detail)]).result()

    def _put(
        self,
        collection: str,
        key: str,
        body: str,
        state: str,
        tenant: str,
        expected_revision: int | None,
        at_s: float | None = None,
    ) -> "Future[Record]":
        return self._storage.records.put(
            collection,
            key,
            body,
            updated_s=self._clock() if at_s is None else at_s,
            state=state,
            tenant=tenant,
            expected_revision=expected_revision,
        )
