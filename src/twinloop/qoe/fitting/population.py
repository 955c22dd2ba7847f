"""The belief about a user that a population of users supports: empirical Bayes by expectation and maximisation."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinloop.qoe.experience import IMPACTS, RULES
from twinloop.qoe.fitting.laplace import Posterior, belief_of, posterior_of
from twinloop.qoe.fitting.likelihood import Ratings, evaluate
from twinloop.qoe.fitting.newton import minimise, with_belief
from twinloop.qoe.fitting.structures import LEAST, MOST, PARAMETERS, Prior, free_parameters, vague_prior

MOST_STEPS = 25
_INNER = 40
_FIRM, _FADE, _FEW = 2.0, 0.3, 5.5
_MOST_USERS = 1024
_MOST_CORRELATION = 0.95
_GUESSES = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    (0.4, 0.4, 0.1, 0.5, 0.5, 1.0),
    (0.5, 0.5, 0.5, 0.5, 0.5, 1.0),
    (0.8, 0.8, 0.3, 1.0, 1.0, 1.0),
)
_LEAST_FOR_SPREAD = 6.0


class Fits(eqx.Module):
    """Optimum and posterior of every user under every structure."""

    parameters: Float[Array, "users structures parameters"]
    posterior: Posterior

    @property
    def probability(self) -> Float[Array, "users structures"]:
        """Probabilities of the structures given the ratings."""
        return jax.nn.softmax(self.posterior.evidence, axis=-1)


def fit_given(ratings: Ratings, prior: Prior, known: Float[Array, "users structures parameters"] | None = None) -> Fits:
    """All structures of all users under `prior`, from a `first_guess` or what was `known` before."""
    free = jnp.asarray(free_parameters())[None]
    belief = belief_of(prior)
    optimum = minimise(first_guess(ratings, prior, known), free, ratings, belief, MOST_STEPS)
    return Fits(optimum.parameters, posterior_of(optimum, prior))


def first_guess(
    ratings: Ratings, prior: Prior, known: Float[Array, "users structures parameters"] | None = None
) -> Float[Array, "users structures parameters"]:
    """Where a fit starts: of four guesses about the prior's means, and what was `known` before if anything was, the one
    of least loss, by user and structure.

    A rule that is not the user's own has more than one valley; from the means alone every tenth fit ends in a higher
    one.
    """
    belief = belief_of(prior)
    shape = (ratings.score.shape[0], *belief.mean.shape[1:])
    guesses = [jnp.broadcast_to(belief.mean * jnp.array(scale)[None, None], shape) for scale in _GUESSES]
    tried = jnp.stack(guesses if known is None else [*guesses, known])
    guesses = jnp.clip(tried, jnp.array(LEAST)[None, None, None], jnp.array(MOST)[None, None, None])
    losses = jax.lax.map(lambda at: with_belief(evaluate(at, ratings), at, belief).loss, guesses)
    best = jnp.argmin(losses, axis=0)
    return jnp.take_along_axis(guesses, best[None, :, :, None], axis=0)[0]


def learn_prior(ratings: Ratings, before: Prior | None = None, rounds: int = 5) -> Prior:
    """The belief supported by users who rated, `before` (default: the vague one) counting as its number of users.

    `rounds` of expectation (posteriors of structures and parameters under the belief so far) and maximisation (their
    shares and moments). A user's weight, kappas and spread are drawn independently given the rule, and kappas alike
    under all rules. `before` begins with the weight of 2 users at least, which fades, though not below
    (5.5 / mean ratings a user)^2: where people rated thrice, spreads would else shrink to nothing. From at most 1,024
    users, evenly picked, when there are more.
    """
    before = vague_prior() if before is None else before
    ratings = _some(ratings)

    def renew(turn: Array, state: tuple[Prior, Array]) -> tuple[Prior, Array]:
        return _renewed(ratings, before, *state, _FIRM * _FADE**turn)

    prior, _ = jax.lax.fori_loop(0, rounds, renew, (before, first_guess(ratings, before)))
    return eqx.tree_at(lambda one: one.users, prior, before.users + jnp.sum(ratings.count > 0.0))


def follow_prior(
    ratings: Ratings, before: Prior, prior: Prior, known: Float[Array, "users structures parameters"]
) -> Prior:
    """One more round of `learn_prior`: from the `prior` and parameters `known` when the same users had rated less."""
    ratings, known = _some(ratings), _some(known)
    renewed, _ = _renewed(ratings, before, prior, first_guess(ratings, prior, known), 0.0)
    return eqx.tree_at(lambda one: one.users, renewed, before.users + jnp.sum(ratings.count > 0.0))


def _some(of_users: Any) -> Any:
    """Rows of at most 1,024 users, evenly picked."""
    users = jax.tree.leaves(of_users)[0].shape[0]
    pick = np.linspace(0, users - 1, min(users, _MOST_USERS)).astype(np.int32)
    return of_users if users <= _MOST_USERS else jax.tree.map(lambda leaf: leaf[pick], of_users)


def _renewed(
    ratings: Ratings,
    before: Prior,
    prior: Prior,
    parameters: Float[Array, "users structures parameters"],
    firmness: Float[Array, ""] | float,
) -> tuple[Prior, Float[Array, "users structures parameters"]]:
    """Expectation and maximisation once, `before` counting as `firmness` users, not less than it must."""
    rated = jnp.sum(ratings.count > 0.0)
    often = jnp.sum(ratings.weight) / jnp.maximum(rated, 1.0)
    least = jnp.maximum(before.users, (_FEW / jnp.maximum(often, 1.0)) ** 2)
    firm = eqx.tree_at(lambda one: one.users, before, jnp.maximum(least, firmness))
    free = jnp.asarray(free_parameters())[None]
    optimum = minimise(parameters, free, ratings, belief_of(prior), MOST_STEPS)

    def believe(_: Array, now: Prior) -> Prior:
        return _maximised(posterior_of(optimum, now), ratings.count, firm)

    return jax.lax.fori_loop(0, _INNER, believe, prior), optimum.parameters


def _maximised(posterior: Posterior, count: Float[Array, " users"], before: Prior) -> Prior:
    """Shares and moments of the posteriors, each with `before` counted as its number of users.

    The spread of scores is learnt from users with more than 6 ratings, fully from 16 on: fits of fewer leave hardly
    any residuals, and a population that believed them would believe in no spread at all.
    """
    rated = count > 0.0
    weight = jax.nn.softmax(posterior.evidence, axis=-1) * rated[:, None]
    rules, impacts = len(RULES), len(IMPACTS)
    shares = before.users * before.shares + jnp.sum(weight, axis=0).reshape(rules, impacts)
    shares = jnp.sum(shares, axis=1)[:, None] * jnp.sum(shares, axis=0)[None, :]
    number = jnp.arange(len(PARAMETERS))
    sure = jnp.clip((count - _LEAST_FOR_SPREAD) / 10.0, 0.0, 1.0)
    trust = jnp.where(number[None, :] == 5, sure[:, None], 1.0)[:, None, :] * jnp.asarray(free_parameters())[None]
    kappa = (number == 3) | (number == 4)

    def total(
        values: Float[Array, "users structures *rest"], pooled: Bool[Array, "..."]
    ) -> Float[Array, "rules *rest"]:
        """Sums over users and impacts; over rules too for kappas, which all rules share."""
        summed = jnp.einsum("us,us...->s...", weight, values)
        summed = jnp.sum(summed.reshape(rules, impacts, *summed.shape[1:]), axis=1)
        return jnp.where(pooled[None], jnp.sum(summed, axis=0, keepdims=True), summed)

    own = before.users * jnp.sum(before.shares, axis=1)[:, None]
    held = jnp.where(kappa[None], before.users, own)
    mean = (held * before.mean + total(trust * posterior.mean, kappa)) / (held + total(trust, kappa))
    away = posterior.mean - jnp.repeat(mean, impacts, axis=0)[None]
    square = posterior.covariance + away[..., :, None] * away[..., None, :]
    pair, both = trust[..., :, None] * trust[..., None, :], kappa[:, None] & kappa[None, :]
    held = jnp.where(both[None], before.users, own[:, :, None])
    shift = mean - before.mean
    old = before.covariance + shift[:, :, None] * shift[:, None, :]
    covariance = (held * old + total(pair * square, both)) / (held + total(pair, both))
    return Prior(shares / jnp.sum(shares), mean, _kept_apart(covariance), before.users + jnp.sum(rated))


def _kept_apart(covariance: Float[Array, "rules parameters parameters"]) -> Float[Array, "rules parameters parameters"]:
    """Independent blocks (service, kappas, spread), correlations within them at most .95."""
    block = jnp.array([0, 0, 0, 1, 1, 2])
    same = block[:, None] == block[None, :]
    deviation = jnp.sqrt(jnp.diagonal(covariance, axis1=-2, axis2=-1))
    scale = deviation[:, :, None] * deviation[:, None, :]
    bounded = jnp.clip(covariance / scale, -_MOST_CORRELATION, _MOST_CORRELATION) * scale
    diagonal = jnp.eye(6, dtype=bool)
    return jnp.where(diagonal[None], covariance, jnp.where(same[None], bounded, 0.0))
