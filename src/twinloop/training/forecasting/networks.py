"""Recurrent networks trained on several splits of the files at once, as one compiled function."""

from collections.abc import Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, PRNGKeyArray

from twinloop.learning import (
    Fitted,
    NetworkStructure,
    RecurrentNetwork,
    fit,
    new_network,
    relative_scores,
    starting_offset,
)
from twinloop.training.forecasting.linear import Files
from twinloop.training.forecasting.samples import Samples

NetworkKind = Literal["gru", "lstm", "gru-mixture"]
NETWORK_KINDS: tuple[NetworkKind, ...] = ("gru", "lstm", "gru-mixture")
_BURN_IN = 12
_SPAN = 36
_DECAY = 1e-4


class Excerpts(eqx.Module):
    """Arrays that every split shares, and from which excerpts of the sequences are cut.

    `error` is the truth's distance from the linear forecast in running scales; `unit` the running scale over the
    file's standard deviation, 0 where nothing is to be scored.
    """

    inputs: Float[Array, "entities steps inputs"]
    linear: Float[Array, "entities steps horizons features"]
    change: Float[Array, "entities steps horizons"]
    scale: Float[Array, "entities steps"]
    unit: Float[Array, "entities steps horizons"]


class ExcerptLoss(eqx.Module):
    """Mean over excerpts of CRPS + squared error of the mean, both in standard deviations of the file.

    The hidden state starts empty, so the first steps of an excerpt are not scored.
    """

    excerpts: Excerpts
    squared: float = eqx.field(static=True, default=0.5)

    def __call__(self, net: RecurrentNetwork, key: PRNGKeyArray, picked: Int[Array, "batch 2"]) -> Float[Array, ""]:
        """Loss of `net` on excerpts given as (entity, first step)."""
        del key
        cut = self.excerpts
        entity, first = picked[:, :1], picked[:, 1:]
        at = first + jnp.arange(_BURN_IN + _SPAN)[None, :]
        inputs = net.normalised(cut.inputs[entity, at])
        hidden = net.unroll(net.hidden_start(picked.shape[0]), jnp.swapaxes(inputs, 0, 1))
        late = at[:, _BURN_IN:]
        said = net.read(jnp.swapaxes(hidden, 0, 1)[:, _BURN_IN:], inputs[:, _BURN_IN:])
        ahead = jnp.einsum("bthf,hf->bth", cut.linear[entity, late], jax.lax.stop_gradient(net.linear))
        scale = cut.scale[entity, late][..., None]
        truth = (cut.change[entity, late] - ahead) / scale
        unit = cut.unit[entity, late]
        score, square = relative_scores(net.structure.head, said, truth)
        total = jnp.sum(unit * score + self.squared * unit**2 * square)
        decay = _DECAY * sum(jnp.sum(w**2) for w in (net.into, net.within, net.head))
        return total / jnp.maximum(jnp.sum(unit > 0), 1) + decay


def excerpts_of(samples: Samples) -> Excerpts:
    """The arrays of `samples`, with room for an excerpt that begins in the last step."""
    room = _BURN_IN + _SPAN

    def roomy(array: np.ndarray) -> Array:
        return jnp.asarray(np.pad(array, ((0, 0), (_BURN_IN, room)) + ((0, 0),) * (array.ndim - 2), mode="edge"))

    std = samples.entity_std[:, None, :]
    unit = np.where(samples.valid, samples.scale[..., None] / std, 0.0).astype(np.float32)
    padded = jnp.asarray(np.pad(unit, ((0, 0), (_BURN_IN, room), (0, 0))))
    change = np.where(samples.valid, samples.truth - samples.last[..., None], 0.0).astype(np.float32)
    return Excerpts(roomy(samples.inputs), roomy(samples.linear), roomy(change), roomy(samples.scale), padded)


def draw_excerpts(samples: Samples, files: Files, count: int, seed: int) -> Int[np.ndarray, "count 2"]:
    """Excerpts from `files`, every file alike often, as (entity, first step) in the arrays of `Excerpts`."""
    draw = np.random.default_rng(seed)
    starts: list[np.ndarray] = []
    for file in files:
        own: list[tuple[int, int]] = []
        for entity in np.flatnonzero(samples.file == file):
            scored = np.flatnonzero(samples.valid[entity].any(axis=-1))
            if scored.size:
                first = np.arange(scored[0], scored[-1] + 1, max(_SPAN // 4, 1))
                own += [(int(entity), int(step)) for step in first]
        if own:
            starts.append(np.array(own))
    each = -(-count // len(starts))
    picked = np.concatenate([own[draw.integers(len(own), size=each)] for own in starts])
    return draw.permutation(picked)[:count].astype(np.int32)


def structure_of(samples: Samples, kind: NetworkKind, hidden: int) -> NetworkStructure:
    """The network of that kind for these samples."""
    return NetworkStructure(
        samples.source.form,
        samples.horizons,
        samples.inputs.shape[-1],
        hidden,
        "lstm" if kind == "lstm" else "gru",
        "mixture" if kind == "gru-mixture" else "quantiles",
    )


def normalisation(samples: Samples, files: Files) -> tuple[Float[np.ndarray, " i"], Float[np.ndarray, " i"]]:
    """Mean and standard deviation of every input over the scored steps of `files`."""
    rows = samples.of_files(files)
    inputs = samples.inputs[rows][samples.valid[rows].any(axis=-1)].astype(np.float64)
    known = np.isfinite(inputs)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, inputs, 0.0).sum(axis=0) / count
    std = np.sqrt(np.where(known, (inputs - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1.0).astype(np.float32)


def untrained(
    key: PRNGKeyArray,
    structure: NetworkStructure,
    samples: Samples,
    files: Files,
    linear: Float64[np.ndarray, "horizons features"],
    quantiles: Float64[np.ndarray, "horizons levels"],
) -> RecurrentNetwork:
    """A network that says the linear forecast with these quantiles of its residuals in running scales."""
    shift, spread = normalisation(samples, files)
    offset = starting_offset(structure.head, jnp.asarray(quantiles, jnp.float32))
    return new_network(
        key,
        structure,
        shift=jnp.asarray(shift),
        spread=jnp.asarray(spread),
        linear=jnp.asarray(linear, jnp.float32),
        offset=offset,
    )


@eqx.filter_jit
def train_all(
    key: PRNGKeyArray,
    loss: ExcerptLoss,
    networks: RecurrentNetwork,
    examples: Int[Array, "splits examples 2"],
    held_out: Int[Array, "splits held 2"],
    steps: int,
    batch: int,
    learning_rate: float,
) -> Fitted[RecurrentNetwork]:
    """One network a split, all trained at once; each keeps its best on its own held-out files."""

    def one(k: Array, net: RecurrentNetwork, some: Array, rest: Array) -> Fitted[RecurrentNetwork]:
        return fit(k, net, loss, some, rest, steps=steps, batch=batch, learning_rate=learning_rate, checks=10)

    return eqx.filter_vmap(one)(jax.random.split(key, examples.shape[0]), networks, examples, held_out)


def stacked(networks: Sequence[RecurrentNetwork]) -> RecurrentNetwork:
    """Networks of one structure along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks)


def single(networks: RecurrentNetwork, index: int) -> RecurrentNetwork:
    """One of stacked networks."""
    return jax.tree.map(lambda leaf: leaf[index], networks)
