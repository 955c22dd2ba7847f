"""Upkeep where it serves: runs of the campus whose people change their habits, beside ways that need no training."""

from collections.abc import Mapping
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from twinloop.runs import run
from twinloop.scenario import build_loop, load
from twinloop.studies.evaluate.drift.operating import estimate
from twinloop.studies.evaluate.judgement import Claim, Estimate, Row, at_most
from twinloop.twins import SwipeCounts, begun_anew, count_viewings

OURS = "with upkeep"
ANEW = "begun anew at the alarm, no training"
FADING = "counts of 5 minutes"
ALONE = "counting alone"
NETWORK = "network's own hazards, at last"
SPANS_S = {"8 min before": (-480, 0), "0 to 5 min": (0, 300), "5 to 10 min": (300, 600), "10 to 15 min": (600, 900),
           "15 to 25 min": (900, 1500)}  # fmt: skip
_MEMORY_S = 300.0
_FIRST_SEED = 1000
BACK = 1.10


@dataclass(frozen=True)
class InRuns:
    """Nats a view by way [runs, spans], of the network's own hazards at last, and when each drift was found and
    answered, and the drill rolled back (s); NaN for never. `late` slots are those of blocks that fell behind.
    """

    ways: Mapping[str, Float64[np.ndarray, "runs spans"]]
    network: Float64[np.ndarray, " runs"]
    found_s: Float64[np.ndarray, " runs"]
    answered_s: Float64[np.ndarray, " runs"]
    back_s: Float64[np.ndarray, " runs"]
    late: int


def judge_runs(seed: int, runs: int) -> InRuns:
    """Live `runs` runs of `campus-drift` and count their views in other ways."""
    described = load("campus-drift")
    ways: dict[str, list[list[float]]] = {}
    told: list[dict[str, float]] = []
    late = 0
    for number in range(runs):
        own = _FIRST_SEED + 100 * seed + number
        lived = run(described, seed=own)
        kind = lived.arrays["view_video_class"]
        views = (jnp.asarray(kind), jnp.asarray(lived.arrays["view_second"]))
        counts = build_loop(described.model_copy(update={"seed": own}))[1].twin.swipes
        events, (fate,) = lived.summary["upkeep"]["events"], lived.summary["upkeep"]["drifts"]
        at = round(fate["at_s"])
        alarm = np.isin(np.arange(len(kind)), [event["slot"] for event in events if event["kind"] == "drift"])
        fade, never = float(np.exp(-1.0 / _MEMORY_S)), np.zeros_like(alarm)
        others = {ANEW: (1.0, alarm), FADING: (fade, never), ALONE: (1.0, never)}
        surprises = {OURS: lived.arrays["view_surprise"]} | {
            name: np.asarray(_counted(counts, *views, jnp.float32(keep), jnp.asarray(anew)))
            for name, (keep, anew) in others.items()
        }
        for name, surprise in surprises.items():
            spans = [_mean(surprise, kind, at + low, at + high) for low, high in SPANS_S.values()]
            ways.setdefault(name, []).append(spans)
        told.append(_told(fate, events))
        late += lived.summary["pace"]["late_slots"]
    columns = {name: np.array([one[name] for one in told]) for name in told[0]}
    return InRuns({name: np.array(spans) for name, spans in ways.items()}, late=late, **columns)


@eqx.filter_jit
def _counted(
    counts: SwipeCounts,
    video_class: Int[Array, "slots users"],
    second: Int[Array, "slots users"],
    keep: Float[Array, ""],
    anew: Bool[Array, " slots"],
) -> Float[Array, "slots users"]:
    """Surprise at each view of twins that only count; what was counted a slot ago weighs `keep` of now."""

    def one(before: SwipeCounts, given: tuple[Array, Array, Array]) -> tuple[SwipeCounts, Array]:
        kind, left, afresh = given
        faded = eqx.tree_at(lambda c: (c.left, c.reached), before, (keep * before.left, keep * before.reached))
        start = jax.tree.map(lambda a, b: jnp.where(afresh, a, b), begun_anew(faded), faded)
        after = count_viewings(start, kind, left)
        return after, after.latest.surprise

    return jax.lax.scan(one, counts, (video_class, second, anew))[1]


def _mean(surprise: np.ndarray, kind: np.ndarray, begin: int, end: int) -> float:
    ended = kind[max(begin, 0) : end] >= 0
    return float(np.mean(surprise[max(begin, 0) : end], where=ended, dtype=np.float64))


def _told(fate: Mapping[str, float | None], events: list[dict[str, object]]) -> dict[str, float]:
    def number(value: float | None) -> float:
        return float("nan") if value is None else float(value)

    drilled = {one["version"]: float(str(one["slot"])) for one in events if str(one["reason"]).startswith("drill")}
    back = {one["version"]: float(str(one["slot"])) for one in events if one["kind"] == "rolled back"}
    return {
        "network": number(fate["truth_after"]),
        "found_s": number(fate["found_after_s"]),
        "answered_s": number(fate["answered_after_s"]),
        "back_s": next((back[version] - slot for version, slot in drilled.items() if version in back), float("nan")),
    }


def run_rows(found: InRuns) -> list[Row]:
    """Nats a view by span and way, with 95 % intervals over runs."""
    rows: list[Row] = []
    for name, spans in found.ways.items():
        values = {span: estimate(spans[:, at].tolist()) for at, span in enumerate(SPANS_S)}
        if name == OURS:
            values["found after (s)"] = estimate(found.found_s.tolist())
            values["new version after (s)"] = estimate(found.answered_s.tolist())
            values["drill served (s)"] = estimate(found.back_s.tolist())
        rows.append(Row(("upkeep in runs", name), "proposed" if name == OURS else "baseline", values))
    last = list(SPANS_S)[-1]
    rows.append(Row(("upkeep in runs", NETWORK), "reference", {last: estimate(found.network.tolist())}))
    return rows


def run_claims(found: InRuns) -> tuple[Claim, ...]:
    """That the error comes back to that of the network's own hazards, and that upkeep beats what needs no training."""
    ours = found.ways[OURS]
    ratio = estimate((ours[:, -1] / found.network).tolist())
    claims = [
        at_most("campus-drift: error in the last 10 minutes over that of the network's own hazards", ratio, BACK),
        at_most("campus-drift: slots of blocks that fell behind", Estimate(float(found.late)), 0.0),
    ]
    after = slice(1, None)
    for name in (ALONE, ANEW):
        gap = (ours[:, after] - found.ways[name][:, after]).mean(axis=1)
        statement = f"campus-drift: error after the drift less that of '{name}'"
        claims.append(at_most(statement, estimate(gap.tolist()), 0.0))
    return tuple(claims)
