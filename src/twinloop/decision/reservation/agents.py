"""Reservation by experience: every user's agent says what keeps the agreed experience, slices hold the sum of it."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features, Felt
from twinloop.decision.allocation.experience import ExperienceAllocation, Options, clear_options, of_each
from twinloop.decision.allocation.interface import MEGA, FlowPools, flow_pools
from twinloop.decision.demand import Caps, Demand, Futures, People, Prices, Supply, predict_demand, started
from twinloop.decision.distribution import DemandDistribution, demand_distribution
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.equilibrium import GameReservation
from twinloop.decision.reservation.greedy_demand import GreedyDemand
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal, fill, resource_demands
from twinloop.emulation import Prospects
from twinloop.slicing import SliceTable

_FAIR_SHARES = 2.5
"""No user's demand is more than so many even shares of a cell or server; *ours*."""

_LEAST_EFFICIENCY = 0.05
_SALT = 0x0A6E
_BY_GAME, _BY_DEMAND = 1, 2


class _Taken(NamedTuple):
    """What flows take of their cell and its server, where they are, and the most that anything can be worth."""

    bandwidth_hz: Float[Array, "*minutes flows"]
    cycles_per_s: Float[Array, "*minutes flows"]
    cell: Int[Array, "*minutes flows"]
    bound: Float[Array, "*minutes"]


class AgentReservation(AbstractReservation):
    """Level one foretells what every user needs; level two adds it up by slice and cell, and shares out what is short.

    Demand of a user is the cheapest mix of bandwidth, cycles, cache and reports that keeps the agreement with
    `confidence` over the prospects (decision.demand). Where all demand fits, slices hold it, and what is left over by
    demand. Where it does not, two reservations are weighed over the prospects by what users then take, and the better
    one is proposed:

    - what slices' users take on average at the prices that clear whole cells and servers, in every minute of every
      prospect: there a unit more brings every slice the same gain of experience. As prospects err, the part `even` is
      shared out by expected users instead;
    - the equilibrium of the `game` in which every slice of a cell reserves for its own users' demand.

    Source: paper 000, III-C.2, III-D; the prices are ours. Raises ValueError where the features hold no prospects or
    nothing of experience. Left out: demand of multicast bearers beyond that of the weakest member.
    """

    supply: Supply
    prices: Prices
    confidence: Float[Array, ""]
    reports_per_s: Float[Array, " options"]
    user_level: ExperienceAllocation = ExperienceAllocation()
    even: float = eqx.field(static=True, default=0.4)
    game: GameReservation = GameReservation()

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """What each slice gets of each cell and server in the next window."""
        return self.appraised(features, slices)[0]

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The reservation, what the agents foretell, and the bound of the problem without slices.

        `bound` and `value` are per flow, in the worth of the user level (`ExperienceAllocation`).
        """
        if features.felt is None or features.prospects is None:
            raise ValueError("reservation by agents needs prospects, and twins that follow experience")
        demand = self.foretold(features, features.felt, features.prospects)
        asked = _with_demand(features, demand, _place(features, features.prospects))
        demands = resource_demands(asked, slices)
        short = jnp.any(jnp.stack([jnp.any(jnp.sum(d.demand, axis=1) > d.capacity) for d in demands]))
        minutes = _minutes(features.prospects)
        taken = jax.vmap(partial(self._taken, features))(*minutes)
        used = demand_distribution(
            jnp.stack([taken.bandwidth_hz, taken.cycles_per_s], axis=-1),
            taken.cell,
            features.flow_slice,
            jnp.where(features.flow_active, features.members, 0.0),
            *features.slice_users.shape,
        )
        played, told = self.game.appraised(asked, slices)
        offers = _stacked(self._shared(used, asked, features, slices), played, GreedyDemand().reserve(asked, slices))
        worth = jax.vmap(lambda offer: jnp.mean(jax.vmap(partial(self._value, features, offer))(*minutes)))(offers)
        chosen = jnp.where(short, jnp.argmax(worth[:_BY_DEMAND]), _BY_DEMAND)
        reservation = jax.tree.map(lambda leaf: leaf[chosen], offers)
        flows = jnp.maximum(jnp.sum(features.flow_active), 1)
        bound, value = jnp.mean(taken.bound) / flows, worth[chosen] / flows
        return reservation, Appraisal(bound, value, demand, used, told.game, chosen == _BY_GAME)

    def foretold(self, features: Features, felt: Felt, prospects: Prospects) -> Demand:
        """Every user's demand (level one)."""
        users = prospects.efficiency.shape[1]
        futures = [self._futures(prospects, rate) for rate in self.reports_per_s]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *futures)
        cell = jnp.clip(features.flow_cell[:users], 0, features.cell_bandwidth_hz.shape[0] - 1)
        server = features.cell_server[cell]
        present = jnp.sum(features.slice_users, axis=1)
        at_server = jax.ops.segment_sum(present, features.cell_server, features.server_cycles_per_s.shape[0])
        most, most_of_server = (jnp.minimum(_FAIR_SHARES / jnp.maximum(n, 1.0), 1.0) for n in (present, at_server))
        caps = Caps(
            bandwidth_hz=most[cell] * features.cell_bandwidth_hz[cell],
            cycles_per_s=most_of_server[server] * features.server_cycles_per_s[server],
            cache_bytes=features.server_cache_bytes[server],
        )
        people = self._people(features, felt, users)
        return predict_demand(self.supply, people, stacked, self.reports_per_s, self.prices, caps, self.confidence)

    def _taken(self, features: Features, efficiency: Float[Array, " users"], cell: Int[Array, " users"]) -> _Taken:
        """What the flows take in one minute of one prospect, were there no slices, and the most that it can be worth.

        The bound is the dual function at the prices: sum_f max_o (V - prices x use) + prices x capacities.
        """
        whole = jnp.zeros(features.slice_users.shape[1]).at[0].set(1.0)
        capacities = (features.cell_bandwidth_hz, features.server_cycles_per_s, features.server_cache_bytes)
        everything = Reservation(*(capacity[:, None] * whole[None] for capacity in capacities))
        one_slice = replace(_in_minute(features, efficiency, cell), flow_slice=jnp.zeros_like(features.flow_slice))
        options, pools = self._options(one_slice, everything)
        market = clear_options(options, pools, self.user_level.steps)
        charge = market.mhz_price[pools.bandwidth_pool][:, None] * options.mhz
        charge += market.mcycle_price[pools.cycle_pool][:, None] * options.mcycles
        surplus = jnp.max(jnp.where(pools.served[:, None], options.worth - charge, 0.0), axis=1)
        held = jnp.sum(market.mhz_price * pools.bandwidth) + jnp.sum(market.mcycle_price * pools.cycles)
        return _Taken(
            bandwidth_hz=of_each(options.mhz, market.option) * MEGA,
            cycles_per_s=of_each(options.mcycles, market.option) * MEGA,
            cell=one_slice.flow_cell,
            bound=jnp.sum(surplus) + held,
        )

    def _value(
        self,
        features: Features,
        reservation: Reservation,
        efficiency: Float[Array, " users"],
        cell: Int[Array, " users"],
    ) -> Float[Array, ""]:
        """What all flows are worth in one minute of one prospect inside the slices' reservations.

        Where prices overfill a pool all in it are cut alike, and their worth with it.
        """
        options, pools = self._options(_in_minute(features, efficiency, cell), reservation)
        option = clear_options(options, pools, self.user_level.steps).option
        kept = jnp.ones_like(pools.want)
        for use, pool, size in (
            (of_each(options.mhz, option), pools.bandwidth_pool, pools.bandwidth),
            (of_each(options.mcycles, option), pools.cycle_pool, pools.cycles),
        ):
            fits = jnp.minimum(size / jnp.maximum(pool_sum(use, pool, size.shape[0]), 1e-9), 1.0)
            kept = jnp.minimum(kept, jnp.where(use > 0, fits[pool], 1.0))
        return jnp.sum(jnp.where(pools.served, kept * of_each(options.worth, option), 0.0))

    def _options(self, features: Features, reservation: Reservation) -> tuple[Options, FlowPools]:
        assert features.felt is not None
        pools = flow_pools(features, reservation)
        return self.user_level.options(features.felt, pools), pools

    def _shared(self, used: DemandDistribution, asked: Features, features: Features, slices: SliceTable) -> Reservation:
        """Floors, and beyond them parts as users are expected to take, partly as they are expected to be there."""
        servers = features.server_cycles_per_s.shape[0]

        def at_server(of: Float[Array, "cells slices"]) -> Float[Array, "servers slices"]:
            return jax.ops.segment_sum(of, features.cell_server, servers)

        expected, users = used.mean(), jnp.mean(used.users, axis=0)
        uses = (
            (expected[..., 0], users),
            (at_server(expected[..., 1]), at_server(users)),
            (asked.slice_demand_cache_bytes, at_server(users)),
        )
        parts = [
            fill(demand.floor, self._mixed(use, there, slices), demand.capacity)
            for demand, (use, there) in zip(resource_demands(features, slices), uses, strict=True)
        ]
        return Reservation(*parts)

    def _mixed(
        self, use: Float[Array, "pools slices"], users: Float[Array, "pools slices"], slices: SliceTable
    ) -> Float[Array, "pools slices"]:
        """(1 - even) use + even users, each as a part of all; a trace for every slice that stands."""

        def part(amount: Float[Array, "pools slices"]) -> Float[Array, "pools slices"]:
            held = jnp.where(slices.active[None], amount, 0.0)
            return held / jnp.maximum(jnp.sum(held, axis=1, keepdims=True), 1e-9)

        trace = jnp.where(slices.active, 1e-3, 0.0)[None]
        return (1.0 - self.even) * part(use) + self.even * part(users) + trace

    def _people(self, features: Features, felt: Felt, users: int) -> People:
        held = started(
            self.supply.rules, features.buffer_s[:users], features.average_rate_bps[:users], jnp.zeros(users)
        )
        models = jax.tree.map(lambda leaf: leaf[:users], felt.models)
        return People(models, felt.spread[:users], felt.agreed[:users], held)

    def _futures(self, prospects: Prospects, reports_per_s: Float[Array, ""]) -> Futures:
        """The prospects, believed as the latest report before each slot lets them be."""
        samples, users, slots = prospects.efficiency.shape
        at = jnp.arange(slots)
        period = jnp.maximum(jnp.round(1.0 / reports_per_s), 1.0).astype(jnp.int32)
        known: Int[Array, " slots"] = jnp.maximum(at - 1 - (at % period), 0)
        key = jax.random.key(_SALT)
        swipes = jnp.sum(prospects.swipes, axis=2)
        return Futures(
            efficiency=prospects.efficiency,
            believed=prospects.efficiency[:, :, known],
            speed_mps=prospects.speed_mps,
            leave_per_s=jnp.maximum(swipes, 0.5) / slots,
            chance=jax.random.uniform(key, (samples, users, slots)),
        )


def _stacked(*reservations: Reservation) -> Reservation:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *reservations)


def _place(features: Features, prospects: Prospects) -> Float[Array, "users cells"]:
    """The part of the time that each user is served by each cell."""
    return jnp.mean(jax.nn.one_hot(prospects.cell, features.cell_bandwidth_hz.shape[0]), axis=(0, 2))


def _minutes(prospects: Prospects) -> tuple[Float[Array, "minutes users"], Int[Array, "minutes users"]]:
    """Mean efficiency and cell of every user in every minute of every prospect."""
    samples, users, minutes = prospects.cell.shape
    efficiency = jnp.mean(prospects.efficiency.reshape(samples, users, minutes, -1), axis=3)

    def listed(of: Array) -> Array:
        return jnp.moveaxis(of, 2, 1).reshape(samples * minutes, users)

    return listed(efficiency), listed(prospects.cell)


def _in_minute(features: Features, efficiency: Float[Array, " users"], cell: Int[Array, " users"]) -> Features:
    """The features with users where and how they will be; everybody wants data over a whole minute."""
    users = cell.shape[0]
    return replace(
        features,
        spectral_efficiency=features.spectral_efficiency.at[:users].set(jnp.maximum(efficiency, _LEAST_EFFICIENCY)),
        flow_cell=features.flow_cell.at[:users].set(cell),
        want_bps=jnp.where(features.flow_active, jnp.maximum(features.need_bps, 1.0), 0.0),
    )


def _with_demand(features: Features, demanded: Demand, place: Float[Array, "users cells"]) -> Features:
    """The features with the agents' demand in place of what promised rates would ask; multicast flows keep theirs.

    A user's demand lies where the user is expected to be.
    """
    users, slices = demanded.bandwidth_hz.shape[0], features.slice_demand_hz.shape[1]
    servers = features.server_cycles_per_s.shape[0]
    of_slice = jax.nn.one_hot(features.flow_slice[:users], slices) * features.flow_active[:users, None]
    at_server = place @ jax.nn.one_hot(features.cell_server, servers)
    shared = jnp.where(features.flow_active, features.need_bps, 0.0).at[:users].set(0.0)
    server = features.cell_server[features.flow_cell]

    def of_agents(amount: Float[Array, " users"], where: Float[Array, "users pools"]) -> Float[Array, "pools slices"]:
        return (where * amount[:, None]).T @ of_slice

    def of_bearers(use: Float[Array, " flows"], pool: Int[Array, " flows"], count: int) -> Float[Array, "pools slices"]:
        return pool_sum(use, pool * slices + features.flow_slice, count * slices).reshape(count, slices)

    return replace(
        features,
        slice_demand_hz=of_agents(demanded.bandwidth_hz, place)
        + of_bearers(shared / features.spectral_efficiency, features.flow_cell, place.shape[1]),
        slice_demand_cycles_per_s=of_agents(demanded.cycles_per_s, at_server)
        + of_bearers(shared * features.cycles_per_bit, server, servers),
        slice_demand_cache_bytes=of_agents(demanded.cache_bytes, at_server),
    )
