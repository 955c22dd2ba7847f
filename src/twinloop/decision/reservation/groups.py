"""The (cell, slice) groups of a reservation problem as claims on cells and servers."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.decision.pools import pool_sum
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.interface import Demand, hand_out
from twinloop.slicing import SliceTable

UNITS = (1e6, 1e9, 1e9)


class Groups(eqx.Module):
    """Groups in row order cell x slices + slice; resources in the order bandwidth [MHz], cycles [Gcycle/s], cache [GB].

    A group at level z uses per_z max(z, least) of each resource, in pool `pool` (its cell, its server, its server),
    and is worth weight x satisfaction(z), weight = slice weight x users. `low` is what its floors give it at no
    further use, `high` the most that fits beside the others' floors, at most 1. `units` times an amount is Hz,
    cycle/s or byte.
    """

    weight: Float[Array, " groups"]
    per_z: Float[Array, "resources groups"]
    least: Float[Array, "resources groups"]
    pool: Int[Array, "resources groups"]
    capacity: tuple[Float[Array, " cells"], Float[Array, " servers"], Float[Array, " servers"]]
    price: Float[Array, " resources"]
    low: Float[Array, " groups"]
    high: Float[Array, " groups"]
    units: tuple[float, ...] = eqx.field(static=True, default=UNITS)

    def use(self, z: Float[Array, " groups"]) -> Float[Array, "resources groups"]:
        """What each group uses of each resource at level z."""
        return self.per_z * jnp.maximum(z[None, :], self.least)

    def worth(self, satisfaction: Float[Array, " groups"], z: Float[Array, " groups"]) -> Float[Array, ""]:
        """sum_g weight satisfaction - price . use."""
        return jnp.sum(self.weight * satisfaction) - jnp.sum(self.price[:, None] * self.use(z))


def group_demands(
    features: Features,
    slices: SliceTable,
    demands: tuple[Demand, Demand, Demand],
    prices: tuple[float, float, float],
) -> Groups:
    """Claims of every group.

    A server's demand of a slice is divided among its cells as their bandwidth demand is, without any as their users.
    """
    bandwidth = demands[0]
    cells, width = bandwidth.demand.shape
    servers = demands[1].capacity.shape[0]
    users = jnp.where(slices.active[None, :], jnp.maximum(features.slice_users, 0.0), 0.0)
    group_server = jnp.repeat(features.cell_server, width, total_repeat_length=cells * width).astype(jnp.int32)
    row = group_server * width + jnp.arange(cells * width, dtype=jnp.int32) % width

    def parts(size: Float[Array, "cells slices"]) -> tuple[Float[Array, " groups"], Float[Array, " groups"]]:
        whole = pool_sum(size.reshape(-1), row, servers * width)[row]
        return size.reshape(-1) / jnp.maximum(whole, 1e-30), whole

    by_demand, demanded = parts(bandwidth.demand)
    share = jnp.where(demanded > 0, by_demand, parts(users)[0])
    cell = jnp.repeat(jnp.arange(cells, dtype=jnp.int32), width)
    pool = jnp.stack([cell, group_server, group_server])
    per_z = jnp.stack([bandwidth.demand.reshape(-1), *(share * d.demand.reshape(-1)[row] for d in demands[1:])])
    floor = jnp.stack([bandwidth.floor.reshape(-1), *(share * d.floor.reshape(-1)[row] for d in demands[1:])])
    scale = jnp.array(UNITS)[:, None]
    per_z, floor = per_z / scale, floor / scale
    capacity = tuple(d.capacity / unit for d, unit in zip(demands, UNITS, strict=True))
    asked = per_z > 0
    least = jnp.where(asked, jnp.minimum(floor / jnp.maximum(per_z, 1e-30), 1.0), 1.0)
    room = [
        ((size - pool_sum(floor[m], pool[m], size.shape[0]))[pool[m]] + floor[m]) / jnp.maximum(per_z[m], 1e-30)
        for m, size in enumerate(capacity)
    ]
    low = jnp.min(least, axis=0)
    high = jnp.min(jnp.where(asked, jnp.stack(room), 1.0), axis=0)
    return Groups(
        weight=(slices.weight[None, :] * users).reshape(-1),
        per_z=per_z,
        least=jnp.where(asked, least, 0.0),
        pool=pool,
        capacity=(capacity[0], capacity[1], capacity[2]),
        price=jnp.array(prices),
        low=low,
        high=jnp.clip(high, low, 1.0),
    )


def reserved_at(
    groups: Groups,
    z: Float[Array, " groups"],
    demands: tuple[Demand, Demand, Demand],
    slices: SliceTable,
    *,
    spare: bool = True,
) -> Reservation:
    """The reservation that gives every group its level `z`; with `spare`, what is left over goes by demand.

    Every slice keeps its floors; what levels ask beyond them is cut alike where it does not fit.
    """
    width = slices.active.shape[0]
    group = jnp.arange(z.shape[0], dtype=jnp.int32)
    parts: list[Float[Array, "pools slices"]] = []
    for m, demand in enumerate(demands):
        use = groups.per_z[m] * jnp.maximum(z, groups.least[m]) * groups.units[m]
        count = demand.capacity.shape[0]
        part = pool_sum(use, groups.pool[m] * width + group % width, count * width).reshape(count, width)
        beyond = jnp.maximum(part - demand.floor, 0.0)
        left = jnp.maximum(demand.capacity - jnp.sum(demand.floor, axis=1), 0.0)
        fitting = jnp.minimum(left / jnp.maximum(jnp.sum(beyond, axis=1), 1e-30), 1.0)
        part = demand.floor + beyond * fitting[:, None]
        parts.append(hand_out(part, demand, slices) if spare else part)
    return Reservation(*parts)
