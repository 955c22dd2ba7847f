"""A picture of two cells and two slices, and the standard's files to hold what is written against."""

import asyncio
import json
import os
from functools import lru_cache
from pathlib import Path

import httpx
import jsonschema_rs
import numpy as np
import pytest
from fastapi import FastAPI

from twinloop.entities import column
from twinloop.service.live import KindPicture, Picture
from twinloop.twins import ATTRIBUTES

BUNDLES = Path(os.environ.get("TWINLOOP_3GPP", Path(__file__).parents[4] / "shared" / "3gpp"))
SLICES = "Rel-19_TS28541_SliceNrm.json"
TWINS = "Rel-19_TS28561_NdtNrm.json"
LOOPS = "Rel-19_TS28567_CclNrm.json"


@lru_cache
def validator(name: str, schema: str) -> jsonschema_rs.Draft4Validator:
    """A validator of one schema of a bundle; skips where the folder is missing."""
    if not (BUNDLES / name).exists():
        pytest.skip(f"no 3GPP bundles at {BUNDLES}; set TWINLOOP_3GPP to run this test")
    parts = json.loads((BUNDLES / name).read_text(encoding="utf-8"))["components"]["schemas"]
    root = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": parts}}
    return jsonschema_rs.Draft4Validator(root, validate_formats=True)


def valid(name: str, schema: str, value: object) -> None:
    """Fails with every fault of a value under a schema of a bundle."""
    faults = [f"{list(fault.instance_path)}: {fault.message}" for fault in validator(name, schema).iter_errors(value)]
    assert not faults, faults


def _twins(kind: str, ids: tuple[str, ...], users: list[float] | None = None) -> KindPicture:
    attributes = ATTRIBUTES[kind]
    shape = (len(ids), len(attributes))
    value, slot = np.zeros(shape, np.float32), np.full(shape, -1, np.int32)
    if users is not None:
        at = column(attributes, "users")
        value[:, at], slot[:, at] = users, 5
    unknown = np.full(shape, np.nan, np.float32)
    there = np.ones(len(ids), bool)
    return KindPicture(kind, ids, there, value, slot, np.zeros(len(ids), np.int32), unknown, unknown, unknown)


def make_picture(
    names: tuple[str, ...] = ("video", "sensors", "old"), users: tuple[float, ...] = (10, 0, 5)
) -> Picture:
    """Two cells of 20 and 10 MHz; the last slice has ended."""
    count = len(names)
    return Picture(
        slot=5,
        slot_s=1.0,
        epoch_s=0.0,
        users=_twins("users", ("ann",)),
        cells=_twins("cells", ("north, old", "south")),
        servers=_twins("servers", ("edge",)),
        slices=_twins("slices", names, list(users)),
        user_slice=np.zeros(1, np.int32),
        cell_server=np.zeros(2, np.int32),
        cell_position_m=np.zeros((2, 2), np.float32),
        cell_bandwidth_hz=np.asarray([20e6, 10e6], np.float32),
        server_cycles_per_s=np.asarray([1e10], np.float32),
        area_m=(1.0, 1.0),
        slice_sst=tuple(range(1, count + 1)),
        slice_sd=("0000a1", *[""] * (count - 1)),
        slice_active=np.asarray([True] * (count - 1) + [False]),
        target_bps=np.full(count, 4e6, np.float32),
        floor_share=np.zeros(count, np.float32),
        reserved_bandwidth_hz=np.zeros((2, count), np.float32),
        reserved_cycles_per_s=np.zeros((1, count), np.float32),
        confirmed_revision=0,
        requested_revision=0,
    )


def call(app: FastAPI, method: str, path: str, **parts: object) -> httpx.Response:
    """One request to an application, in an event loop of its own."""
    return asyncio.run(ask(app, method, path, **parts))


async def ask(app: FastAPI, method: str, path: str, **parts: object) -> httpx.Response:
    """One request to an application."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://twins.example") as client:
        return await client.request(method, path, **parts)
