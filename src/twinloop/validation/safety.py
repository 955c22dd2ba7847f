"""What no proposal may break, whatever it promises; failure is data: a code with its sentence."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.entities import Action
from twinloop.slicing import SliceTable, Violations, capacity_and_isolation
from twinloop.validation.approval import Approved

RESULTS = (
    "approved: the twins expect it to serve people no worse than the standing decision, to within the tolerance",
    "refused: the twins expect the standing decision to serve people better",
    "refused: it reserves more than a cell or server has",
    "refused: it takes from a slice what that slice was promised and needs",
    "refused: it holds a number that is not finite or below zero",
    "refused: it gives flows more than their slice reserves",
    "refused: it holds something for a slice that has ended",
)

ISOLATION = 3
"""Index into `RESULTS` of a breach of isolation."""

ENDED = 6
"""Index into `RESULTS` of what is held for a slice that no longer stands."""


def safety_code(action: Action, features: Features, slices: SliceTable) -> Int[Array, ""]:
    """0 when `action` keeps capacity, isolation and flow limits; otherwise the index into `RESULTS` of the first
    breach.
    """
    checks = [
        capacity_and_isolation(slices, reserved, capacity, demand)
        for reserved, capacity, demand in (
            (action.slice_bandwidth_hz, features.cell_bandwidth_hz, features.slice_demand_hz),
            (action.slice_cycles_per_s, features.server_cycles_per_s, features.slice_demand_cycles_per_s),
            (action.slice_cache_bytes, features.server_cache_bytes, features.slice_demand_cache_bytes),
        )
    ]
    flows = (action.flow_bandwidth_hz, action.flow_cycles_per_s)
    broken = ~jnp.all(jnp.array([jnp.all(jnp.isfinite(f) & (f >= 0)) for f in flows]))
    return jnp.select(
        [
            broken | _any(checks, "not_finite"),
            _any(checks, "capacity"),
            _any(checks, "isolation"),
            _flows_exceed(action, features),
        ],
        [jnp.int32(4), jnp.int32(2), jnp.int32(3), jnp.int32(5)],
        jnp.int32(0),
    )


def recheck(
    approved: Approved, filled: Action, features: Features, slices: SliceTable
) -> tuple[Approved, Int[Array, ""]]:
    """What was approved earlier, with the slices and flows that `filled` has now, and whether it is still safe for the
    twins as they are now: 0, or the index into `RESULTS`.

    What slices need was the window's judge's to weigh, who lived as long with it as a decision may wait for consent;
    what they need in this one slot, more or less, is not held against it. That an ended slice holds something is.
    """
    action = eqx.tree_at(
        lambda a: (a.slice_active, a.flow_bandwidth_hz, a.flow_cycles_per_s),
        approved.action,
        (filled.slice_active, filled.flow_bandwidth_hz, filled.flow_cycles_per_s),
    )
    weighed = eqx.tree_at(
        lambda f: (f.slice_demand_hz, f.slice_demand_cycles_per_s, f.slice_demand_cache_bytes),
        features,
        (
            jnp.minimum(features.slice_demand_hz, action.slice_bandwidth_hz),
            jnp.minimum(features.slice_demand_cycles_per_s, action.slice_cycles_per_s),
            jnp.minimum(features.slice_demand_cache_bytes, action.slice_cache_bytes),
        ),
    )
    code = safety_code(action, weighed, slices)
    return Approved(action, approved.policy), jnp.where(code == ISOLATION, ENDED, code)


def _any(checks: list[Violations], name: str) -> Array:
    return jnp.any(jnp.stack([getattr(check, name) for check in checks]))


def _flows_exceed(action: Action, features: Features) -> Array:
    cells, slices = action.slice_bandwidth_hz.shape
    server = features.cell_server[features.flow_cell]
    bandwidth = _pooled(action.flow_bandwidth_hz, features.flow_cell, features.flow_slice, (cells, slices))
    cycles = _pooled(action.flow_cycles_per_s, server, features.flow_slice, action.slice_cycles_per_s.shape)
    tolerance = 1e-3
    over_bandwidth = bandwidth > action.slice_bandwidth_hz + tolerance * features.cell_bandwidth_hz[:, None]
    over_cycles = cycles > action.slice_cycles_per_s + tolerance * features.server_cycles_per_s[:, None]
    return jnp.any(over_bandwidth) | jnp.any(over_cycles)


def _pooled(
    amount: Float[Array, " flows"], pool: Int[Array, " flows"], slot_slice: Int[Array, " flows"], shape: tuple[int, ...]
) -> Float[Array, "pools slices"]:
    pools, slices = shape
    return jax.ops.segment_sum(amount, pool * slices + slot_slice, pools * slices).reshape(pools, slices)
