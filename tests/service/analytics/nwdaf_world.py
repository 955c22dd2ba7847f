"""A small network whose past and future are known, and the standard's files to hold answers against."""

import asyncio
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import httpx
import jsonschema_rs
import numpy as np
import pytest
from fastapi import FastAPI

from twinloop.entities import column
from twinloop.errors import TwinloopError
from twinloop.service.analytics import Analytics, AnalyticsSettings, Subscriptions, nnwdaf_router
from twinloop.service.live import Foretold, KindPicture, Picture, Series
from twinloop.twins import ATTRIBUTES

BUNDLES = Path(os.environ.get("TWINLOOP_3GPP", Path(__file__).parents[4] / "shared" / "3gpp"))
INFO = "Rel-17_TS29520_Nnwdaf_AnalyticsInfo.json"
EVENTS = "Rel-17_TS29520_Nnwdaf_EventsSubscription.json"

NOW_S = 1_900_000_000.0
ANALYTICS = "/nnwdaf-analyticsinfo/v1/analytics"
SUBSCRIPTIONS = "/nnwdaf-eventssubscription/v1/subscriptions"
KINDS = {"user": "users", "cell": "cells", "server": "servers", "slice": "slices"}


@lru_cache
def bundle(name: str) -> dict:
    """A file of the standard; skips where the folder is missing."""
    if not (BUNDLES / name).exists():
        pytest.skip(f"no 3GPP bundles at {BUNDLES}; set TWINLOOP_3GPP to run this test")
    return json.loads((BUNDLES / name).read_text(encoding="utf-8"))


@lru_cache
def validator(name: str, schema: str) -> jsonschema_rs.Draft4Validator:
    """A validator of one schema of a bundle."""
    parts = bundle(name)["components"]
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": parts["schemas"]}}
    return jsonschema_rs.Draft4Validator(root, validate_formats=True)


def valid(name: str, schema: str, value: object) -> None:
    """Fails with every fault of a value under a schema of a bundle."""
    faults = [f"{list(fault.instance_path)}: {fault.message}" for fault in validator(name, schema).iter_errors(value)]
    assert not faults, faults


def twins(kind: str, ids: list[str], values: dict[str, list[float]], slot: int) -> KindPicture:
    """Twins with the given columns, reported in `slot`; all other attributes were never reported."""
    attributes = ATTRIBUTES[kind]
    shape = (len(ids), len(attributes))
    value, slots = np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
    for name, column_values in values.items():
        at = column(attributes, name)
        value[:, at], slots[:, at] = column_values, slot
    unknown = np.full(shape, np.nan, np.float32)
    return KindPicture(
        kind=kind,
        ids=tuple(ids),
        active=np.asarray([bool(name) for name in ids]),
        value=value,
        slot=slots,
        revision=np.zeros(len(ids), np.int32),
        fidelity=unknown,
        emulated=unknown,
        emulated_std=unknown,
    )


def make_picture(slot: int = 1000) -> Picture:
    """Six users in two slices over three cells and one server, one row free."""
    users = {
        "position_x_m": [10.0, 20.0, 480.0, 500.0, 990.0, 1000.0, 0.0],
        "position_y_m": [0.0, 10.0, 0.0, 10.0, 0.0, 10.0, 0.0],
        "serving_cell": [0, 0, 1, 1, 2, 2, 0],
        "rate_bps": [2e6, 4e6, 1e6, 3e6, 0.0, 5e6, 0.0],
        "delay_s": [0.02, 0.03, 0.05, 0.04, 0.06, 0.01, 0.0],
        "loss_ratio": [0.001, 0.0, 0.01, 0.0, 0.0, 0.02, 0.0],
        "buffer_s": [4.0, 5.0, 0.0, 3.0, 2.0, 6.0, 0.0],
        "quality": [0.9, 0.8, 0.7, 0.6, 0.5, 0.95, 0.0],
        "rebuffer_s": [1.0, 0.0, 4.0, 0.0, 2.0, 0.0, 0.0],
    }
    cells = {
        "load": [0.5, 0.8, 0.2],
        "throughput_bps": [12e6, 4e6, 9e6],
        "users": [2.0, 2.0, 2.0],
        "used_bandwidth_hz": [5e6, 8e6, 2e6],
    }
    slices = {
        "users": [3.0, 3.0],
        "demand_bandwidth_hz": [6e6, 9e6],
        "demand_cycles_per_s": [1e9, 2e9],
        "reserved_bandwidth_hz": [12e6, 10e6],
        "reserved_cycles_per_s": [4e9, 4e9],
        "rate_bps": [6e6, 9e6],
    }
    names = ["ann", "bob b@home", "imsi-001010000000003", "dan", "eve", "fay", ""]
    return Picture(
        slot=slot,
        slot_s=1.0,
        epoch_s=NOW_S - slot,
        users=twins("users", names, users, slot),
        cells=twins("cells", ["north", "mid", "south"], cells, slot),
        servers=twins("servers", ["edge"], {"utilisation": [0.4]}, slot),
        slices=twins("slices", ["video", "sensors"], slices, slot),
        user_slice=np.asarray([0, 0, 0, 1, 1, 1, -1], np.int32),
        cell_server=np.zeros(3, np.int32),
        cell_position_m=np.asarray([[0, 0], [500, 0], [1000, 0]], np.float32),
        cell_bandwidth_hz=np.full(3, 10e6, np.float32),
        server_cycles_per_s=np.asarray([1e10], np.float32),
        area_m=(1000.0, 100.0),
        slice_sst=(1, 3),
        slice_sd=("0000a1", ""),
        slice_active=np.ones(2, bool),
        target_bps=np.asarray([4e6, 1e6], np.float32),
        floor_share=np.asarray([0.2, 0.1], np.float32),
        reserved_bandwidth_hz=np.full((3, 2), 4e6, np.float32),
        reserved_cycles_per_s=np.full((1, 2), 4e9, np.float32),
        confirmed_revision=3,
        requested_revision=3,
    )


def many(picture: Picture, copies: int) -> Picture:
    """So many networks side by side, a thousand kilometres apart, without the free row of users."""
    rows = {"users": np.arange(6), "cells": np.arange(3), "servers": np.arange(1), "slices": np.arange(2)}
    copy = np.arange(copies)

    def repeated(kind: str) -> KindPicture:
        twin, own = getattr(picture, kind), rows[kind]
        parts = {
            name: getattr(twin, name) for name in twin.__dataclass_fields__ if name not in {"kind", "ids", "_names"}
        }
        ids = tuple(f"{twin.ids[row]}-{number}" for number in copy for row in own)
        return KindPicture(
            kind=twin.kind,
            ids=ids,
            **{name: np.tile(part[own], (copies,) + (1,) * (part.ndim - 1)) for name, part in parts.items()},
        )

    return replace(
        picture,
        **{kind: repeated(kind) for kind in rows},
        user_slice=(np.tile(picture.user_slice[:6], copies) + 2 * np.repeat(copy, 6)).astype(np.int32),
        cell_server=np.repeat(copy, 3).astype(np.int32),
        cell_position_m=np.tile(picture.cell_position_m, (copies, 1)) + 1e6 * np.repeat(copy, 3)[:, None].astype("f4"),
        slice_sst=(1,) * (2 * copies),
        slice_sd=tuple(f"{row:06x}" for row in range(2 * copies)),
        slice_active=np.ones(2 * copies, bool),
        target_bps=np.tile(picture.target_bps, copies),
    )


@dataclass
class Past:
    """History in which everything was always as the picture shows, but for `told`: functions of time by (kind, name,
    attribute). `asked` notes what was looked up; before `since_s` nothing is known.
    """

    picture: Picture
    told: dict[tuple[str, str, str], Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    since_s: float = NOW_S - 3600.0
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        self.asked.append((kind, name, attribute))
        twin = self.picture.of(kind)
        value = twin.value[twin.row(name), column(twin.attributes, attribute)]
        time_s = from_s + step_s * np.arange(int(np.ceil((to_s - from_s) / step_s - 1e-9)))
        told = self.told.get((kind, name, attribute))
        values = np.full(len(time_s), value, np.float32) if told is None else told(time_s).astype(np.float32)
        return Series(time_s, np.where(time_s < self.since_s, np.float32(np.nan), values))


@dataclass
class Future:
    """A forecast that everything stays as it is, with a deviation of `spread` of each value, but for `told`: (mean,
    std) by (kind, attribute), [entities]. Slices are not foretold unless told.
    """

    picture: Picture
    spread: float = 0.1
    told: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        self.asked.append((kind, attribute))
        steps = max(int(horizon_s), 1)
        time_s = self.picture.time_s(float(self.picture.slot)) + 1.0 + np.arange(steps)
        if (kind, attribute) in self.told:
            mean, std = self.told[kind, attribute]
        elif kind == "slice":
            raise KeyError(kind)
        else:
            twin = self.picture.of(kind)
            mean = twin.value[:, column(twin.attributes, attribute)]
            std = self.spread * np.abs(mean)
        return Foretold(
            time_s, np.tile(mean.astype(np.float32), (steps, 1)), np.tile(std.astype(np.float32), (steps, 1))
        )


@dataclass
class Anybody:
    """An identity that sees all but what is hidden from it."""

    subject: str = "operator"
    sees: Callable[[Picture], Picture] = lambda picture: picture


@dataclass
class Sight:
    """The twins as one identity sees them."""

    picture: Picture
    past: Past
    future: Future

    def series(self, kind: str, name: str, attribute: str, from_s: float, to_s: float, step_s: float) -> Series:
        return self.past.series(kind, name, attribute, from_s, to_s, step_s)

    def foretell(self, kind: str, attribute: str, horizon_s: float) -> Foretold:
        return self.future.foretell(kind, attribute, horizon_s)


@dataclass
class Sheet:
    """A document."""

    body: str


class Shelf:
    """Records in memory; `puts` counts what was written."""

    def __init__(self) -> None:
        self.sheets: dict[tuple[str, str], Sheet] = {}
        self.puts = 0

    def put(self, collection: str, key: str, body: str) -> None:
        self.sheets[collection, key] = Sheet(body)
        self.puts += 1

    def get(self, collection: str, key: str) -> Sheet | None:
        return self.sheets.get((collection, key))

    def list(self, collection: str) -> list[Sheet]:
        return [sheet for (of, _), sheet in self.sheets.items() if of == collection]

    def delete(self, collection: str, key: str) -> None:
        self.sheets.pop((collection, key), None)


class World:
    """A network, its clock, and the service over it."""

    def __init__(self, settings: AnalyticsSettings | None = None) -> None:
        self.now_s = NOW_S
        self.picture: Picture | None = make_picture()
        self.past = Past(self.picture)
        self.future = Future(self.picture)
        self.identity = Anybody()
        self.shelf = Shelf()
        self.forbidden_urls: set[str] = set()
        self.settings = settings or AnalyticsSettings()
        self.analytics = Analytics(self.see, self.settings, lambda: self.now_s)
        self.subscriptions = Subscriptions(self.analytics, self.shelf)
        self.app = FastAPI()
        self.app.include_router(nnwdaf_router(self.analytics, self.subscriptions, lambda: self.identity, self.permit))

    def see(self, identity: Anybody) -> Sight:
        """The twins as somebody sees them."""
        if self.picture is None:
            raise LookupError("no slot yet")
        return Sight(identity.sees(self.picture), self.past, self.future)

    async def permit(self, url: str) -> None:
        """Refuses what is forbidden."""
        if url in self.forbidden_urls:
            raise TwinloopError(f"{url} is not to be called")

    def call(self, method: str, path: str, **parts: object) -> httpx.Response:
        """One request to the application."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://twins.example") as client:
                return await client.request(method, path, **parts)

        return asyncio.run(asked())

    def get(self, event: str, **parts: object) -> httpx.Response:
        """A request; `ana_req`, `event_filter` and `tgt_ue` as values."""
        query = {name.replace("_", "-"): json.dumps(value) for name, value in parts.items()}
        return self.call("GET", ANALYTICS, params={"event-id": event} | query)

    def show(self, **changes: object) -> None:
        """Shows another picture."""
        assert self.picture is not None
        self.picture = replace(self.picture, **changes)
        self.past.picture = self.future.picture = self.picture

    def foretell_slices(self, spread: float = 0.1) -> None:
        """Has slices foretold like everything else."""
        assert self.picture is not None
        for attribute in ("demand_bandwidth_hz", "demand_cycles_per_s", "users"):
            twin = self.picture.slices
            mean = twin.value[:, column(twin.attributes, attribute)]
            self.future.told["slice", attribute] = (mean, spread * mean)

    def report(self, kind: str, attribute: str, values: list[float]) -> None:
        """Shows a picture in which these values were reported now."""
        assert self.picture is not None
        twin = self.picture.of(kind)
        at = column(twin.attributes, attribute)
        value, slot = twin.value.copy(), twin.slot.copy()
        value[:, at], slot[:, at] = values, self.picture.slot
        self.show(**{KINDS[kind]: replace(twin, value=value, slot=slot)})


def rfc3339(time_s: float) -> str:
    """A time as the standard writes it."""
    return str(np.datetime_as_string(np.datetime64(int(time_s), "s"), timezone="UTC"))


PAST = {"startTs": rfc3339(NOW_S - 600), "endTs": rfc3339(NOW_S)}
FUTURE = {"startTs": rfc3339(NOW_S), "endTs": rfc3339(NOW_S + 120)}
