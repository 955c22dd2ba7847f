"""Capacity and isolation: what no decision may break, checked before anything is enforced."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.slicing.specification import SliceTable


class Violations(eqx.Module):
    """Which invariant a set of reservations breaks; all False is safe."""

    capacity: Bool[Array, ""]
    isolation: Bool[Array, ""]
    not_finite: Bool[Array, ""]


def capacity_and_isolation(
    table: SliceTable,
    reserved: Float[Array, "pools slices"],
    capacity: Float[Array, " pools"],
    demand: Float[Array, "pools slices"],
    tolerance: float = 1e-3,
) -> Violations:
    """Checks reservations of one resource, `reserved` and `capacity` in the same unit.

    Capacity: per pool (a cell or server) the reservations sum to at most the capacity. Isolation: every active slice
    keeps min(floor share x capacity, its own `demand`), so no other slice can push it below what it was promised and
    needs; an inactive slice has nothing. `tolerance` is relative to the capacity.
    """
    scale = capacity[:, None] * tolerance
    floor = jnp.minimum(table.floor_share[None, :] * capacity[:, None], demand)
    below = jnp.where(table.active, reserved < floor - scale, reserved > scale)
    return Violations(
        capacity=jnp.any(jnp.sum(reserved, axis=1) > capacity * (1 + tolerance)) | jnp.any(reserved < -scale),
        isolation=jnp.any(below),
        not_finite=~jnp.all(jnp.isfinite(reserved)),
    )
