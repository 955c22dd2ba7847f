"""The past and the future of one attribute of one twin, and a twin as it once was."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from twinloop.emulation import Z90
from twinloop.service.api.context import platform_of, seen
from twinloop.service.api.problems import ProblemError, not_found, responses
from twinloop.service.api.twins.choosing import Reader, column_of, row_of, table_of
from twinloop.service.api.twins.shapes import CSV, JSON, Forecast, History, accepted, encode, lines_of, tidy
from twinloop.service.api.twins.times import time_s
from twinloop.service.live import Moment, Series
from twinloop.service.security import View

router = APIRouter()
MOST_POINTS = 5_000
USUAL_POINTS = 300
LONGEST_FORECAST_S = 300.0
HISTORY_COST = 5.0
"""What reading history takes of the caller's rate: as many requests as this."""
_TABLE: dict[str, Any] = {CSV: {"schema": {"type": "string"}}}


@router.get(
    "/{kind}/{name}/history",
    response_model=None,
    responses={200: {"model": History, "content": _TABLE}, **responses(404, 406)},
)
def history(
    kind: str,
    name: str,
    request: Request,
    identity: Reader,
    attribute: Annotated[str, Query(max_length=64)],
    begin: Annotated[
        str, Query(alias="from", max_length=64, description="epoch seconds, RFC 3339, or -15min")
    ] = "-15min",
    end: Annotated[str, Query(alias="to", max_length=64, description="as `from`; this moment without it")] = "now",
    step: Annotated[
        float | None,
        Query(
            gt=0,
            le=1e9,
            allow_inf_nan=False,
            description="seconds that each value is a mean over; at least those between the frames kept of `from`",
        ),
    ] = None,
) -> Response:
    """What one attribute of a twin was, as means over steps of `step_s`: JSON or CSV by `Accept`."""
    media_type = accepted(request, (JSON, CSV))
    view, platform = seen(request, identity), platform_of(request)
    at = column_of(view, kind, attribute)
    now_s, slot_s = platform.clock(), view.picture.slot_s
    from_s, to_s = time_s("from", begin, now_s), time_s("to", end, now_s)
    if to_s <= from_s:
        raise ProblemError(422, "from is not before to", "give an earlier from")
    step_s = max(step or (to_s - from_s) / USUAL_POINTS, slot_s, platform.keeper.step_s(from_s))
    if (to_s - from_s) / step_s > MOST_POINTS:
        least_s = (to_s - from_s) / MOST_POINTS
        raise ProblemError(
            422,
            f"step: {step_s:g} s makes {(to_s - from_s) / step_s:.0f} points, at most {MOST_POINTS} are given at once",
            f"give a step of at least {np.ceil(least_s):g} s, or a shorter time",
        )
    request.app.state.guard.charge(identity, HISTORY_COST)
    series = _series(request, view, kind, name, attribute, (from_s, to_s, step_s))
    times, value = series.time_s.tolist(), tidy(series.value).tolist()
    if media_type == CSV:
        known = ((time, None if one != one else one) for time, one in zip(times, value, strict=True))
        return Response(lines_of(("time_s", attribute), known), media_type=CSV)
    told = {
        "kind": kind,
        "id": name,
        "attribute": attribute,
        "unit": table_of(view, kind).attributes[at].unit,
        "from_s": from_s,
        "to_s": to_s,
        "step_s": step_s,
        "time_s": times,
        "value": value,
    }
    return Response(encode(told), media_type=JSON)


@router.get(
    "/{kind}/{name}/forecast",
    response_model=None,
    responses={200: {"model": Forecast, "content": _TABLE}, **responses(404, 406)},
)
def forecast(
    kind: str,
    name: str,
    request: Request,
    identity: Reader,
    attribute: Annotated[str, Query(max_length=64)],
    horizon_s: Annotated[float, Query(ge=1, le=LONGEST_FORECAST_S, allow_inf_nan=False)] = 60.0,
) -> Response:
    """What is expected of one attribute of a twin, slot by slot: mean and 90 % interval. JSON or CSV by `Accept`."""
    media_type = accepted(request, (JSON, CSV))
    view = seen(request, identity)
    row, at = row_of(view, kind, name), column_of(view, kind, attribute)
    table = table_of(view, kind)
    about = table.attributes[at]
    foretold = view.foretell(kind, attribute, horizon_s)
    mean, std = foretold.mean[:, row].astype(np.float64), foretold.std[:, row].astype(np.float64)
    certain = about.kind != "level"
    half = np.full_like(std, np.nan) if certain else Z90 * std
    low, high = (np.clip(mean + sign * half, about.low, about.high) for sign in (-1, 1))
    columns = {
        "time_s": foretold.time_s.tolist(),
        "mean": tidy(mean).tolist(),
        "std": tidy(np.full_like(std, np.nan) if certain else std).tolist(),
        "low90": tidy(low).tolist(),
        "high90": tidy(high).tolist(),
    }
    if media_type == CSV:
        rows = ([None if one != one else one for one in row] for row in zip(*columns.values(), strict=True))
        return Response(lines_of(tuple(columns), rows), media_type=CSV)
    picture = view.picture
    told = {
        "kind": kind,
        "id": name,
        "attribute": attribute,
        "unit": about.unit,
        "made_s": picture.time_s(picture.slot),
        "slot": picture.slot,
        **columns,
    }
    return Response(encode(told), media_type=JSON)


def as_of(request: Request, view: View, kind: str, name: str, at: str) -> Moment:
    """A twin as it was known at a time. Raises ProblemError (404) where history does not reach."""
    platform = platform_of(request)
    asked_s = time_s("at", at, platform.clock())
    found = _recalled(view, kind, name, lambda noun, true: platform.keeper.moment(noun, true, asked_s))
    if found is None:
        raise not_found(
            f"nothing of {kind} {name!r} is kept of that time",
            f"history reaches back to {platform.keeper.reaches_s:.0f} at most, and now is {platform.clock():.0f}; who "
            "was not there then has none",
        )
    return found


def as_revised(request: Request, view: View, kind: str, name: str, revision: int) -> Moment:
    """A twin as it was known under a revision. Raises ProblemError (404) that names the nearest ones kept."""
    keeper = platform_of(request).keeper
    kept: list[Moment] = []

    def counted(moment: Moment) -> int:
        return view.revision(kind, name, moment)

    for place in (0, 1):

        def look(noun: str, true: str, place: int = place) -> Moment | None:
            return keeper.revised(noun, true, revision, counted)[place]

        found = _recalled(view, kind, name, look)
        if found is not None and found.revision == revision:
            return found
        kept += [] if found is None else [found]
    near = " and ".join(f"{one.revision} (at {one.time_s:.0f})" for one in kept)
    raise not_found(
        f"no frame of {kind} {name!r} with revision {revision} is kept",
        f"frames are kept every second, then every ten, then every minute; the nearest are {near}" if near else "",
    )


def _recalled(view: View, kind: str, name: str, look: Callable[[str, str], Moment | None]) -> Moment | None:
    """What is found of a twin in the past; of one that is gone only where the caller sees everybody."""
    table_of(view, kind)
    try:
        return view.recall(kind, name, look)
    except KeyError:
        if view.is_whole and name:
            return look(kind, name)
        raise not_found(f"there is no {kind} {name!r}", f"see /twins/{kind}") from None


def _series(
    request: Request, view: View, kind: str, name: str, attribute: str, span: tuple[float, float, float]
) -> Series:
    try:
        return view.series(kind, name, attribute, *span)
    except KeyError:
        gone = platform_of(request).keeper.series(kind, name, attribute, *span) if view.is_whole and name else None
        if gone is None or not np.isfinite(gone.value).any():
            raise not_found(f"there is no {kind} {name!r}, nor was there in that time", f"see /twins/{kind}") from None
        return gone
