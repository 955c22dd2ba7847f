"""Twins as they are and as they were: a page of a kind, and one of them in the form that the caller likes."""

import zlib
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Header, Query, Request, Response

from twinloop.service.api.context import seen
from twinloop.service.api.problems import ProblemError, responses
from twinloop.service.api.twins.choosing import (
    Filters,
    Reader,
    filters_of,
    matching,
    page_of,
    parts_of,
    row_of,
    table_of,
    wanted_of,
)
from twinloop.service.api.twins.past import HISTORY_COST, as_of, as_revised
from twinloop.service.api.twins.shapes import (
    CSV,
    JSON,
    XML,
    Twin,
    TwinPage,
    accepted,
    answer,
    encode,
    past_twin,
    twins_of,
)
from twinloop.service.live import Moment

router = APIRouter()
MOST_A_PAGE = 2_000
_FORMS: dict[int | str, dict[str, Any]] = {
    200: {"model": Twin, "content": {XML: {"schema": {"type": "string"}}, CSV: {"schema": {"type": "string"}}}},
    304: {"description": "the twin has the revision that the caller knows"},
}


@router.get("/{kind}", response_model=None, responses={200: {"model": TwinPage}, **responses(404)})
def twins(
    kind: str,
    request: Request,
    identity: Reader,
    filters: Annotated[Filters, Depends(filters_of)],
    chosen: Annotated[tuple[str, str], Depends(parts_of)],
    after: Annotated[str | None, Query(max_length=256, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_A_PAGE)] = 100,
) -> Response:
    """Twins of a kind in the order of their ids, those that meet every filter."""
    view = seen(request, identity)
    table = table_of(view, kind)
    wanted = wanted_of(request, identity, table, chosen)
    page = page_of(table, matching(view, table, filters), filters.prefix, after, limit)
    picture = view.picture
    told = {
        "kind": kind,
        "slot": picture.slot,
        "time_s": picture.time_s(picture.slot),
        "matching": page.matching,
        "twins": list(twins_of(view, table, page.rows, wanted)),
        "next": page.next,
    }
    return Response(encode(told), media_type=JSON)


@router.get("/{kind}/{name}", response_model=None, responses=_FORMS | responses(404, 406))
def twin(
    kind: str,
    name: str,
    request: Request,
    identity: Reader,
    chosen: Annotated[tuple[str, str], Depends(parts_of)],
    at: Annotated[
        str | None, Query(max_length=64, description="the twin as it was: epoch seconds, RFC 3339, -15min")
    ] = None,
    revision: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="the twin as it was under a revision")
    ] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """One twin: JSON, XML or CSV by `Accept`. Its revision is the entity tag: who has it is answered 304."""
    media_type = accepted(request, (JSON, XML, CSV))
    if at is not None and revision is not None:
        raise ProblemError(422, "at and revision: both are given", "give one")
    view = seen(request, identity)
    wanted = wanted_of(request, identity, table_of(view, kind), chosen)
    if at is not None or revision is not None:
        request.app.state.guard.charge(identity, HISTORY_COST)
        if at is not None:
            moment = as_of(request, view, kind, name, at)
        else:
            moment = as_revised(request, view, kind, name, revision or 0)
        told = past_twin(kind, name, moment, view.picture.of(kind).attributes, wanted, view.picture)
        return answer(told, media_type, {"ETag": _tag(moment, media_type)})
    row = row_of(view, kind, name)
    table = view.picture.of(kind)
    # A revision that a tenant sees does not count a value that is corrected in its slot.
    form, sum_of_values = media_type.rpartition("/")[2], zlib.crc32(table.value[row].tobytes())
    tag = f'W/"{int(table.revision[row])}-{form}-{sum_of_values:08x}"'
    if _known(if_none_match, tag):
        return Response(status_code=304, headers={"ETag": tag, "Vary": "Accept"})
    (told,) = twins_of(view, table, np.asarray([row], np.int64), wanted)
    return answer(told, media_type, {"ETag": tag})


def _tag(moment: Moment, media_type: str) -> str:
    return f'W/"{moment.revision}-{media_type.rpartition("/")[2]}-{moment.time_s:.0f}"'


def _known(header: str | None, tag: str) -> bool:
    tags = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags
