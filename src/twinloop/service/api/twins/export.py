"""All twins at one moment, as a file that is written while it is sent."""

from collections.abc import Iterator
from typing import Annotated, Any
from xml.etree import ElementTree

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from twinloop.service.api.context import seen
from twinloop.service.api.problems import ProblemError, responses
from twinloop.service.api.twins.choosing import Reader, parts_of, table_of, wanted_of
from twinloop.service.api.twins.shapes import (
    CSV,
    JSON,
    NDJSON,
    XML,
    Rows,
    Wanted,
    accepted,
    element_of,
    encode,
    grid,
    lines_of,
    slice_of,
    tidy,
    twins_of,
)
from twinloop.service.live import KIND_OF, KindPicture
from twinloop.service.security import View

router = APIRouter()
AT_ONCE = 500
"""Twins that are written at once."""
EXPORT_COST = 10.0
_TYPES = {kind: {"schema": {"type": "string"}} for kind in (NDJSON, CSV, XML)}
_FORMS: dict[int | str, dict[str, Any]] = {
    200: {"description": "twins", "content": {JSON: {"schema": {"type": "object"}}, **_TYPES}}
}


@router.get("/export", response_model=None, responses=_FORMS | responses(404, 406))
def export(
    request: Request,
    identity: Reader,
    chosen: Annotated[tuple[str, str], Depends(parts_of)],
    kind: Annotated[list[str] | None, Query(max_length=4, description="kinds; all without it")] = None,
) -> StreamingResponse:
    """All twins after one slot, active or not. JSON, XML, NDJSON (a twin a line) or, of one kind, CSV (a twin a line,
    what was last reported an attribute a column) by `Accept`.
    """
    media_type = accepted(request, (JSON, NDJSON, XML, CSV))
    kinds = list(dict.fromkeys(kind or KIND_OF))
    if media_type == CSV and len(kinds) != 1:
        raise ProblemError(422, "kind: a table holds one kind of twin", f"give one of {', '.join(KIND_OF)}")
    view = seen(request, identity)
    request.app.state.guard.charge(identity, EXPORT_COST)
    tables = [table_of(view, one) for one in kinds]
    parts = [(table, wanted_of(request, identity, table, chosen)) for table in tables]
    writer = {JSON: _json, NDJSON: _ndjson, XML: _xml, CSV: _csv}[media_type]
    name = f"twins-{view.picture.slot}.{media_type.rpartition('/')[2].removeprefix('x-')}"
    headers = {"Vary": "Accept", "Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(writer(view, parts), media_type=media_type, headers=headers)


Parts = list[tuple[KindPicture, Wanted]]


def _blocks(table: KindPicture) -> Iterator[Rows]:
    rows = table.names.ordered[1]
    for begin in range(0, len(rows), AT_ONCE):
        yield rows[begin : begin + AT_ONCE]


def _twins(view: View, parts: Parts) -> Iterator[list[dict[str, Any]]]:
    for table, wanted in parts:
        for rows in _blocks(table):
            yield list(twins_of(view, table, rows, wanted))


def _json(view: View, parts: Parts) -> Iterator[bytes]:
    picture = view.picture
    yield encode({"slot": picture.slot, "time_s": picture.time_s(picture.slot)})[:-1] + b',"twins":['
    before = b""
    for block in _twins(view, parts):
        yield before + b",\n".join(encode(twin) for twin in block)
        before = b",\n"
    yield b"]}\n"


def _ndjson(view: View, parts: Parts) -> Iterator[bytes]:
    for block in _twins(view, parts):
        yield b"".join(encode(twin) + b"\n" for twin in block)


def _xml(view: View, parts: Parts) -> Iterator[bytes]:
    picture = view.picture
    head = f'<twins slot="{picture.slot}" time_s="{picture.time_s(picture.slot)}">\n'
    yield b"<?xml version='1.0' encoding='utf-8'?>\n" + head.encode()
    for block in _twins(view, parts):
        yield b"".join(ElementTree.tostring(element_of(twin), encoding="utf-8") + b"\n" for twin in block)
    yield b"</twins>\n"


def _csv(view: View, parts: Parts) -> Iterator[str]:
    picture = view.picture
    for table, wanted in parts:
        columns = list(wanted.columns)
        names = [table.attributes[one].name for one in columns]
        yield lines_of(("id", "slice", "active", "revision", "time_s", *names), [])
        for rows in _blocks(table):
            at = grid(rows, columns)
            value = np.where(table.slot[at] >= 0, tidy(table.value[at]), np.nan).tolist()
            yield lines_of(
                (),
                [
                    (
                        table.ids[row],
                        slice_of(picture, row) if table.kind == "users" else None,
                        bool(table.active[row]),
                        int(table.revision[row]),
                        picture.time_s(picture.slot),
                        *(None if one != one else one for one in line),
                    )
                    for row, line in zip(rows.tolist(), value, strict=True)
                ],
            )
