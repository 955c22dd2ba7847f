"""Swipes of the simulator's viewers against videos that were not fitted."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64, PRNGKeyArray

from twinloop.datasets import (
    LeaveDistribution,
    ViewingFigures,
    fit_factor_spread,
    held_out,
    load_leave_distributions,
    load_viewing_log,
    shipped_figures,
)
from twinloop.errors import DataError
from twinloop.reporting import Curve, Panel, plot_curves
from twinloop.simulator import Viewers, leave_probability
from twinloop.studies.evaluate.judgement import (
    KS_DISTANCE,
    KS_TARGET,
    Estimate,
    Judgement,
    Row,
    at_most,
    ks_distance,
    ks_row,
)

RATIOS = "watch ratio, all videos"
BY_VIDEO = "watch ratio, median over single videos"
_VIEWERS_PER_VIDEO = 200
_LENGTH_BINS_S = (0.0, 10.0, 20.0, 40.0, 1e9)

Ratios = Float64[np.ndarray, "videos viewers"]


def evaluate_swipe(data: Path, seed: int = 0) -> Judgement:
    """Watch ratios of simulated viewers against those of the videos in `data` that no shipped figure was fitted to.

    Raises DataError when a set is absent, faulty as a whole, or holds only fitted videos.
    """
    figures = shipped_figures().viewing
    videos = load_leave_distributions(data).required()
    unseen = [video for video in videos if held_out(video.name)]
    fitted = [video for video in videos if not held_out(video.name)]
    if not unseen or not fitted:
        raise DataError(data / "dashlet_turk", "no unseen video", "videos on both sides of the split")
    length_s = np.array([video.length_s for video in unseen])
    generated = _generators(figures, fitted, length_s, seed)
    measured = [_measured_ratios(video) for video in unseen]
    rows = _rows(measured, generated, fitted, seed)
    spread, users = fit_factor_spread(load_viewing_log(data).required()[0], unseen=True)
    return Judgement(
        title="Swipes: hazards by type times viewers' factors against unseen videos",
        labels=("quantity", "from"),
        rows=rows,
        claims=(at_most(f"KS distance of {RATIOS} at most {KS_TARGET:g}", rows[0].values[KS_DISTANCE], KS_TARGET),),
        numbers={
            "unseen_videos": float(len(unseen)),
            "factor_spread_shipped": figures.factor_spread,
            "factor_spread_unseen_users": spread,
            "unseen_users": float(users),
        },
        method=(
            f"{_VIEWERS_PER_VIDEO} simulated viewers a video, leaving second by second as the simulator's do; of an "
            "unseen video only the length is known: its type is drawn from P(type | length)",
            "watch ratio: (t - 1/2) / length for leaving in second t, 1 at the end, the same for both; every video "
            "weighs the same",
            "intervals: 90 % over resampled videos; single videos: median and 5 to 95 % of their own distances",
        ),
        figures={
            "swipe_ratios.png": partial(_draw_ratios, length_s, measured, generated),
            "swipe_types.png": partial(_draw_types, figures),
        },
    )


def side_by_side(videos: Judgement, people: Judgement) -> Judgement:
    """One judgement of swipes: unseen videos first, then unseen people."""
    return Judgement(
        title="Swipes against unseen videos and unseen people",
        labels=videos.labels,
        rows=(*videos.rows, *people.rows),
        claims=(*videos.claims, *people.claims),
        numbers={**videos.numbers, **people.numbers},
        method=(*videos.method, *people.method),
        figures={**videos.figures, **people.figures},
    )


def _generators(
    figures: ViewingFigures, fitted: list[LeaveDistribution], length_s: Float64[np.ndarray, " videos"], seed: int
) -> dict[str, Ratios]:
    """Watch ratios by name of generator; the first is ours, the others are baselines."""
    draw = np.random.default_rng(seed)
    chance = figures.type_given_length(length_s)
    kind = np.stack([draw.choice(len(row), size=_VIEWERS_PER_VIDEO, p=row) for row in chance])
    any_kind = np.zeros_like(kind)
    of_length = {
        length: [figures.hazard(index, length) for index in range(len(figures.types))]
        for length in set(length_s.tolist())
    }
    typed = [of_length[length] for length in length_s.tolist()]
    seconds = _hazard_in_seconds(fitted)
    pooled = [[np.resize(seconds, int(np.ceil(length)))] for length in length_s]
    poisson = [[np.full(int(np.ceil(length)), _constant_hazard(fitted))] for length in length_s]
    return {
        "types x viewers": watch(typed, kind, length_s, figures.factor_spread, seed),
        "types, no viewers' factors": watch(typed, kind, length_s, 0.0, seed),
        "one hazard by second": watch(pooled, any_kind, length_s, 0.0, seed),
        "constant hazard (Poisson)": watch(poisson, any_kind, length_s, 0.0, seed),
    }


def watch(
    hazard: list[list[Float64[np.ndarray, "_"]]],
    kind: Int64[np.ndarray, "videos viewers"],
    length_s: Float64[np.ndarray, " videos"],
    spread: float,
    seed: int,
) -> Ratios:
    """Watch ratios of viewers whose chance to leave is the simulator's; `hazard[video][kind]` by second."""
    kinds = len(hazard[0])
    longest = int(np.ceil(length_s.max()))
    table = np.stack([np.pad(row, (0, longest - len(row))) for video in hazard for row in video])
    row = np.arange(len(length_s))[:, None] * kinds + kind
    length = np.broadcast_to(length_s[:, None], kind.shape)
    watched_s = _watched(
        jax.random.key(seed),
        jnp.asarray(table, jnp.float32),
        jnp.asarray(row.ravel(), jnp.int32),
        jnp.asarray(length.ravel(), jnp.float32),
        jnp.float32(spread),
    )
    return np.minimum(np.asarray(watched_s, np.float64).reshape(kind.shape) / length, 1.0)


@jax.jit
def _watched(
    key: PRNGKeyArray,
    hazard: Float[Array, "classes seconds"],
    video_class: Int[Array, " viewers"],
    length_s: Float[Array, " viewers"],
    spread: Float[Array, ""],
) -> Float[Array, " viewers"]:
    k_factor, k_leave = jax.random.split(key)
    factor = jnp.exp(spread * jax.random.normal(k_factor, length_s.shape) - 0.5 * spread**2)
    nobody = jnp.zeros((1, 1))
    viewers = Viewers(hazard, spread, nobody, jnp.zeros(0, jnp.int32), jnp.zeros((0, 1, 1)), spread, spread)

    def second(watched_s: Array, at_s: Array):
        begin = jnp.full_like(length_s, at_s)
        chance = leave_probability(viewers, video_class, factor, begin, begin + 1.0)
        leaves = jax.random.uniform(jax.random.fold_in(k_leave, at_s.astype(jnp.int32)), length_s.shape) < chance
        leaves = leaves & (begin < length_s) & (watched_s >= length_s)
        return jnp.where(leaves, begin + 0.5, watched_s), None

    return jax.lax.scan(second, length_s, jnp.arange(hazard.shape[1], dtype=jnp.float32))[0]


def _measured_ratios(video: LeaveDistribution) -> Float64[np.ndarray, " viewers"]:
    """Watch ratios of as many viewers as a simulated video has, at the quantiles of the measured distribution."""
    seconds = len(video.leave_probability)
    ratio = np.append((np.arange(seconds) + 0.5) / seconds, 1.0)
    share = np.append(video.leave_probability, video.end_share)
    quantile = (np.arange(_VIEWERS_PER_VIDEO) + 0.5) / _VIEWERS_PER_VIDEO
    return ratio[np.minimum(np.searchsorted(np.cumsum(share), quantile), seconds)]


def _hazard_in_seconds(videos: list[LeaveDistribution]) -> Float64[np.ndarray, " seconds"]:
    """One hazard for all: leaves in second t over those who reached it, over all videos that last that long."""
    longest = max(len(video.leave_probability) for video in videos)
    left, reached = np.zeros(longest), np.zeros(longest)
    for video in videos:
        seconds = len(video.leave_probability)
        left[:seconds] += video.leave_probability
        reached[:seconds] += video.survival[:-1]
    return left / np.maximum(reached, 1e-9)


def _constant_hazard(videos: list[LeaveDistribution]) -> float:
    left = sum(1 - video.end_share for video in videos)
    watched = sum(float(video.survival[:-1].sum()) for video in videos)
    return left / watched


def _rows(
    measured: list[Float64[np.ndarray, "_"]],
    generated: dict[str, Ratios],
    fitted: list[LeaveDistribution],
    seed: int,
) -> tuple[Row, ...]:
    rows = [
        ks_row((RATIOS, name), "baseline" if index else "proposed", measured, ratios.ravel(), seed)
        for index, (name, ratios) in enumerate(generated.items())
    ]
    train = np.concatenate([_measured_ratios(video) for video in fitted])
    rows.append(ks_row((RATIOS, "videos of the fit"), "reference", measured, train, seed))
    for index, (name, ratios) in enumerate(generated.items()):
        single = [ks_distance(one, ratios[video]) for video, one in enumerate(measured)]
        low, middle, high = (float(value) for value in np.quantile(single, [0.05, 0.5, 0.95]))
        distance = {KS_DISTANCE: Estimate(middle, low, high)}
        rows.append(Row((BY_VIDEO, name), "baseline" if index else "proposed", distance))
    return tuple(rows)


def _draw_ratios(
    length_s: Float64[np.ndarray, " videos"],
    measured: list[Float64[np.ndarray, "_"]],
    generated: dict[str, Ratios],
):
    panels: list[Panel] = []
    for low, high in pairwise(_LENGTH_BINS_S):
        inside = np.flatnonzero((length_s > low) & (length_s <= high))
        if inside.size == 0:
            continue
        title = f"videos of {low:g} to {high:g} s" if high < 1e6 else f"videos above {low:g} s"
        curves = [Curve.exceeding("unseen videos", np.concatenate([measured[row] for row in inside]), measured=True)]
        curves += [Curve.exceeding(name, ratios[inside].ravel()) for name, ratios in generated.items()]
        panels.append(Panel("share of the video watched", "viewers still there", tuple(curves), title=title))
    return plot_curves(panels, "Watching: simulated against videos that were not fitted")


def _draw_types(figures: ViewingFigures):
    knots = np.array(figures.knots)
    panels = [
        Panel(
            "share of the video",
            "viewers still there",
            (Curve("viewer with factor 1", knots, np.exp(-np.array(kind.cumulative_hazard))),),
            title=f"{kind.name}, about {np.exp(kind.log_length_mean):.0f} s",
        )
        for kind in figures.types
    ]
    return plot_curves(panels, "The shipped types of video")
