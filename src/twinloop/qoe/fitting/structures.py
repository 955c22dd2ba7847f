"""Candidate structures (3 rules x 4 impacts), which parameters each sets free, and what is believed before ratings."""

from typing import Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.qoe.experience import IMPACTS, RULES, UserModels

PARAMETERS: Final = ("level", "quality_weight", "stall_weight", "kappa_b", "kappa_c", "log_variance")
"""Order of the parameters in arrays; all at least 0, ln s aside."""

LEAST: Final = (0.0, 0.0, 0.0, 0.0, 0.0, -3.0)
MOST: Final = (2.0, 2.0, 2.0, 2.0, 2.0, 3.0)
"""Bounds of the parameters; a variance of scores lies between .05 and 20."""

_SERVICE: Final = ((True, False, True), (False, True, False), (False, True, True))


def free_parameters() -> Bool[np.ndarray, "12 6"]:
    """Which parameters a structure fits; structure = 4 rule + impact."""
    rows = [
        (*_SERVICE[rule], impact in (1, 3), impact in (2, 3), True)
        for rule in range(len(RULES))
        for impact in range(len(IMPACTS))
    ]
    return np.asarray(rows)


class Prior(eqx.Module):
    """What is believed of a user before any rating: shares of structures, and parameters given the rule.

    `shares` sum to 1. Given a rule, the parameters it sets free are normal with `mean` and `covariance`, cut at their
    bounds; rows of other parameters are without meaning. `users` [1] is how many users the belief was learnt from: the
    weight it has against a new batch. Parameters in the order of `PARAMETERS`.
    """

    shares: Float[Array, "rules impacts"]
    mean: Float[Array, "rules parameters"]
    covariance: Float[Array, "rules parameters parameters"]
    users: Float[Array, ""]


def vague_prior() -> Prior:
    """The belief of one who has met nobody: all structures alike, parameters about the scale, within wide limits.

    S spans the scale: s0 and w_q about 1 (sd .3), w_r .1 (sd .1) a second, kappas .1 (sd .15), a variance about .8
    within a factor of 1.6 either way (sd .5 of ln s). Worth a twentieth of a user: anybody's ratings
    outweigh it.
    """
    mean = jnp.array([1.0, 1.0, 0.1, 0.1, 0.1, -0.2])
    deviation = jnp.array([0.3, 0.3, 0.1, 0.15, 0.15, 0.5])
    rules = len(RULES)
    return Prior(
        jnp.full((rules, len(IMPACTS)), 1.0 / (rules * len(IMPACTS))),
        jnp.tile(mean[None, :], (rules, 1)),
        jnp.tile(jnp.diag(deviation**2)[None, :, :], (rules, 1, 1)),
        jnp.asarray(0.05),
    )


def models_of(structure: Int[Array, " users"], parameters: Float[Array, "users parameters"]) -> UserModels:
    """Rows of parameters as models; `structure` = 4 rule + impact."""
    level, quality, stall, kappa_b, kappa_c = (parameters[:, i] for i in range(5))
    return UserModels(structure // 4, structure % 4, level, stall, quality, kappa_b, kappa_c)
