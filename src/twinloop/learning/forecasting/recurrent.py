"""Recurrent forecasters: a GRU or an LSTM that corrects a linear forecast and says how sure it is, for every horizon.

One network serves all entities of a kind; what differs between them is carried in their memory and hidden state.
"""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.learning.forecasting.distribution import (
    LEVELS,
    MIDDLE,
    Distribution,
    Mixture,
    draw,
    gaps_of,
    mixture_quantiles,
    mixture_score,
    monotone_quantiles,
    quantile_score,
)
from twinloop.learning.forecasting.memory import (
    Memory,
    Quantity,
    blank_memory,
    linear_features,
    network_features,
    remember,
    running_scale,
)

Cell = Literal["gru", "lstm"]
Head = Literal["quantiles", "mixture"]
COMPONENTS = 3
_STARTS = (0.35, 1.0, 2.5)
_SHIFTS = (-0.3, 0.0, 0.3)
_GATES = {"gru": 3, "lstm": 4}
_BOUND = 6.0


class NetworkState(eqx.Module):
    """What a network carries of every entity from step to step."""

    memory: Memory
    hidden: Float[Array, "entities carried"]


class Arrival(eqx.Module):
    """What came in one step, or in several along a first axis.

    `value` counts where `measured`; `covariates` are the last known ones, NaN before there were any.
    """

    value: Float[Array, "*steps entities"]
    measured: Bool[Array, "*steps entities"]
    covariates: Float[Array, "*steps entities covariates"]


class NetworkStructure(eqx.Module):
    """What a network is made of beside its numbers; rebuilt from the card of a saved one."""

    quantity: Quantity
    horizons: tuple[int, ...] = eqx.field(static=True)
    inputs: int = eqx.field(static=True)
    hidden: int = eqx.field(static=True, default=24)
    cell: Cell = eqx.field(static=True, default="gru")
    head: Head = eqx.field(static=True, default="quantiles")

    @property
    def outputs(self) -> int:
        """Numbers that the head gives for one horizon."""
        return 2 + len(LEVELS) if self.head == "quantiles" else 3 * COMPONENTS

    @property
    def carried(self) -> int:
        """Width of the hidden state."""
        return self.hidden * (2 if self.cell == "lstm" else 1)


class RecurrentNetwork(eqx.Module):
    """Forecast = last value + linear part + running scale x head(hidden, inputs).

    `shift` and `spread` bring the inputs to mean 0 and variance 1 over the training files; `linear` is a ridge
    regression. Neither is trained further. An untrained head says 0 +- what `offset` says: the linear forecast with
    the residuals of its training, in running scales.
    """

    structure: NetworkStructure
    shift: Float[Array, " inputs"]
    spread: Float[Array, " inputs"]
    linear: Float[Array, "horizons features"]
    offset: Float[Array, "horizons outputs"]
    into: Float[Array, "inputs gates"]
    within: Float[Array, "hidden gates"]
    bias: Float[Array, " gates"]
    head: Float[Array, "read horizons_outputs"]

    def hidden_start(self, entities: int) -> Float[Array, "entities carried"]:
        """The hidden state before anything was seen."""
        return jnp.zeros((entities, self.structure.carried))

    def normalised(self, features: Float[Array, "*batch inputs"]) -> Float[Array, "*batch inputs"]:
        """Inputs with mean 0 and variance 1, kept within +-6, 0 where unknown (NaN); gradients stop here."""
        axes = (1,) * (features.ndim - 1) + (-1,)
        scaled = (features - self.shift.reshape(axes)) / self.spread.reshape(axes)
        known = jnp.where(jnp.isnan(scaled), 0.0, jnp.clip(scaled, -_BOUND, _BOUND))
        return jax.lax.stop_gradient(known)

    def advance(
        self, hidden: Float[Array, "entities carried"], projected: Float[Array, "entities gates"]
    ) -> Float[Array, "entities carried"]:
        """Hidden state after inputs that are already projected (`projected` = inputs @ into + bias).

        GRU: z, r = sig(.), n = tanh(x_n + r * (h U_n)), h' = n + z (h - n) (Cho et al. 2014). LSTM: i, f, o = sig(.),
        c' = sig(f + 1) c + i tanh(.), h' = o tanh(c') (Hochreiter and Schmidhuber 1997, forget gate by Gers 2000).
        """
        width = self.structure.hidden
        state = hidden[:, :width]
        recurrent = state @ self.within
        if self.structure.cell == "gru":
            gates = jax.nn.sigmoid(projected[:, : 2 * width] + recurrent[:, : 2 * width])
            update, reset = gates[:, :width], gates[:, width:]
            new = jnp.tanh(projected[:, 2 * width :] + reset * recurrent[:, 2 * width :])
            return new + update * (state - new)
        total = projected + recurrent
        enter, leave, keep = (jax.nn.sigmoid(total[:, k * width : (k + 1) * width] + (k == 2)) for k in range(3))
        memory = keep * hidden[:, width:] + enter * jnp.tanh(total[:, 3 * width :])
        return jnp.concatenate([leave * jnp.tanh(memory), memory], axis=1)

    def project(self, inputs: Float[Array, "*batch inputs"]) -> Float[Array, "*batch gates"]:
        """Normalised inputs before the gates: one product for a whole sequence."""
        return inputs @ self.into + self.bias.reshape((1,) * (inputs.ndim - 1) + (-1,))

    def read(
        self, hidden: Float[Array, "*batch carried"], inputs: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch horizons outputs"]:
        """What the head says, by horizon: it sees the hidden state and the inputs themselves."""
        seen = jnp.concatenate([hidden[..., : self.structure.hidden], inputs], axis=-1)
        said = (seen @ self.head).reshape(*seen.shape[:-1], *self.offset.shape)
        return said + self.offset.reshape((1,) * (seen.ndim - 1) + self.offset.shape)

    def only(self, at: Int[np.ndarray, " some"]) -> "RecurrentNetwork":
        """The same network for the horizons in these places."""
        outputs = self.structure.outputs
        head = self.head.reshape(self.head.shape[0], len(self.structure.horizons), outputs)[:, at]
        horizons = tuple(self.structure.horizons[place] for place in at)
        return dataclasses.replace(
            self,
            structure=dataclasses.replace(self.structure, horizons=horizons),
            linear=self.linear[at],
            offset=self.offset[at],
            head=head.reshape(head.shape[0], len(horizons) * outputs),
        )

    def start(self, entities: int) -> NetworkState:
        """Nothing seen of any entity."""
        return NetworkState(blank_memory(self.structure.quantity, entities), self.hidden_start(entities))

    def step(self, state: NetworkState, came: Arrival) -> tuple[NetworkState, Distribution]:
        """One step for all entities: state after it and what may come at each horizon."""
        quantity = self.structure.quantity
        memory = remember(state.memory, came.value, came.measured)
        features = self.normalised(network_features(quantity, memory, came.covariates))
        hidden = self.advance(state.hidden, self.project(features))
        relative = relative_distribution(self.structure.head, self.read(hidden, features))
        base = linear_forecast(self.structure, self.linear, memory)
        return NetworkState(memory, hidden), relative.placed(base, running_scale(quantity, memory)[:, None])

    def unroll(
        self, hidden: Float[Array, "entities carried"], inputs: Float[Array, "steps entities inputs"]
    ) -> Float[Array, "steps entities carried"]:
        """Hidden states along sequences of normalised inputs."""

        def one(carry: Array, projected: Array) -> tuple[Array, Array]:
            carry = self.advance(carry, projected)
            return carry, carry

        return jax.lax.scan(one, hidden, self.project(inputs))[1]


def new_network(
    key: PRNGKeyArray,
    structure: NetworkStructure,
    *,
    shift: Float[Array, " inputs"],
    spread: Float[Array, " inputs"],
    linear: Float[Array, "horizons features"],
    offset: Float[Array, "horizons outputs"],
) -> RecurrentNetwork:
    """An untrained network: gates drawn with variance 1 / fan-in, head 0."""
    gates = _GATES[structure.cell] * structure.hidden
    k_into, k_within = jax.random.split(key)
    into = jax.random.normal(k_into, (structure.inputs, gates)) / jnp.sqrt(structure.inputs)
    within = jax.random.normal(k_within, (structure.hidden, gates)) / jnp.sqrt(structure.hidden)
    head = jnp.zeros((structure.hidden + structure.inputs, len(structure.horizons) * structure.outputs))
    return RecurrentNetwork(structure, shift, spread, linear, offset, into, within, jnp.zeros(gates), head)


def starting_offset(head: Head, quantiles: Float[Array, "horizons levels"]) -> Float[Array, "horizons outputs"]:
    """What an untrained head must say so that its forecast has these quantiles (a mixture: their spread)."""
    zero = jnp.zeros((quantiles.shape[0], 1))
    if head == "quantiles":
        return jnp.concatenate([zero, zero, quantiles[:, MIDDLE, None], gaps_of(quantiles)], axis=1)
    std = jnp.maximum((quantiles[:, -1:] - quantiles[:, :1]) / 3.29, 1e-3)
    shifts, sizes = std * jnp.asarray(_SHIFTS)[None, :], jnp.log(std * jnp.asarray(_STARTS)[None, :])
    return jnp.concatenate([jnp.zeros_like(shifts), quantiles[:, MIDDLE, None] + shifts, sizes], axis=1)


def mixture_of(said: Float[Array, "*batch outputs"]) -> Mixture:
    """The mixture, in running scales, that a head of kind `mixture` says."""
    weight, mean, size = jnp.split(said, 3, axis=-1)
    return Mixture(jax.nn.softmax(weight, axis=-1), mean, jnp.exp(jnp.clip(size, -7.0, 5.0)))


def relative_distribution(head: Head, said: Float[Array, "*batch horizons outputs"]) -> Distribution:
    """Mean and quantiles around the linear forecast, in running scales."""
    if head == "mixture":
        mixture = mixture_of(said)
        return Distribution(jnp.sum(mixture.weight * mixture.mean, axis=-1), mixture_quantiles(mixture))
    width = jnp.exp(jnp.clip(said[..., 1], -5.0, 5.0))
    quantiles = width[..., None] * monotone_quantiles(said[..., 2], said[..., 3:])
    return Distribution(said[..., 0], quantiles)


def relative_scores(
    head: Head, said: Float[Array, "*batch horizons outputs"], truth: Float[Array, "*batch horizons"]
) -> tuple[Float[Array, "*batch horizons"], Float[Array, "*batch horizons"]]:
    """CRPS and squared error of the mean, in running scales; a mixture is scored in closed form."""
    if head == "mixture":
        mixture = mixture_of(said)
        return mixture_score(mixture, truth), (truth - jnp.sum(mixture.weight * mixture.mean, axis=-1)) ** 2
    distribution = relative_distribution(head, said)
    return quantile_score(distribution.quantiles, truth), (truth - distribution.mean) ** 2


def linear_forecast(
    structure: NetworkStructure, linear: Float[Array, "horizons features"], memory: Memory
) -> Float[Array, "entities horizons"]:
    """Last value + linear part, by horizon."""
    features = [linear_features(structure.quantity, memory, horizon) for horizon in structure.horizons]
    return memory.last[:, None] + jnp.einsum("ehf,hf->eh", jnp.stack(features, axis=1), linear)


def forecast_recursively(
    key: PRNGKeyArray,
    net: RecurrentNetwork,
    state: NetworkState,
    ahead: Distribution,
    covariates: Float[Array, "entities covariates"],
    *,
    steps: int,
    paths: int,
) -> Distribution:
    """Horizons 1 to `steps` by feeding back draws of the first one: mean and quantiles over `paths` sampled futures.

    `state` and `ahead` are what the last step gave; covariates stay as they are. The first horizon of `net` must be 1.
    """
    entities = covariates.shape[0]
    many, beside, first = jax.tree.map(
        lambda leaf: jnp.repeat(leaf, paths, axis=0), (state, covariates, ahead.quantiles[:, 0])
    )

    def one(carry: tuple[NetworkState, Array], k: PRNGKeyArray) -> tuple[tuple[NetworkState, Array], Array]:
        before, quantiles = carry
        value = draw(quantiles, jax.random.uniform(k, (entities * paths,)))
        after, said = net.step(before, Arrival(value, jnp.ones_like(value, dtype=bool), beside))
        return (after, said.quantiles[:, 0]), value

    _, values = jax.lax.scan(one, (many, first), jax.random.split(key, steps))
    futures = values.reshape(steps, entities, paths)
    quantiles = jnp.quantile(futures, jnp.asarray(LEVELS), axis=-1)
    return Distribution(jnp.mean(futures, axis=-1).T, jnp.transpose(quantiles, (2, 1, 0)))
