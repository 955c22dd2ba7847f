"""Fitting generators of link series, each with its settings chosen on later parts of the fitted files; their files."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from twinloop.learning import SequenceCritic, SequenceGenerator, train_gan
from twinloop.training.generation.sources import (
    AbstractSource,
    Autoregression,
    BlockBootstrap,
    GanSource,
    Margins,
)
from twinloop.training.generation.windows import Windows, later_part

KNOTS = 513
BLOCKS = (8, 16, 32)
ORDERS = (1, 2, 4, 8, 16)
GAN_STEPS = 3000
_RESIDUALS = 2048
_MOST_RADIUS = 0.999
_RIDGE = 1e-3
_LAGS = 16
_TRIALS = 200


def fit_margins(windows: Windows) -> Margins:
    """Quantiles by class and channel; a class without a window takes those of all."""
    at = (np.arange(KNOTS) + 0.5) / KNOTS
    found: list[Float64[np.ndarray, "channels knots"]] = []
    for number in range(len(windows.classes)):
        mine = windows.value[windows.label == number]
        pooled = (mine if len(mine) else windows.value).reshape(-1, windows.value.shape[2])
        found.append(np.quantile(pooled, at, axis=0, method="inverted_cdf").T)
    return Margins(jnp.asarray(np.stack(found), jnp.float32))


def scored(windows: Windows, margins: Margins, seed: int | None = None) -> Float[Array, "windows steps channels"]:
    """Normal scores of all windows; repeated values at a place drawn from `seed`, in the middle without one."""
    shape = (windows.count, windows.value.shape[2])
    place = jnp.full(shape, 0.5) if seed is None else jax.random.uniform(jax.random.key(seed), shape)
    values, label = jnp.asarray(windows.value, jnp.float32), jnp.asarray(windows.label, jnp.int32)
    return jax.jit(jax.vmap(margins.scores))(values, label, place)


def fit_bootstrap(windows: Windows, seed: int) -> BlockBootstrap:
    """Blocks of the length, of `BLOCKS`, whose series have the autocorrelation nearest to that of later windows."""
    late = later_part(windows)
    if not late.any() or late.all():
        return _bootstrap(windows, BLOCKS[-1])
    early, wanted = windows.only(~late), windows.only(late)
    label = jnp.asarray(wanted.label, jnp.int32)
    margins = fit_margins(windows)
    truth = _autocorrelation(np.asarray(scored(wanted, margins), np.float64))

    def miss(block: int) -> float:
        made = _bootstrap(early, block).draw(jax.random.key(seed), label)
        again = replace(wanted, value=np.asarray(made, np.float64))
        return float(np.abs(_autocorrelation(np.asarray(scored(again, margins), np.float64)) - truth).mean())

    return _bootstrap(windows, min(BLOCKS, key=miss))


def _bootstrap(windows: Windows, block: int) -> BlockBootstrap:
    order = np.argsort(windows.label, kind="stable")
    count = np.bincount(windows.label, minlength=len(windows.classes))
    return BlockBootstrap(
        jnp.asarray(windows.value[order], jnp.float32),
        scored(windows, fit_margins(windows))[order],
        jnp.asarray(np.minimum(np.cumsum(count) - count, windows.count - 1), jnp.int32),
        jnp.asarray(np.maximum(count, 1), jnp.int32),
        jnp.int32(block),
    )


def _autocorrelation(score: Float64[np.ndarray, "windows steps channels"]) -> Float64[np.ndarray, "lags channels"]:
    """Mean of z_t z_{t+k} over windows and time, for k = 1 to `_LAGS`; scores have mean 0 and variance 1."""
    return np.stack([(score[:, lag:] * score[:, :-lag]).mean(axis=(0, 1)) for lag in range(1, _LAGS + 1)])


def fit_autoregression(windows: Windows, seed: int) -> Autoregression:
    """The order, of `ORDERS`, whose one-step residuals on later windows are likeliest, fitted again to all windows."""
    margins, late = fit_margins(windows), later_part(windows)
    score = np.asarray(scored(windows, margins), np.float64)
    classes = range(len(windows.classes))
    present = [score[windows.label == kind] if np.any(windows.label == kind) else score for kind in classes]
    order = ORDERS[0]
    if late.any() and not late.all():
        order = min(ORDERS, key=lambda p: _unlikelihood(windows, score, late, p))
    weight = np.stack([_stable(_regress(one, order)[0]) for one in present])
    generator = np.random.default_rng(seed)
    pools = [generator.permutation(_residual(one, weight[kind]))[:_RESIDUALS] for kind, one in enumerate(present)]
    pools = [np.resize(pool, (_RESIDUALS, pool.shape[1])) for pool in pools]
    plain = Autoregression(
        margins=margins,
        weight=jnp.asarray(weight, jnp.float32),
        residual=jnp.asarray(np.stack(pools), jnp.float32),
        scale=jnp.ones((len(present), score.shape[2])),
        steps=score.shape[1],
    )
    return replace(plain, scale=_scale(plain, seed))


def _scale(plain: Autoregression, seed: int) -> Float[Array, "classes channels"]:
    label = jnp.repeat(jnp.arange(plain.weight.shape[0], dtype=jnp.int32), _TRIALS)
    score = plain.scores(jax.random.key(seed), label)
    return 1.0 / jnp.maximum(jnp.std(score.reshape(plain.weight.shape[0], -1, score.shape[2]), axis=1), 1e-3)


def _regress(score: Float64[np.ndarray, "windows steps channels"], order: int) -> tuple[np.ndarray, np.ndarray]:
    """A [order, channels, channels] by ridge regression, and the residuals [rows, channels]."""
    channels = score.shape[2]
    past = np.concatenate([score[:, order - lag : -lag] for lag in range(1, order + 1)], axis=2)
    past, now = past.reshape(-1, order * channels), score[:, order:].reshape(-1, channels)
    gram = past.T @ past
    found = np.linalg.solve(gram + _RIDGE * len(past) * np.eye(len(gram)), past.T @ now)
    return found.reshape(order, channels, channels).transpose(0, 2, 1), now - past @ found


def _residual(
    score: Float64[np.ndarray, "windows steps channels"], weight: Float64[np.ndarray, "order channels channels"]
) -> Float64[np.ndarray, "rows channels"]:
    order = len(weight)
    past = sum(score[:, order - lag : -lag] @ weight[lag - 1].T for lag in range(1, order + 1))
    left = (score[:, order:] - past).reshape(-1, score.shape[2])
    return left - left.mean(axis=0)


def _unlikelihood(
    windows: Windows, score: Float64[np.ndarray, "windows steps channels"], late: np.ndarray, order: int
) -> float:
    """Mean negative log-likelihood of later windows' steps after the longest order, normal residuals by class."""
    total, rows = 0.0, 0
    skipped = max(ORDERS) - order
    for kind in range(len(windows.classes)):
        fitted, unseen = score[(windows.label == kind) & ~late], score[(windows.label == kind) & late]
        if not len(fitted) or not len(unseen):
            continue
        weight, left = _regress(fitted, order)
        spread = np.cov(left.T).reshape(score.shape[2], -1) + _RIDGE * np.eye(score.shape[2])
        missed = _residual(unseen[:, skipped:], weight)
        distance = np.einsum("ri,ij,rj->r", missed, np.linalg.inv(spread), missed)
        total += 0.5 * float(distance.sum() + len(missed) * np.linalg.slogdet(spread)[1])
        rows += len(missed)
    return total / max(rows, 1)


def _stable(weight: Float64[np.ndarray, "order channels channels"]) -> Float64[np.ndarray, "order channels channels"]:
    order, channels, _ = weight.shape
    companion = np.zeros((order * channels, order * channels))
    companion[:channels] = weight.transpose(1, 0, 2).reshape(channels, -1)
    companion[channels:, :-channels] = np.eye((order - 1) * channels)
    radius = float(np.abs(np.linalg.eigvals(companion)).max())
    shrink = min(_MOST_RADIUS / radius, 1.0) if radius > 0 else 1.0
    return weight * shrink ** np.arange(1, order + 1)[:, None, None]


def fit_gan(windows: Windows, seed: int, steps: int = GAN_STEPS) -> GanSource:
    """A generator against a critic on normal scores, `steps` steps each."""
    margins = fit_margins(windows)
    k_generator, k_critic, k_train = jax.random.split(jax.random.key(seed), 3)
    shape = {"classes": len(windows.classes), "steps": windows.value.shape[1], "channels": windows.value.shape[2]}
    generator, critic = SequenceGenerator(k_generator, **shape), SequenceCritic(k_critic, **shape)
    label = jnp.asarray(windows.label, jnp.int32)
    trained = train_gan(k_train, generator, critic, scored(windows, margins, seed), label, steps=steps)
    return GanSource(margins, trained.generator)


GENERATORS: Mapping[str, Callable[[Windows, int], AbstractSource]] = MappingProxyType(
    {"gan": fit_gan, "autoregression": fit_autoregression, "block_bootstrap": fit_bootstrap}
)
"""How to fit every generator of series, from windows and a seed."""
DEFAULT_GENERATOR = "block_bootstrap"
"""What measured best (docs/generation.md)."""
