"""What a learner sees of a slot, cell by cell, and how well its people were served."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.envs.sharing import flow_needs, flow_values
from twinloop.simulator import Outcome, Params, State

SLICE_FEATURES = ("users", "bandwidth_demand", "cycles_demand", "satisfaction", "buffer")
CELL_FEATURES = ("load", "server_utilisation", "server_queue")


class Served(eqx.Module):
    """How well people were served in one slot: means over the users present, weighted by their slice's weight.

    `satisfaction` is the mean of min(delivered / needed, 1), `stall_share` that of rebuffer time / slot; of a cell or
    slice without users 1 and 0: nobody lacks anything.
    """

    satisfaction: Float[Array, ""]
    stall_share: Float[Array, ""]
    cell_satisfaction: Float[Array, " cells"]
    cell_stall_share: Float[Array, " cells"]
    slice_satisfaction: Float[Array, " slices"]


def served(params: Params, outcome: Outcome) -> Served:
    """Satisfaction and stalls of the network, its cells and its slices."""
    cells, slices = params.topology.cell_power_dbm.shape[0], params.slices.active.shape[0]
    weight = jnp.where(outcome.active, params.slices.weight[params.user_slice], 0.0)
    got, stalled = _satisfaction(outcome), outcome.rebuffer_s / params.slot_s

    def mean(value: Array, group: Array, groups: int, empty: float) -> Array:
        total = jax.ops.segment_sum(weight, group, groups)
        each = jax.ops.segment_sum(weight * value, group, groups) / jnp.maximum(total, 1e-12)
        return jnp.where(total > 0, each, empty)

    everywhere = jnp.zeros_like(params.user_slice)
    return Served(
        satisfaction=mean(got, everywhere, 1, 1.0)[0],
        stall_share=mean(stalled, everywhere, 1, 0.0)[0],
        cell_satisfaction=mean(got, outcome.serving_cell, cells, 1.0),
        cell_stall_share=mean(stalled, outcome.serving_cell, cells, 0.0),
        slice_satisfaction=mean(got, params.user_slice, slices, 1.0),
    )


def observe_cells(params: Params, state: State, outcome: Outcome) -> Float[Array, "cells features"]:
    """What every cell reports of the slot that is over, each feature in [-1, 1].

    `SLICE_FEATURES` of the first slice, of the second, ..., then `CELL_FEATURES`. A share x in [0, 1] stands as 2 x - 1
    (satisfaction, mean buffer / cap, load, utilisation of the cell's server); a ratio without upper bound as
    2 x / (1 + x) - 1, which is 0 where demand equals supply: users against an even spread over cells and slices, need
    / se against the cell's bandwidth, bits transcoded or waiting to be x cycles per bit against a slot of its server,
    all work waiting there likewise. Only what a network measures; no position, no swipe to come.
    """
    topology, slot_s = params.topology, params.slot_s
    cells, slices = topology.cell_power_dbm.shape[0], params.slices.active.shape[0]
    shape, needs = (cells, slices), flow_needs(params, outcome)
    user_place, flow_place = outcome.serving_cell * slices + params.user_slice, needs.cell * slices + needs.slice

    def total(value: Array, place: Array) -> Float[Array, "cells slices"]:
        return jax.ops.segment_sum(value, place, cells * slices).reshape(shape)

    present = outcome.active.astype(jnp.float32)
    users = total(present, user_place)

    def mean(value: Float[Array, " users"], empty: float) -> Float[Array, "cells slices"]:
        return jnp.where(users > 0, total(value * present, user_place) / jnp.maximum(users, 1.0), empty)

    capacity = (topology.server_cycles_per_s * slot_s)[topology.cell_server]
    work = (flow_values(params, outcome, outcome.transcoded_bits) + state.queue_bits) * params.edge.cycles_per_bit
    of_slices = (
        _ratio(users * (cells * slices / present.shape[0])),
        _ratio(total(needs.bandwidth_hz, flow_place) / topology.cell_bandwidth_hz[:, None]),
        _ratio(total(work, flow_place) / capacity[:, None]),
        _share(mean(_satisfaction(outcome), 1.0)),
        _share(mean(outcome.buffer_s / params.player.buffer_cap_s, 1.0)),
    )
    of_cells = (
        _share(outcome.load),
        _share(outcome.utilisation[topology.cell_server]),
        _ratio(outcome.queue_cycles[topology.cell_server] / capacity),
    )
    by_slice = jnp.stack(of_slices, axis=2).reshape(cells, -1)
    return jnp.concatenate([by_slice, jnp.stack(of_cells, axis=1)], axis=1)


def _satisfaction(outcome: Outcome) -> Float[Array, " users"]:
    enough = outcome.needed_bits <= 0
    return jnp.where(enough, 1.0, jnp.minimum(outcome.delivered_bits / jnp.maximum(outcome.needed_bits, 1.0), 1.0))


def _share(value: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.clip(2.0 * value - 1.0, -1.0, 1.0)


def _ratio(value: Float[Array, "..."]) -> Float[Array, "..."]:
    bounded = jnp.maximum(value, 0.0)
    return jnp.clip(2.0 * bounded / (1.0 + bounded) - 1.0, -1.0, 1.0)
