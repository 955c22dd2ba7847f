"""Emulators from samples: linear and recurrent candidates by cross-fitting over files, then their combination."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64, Int64

from twinloop.learning import (
    LEVELS,
    LINEAR_CANDIDATES,
    Along,
    Distribution,
    Emulator,
    RecurrentNetwork,
    levels_among,
    quantile_score,
)
from twinloop.training.forecasting.linear import Files, Sums, solve_ridge, sums_of, tuned_ridge, weighted_quantiles
from twinloop.training.forecasting.networks import (
    NETWORK_KINDS,
    ExcerptLoss,
    NetworkKind,
    draw_excerpts,
    excerpts_of,
    single,
    stacked,
    structure_of,
    train_all,
    untrained,
)
from twinloop.training.forecasting.samples import Samples
from twinloop.training.forecasting.stacking import Unseen, shares, width_factors

Progress = Callable[[str], None]
_TRAINED_ON, _HELD_OUT = 4096, 224
_LEAST_BATCH = 8
_MOST_POINTS = 8_000


@dataclass(frozen=True)
class EmulatorSettings:
    """How emulators are trained: kinds of networks and their width, members of each (parts of the cross-fitting)."""

    kinds: tuple[NetworkKind, ...] = NETWORK_KINDS
    hidden: int = 24
    members: int = 3
    steps: int = 180
    batch: int = 32
    learning_rate: float = 3e-3


@dataclass(frozen=True)
class TrainedEmulator:
    """An emulator, and by horizon its scores on files that its members had not seen.

    Shares and widths were learned on these very forecasts, so the scores flatter it a little.
    """

    emulator: Emulator
    metrics: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class _Part:
    """One part of the cross-fitting of one emulator: what is fitted on `fit`, for forecasts of `rest`."""

    fit: Files
    rest: Files
    linear: Float64[np.ndarray, "horizons features"]
    residual: Float64[np.ndarray, "horizons levels"]
    relative: Float64[np.ndarray, "horizons levels"]


def train_emulators(
    seed: int,
    samples: Samples,
    training: Sequence[Files],
    settings: EmulatorSettings,
    progress: Progress = lambda _: None,
) -> list[TrainedEmulator]:
    """One emulator for every set of files in `training`; no other file has any influence on it.

    The files are parted in `members`; candidates fitted without a part forecast it, shares and widths are learned on
    those forecasts, and networks are stopped early on it. The emulator holds the networks of all parts.
    """
    sums = sums_of(samples)
    parts, whole = [], []
    for index, files in enumerate(training):
        order = np.random.default_rng([seed, index]).permutation(files)
        rest = np.array_split(order, settings.members)
        splits = [(np.setdiff1d(files, one), one) for one in rest]
        ridge, _ = tuned_ridge(sums, splits, around=levels_among(samples.source.form))
        parts.append([_part(samples, sums, fit, one, ridge) for fit, one in splits])
        whole.append(_part(samples, sums, files, files, ridge))
    networks = {kind: _trained(seed, samples, parts, kind, settings, progress) for kind in settings.kinds}
    progress("combining the candidates")
    made = []
    for index, (own, all_of_it) in enumerate(zip(parts, whole, strict=True)):
        members = [tuple(single(networks[kind][index], k) for kind in settings.kinds) for k in range(len(own))]
        unseen = _unseen(samples, own, members)
        together = tuple(networks[kind][index] for kind in settings.kinds)
        made.append(_combined(samples, all_of_it, together, unseen))
    return made


def _part(samples: Samples, sums: Sums, fit: Files, rest: Files, ridge: np.ndarray) -> _Part:
    linear = solve_ridge(sums, fit, ridge, around=levels_among(samples.source.form))
    return _Part(fit, rest, linear, *residual_quantiles(samples, fit, linear_means(samples, linear)))


def linear_means(
    samples: Samples, weights: Float64[np.ndarray, "horizons features"]
) -> Float64[np.ndarray, "entities steps horizons"]:
    """The linear forecast in every step."""
    return samples.last[..., None] + np.einsum("ethf,hf->eth", samples.linear, weights)


def residual_quantiles(
    samples: Samples, files: Files, mean: Float[np.ndarray, "entities steps horizons"]
) -> tuple[Float64[np.ndarray, "horizons levels"], Float64[np.ndarray, "horizons levels"]]:
    """Quantiles of truth - `mean` over `files`, in the unit of the attribute and in running scales.

    Points are weighted as the score weights them: each file alike, errors over its standard deviation.
    """
    plain, scaled = [], []
    weights = point_weights(samples, files)
    for horizon in range(mean.shape[-1]):
        kept = weights[..., horizon] > 0
        miss = (samples.truth[..., horizon] - mean[..., horizon])[kept].astype(np.float64)
        weight, scale = (weights[..., horizon] / samples.entity_std[:, None, horizon])[kept], samples.scale[kept]
        plain.append(weighted_quantiles(miss, weight))
        scaled.append(weighted_quantiles(miss / scale, weight * scale))
    return np.array(plain), np.array(scaled)


def point_weights(samples: Samples, files: Files) -> Float64[np.ndarray, "entities steps horizons"]:
    """1 over the number of scored points of the file, for points of `files`; 0 elsewhere."""
    counted = samples.valid & np.isin(samples.file, files)[:, None, None]
    count = np.zeros((len(samples.files), counted.shape[-1]))
    np.add.at(count, samples.file, counted.sum(axis=1))
    return counted / np.maximum(count[samples.file], 1)[:, None, :]


def _trained(
    seed: int,
    samples: Samples,
    parts: list[list[_Part]],
    kind: NetworkKind,
    settings: EmulatorSettings,
    progress: Progress,
) -> list[RecurrentNetwork]:
    flat = [part for own in parts for part in own]
    progress(f"training {len(flat)} networks of kind {kind} on {len(samples.files)} files, {settings.steps} steps")
    structure = structure_of(samples, kind, settings.hidden)
    k_made, k_train = jax.random.split(jax.random.key(seed))
    keys = jax.random.split(k_made, len(flat))
    networks = [
        untrained(key, structure, samples, part.fit, part.linear, part.relative)
        for key, part in zip(keys, flat, strict=True)
    ]
    examples = [draw_excerpts(samples, part.fit, _TRAINED_ON, seed) for part in flat]
    held_out = [draw_excerpts(samples, part.rest, _HELD_OUT, seed) for part in flat]
    fitted = train_all(
        k_train,
        ExcerptLoss(excerpts_of(samples)),
        stacked(networks),
        jnp.asarray(np.stack(examples)),
        jnp.asarray(np.stack(held_out)),
        settings.steps,
        settings.batch,
        settings.learning_rate,
    )
    ends = np.cumsum([0, *(len(own) for own in parts)])
    return [
        jax.tree.map(lambda leaf, low=low, high=high: leaf[low:high], fitted.model)
        for low, high in itertools.pairwise(ends)
    ]


def _emulator(samples: Samples, part: _Part, networks: tuple[RecurrentNetwork, ...]) -> Emulator:
    count = len(LINEAR_CANDIDATES) + len(networks)
    share = jnp.full((len(samples.horizons), count), 1.0 / count)
    return Emulator(
        quantity=samples.source.form,
        linear=jnp.asarray(part.linear, jnp.float32),
        residual=jnp.asarray(part.residual, jnp.float32),
        relative=jnp.asarray(part.relative, jnp.float32),
        networks=networks,
        mean_share=share,
        share=share,
        factor=jnp.ones((len(samples.horizons), len(LEVELS))),
        horizons=samples.horizons,
        low=samples.source.low,
        high=samples.source.high,
    )


def forecast_candidates(emulator: Emulator, samples: Samples, entities: Int64[np.ndarray, " some"]) -> Distribution:
    """What every candidate forecasts for these entities: axes entities, steps, candidates, horizons (and levels).

    Filled up to a power of two, so that few numbers of entities need compiling.
    """
    room = max(_LEAST_BATCH, 1 << (len(entities) - 1).bit_length())
    padded = np.resize(entities, room)
    arrays = (samples.inputs, samples.linear, samples.last, samples.scale)
    along = Along(*(jnp.asarray(np.swapaxes(array[padded], 0, 1)) for array in arrays))
    said = _candidates(emulator, along)
    return jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1)[: len(entities)], said)


@eqx.filter_jit
def _candidates(emulator: Emulator, along: Along) -> Distribution:
    return emulator.candidates(along)


def _unseen(samples: Samples, parts: list[_Part], members: list[tuple[RecurrentNetwork, ...]]) -> list[Unseen]:
    """By horizon, forecasts of each part's rest by the candidates that were fitted without it."""
    collected: list[list[Unseen]] = [[] for _ in samples.horizons]
    for part, networks in zip(parts, members, strict=True):
        alone = _emulator(samples, part, tuple(map(partial(jax.tree.map, lambda leaf: leaf[None]), networks)))
        entities = samples.of_files(part.rest)
        said = forecast_candidates(alone, samples, entities)
        weights = point_weights(samples, part.rest)[entities]
        for horizon, points in enumerate(collected):
            points.append(_points(samples, entities, said, weights[..., horizon], horizon))
    names = ("mean", "quantiles", "truth", "std", "weight")
    return [Unseen(*(np.concatenate([getattr(p, name) for p in points]) for name in names)) for points in collected]


def _points(
    samples: Samples,
    entities: Int64[np.ndarray, " some"],
    said: Distribution,
    weights: Float64[np.ndarray, "some steps"],
    horizon: int,
) -> Unseen:
    """At most 8,000 scored forecasts, evenly picked."""
    row, step = np.nonzero(weights)
    every = max(-(-len(row) // _MOST_POINTS), 1)
    row, step = row[::every], step[::every]
    return Unseen(
        np.asarray(said.mean)[row, step, :, horizon].astype(np.float64),
        np.asarray(said.quantiles)[row, step, :, horizon].astype(np.float64),
        samples.truth[entities[row], step, horizon].astype(np.float64),
        samples.entity_std[entities[row], horizon],
        weights[row, step],
    )


def _combined(
    samples: Samples, part: _Part, networks: tuple[RecurrentNetwork, ...], unseen: list[Unseen]
) -> TrainedEmulator:
    mean_share, share = shares(unseen)
    factor = [
        width_factors(np.einsum("pcq,c->pq", points.quantiles, own), points.truth, points.weight)
        for points, own in zip(unseen, share, strict=True)
    ]
    plain = _emulator(samples, part, networks)
    learned = tuple(jnp.asarray(array, jnp.float32) for array in (mean_share, share, np.stack(factor)))
    emulator = eqx.tree_at(lambda e: (e.mean_share, e.share, e.factor), plain, learned)
    metrics = {
        str(horizon): _scores(samples, points, mean, own, wide)
        for horizon, points, mean, own, wide in zip(samples.horizons, unseen, mean_share, share, factor, strict=True)
    }
    return TrainedEmulator(emulator, metrics)


def _scores(
    samples: Samples, points: Unseen, mean_share: np.ndarray, share: np.ndarray, factor: np.ndarray
) -> dict[str, float]:
    weight = points.weight / points.weight.sum()
    miss = (points.truth - points.mean @ mean_share) / points.std
    quantiles = np.einsum("pcq,c->pq", points.quantiles, share)
    middle = quantiles[:, len(LEVELS) // 2, None]
    wide = np.clip(np.sort(middle + factor * (quantiles - middle), axis=1), samples.source.low, samples.source.high)
    crps = np.asarray(quantile_score(jnp.asarray(wide / points.std[:, None]), jnp.asarray(points.truth / points.std)))
    inside = (points.truth >= wide[:, 0]) & (points.truth <= wide[:, -1])
    return {
        "rmse_over_std": float(np.sqrt(weight @ miss**2)),
        "crps_over_std": float(weight @ crps),
        "coverage_90": float(weight @ inside),
    }
