"""Groups that compete for pools of resources at congestion prices: payoffs, exact potential, equilibrium gap."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.decision.game.gains import AbstractGain
from twinloop.decision.pools import pool_sum

TOLL = 0.1
"""Price that congestion puts on a full pool, as a part of what its groups are worth to it; *ours*."""


class ResourceGame(eqx.Module):
    """Group g chooses what it reserves of its pool of every resource m (bandwidth, cycles, cache, sensing).

    u_g = worth_g U(z_g) - sum_m x_gm (a_p + b_p X_p), z_g = min_m x_gm / d_gm, X_p = sum of x over the groups of pool
    p <= 1. All in parts of the pool: `claim` d_gm is the part that the whole demand takes, `base` a and `slope` b are
    prices in units of worth. Prices are not below zero, so a best reservation wastes nothing: x_gm = d_gm z_g, and a
    group's strategy is its level z_g in [low, high]. A group that is absent has no worth and no claims.

    Source: models.md, Slicing; paper 000, III-D.2 names such a game without its equations. Left out: floors of single
    resources, and groups of more than one pool of a resource.
    """

    worth: Float[Array, " groups"]
    claim: Float[Array, "resources groups"]
    pool: Int[Array, "resources groups"]
    base: Float[Array, " pools"]
    slope: Float[Array, " pools"]
    low: Float[Array, " groups"]
    high: Float[Array, " groups"]

    def use(self, z: Float[Array, " groups"]) -> Float[Array, " pools"]:
        """X, the part of every pool that is reserved at levels z."""
        return self.pooled(self.claim * z[None])

    def pooled(self, value: Float[Array, "resources groups"]) -> Float[Array, " pools"]:
        """Sum of `value` over the claims on every pool."""
        return pool_sum(value.reshape(-1), self.pool.reshape(-1), self.base.shape[0])

    def charged(self, price: Float[Array, " pools"]) -> Float[Array, " groups"]:
        """What a group pays a unit of level at `price` a pool."""
        return jnp.sum(self.claim * price[self.pool], axis=0)

    @property
    def own(self) -> Float[Array, " groups"]:
        """sum_m b d^2: how a group's own level raises its own price."""
        return jnp.sum(self.claim**2 * self.slope[self.pool], axis=0)

    def linear(self, z: Float[Array, " groups"], price: Float[Array, " pools"]) -> Float[Array, " groups"]:
        """alpha_g, so that group g at level y pays alpha_g y + own_g y^2 while the others stay at z.

        `price` is charged on top of a + b X: what keeps pools within their capacity.
        """
        return self.charged(self.base + price + self.slope * self.use(z)) - self.own * z

    def payoff(self, gain: AbstractGain, z: Float[Array, " groups"]) -> Float[Array, " groups"]:
        """u_g."""
        return self.worth * gain.value(z) - z * self.charged(self.base + self.slope * self.use(z))

    def potential(
        self, gain: AbstractGain, z: Float[Array, " groups"], price: Float[Array, " pools"]
    ) -> Float[Array, ""]:
        """Phi = sum_g worth U - sum_p [(a + price) X + (b/2)(X^2 + sum_g x^2)]: changes as the payoff of who moves."""
        use = self.use(z)
        crowding = 0.5 * self.slope * (use**2 + self.pooled((self.claim * z[None]) ** 2))
        return jnp.sum(self.worth * gain.value(z)) - jnp.sum((self.base + price) * use + crowding)

    def room(self, z: Float[Array, " groups"]) -> Float[Array, " groups"]:
        """The highest level that every group can take alone, the others staying at z, without overfilling a pool."""
        free = jnp.maximum(1.0 - self.use(z), 0.0)[self.pool] + self.claim * z[None]
        reach = jnp.where(self.claim > 0, free / jnp.maximum(self.claim, 1e-30), jnp.inf)
        return jnp.clip(jnp.min(reach, axis=0), self.low, self.high)

    def gains_alone(
        self, gain: AbstractGain, z: Float[Array, " groups"], price: Float[Array, " pools"], *, within: bool = False
    ) -> Float[Array, " groups"]:
        """What every group would gain by its best response over all its levels, as a part of its worth.

        `within`: over those levels only that fit beside the others. 0 for absent groups.
        """
        high = self.room(z) if within else self.high
        linear = self.linear(z, price)
        best = gain.best(self.worth, linear, self.own, self.low, high)
        more = self.worth * (gain.value(best) - gain.value(z))
        more = more - linear * (best - z) - self.own * (best**2 - z**2)
        return jnp.where(self.worth > 0, jnp.maximum(more, 0.0) / jnp.maximum(self.worth, 1e-30), 0.0)

    def gap(
        self, gain: AbstractGain, z: Float[Array, " groups"], price: Float[Array, " pools"], *, within: bool = False
    ) -> Float[Array, ""]:
        """Equilibrium gap: the most that any group gains alone, as a part of its worth; 0 at an equilibrium."""
        return jnp.max(self.gains_alone(gain, z, price, within=within), initial=0.0)


def resource_game(
    worth: Float[Array, " groups"],
    demand: Float[Array, "resources groups"],
    pool: Int[Array, "resources groups"],
    capacity: tuple[Float[Array, "_"], ...],
    present: Bool[Array, " groups"],
    toll: float = TOLL,
    low: Float[Array, " groups"] | None = None,
    high: Float[Array, " groups"] | None = None,
) -> ResourceGame:
    """The game of groups with `demand` on the pools of each resource, demand and capacity in the same units.

    `pool[m]` counts within resource m. Prices: a = 0 and b_p = toll x (worth of the pool's groups) / (their claims), so
    that in a full pool congestion costs a claim of the mean size the part `toll` of the mean worth. A pool without
    capacity is one that any claim overfills: who needs it stays at `low`.
    """
    count = [size.shape[0] for size in capacity]
    offset = jnp.asarray([sum(count[:m]) for m in range(len(count))], jnp.int32)[:, None]
    size = jnp.concatenate(capacity)
    flat = pool + offset
    asked = jnp.where(present[None], jnp.maximum(demand, 0.0), 0.0)
    held = size[flat]
    claim = jnp.where(asked > 0, asked / jnp.maximum(held, 1e-30), 0.0)
    worth = jnp.where(present, jnp.maximum(worth, 0.0), 0.0)
    bottom = jnp.zeros_like(worth) if low is None else jnp.where(present, low, 0.0)
    top = jnp.ones_like(worth) if high is None else high
    reach = jnp.min(jnp.where(claim > 0, 1.0 / jnp.maximum(claim, 1e-30), jnp.inf), axis=0)
    top = jnp.maximum(jnp.minimum(jnp.where(present, top, 0.0), reach), bottom)
    claim = jnp.minimum(claim, 1e6)
    of_pool = jax.ops.segment_sum((worth[None] * (claim > 0)).reshape(-1), flat.reshape(-1), size.shape[0])
    claims = pool_sum(claim.reshape(-1), flat.reshape(-1), size.shape[0])
    return ResourceGame(
        worth=worth,
        claim=claim,
        pool=flat,
        base=jnp.zeros_like(size),
        slope=toll * of_pool / jnp.maximum(claims, 1e-12),
        low=bottom,
        high=top,
    )
