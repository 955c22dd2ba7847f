"""Level two: slice twins abstracted from the twins of the slice's users and from what the slice is given.

Paper 003, section II-C, virtualization layer 4.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.collection import Seen
from twinloop.entities import SLICE_ATTRIBUTES, USER_ATTRIBUTES, Action, column
from twinloop.simulator import Radio, spectral_efficiency
from twinloop.slicing import SliceTable
from twinloop.twins.assimilation import write
from twinloop.twins.table import Twins, admit, retire

_SINR = column(USER_ATTRIBUTES, "sinr_db")
_RATE = column(USER_ATTRIBUTES, "rate_bps")
_BUFFER = column(USER_ATTRIBUTES, "buffer_s")
_TRANSCODE = column(USER_ATTRIBUTES, "transcode_share")


def aggregate_slices(
    twins: Twins,
    user_slice: Int[Array, " users"],
    promises: SliceTable,
    standing: Action,
    slot: Int[Array, ""],
    *,
    radio: Radio,
    cycles_per_bit: float | Float[Array, ""],
) -> Twins:
    """Twins with the slice twins written from the user twins, the promises and the standing decision.

    Over the active users u of slice s with promised rate R_s (bit/s), spectral efficiency se_u (bit/s/Hz,
    `simulator.spectral_efficiency` of the reported SINR in the `radio` that the twin believes in) and transcoded share
    k_u:
    demand_bps = sum R_s, demand_bandwidth_hz = sum R_s / se_u, demand_cycles_per_s = sum R_s k_u `cycles_per_bit`,
    rate_bps = sum rate_u, satisfaction = mean min(rate_u / R_s, 1), buffer_s = mean buffer_u. The reserved amounts are
    those of `standing` over all cells and servers. An empty slice has satisfaction 1: nobody is let down. A user with
    slice -1 is in none. Only active slices are written; one that ended is retired, one created in its row starts
    without history.

    Left out: a multicast bearer counts once for each of its listeners; `abstraction` counts it once a cell.
    """
    known = twins.users.current.slot >= 0
    value = jnp.where(known, twins.users.current.value, 0.0)
    slices = promises.active.shape[0]
    row = jnp.where(twins.users.current.active & (user_slice >= 0), user_slice, slices)

    def total(of_user: Float[Array, " users"]) -> Float[Array, " slices"]:
        return jax.ops.segment_sum(of_user, row, num_segments=slices + 1)[:slices]

    target_bps = promises.target_bps.at[row].get(mode="fill", fill_value=0.0)
    efficiency = spectral_efficiency(radio, value[:, _SINR])
    users = total(jnp.ones_like(target_bps))
    satisfied = jnp.minimum(value[:, _RATE] / jnp.maximum(target_bps, 1.0), 1.0)
    columns = {
        "users": users,
        "demand_bps": total(target_bps),
        "demand_bandwidth_hz": total(target_bps / jnp.maximum(efficiency, 0.01)),
        "demand_cycles_per_s": total(target_bps * value[:, _TRANSCODE] * cycles_per_bit),
        "reserved_bandwidth_hz": jnp.sum(standing.slice_bandwidth_hz, axis=0),
        "reserved_cycles_per_s": jnp.sum(standing.slice_cycles_per_s, axis=0),
        "reserved_cache_bytes": jnp.sum(standing.slice_cache_bytes, axis=0),
        "rate_bps": total(value[:, _RATE]),
        "satisfaction": jnp.where(users > 0, total(satisfied) / jnp.maximum(users, 1.0), 1.0),
        "buffer_s": total(value[:, _BUFFER]) / jnp.maximum(users, 1.0),
    }
    stacked = jnp.stack([columns[attribute.name] for attribute in SLICE_ATTRIBUTES], axis=1)
    fresh = jnp.broadcast_to(promises.active[:, None], stacked.shape)
    nothing = jnp.zeros((), jnp.int32)
    seen = Seen(
        value=stacked,
        fresh=fresh,
        slot=jnp.full(stacked.shape, 0, jnp.int32) + slot,
        bits=jnp.zeros(()),
        reports=nothing,
        late=nothing,
        duplicates=nothing,
    )
    admitted = admit(twins.slices, promises.active & ~twins.slices.current.active)
    table = retire(write(admitted, "slices", seen, None, slot), ~promises.active)
    return eqx.tree_at(lambda t: t.slices, twins, table)
