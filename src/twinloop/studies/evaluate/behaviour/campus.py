"""Emulated viewers at work: the next swipe on the simulated campus, foretold by counting and by users' own past."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, PRNGKeyArray

from twinloop.datasets import ViewingFigures, shipped_figures
from twinloop.emulation import (
    STATES,
    History,
    Imitated,
    Video,
    default_assumptions,
    leave_probability,
    live,
    no_history,
    own_factor,
)
from twinloop.reporting import Curve, Figure, Panel, plot_curves
from twinloop.twins import SwipeCounts, empty_swipes, swipe_hazard

COUNTING = "counting by class"
FACTOR = "counting x user's factor"
NETWORK = "counting x network's factor"
ALONE = "network alone, type as factor"
FIGURES = "shipped types, no user"
TRUTH = "true hazards"
PREDICTORS = (COUNTING, FACTOR, NETWORK, ALONE, FIGURES, TRUTH)
SPREADS = (0.0, 0.42, 0.84)
_USERS = 60
_VIDEOS = 60
_SEEDS = 8
_LENGTH_S = 15.0
_EARLY_S = 5
_RECENT = 0.7
_CONCENTRATION = 0.5
_BELIEVED = 0.05
_MINUTES = 20


@dataclass(frozen=True)
class CampusViewers:
    """Nats a view of predictors by spread of users' factors, seed and videos seen; numbers and figures from them."""

    nats: Mapping[float, Float64[np.ndarray, "seeds videos predictors"]]
    numbers: dict[str, float]
    figures: dict[str, Callable[[], Figure]]


class Foretold(eqx.Module):
    """What is known on the way: counts by class, and of every user leaves against expectations."""

    counts: SwipeCounts
    left: Float[Array, " users"]
    expected: Float[Array, " users"]
    counted: History
    alone: History


class Campus(eqx.Module):
    """Types: hazards in 15-s videos and what they multiply pooled ones by; the Gamma shape of users' factors; and the
    twin's counts before any viewing.
    """

    hazard: Float[Array, "classes seconds"]
    type_factor: Float[Array, " classes"]
    shape: Float[Array, ""]
    uncounted: SwipeCounts


def campus_viewers(model: Imitated, seed: int) -> CampusViewers:
    """Surprise at the next views of 60 users who leave by type and own factor, as the simulator's do.

    The twin knows the types and the spread of factors as shipped; the spread of those who watch is 0 (nobody differs:
    a control), as shipped, and double.
    """
    campus = _campus(shipped_figures().viewing)
    key = jax.random.key(seed)
    nats = {spread: np.asarray(_foretell(key, model, campus, jnp.float32(spread)), np.float64) for spread in SPREADS}
    numbers: dict[str, float] = {}
    for spread, every in nats.items():
        mean = every.mean(axis=1)
        for name in (FACTOR, NETWORK, ALONE, TRUTH):
            gain = mean[:, PREDICTORS.index(COUNTING)] - mean[:, PREDICTORS.index(name)]
            word = name.replace(", ", " ").replace("'", "").replace(" ", "_")
            numbers[f"campus_spread_{spread:g}_gain_of_{word}"] = float(gain.mean())
            numbers[f"campus_spread_{spread:g}_gain_of_{word}_sd_of_seeds"] = float(gain.std(ddof=1))
    figures = {
        "people_campus.png": partial(_draw_campus, nats),
        "people_states.png": partial(_draw_states, model, seed),
    }
    return CampusViewers(nats, numbers, figures)


def _campus(figures: ViewingFigures) -> Campus:
    kinds = range(len(figures.types))
    hazard = np.stack([figures.hazard(kind, _LENGTH_S) for kind in kinds])
    total = -np.log1p(-hazard).sum(axis=1)
    return Campus(
        hazard=jnp.asarray(hazard, jnp.float32),
        type_factor=jnp.asarray(total / total.mean(), jnp.float32),
        shape=jnp.float32(1.0 / np.expm1(figures.factor_spread**2)),
        uncounted=empty_swipes(
            jnp.ones(_USERS, bool), jnp.full(len(kinds), _LENGTH_S), jnp.full(hazard.shape, _BELIEVED), 0.0
        ),
    )


@eqx.filter_jit
def _foretell(
    key: PRNGKeyArray, model: Imitated, campus: Campus, spread: Float[Array, ""]
) -> Float[Array, "seeds videos predictors"]:
    return jax.lax.map(lambda k: _one_campus(k, model, campus, spread), jax.random.split(key, _SEEDS))


def _one_campus(
    key: PRNGKeyArray, model: Imitated, campus: Campus, spread: Float[Array, ""]
) -> Float[Array, "videos predictors"]:
    k_factor, k_taste, k_watch = jax.random.split(key, 3)
    classes = campus.hazard.shape[0]
    factor = jnp.exp(spread * jax.random.normal(k_factor, (_USERS,)) - 0.5 * spread**2)
    taste = jax.random.dirichlet(k_taste, jnp.full(classes, _CONCENTRATION), (_USERS,))
    nothing = jnp.zeros(_USERS)
    start = Foretold(campus.uncounted, nothing, nothing, no_history(_USERS), no_history(_USERS))

    def one(known: Foretold, k: PRNGKeyArray) -> tuple[Foretold, Array]:
        k_kind, k_leave = jax.random.split(k)
        kind = jax.random.categorical(k_kind, jnp.log(taste), axis=1)
        true = -jnp.log1p(-campus.hazard[kind]) * factor[:, None]
        stays = jax.random.exponential(k_leave, (_USERS,))
        second = jnp.sum(jnp.cumsum(true, axis=1) < stays[:, None], axis=1)
        risks = _risks(known, model, campus, kind)
        nats = jnp.stack([jnp.mean(_surprise(risk, second)) for risk in (*risks, true)])
        return _updated(known, model, campus, kind, second, risks[0]), nats

    return jax.lax.scan(one, start, jax.random.split(k_watch, _VIDEOS))[1]


def _video(campus: Campus, kind: Int[Array, " users"]) -> Video:
    return Video(jnp.full(kind.shape, _LENGTH_S), jnp.zeros_like(kind), campus.type_factor[kind])


def _risks(
    known: Foretold, model: Imitated, campus: Campus, kind: Int[Array, " users"]
) -> tuple[Float[Array, "users seconds"], ...]:
    """Intensities of all predictors but the truth, in the order of PREDICTORS."""
    counted = -jnp.log1p(-swipe_hazard(known.counts)[kind])
    seconds = campus.hazard.shape[1]
    edges = jnp.tile(jnp.arange(seconds + 1, dtype=jnp.float32)[None, :], (kind.shape[0], 1))
    video = _video(campus, kind)
    own = (campus.shape + known.left) / (campus.shape + known.expected)
    return (
        counted,
        counted * own[:, None],
        counted * own_factor(model, known.counted, video, edges),
        -jnp.log1p(-leave_probability(model, known.alone, video, seconds)),
        -jnp.log1p(-campus.hazard[kind]),
    )


def _surprise(risk: Float[Array, "users seconds"], second: Int[Array, " users"]) -> Float[Array, " users"]:
    """-ln P(left in that second), or of the end where `second` is beyond the last."""
    seconds = risk.shape[1]
    reached = jnp.cumsum(risk, axis=1)
    here = jnp.take_along_axis(risk, jnp.minimum(second, seconds - 1)[:, None], axis=1)[:, 0]
    until = jnp.take_along_axis(reached, jnp.minimum(second, seconds - 1)[:, None], axis=1)[:, 0]
    return jnp.where(second >= seconds, until, until - here - jnp.log(-jnp.expm1(-jnp.maximum(here, 1e-12))))


def _updated(
    known: Foretold,
    model: Imitated,
    campus: Campus,
    kind: Int[Array, " users"],
    second: Int[Array, " users"],
    counted: Float[Array, "users seconds"],
) -> Foretold:
    seconds = counted.shape[1]
    at = jnp.arange(seconds)[None, :]
    here = (at == second[:, None]).astype(jnp.float32)
    there = (at <= second[:, None]).astype(jnp.float32)
    left, risk = jnp.sum(here, axis=1), counted * there
    watched_s = jnp.minimum(second + 0.5, _LENGTH_S)
    left_by, risk_by = (_by_phase(part) for part in (here, risk))
    before = known.counted
    video = _video(campus, kind)
    return Foretold(
        counts=eqx.tree_at(
            lambda c: (c.left, c.reached),
            known.counts,
            (known.counts.left.at[kind].add(here), known.counts.reached.at[kind].add(there)),
        ),
        left=known.left + left,
        expected=known.expected + jnp.sum(risk, axis=1),
        counted=History(
            seen=before.seen + 1.0,
            last_ratio=watched_s / _LENGTH_S,
            left=before.left + left_by,
            expected=before.expected + risk_by,
            recent=_RECENT * before.recent + left_by - risk_by,
        ),
        alone=model.remember(known.alone, video, watched_s),
    )


def _by_phase(part: Float[Array, "users seconds"]) -> Float[Array, "users phases"]:
    """Sums over the phases of a history; nobody replays on the campus."""
    none = jnp.zeros(part.shape[0])
    early = jnp.sum(part[:, 1:_EARLY_S], axis=1)
    return jnp.stack([part[:, 0], early, jnp.sum(part[:, _EARLY_S:], axis=1), none, none], axis=1)


def _draw_campus(nats: Mapping[float, Float64[np.ndarray, "seeds videos predictors"]]) -> Figure:
    seen = np.arange(_VIDEOS, dtype=np.float64) + 1
    panels: list[Panel] = []
    for spread, every in nats.items():
        excess = every - every[:, :, -1:]
        smooth = np.cumsum(excess.mean(axis=0), axis=0) / seen[:, None]
        curves = [Curve(name, seen, smooth[:, row]) for row, name in enumerate(PREDICTORS[:-1])]
        panels.append(
            Panel(
                "videos seen by each user",
                "nats a view above the truth",
                tuple(curves),
                f"spread {spread:g}",
                free_y=True,
            )
        )
    return plot_curves(panels, "The next swipe on the campus, mean since the start, by the spread of users' factors")


def _draw_states(model: Imitated, seed: int) -> Figure:
    """Shares of viewers in each state over a session's minutes, without stalls and with one second in ten stalled."""
    k_length, k_stall, k_live = jax.random.split(jax.random.key(seed), 3)
    users, seconds = 200, _MINUTES * 60
    length_s = jnp.exp(2.9 + 0.8 * jax.random.normal(k_length, (users, 50)))
    liking = jnp.zeros((users, 50), jnp.int32)
    begins = jax.random.uniform(k_stall, (users, seconds // 10)) < 0.1
    panels: list[Panel] = []
    for title, stalled in (
        ("no stalls", jnp.zeros((users, seconds), bool)),
        ("a tenth of the time in stalls of 10 s", jnp.repeat(begins, 10, axis=1)),
    ):
        lived = eqx.filter_jit(live)(k_live, model, default_assumptions(), length_s, liking, stalled)
        state = np.asarray(lived.state).reshape(users, _MINUTES, 60)
        share = [np.mean(state == number, axis=(0, 2)) for number in range(len(STATES))]
        at = np.arange(_MINUTES) + 0.5
        panels.append(
            Panel(
                "minutes since the first video",
                "share of viewers",
                tuple(Curve(name, at, y) for name, y in zip(STATES, share, strict=True)),
                title,
            )
        )
    return plot_curves(panels, "Lives of emulated viewers; pauses, absence and the response to stalls are assumed")
