"""The branching dueling Q-network (Tavakoli, Pardo and Kormushev, AAAI 2018)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.errors import ModelError
from twinloop.learning.weights import load_model, read_card, save_model

KIND = "bdqn"


class Dense(eqx.Module):
    """x W + b, one for each of some branches."""

    weight: Float[Array, "*branches inputs outputs"]
    bias: Float[Array, "*branches outputs"]

    def __call__(self, x: Float[Array, "*branches rows inputs"]) -> Float[Array, "*branches rows outputs"]:
        """The outputs of every row."""
        return x @ self.weight + self.bias[..., None, :]


class QNetwork(eqx.Module):
    """Q_d(s, a) = V(s) + A_d(s, a) - mean_a' A_d(s, a') for every branch d of an action.

    A trunk of layers with rectifiers is shared by the state's value V and the advantages A_d of every branch; each of
    them has a hidden layer of its own where the heads have width. What flows back into the trunk from D branches and
    the value is scaled by 1 / (D + 1). Outputs of branches with fewer levels than the widest are padded.
    """

    trunk: tuple[Dense, ...]
    value: tuple[Dense, ...]
    advantage: tuple[Dense, ...]
    levels: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, features: Float[Array, "*rows features"]) -> Float[Array, "*rows branches levels"]:
        """Values of every level of every branch; -inf for levels that a branch does not have."""
        branches = len(self.levels)
        h = self._shared(features)
        share = 1.0 / (branches + 1)
        h = share * h + jax.lax.stop_gradient((1.0 - share) * h)
        value, advantage = _through(self.value, h, 1), _through(self.advantage, h, branches)
        q = _dueling(value, advantage, _exists(self.levels))
        return q.reshape(*features.shape[:-1], *q.shape[1:])

    def greedy(self, features: Float[Array, "*rows features"]) -> Int[Array, "*rows branches"]:
        """The level of highest value in every branch, which is that of highest advantage."""
        advantage = _through(self.advantage, self._shared(features), len(self.levels))
        exists = jnp.asarray(_exists(self.levels))[None]
        best = jnp.argmax(jnp.where(exists, advantage, -jnp.inf), axis=-1).astype(jnp.int32)
        return best.reshape(*features.shape[:-1], len(self.levels))

    def _shared(self, features: Float[Array, "*rows features"]) -> Float[Array, "flat width"]:
        h = features.reshape(-1, features.shape[-1])
        for layer in self.trunk:
            h = jax.nn.relu(layer(h))
        return h


def q_network(
    key: PRNGKeyArray,
    features: int,
    levels: tuple[int, ...],
    *,
    layers: int = 4,
    width: int = 128,
    head_width: int = 64,
) -> QNetwork:
    """An untrained network of `layers` layers from features to values, the one or two of the heads among them.

    Heads of `head_width` 0 have one layer, others a hidden one before it. Raises ValueError for a network without a
    trunk, or a branch without two levels.
    """
    heads = 2 if head_width else 1
    if layers <= heads or min(features, width, *levels) < 1 or head_width < 0 or min(levels, default=0) < 2:
        given = f"{features} features, levels {levels}, {layers} layers of {width}, heads of {head_width}"
        raise ValueError(f"{given}: needs features, branches of 2 levels or more, and more layers than heads have")
    trunk = [(i, width) for i in [features, *[width] * (layers - heads - 1)]]
    value = [(width, head_width), (1, head_width, 1)] if head_width else [(width, 1)]
    branches, most = len(levels), max(levels)
    inner = [(width, branches * head_width), (branches, head_width, most)]
    advantage = inner if head_width else [(width, branches * most)]
    drawn = _drawn(key, [*trunk, *value, *advantage])
    first, last = len(trunk), len(trunk) + heads
    return QNetwork(drawn[:first], drawn[first:last], drawn[last:], levels)


def save_q_network(path: Path, network: QNetwork, about: Mapping[str, Any]) -> None:
    """Write the weights to `path` and a card beside it: the structure and `about`. Raises OutputError if it cannot."""
    heads = len(network.advantage)
    structure = {
        "features": network.trunk[0].weight.shape[0],
        "levels": list(network.levels),
        "layers": len(network.trunk) + heads,
        "width": network.trunk[0].weight.shape[1],
        "head_width": network.value[0].weight.shape[1] if heads > 1 else 0,
    }
    save_model(path, network, {"kind": KIND, **about, "structure": structure})


def load_q_network(path: Path) -> QNetwork:
    """The network in `path`. Raises ModelError where the file or its card is missing, damaged or of another kind."""
    card = read_card(path)
    if card.get("kind") != KIND:
        raise ModelError(path, f"a model of kind {card.get('kind')!r}", f"one of kind {KIND!r}")
    try:
        given = dict(card["structure"])
        sizes = {name: int(given[name]) for name in ("features", "layers", "width", "head_width")}
        levels = tuple(int(count) for count in given["levels"])
        if max(*sizes.values(), *levels, len(levels)) > 65_536:
            raise ValueError("larger than any such network")
        shapes: Any = eqx.filter_eval_shape(q_network, jax.random.key(0), levels=levels, **sizes)
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(path, f"its card's structure is wrong ({fault})", "the card that training wrote") from None
    return load_model(path, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))


def _drawn(key: PRNGKeyArray, shapes: Sequence[tuple[int, ...]]) -> tuple[Dense, ...]:
    """Layers without biases, weights drawn evenly within sqrt(6 / inputs) (He et al., 2015)."""
    sizes = [math.prod(shape) for shape in shapes]
    uniform = jnp.split(jax.random.uniform(key, (sum(sizes),), minval=-1.0, maxval=1.0), np.cumsum(sizes)[:-1])
    return tuple(
        Dense(part.reshape(shape) * (6.0 / shape[-2]) ** 0.5, jnp.zeros((*shape[:-2], shape[-1])))
        for part, shape in zip(uniform, shapes, strict=True)
    )


def _through(head: tuple[Dense, ...], h: Float[Array, "rows width"], branches: int) -> Array:
    """Outputs [rows, branches, outputs] of a head."""
    each = head[0](h).reshape(h.shape[0], branches, -1)
    if len(head) == 1:
        return each
    return jnp.swapaxes(head[1](jnp.swapaxes(jax.nn.relu(each), 0, 1)), 0, 1)


def _exists(levels: tuple[int, ...]) -> Bool[np.ndarray, "branches levels"]:
    return np.arange(max(levels))[None, :] < np.array(levels)[:, None]


def _dueling(
    value: Float[Array, "rows 1 1"],
    advantage: Float[Array, "rows branches levels"],
    exists: Bool[np.ndarray, "branches levels"],
) -> Float[Array, "rows branches levels"]:
    """V + A - mean A over the levels that exist."""
    if exists.all():
        return value + advantage - jnp.mean(advantage, axis=2, keepdims=True)
    there = jnp.asarray(exists)[None]
    total = jnp.sum(jnp.where(there, advantage, 0.0), axis=2, keepdims=True)
    return jnp.where(there, value + advantage - total / jnp.sum(there, axis=2, keepdims=True), -jnp.inf)
