"""From a learner's numbers to a network's action: slices share every pool as it says, flows share a slice by need."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.entities import Action
from twinloop.simulator import Outcome, Params, State
from twinloop.slicing import SliceTable

LOGIT_SCALE = 4.0
"""An action of 1 against one of -1 is e^8 to 1 of what is left above the floors; *ours*."""

UNTOUCHED = 0.2
"""Claim on cycles of a flow that had nothing to transcode, against one that had; *ours*."""

_LOWEST_SE = 0.05


class Needs(eqx.Module):
    """What every flow needed in the slot that is over: rate of its promised version, bandwidth that carries it."""

    cell: Int[Array, " flows"]
    slice: Int[Array, " flows"]
    need_bps: Float[Array, " flows"]
    bandwidth_hz: Float[Array, " flows"]


def pool_shares(action: Float[Array, "pools slices"], slices: SliceTable) -> Float[Array, "pools slices"]:
    """Shares of every pool (a cell's bandwidth, a server's cycles) from an action in [-1, 1].

    x_s = f_s + (1 - sum f) exp(k a_s) / sum exp(k a), over active slices, with f the floor share [1], k =
    `LOGIT_SCALE`; 0 for inactive ones. Values beyond [-1, 1] are cut. So shares are never negative, sum to 1, and keep
    every floor (rRMPolicyDedicatedRatio of 3GPP TS 28.541): no action breaks capacity or isolation.

    Left out: leaving a part of a pool unused.
    """
    weight = jnp.where(slices.active[None, :], jnp.exp(LOGIT_SCALE * jnp.clip(action, -1.0, 1.0)), 0.0)
    floor = jnp.where(slices.active, slices.floor_share, 0.0)
    free = jnp.maximum(1.0 - jnp.sum(floor), 0.0)
    return floor[None, :] + free * weight / jnp.maximum(jnp.sum(weight, axis=1, keepdims=True), 1e-12)


def flow_values(params: Params, outcome: Outcome, value: Float[Array, " users"]) -> Float[Array, " flows"]:
    """A quantity of users by flow: a unicast user's own, for a multicast bearer the largest of its members."""
    group, cells, groups = params.user_group, params.topology.cell_power_dbm.shape[0], params.group_slice.shape[0]
    present = jnp.where(outcome.active, value, 0.0)
    if groups == 0:
        return present
    bearer = jnp.where(outcome.active & (group >= 0), group * cells + outcome.serving_cell, groups * cells)
    shared = jax.ops.segment_max(present, bearer, groups * cells + 1)[:-1]
    return jnp.concatenate([jnp.where(group < 0, present, 0.0), jnp.maximum(shared, 0.0)])


def flow_needs(params: Params, outcome: Outcome) -> Needs:
    """Where every flow is, and W = need / se: bandwidth [Hz] for the promised rate [bit/s] at its efficiency.

    The efficiency is at least .05 bit/s/Hz, so that a user without a link does not ask for everything.
    """
    cells, groups = params.topology.cell_power_dbm.shape[0], params.group_slice.shape[0]
    need_bps = flow_values(params, outcome, outcome.needed_bits) / params.slot_s
    return Needs(
        cell=jnp.concatenate([outcome.serving_cell, jnp.tile(jnp.arange(cells), groups)]),
        slice=jnp.concatenate([params.user_slice, jnp.repeat(params.group_slice, cells)]),
        need_bps=need_bps,
        bandwidth_hz=need_bps / jnp.maximum(outcome.flow_spectral_efficiency, _LOWEST_SE),
    )


def slicing_action(params: Params, state: State, outcome: Outcome, action: Float[Array, "pools slices"]) -> Action:
    """The network's action for a learner's: its rows are the cells, then the servers.

    Inside a slice every flow gets of the bandwidth in proportion to need / se, of the cycles in proportion to need,
    counted at `UNTOUCHED` where nothing was transcoded or waits. All as in the slot that is over: who appears in a
    slice is served from its second slot on. Caches are shared evenly by active slices.
    """
    topology, slices = params.topology, params.slices
    cells, count = topology.cell_power_dbm.shape[0], slices.active.shape[0]
    shares, needs = pool_shares(action, slices), flow_needs(params, outcome)
    transcoding = (flow_values(params, outcome, outcome.transcoded_bits) > 0) | (state.queue_bits > 0)
    work = needs.need_bps * jnp.where(transcoding, 1.0, UNTOUCHED)
    bandwidth = shares[:cells] * topology.cell_bandwidth_hz[:, None]
    cycles = shares[cells:] * topology.server_cycles_per_s[:, None]

    def by_need(need: Float[Array, " flows"], pool: Int[Array, " flows"], reserved: Array) -> Float[Array, " flows"]:
        place = pool * count + needs.slice
        asked = jax.ops.segment_sum(need, place, reserved.size)[place]
        return need / jnp.maximum(asked, 1e-6) * reserved.reshape(-1)[place]

    even = slices.active / jnp.maximum(jnp.sum(slices.active), 1)
    return Action(
        slice_active=slices.active,
        slice_bandwidth_hz=bandwidth,
        slice_cycles_per_s=cycles,
        slice_cache_bytes=topology.server_cache_bytes[:, None] * even[None, :],
        flow_bandwidth_hz=by_need(needs.bandwidth_hz, needs.cell, bandwidth),
        flow_cycles_per_s=by_need(work, topology.cell_server[needs.cell], cycles),
    )
