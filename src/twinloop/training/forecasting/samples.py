"""Sequences as padded arrays with the inputs of every forecaster and the truth at every horizon."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Int64, Shaped

from twinloop.errors import DataError
from twinloop.learning import Memory, Quantity, blank_memory, linear_features, network_features, remember, running_scale
from twinloop.training.forecasting.sequences import Sequence, SequenceSet

WARM_UP = 8
"""Reports that must have come before a forecast is scored."""
LARGEST, SMALLEST = 1e15, 1e-18
"""Greatest size of a value, and least size of a difference, whose squares 32-bit numbers hold with room to sum them."""
_LEAST_SPREAD = 1e-6
_LAST_DIGITS, _ROUNDED_SHARE = 1e-14, 0.01
_NAMED = 4


@dataclass(frozen=True)
class Samples:
    """A set of sequences ready to be learned from; axes: entities (sequences), steps, horizons, features.

    `truth` is the value `horizons` steps later, in the unit of the attribute, and counts where `valid`. `file_std` is
    what errors are divided by: the standard deviation of a file's reports, or for what wanders the root mean square of
    its displacement over the horizon. Where a simulation knows the truth, forecasts are held to it from the first
    report on, in units of the root mean square error of the last value over all files. `last` and `scale` are those of
    `Memory`. `left_out` names the sequences of the set that are not here, and says why.
    """

    source: SequenceSet
    horizons: tuple[int, ...]
    file: Int64[np.ndarray, " entities"]
    file_std: Float64[np.ndarray, "files horizons"]
    value: Float32[np.ndarray, "entities steps"]
    measured: Bool[np.ndarray, "entities steps"]
    covariates: Float32[np.ndarray, "entities steps covariates"]
    truth: Float32[np.ndarray, "entities steps horizons"]
    valid: Bool[np.ndarray, "entities steps horizons"]
    inputs: Float32[np.ndarray, "entities steps inputs"]
    linear: Float32[np.ndarray, "entities steps horizons features"]
    last: Float32[np.ndarray, "entities steps"]
    scale: Float32[np.ndarray, "entities steps"]
    left_out: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files, in the order that `file` counts."""
        return self.source.files

    @property
    def entity_std(self) -> Float64[np.ndarray, "entities horizons"]:
        """`file_std` by entity."""
        return self.file_std[self.file]

    @property
    def told_left_out(self) -> str | None:
        """How many sequences were left out and why, in a line; None where none was."""
        if not self.left_out:
            return None
        what = "blocks of time" if self.source.in_blocks else "sequences"
        why = ", ".join(self.left_out[:_NAMED])
        more = f", and {len(self.left_out) - _NAMED} more" if len(self.left_out) > _NAMED else ""
        everything = len(self.left_out) + len(self.source.sequences)
        return f"{len(self.left_out)} of {everything} {what} left out: {why}{more}"

    def of_files(self, files: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " entities"]:
        """Entities that belong to these files."""
        return np.flatnonzero(np.isin(self.file, files))


def samples_of(source: SequenceSet, horizons: tuple[int, ...]) -> Samples:
    """Pad, hold and compute the inputs, of which 32-bit numbers are made.

    Sequences that are too short or constant are left out. Raises DataError where fewer than four files remain, and for
    columns that 32-bit numbers cannot hold: too large, too small, or too far from 0 for their differences to survive.
    """
    source, left_out = _usable(source, horizons)
    file = np.array([source.files.index(sequence.name) for sequence in source.sequences])
    longest = max(len(sequence.value) for sequence in source.sequences)
    value = np.stack([_padded(sequence.value[:, None], longest)[:, 0] for sequence in source.sequences])
    covariates = np.stack([_padded(_held(sequence.covariates), longest) for sequence in source.sequences])
    scored = np.stack([_padded(sequence.scored[:, None], longest, 0.0)[:, 0] > 0 for sequence in source.sequences])
    measured = np.isfinite(value)
    value = np.where(measured, value, 0.0).astype(np.float32)
    covariates = covariates.astype(np.float32)
    truth, valid = _ahead(*_targets(source, value, measured, longest), scored, horizons)
    computed = _inputs(source.form, horizons, *map(jnp.asarray, (value, measured, covariates)))
    inputs, linear, last, scale = (np.asarray(array) for array in computed)
    std = _file_std(source, file, value, measured & scored, truth, valid, last)
    arrays = (file, std, value, measured, covariates, truth, valid, inputs, linear, last, scale)
    return Samples(source, horizons, *arrays, left_out)


def _usable(source: SequenceSet, horizons: tuple[int, ...]) -> tuple[SequenceSet, tuple[str, ...]]:
    """The set without sequences that cannot be scored, and why not. Raises DataError where too few are left."""
    if not source.sequences:
        raise DataError(source.name, "no sequence", "at least two files")
    if source.simulated:
        return source, ()
    _check_numbers(source)
    least = WARM_UP + max(horizons) + 2
    kept: list[Sequence] = []
    left_out: list[str] = []
    for sequence in source.sequences:
        reports = sequence.value[sequence.scored & np.isfinite(sequence.value)].astype(np.float32)
        if len(sequence.value) < least or len(reports) < least:
            few = f"{len(reports)} reports; at least {least} are needed for {max(horizons)} steps"
            left_out.append(f"{sequence.name} has {few}")
        elif np.ptp(reports) <= 0:
            left_out.append(f"{sequence.name} is constant ({reports[0]:g})")
        else:
            kept.append(sequence)
    left = replace(source, sequences=tuple(kept))
    if len(left.files) < 4:
        why = f": {left_out[-1]}" if left_out else ""
        raise DataError(
            source.name,
            f"{len(left.files)} of {len(source.files)} files or blocks can be used{why}",
            "four or more to train on some and judge on the others",
        )
    return left, tuple(left_out)


def _check_numbers(source: SequenceSet) -> None:
    """Raises DataError naming the column that 32-bit numbers cannot hold, where it is worst, and what to do."""
    names = [sequence.name for sequence in source.sequences]
    values = [sequence.value for sequence in source.sequences]
    _check_column(source, source.attribute, names, values, SMALLEST)
    if source.form.resolution < SMALLEST:
        _refuse_small(source, source.attribute, source.form.resolution, SMALLEST)
    for at, name in enumerate(source.covariates):
        _check_column(source, name, names, [sequence.covariates[:, at] for sequence in source.sequences], _LEAST_SPREAD)


def _check_column(source: SequenceSet, column: str, names: list[str], parts: list[np.ndarray], least: float) -> None:
    """The size of a column, how it is spread, and what rounding to 32 bits takes of how it changes step by step.

    What changes by no more than the last digits of 64-bit numbers is as good as constant.
    """
    sizes = [float(np.max(np.abs(part), initial=0.0, where=~np.isnan(part))) for part in parts]
    worst = int(np.argmax(sizes))
    if sizes[worst] > LARGEST:
        problem = f"{column} reaches {sizes[worst]:.3g} in {names[worst]}"
        raise DataError(source.name, problem, f"numbers up to {LARGEST:g} in size; rescale it")
    known = [part[~np.isnan(part)] for part in parts]
    together, steps = np.concatenate(known), np.concatenate([np.diff(part) for part in known])
    spread = float(np.std(together)) if together.size else 0.0
    if spread <= _LAST_DIGITS * sizes[worst]:
        return
    if spread <= least:
        _refuse_small(source, column, spread, least)
    change = min(float(np.sqrt(np.mean(steps**2))), spread) if steps.any() else spread
    if np.sqrt(np.mean((together - together.astype(np.float32)) ** 2)) > _ROUNDED_SHARE * change:
        raise DataError(
            source.name,
            f"{column} changes by about {change:.2g} in numbers of size {sizes[worst]:.3g} ({names[worst]}), "
            "of which 32-bit numbers keep seven digits",
            f"numbers nearer to 0; subtract an offset such as {np.median(together):.6g}",
        )


def _refuse_small(source: SequenceSet, column: str, found: float, least: float) -> NoReturn:
    raise DataError(source.name, f"{column} differs by {found:.2g} only", f"differences above {least:g}; rescale it")


def _padded(
    rows: Shaped[np.ndarray, "steps _"], longest: int, fill: float = np.nan
) -> Float64[np.ndarray, "longest _"]:
    return np.pad(rows.astype(np.float64), ((0, longest - len(rows)), (0, 0)), constant_values=fill)


def _held(rows: Float64[np.ndarray, "steps covariates"]) -> Float64[np.ndarray, "steps covariates"]:
    """Last known value of every column, NaN before the first."""
    at = np.where(np.isfinite(rows), np.arange(len(rows))[:, None], -1)
    newest = np.maximum.accumulate(at, axis=0)
    return np.where(newest >= 0, np.take_along_axis(rows, np.maximum(newest, 0), axis=0), np.nan)


def _targets(
    source: SequenceSet, value: np.ndarray, measured: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True values, where they are known, and from when on forecasts count."""
    reports = np.cumsum(measured, axis=1)
    if not source.simulated:
        return value, measured, reports >= WARM_UP
    missing = [np.empty(0) if sequence.truth is None else sequence.truth for sequence in source.sequences]
    truth = np.stack([_padded(each[:, None], longest)[:, 0] for each in missing])
    known = np.isfinite(truth)
    return np.where(known, truth, 0.0).astype(np.float32), known, reports >= 1


def _ahead(
    target: np.ndarray, known: np.ndarray, warm: np.ndarray, scored: np.ndarray, horizons: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    truth, valid = [], []
    for horizon in horizons:
        later = np.pad(target[:, horizon:], ((0, 0), (0, horizon)))
        known_then = np.pad((known & scored)[:, horizon:], ((0, 0), (0, horizon)))
        truth.append(later)
        valid.append(known_then & scored & warm)
    return np.stack(truth, axis=-1), np.stack(valid, axis=-1)


@partial(jax.jit, static_argnums=(0, 1))
def _inputs(
    form: Quantity,
    horizons: tuple[int, ...],
    value: Float[Array, "entities steps"],
    measured: Bool[Array, "entities steps"],
    covariates: Float[Array, "entities steps covariates"],
) -> tuple[Array, Array, Array, Array]:
    def one(memory: Memory, came: tuple[Array, Array, Array]) -> tuple[Memory, tuple[Array, Array, Array, Array]]:
        now, known, beside = came
        memory = remember(memory, now, known)
        linear = jnp.stack([linear_features(form, memory, horizon) for horizon in horizons], axis=1)
        return memory, (network_features(form, memory, beside), linear, memory.last, running_scale(form, memory))

    came = (value.T, measured.T, jnp.swapaxes(covariates, 0, 1))
    _, made = jax.lax.scan(one, blank_memory(form, value.shape[0]), came)
    return jax.tree.map(lambda array: jnp.swapaxes(array, 0, 1), made)


def _file_std(
    source: SequenceSet,
    file: np.ndarray,
    value: np.ndarray,
    counted: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray,
    last: np.ndarray,
) -> Float64[np.ndarray, "files horizons"]:
    std = np.zeros((len(source.files), truth.shape[-1]))
    if source.simulated:
        missed = np.where(valid, truth - last[..., None], 0.0).astype(np.float64)
        std[:] = np.sqrt(np.sum(missed**2, axis=(0, 1)) / np.maximum(valid.sum(axis=(0, 1)), 1))
        return np.maximum(std, source.form.resolution)
    for number in range(len(source.files)):
        rows = file == number
        if source.form.wanders:
            moved = np.where(valid[rows], truth[rows] - last[rows, :, None], 0.0).astype(np.float64)
            std[number] = np.sqrt(np.sum(moved**2, axis=(0, 1)) / np.maximum(valid[rows].sum(axis=(0, 1)), 1))
        else:
            std[number] = np.std(value[rows][counted[rows]].astype(np.float64))
    return np.maximum(std, source.form.resolution)
