"""Networks to predict demand in: what really comes, what it costs at least, and what a grant brings."""

from dataclasses import dataclass, replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

from twinloop.decision import FOLLOW, channel_power
from twinloop.entities import Action
from twinloop.qoe import SCORE_VARIANCE, draw_models
from twinloop.scenario import Scenario, build_loop
from twinloop.simulator import (
    Environment,
    Outcome,
    Overhead,
    Params,
    RadioTrace,
    Raters,
    State,
    init,
    step,
)
from twinloop.slicing import SliceTable

USERS = 24
PAST_SLOTS = 720
MOST_HZ = 8e6
"""The most bandwidth that one user can be granted."""

POPULATIONS = {
    "walking, 2-5 km/h": {"mobility": "levy", "speed_kmh": [2.0, 5.0]},
    "on paths, 2-40 km/h": {"mobility": "path", "speed_kmh": [2.0, 40.0]},
}
_PATHS = (
    ((100, 100), (900, 100), (900, 700), (100, 700)),
    ((200, 400), (800, 400), (800, 650), (200, 650)),
    ((500, 80), (920, 400), (500, 720), (80, 400)),
    ((150, 200), (500, 300), (850, 200), (700, 600), (300, 600)),
)
_SPAN, _GRID, _HALVINGS = 512.0, 19, 6
_PLENTY = 1e14


class Past(eqx.Module):
    """What happened before the window, slot by slot."""

    sinr_db: Float[Array, "users slots"]
    efficiency: Float[Array, "users slots"]
    swipes: Float[Array, " users"]
    played_s: Float[Array, " users"]
    speed_mps: Float[Array, "users minutes"]


class Truth(eqx.Module):
    """A network at the start of a window, with the links that will come; every user has a slice of its own."""

    params: Params
    environment: Environment
    state: State
    keys: Key[Array, " slots"]
    efficiency: Float[Array, "users slots"]
    speed_mps: Float[Array, "users minutes"]


@dataclass(frozen=True)
class World:
    """One drawn network: past, future, what the twin believes of the parameters, and what was agreed."""

    truth: Truth
    past: Past
    believed: Params
    ela: Float[np.ndarray, " users"]


class Bought(eqx.Module):
    """What a grant brought: mean true experience over the window's minutes, cycles used [cycles/s]."""

    experience: Float[Array, " users"]
    cycles_per_s: Float[Array, " users"]


def draw_world(population: str, seed: int, minutes: int) -> World:
    """A network with people of `population`, 12 min of past under equal shares, and the links of the next `minutes`."""
    loop, _ = build_loop(_scenario(population, seed))
    k_models, k_life, k_ela = jax.random.split(jax.random.key(seed), 3)
    variance = jnp.full(3, SCORE_VARIANCE)
    raters = Raters(draw_models(k_models, USERS), variance, jnp.ones(()), jnp.zeros(()))
    params = replace(loop.network.params, raters=raters)
    past, truth = _live(k_life, params, PAST_SLOTS, 60 * minutes)
    ela = np.asarray(jax.random.uniform(k_ela, (USERS,), minval=3.0, maxval=5.0), np.float64)
    return World(truth, past, loop.abstractor.params, ela)


@eqx.filter_jit
def measure(
    truth: Truth,
    grant_hz: Float[Array, "users slots"],
    cycles_per_s: Float[Array, " users"],
    cache_bytes: Float[Array, " users"],
    pooled: Bool[Array, " users"],
) -> Bought:
    """The window lived with `grant_hz` in every slot, a cache of each user's own, and `cycles_per_s` on average.

    Cycles are a budget of the window: taken as needed until they are spent, after which nothing is transcoded; users in
    `pooled` share theirs. Reservations are wide, so that nobody takes from another: what is granted is what a flow has.
    """
    params, topology = truth.params, truth.params.topology
    nothing = _nothing(params)
    rows = jnp.ones(USERS, bool)
    servers = topology.server_kappa.shape[0]
    held = jnp.broadcast_to(cache_bytes[None], (servers, USERS))
    plenty = jnp.full((servers, USERS), _PLENTY / USERS)
    band = jnp.full((topology.cell_server.shape[0], USERS), _PLENTY / USERS)
    budget = cycles_per_s * grant_hz.shape[1] * params.slot_s

    def slot(carry: tuple[State, Array], one: tuple[PRNGKeyArray, Array]) -> tuple[tuple[State, Array], Array]:
        state, spent = carry
        left = jnp.maximum(jnp.where(pooled, jnp.sum(jnp.where(pooled, budget - spent, 0.0)), budget - spent), 0.0)
        action = Action(rows, band, plenty, held, one[1], left / params.slot_s)
        state, outcome = step(one[0], params, truth.environment, state, action, nothing)
        return (state, spent + outcome.transcoded_bits * params.edge.cycles_per_bit), outcome.experience

    start = (truth.state, jnp.zeros(USERS))
    (_, spent), experience = jax.lax.scan(slot, start, (truth.keys, grant_hz.T))
    return Bought(jnp.mean(experience[59::60], axis=0), spent / (grant_hz.shape[1] * params.slot_s))


def granted(
    bandwidth_hz: Float[Array, " users"], efficiency: Float[Array, "users slots"], follow: Float[Array, " users"]
) -> Float[Array, "users slots"]:
    """The clairvoyant's grant: it means `bandwidth_hz` over the window and follows the links as they are."""
    power = channel_power(efficiency, follow)
    return bandwidth_hz[:, None] * power / jnp.mean(power, axis=1, keepdims=True)


def clairvoyant(world: World, cache_bytes: Float[Array, " users"]) -> tuple[np.ndarray, np.ndarray]:
    """Least bandwidth [Hz] with which each user's true experience reaches its agreement, and the cycles [1/s] it then
    uses; infinite where 8 MHz do not reach it.

    The true future, key and model are known: 19 amounts are lived through, then 6 halvings, for each of three ways to
    follow the links; the cheapest counts.
    """
    best, cycles = np.full(USERS, np.inf), np.zeros(USERS)
    for follow in FOLLOW:
        found, used = _least(world, cache_bytes, jnp.full(USERS, follow))
        cycles = np.where(found < best, used, cycles)
        best = np.minimum(found, best)
    return best, cycles


def _least(world: World, cache_bytes: Array, follow: Array) -> tuple[np.ndarray, np.ndarray]:
    truth, unlimited = world.truth, jnp.full(USERS, jnp.inf)

    def live(bandwidth_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        grant = granted(jnp.asarray(bandwidth_hz, jnp.float32), truth.efficiency, follow)
        bought = measure(truth, grant, unlimited, cache_bytes, jnp.zeros(USERS, bool))
        return np.asarray(bought.experience) >= world.ela, np.asarray(bought.cycles_per_s, np.float64)

    tried = MOST_HZ * np.geomspace(1.0 / _SPAN, 1.0, _GRID)
    lived = [live(np.full(USERS, amount)) for amount in tried]
    reached = np.stack([one[0] for one in lived])
    first = reached.argmax(axis=0)
    high, low = tried[first], tried[first] / (tried[1] / tried[0])
    used = np.stack([one[1] for one in lived])[first, np.arange(USERS)]
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        enough, cycles = live(middle)
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
        used = np.where(enough, cycles, used)
    return np.where(reached.any(axis=0), high, np.inf), used


@eqx.filter_jit
def _live(key: PRNGKeyArray, params: Params, before: int, after: int) -> tuple[Past, Truth]:
    environment, state = init(key, params)
    action, nothing = _equal(params), _nothing(params)
    keys = jax.random.split(key, before + after)

    def slot(now: State, k: PRNGKeyArray) -> tuple[State, Outcome]:
        return step(k, params, environment, now, action, nothing)

    state, seen = jax.lax.scan(slot, state, keys[:before])
    _, coming = jax.lax.scan(slot, state, keys[before:])

    def by_minute(value: Float[Array, "slots users"]) -> Float[Array, "users minutes"]:
        return jnp.mean(value.reshape(-1, 60, USERS), axis=1).T

    past = Past(
        sinr_db=seen.sinr_db.T,
        efficiency=seen.spectral_efficiency.T,
        swipes=jnp.sum(seen.swipes, axis=0).astype(jnp.float32),
        played_s=jnp.sum(params.slot_s - seen.rebuffer_s, axis=0),
        speed_mps=by_minute(seen.speed_mps),
    )
    trace = RadioTrace(
        coming.spectral_efficiency.T,
        coming.sinr_db.T,
        coming.rsrp_dbm.T,
        jnp.arange(USERS),
        jnp.full(USERS, -before),
    )
    alone = replace(_apart(params), radio_trace=trace)
    truth = Truth(alone, environment, state, keys[before:], coming.spectral_efficiency.T, by_minute(coming.speed_mps))
    return past, truth


def _apart(params: Params) -> Params:
    """Everybody in a slice of its own, in a network so wide that no reservation touches another."""
    topology = params.topology
    each = jnp.ones(USERS)
    wide = replace(
        topology,
        cell_bandwidth_hz=jnp.full_like(topology.cell_bandwidth_hz, _PLENTY),
        link_capacity_bps=jnp.full_like(topology.link_capacity_bps, _PLENTY * 10.0),
        server_cycles_per_s=jnp.full_like(topology.server_cycles_per_s, _PLENTY),
        server_cache_bytes=jnp.full_like(topology.server_cache_bytes, _PLENTY),
    )
    table = SliceTable(each > 0, params.catalogue.version_bps[-1] * each, 0.0 * each, each)
    return replace(params, topology=wide, slices=table, user_slice=jnp.arange(USERS, dtype=jnp.int32))


def _equal(params: Params) -> Action:
    topology = params.topology
    return Action(
        params.slices.active,
        topology.cell_bandwidth_hz[:, None],
        topology.server_cycles_per_s[:, None],
        topology.server_cache_bytes[:, None],
        jnp.full(USERS, 1e9),
        jnp.full(USERS, 1e12),
    )


def _nothing(params: Params) -> Overhead:
    return Overhead(jnp.zeros(USERS), jnp.zeros(params.topology.server_kappa.shape[0]))


@cache
def _scenario(population: str, seed: int) -> Scenario:
    def cell(name: str, east: float) -> dict[str, object]:
        placed: dict[str, object] = {
            "name": name,
            "model": "umi",
            "position_m": (east, 400.0),
            "height_m": 10.0,
            "server": "edge",
        }
        radio: dict[str, object] = {"power_dbm": 33.0, "gain_db": 5.0, "frequency_hz": 780.5e6, "bandwidth_hz": 15e6}
        return placed | radio

    return Scenario.model_validate(
        {
            "name": "demand",
            "title": "Two cells at 780.5 MHz",
            "description": "The setting of paper 000, IV, with paths of our own.",
            "seed": seed,
            "duration": 3600.0,
            "window": 180.0,
            "area_m": (1000.0, 800.0),
            "network": {
                "servers": [{"name": "edge", "cycles_per_s": 10e9, "cache_bytes": 0.5e9}],
                "cells": [cell("west", 250.0), cell("east", 750.0)],
            },
            "slices": [{"name": "video", "target_bps": 3e6}],
            "users": [{"count": USERS, "slice": "video", **POPULATIONS[population]}],
            "viewing": {"requests": "poisson"},
            "mobility": {"paths_m": [list(path) for path in _PATHS]},
        }
    )
