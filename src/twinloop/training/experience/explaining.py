"""Which factors matter to one user, and the user's expected experience along each."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from twinloop.errors import ModelError
from twinloop.learning import read_card
from twinloop.qoe import (
    BEST,
    IMPACTS,
    RULES,
    WORST,
    Conditions,
    FittedUsers,
    benjamini_hochberg,
    distance_correlation,
    expected_score,
    predict,
    to_percent,
)
from twinloop.training.experience.own_scores import Scale
from twinloop.training.experience.saved import SessionModel, UsersModel, load_opinion_model
from twinloop.training.experience.sessions import Sessions

_POINTS: Final = 41
_Z95: Final = 1.96
_PERMUTATIONS: Final = 499
_STALL_CHUNK: Final = 2
_CONDITIONS: Final = {
    "stalling (s/min)": "stall_s",
    "quality (0-1)": "quality",
    "behavioural dynamics B": "behaviour",
    "environment C": "environment",
}


@dataclass(frozen=True)
class Matter:
    """A factor: distance correlation with the user's scores, p of the permutation test, and p corrected for many.

    `varies` is False where it is constant in the ratings, or there are fewer than four.
    """

    factor: str
    correlation: float
    p_value: float
    adjusted: float
    varies: bool


@dataclass(frozen=True)
class Effect:
    """Expected score against one factor, all others held, with the ends of 95 % intervals."""

    factor: str
    x: Float64[np.ndarray, " points"]
    score: Float64[np.ndarray, " points"]
    low: Float64[np.ndarray, " points"]
    high: Float64[np.ndarray, " points"]


@dataclass(frozen=True)
class Explained:
    """What is known of one user: matters by falling correlation, effects, and lines about the model.

    Scores of effects are on `scale`, the one that people were asked on.
    """

    user: str
    scale: Scale
    matters: tuple[Matter, ...]
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]


def explain(path: Path, user: str, seed: int = 0) -> Explained:
    """The model in `path` as it concerns `user`. Raises ModelError for an unknown user or another kind of file."""
    model, users = load_opinion_model(path)
    if user not in users:
        near = get_close_matches(user, users, n=1)
        known = f"one of {len(users)} users: {', '.join(users[:3])}{' ...' if len(users) > 3 else ''}"
        raise ModelError(path, f"no user {user!r}", f"did you mean {near[0]}?" if near else known)
    row = users.index(user)
    if isinstance(model, SessionModel):
        return _of_rater(model, user, row, seed)
    card = read_card(path)
    return _of_user(model, user, row, seed, "5" if card["scale"] == "5" else "100", card.get("further", ()))


def _matters(
    names: Sequence[str],
    factors: Float[Array, "ratings factors"],
    score: Float[Array, " ratings"],
    there: Array,
    seed: int,
) -> tuple[Matter, ...]:
    found = eqx.filter_jit(distance_correlation)(
        jax.random.key(seed), factors[None], score[None], there[None], _PERMUTATIONS
    )
    usable, adjusted = np.asarray(found.usable)[0], np.ones(len(names))
    if usable.any():
        adjusted[usable] = np.asarray(benjamini_hochberg(found.p_value[0, usable]))
    correlation, p_value = np.asarray(found.plain[0]), np.asarray(found.p_value[0])
    rows = [
        Matter(name, float(correlation[k]), float(p_value[k]), float(adjusted[k]), bool(usable[k]))
        for k, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda one: -one.correlation))


def _of_rater(model: SessionModel, user: str, row: int, seed: int) -> Explained:
    logs = jax.tree.map(lambda leaf: leaf[model.rated[row]], model.logs)
    step = jnp.diff(logs.level, axis=1)
    factors = {
        "stalling (s)": logs.stall_s.sum(axis=1),
        "stalls": (logs.stall_s > 0.01).sum(axis=1).astype(jnp.float32),
        "start-up delay (s)": logs.startup_s,
        "mean level of quality": logs.level.mean(axis=1),
        "worst level": logs.level.min(axis=1),
        "last level": logs.level[:, -1],
        "falls of level": jnp.maximum(-step, 0.0).sum(axis=1),
        "HEVC": logs.hevc,
    }
    table = jnp.stack(list(factors.values()), axis=1)
    matters = _matters(list(factors), table, model.score[row], jnp.ones(len(table), bool), seed)
    device = jax.nn.one_hot(model.device[row], logs.device.shape[1])
    effects = tuple(
        _effect_of_rater(model, row, factor, x, _varied(logs, device, factor, x))
        for factor, x in {
            "stalling (s)": np.linspace(0.0, 8.0, _POINTS),
            "start-up delay (s)": np.linspace(0.0, 4.0, _POINTS),
            "bitrate (kbit/s)": np.geomspace(235.0, 16800.0, _POINTS),
            "bitrate of the last two chunks (kbit/s)": np.geomspace(235.0, 5800.0, _POINTS),
        }.items()
    )
    notes = (
        f"{len(table)} ratings; curves: seven 4-s chunks at 5.8 Mbit/s in H.264 without stalls, but for the factor",
        "intervals hold what is not known of the rater, not the noise of a score nor doubts about people on average",
    )
    return Explained(user, "100", matters, effects, notes)


def _varied(logs: Sessions, device: Array, factor: str, x: Float64[np.ndarray, " points"]) -> Sessions:
    """Plain sessions of one device in which `factor` takes the values x."""
    count, chunks = len(x), logs.level.shape[1]
    along = jnp.asarray(x, jnp.float32)
    level = jnp.full((count, chunks), float(np.log(58.0)))
    stall = jnp.zeros((count, chunks - 1))
    startup = jnp.zeros(count)
    if factor == "stalling (s)":
        stall = stall.at[:, _STALL_CHUNK].set(along)
    elif factor == "start-up delay (s)":
        startup = along
    elif factor == "bitrate (kbit/s)":
        level = jnp.broadcast_to(jnp.log(along / 100.0)[:, None], level.shape)
    else:
        level = level.at[:, -2:].set(jnp.log(along / 100.0)[:, None])
    # encoded rates spread about their targets as they do in the median session, so that none looks like odd content
    over = jnp.median(logs.rate - logs.level, axis=0)
    devices = jnp.broadcast_to(device[None], (count, len(device)))
    return Sessions(level, level + over[None], stall, startup, devices, jnp.zeros(count))


def _effect_of_rater(
    model: SessionModel, row: int, factor: str, x: Float64[np.ndarray, " points"], sessions: Sessions
) -> Effect:
    mean, deviation = (np.asarray(one, np.float64) for one in model.expected(row, sessions))
    low, high = (np.clip(mean + sign * _Z95 * deviation, 0.0, 100.0) for sign in (-1, 1))
    return Effect(factor, x, mean, low, high)


def _of_user(model: UsersModel, user: str, row: int, seed: int, scale: Scale, further: Sequence[str]) -> Explained:
    ratings = jax.tree.map(lambda leaf: leaf[row], model.ratings)
    there, stand_ins = ratings.weight >= 1.0, int(((ratings.weight > 0.0) & (ratings.weight < 1.0)).sum())
    values = {told: getattr(ratings.conditions, name) for told, name in _CONDITIONS.items()}
    if model.further is not None:
        values |= {name: model.further[row, :, column] for column, name in enumerate(further)}
    matters = _matters(list(values), jnp.stack(list(values.values()), axis=1), ratings.score, there, seed)
    everybody = model.ratings.weight > 0.0
    effects = tuple(
        _effect_of_user(model, row, told, name, everybody, scale)
        for told, name in _CONDITIONS.items()
        if np.ptp(np.asarray(getattr(model.ratings.conditions, name))[np.asarray(everybody)]) > 0
    )
    structure = int(model.fitted.structure[row])
    sure = float(model.fitted.probability[row, structure])
    estimated = f", {stand_ins} opinions estimated from behaviour" if stand_ins else ""
    notes = (
        f"{int(there.sum())} ratings{estimated}; likeliest rule {RULES[structure // len(IMPACTS)]}, moved by "
        f"{IMPACTS[structure % len(IMPACTS)]} (probability {sure:.2f})",
        "curves: the other factors at the median of all users' ratings; intervals without the noise of a score",
    )
    if further:
        notes = (*notes, f"no curve for {', '.join(further)}: the expected score is no function of them")
    return Explained(user, scale, matters, effects, notes)


def _effect_of_user(model: UsersModel, row: int, told: str, name: str, everybody: Array, scale: Scale) -> Effect:
    users = everybody.shape[0]
    held = {
        one: np.asarray(getattr(model.ratings.conditions, one))[np.asarray(everybody)] for one in _CONDITIONS.values()
    }
    x = np.linspace(float(held[name].min()), float(held[name].max()), _POINTS)
    tables = {one: np.full((users, _POINTS), float(np.median(values)), np.float32) for one, values in held.items()}
    tables[name] = np.broadcast_to(x.astype(np.float32), (users, _POINTS))
    curves = _expected(model.fitted, Conditions(**{k: jnp.asarray(v) for k, v in tables.items()}))[:, row]
    ends = [np.asarray(one if scale == "5" else to_percent(one), np.float64) for one in curves]
    return Effect(told, x, *ends)


@eqx.filter_jit
def _expected(fitted: FittedUsers, conditions: Conditions) -> Float[Array, "3 users periods"]:
    """Expected scores, and those at the ends of the 95 % interval of E."""
    mean, deviation = predict(fitted, conditions)
    ends = mean[None] + jnp.array([0.0, -_Z95, _Z95])[:, None, None] * deviation[None]
    return expected_score(jnp.clip(ends, WORST, BEST), fitted.variance[None, :, None])
