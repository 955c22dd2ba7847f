"""Records: documents of JSON by collection and key, each with a state, a tenant and a revision."""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, tuple_, update

from twinloop.storage.database import Database
from twinloop.storage.faults import Conflict
from twinloop.storage.schema import RECORDS

MOST_PRUNED = 1000
"""Documents that one transaction removes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A document. `revision` counts its changes from 1; `updated_s`: epoch seconds; `body`: JSON text.

    `state` and `tenant` are what lists are filtered by; empty where the collection has none.
    """

    collection: str
    key: str
    state: str
    tenant: str
    revision: int
    updated_s: float
    body: str


class Records:
    """Documents of all collections."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(
        self,
        collection: str,
        key: str,
        body: str,
        *,
        updated_s: float,
        state: str = "",
        tenant: str = "",
        expected_revision: int | None = None,
    ) -> Future[Record]:
        """Creates or replaces a document; the future has it as it then stands.

        With `expected_revision` (0: it must not exist yet) the future fails with Conflict where another stands.
        """

        def write(connection: Connection) -> Record:
            revision = _checked(connection, collection, key, expected_revision)
            record = Record(collection, key, state, tenant, revision + 1, updated_s, body)
            values = {
                "state": state,
                "tenant": tenant,
                "revision": record.revision,
                "updated_s": updated_s,
                "body": body,
            }
            if revision:
                connection.execute(update(RECORDS).where(_is(collection, key)).values(values))
            else:
                connection.execute(insert(RECORDS).values(collection=collection, key=key, **values))
            return record

        return self._database.submit(write)

    def delete(self, collection: str, key: str, *, expected_revision: int | None = None) -> Future[bool]:
        """Removes a document; the future has False where there was none, and fails with Conflict as for `put`."""

        def write(connection: Connection) -> bool:
            _checked(connection, collection, key, expected_revision)
            return connection.execute(delete(RECORDS).where(_is(collection, key))).rowcount > 0

        return self._database.submit(write)

    def get(self, collection: str, key: str) -> Record | None:
        """One document; None where there is none."""
        with self._database.reading() as connection:
            row = connection.execute(select(RECORDS).where(_is(collection, key))).first()
        return None if row is None else Record(*row)

    def by_key(
        self,
        collection: str,
        *,
        state: str | None = None,
        tenant: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Documents in the order of their keys' code points; `after`: the last key of the page before."""
        later = [] if after is None else [RECORDS.c.key > after]
        return self._list(_among(collection, state, tenant) + later, [RECORDS.c.key], limit)

    def newest(
        self,
        collection: str,
        *,
        state: str | None = None,
        tenant: str | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Documents, last changed first; `before`: (updated_s, key) of the last one of the page before."""
        earlier: list[ColumnElement[bool]] = []
        if before is not None:
            updated_s, key = before
            same = and_(RECORDS.c.updated_s == updated_s, RECORDS.c.key < key)
            earlier = [or_(RECORDS.c.updated_s < updated_s, same)]
        order = [RECORDS.c.updated_s.desc(), RECORDS.c.key.desc()]
        return self._list(_among(collection, state, tenant) + earlier, order, limit)

    def prune(self, collection: str, most: int) -> int:
        """Removes the documents that were changed longest ago but `most`, in small transactions; waits for them. Gives
        how many went.
        """
        removed = 0
        while step := self._database.submit(lambda connection: _remove_oldest(connection, collection, most)).result():
            removed += step
        return removed

    def _list(
        self, conditions: list[ColumnElement[bool]], order: Sequence[ColumnElement[Any]], limit: int
    ) -> list[Record]:
        query = select(RECORDS).where(*conditions).order_by(*order).limit(limit)
        with self._database.reading() as connection:
            return [Record(*row) for row in connection.execute(query)]


def _remove_oldest(connection: Connection, collection: str, most: int) -> int:
    there, age = RECORDS.c.collection == collection, (RECORDS.c.updated_s, RECORDS.c.key)
    newest_gone = connection.execute(
        select(*age).where(there).order_by(*(column.desc() for column in age)).offset(most).limit(1)
    ).first()
    if newest_gone is None:
        return 0
    gone = select(RECORDS.c.key).where(there, tuple_(*age) <= tuple_(*newest_gone)).order_by(*age).limit(MOST_PRUNED)
    return connection.execute(delete(RECORDS).where(there, RECORDS.c.key.in_(gone))).rowcount


def _is(collection: str, key: str) -> ColumnElement[bool]:
    return and_(RECORDS.c.collection == collection, RECORDS.c.key == key)


def _among(collection: str, state: str | None, tenant: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [RECORDS.c.collection == collection]
    if state is not None:
        conditions.append(RECORDS.c.state == state)
    if tenant is not None:
        conditions.append(RECORDS.c.tenant == tenant)
    return conditions


def _checked(connection: Connection, collection: str, key: str, expected_revision: int | None) -> int:
    """The revision that stands, 0 for none. Raises Conflict where it is not the expected one."""
    revision = connection.execute(select(RECORDS.c.revision).where(_is(collection, key))).scalar() or 0
    if expected_revision is not None and revision != expected_revision:
        stands = f"is at revision {revision}" if revision else "does not exist"
        raise Conflict(f"{collection}/{key} {stands}, not at {expected_revision}; read it again before changing it")
    return revision
