"""Models of many users from their ratings, one model for everybody, and the experience they foretell."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.qoe.experience import Conditions, UserModels
from twinloop.qoe.fitting.choice import likeliest
from twinloop.qoe.fitting.likelihood import Ratings, mean_and_slope
from twinloop.qoe.fitting.newton import Belief, minimise
from twinloop.qoe.fitting.population import (
    MOST_STEPS,
    Fits,
    fit_given,
    follow_prior,
    learn_prior,
)
from twinloop.qoe.fitting.structures import Prior, models_of

_AT_A_TIME = 32


class FittedUsers(eqx.Module):
    """What is known of each user's model after the ratings.

    `models` have the likeliest structure (see `likeliest`). `probability` of the
    structures (4 rule + impact); `parameters` and their `covariance` given each structure, in the order of
    `PARAMETERS`; `count` ratings, weak ones by weight; `variance` of scores around E [score^2]; `prior` that all this
    rests on.
    """

    models: UserModels
    probability: Float[Array, "users structures"]
    parameters: Float[Array, "users structures parameters"]
    covariance: Float[Array, "users structures parameters parameters"]
    variance: Float[Array, " users"]
    count: Float[Array, " users"]
    prior: Prior

    @property
    def structure(self) -> Int[Array, " users"]:
        """4 rule + impact of `models`."""
        return 4 * self.models.rule + self.models.impact

    @property
    def blend(self) -> UserModels:
        """Models with parameters averaged over the structures by probability; rule and impact are the likeliest.

        S is linear in its parameters, so before the clip S of the blend is the average S, where few ratings leave the
        rule open: the model to plan with. All parameters may be free in it.
        """
        mean = jnp.einsum("us,usp->up", self.probability, self.parameters)
        return models_of(self.structure, mean)


def fit_users(
    ratings: Ratings, prior: Prior | None = None, *, before: Prior | None = None, rounds: int = 5
) -> FittedUsers:
    """A model for each user: all 12 structures by truncated likelihood and prior, weighed by their evidence.

    Without a `prior` it is learnt from these users in `rounds` (see `learn_prior`, to which `before` goes). A user
    without ratings gets the prior's model. Weights and kappas are at least 0. Left out: ratings that depend on those
    before them.
    """
    if prior is None:
        prior = learn_prior(ratings, before, rounds)
    return _fitted(ratings, prior, None)


def fit_on(fitted: FittedUsers, ratings: Ratings, before: Prior) -> FittedUsers:
    """Models of users who were `fitted` when they had rated less: a prior one round on, fits from where those ended.

    A quarter of the work of `fit_users` (ADR 0013). `before` as there; `ratings` in the rows that `fitted` has.
    """
    prior = follow_prior(ratings, before, fitted.prior, fitted.parameters)
    return _fitted(ratings, prior, fitted.parameters)


def _fitted(ratings: Ratings, prior: Prior, known: Float[Array, "users structures parameters"] | None) -> FittedUsers:
    def fit(some: tuple[Ratings, Float[Array, "users structures parameters"] | None]) -> Fits:
        return fit_given(some[0], prior, some[1])

    users = ratings.score.shape[0]
    blocks = -(-users // _AT_A_TIME)
    if blocks == 1:
        fits = fit((ratings, known))
    else:
        spare = blocks * _AT_A_TIME - users
        whole = (ratings, known)
        padded = jax.tree.map(lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], spare, axis=0)]), whole)
        stacked = jax.tree.map(lambda leaf: leaf.reshape(blocks, _AT_A_TIME, *leaf.shape[1:]), padded)
        many = jax.lax.map(fit, stacked)
        fits = jax.tree.map(lambda leaf: leaf.reshape(blocks * _AT_A_TIME, *leaf.shape[2:])[:users], many)
    return _chosen(fits.probability, fits.posterior.mean, fits.posterior.covariance, ratings, prior)


def _chosen(
    probability: Float[Array, "users structures"],
    parameters: Float[Array, "users structures parameters"],
    covariance: Float[Array, "users structures parameters parameters"],
    ratings: Ratings,
    prior: Prior,
) -> FittedUsers:
    structure = likeliest(jnp.log(jnp.maximum(probability, 1e-30)))
    own = jnp.take_along_axis(parameters, structure[:, None, None], axis=1)[:, 0]
    return FittedUsers(
        models_of(structure, own),
        probability,
        parameters,
        covariance,
        jnp.exp(own[:, 5]),
        ratings.count,
        prior,
    )


def general_model(ratings: Ratings) -> tuple[UserModels, Float[Array, ""]]:
    """One model for everybody, a row a user, and the variance of scores around its E [score^2].

    All ratings of all users count as one person's, and every parameter is free.

    The opponent of user-specific models. `rule` and `impact` are those in which both count, though s0 is free too:
    only so can one model hold a population that is split over the rules.
    """
    users = ratings.score.shape[0]
    pooled = jax.tree.map(lambda leaf: leaf.reshape(1, -1), ratings)
    start = jnp.array([[[0.3, 0.6, 0.05, 0.05, 0.05, 0.0]]])
    weak = Belief(start, 1e-3 * jnp.eye(6)[None, None])
    optimum = minimise(start, jnp.ones((1, 1, 6), bool), pooled, weak, 2 * MOST_STEPS)
    found = optimum.parameters[0]
    return models_of(jnp.full((users,), 11), jnp.broadcast_to(found, (users, 6))), jnp.exp(found[0, 5])


def predict(
    fitted: FittedUsers, conditions: Conditions
) -> tuple[Float[Array, "users periods"], Float[Array, "users periods"]]:
    """Mean and standard deviation of E in every period (`conditions` are users x periods), over all structures.

    Var = sum_k p_k (g' C_k g + E_k^2) - mean^2, g the slope of E: of the experience itself, not of a score, whose
    spread comes on top.
    """
    value, slope = mean_and_slope(fitted.parameters, conditions)
    doubt = jnp.einsum("uspn,uspq,usqn->usn", slope, fitted.covariance[:, :, :5, :5], slope)
    mean = jnp.einsum("us,usn->un", fitted.probability, value)
    square = jnp.einsum("us,usn->un", fitted.probability, doubt + (value - mean[:, None, :]) ** 2)
    return mean, jnp.sqrt(square)
