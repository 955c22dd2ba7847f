"""Reservation by experience: every user's agent says what keeps the agreed experience, slices hold the sum of it."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features, Felt
from twinloop.decision.demand import (
    Caps,
    Demand,
    Futures,
    People,
    Prices,
    Supply,
    gain_curve,
    predict_demand,
    started,
)
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.gain import GreedyGain
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal
from twinloop.slicing import SliceTable

FORETOLD = (0.0, 1.0, 1.25)
"""Parts of every user's demand at which the experience is foretold."""

PARTS = (*(part / 16 for part in range(17)), 1.25)
"""Parts of a slice's demand at which its gain is reckoned."""

_FAIR_SHARES = 2.5
"""No user's demand is more than so many even shares of a cell or server; *ours*."""

_SALT = 0x0A6E


class AgentReservation(AbstractReservation):
    """Level one foretells demand and gain of every user; level two adds them up by slice and cell and shares out.

    Demand of a user is the cheapest mix of bandwidth, cycles, cache and reports that keeps the agreement with
    `confidence` over the prospects (decision.demand); the gain of a slice is that of its users' worth at parts of
    that demand, min(E / ELA, 1) + `beyond` max(E / ELA - 1, 0). Where all fits every slice gets its demand, else
    whoever gains most (`GreedyGain`). Source: paper 000, III-C.2 and III-D.1. Raises ValueError where the features
    hold no prospects or nothing of experience. Left out: demand of multicast bearers beyond that of the weakest
    member.
    """

    supply: Supply
    prices: Prices
    confidence: Float[Array, ""]
    reports_per_s: Float[Array, " options"]
    sharing: GreedyGain = GreedyGain()
    beyond: float = eqx.field(static=True, default=0.2)

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """What each slice gets of each cell and server in the next window."""
        return self.appraised(features, slices)[0]

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The reservation, what the agents foretell of it, and the relaxed bound."""
        demanded, curve = self.foretold(features)
        assert features.felt is not None and features.prospects is not None
        users, at = curve.shape[1], jnp.asarray(PARTS)
        ratio = curve / features.felt.agreed[None, :users]
        worth = jnp.minimum(ratio, 1.0) + self.beyond * jnp.maximum(ratio - 1.0, 0.0)
        in_slice = jax.nn.one_hot(features.flow_slice[:users], slices.active.shape[0])
        in_slice *= features.flow_active[:users, None]
        gain = gain_of_slices(worth, demanded.bandwidth_hz, in_slice, at)
        return self.sharing.by_curve(_with_demand(features, demanded, features.prospects.place), slices, at, gain)

    def foretold(self, features: Features) -> tuple[Demand, Float[Array, "shares users"]]:
        """Every user's demand, and the experience at `FORETOLD` of it."""
        if features.felt is None or features.prospects is None:
            raise ValueError("reservation by agents needs prospects, and twins that follow experience")
        users = features.prospects.efficiency.shape[1]
        people = self._people(features, features.felt, users)
        futures = [self._futures(features, rate) for rate in self.reports_per_s]
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
        demanded = predict_demand(self.supply, people, stacked, self.reports_per_s, self.prices, caps, self.confidence)
        return demanded, gain_curve(self.supply, people, futures[0], demanded, jnp.asarray(FORETOLD))

    def _people(self, features: Features, felt: Felt, users: int) -> People:
        held = started(
            self.supply.rules, features.buffer_s[:users], features.average_rate_bps[:users], jnp.zeros(users)
        )
        models = jax.tree.map(lambda leaf: leaf[:users], felt.models)
        return People(models, felt.spread[:users], felt.agreed[:users], held)

    def _futures(self, features: Features, reports_per_s: Float[Array, ""]) -> Futures:
        """The prospects, believed as the latest report before each slot lets them be."""
        prospects = features.prospects
        assert prospects is not None
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


def gain_of_slices(
    worth: Float[Array, "foretold users"],
    demanded_hz: Float[Array, " users"],
    in_slice: Float[Array, "users slices"],
    parts: Float[Array, " parts"],
) -> Float[Array, "slices parts"]:
    """Mean worth of every slice's users when the slice holds `parts` of what they demand together.

    `worth` is that of nothing, of the whole demand and of more, at the parts of `FORETOLD`. Inside a slice the user
    level serves first who gains most by a unit of bandwidth, so up to the demand the curve is that of the fractional
    knapsack: users in order of gain per Hz, each from nothing to the whole. Beyond it all gain as foretold.
    """
    gained = jnp.maximum(worth[1] - worth[0], 0.0)
    order = jnp.argsort(-gained / jnp.maximum(demanded_hz, 1.0))
    more = (jnp.maximum(parts, 1.0) - 1.0) / (FORETOLD[2] - 1.0)

    def one(members: Float[Array, " users"]) -> Float[Array, " parts"]:
        held = jnp.cumsum((members * demanded_hz)[order])
        value = jnp.cumsum((members * gained)[order])
        part = jnp.concatenate([jnp.zeros(1), held / jnp.maximum(held[-1], 1.0)])
        inside = jnp.interp(jnp.minimum(parts, 1.0), part, jnp.concatenate([jnp.zeros(1), value]))
        beyond = more * jnp.maximum(jnp.sum(members * (worth[2] - worth[1])), 0.0)
        return (jnp.sum(members * worth[0]) + inside + beyond) / jnp.maximum(jnp.sum(members), 1.0)

    return jax.vmap(one, in_axes=1)(in_slice)
