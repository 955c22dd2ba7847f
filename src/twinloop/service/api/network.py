"""The live network as it reported itself last: topology, capacity, what slices hold, load. Twins are under /twins."""

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.service.acting import sites_of
from twinloop.service.api.context import platform_of, seen
from twinloop.service.api.problems import not_found, responses
from twinloop.service.api.twins import Measured, Rows, measured_of, tidy
from twinloop.service.live import Picture
from twinloop.service.live_platform import Platform
from twinloop.service.security import Identity, Permission, Requires

_SERVING = column(USER_ATTRIBUTES, "serving_cell")
router = APIRouter(prefix="/network", tags=["network"])
Reader = Annotated[Identity, Depends(Requires(Permission.READ_NETWORK))]


class Site(BaseModel):
    """One site: whether it says that it does what is wanted, by the command of which number, last heard of when."""

    name: str
    servers: list[str]
    cells: list[str]
    follows: bool
    receipt_revision: int | None
    result: str
    heard_s: float | None


class Cell(BaseModel):
    """One cell: where it stands (null: it moves), what it has, what slices hold of it, what it reported."""

    name: str
    server: str
    site: str
    position_m: tuple[float, float] | None
    bandwidth_hz: float
    reserved_hz: dict[str, float]
    users: int
    reported: dict[str, Measured]


class Server(BaseModel):
    """One edge server: what it has, what slices hold of it, what it reported."""

    name: str
    site: str
    cells: list[str]
    cycles_per_s: float
    reserved_cycles_per_s: dict[str, float]
    reported: dict[str, Measured]


class Slice(BaseModel):
    """One slice: what it is promised, what it holds of cells and servers, what its users reported together."""

    name: str
    sst: int
    sd: str
    active: bool
    target_bps: float
    floor_share: float
    users: int
    reserved_hz: dict[str, float]
    reserved_cycles_per_s: dict[str, float]
    reported: dict[str, Measured]


class Network(BaseModel):
    """The whole of it. It does what is wanted where `confirmed_revision` has come to `requested_revision`."""

    slot: int
    time_s: float
    area_m: tuple[float, float]
    requested_revision: int
    confirmed_revision: int
    users: int
    sites: list[Site]
    cells: list[Cell]
    servers: list[Server]
    slices: list[Slice]


@router.get("", responses=responses())
def network(request: Request, identity: Reader) -> Network:
    """Everything at once."""
    platform, picture = platform_of(request), seen(request, identity).picture
    return Network(
        slot=picture.slot,
        time_s=picture.time_s(picture.slot),
        area_m=picture.area_m,
        requested_revision=picture.requested_revision,
        confirmed_revision=picture.confirmed_revision,
        users=int(picture.users.active.sum()),
        sites=_sites(platform),
        cells=_cells(platform, picture),
        servers=_servers(platform, picture),
        slices=_slices(picture),
    )


@router.get("/sites", responses=responses())
def sites(request: Request, identity: Reader) -> list[Site]:
    """Sites and whether they follow."""
    seen(request, identity)
    return _sites(platform_of(request))


@router.get("/cells", responses=responses())
def cells(request: Request, identity: Reader) -> list[Cell]:
    """Cells."""
    return _cells(platform_of(request), seen(request, identity).picture)


@router.get("/servers", responses=responses())
def servers(request: Request, identity: Reader) -> list[Server]:
    """Edge servers."""
    return _servers(platform_of(request), seen(request, identity).picture)


@router.get("/slices", responses=responses())
def slices(request: Request, identity: Reader) -> list[Slice]:
    """Slices."""
    return _slices(seen(request, identity).picture)


@router.get("/{part}/{name}", responses={200: {"model": Cell | Server | Slice | Site}, **responses(404)})
def one(part: str, name: str, request: Request, identity: Reader) -> Any:
    """One cell, server, slice or site: /network/cells/west-macro."""
    platform, picture = platform_of(request), seen(request, identity).picture
    parts: dict[str, Any] = {
        "cells": lambda: _cells(platform, picture),
        "servers": lambda: _servers(platform, picture),
        "slices": lambda: _slices(picture),
        "sites": lambda: _sites(platform),
    }
    if part not in parts:
        raise not_found(f"a network has no {part!r}", f"parts: {', '.join(parts)}")
    found = next((entry for entry in parts[part]() if entry.name == name), None)
    if found is None:
        raise not_found(f"there is no {name!r} among the {part}", f"see /network/{part}")
    return found


def _sites(platform: Platform) -> list[Site]:
    listed: list[Site] = []
    for name, names in sites_of(platform.scenario).items():
        stands = platform.dispatcher.sites[name]
        listed.append(
            Site(
                name=name,
                servers=list(names),
                cells=[cell.name for cell in platform.scenario.network.cells if cell.server in names],
                follows=stands.follows,
                receipt_revision=stands.receipt_revision if stands.receipt_revision >= 0 else None,
                result=stands.result,
                heard_s=stands.heard_s if np.isfinite(stands.heard_s) and stands.heard_s > 0 else None,
            )
        )
    return listed


def _cells(platform: Platform, picture: Picture) -> list[Cell]:
    table, site = picture.cells, _site_of(platform)
    reported = measured_of(picture, table, _all(table.ids))
    there = picture.users.active & (picture.users.slot[:, _SERVING] >= 0)
    served = np.bincount(picture.users.value[there, _SERVING].astype(np.int64).clip(0), minlength=len(table.ids))
    position, bandwidth = tidy(picture.cell_position_m).tolist(), tidy(picture.cell_bandwidth_hz).tolist()
    return [
        Cell(
            name=name,
            server=picture.servers.ids[picture.cell_server[row]],
            site=site[picture.servers.ids[picture.cell_server[row]]],
            position_m=None if np.isnan(position[row]).any() else tuple(position[row]),
            bandwidth_hz=bandwidth[row],
            reserved_hz=_by(picture.slices.ids, tidy(picture.reserved_bandwidth_hz[row]).tolist()),
            users=int(served[row]),
            reported=reported[row],
        )
        for row, name in enumerate(table.ids)
    ]


def _servers(platform: Platform, picture: Picture) -> list[Server]:
    table, site = picture.servers, _site_of(platform)
    reported = measured_of(picture, table, _all(table.ids))
    cycles = tidy(picture.server_cycles_per_s).tolist()
    return [
        Server(
            name=name,
            site=site[name],
            cells=[cell for cell, of in zip(picture.cells.ids, picture.cell_server, strict=True) if of == row],
            cycles_per_s=cycles[row],
            reserved_cycles_per_s=_by(picture.slices.ids, tidy(picture.reserved_cycles_per_s[row]).tolist()),
            reported=reported[row],
        )
        for row, name in enumerate(table.ids)
    ]


def _slices(picture: Picture) -> list[Slice]:
    table = picture.slices
    reported = measured_of(picture, table, _all(table.ids))
    people = np.bincount(picture.user_slice[picture.users.active].clip(0), minlength=len(table.ids))
    bandwidth, cycles = tidy(picture.reserved_bandwidth_hz).T.tolist(), tidy(picture.reserved_cycles_per_s).T.tolist()
    target, floor = tidy(picture.target_bps).tolist(), tidy(picture.floor_share).tolist()
    return [
        Slice(
            name=name,
            sst=picture.slice_sst[row],
            sd=picture.slice_sd[row],
            active=bool(picture.slice_active[row]),
            target_bps=target[row],
            floor_share=floor[row],
            users=int(people[row]),
            reserved_hz=_by(picture.cells.ids, bandwidth[row]),
            reserved_cycles_per_s=_by(picture.servers.ids, cycles[row]),
            reported=reported[row],
        )
        for row, name in enumerate(table.ids)
    ]


def _site_of(platform: Platform) -> dict[str, str]:
    return {server: site for site, names in sites_of(platform.scenario).items() for server in names}


def _all(names: tuple[str, ...]) -> Rows:
    return np.arange(len(names), dtype=np.int64)


def _by(names: tuple[str, ...], values: list[float]) -> dict[str, float]:
    return dict(zip(names, values, strict=True))
