"""The adaptive window against every fixed one, at the same number of reconfigurations and overall."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64
from scipy import stats

from twinloop.decision import (
    BLOCK_S,
    SIGNALS,
    WINDOW_BLOCKS,
    AdaptiveWindow,
    DynamicsScale,
    adaptive_window,
    dynamics_score,
    fit_scale,
    fixed_window,
    threshold_candidates,
    tune_thresholds,
)
from twinloop.reporting import Curve, Figure, Panel, plot_curves
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row
from twinloop.studies.evaluate.windows.worlds import Lived, World, draw_worlds, live, play

EXPERIENCE = "mean experience (1-5)"
MORE = "above fixed windows (points)"
PER_HOUR = "reconfigurations an hour"
HOURS = 8.0
LOAD = 1.0
TRAINING, TESTED = 16, 40
GAP = 1e-3
_GAMES = 1600
_FROZEN_S = (1.0, 10.0)
_MINUTES = tuple(round(blocks * BLOCK_S / 60.0) for blocks in WINDOW_BLOCKS)
Tell = Callable[[str], None]
Samples = Float64[np.ndarray, " seeds"]


class Found(NamedTuple):
    """One choice of windows over the test seeds."""

    name: str
    policy: AdaptiveWindow
    experience: Samples
    per_hour: Samples
    lived: Lived


class Condition(NamedTuple):
    """One length of the frozen slot: fixed windows and adaptive ones on the test seeds, and the scale of the score."""

    frozen_s: float
    fixed: tuple[Found, ...]
    matched: tuple[Found, ...]
    best: Found
    unfed: Found


def evaluate_windows(seed: int = 0, progress: Tell = lambda _: None, *, seeds: int = TESTED) -> Judgement:
    """Adaptive windows against windows of 3 to 15 minutes in worlds that are calm and busy in turn.

    Scales, weights and thresholds are tuned on 16 seeds, judged on `seeds` others.
    """
    blocks = round(HOURS * 3600.0 / BLOCK_S)
    progress(f"drawing {TRAINING + seeds} worlds")
    training = _draw(jax.random.key(2 * seed), TRAINING, blocks, LOAD)
    tested = _draw(jax.random.key(2 * seed + 1), seeds, blocks, LOAD)
    conditions: list[Condition] = []
    for frozen_s in _FROZEN_S:
        progress(f"tuning and judging with {frozen_s:g} s frozen at a reconfiguration")
        conditions.append(_condition(training, tested, frozen_s))
    progress(f"playing {_GAMES} games")
    every = tested.seen.demand.reshape(-1, *tested.seen.demand.shape[2:])
    played = jax.jit(play)(every[:: max(every.shape[0] // _GAMES, 1)])
    gap = float(jnp.max(played.gap))
    claims = [_matched_claim(conditions[0], found, blocks) for found, blocks in _inner(conditions[0])]
    claims += [_best_claim(conditions[0]), _gap_claim(gap)]
    return Judgement(
        title="Windows that follow the network's dynamics against fixed windows",
        labels=("frozen slot", "windows"),
        rows=tuple(row for condition in conditions for row in _rows(condition)),
        claims=tuple(claims),
        numbers={
            "seeds": float(seeds),
            "hours_a_seed": HOURS,
            "load_factor": LOAD,
            "games_played": float(played.gap.size),
            "largest_equilibrium_gap": gap,
            "mean_price_of_anarchy_at_most": float(jnp.mean(played.price_of_anarchy)),
            "mean_jain_index": float(jnp.mean(played.jain)),
        },
        method=_METHOD,
        figures={
            "windows_tradeoff.png": partial(_draw_tradeoff, conditions),
            "windows_over_time.png": partial(_draw_time, tested, conditions[0]),
        },
    )


_METHOD = (
    "light worlds of slices alone: 2 cells, 5 slices, ln demand wanders by .3 in 3 min when busy, at a tenth of that "
    "pace when calm, regimes of 20-30 min; experience 1 + 4 s(reserved / demand), s the sigmoid satisfaction; no "
    "channels, players or computing",
    "twins see demand at a block's end with an error of 10 %; slices are reserved by marginal gain, the rest by demand",
    "a reconfiguration freezes all slices: in the frozen slot nobody is served (experience 1)",
    "scales, weights and thresholds are chosen on 16 other seeds: for each fixed window the best setting with as few "
    "reconfigurations, and the best one overall; feedback moves thresholds by at most .1 of the score",
    "same number of reconfigurations: each seed against its own fixed windows, interpolated to the number it used; "
    "windows of 3 and 15 min leave no choice at their own number, so they are met by the best setting overall",
    "intervals: 95 %, paired over seeds",
)


_draw = jax.jit(draw_worlds, static_argnums=(1, 2, 3))


def _condition(training: World, tested: World, frozen_s: float) -> Condition:
    frozen = jnp.float32(frozen_s)
    plain = DynamicsScale(jnp.ones(len(SIGNALS)), jnp.full(len(SIGNALS), 1.0 / len(SIGNALS)))
    standing = _live_all(training, plain, [fixed_window(WINDOW_BLOCKS[0])], frozen)
    changed = standing.changed[0].reshape(-1, len(SIGNALS))
    scale = fit_scale(changed, _lost(standing.by_block[0], standing.due[0]).reshape(-1))
    candidates = threshold_candidates(dynamics_score(scale, changed))
    tried = _live_all(training, scale, [adaptive_window(row) for row in candidates], frozen)
    experience, count = jnp.mean(tried.experience, axis=1), jnp.mean(tried.per_hour, axis=1)
    fixed = [fixed_window(blocks) for blocks in WINDOW_BLOCKS]
    allowed = jnp.mean(_live_all(training, scale, fixed, frozen).per_hour, axis=1)
    matched = [tune_thresholds(candidates, experience, count, float(allowed[index])) for index in (1, 2, 3)]
    best = tune_thresholds(candidates, experience, count, float("inf"))
    unfed = adaptive_window(best, rate=0.0, most_shift=0.0)
    policies = [*fixed, *(adaptive_window(row) for row in matched), adaptive_window(best), unfed]
    names = [f"fixed, {minutes} min" for minutes in _MINUTES]
    names += [f"adaptive, at most as often as {minutes} min" for minutes in _MINUTES[1:4]]
    names += ["adaptive, best", "adaptive, best, without feedback"]
    lived = _live_all(tested, scale, policies, frozen)
    found = [
        Found(
            name,
            policy,
            np.asarray(lived.experience[row], np.float64),
            np.asarray(lived.per_hour[row], np.float64),
            jax.tree.map(lambda leaf, at=row: leaf[at], lived),
        )
        for row, (name, policy) in enumerate(zip(names, policies, strict=True))
    ]
    return Condition(frozen_s, tuple(found[:5]), tuple(found[5:8]), found[8], found[9])


@jax.jit
def _live_stacked(worlds: World, scale: DynamicsScale, policies: AdaptiveWindow, frozen_s: Any) -> Lived:
    one = jax.vmap(live, in_axes=(0, None, None, None))
    return jax.lax.map(lambda policy: one(worlds, scale, policy, frozen_s), policies)


def _live_all(worlds: World, scale: DynamicsScale, policies: list[AdaptiveWindow], frozen_s: Any) -> Lived:
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *policies)
    return _live_stacked(worlds, scale, stacked, frozen_s)


def _lost(by_block: jax.Array, due: jax.Array) -> jax.Array:
    """Experience lost by every block since the first one after slices were last decided, in every world."""

    def since(opening: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        mean, decided = now
        lost = opening - mean
        return jnp.where(decided, mean, opening), jnp.where(decided, 0.0, lost)

    return jax.lax.scan(since, by_block[:, 0], (by_block.T, due.T))[1].T


def _inner(condition: Condition) -> list[tuple[Found, int]]:
    return list(zip(condition.matched, _MINUTES[1:4], strict=True))


def _above_fixed(condition: Condition, found: Found) -> Samples:
    """Seed by seed: experience above that of fixed windows with as many reconfigurations, interpolated."""
    counts = np.stack([one.per_hour for one in condition.fixed])
    values = np.stack([one.experience for one in condition.fixed])
    level = [np.interp(n, counts[:, s], values[:, s]) for s, n in enumerate(found.per_hour)]
    return found.experience - np.asarray(level)


def _paired(difference: Samples) -> Estimate:
    mean = float(difference.mean())
    half = float(stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / np.sqrt(len(difference)))
    return Estimate(mean, mean - half, mean + half)


def _rows(condition: Condition) -> list[Row]:
    label = f"{condition.frozen_s:g} s"
    rows = [
        Row((label, one.name), "baseline", {EXPERIENCE: _paired(one.experience), PER_HOUR: _paired(one.per_hour)})
        for one in condition.fixed
    ]
    for one in (*condition.matched, condition.best, condition.unfed):
        values = {
            EXPERIENCE: _paired(one.experience),
            PER_HOUR: _paired(one.per_hour),
            MORE: _paired(_above_fixed(condition, one)),
        }
        rows.append(Row((label, one.name), "reference" if one is condition.unfed else "proposed", values))
    return rows


def _matched_claim(condition: Condition, found: Found, minutes: int) -> Claim:
    more = _paired(_above_fixed(condition, found))
    statement = f"for as many reconfigurations as fixed windows of {minutes} min, adaptive ones give more experience"
    return Claim(statement, more, more.low is not None and more.low > 0)


def _best_claim(condition: Condition) -> Claim:
    differences = [_paired(condition.best.experience - one.experience) for one in condition.fixed]
    worst = min(differences, key=lambda one: one.value)
    return Claim(
        "one adaptive setting gives more experience than every fixed window (the least difference, points)",
        worst,
        all(one.low is not None and one.low > 0 for one in differences),
    )


def _gap_claim(gap: float) -> Claim:
    return Claim(f"equilibrium gap of every game below {GAP:g} of a group's worth", Estimate(gap), gap < GAP)


def _draw_tradeoff(conditions: list[Condition]) -> Figure:
    panels: list[Panel] = []
    for condition in conditions:
        adaptive = sorted((*condition.matched, condition.best), key=lambda one: float(one.per_hour.mean()))
        curves = tuple(
            Curve(
                name,
                np.array([one.per_hour.mean() for one in several]),
                np.array([one.experience.mean() for one in several]),
            )
            for name, several in (("fixed windows of 15 to 3 min", condition.fixed), ("adaptive windows", adaptive))
        )
        title = f"{condition.frozen_s:g} s frozen at a reconfiguration"
        panels.append(Panel(PER_HOUR, EXPERIENCE, curves, title, free_y=True, dotted=True))
    return plot_curves(panels, "Experience against how often slices are decided anew")


def _draw_time(worlds: World, condition: Condition) -> Figure:
    hours = (np.arange(worlds.busy.shape[1]) + 0.5) * BLOCK_S / 3600.0
    best, nine = condition.best, condition.fixed[2]

    def since(found: Found) -> Float64[np.ndarray, " blocks"]:
        due = np.flatnonzero(np.asarray(found.lived.due[0]))
        at = np.arange(len(hours))
        following = np.append(due, len(hours))[np.searchsorted(due, at, side="right")]
        return (following - due[np.searchsorted(due, at, side="right") - 1]) * BLOCK_S / 60.0

    busy = np.asarray(worlds.busy[0], np.float64)
    regime = Curve("busy (15) or calm (0)", hours, 15.0 * busy, measured=True)
    windows = (regime, Curve(best.name, hours, since(best)), Curve(nine.name, hours, since(nine)))
    felt = tuple(Curve(one.name, hours, np.asarray(one.lived.by_block[0], np.float64)) for one in (best, nine))
    shown = (
        Panel("time (h)", "window (min)", windows, "windows of one seed", free_y=True),
        Panel("time (h)", EXPERIENCE, felt, "what people experience", free_y=True),
    )
    return plot_curves(shown, "Windows over time")
