"""The distribution of users' demand by service and cell: what level-two agents slice by."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class DemandDistribution(eqx.Module):
    """Demand of all users of one service in one cell, in every sample of the emulated future (paper 000, III-D.1).

    `total` is in the units of the users' demand; `users` counts them.
    """

    total: Float[Array, "samples cells services resources"]
    users: Float[Array, "cells services"]

    def mean(self) -> Float[Array, "cells services resources"]:
        """Expected demand."""
        return jnp.mean(self.total, axis=0)

    def quantile(self, share: float) -> Float[Array, "cells services resources"]:
        """Demand that is not exceeded in `share` of the samples."""
        return jnp.quantile(self.total, share, axis=0)


def demand_distribution(
    demand: Float[Array, "samples users resources"],
    cell: Int[Array, " users"],
    service: Int[Array, " users"],
    present: Bool[Array, " users"],
    cells: int,
    services: int,
) -> DemandDistribution:
    """Sums over the users of the same service in the same cell; who is absent counts for nothing.

    Rows of `cell` and `service` outside the table are left out.
    """
    inside = present & (cell >= 0) & (cell < cells) & (service >= 0) & (service < services)
    table = jnp.where(inside, cell * services + service, cells * services)

    def summed(each: Float[Array, "users resources"]) -> Float[Array, "cells services resources"]:
        kept = jnp.where(inside[:, None], each, 0.0)
        rows = jax.ops.segment_sum(kept, table, cells * services + 1)[:-1]
        return rows.reshape(cells, services, each.shape[1])

    count = jax.ops.segment_sum(inside.astype(jnp.float32), table, cells * services + 1)[:-1]
    return DemandDistribution(jax.vmap(summed)(demand), count.reshape(cells, services))
