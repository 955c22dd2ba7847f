"""What a simulated slot really asked for, by flow: for scoring and bounds, never for twins."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.simulator import Outcome, Params

_LOWEST_EFFICIENCY = 1e-3


class RealisedFlows(eqx.Module):
    """One slot's truth by flow: `need_bps` for one slot of playback in the promised version, at
    `spectral_efficiency`.
    """

    active: Bool[Array, " flows"]
    cell: Int[Array, " flows"]
    members: Float[Array, " flows"]
    need_bps: Float[Array, " flows"]
    spectral_efficiency: Float[Array, " flows"]


def realised_flows(params: Params, outcome: Outcome) -> RealisedFlows:
    """Unicast users as they are; a multicast bearer needs the mean of its members' needs at its weakest link."""
    cells, groups = params.topology.cell_server.shape[0], params.group_slice.shape[0]
    bearers = groups * cells
    unicast = outcome.active & (params.user_group < 0)
    listens = outcome.active & (params.user_group >= 0)
    bearer = jnp.where(listens, params.user_group * cells + outcome.serving_cell, bearers)
    need = outcome.needed_bits / params.slot_s
    members = jax.ops.segment_sum(listens.astype(jnp.float32), bearer, bearers + 1)[:bearers]
    shared = jax.ops.segment_sum(jnp.where(listens, need, 0.0), bearer, bearers + 1)[:bearers]
    weakest = jax.ops.segment_min(outcome.spectral_efficiency, bearer, bearers + 1)[:bearers]
    own_cell = jnp.tile(jnp.arange(cells, dtype=jnp.int32), groups)
    efficiency = jnp.concatenate([outcome.spectral_efficiency, jnp.where(members > 0, weakest, 1.0)])
    return RealisedFlows(
        active=jnp.concatenate([unicast, members > 0]),
        cell=jnp.concatenate([outcome.serving_cell, own_cell]),
        members=jnp.concatenate([unicast.astype(jnp.float32), members]),
        need_bps=jnp.concatenate([jnp.where(unicast, need, 0.0), shared / jnp.maximum(members, 1.0)]),
        spectral_efficiency=jnp.maximum(efficiency, _LOWEST_EFFICIENCY),
    )


def realised_load_hz(params: Params, outcome: Outcome) -> Float[Array, " cells"]:
    """Bandwidth that the slot's needs ask of each cell: sum over its flows of need / spectral efficiency.

    A flow counts at most the cell's whole bandwidth W, so that one user without a signal is one cell's load and not a
    thousand's. The load factor of a run is this over the cells' bandwidth.
    """
    flows = realised_flows(params, outcome)
    bandwidth = params.topology.cell_bandwidth_hz
    asked = jnp.minimum(flows.need_bps / flows.spectral_efficiency, bandwidth[flows.cell])
    return jax.ops.segment_sum(jnp.where(flows.active, asked, 0.0), flows.cell, bandwidth.shape[0])
