"""How good an equilibrium is: against the best that anybody could arrange, and how evenly it is shared."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.decision.game.clearing import Objective, clear_pools
from twinloop.decision.game.gains import AbstractGain
from twinloop.decision.game.resource_game import ResourceGame


class Efficiency(eqx.Module):
    """An equilibrium against the social optimum, which is known by a bound: no levels reach more.

    `payoff` is sum_g u_g with congestion as a cost, `gain` sum_g worth U alone, each with its bound. `price_of_anarchy`
    = payoff_bound / payoff is an upper bound on what this equilibrium costs, infinite where nobody gets anything;
    `jain` Jain's index of the gains U of those present.
    """

    payoff: Float[Array, ""]
    payoff_bound: Float[Array, ""]
    gain: Float[Array, ""]
    gain_bound: Float[Array, ""]
    price_of_anarchy: Float[Array, ""]
    jain: Float[Array, ""]


def efficiency(
    game: ResourceGame, gain: AbstractGain, surrogate: AbstractGain, z: Float[Array, " groups"]
) -> Efficiency:
    """`z` against dual bounds on the concave `surrogate` >= `gain`: with congestion as a cost, and for gains alone."""
    nothing = jnp.zeros_like(game.worth)
    social = clear_pools(game, surrogate, Objective(nothing, 2.0 * game.slope))
    alone = eqx.tree_at(lambda g: g.base, game, jnp.zeros_like(game.base))
    gains = clear_pools(alone, surrogate, Objective(nothing, jnp.zeros_like(game.slope)))
    payoff = jnp.sum(game.payoff(gain, z))
    reached = gain.value(z)
    return Efficiency(
        payoff=payoff,
        payoff_bound=social.bound,
        gain=jnp.sum(game.worth * reached),
        gain_bound=gains.bound,
        price_of_anarchy=jnp.where(payoff > 0, social.bound / jnp.maximum(payoff, 1e-12), jnp.inf),
        jain=jain_index(reached, game.worth > 0),
    )


def jain_index(value: Float[Array, " groups"], present: Bool[Array, " groups"]) -> Float[Array, ""]:
    """(sum v)^2 / (n sum v^2) over those present: 1 where all have the same, 1/n where one has all; 1 without any.

    Source: Jain, Chiu and Hawe, 1984.
    """
    held = jnp.where(present, value, 0.0)
    square = jnp.sum(present) * jnp.sum(held**2)
    return jnp.where(square > 0, jnp.sum(held) ** 2 / jnp.maximum(square, 1e-30), 1.0)
