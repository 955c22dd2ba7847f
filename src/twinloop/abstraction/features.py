"""The boundary type between abstraction and decision."""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int

from twinloop.abstraction.felt import Felt
from twinloop.emulation import Prospects


class Features(eqx.Module):
    """What a decision sees: flows for the slot, demand of slices for the window, capacities. Everything is the twin's
    belief.

    A flow (see `entities.Action`) is inactive when nobody listens to it. `want_bps` is the rate the player could use
    in the next slot (room in the buffer), `need_bps` the rate of the version its slice promises. `members` is the
    number of users a flow serves (1 for unicast). `cycles_per_bit` is the expected transcoding work per delivered bit.
    `felt` says how people feel, None where the twins do not follow it; `prospects`
    what the next window may bring, for policies that plan for one.
    """

    flow_active: Bool[Array, " flows"]
    flow_cell: Int[Array, " flows"]
    flow_slice: Int[Array, " flows"]
    members: Float[Array, " flows"]
    spectral_efficiency: Float[Array, " flows"]
    need_bps: Float[Array, " flows"]
    want_bps: Float[Array, " flows"]
    cycles_per_bit: Float[Array, " flows"]
    buffer_s: Float[Array, " flows"]
    average_rate_bps: Float[Array, " flows"]
    weight: Float[Array, " flows"]
    slice_demand_hz: Float[Array, "cells slices"]
    slice_demand_cycles_per_s: Float[Array, "servers slices"]
    slice_demand_cache_bytes: Float[Array, "servers slices"]
    slice_users: Float[Array, "cells slices"]
    cell_server: Int[Array, " cells"]
    cell_bandwidth_hz: Float[Array, " cells"]
    server_cycles_per_s: Float[Array, " servers"]
    server_cache_bytes: Float[Array, " servers"]
    felt: Felt | None = None
    prospects: Prospects | None = None
