"""Which twins of a kind, and what of them: filters, pages in the order of ids, parts and attributes."""

import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import numpy as np
from fastapi import Depends, Query, Request
from numpy.typing import NDArray

from twinloop.entities import column
from twinloop.network import KindRequest
from twinloop.service.api.context import platform_of
from twinloop.service.api.problems import ProblemError, not_found
from twinloop.service.api.twins.shapes import PARTS, Rows, Wanted, noun_of
from twinloop.service.live import KIND_OF, KindPicture
from twinloop.service.security import Identity, Permission, Requires, View

MOST_CONDITIONS = 10
_CONDITION = re.compile(r"([a-z][a-z0-9_]*)(<=|>=|!=|=|<|>)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)", re.ASCII)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}

Reader = Annotated[Identity, Depends(Requires(Permission.READ_TWINS))]
"""Who reads twins."""


@dataclass(frozen=True)
class Filters:
    """What a list of twins is narrowed to; see `filters_of`."""

    slice: str | None
    cell: str | None
    active: bool | None
    where: tuple[str, ...]
    prefix: str


@dataclass(frozen=True)
class Page:
    """Rows of one page in the order of ids, how many match in all, and the id that the next page comes after."""

    rows: Rows
    matching: int
    next: str | None


def filters_of(
    slice: Annotated[str | None, Query(max_length=128, description="users of this slice")] = None,
    cell: Annotated[str | None, Query(max_length=128, description="users whose serving cell this is")] = None,
    active: Annotated[
        bool | None, Query(description="false: twins that went silent; else those that are there")
    ] = None,
    where: Annotated[
        list[str],
        Query(
            max_length=MOST_CONDITIONS,
            description="attribute compared with a number, such as `buffer_s<1`: <, <=, >, >=, = or !=; may come again",
        ),
    ] = [],  # noqa: B006 - FastAPI copies it
    prefix: Annotated[str, Query(max_length=128, description="ids that begin so")] = "",
) -> Filters:
    """Filters out of the query."""
    return Filters(slice, cell, active, tuple(where), prefix)


def parts_of(
    fields: Annotated[
        str, Query(max_length=100, description="parts, by commas: reported, emulated, desired; all without it")
    ] = "",
    attributes: Annotated[str, Query(max_length=2000, description="attributes, by commas; all without it")] = "",
) -> tuple[str, str]:
    """What of twins is wanted, out of the query."""
    return fields, attributes


def table_of(view: View, kind: str) -> KindPicture:
    """The twins of a kind by its noun. Raises ProblemError (404)."""
    if kind not in KIND_OF:
        raise not_found(f"there is no kind {kind!r}", f"kinds: {', '.join(KIND_OF)}")
    return view.picture.of(kind)


def row_of(view: View, kind: str, name: str) -> int:
    """Row of a twin. Raises ProblemError (404)."""
    table_of(view, kind)
    try:
        return view.row(kind, name)
    except KeyError:
        raise not_found(f"there is no {kind} {name!r}", f"see /twins/{kind}") from None


def column_of(view: View, kind: str, attribute: str) -> int:
    """Column of an attribute that may be seen. Raises ProblemError: 404 for an unknown one, 403 for one not granted."""
    table = table_of(view, kind)
    try:
        found = column(table.attributes, attribute)
    except KeyError as error:
        raise not_found(str(error.args[0]), f"see /twins/{kind}") from None
    if attribute not in view.attributes(kind):
        raise ProblemError(403, f"the attribute {attribute} is not granted to your slice", "ask the operator to")
    return found


def wanted_of(request: Request, identity: Identity, table: KindPicture, chosen: tuple[str, str]) -> Wanted:
    """What of twins is shown. Raises ProblemError (422) for parts and attributes that there are not."""
    parts = _listed("fields", chosen[0], PARTS)
    names = [attribute.name for attribute in table.attributes]
    attributes = _listed("attributes", chosen[1], names)
    runner = platform_of(request).runner

    def asked(kind: str) -> KindRequest | None:
        present = runner.present
        if present is None or not identity.allows(Permission.READ_COLLECTION):
            return None
        return jax.device_get(getattr(present.state.collection.request, kind, None))

    return Wanted(frozenset(parts), tuple(names.index(name) for name in attributes), asked)


def matching(view: View, table: KindPicture, filters: Filters) -> NDArray[np.bool_]:
    """Which rows the filters leave. Raises ProblemError for filters that do not fit the kind."""
    chosen = table.active == (filters.active is not False)
    users = table.kind == "users"
    for name, value in (("slice", filters.slice), ("cell", filters.cell)):
        if value is not None and not users:
            raise ProblemError(422, f"{name}: only users are filtered by it, not {table.kind}", f"leave {name} out")
    if filters.slice is not None:
        chosen = chosen & (view.picture.user_slice == row_of(view, "slice", filters.slice))
    if filters.cell is not None:
        at, cell = column_of(view, "user", "serving_cell"), row_of(view, "cell", filters.cell)
        chosen = chosen & (table.slot[:, at] >= 0) & (table.value[:, at] == cell)
    for condition in filters.where:
        chosen = chosen & _holds(view, table, condition)
    return chosen


def page_of(table: KindPicture, chosen: NDArray[np.bool_], prefix: str, after: str | None, limit: int) -> Page:
    """A page of the chosen rows."""
    names, rows = table.names.ordered
    first, last = 0, len(names)
    if prefix:
        first, last = bisect_right(names, prefix) - (prefix in table.names.row), _beyond(names, prefix)
    begin = first if after is None else max(first, bisect_right(names, after))
    there = chosen[rows]
    matched = int(there[first:last].sum())
    found = np.flatnonzero(there[begin:last])[: limit + 1] + begin
    more = len(found) > limit
    found = found[:limit]
    return Page(rows[found], matched, names[int(found[-1])] if more else None)


def _beyond(names: Sequence[str], prefix: str) -> int:
    low, high = bisect_right(names, prefix), len(names)
    while low < high:
        middle = (low + high) // 2
        if names[middle].startswith(prefix):
            low = middle + 1
        else:
            high = middle
    return low


def _holds(view: View, table: KindPicture, condition: str) -> NDArray[np.bool_]:
    found = _CONDITION.fullmatch(condition.replace(" ", ""))
    if found is None:
        raise ProblemError(
            422, f"where: {condition[:60]!r} compares nothing", "give an attribute and a number, such as buffer_s<1"
        )
    name, sign, number = found.groups()
    at = column_of(view, noun_of(table), name)
    return (table.slot[:, at] >= 0) & _COMPARE[sign](table.value[:, at], np.float32(float(number)))


def _listed(name: str, text: str, allowed: Sequence[str]) -> list[str]:
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in chosen if part not in allowed]
    if unknown:
        raise ProblemError(422, f"{name}: there is no {unknown[0][:60]!r}", f"there are {', '.join(allowed)}")
    return chosen or list(allowed)
