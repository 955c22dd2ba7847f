"""The clairvoyant bound: what nobody could have exceeded, had they known every slot."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_SLOTS_AT_ONCE = 64


class SatisfactionBound(eqx.Module):
    """Most satisfaction that every cell could give in every slot, and the users that asked for any.

    `satisfied` is max sum over users of min(rate / need, 1); `users` counts users of active flows with a need.
    """

    satisfied: Float[Array, "slots cells"]
    users: Float[Array, "slots cells"]

    def mean_by_slot(self) -> Float[Array, " slots"]:
        """Best mean satisfaction of each slot's users; 1 in a slot without any."""
        users = jnp.sum(self.users, axis=1)
        return jnp.where(users > 0, jnp.sum(self.satisfied, axis=1) / jnp.maximum(users, 1e-9), 1.0)

    def mean(self) -> Float[Array, ""]:
        """Best mean satisfaction over all users and slots; 1 without any."""
        users = jnp.sum(self.users)
        return jnp.where(users > 0, jnp.sum(self.satisfied) / jnp.maximum(users, 1e-9), 1.0)


def bound(
    spectral_efficiency: Float[Array, "slots flows"],
    need_bps: Float[Array, "slots flows"],
    members: Float[Array, "slots flows"],
    flow_cell: Int[Array, "slots flows"],
    flow_active: Bool[Array, "slots flows"],
    cell_bandwidth_hz: Float[Array, " cells"],
) -> SatisfactionBound:
    """Upper bound on satisfaction from realised arrays, slot by slot and cell by cell.

    max sum_f m_f x_f subject to sum_f (need_f / se_f) x_f <= W_c, 0 <= x_f <= 1, over the active flows f of cell c: a
    fractional knapsack, filled in order of m se / need (Dantzig, 1957). se [bit/s/Hz], need [bit/s], m [users], W [Hz].
    It is a relaxation of what any policy faces in a slot with the same channels, cells and needs, so none does better.

    Left out, each of which only lowers what can be reached: slices and floors, transcoding, caches, backhaul, delays,
    handover interruption, the twins' own use. Not a bound over other needs: a policy that leaves buffers in another
    state meets other needs in the next slot.
    """

    def one_slot(arrays: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array]:
        return _knapsack(*arrays, cell_bandwidth_hz)

    satisfied, users = jax.lax.map(
        one_slot,
        (spectral_efficiency, need_bps, members, flow_cell, flow_active),
        batch_size=min(_SLOTS_AT_ONCE, max(need_bps.shape[0], 1)),
    )
    return SatisfactionBound(satisfied, users)


def _knapsack(
    spectral_efficiency: Float[Array, " flows"],
    need_bps: Float[Array, " flows"],
    members: Float[Array, " flows"],
    flow_cell: Int[Array, " flows"],
    flow_active: Bool[Array, " flows"],
    cell_bandwidth_hz: Float[Array, " cells"],
) -> tuple[Float[Array, " cells"], Float[Array, " cells"]]:
    cells = cell_bandwidth_hz.shape[0]
    asks = flow_active & (need_bps > 0) & (members > 0) & (flow_cell >= 0) & (flow_cell < cells)
    cell = jnp.where(asks, flow_cell, cells)
    size = jnp.append(cell_bandwidth_hz, 0.0)[cell]
    reachable = asks & (spectral_efficiency > 1e-6) & (size > 0)
    share = need_bps / (jnp.maximum(spectral_efficiency, 1e-6) * jnp.maximum(size, 1e-6))
    share = jnp.where(reachable, share, 0.0)
    worth = jnp.where(reachable, members, 0.0)
    order = jnp.lexsort((jnp.where(reachable, share / jnp.maximum(members, 1e-9), jnp.inf), cell))
    cell, share, worth = cell[order], share[order], worth[order]
    left = 1.0 - _cumulated_before(share, cell)
    part = jnp.where(share > 0, jnp.clip(left / jnp.maximum(share, 1e-12), 0.0, 1.0), 0.0)
    satisfied = jax.ops.segment_sum(part * worth, cell, cells + 1, indices_are_sorted=True)
    users = jax.ops.segment_sum(jnp.where(asks, members, 0.0)[order], cell, cells + 1, indices_are_sorted=True)
    return satisfied[:cells], users[:cells]


def _cumulated_before(value: Float[Array, " flows"], cell: Int[Array, " flows"]) -> Float[Array, " flows"]:
    """Sum of `value` over the earlier flows of the same cell, by a scan that starts anew at each cell."""

    def add(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        return left[0] | right[0], jnp.where(right[0], right[1], left[1] + right[1])

    starts = jnp.concatenate([jnp.ones(1, bool), cell[1:] != cell[:-1]])
    return jax.lax.associative_scan(add, (starts, value))[1] - value
