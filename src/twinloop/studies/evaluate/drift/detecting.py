"""How soon a change is seen, and how often one is seen where there is none: detectors on drifts at known times."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int64

from twinloop.learning import (
    adwin_alarms,
    cluster_error,
    cumulative_detector,
    detect,
    dual_error,
    page_hinkley_alarms,
)
from twinloop.studies.evaluate.drift.worlds import (
    CALM,
    CHANGES,
    Views,
    crowd,
    leave_distribution,
    patient_and_not,
    series,
    swapped_hazard,
    watch_videos,
)
from twinloop.studies.evaluate.judgement import Estimate, Row
from twinloop.training import LAGS, Examples, examples_of, linear_forecaster, squared_error

SETTLE, CHANGE, STEPS = 100, 400, 700
ENTITIES = 12
MOST_FALSE = 1.0
OURS, ENTROPY = "cumulative error", "cumulative entropy"
_TYPES = 8
_FEATURE_NOISE = 0.08

Streams = Float64[np.ndarray, "streams steps"]
Alarms = Bool[np.ndarray, "streams steps"]


@dataclass(frozen=True)
class Drift:
    """Streams of running errors in which the world changes at step `CHANGE`: labelled errors, and entropies."""

    signal: str
    name: str
    error: Streams
    entropy: Streams | None = None


@dataclass(frozen=True)
class Setting:
    """A detector with settings: alarms of standardised streams."""

    label: str
    alarms: Callable[[Streams], Alarms]


@dataclass(frozen=True)
class Score:
    """Delay of each stream in slots (`STEPS` - `CHANGE` where a drift was missed), and false alarms in 1,000 slots."""

    delay: Float64[np.ndarray, " streams"]
    false_alarms: float

    @property
    def missed(self) -> float:
        """Share of drifts without an alarm."""
        return float(np.mean(self.delay >= STEPS - CHANGE))


def drifts(seed: int, streams: int) -> tuple[Drift, ...]:
    """Every kind of change, `streams` independent times; each step's error is a mean over `ENTITIES` entities."""
    draw = np.random.default_rng(seed)
    key = jax.random.key(seed)
    usual = patient_and_not()
    hastier = -np.expm1(1.4 * np.log1p(-usual))
    swipes = [
        Drift("swipes", name, *_swipe_streams(jax.random.fold_in(key, number), after, streams))
        for number, (name, after) in enumerate([("swipes more", hastier), ("types exchanged", swapped_hazard())])
    ]
    dynamics = [Drift("series", name, _series_streams(draw, name, streams)) for name in CHANGES]
    clusters = [Drift("clusters", name, *_cluster_streams(draw, name, streams)) for name in ("blend", "move")]
    return (*swipes, *dynamics, *clusters)


def _swipe_streams(key: Array, after: Float64[np.ndarray, "types seconds"], streams: int) -> tuple[Streams, Streams]:
    """Dual error of a model that knows the hazards of before: squared error, and entropy of what it says."""
    known = jnp.asarray(patient_and_not(), jnp.float32)
    tables = jnp.where((jnp.arange(STEPS) < CHANGE)[:, None, None], known[None], jnp.asarray(after, jnp.float32)[None])

    def one(k: Array) -> Views:
        k_people, k_watch = jax.random.split(k)
        return watch_videos(k_watch, crowd(k_people, ENTITIES), tables)[1]

    views = jax.vmap(one)(jax.random.split(key, streams))
    said = leave_distribution(known)

    def of_slot(kind: Array, left: Array) -> tuple[Array, Array]:
        both = dual_error(said[kind], left, jnp.ones_like(left, bool))
        return jnp.mean(both.squared), jnp.mean(both.entropy)

    error, spread = jax.vmap(jax.vmap(of_slot))(views.kind, views.left)
    return np.asarray(error, np.float64), np.asarray(spread, np.float64)


def _series_streams(draw: np.random.Generator, change: str, streams: int) -> Streams:
    """Squared one-step errors of a linear forecaster trained on other series of the old dynamics."""
    past = [_one_step(one) for one in series(draw, 8, 300, CALM, CALM, 0)]
    model = linear_forecaster(jax.tree.map(lambda *parts: jnp.concatenate(parts), *past))
    reach = STEPS + LAGS
    live = series(draw, streams * ENTITIES, reach, CALM, CHANGES[change](CALM), CHANGE + LAGS)
    errors = np.stack([np.asarray(squared_error(model, _one_step(one))) for one in live])
    return errors.reshape(streams, ENTITIES, -1).mean(axis=1)[:, :STEPS].astype(np.float64)


def _one_step(one: Float64[np.ndarray, " steps"]) -> Examples:
    return examples_of(one, deviation=1.0, horizons=(1,))


def _cluster_streams(draw: np.random.Generator, change: str, streams: int) -> tuple[Streams, Streams]:
    """Distance to the nearest centre, and entropy of the assignment, of users whose features hold type shares.

    `blend`: tastes become mixtures of two groups' tastes. `move`: one group takes to a type that no group had.
    """
    from sklearn.cluster import KMeans  # a second to import

    centres = 0.7 * np.eye(4, _TYPES) + 0.3 / _TYPES
    taste = np.tile(centres, (streams * ENTITIES // 4, 1))
    blended = 0.5 * (taste + np.roll(taste, 1, axis=0))
    moved = taste.copy()
    moved[::4] = 0.35 * np.eye(_TYPES)[0] + 0.35 * np.eye(_TYPES)[6] + 0.3 / _TYPES
    after = {"blend": blended, "move": moved}[change]
    past = np.tile(centres, (60, 1)) + _FEATURE_NOISE * draw.standard_normal((240, _TYPES))
    fitted = KMeans(4, n_init="auto", random_state=0).fit(past)
    known, inertia = (
        jnp.asarray(fitted.cluster_centers_, jnp.float32),
        jnp.float32(float(fitted.inertia_ or 0.0) / len(past)),
    )
    noise = _FEATURE_NOISE * draw.standard_normal((STEPS, len(taste), _TYPES))
    now = np.where((np.arange(STEPS) < CHANGE)[:, None, None], taste[None], after[None]) + noise
    found = jax.vmap(lambda features: cluster_error(features, known, inertia))(jnp.asarray(now, jnp.float32))

    def streamed(values: Float[Array, "steps users"]) -> Streams:
        return np.asarray(values, np.float64).reshape(STEPS, streams, ENTITIES).mean(axis=2).T

    return streamed(found.distance), streamed(found.entropy)


def standardised(streams: Streams) -> Streams:
    """Streams in standard deviations from the mean, both of the first `SETTLE` steps: what every detector is given."""
    calm = streams[:, :SETTLE]
    return (streams - calm.mean(axis=1, keepdims=True)) / (calm.std(axis=1, ddof=1, keepdims=True) + 1e-9)


def cumulative(z: Streams, threshold: float, allowance: float) -> Alarms:
    """Alarms of the cumulative detector, all streams at once."""
    detector = cumulative_detector(threshold, allowance, clip=max(6.0, 2 * allowance), settle=SETTLE)
    alarms = detect(detector, detector.init(len(z)), jnp.asarray(z.T, jnp.float32))[1]
    return np.asarray(alarms).T


def plain_sum(z: Streams, threshold: float) -> Alarms:
    """Alarms of the sum of errors as the paper words it, with nothing taken off: errors count from 3 s below normal."""
    detector = cumulative_detector(threshold, 0.0, clip=20.0, settle=2, level="zero")
    alarms = detect(detector, detector.init(len(z)), jnp.asarray(np.maximum(z + 3.0, 0.0).T, jnp.float32))[1]
    return np.asarray(alarms).T


def each(alarms: Callable[[Float64[np.ndarray, " steps"]], Bool[np.ndarray, " steps"]], z: Streams) -> Alarms:
    """Alarms of a detector that sees one stream at a time."""
    return np.stack([alarms(one) for one in z])


def settings() -> Mapping[str, tuple[Setting, ...]]:
    """Settings of every detector among which the tuning streams choose; each has about as many."""
    ours = [
        Setting(f"threshold {h:g}, allowance {k:g}", partial(cumulative, threshold=h, allowance=k))
        for h in (4.0, 7.0, 12.0, 18.0, 30.0, 50.0)
        for k in (0.25, 0.5, 1.0)
    ]
    page = [
        Setting(f"threshold {h:g}, delta {d:g}", partial(each, partial(page_hinkley_alarms, threshold=h, delta=d)))
        for h in (4.0, 7.0, 12.0, 18.0, 30.0, 50.0)
        for d in (0.25, 0.5, 1.0)
    ]
    window = [
        Setting(f"delta {d:g}, grace {g}", partial(each, partial(adwin_alarms, delta=d, grace=g)))
        for d in (0.5, 0.2, 0.05, 0.01, 0.002, 1e-4)
        for g in (10, 30, 60)
    ]
    plain = [Setting(f"threshold {h:g}", partial(plain_sum, threshold=h)) for h in (100.0, 300.0, 1e3, 3e3, 4e3)]
    return {
        OURS: tuple(ours),
        "Page-Hinkley": tuple(page),
        "ADWIN": tuple(window),
        "plain sum": tuple(plain),
    }


def scored(alarms: Alarms) -> Score:
    """Delay to the first alarm after the change, and alarms between `SETTLE` and the change."""
    after = alarms[:, CHANGE:]
    first: Int64[np.ndarray, " streams"] = np.where(after.any(axis=1), after.argmax(axis=1), STEPS - CHANGE)
    false = alarms[:, SETTLE:CHANGE].sum() / (len(alarms) * (CHANGE - SETTLE))
    return Score(first.astype(np.float64), float(1000 * false))


@dataclass(frozen=True)
class Detected:
    """Chosen setting by (signal, detector), all scores by (signal, drift, detector), and of every setting tried (false
    alarms, delay) in the mean over signals.
    """

    chosen: Mapping[tuple[str, str], str]
    scores: Mapping[tuple[str, str, str], Score]
    tradeoff: Mapping[str, Float64[np.ndarray, "settings 2"]]

    def delay(self, detector: str) -> float:
        """Mean delay over all drifts."""
        return float(np.mean([score.delay.mean() for (_, _, name), score in self.scores.items() if name == detector]))

    def rows(self, seed: int) -> tuple[Row, ...]:
        """A row for each drift and detector."""
        ordered = sorted(self.scores.items(), key=lambda item: item[0][:2])
        return tuple(_row(f"{signal}: {drift}", name, score, seed) for (signal, drift, name), score in ordered)


def judge_detectors(seed: int, streams: int = 20) -> Detected:
    """Settings chosen for each signal on one set of streams (least mean delay with at most `MOST_FALSE` false alarms in
    1,000 slots), judged on another.
    """
    tuning, testing = drifts(2 * seed + 1_000, streams), drifts(2 * seed + 1_001, streams)
    chosen: dict[tuple[str, str], str] = {}
    scores: dict[tuple[str, str, str], Score] = {}
    tradeoff: dict[str, Float64[np.ndarray, "settings 2"]] = {}
    for name, several in settings().items():
        tried: list[list[tuple[float, float]]] = []
        for signal in dict.fromkeys(drift.signal for drift in tuning):
            mine = [standardised(drift.error) for drift in tuning if drift.signal == signal]
            tuned = [_pooled([scored(one.alarms(z)) for z in mine]) for one in several]
            best = several[_best(tuned)]
            chosen[signal, name] = best.label
            scores |= _tested(name, best, [drift for drift in testing if drift.signal == signal])
            tried.append(tuned)
        tradeoff[name] = np.mean(np.array(tried), axis=0)
    return Detected(chosen, scores, tradeoff)


def _tested(name: str, setting: Setting, testing: Sequence[Drift]) -> dict[tuple[str, str, str], Score]:
    """Scores on drifts that chose nothing; the cumulative detector is tried on their entropies as well."""
    found: dict[tuple[str, str, str], Score] = {}
    for drift in testing:
        found[drift.signal, drift.name, name] = scored(setting.alarms(standardised(drift.error)))
        if name == OURS and drift.entropy is not None:
            found[drift.signal, drift.name, ENTROPY] = scored(setting.alarms(standardised(drift.entropy)))
    return found


def _best(tuned: list[tuple[float, float]]) -> int:
    quiet = [place for place, (false, _) in enumerate(tuned) if false <= MOST_FALSE]
    loudness = [false for false, _ in tuned]
    return min(quiet, key=lambda place: tuned[place][1]) if quiet else int(np.argmin(loudness))


def _pooled(scores: list[Score]) -> tuple[float, float]:
    return float(np.mean([s.false_alarms for s in scores])), float(np.mean([s.delay.mean() for s in scores]))


def _row(drift: str, detector: str, score: Score, seed: int) -> Row:
    draw = np.random.default_rng(seed)
    means = score.delay[draw.integers(len(score.delay), size=(400, len(score.delay)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    values = {
        "delay (slots)": Estimate(float(score.delay.mean()), float(low), float(high)),
        "missed": Estimate(score.missed),
        "false alarms / 1000 slots": Estimate(score.false_alarms),
    }
    return Row(
        (f"detection: {drift}", detector), "proposed" if detector.startswith("cumulative") else "baseline", values
    )
