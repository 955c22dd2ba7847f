"""Worlds that change at a known time: simulated viewers whose swiping drifts, and series whose dynamics do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, PRNGKeyArray

from twinloop.datasets import shipped_figures
from twinloop.simulator import Viewers, leave_probability

TYPES, SECONDS = 8, 15
PEOPLE = 48


class Views(eqx.Module):
    """Videos that were watched: the viewer's past habit (mean share watched so far), the type, and the second in which
    the viewer left (`SECONDS` for the end).
    """

    habit: Float[Array, " examples"]
    kind: Int[Array, " examples"]
    left: Int[Array, " examples"]


class Crowd(eqx.Module):
    """People who watch one video each a slot: their factors on the hazard, and the running share they watch."""

    factor: Float[Array, " people"]
    habit: Float[Array, " people"]


@cache
def patient_and_not() -> Float64[np.ndarray, "types seconds"]:
    """Hazards of the shipped types by second for a viewer with factor 1, told apart more than measured.

    From the most patient type to the least the cumulative hazard is multiplied by 1/3 to 3 (*ours*), so that what is
    learned of the types matters.
    """
    hazard = shipped_figures().hazard
    rank = np.argsort(np.argsort(hazard.sum(axis=1))) / (TYPES - 1)
    return -np.expm1(np.log1p(-hazard) * 9.0 ** (rank - 0.5)[:, None])


def swapped_hazard() -> Float64[np.ndarray, "types seconds"]:
    """The same hazards with patient and impatient types exchanged: as hard to predict, but another world."""
    hazard = patient_and_not()
    order = np.argsort(hazard.sum(axis=1))
    swapped = np.empty_like(hazard)
    swapped[order] = hazard[order[::-1]]
    return swapped


def crowd(key: PRNGKeyArray, people: int = PEOPLE) -> Crowd:
    """People with factors as measured (lognormal, mean 1), whose habit is not known yet."""
    spread = shipped_figures().user_factor_spread
    factor = jnp.exp(spread * jax.random.normal(key, (people,)) - 0.5 * spread**2)
    return Crowd(factor, jnp.full(people, 0.5))


@eqx.filter_jit
def watch_videos(key: PRNGKeyArray, people: Crowd, hazard: Float[Array, "slots types seconds"]) -> tuple[Crowd, Views]:
    """One video a person and slot, types drawn evenly; leaving as the simulator's viewers do. Views by slot."""

    def slot(before: Crowd, given: tuple[Array, Array]) -> tuple[Crowd, Views]:
        k, table = given
        k_kind, k_leave = jax.random.split(k)
        count = before.factor.shape[0]
        kind = jax.random.randint(k_kind, (count,), 0, table.shape[0])
        zero, never = jnp.float32(0.0), jnp.zeros(0, jnp.int32)
        viewers = Viewers(table, zero, jnp.zeros((1, 1)), never, jnp.zeros((0, 1, 1)), zero, zero)
        at = jnp.arange(table.shape[1], dtype=jnp.float32)
        chance = jax.vmap(
            lambda second: leave_probability(
                viewers, kind, before.factor, jnp.full(count, second), jnp.full(count, second + 1.0)
            )
        )(at)
        leaves = jax.random.uniform(k_leave, chance.shape) < chance
        left = jnp.where(jnp.any(leaves, axis=0), jnp.argmax(leaves, axis=0), table.shape[1]).astype(jnp.int32)
        views = Views(before.habit, kind, left)
        watched = left / table.shape[1]
        return Crowd(before.factor, before.habit + 0.1 * (watched - before.habit)), views

    return jax.lax.scan(slot, people, (jax.random.split(key, hazard.shape[0]), hazard))


class SwipeModel(eqx.Module):
    """Hazard of leaving by second, from the type of the video and the habit of the viewer."""

    network: eqx.nn.MLP

    def hazard(
        self, kind: Int[Array, " examples"], habit: Float[Array, " examples"]
    ) -> Float[Array, "examples seconds"]:
        """Chance to leave in each second, given that it is reached."""
        inputs = jnp.concatenate([jax.nn.one_hot(kind, TYPES), habit[:, None]], axis=1)
        return jax.nn.sigmoid(jax.vmap(self.network)(inputs) - 3.0)


def swipe_model(key: PRNGKeyArray) -> SwipeModel:
    """An untrained one."""
    return SwipeModel(eqx.nn.MLP(TYPES + 1, SECONDS, 32, 1, key=key))


def leave_distribution(hazard: Float[Array, "examples seconds"]) -> Float[Array, "examples outcomes"]:
    """Probability of leaving in each second, and of seeing the end: p_t = h_t prod_{s < t} (1 - h_s)."""
    stay = jnp.cumprod(1.0 - hazard, axis=1)
    before = jnp.concatenate([jnp.ones((hazard.shape[0], 1)), stay], axis=1)
    return before * jnp.concatenate([hazard, jnp.ones((hazard.shape[0], 1))], axis=1)


def swipe_errors(model: SwipeModel, views: Views) -> Float[Array, " examples"]:
    """Negative log-likelihood (nats) of when each viewer left."""
    chance = leave_distribution(model.hazard(views.kind, views.habit))
    return -jnp.log(jnp.take_along_axis(chance, views.left[:, None], axis=1)[:, 0] + 1e-9)


@dataclass(frozen=True)
class Dynamics:
    """x_t = level + scale (sum_k a_k u_(t-k) + noise): an autoregression u of variance about 1, and its size."""

    lags: tuple[float, ...] = (1.4, -0.6)
    level: float = 10.0
    scale: float = 1.0


CALM = Dynamics()
CHANGES: dict[str, Callable[[Dynamics], Dynamics]] = {
    "level": lambda d: Dynamics(d.lags, 0.6 * d.level, d.scale),
    "scale": lambda d: Dynamics(d.lags, d.level, 1.6 * d.scale),
    "dynamics": lambda d: Dynamics((-0.5, 0.3), d.level, d.scale),
}


def series(
    draw: np.random.Generator, count: int, steps: int, before: Dynamics, after: Dynamics, change: int
) -> Float64[np.ndarray, "count steps"]:
    """Series that follow `before` and from step `change` on `after`."""
    run_in = 50
    u = np.zeros((count, steps + run_in))
    x = np.zeros((count, steps + run_in))
    for step in range(2, steps + run_in):
        now = before if step - run_in < change else after
        noise = _noise(now) * draw.standard_normal(count)
        u[:, step] = now.lags[0] * u[:, step - 1] + now.lags[1] * u[:, step - 2] + noise
        x[:, step] = now.level + now.scale * u[:, step]
    return x[:, run_in:]


@cache
def _noise(dynamics: Dynamics) -> float:
    """Deviation of the noise that gives the autoregression variance 1 (Yule-Walker)."""
    a, b = dynamics.lags
    variance = (1 - b) / ((1 + b) * ((1 - b) ** 2 - a**2))
    return float(1 / np.sqrt(variance))
