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
    users: Float[Array, "samples cells services"]

    def mean(self) -> Float[Array, "cells services resources"]:
        """Expected demand."""
        return jnp.mean(self.total, axis=0)

    def quantile(self, share: float) -> Float[Array, "cells services resources"]:
        """Demand that is not exceeded in `share` of the samples."""
        return jnp.quantile(self.total, share, axis=0)


def demand_distribution(
    demand: Float[Array, "samples users resources"],
    cell: Int[Array, "samples users"],
    service: Int[Array, " users"],
    present: Float[Array, " users"] | Bool[Array, " users"],
    cells: int,
    services: int,
) -> DemandDistribution:
    """Sums over the users of the same service in the same cell; who is absent counts for nothing.

    `present` may count how many people a row stands for. Rows of `cell` and `service` outside the table are left out.
    """
    count = present.astype(jnp.float32)

    def summed(
        each: Float[Array, "users resources"], where: Int[Array, " users"]
    ) -> tuple[Float[Array, "cells services resources"], Float[Array, "cells services"]]:
        inside = (count > 0) & (where >= 0) & (where < cells) & (service >= 0) & (service < services)
        row = jnp.where(inside, where * services + service, cells * services)
        kept = jnp.concatenate([jnp.where(inside[:, None], each, 0.0), count[:, None]], axis=1)
        sums = jax.ops.segment_sum(kept, row, cells * services + 1)[:-1].reshape(cells, services, -1)
        return sums[..., :-1], sums[..., -1]

    return DemandDistribution(*jax.vmap(summed)(demand, cell))
