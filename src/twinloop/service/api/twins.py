"""Twins: what each knows now, with age and fidelity beside every value; reported, emulated and desired kept apart."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Query, Request

from twinloop.service.api.context import platform_of, present
from twinloop.service.api.problems import not_found
from twinloop.service.live import KIND_OF, KindPicture, Picture
from twinloop.service.security import Identity, Permission, Requires

router = APIRouter(prefix="/twins", tags=["twins"])


@router.get("/{kind}")
async def twins(
    kind: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.READ_TWINS))],
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
) -> dict[str, Any]:
    """Twins of a kind."""
    picture = present(platform_of(request))
    found = kind_of(picture, kind)
    rows = [int(row) for row in np.flatnonzero(found.active) if found.ids[row]][:limit]
    return {"kind": kind, "slot": picture.slot, "twins": [view(picture, found, row) for row in rows]}


@router.get("/{kind}/{name}")
async def twin(
    kind: str,
    name: str,
    request: Request,
    identity: Annotated[Identity, Depends(Requires(Permission.READ_TWINS))],
) -> dict[str, Any]:
    """One twin."""
    picture = present(platform_of(request))
    found = kind_of(picture, kind)
    try:
        return view(picture, found, found.row(name))
    except KeyError:
        raise not_found(f"there is no {kind} {name!r}", f"see /twins/{kind}") from None


def kind_of(picture: Picture, kind: str) -> KindPicture:
    """The twins of a kind by its noun."""
    if kind not in KIND_OF:
        raise not_found(f"there is no kind {kind!r}", f"kinds: {', '.join(KIND_OF)}")
    return picture.of(kind)


def view(picture: Picture, kind: KindPicture, row: int) -> dict[str, Any]:
    """One twin for people and programs."""
    reported: dict[str, Any] = {}
    emulated: dict[str, Any] = {}
    for at, attribute in enumerate(kind.attributes):
        slot = int(kind.slot[row, at])
        if slot >= 0:
            fidelity = float(kind.fidelity[row, at])
            reported[attribute.name] = {
                "value": float(kind.value[row, at]),
                "unit": attribute.unit,
                "measured_s": picture.time_s(slot),
                "age_s": (picture.slot - slot) * picture.slot_s,
                "fidelity": None if np.isnan(fidelity) else fidelity,
            }
        if slot >= 0 and np.isfinite(kind.emulated[row, at]):
            emulated[attribute.name] = {
                "value": float(kind.emulated[row, at]),
                "std": float(kind.emulated_std[row, at]),
                "unit": attribute.unit,
            }
    return {
        "kind": kind.kind[:-1],
        "id": kind.ids[row],
        "active": bool(kind.active[row]),
        "revision": int(kind.revision[row]),
        "slot": picture.slot,
        "reported": reported,
        "emulated": emulated,
    }
