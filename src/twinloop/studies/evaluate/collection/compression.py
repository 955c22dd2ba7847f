"""Semantic reports: how much of a status survives how few bits, by autoencoder, by principal components, plainly."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from twinloop.learning import autoencoder, fit, rebuilding_loss
from twinloop.studies.evaluate.collection.records import Record, Split

CODER_BITS = 5
_DIMENSIONS = (1, 2, 4, 8)
_BITS = (3, 5, 7)
_EXAMPLES = 20_000
_MOST_BITS = 12
_REACH = 4.0

Statuses = Float64[np.ndarray, "examples attributes"]


@dataclass(frozen=True)
class Distortion:
    """Bits of one report, header aside, and mean squared error over variance of what is rebuilt from it."""

    name: str
    bits: Float64[np.ndarray, " points"]
    error: Float64[np.ndarray, " points"]


def distortions(split: Split, seed: int, steps: int) -> tuple[Distortion, ...]:
    """Rate-distortion curves on the part that nothing was tuned on; labels and constants are left out.

    Plain and principal: bits are given one by one to whichever attribute or component gains most from it on the part to
    tune on, so both are as good as they can be at every rate.
    """
    train, test = _standardised(split, seed)
    axes = np.linalg.eigh(train.T @ train / len(train))[1]
    every = np.eye(train.shape[1])
    return (
        Distortion("plain quantisation", *_by_greed(train, test, every)),
        Distortion("principal components", *_by_greed(train, test, axes)),
        Distortion("autoencoder", *_by_network(train, test, seed, steps)),
    )


def _standardised(split: Split, seed: int) -> tuple[Statuses, Statuses]:
    draw = np.random.default_rng(seed)
    level = np.array([entry.kind != "label" for entry in split.train.table])
    parts = [_pooled(record)[:, level] for record in (split.train, split.test)]
    centre, spread = parts[0].mean(axis=0), parts[0].std(axis=0)
    step = np.array([(a.high - a.low) / 2**a.bits for a in split.train.table])[level]
    varies = spread > step
    train, test = ((part - centre)[:, varies] / spread[varies] for part in parts)
    return draw.permutation(train)[:_EXAMPLES], draw.permutation(test)[:_EXAMPLES]


def _pooled(record: Record) -> Statuses:
    return record.truth[record.present].astype(np.float64)


def _quantised(values: Statuses, reach: Float64[np.ndarray, " n"], bits: Float64[np.ndarray, " n"]) -> Statuses:
    steps = 2.0**bits - 1.0
    inside = np.clip(values, -reach, reach)
    rounded = (
        np.round((inside + reach) / (2 * reach) * np.maximum(steps, 1.0)) / np.maximum(steps, 1.0) * 2 * reach - reach
    )
    return np.where(bits > 0, rounded, 0.0)


def _by_greed(
    train: Statuses, test: Statuses, axes: Float64[np.ndarray, "n n"]
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Bits and error as bits are given one by one to the axis whose error on `train` falls most."""
    seen, new = train @ axes, test @ axes
    reach = np.maximum(_REACH * seen.std(axis=0), 1e-9)
    count = axes.shape[1]
    table = np.stack(
        [((_quantised(seen, reach, np.full(count, float(b))) - seen) ** 2).mean(axis=0) for b in range(_MOST_BITS + 1)]
    )
    bits = np.zeros(count)
    rate, error = [0.0], [float((new**2).sum(axis=1).mean() / count)]
    while bits.min() < _MOST_BITS and rate[-1] < 8 * count:
        now = table[bits.astype(int), np.arange(count)]
        further = np.minimum(bits + np.array([[1.0], [2.0]]), _MOST_BITS).astype(int)
        gain = (now[None] - table[further, np.arange(count)]) / np.array([[1.0], [2.0]])
        pick = int(gain.max(axis=0).argmax())
        bits[pick] = further[int(gain[:, pick].argmax()), pick]
        rate.append(float(bits.sum()))
        error.append(float(((_quantised(new, reach, bits) - new) ** 2).sum(axis=1).mean() / count))
    return np.array(rate), np.array(error)


def _by_network(
    train: Statuses, test: Statuses, seed: int, steps: int
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Autoencoders of 1, 2, 4 and 8 dimensions, each rounded to 3, 5 and 7 bits a dimension; the Pareto points."""
    share = len(train) * 4 // 5
    examples, held = (jnp.asarray(part, jnp.float32) for part in (train[:share], train[share:]))
    unseen = jnp.asarray(test, jnp.float32)
    found: list[tuple[float, float, float]] = []
    for dimensions in [d for d in _DIMENSIONS if d <= train.shape[1]]:
        keys = jax.random.split(jax.random.key(seed + dimensions))
        model = autoencoder(keys[0], train.shape[1], dimensions, bits=CODER_BITS)
        model = fit(keys[1], model, rebuilding_loss, examples, held, steps=steps, batch=256).model
        for bits in _BITS:
            seen, new = (float(jnp.mean((model.rebuilt(part, bits) - part) ** 2)) for part in (held, unseen))
            found.append((float(dimensions * bits), seen, new))
    kept: list[tuple[float, float, float]] = []
    for point in sorted(found):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return np.array([point[0] for point in kept]), np.array([point[2] for point in kept])
