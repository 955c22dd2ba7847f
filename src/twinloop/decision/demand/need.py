"""What every user needs: the cheapest bandwidth, cycles, cache and sensing that keep the agreed experience."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Bool, Float, Int

from twinloop.decision.demand.futures import Futures, Outlook, channel_power, look, plan
from twinloop.decision.demand.least import least_amount
from twinloop.decision.demand.player import Held, Rules
from twinloop.decision.demand.store import Mix, Store, cheapest, needed_cycles
from twinloop.qoe import UserModels

BINDING = ("none", "bandwidth", "cycles", "cache", "sensing", "experience")
"""What keeps a user from the agreed experience: a resource, or that nothing helps (`experience`)."""

FOLLOW = (0.0, 0.5, 1.0)
"""How closely a grant may follow the channel (see `profile`)."""

_FREE = 32.0
_Z90 = 1.6449


class Prices(eqx.Module):
    """Cost of a unit: of 1 Hz, 1 cycle/s, 1 byte held for the window, 1 report/s."""

    bandwidth: Float[Array, ""]
    cycles: Float[Array, ""]
    cache: Float[Array, ""]
    sensing: Float[Array, ""]


class Caps(eqx.Module):
    """The most that one user can be given of each resource."""

    bandwidth_hz: Float[Array, " users"]
    cycles_per_s: Float[Array, " users"]
    cache_bytes: Float[Array, " users"]


class People(eqx.Module):
    """Whom the window is planned for: models of experience with the standard deviation of their E, what was agreed,
    and what their players hold now.
    """

    models: UserModels
    model_std: Float[Array, " users"]
    ela: Float[Array, " users"]
    held: Held


class Supply(eqx.Module):
    """What serves them, as the twin believes it: rules of players, the store, and the work of transcoding."""

    rules: Rules
    store: Store
    cycles_per_bit: Float[Array, ""]


class Demand(eqx.Module):
    """Amounts of four resources for the window, and what they should bring.

    `bandwidth_hz` is the mean over the window of a grant that follows the channel by `follow`: in a slot it is
    bandwidth_hz (believed efficiency)^-follow / `scale`, `scale` the mean of that power over samples (see `profile`);
    `reports_per_s` is what the twin is to collect. `experience` is the mean predicted E over samples with the ends of
    its 90 % interval, `best` what the caps allow at most. `feasible`: the mean E at the caps reaches the agreement;
    `binding` indexes `BINDING`. `ratio` is min(E / ELA, 1) at these amounts. `cost` is prices x amounts.
    """

    bandwidth_hz: Float[Array, " users"]
    cycles_per_s: Float[Array, " users"]
    cache_bytes: Float[Array, " users"]
    reports_per_s: Float[Array, " users"]
    follow: Float[Array, " users"]
    scale: Float[Array, " users"]
    experience: Float[Array, " users"]
    low: Float[Array, " users"]
    high: Float[Array, " users"]
    best: Float[Array, " users"]
    feasible: Bool[Array, " users"]
    binding: Int[Array, " users"]
    ratio: Float[Array, " users"]
    cost: Float[Array, " users"]


class _Option(NamedTuple):
    """The cheapest grant at one sensing rate and one way to follow the channel; `safe` is the worth to be reached."""

    bandwidth_hz: Array
    mix: Mix
    cost: Array
    safe: Array
    fits: Array


def predict_demand(
    supply: Supply,
    people: People,
    futures: Futures,
    reports_per_s: Float[Array, " options"],
    prices: Prices,
    caps: Caps,
    confidence: Float[Array, ""],
) -> Demand:
    """minimise c.x over x = (bandwidth, cycles, cache, sensing) subject to P(mean E_u(x) >= ELA_u) >= `confidence`.

    `futures` has a leading axis, one entry for each of `reports_per_s`: the same worlds, believed as reports at that
    rate let the twins believe them. Mean E over the window is taken as normal with the mean of the samples and the
    variance of the samples plus that of the model. For each sensing rate and each of `FOLLOW` the least bandwidth is
    found by `least_amount`; the cycles that its bits take with the same confidence (`needed_cycles`) fix the cheapest
    mix of cycles and cache; the cheapest combination that reaches the agreement is taken, the one nearest to it where
    none does.

    Source: paper 000, III-C.2 and Fig. 3; the player and the samples are ours. Left out: that people share what they
    are given (level two adds the demands up), correlation between the minutes' model errors.
    """
    follow = jnp.asarray(FOLLOW)
    grid = (jnp.repeat(jnp.arange(reports_per_s.shape[0]), len(FOLLOW)), jnp.tile(follow, reports_per_s.shape[0]))
    users = people.ela.shape[0]

    def solve(one: tuple[Int[Array, ""], Float[Array, ""]]) -> _Option:
        world = jax.tree.map(lambda leaf: leaf[one[0]], futures)
        return _option(supply, people, world, jnp.broadcast_to(one[1], (users,)), prices, caps, confidence)

    options = jax.lax.map(solve, grid)
    sensing = reports_per_s[grid[0]]
    cost = options.cost + prices.sensing * sensing[:, None]
    good = (options.safe >= people.ela[None]) & options.fits
    choice = jnp.where(
        jnp.any(good, axis=0),
        jnp.argmin(jnp.where(good, cost, jnp.inf), axis=0),
        jnp.argmax(jnp.where(options.fits, options.safe, options.safe - 10.0), axis=0),
    )
    chosen = jax.tree.map(lambda leaf: leaf[choice, jnp.arange(users)], options)
    z = ndtri(confidence)
    return _finished(supply, people, futures, chosen, grid[0][choice], grid[1][choice], reports_per_s, prices, caps, z)


def _videos(futures: Futures) -> Float[Array, " users"]:
    """How many videos each user is expected to watch in the window."""
    return 1.0 + jnp.mean(futures.leave_per_s, axis=0) * futures.chance.shape[2]


def _option(
    supply: Supply,
    people: People,
    futures: Futures,
    follow: Float[Array, " users"],
    prices: Prices,
    caps: Caps,
    confidence: Float[Array, ""],
) -> _Option:
    z = ndtri(confidence)
    course = plan(supply.rules, futures, follow)

    def safe(bandwidth_hz: Float[Array, " users"]) -> tuple[Float[Array, " users"], Float[Array, "versions users"]]:
        seen = look(supply.rules, people.models, people.held, futures, course, bandwidth_hz)
        spread = jnp.sqrt(jnp.var(seen.experience, axis=0) + people.model_std**2)
        return jnp.mean(seen.experience, axis=0) - z * spread, seen.bits_per_s.reshape(-1, spread.shape[0])

    found = least_amount(safe, people.ela, caps.bandwidth_hz)
    bits = found.facts.reshape(-1, futures.chance.shape[0], found.amount.shape[0])
    mix = cheapest(
        supply.store,
        needed_cycles(supply.store, bits, _videos(futures), supply.cycles_per_bit, z),
        prices.cycles,
        prices.cache,
        caps.cycles_per_s,
        caps.cache_bytes,
    )
    cost = prices.bandwidth * found.amount + mix.cost
    return _Option(found.amount, mix, cost, found.worth, mix.fits)


def _finished(
    supply: Supply,
    people: People,
    futures: Futures,
    chosen: _Option,
    option: Int[Array, " users"],
    follow: Float[Array, " users"],
    reports_per_s: Float[Array, " options"],
    prices: Prices,
    caps: Caps,
    z: Float[Array, ""],
) -> Demand:
    world = jax.tree.map(lambda leaf: leaf[option, :, jnp.arange(option.shape[0])].swapaxes(0, 1), futures)
    fit = jnp.minimum(caps.cycles_per_s / jnp.maximum(chosen.mix.cycles_per_s, 1e-6), 1.0)
    bandwidth = chosen.bandwidth_hz * fit
    cycles = jnp.minimum(chosen.mix.cycles_per_s, caps.cycles_per_s)

    def live(case: tuple[Array, Array]) -> Outlook:
        told = Futures(world.efficiency, case[0], world.speed_mps, world.leave_per_s, world.chance)
        course = plan(supply.rules, told, follow)
        return look(supply.rules, people.models, people.held, told, course, case[1])

    believed, fresh = world.believed, world.efficiency
    granted = jnp.stack([bandwidth, caps.bandwidth_hz, caps.bandwidth_hz, _FREE * caps.bandwidth_hz])
    seen = jax.lax.map(live, (jnp.stack([believed, believed, fresh, fresh]), granted))
    mean, at_caps, at_caps_fresh, free = jnp.mean(seen.experience, axis=1)
    spread = jnp.sqrt(jnp.var(seen.experience[0], axis=0) + people.model_std**2)
    best = jnp.where(fit < 1.0, mean, jnp.maximum(at_caps, mean))
    needed = needed_cycles(supply.store, seen.bits_per_s[0], _videos(world), supply.cycles_per_bit, z)
    least_cycles = needed[:, -1]
    binding = _binding(people.ela, chosen.mix, best, at_caps_fresh, free, least_cycles <= caps.cycles_per_s)
    reports = reports_per_s[option]
    spent = prices.bandwidth * bandwidth + prices.cycles * cycles + prices.cache * chosen.mix.cache_bytes
    return Demand(
        bandwidth_hz=bandwidth,
        cycles_per_s=cycles,
        cache_bytes=chosen.mix.cache_bytes,
        reports_per_s=reports,
        follow=follow,
        scale=jnp.mean(channel_power(world.believed, follow), axis=(0, 2)),
        experience=mean,
        low=jnp.clip(mean - _Z90 * spread, 1.0, 5.0),
        high=jnp.clip(mean + _Z90 * spread, 1.0, 5.0),
        best=best,
        feasible=best >= people.ela,
        binding=binding,
        ratio=jnp.minimum(mean / people.ela, 1.0),
        cost=spent + prices.sensing * reports,
    )


def _binding(
    ela: Float[Array, " users"],
    mix: Mix,
    best: Float[Array, " users"],
    fresh: Float[Array, " users"],
    free: Float[Array, " users"],
    cache_would_do: Bool[Array, " users"],
) -> Int[Array, " users"]:
    code = {name: jnp.int32(index) for index, name in enumerate(BINDING)}
    radio = jnp.where(fresh >= ela, code["sensing"], jnp.where(free >= ela, code["bandwidth"], code["experience"]))
    compute = jnp.where(cache_would_do, code["cache"], code["cycles"])
    return jnp.where(best >= ela, code["none"], jnp.where(mix.fits, radio, compute))
