"""Cycles against cache: what a store of given size spares of transcoding, and the cheapest mix of both."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinloop.simulator import Catalogue


class Store(eqx.Module):
    """What a cache of `held_bytes` leaves to transcode: the chance that a video drawn by popularity is `missing`, by
    version. Sizes ascend from 0; the top version is always stored.
    """

    held_bytes: Float[Array, " sizes"]
    missing: Float[Array, "versions sizes"]


class Mix(NamedTuple):
    """Cycles and cache of every user, what they cost, and whether both keep to their limits."""

    cycles_per_s: Float[Array, " users"]
    cache_bytes: Float[Array, " users"]
    cost: Float[Array, " users"]
    fits: Bool[Array, " users"]


def store_of(catalogue: Catalogue, sizes: int = 257) -> Store:
    """Store of a catalogue at `sizes` sizes: 0, and evenly over the items that it fills with, in its order.

    With as many sizes as items + 1 every step of the curve is there, and the choice by `cheapest` is exact; videos are
    drawn as `Catalogue.popularity` says, all types alike.
    """
    before = catalogue.cached_bytes_before[:, :-1]
    steps = jnp.sort(before.reshape(-1))
    picked = jnp.linspace(0, steps.shape[0] - 1, min(sizes - 1, steps.shape[0])).astype(jnp.int32)
    held = jnp.concatenate([jnp.zeros(1), steps[picked]])
    weight = catalogue.popularity / jnp.sum(catalogue.popularity)
    lower = [_missing(held, before[:, v], weight) for v in range(before.shape[1])]
    return Store(held, jnp.stack([*lower, jnp.zeros_like(held)]))


def needed_cycles(
    store: Store,
    bits_per_s: Float[Array, "versions samples users"],
    videos: Float[Array, " users"],
    cycles_per_bit: Float[Array, ""],
    z: Float[Array, ""],
) -> Float[Array, "users sizes"]:
    """Cycles per second that transcoding takes with each size of the store, `z` standard deviations above the mean.

    A sample takes cycles_per_bit sum_v bits_v missing_v(K) on average. It varies over samples, and with which of the
    `videos` watched in the window are missing: by sum_v bits_v^2 missing_v (1 - missing_v) / videos.
    """
    by_sample = jnp.einsum("vnu,vk->nuk", bits_per_s, store.missing, precision="highest")
    luck = store.missing * (1.0 - store.missing)
    square = jnp.mean(bits_per_s, axis=1) ** 2 / jnp.maximum(videos, 1.0)[None]
    spread = jnp.sqrt(jnp.var(by_sample, axis=0) + jnp.matmul(square.T, luck, precision="highest"))
    return cycles_per_bit * (jnp.mean(by_sample, axis=0) + z * spread)


def cheapest(
    store: Store,
    needed: Float[Array, "users sizes"],
    cycles_price: Float[Array, ""],
    cache_price: Float[Array, ""],
    most_cycles: Float[Array, " users"],
    most_bytes: Float[Array, " users"],
) -> Mix:
    """Least p_c F + p_k K with F >= needed(K) (see `needed_cycles`), by trying every size of the store.

    The curve has steps and need not be convex, so all sizes are compared: exact on the store's sizes. Where no size
    keeps to both limits, the one within the cache's limit that needs the fewest cycles is taken, cut to the limit.
    """
    held = store.held_bytes[None]
    cost = cycles_price * needed + cache_price * held
    room = held <= jnp.maximum(most_bytes, 0.0)[:, None]
    fits = room & (needed <= most_cycles[:, None])
    some = jnp.any(fits, axis=1)
    best = jnp.where(
        some, jnp.argmin(jnp.where(fits, cost, jnp.inf), axis=1), jnp.argmin(jnp.where(room, needed, jnp.inf), axis=1)
    )
    rows = jnp.arange(best.shape[0])
    return Mix(needed[rows, best], store.held_bytes[best], cost[rows, best], some)


def _missing(
    held: Float[Array, " sizes"], before: Float[Array, " videos"], weight: Float[Array, " videos"]
) -> Float[Array, " sizes"]:
    order = jnp.argsort(before)
    reached = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weight[order])])
    return 1.0 - reached[jnp.searchsorted(before[order], held, side="right")]
