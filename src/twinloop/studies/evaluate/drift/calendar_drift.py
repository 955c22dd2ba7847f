"""The drift of a calendar: two months of 5G tests in the order of their dates, one application after another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from twinloop.datasets import load_irish5g, on_grid
from twinloop.errors import DataError
from twinloop.learning import (
    CumulativeDetector,
    Upkeep,
    UpkeepEvent,
    UpkeepRules,
    adwin_alarms,
    cumulative_detector,
    detect,
    fit,
    page_hinkley_alarms,
)
from twinloop.studies.evaluate.judgement import Estimate, Row
from twinloop.training import (
    LAGS,
    Examples,
    GruForecaster,
    examples_of,
    gru_forecaster,
    linear_forecaster,
    mean_squared_error,
    squared_error,
)

SLOT_S, EVERY_S = 80, 8
_LEAST_FILES = 12
_TRAINED_SHARE = 0.1
_RULES = UpkeepRules(gather=30, fresh=10, probation=30, rest=30)
_THRESHOLD, _ALLOWANCE, _SETTLE = 12.0, 0.5, 60
_RESAMPLES = 400


@dataclass(frozen=True)
class Calendar:
    """What each slot brought, the file it is from, and the regime (application, motion) of each file."""

    slots: Sequence[Examples]
    file: Int64[np.ndarray, " slots"]
    name: str
    files: tuple[str, ...]
    regimes: tuple[str, ...]
    model: GruForecaster
    history: Examples


@dataclass(frozen=True)
class Drifted:
    """Error by slot of every way to keep the model, what upkeep did, and detectors' alarms on the frozen error."""

    calendar: Calendar
    error: Mapping[str, Float64[np.ndarray, " slots"]]
    events: Sequence[UpkeepEvent]
    alarms: Mapping[str, Int64[np.ndarray, " alarms"]]


def load_calendar(data: Path, seed: int, *, relative: bool = True, steps: int = 400) -> Calendar:
    """Rates of `irish5g`, all applications, by date; the first tenth of the files trains the model for
    `steps` steps.

    Models see a series `relative` to its own past, as they should, or else in units of the training files' deviation,
    as they often do: then a higher rate is another world.

    Raises DataError where the set is absent or holds too few files.
    """
    traces = sorted(load_irish5g(data, None).required(), key=lambda trace: trace.name.rsplit("_", 2)[-2:])
    if len(traces) < _LEAST_FILES:
        raise DataError(data / "irish5g", f"{len(traces)} files", f"at least {_LEAST_FILES} for a calendar")
    first = max(int(_TRAINED_SHARE * len(traces)), 1)
    rates = [on_grid(trace).rate_bps / 1e6 for trace in traces]
    by_file = [examples_of(rate) for rate in rates] if relative else _absolute(rates, np.concatenate(rates[:first]))
    history = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *by_file[:first])
    slots: list[Examples] = []
    owner: list[int] = []
    for number, one in enumerate(by_file[first:]):
        count = one.weight.shape[0] // SLOT_S
        host = jax.tree.map(np.asarray, one)
        rows = [slice(slot * SLOT_S, (slot + 1) * SLOT_S, EVERY_S) for slot in range(count)]
        slots += [jax.tree.map(lambda leaf, part=part: jnp.asarray(leaf[part]), host) for part in rows]
        owner += [number] * count
    named = tuple(f"{trace.application}, {trace.motion}" for trace in traces[first:])
    names = tuple(trace.name for trace in traces[first:])
    name = "relative to the past" if relative else "absolute"
    return Calendar(slots, np.array(owner), name, names, named, _trained(jax.random.key(seed), history, steps), history)


def _absolute(rates: Sequence[Float64[np.ndarray, " steps"]], known: Float64[np.ndarray, " steps"]) -> list[Examples]:
    """Examples in units of the deviation of the `known` rates, from their mean."""
    found: list[Examples] = []
    for rate in rates:
        one = examples_of((rate - known.mean()) / known.std(), deviation=1.0)
        spread = one.weight[:, None]
        count = one.weight.shape[0]
        window = np.lib.stride_tricks.sliding_window_view((rate - known.mean()) / known.std(), LAGS)[:count]
        past = jnp.asarray(window, jnp.float32)[:, :, None]
        centre = past[:, -1, 0] - one.past[:, -1, 0] * one.weight
        found.append(Examples(past, one.truth * spread + centre[:, None], jnp.ones(count)))
    return found


def _trained(key: jax.Array, history: Examples, steps: int) -> GruForecaster:
    count = history.weight.shape[0] * 4 // 5
    train = jax.tree.map(lambda leaf: leaf[:count], history)
    held = jax.tree.map(lambda leaf: leaf[count::4], history)
    k_model, k_fit = jax.random.split(key)
    start = gru_forecaster(k_model, 8, 1, linear_forecaster(train))
    return fit(k_fit, start, mean_squared_error, train, held, steps=steps, batch=128).model


def judge_calendar(calendar: Calendar, seed: int) -> Drifted:
    """The same calendar with the model frozen, updated with replay, and updated without."""
    score = eqx.filter_jit(squared_error)
    frozen = np.array([float(jnp.mean(score(calendar.model, one))) for one in calendar.slots])
    error: dict[str, Float64[np.ndarray, " slots"]] = {"frozen": frozen}
    events: Sequence[UpkeepEvent] = ()
    for name, rules in {"update, replay": _RULES, "update, no replay": replace(_RULES, replay=0.0)}.items():
        upkeep = Upkeep(jax.random.key(seed), calendar.model, squared_error, _detector(), rules)
        upkeep.remember(calendar.history)
        error[name] = np.zeros(len(calendar.slots))
        for slot, one in enumerate(calendar.slots):
            upkeep.observe(slot, one)
            error[name][slot] = upkeep.error
        events = events or tuple(upkeep.events)
    return Drifted(calendar, error, events, _alarms(frozen))


def _detector() -> CumulativeDetector:
    return cumulative_detector(_THRESHOLD, _ALLOWANCE, settle=_SETTLE)


def _alarms(error: Float64[np.ndarray, " slots"]) -> dict[str, Int64[np.ndarray, " alarms"]]:
    """Slots of the alarms of each detector on one stream, at the settings of the simulated series."""
    detector = _detector()
    calm = error[:_SETTLE]
    z = (error - calm.mean()) / (calm.std(ddof=1) + 1e-9)
    ours = detect(detector, detector.init(1), jnp.asarray(error[:, None], jnp.float32))[1]
    found = {
        "cumulative error": np.asarray(ours)[:, 0],
        "Page-Hinkley": page_hinkley_alarms(z, threshold=_THRESHOLD, delta=_ALLOWANCE, settle=_SETTLE),
        "ADWIN": adwin_alarms(z, delta=0.05, grace=10),
    }
    return {name: np.flatnonzero(alarms) for name, alarms in found.items()}


def calendar_rows(drifted: Drifted, seed: int) -> list[Row]:
    """Mean error by regime, with 95 % intervals over files, and over all files."""
    calendar = drifted.calendar
    regime = np.array(calendar.regimes)
    draw = np.random.default_rng(seed)
    rows: list[Row] = []
    kept = np.unique(calendar.file)
    for name, error in drifted.error.items():
        by_file = np.array([error[calendar.file == row].mean() for row in kept])
        values: dict[str, Estimate] = {"all files": _mean(by_file, draw)}
        for kind in sorted({calendar.regimes[row] for row in kept.tolist()}):
            values[kind] = _mean(by_file[regime[kept] == kind], draw)
        role = "proposed" if name == "update, replay" else "baseline"
        rows.append(Row((f"calendar: irish5g, {calendar.name}", name), role, values))
    return rows


def _mean(by_file: Float64[np.ndarray, " files"], draw: np.random.Generator) -> Estimate:
    pick = draw.integers(len(by_file), size=(_RESAMPLES, len(by_file)))
    low, high = np.quantile(by_file[pick].mean(axis=1), [0.025, 0.975])
    return Estimate(float(by_file.mean()), float(low), float(high))
