"""Every model on every file, each forecast by models that did not see the file."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int64

from twinloop.errors import DataError
from twinloop.learning import (
    LINEAR_CANDIDATES,
    Arrival,
    Distribution,
    Emulator,
    NetworkState,
    RecurrentNetwork,
    forecast_recursively,
)
from twinloop.studies.evaluate.emulation.baselines import Baselines, Plain
from twinloop.studies.evaluate.emulation.scoring import Scores
from twinloop.training import EmulatorSettings, Files, Samples, forecast_candidates, sums_of, train_emulators

DEFAULT = "default emulator"
SCALED = ", residuals in running scales"
RECURSIVE = "gru, recursive (some steps)"
DEFAULT_THERE = "default emulator at these steps"
_DAY = 24 * 60
_PATHS = 32
_ORIGINS = 2400

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Stretch:
    """Default and truth on an unseen file, for a picture: axes steps, horizons (and levels)."""

    number: int
    file: str
    truth: Float32[np.ndarray, "steps horizons"]
    quantiles: Float32[np.ndarray, "steps horizons levels"]
    counted: np.ndarray


@dataclass(frozen=True)
class Judged:
    """Scores by model, which of them are baselines, and forecasts to show."""

    scores: dict[str, Scores]
    baselines: tuple[str, ...]
    emulators: list[Emulator]
    stretches: list[Stretch]


def folds_of(samples: Samples, number: int, seed: int) -> list[Files]:
    """Files parted in `number` folds: at random, blocks of time in turn. Raises DataError if there are too few."""
    files = len(samples.files)
    if not 2 <= number <= files:
        raise DataError(samples.source.name, f"--split {number}", f"a number of folds from 2 to {files}, the files")
    order = np.arange(files) if samples.source.in_blocks else np.random.default_rng(seed).permutation(files)
    return [np.sort(order[fold::number]) for fold in range(number)]


def judge(
    samples: Samples, folds: Sequence[Files], settings: EmulatorSettings, seed: int, progress: Progress
) -> Judged:
    """Train on all folds but one, score on that one, for each."""
    everything = np.arange(len(samples.files))
    training = [np.setdiff1d(everything, fold) for fold in folds]
    emulators = [one.emulator for one in train_emulators(seed, samples, training, settings, progress)]
    progress("tuning the baselines")
    baselines = Baselines(samples, sums_of(samples))
    scores: dict[str, Scores] = {}
    names: dict[str, None] = {}
    stretches: list[Stretch] = []
    for fold, files, emulator in zip(folds, training, emulators, strict=True):
        entities = samples.of_files(fold)
        order = np.random.default_rng(seed).permutation(files)
        splits = [(np.setdiff1d(files, rest), rest) for rest in np.array_split(order, settings.members)]
        plain = baselines.fitted(files, splits)
        names |= dict.fromkeys(plain)
        for name, (mean, quantiles) in _baseline_forecasts(samples, entities, plain).items():
            scores.setdefault(name, Scores.empty(samples)).fill(
                samples, entities, mean, quantiles, samples.valid[entities]
            )
        told, default = _score_emulator(samples, entities, emulator, settings, scores)
        stretches += told
        if 1 in samples.horizons and "gru" in settings.kinds:
            _score_recursive(samples, entities, emulator, settings, scores, default, seed, _ORIGINS // len(folds))
    return Judged(scores, tuple(names), emulators, stretches)


def _baseline_forecasts(
    samples: Samples, entities: Int64[np.ndarray, " some"], plain: dict[str, Plain]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and quantiles of every baseline, with residuals as they are and in running scales, within the limits."""
    low, high = samples.source.low, samples.source.high
    made: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, one in plain.items():
        mean = one.mean[entities]
        wide = samples.scale[entities][..., None, None] * one.relative
        for label, spread in ((name, one.residual), (name + SCALED, wide)):
            quantiles = np.clip(mean[..., None] + spread, low, high).astype(np.float32)
            made[label] = (np.clip(mean, low, high), quantiles)
    return made


def _score_emulator(
    samples: Samples,
    entities: Int64[np.ndarray, " some"],
    emulator: Emulator,
    settings: EmulatorSettings,
    scores: dict[str, Scores],
) -> tuple[list[Stretch], tuple[np.ndarray, np.ndarray]]:
    """Fill in the scores of the emulator and of each of its candidates.

    Returns its forecasts of one entity of each file, and its means and quantiles.
    """
    said = forecast_candidates(emulator, samples, entities)
    both = emulator.combined(said)
    counted = samples.valid[entities]
    models = {DEFAULT: (np.asarray(both.mean), np.asarray(both.quantiles))}
    for index, name in enumerate((*LINEAR_CANDIDATES, *settings.kinds)):
        low, high = samples.source.low, samples.source.high
        each = (np.clip(said.mean[:, :, index], low, high), np.clip(said.quantiles[:, :, index], low, high))
        models[f"candidate: {name}"] = each
    for name, (mean, quantiles) in models.items():
        scores.setdefault(name, Scores.empty(samples)).fill(samples, entities, mean, quantiles, counted)
    files = samples.file[entities]
    first = [int(np.flatnonzero(files == file)[0]) for file in np.unique(files)]
    quantiles, truth = models[DEFAULT][1], samples.truth[entities]
    stretches = [
        Stretch(int(files[row]), samples.files[files[row]], truth[row], quantiles[row], counted[row]) for row in first
    ]
    return stretches, models[DEFAULT]


def _score_recursive(
    samples: Samples,
    entities: Int64[np.ndarray, " some"],
    emulator: Emulator,
    settings: EmulatorSettings,
    scores: dict[str, Scores],
    default: tuple[np.ndarray, np.ndarray],
    seed: int,
    origins: int,
) -> None:
    """The first member of the GRU fed back its own draws, and the default, both at evenly spaced steps alone.

    Sampling futures is what costs. The spacing shares no factor with a day of hours or of minutes, lest only some hours
    be judged.
    """
    networks = emulator.networks[settings.kinds.index("gru")]
    net = jax.tree.map(lambda leaf: leaf[0], networks)
    steps = samples.value.shape[1]
    every = max(-(-len(entities) * steps // origins), 1)
    while math.gcd(every, _DAY) > 1:
        every += 1
    blocks = steps // every
    used = blocks * every
    came = [array[entities, :used] for array in (samples.value, samples.measured, samples.covariates)]
    arrivals = Arrival(*(jnp.asarray(np.swapaxes(a, 0, 1).reshape(blocks, every, *_rest(a))) for a in came))
    key = jax.random.key(seed)
    ahead = _recursive(key, net, arrivals, max(samples.horizons), samples.source.low, samples.source.high)
    at = np.arange(every - 1, used, every)
    picked = np.asarray(samples.horizons) - 1
    mean = np.zeros((len(entities), steps, len(picked)), np.float32)
    quantiles = np.zeros((*mean.shape, ahead.quantiles.shape[-1]), np.float32)
    mean[:, at] = np.swapaxes(np.asarray(ahead.mean), 0, 1)[..., picked]
    quantiles[:, at] = np.swapaxes(np.asarray(ahead.quantiles), 0, 1)[..., picked, :]
    shown = np.zeros(steps, bool)
    shown[at] = True
    counted = samples.valid[entities] & shown[None, :, None]
    for name, said in ((RECURSIVE, (mean, quantiles)), (DEFAULT_THERE, default)):
        scores.setdefault(name, Scores.empty(samples)).fill(samples, entities, *said, counted)


def _rest(array: np.ndarray) -> tuple[int, ...]:
    return (array.shape[0], *array.shape[2:])


@eqx.filter_jit
def _recursive(
    key: Array, net: RecurrentNetwork, arrivals: Arrival, steps: int, low: float, high: float
) -> Distribution:
    """Forecasts after every block of arrivals: axes blocks, entities, horizons."""
    entities = arrivals.value.shape[2]

    def block(state: NetworkState, came: tuple[Array, Arrival]) -> tuple[NetworkState, Distribution]:
        key, some = came
        state, said = jax.lax.scan(lambda s, one: net.step(s, one), state, some)
        last: Float[Array, "entities covariates"] = some.covariates[-1]
        newest = jax.tree.map(lambda leaf: leaf[-1], said)
        return state, forecast_recursively(key, net, state, newest, last, steps=steps, paths=_PATHS).within(low, high)

    keys = jax.random.split(key, arrivals.value.shape[0])
    return jax.lax.scan(block, net.start(entities), (keys, arrivals))[1]
