"""The collection part of a scenario as the method that sets requests."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twinloop.collection import AbstractCollector, Adaptive, KindRules, Ladder, Periodic, Rules
from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Attribute
from twinloop.errors import ScenarioError
from twinloop.network import KindRequest, Override, Request, default_request
from twinloop.scenario.models import AttributeRequest, Collection, Scenario
from twinloop.simulator import Params

INDICATORS = frozenset({"rate_bps", "quality", "buffer_s"})
_WARM_UP_SLOTS = 20


def build_collector(scenario: Scenario, params: Params) -> AbstractCollector[Any]:
    """The method that a scenario asks for. Raises ScenarioError for an attribute that users do not have."""
    request, part = _request(scenario), scenario.collection
    cells = len(scenario.network.cells)
    if part.method == "periodic":
        return Periodic(request, params.user_slice, len(scenario.slices), cells, params.slot_s)
    rules = Rules(
        ladder=Ladder(
            tuple(part.ladder_slots), jnp.float32(part.error_low), jnp.float32(part.error_high), part.calm_looks
        ),
        tolerance=jnp.float32(part.tolerance),
        ride=jnp.float32(part.ride),
        max_age_s=jnp.float32(part.max_age_s),
        cell_budget_bits=jnp.float32(np.inf if part.cell_budget_bps is None else part.cell_budget_bps * params.slot_s),
        discriminator=jnp.float32(part.discriminator),
        triggers=part.triggers,
        weigh=part.importance,
        warm_up_slots=_WARM_UP_SLOTS,
        slot_s=params.slot_s,
    )
    noise = sensor_noise(part)
    alone, together = jnp.zeros(cells, jnp.int32), jnp.zeros(len(scenario.network.servers), jnp.int32)
    return Adaptive(
        rules,
        users=_kind(USER_ATTRIBUTES, request.users, params.user_slice, len(scenario.slices), cells, noise),
        cells=_kind(CELL_ATTRIBUTES, request.cells, alone, 1, cells, {}),
        servers=_kind(SERVER_ATTRIBUTES, request.servers, together, 1, 1, {}),
    )


def sensor_noise(part: Collection) -> dict[str, float]:
    """Standard deviation of what users' sensors add, by attribute, in its unit."""
    noise = {"position_x_m": part.position_noise_m, "position_y_m": part.position_noise_m}
    return noise | {"rsrp_dbm": part.radio_noise_db, "sinr_db": part.radio_noise_db}


def _kind(
    table: tuple[Attribute, ...],
    request: KindRequest,
    groups: Int[Array, " entities"],
    group_count: int,
    cell_count: int,
    noise: dict[str, float],
) -> KindRules:
    span = np.array([entry.high - entry.low for entry in table], np.float32)
    quantum = span / (2.0 ** np.array([entry.bits for entry in table], np.float32) - 1.0)
    sensor = np.array([2.0 * noise.get(entry.name, 0.0) for entry in table], np.float32)
    return KindRules(
        request=request,
        groups=groups,
        span=jnp.asarray(span),
        floor=jnp.asarray(np.maximum(quantum, sensor), jnp.float32),
        label=tuple(place for place, entry in enumerate(table) if entry.kind == "label"),
        event=jnp.asarray([entry.method == "on_change" for entry in table]),
        indicator=jnp.asarray([float(entry.name in INDICATORS) for entry in table], jnp.float32),
        group_count=group_count,
        cell_count=cell_count,
    )


def _request(scenario: Scenario) -> Request:
    counts = (scenario.user_count, len(scenario.network.cells), len(scenario.network.servers))
    users = {name: _override(entry) for name, entry in scenario.collection.attributes.items()}
    try:
        return default_request(dict(zip(("users", "cells", "servers"), counts, strict=True)), {"users": users})
    except ValueError as error:
        raise ScenarioError(f"collection.attributes: {error}") from error


def _override(entry: AttributeRequest) -> Override:
    age_s = entry.max_age_s if entry.method == "send_on_delta" else np.inf
    return Override(entry.period_s, entry.bits, entry.method, entry.delta, age_s)
