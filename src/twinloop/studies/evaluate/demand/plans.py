"""What the twin plans for a window: from reports, ratings and swipes seen to samples of what may come, to demands."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from twinloop.decision import (
    Caps,
    Demand,
    Futures,
    People,
    Prices,
    Supply,
    believe_links,
    fit_links,
    predict_demand,
    rules_of,
    sample_links,
    started,
    store_of,
)
from twinloop.qoe import (
    SCORE_VARIANCE,
    Conditions,
    Ratings,
    UserModels,
    behaviour_of,
    draw_scores,
    environment_of,
    fit_users,
    predict,
)
from twinloop.simulator import Params, spectral_efficiency
from twinloop.studies.evaluate.demand.worlds import MOST_HZ, PAST_SLOTS, USERS, Past, Truth, World
from twinloop.units import mps_from_kmh

REPORTS_PER_S = (1.0, 0.25, 0.0625)
SAMPLES = 24
RATINGS = 60
PRICES = {"bandwidth": 1e-6, "cycles": 1e-9, "cache": 1.0 / (USERS * 1e9), "sensing": 0.02}
"""Of 1 MHz, 1 Gcycle/s, 1 GB held for everybody, .02 a report/s; *ours*."""

_NOISE_DB = 1.0
_PRIOR_SWIPES = 2.0


class Twin(eqx.Module):
    """What the twin holds at the start of a window: believed parameters, link reports, models of experience."""

    believed: Params
    past: Past
    sinr_db: Float[Array, "users reports"]
    buffer_s: Float[Array, " users"]
    rate_bps: Float[Array, " users"]
    watch_s: Float[Array, " users"]
    models: UserModels
    model_std: Float[Array, " users"]


def know(key: PRNGKeyArray, world: World, *, models_known: bool) -> Twin:
    """The twin of a world: a report a second with 1 dB of noise; models are known, or fitted to 60 ratings."""
    k_noise, k_rate = jax.random.split(key)
    past, playback = world.past, world.truth.state.playback
    assert world.truth.params.raters is not None
    true = world.truth.params.raters.models
    models, spread = (true, jnp.full(USERS, 0.01)) if models_known else _fitted(k_rate, true, past)
    noise = _NOISE_DB * jax.random.normal(k_noise, past.sinr_db.shape)
    return Twin(
        world.believed,
        past,
        past.sinr_db + noise,
        playback.buffer_s,
        playback.rate_estimate_bps,
        playback.watch_s,
        models,
        spread,
    )


@eqx.filter_jit
def plan(
    key: PRNGKeyArray,
    twin: Twin,
    ela: Float[Array, " users"],
    known: tuple[Float[Array, "users slots"], Float[Array, "users minutes"], Array],
    confidence: Float[Array, ""],
) -> Demand:
    """The demand of every user for a window; with `known` (efficiency, speed, whether they are known) or forecasts."""
    efficiency, speed, given = known
    futures = _futures(key, twin, efficiency, speed, given)
    believed = twin.believed
    rules = rules_of(believed.player, believed.catalogue)
    supply = Supply(rules, store_of(believed.catalogue), believed.edge.cycles_per_bit)
    people = People(twin.models, twin.model_std, ela, started(rules, twin.buffer_s, twin.rate_bps, twin.watch_s))
    prices = Prices(**{name: jnp.float32(value) for name, value in PRICES.items()})
    caps = Caps(jnp.full(USERS, MOST_HZ), jnp.full(USERS, 10e9), jnp.full(USERS, 0.5e9))
    return predict_demand(supply, people, futures, jnp.asarray(REPORTS_PER_S), prices, caps, confidence)


def _futures(key: PRNGKeyArray, twin: Twin, efficiency: Array, speed_mps: Array, given: Array) -> Futures:
    """Samples with a leading axis of reporting rates; what is given replaces what is forecast of links and speed.

    Swipes: a gamma distribution of the hazard by those seen; speeds: minutes of the user's own past.
    """
    slots, minutes = efficiency.shape[1], speed_mps.shape[1]
    k_links, k_leave, k_chance, k_speed = jax.random.split(key, 4)
    before = _rated(twin, twin.sinr_db[:, -1])
    model = fit_links(twin.sinr_db, 1.0)
    belief = believe_links(model, twin.sinr_db, 1.0, jnp.ones(USERS))
    hazard = -jnp.log1p(-twin.believed.viewers.hazard[0, 0])
    shape = _PRIOR_SWIPES + twin.past.swipes
    watched = _PRIOR_SWIPES / hazard + twin.past.played_s
    leave = jax.random.gamma(k_leave, shape[None], (SAMPLES, USERS)) / watched[None]
    chance = jax.random.uniform(k_chance, (SAMPLES, USERS, slots))
    drawn = jax.random.randint(k_speed, (SAMPLES, USERS, minutes), 0, twin.past.speed_mps.shape[1])
    own = jnp.take_along_axis(
        jnp.broadcast_to(twin.past.speed_mps[None], (SAMPLES, *twin.past.speed_mps.shape)), drawn, 2
    )

    def at(reports_per_s: Float[Array, ""]) -> Futures:
        coming = _rated(twin, sample_links(k_links, belief, SAMPLES, slots))
        told = last_told(coming, before, jnp.broadcast_to(reports_per_s, (USERS,)))
        return Futures(
            efficiency=jnp.where(given, efficiency[None], coming),
            believed=jnp.where(given, efficiency[None], told),
            speed_mps=jnp.where(given, speed_mps[None], own),
            leave_per_s=leave,
            chance=chance,
        )

    return jax.vmap(at)(jnp.asarray(REPORTS_PER_S))


def hear(
    key: PRNGKeyArray, twin: Twin, truth: Truth, reports_per_s: Float[Array, " users"]
) -> Float[Array, "users slots"]:
    """What the twin holds for every link in every slot of the true window, told `reports_per_s` with 1 dB of noise."""
    trace = truth.params.radio_trace
    assert trace is not None
    noise = _NOISE_DB * jax.random.normal(key, trace.sinr_db.shape)
    return last_told(_rated(twin, trace.sinr_db + noise), _rated(twin, twin.sinr_db[:, -1]), reports_per_s)


def last_told(
    efficiency: Float[Array, "*samples users slots"],
    before: Float[Array, " users"],
    reports_per_s: Float[Array, " users"],
) -> Float[Array, "*samples users slots"]:
    """The efficiency [bit/s/Hz] that the latest report before each slot told; `before`: the last one before the window.

    A user reports once in 1 / reports_per_s slots, last in the slot before the window.
    """
    at = jnp.arange(efficiency.shape[-1])[None]
    period = jnp.maximum(jnp.round(1.0 / reports_per_s), 1.0).astype(jnp.int32)[:, None]
    source = jnp.broadcast_to(at - at % period, efficiency.shape)
    first = jnp.broadcast_to(before[:, None], (*efficiency.shape[:-1], 1))
    return jnp.take_along_axis(jnp.concatenate([first, efficiency], axis=-1), source, axis=-1)


def _rated(twin: Twin, sinr_db: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Efficiency by the believed radio, times the ratio that the past's rates showed to what was believed of them."""

    def rate(level_db: Array) -> Array:
        return spectral_efficiency(twin.believed.radio, level_db.reshape(-1)).reshape(level_db.shape)

    return rate(sinr_db) * jnp.sum(twin.past.efficiency) / jnp.sum(rate(twin.sinr_db))


@eqx.filter_jit
def _fitted(key: PRNGKeyArray, true: UserModels, past: Past) -> tuple[UserModels, Float[Array, " users"]]:
    """Models fitted to ratings of minutes of all kinds, and the standard deviation of E where a window will be."""
    keys = jax.random.split(key, 6)
    shape = (USERS, RATINGS)
    stalls = 4.0 * jax.random.exponential(keys[0], shape) * (jax.random.uniform(keys[1], shape) < 0.5)
    speed = jax.random.uniform(keys[2], shape, minval=mps_from_kmh(2.0), maxval=mps_from_kmh(40.0))
    conditions = Conditions(
        stall_s=jnp.minimum(stalls, 60.0),
        quality=jax.random.uniform(keys[3], shape),
        behaviour=behaviour_of(jax.random.poisson(keys[4], 6.0, shape).astype(jnp.float32)),
        environment=environment_of(speed),
    )
    experience = jax.vmap(true.experience, in_axes=1, out_axes=1)(conditions)
    score = draw_scores(keys[5], experience, jnp.full(shape, SCORE_VARIANCE))
    fitted = fit_users(Ratings(conditions, score, jnp.ones(shape)))
    minute = jnp.ones((USERS, 1))
    near = Conditions(
        stall_s=0.5 * minute,
        quality=0.7 * minute,
        behaviour=behaviour_of(60.0 * past.swipes / PAST_SLOTS)[:, None],
        environment=environment_of(jnp.mean(past.speed_mps, axis=1))[:, None],
    )
    _, spread = predict(fitted, near)
    return fitted.blend, spread[:, 0]
