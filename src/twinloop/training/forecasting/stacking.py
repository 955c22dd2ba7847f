"""How much each candidate counts, and how wide its intervals must be: learned on files that it has not seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64

from twinloop.learning import LEVELS, quantile_score
from twinloop.training.forecasting.linear import weighted_quantiles

_DRAWN = 4_000
_ITERATIONS = 120
_RATE = 0.1
_NARROWEST, _WIDEST = 0.5, 3.0
_CAUTION = 0.05


@dataclass(frozen=True)
class Unseen:
    """Forecasts of one horizon on files their candidates had not seen.

    `weight` sums to 1 over the points of all files, each file alike; `std` is that of the point's file.
    """

    mean: Float64[np.ndarray, "points candidates"]
    quantiles: Float64[np.ndarray, "points candidates levels"]
    truth: Float64[np.ndarray, " points"]
    std: Float64[np.ndarray, " points"]
    weight: Float64[np.ndarray, " points"]


def shares(
    unseen: Sequence[Unseen],
) -> tuple[Float64[np.ndarray, "horizons candidates"], Float64[np.ndarray, "horizons candidates"]]:
    """Shares of the candidates in the mean and in the quantiles, by horizon: at least 0, and 1 together.

    They have the lowest squared error of the mean and the lowest CRPS, in standard deviations of the files, on a sample
    of the points; those below .05 are dropped.
    """
    drawn = [_sample(points) for points in unseen]
    mean, quantiles, truth = (jnp.asarray(np.stack(arrays), jnp.float32) for arrays in zip(*drawn, strict=True))
    return _kept(_mean_shares(mean, truth)), _kept(_quantile_shares(quantiles, truth))


def _sample(unseen: Unseen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points drawn by weight, as distances from the first candidate's mean in standard deviations of the file."""
    draw = np.random.default_rng(0)
    picked = draw.choice(len(unseen.truth), _DRAWN, p=unseen.weight / unseen.weight.sum())
    centre, std = unseen.mean[picked, 0], unseen.std[picked]
    mean = (unseen.mean[picked] - centre[:, None]) / std[:, None]
    quantiles = (unseen.quantiles[picked] - centre[:, None, None]) / std[:, None, None]
    return mean, quantiles, (unseen.truth[picked] - centre) / std


@jax.jit
def _mean_shares(
    mean: Float[Array, "horizons points candidates"], truth: Float[Array, "horizons points"]
) -> Float[Array, "horizons candidates"]:
    def loss(share: Array) -> Array:
        return jnp.mean((jnp.einsum("hpc,hc->hp", mean, share) - truth) ** 2, axis=1).sum()

    return _descended(loss, (mean.shape[0], mean.shape[2]))


@jax.jit
def _quantile_shares(
    quantiles: Float[Array, "horizons points candidates levels"], truth: Float[Array, "horizons points"]
) -> Float[Array, "horizons candidates"]:
    def loss(share: Array) -> Array:
        return jnp.mean(quantile_score(jnp.einsum("hpcq,hc->hpq", quantiles, share), truth), axis=1).sum()

    return _descended(loss, (quantiles.shape[0], quantiles.shape[2]))


def _descended(
    loss: Callable[[Float[Array, "horizons candidates"]], Float[Array, ""]], shape: tuple[int, int]
) -> Float[Array, "horizons candidates"]:
    """Adam on the logits of the shares, from equal shares."""
    rule = optax.adam(_RATE)

    def one(carry: tuple[Array, optax.OptState], _: None) -> tuple[tuple[Array, optax.OptState], None]:
        logits, memory = carry
        gradient = jax.grad(lambda x: loss(jax.nn.softmax(x, axis=1)))(logits)
        change, memory = rule.update(gradient, memory)
        return (jnp.asarray(optax.apply_updates(logits, change)), memory), None

    start = jnp.zeros(shape)
    (logits, _), _ = jax.lax.scan(one, (start, rule.init(start)), None, length=_ITERATIONS)
    return jax.nn.softmax(logits, axis=1)


def _kept(found: Float[Array, "horizons candidates"]) -> Float64[np.ndarray, "horizons candidates"]:
    kept = np.where(np.asarray(found) < _CAUTION, 0.0, np.asarray(found, np.float64))
    return kept / kept.sum(axis=1, keepdims=True)


def width_factors(
    quantiles: Float64[np.ndarray, "points levels"],
    truth: Float64[np.ndarray, " points"],
    weight: Float64[np.ndarray, " points"],
) -> Float64[np.ndarray, " levels"]:
    """By level, the factor on (quantile - median) below which the truth lies as often as the level says.

    Conformal scaling on unseen files (Romano, Patterson and Candes 2019, with multiplicative scores), between .5 and 3.
    """
    middle = len(LEVELS) // 2
    factors = np.ones(len(LEVELS))
    away = truth - quantiles[:, middle]
    for index, level in enumerate(LEVELS):
        if index == middle:
            continue
        reach = quantiles[:, index] - quantiles[:, middle]
        sound = np.abs(reach) > 1e-9
        if not sound.any():
            continue
        share = level if index > middle else 1 - level
        factors[index] = weighted_quantiles(away[sound] / reach[sound], weight[sound], [share])[0]
    return np.clip(factors, _NARROWEST, _WIDEST)
