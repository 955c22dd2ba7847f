"""Predicted demand against what experience really takes: who meets the agreement, and what it costs above the least."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from twinloop.decision import Demand, channel_power
from twinloop.reporting import Curve, Figure, Panel, plot_curves
from twinloop.studies.evaluate.demand.plans import PRICES, hear, know, plan
from twinloop.studies.evaluate.demand.worlds import (
    MOST_HZ,
    POPULATIONS,
    USERS,
    World,
    clairvoyant,
    draw_world,
    measure,
)
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row

SHARE_TARGET, COST_TARGET = 0.9, 1.15
CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
KNOWN = "links and models known"
LINKS = "links known, models fitted"
NOTHING = "links and models forecast"
POOLED = "the same, one budget for all"
KNOWLEDGE = (KNOWN, LINKS, NOTHING, POOLED)
MET, FREE = "share meeting ELA", "the same, cycles as needed"
COST, MEDIAN = "cost / clairvoyant", "median user's cost ratio"

_TUNING_SEED, _TESTING_SEED = 20_000, 50_000
_SEEDS = 2**31
_MARGIN = 0.02
_CACHE_BYTES = 0.5e9
_METRICS = (MET, FREE, COST, MEDIAN)
_RESAMPLES = 400


@dataclass(frozen=True)
class Outcome:
    """How the users of one world fared: true E* less ELA, the same had cycles been free, what was paid and the least
    that could have been, and whether any amount would have done.
    """

    above: Float64[np.ndarray, " users"]
    above_free: Float64[np.ndarray, " users"]
    paid: Float64[np.ndarray, " users"]
    least: Float64[np.ndarray, " users"]
    feasible: Bool[np.ndarray, " users"]


Outcomes = Mapping[tuple[str, str, float], Sequence[Outcome]]


def evaluate_demand(
    seed: int = 0,
    *,
    minutes: int = 3,
    worlds: int = 6,
    tuning: int = 6,
    progress: Callable[[str], None] = lambda line: None,
) -> Judgement:
    """Demand for windows of `minutes`, in `worlds` networks of 24 users a population; `tuning` others fix the margin.

    Every user is granted the predicted bandwidth, cycles, cache and reports and nothing else; E* is measured in the
    simulated network with the true models, whose radio, hazards and transcoding the twin believes to be others. The
    least cost is found with the true future, key and model. What is known to the twin is varied, to tell what the error
    comes from.
    """
    tuned = _outcomes("tuning", _TUNING_SEED + 1000 * seed, minutes, tuning, progress)
    tested = _outcomes("judging", _TESTING_SEED + 1000 * seed, minutes, worlds, progress)
    chosen = {(people, known): _confidence(tuned, people, known) for people in POPULATIONS for known in KNOWLEDGE}
    rows = tuple(_row(tested, people, known, chosen[people, known], seed) for people, known in chosen)
    claims = tuple(
        claim for people in POPULATIONS for known in (NOTHING, KNOWN) for claim in _claims(rows, people, known)
    )
    feasible = [one.feasible for people in POPULATIONS for one in tested[people, KNOWN, CONFIDENCES[0]]]
    numbers = {"feasible_share": float(np.mean(np.concatenate(feasible))), "window_min": float(minutes)}
    return Judgement(
        title="Demand: experience at the predicted resources, and their cost",
        labels=("people", "the twin's knowledge"),
        rows=rows,
        claims=claims,
        numbers=numbers,
        method=_METHOD,
        figures={
            "demand-trade-off.png": partial(_draw_trade_off, tested),
            "demand-experience.png": partial(_draw_users, tested, chosen),
        },
    )


_METHOD = (
    f"Two cells of 15 MHz at 780.5 MHz (paper 000, IV); {USERS} users a network, each in a slice of its own; ELA even "
    "in [3, 5]. Least cost: the cheapest of three ways to follow the links, by bisection up to "
    f"{MOST_HZ / 1e6:.0f} MHz with the true future; who cannot be satisfied then is not feasible and not counted.",
    f"Prices: {PRICES['bandwidth'] * 1e6:.0f} a MHz, {PRICES['cycles'] * 1e9:.0f} a Gcycle/s, 1 for 1 GB held for all, "
    f"{PRICES['sensing']:.2f} a report/s. The least cost pays for as much cache as it holds, and for no reports.",
    "In a slot a grant is the predicted mean times (efficiency last reported)^-follow, over the mean of that power in "
    "the forecast; reports come as often as the demand asks, a slot late, with 1 dB of noise. What is granted is paid, "
    "even where links make it more than was predicted. Where links are known, grants follow the true links too.",
    "Cycles are a budget of the window: taken as needed until the predicted amount is spent, then nothing is "
    "transcoded. The prediction holds at the confidence asked for; beside it, shares with cycles as needed.",
    "One budget for all: in every slot the predicted bandwidths of the feasible users are shared in proportion to what "
    "each would be granted, and their cycles come from one budget.",
    "Judged is the level-one demand with its own forecast of links, a Gauss-Markov model of SINR; `--policy agents` "
    "solves the same demand over the emulator's prospects instead, whose accuracy is not judged here.",
    f"Margins: the smallest confidence of {', '.join(f'{one:g}' for one in CONFIDENCES)} at which "
    f"{SHARE_TARGET + _MARGIN:.0%} of the users of other networks met their ELA, else the largest. Intervals: 95 %, "
    "networks resampled.",
)


def _outcomes(
    stage: str, first_seed: int, minutes: int, worlds: int, progress: Callable[[str], None]
) -> dict[tuple[str, str, float], list[Outcome]]:
    found: dict[tuple[str, str, float], list[Outcome]] = {}
    for people in POPULATIONS:
        for index in range(worlds):
            progress(f"{stage}: {people}, network {index + 1} of {worlds}")
            seed = (first_seed + index) % _SEEDS
            for key, outcome in _world_outcomes(draw_world(people, seed, minutes), seed).items():
                found.setdefault((people, *key), []).append(outcome)
    return found


def _world_outcomes(
    world: World, seed: int, confidences: Sequence[float] = CONFIDENCES
) -> dict[tuple[str, float], Outcome]:
    truth, ela = world.truth, jnp.asarray(world.ela, jnp.float32)
    k_know, k_plan = jax.random.split(jax.random.key(seed + 1))
    k_hear = jax.random.key(seed + 2)
    least_hz, cycles = clairvoyant(world, jnp.full(USERS, _CACHE_BYTES))
    feasible = np.isfinite(least_hz)
    bandwidth = PRICES["bandwidth"] * np.where(feasible, least_hz, 0.0)
    least = bandwidth + PRICES["cycles"] * cycles + PRICES["cache"] * _CACHE_BYTES
    informed, fitted = know(k_know, world, models_known=True), know(k_know, world, models_known=False)
    found: dict[tuple[str, float], Outcome] = {}

    def fared(wanted: Demand, told: Array, *, pooled: bool) -> Outcome:
        above, free, paid = _bought(world, wanted, told, jnp.asarray(feasible & pooled))
        return Outcome(above, free, paid, least, feasible)

    for confidence in confidences:
        for name, twin, given in ((KNOWN, informed, True), (LINKS, fitted, True), (NOTHING, fitted, False)):
            known = (truth.efficiency, truth.speed_mps, jnp.asarray(given))
            wanted = plan(k_plan, twin, ela, known, jnp.float32(confidence))
            told = truth.efficiency if given else hear(k_hear, twin, truth, wanted.reports_per_s)
            found[name, confidence] = fared(wanted, told, pooled=False)
            if not given:
                found[POOLED, confidence] = fared(wanted, told, pooled=True)
    return found


def _bought(
    world: World, wanted: Demand, told: Float[Array, "users slots"], pooled: Bool[Array, " users"]
) -> tuple[Float64[np.ndarray, " users"], Float64[np.ndarray, " users"], Float64[np.ndarray, " users"]]:
    """E* less ELA, the same with cycles as needed, and what was paid, where links are believed as `told` and users in
    `pooled` share what was predicted for them.
    """
    grant = wanted.bandwidth_hz[:, None] * channel_power(told, wanted.follow) / wanted.scale[:, None]
    asked = jnp.sum(jnp.where(pooled[:, None], grant, 0.0), axis=0, keepdims=True)
    budget = jnp.sum(jnp.where(pooled, wanted.bandwidth_hz, 0.0))
    grant = jnp.where(pooled[:, None], grant * budget / jnp.maximum(asked, 1.0), grant)
    lived = [
        measure(world.truth, grant, cycles, wanted.cache_bytes, pooled).experience
        for cycles in (wanted.cycles_per_s, jnp.full(USERS, jnp.inf))
    ]
    paid = (
        PRICES["bandwidth"] * jnp.mean(grant, axis=1)
        + PRICES["cycles"] * wanted.cycles_per_s
        + PRICES["cache"] * wanted.cache_bytes
        + PRICES["sensing"] * wanted.reports_per_s
    )
    above, free = (np.asarray(experience, np.float64) - world.ela for experience in lived)
    return above, free, np.asarray(paid, np.float64)


def _joined(outcomes: Sequence[Outcome]) -> tuple[Float64[np.ndarray, " users"], ...]:
    """E* - ELA, the same with cycles as needed, paid and least of all feasible users."""
    pick = [one.feasible for one in outcomes]
    parts = ("above", "above_free", "paid", "least")
    return tuple(
        np.concatenate([getattr(one, part)[mask] for one, mask in zip(outcomes, pick, strict=True)]) for part in parts
    )


def _confidence(tuned: Outcomes, people: str, known: str) -> float:
    for confidence in CONFIDENCES:
        above, *_ = _joined(tuned[people, known, confidence])
        if float(np.mean(above >= 0)) >= SHARE_TARGET + _MARGIN:
            return confidence
    return CONFIDENCES[-1]


def _row(tested: Outcomes, people: str, known: str, confidence: float, seed: int) -> Row:
    outcomes = tested[people, known, confidence]
    draw = np.random.default_rng(seed)
    picks = draw.integers(len(outcomes), size=(_RESAMPLES, len(outcomes)))
    resampled = np.array([_figures([outcomes[i] for i in pick]) for pick in picks])
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    values = _figures(outcomes)
    metrics = {name: Estimate(values[i], float(low[i]), float(high[i])) for i, name in enumerate(_METRICS)}
    role = "proposed" if known in (NOTHING, POOLED) else "reference"
    return Row((people, known), role, metrics | {"confidence": Estimate(confidence)})


def _figures(outcomes: Sequence[Outcome]) -> tuple[float, ...]:
    """Values of `_METRICS`."""
    above, free, paid, least = _joined(outcomes)
    shares = (float(np.mean(above >= 0)), float(np.mean(free >= 0)))
    return (*shares, float(paid.sum() / least.sum()), float(np.median(paid / least)))


def _claims(rows: Sequence[Row], people: str, known: str) -> tuple[Claim, Claim]:
    values = next(row.values for row in rows if row.names == (people, known))
    share, cost = values[MET], values[COST]
    about = f"{people}, {known}"
    return (
        Claim(f"{about}: at least 90 % of feasible users meet their ELA", share, share.value >= SHARE_TARGET),
        Claim(f"{about}: the cost is at most 15 % above the clairvoyant's", cost, cost.value <= COST_TARGET),
    )


def _draw_trade_off(tested: Outcomes) -> Figure:
    panels = [
        Panel(
            x_label="cost / clairvoyant least cost",
            y_label="share meeting their ELA",
            curves=tuple(_trade(tested, people, known) for known in KNOWLEDGE),
            title=people,
            dotted=True,
            marks=((COST_TARGET, "+15 %"),),
        )
        for people in POPULATIONS
    ]
    return plot_curves(panels, "What certainty costs: confidence from .5 to .98, by what the twin knows")


def _trade(tested: Outcomes, people: str, known: str) -> Curve:
    figures = np.array([_figures(tested[people, known, confidence]) for confidence in CONFIDENCES])
    return Curve(known, figures[:, _METRICS.index(COST)], figures[:, _METRICS.index(MET)])


def _draw_users(tested: Outcomes, chosen: Mapping[tuple[str, str], float]) -> Figure:
    panels: list[Panel] = []
    for people in POPULATIONS:
        joined = {known: _joined(tested[people, known, chosen[people, known]]) for known in KNOWLEDGE}
        curves = tuple(Curve.exceeding(known, np.clip(one[0], -2.0, None)) for known, one in joined.items())
        panels.append(Panel("measured E* - ELA", "share of users above", curves, people))
        ratios = tuple(Curve.exceeding(known, one[2] / one[3]) for known, one in joined.items())
        panels.append(Panel("cost / least cost", "share of users above", ratios, people, log_x=True))
    return plot_curves(panels, "Users at the predicted resources, margins as tuned")


__all__ = ["evaluate_demand"]
