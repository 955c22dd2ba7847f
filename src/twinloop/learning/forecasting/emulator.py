"""The emulator of one quantity: linear and recurrent forecasts combined, with intervals that hold what they say."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from twinloop.learning.forecasting.distribution import MIDDLE, Distribution
from twinloop.learning.forecasting.memory import (
    Memory,
    Quantity,
    blank_memory,
    linear_features,
    network_features,
    remember,
    running_scale,
)
from twinloop.learning.forecasting.recurrent import Arrival, RecurrentNetwork, relative_distribution

LINEAR_CANDIDATES = ("linear", "linear, scaled")
_BLOCK = 512


class EmulatorState(eqx.Module):
    """What an emulator carries of every entity: its past, and the hidden state of each member of each kind."""

    memory: Memory
    hidden: tuple[Float[Array, "members entities _"], ...]


class Along(eqx.Module):
    """Inputs of whole sequences, computed once; axes as in `RecurrentNetwork`."""

    inputs: Float[Array, "*steps entities inputs"]
    linear: Float[Array, "*steps entities horizons features"]
    last: Float[Array, "*steps entities"]
    scale: Float[Array, "*steps entities"]


class Emulator(eqx.Module):
    """Forecasts of one quantity of all entities of a kind, at `horizons` steps.

    Candidates: the linear forecast with the quantiles of its residuals (`residual`, in the unit of the quantity), the
    same with those in running scales (`relative`), and for each kind of network the mean over its members. Means and
    quantiles are convex combinations of theirs (`mean_share`, `share`); quantiles are then moved away from the median
    by `factor`, learned on files that no candidate had seen. What comes out lies in [low, high].
    """

    quantity: Quantity
    linear: Float[Array, "horizons features"]
    residual: Float[Array, "horizons levels"]
    relative: Float[Array, "horizons levels"]
    networks: tuple[RecurrentNetwork, ...]
    mean_share: Float[Array, "horizons candidates"]
    share: Float[Array, "horizons candidates"]
    factor: Float[Array, "horizons levels"]
    horizons: tuple[int, ...] = eqx.field(static=True)
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)

    def start(self, entities: int) -> EmulatorState:
        """Nothing seen of any entity."""
        hidden = tuple(jnp.zeros((net.bias.shape[0], entities, net.structure.carried)) for net in self.networks)
        return EmulatorState(blank_memory(self.quantity, entities), hidden)

    def step(self, state: EmulatorState, came: Arrival) -> tuple[EmulatorState, Distribution]:
        """One step for all entities: state after it, and what may come at each horizon.

        More than 512 entities are taken in blocks, whose intermediate results stay in a processor's cache, so that an
        entity costs the same whatever their number.
        """
        entities = came.value.shape[0]
        if entities <= _BLOCK:
            return self._stepped(state, came)
        count = -(-entities // _BLOCK)
        memory, hidden, arrivals = (
            jax.tree.map(partial(_cut, count=count, axis=axis), tree)
            for tree, axis in ((state.memory, 0), (state.hidden, 1), (came, 0))
        )
        after, ahead = jax.lax.map(
            lambda block: self._stepped(EmulatorState(block[0], block[1]), block[2]), (memory, hidden, arrivals)
        )
        memory, hidden, ahead = (
            jax.tree.map(partial(_joined, entities=entities, axis=axis), tree)
            for tree, axis in ((after.memory, 0), (after.hidden, 1), (ahead, 0))
        )
        return EmulatorState(memory, hidden), ahead

    def _stepped(self, state: EmulatorState, came: Arrival) -> tuple[EmulatorState, Distribution]:
        memory = remember(state.memory, came.value, came.measured)
        inputs = network_features(self.quantity, memory, came.covariates)
        hidden = tuple(
            eqx.filter_vmap(lambda one, carry: one.advance(carry, one.project(one.normalised(inputs))))(net, carry)
            for net, carry in zip(self.networks, state.hidden, strict=True)
        )
        features = [linear_features(self.quantity, memory, horizon) for horizon in self.horizons]
        seen = Along(inputs, jnp.stack(features, axis=1), memory.last, running_scale(self.quantity, memory))
        return EmulatorState(memory, hidden), self.combined(self._candidates(seen, hidden))

    def only(self, horizons: tuple[int, ...]) -> "Emulator":
        """The same emulator for some of its `horizons`, at the cost of those alone.

        Raises ValueError for a horizon that it does not have.
        """
        at = np.array([self.horizons.index(horizon) for horizon in horizons])
        names = ("linear", "residual", "relative", "mean_share", "share", "factor")
        kept = {name: getattr(self, name)[at] for name in names}
        networks = tuple(eqx.filter_vmap(lambda one: one.only(at))(net) for net in self.networks)
        return dataclasses.replace(self, **kept, networks=networks, horizons=horizons)

    def candidates(self, along: Along) -> Distribution:
        """What every candidate forecasts in every step of whole sequences; the last axis but horizons counts them."""
        hidden = tuple(
            eqx.filter_vmap(
                lambda one: one.unroll(one.hidden_start(along.last.shape[1]), one.normalised(along.inputs))
            )(net)
            for net in self.networks
        )
        return self._candidates(along, hidden)

    def combined(self, candidates: Distribution) -> Distribution:
        """The emulator's forecast from its candidates', which stand along the axis before the horizons."""
        mean = jnp.einsum("...ch,hc->...h", candidates.mean, self.mean_share)
        quantiles = jnp.einsum("...chq,hc->...hq", candidates.quantiles, self.share)
        return stretched(Distribution(mean, quantiles), self.factor).within(self.low, self.high)

    def _candidates(self, seen: Along, hidden: tuple[Array, ...]) -> Distribution:
        base, scale = (
            seen.last[..., None] + jnp.einsum("...hf,hf->...h", seen.linear, self.linear),
            seen.scale[..., None],
        )
        axes = (1,) * (base.ndim - 1)
        plain = base[..., None] + self.residual.reshape(*axes, *self.residual.shape)
        scaled = base[..., None] + scale[..., None] * self.relative.reshape(*axes, *self.relative.shape)
        said = [Distribution(base, plain), Distribution(base, scaled)]
        said += [_of_members(net, seen, carry) for net, carry in zip(self.networks, hidden, strict=True)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=base.ndim - 1), *said)


def _cut(leaf: Shaped[Array, "..."], count: int, axis: int) -> Shaped[Array, "count ..."]:
    """`count` blocks of equal length along `axis`, the last one filled up with zeros; blocks come first."""
    shape = leaf.shape
    length = -(-shape[axis] // count)
    room = [(0, count * length - shape[axis] if place == axis else 0) for place in range(leaf.ndim)]
    return jnp.moveaxis(jnp.pad(leaf, room).reshape(*shape[:axis], count, length, *shape[axis + 1 :]), axis, 0)


def _joined(leaf: Shaped[Array, "count ..."], entities: int, axis: int) -> Shaped[Array, "..."]:
    """What `_cut` parted, without the filling."""
    moved = jnp.moveaxis(leaf, 0, axis)
    whole = moved.reshape(*moved.shape[:axis], -1, *moved.shape[axis + 2 :])
    return jax.lax.slice_in_dim(whole, 0, entities, axis=axis)


def _of_members(networks: RecurrentNetwork, seen: Along, hidden: Array) -> Distribution:
    def one(net: RecurrentNetwork, carry: Array) -> Distribution:
        relative = relative_distribution(net.structure.head, net.read(carry, net.normalised(seen.inputs)))
        base = seen.last[..., None] + jnp.einsum("...hf,hf->...h", seen.linear, net.linear)
        return relative.placed(base, seen.scale[..., None])

    return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), eqx.filter_vmap(one)(networks, hidden))


def stretched(distribution: Distribution, factor: Float[Array, "horizons levels"]) -> Distribution:
    """Quantiles moved away from the median by `factor`, and put in order again."""
    middle = distribution.quantiles[..., MIDDLE, None]
    wide = middle + factor.reshape((1,) * (middle.ndim - 2) + factor.shape) * (distribution.quantiles - middle)
    return Distribution(distribution.mean, jnp.sort(wide, axis=-1))
