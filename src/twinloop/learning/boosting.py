"""Monotone boosted trees, grown by scikit-learn, kept and evaluated as plain arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int, Int64


@dataclass(frozen=True)
class BoostingSettings:
    """How trees are grown: `rounds` trees of at most `leaves` leaves, each on a `share_rows` of the rows, splits among
    a `share_features` of the features, no leaf below `least_rows`; averaged over `seeds` runs.
    """

    rounds: int = 200
    leaves: int = 6
    learning_rate: float = 0.05
    least_rows: int = 8
    share_rows: float = 0.6
    share_features: float = 0.4
    seeds: int = 3


class BoostedTrees(eqx.Module):
    """f(x) = base + sum of one leaf's value of every tree; at a node x goes left where x[feature] <= threshold.

    A leaf's threshold is infinite in effect: both of its ways lead to itself. `value` holds the learning rate and the
    average over seeds. Unused nodes stand behind the others and are never reached.
    """

    base: Float[Array, ""]
    feature: Int[Array, "trees nodes"]
    threshold: Float[Array, "trees nodes"]
    left: Int[Array, "trees nodes"]
    right: Int[Array, "trees nodes"]
    value: Float[Array, "trees nodes"]

    def __call__(self, x: Float[Array, "rows features"]) -> Float[Array, " rows"]:
        """Value of every row; a tree of n nodes is at most (n - 1)/2 steps deep."""
        trees = jnp.arange(self.feature.shape[0])

        def step(at: Int[Array, " trees"], row: Float[Array, " features"]) -> Int[Array, " trees"]:
            below = row[self.feature[trees, at]] <= self.threshold[trees, at]
            return jnp.where(below, self.left[trees, at], self.right[trees, at]).astype(at.dtype)

        def one(row: Float[Array, " features"]) -> Float[Array, ""]:
            start = jnp.zeros(trees.shape, jnp.int32)
            at = jax.lax.fori_loop(0, (self.feature.shape[1] - 1) // 2, lambda _, now: step(now, row), start)
            return self.base + self.value[trees, at].sum()

        return jax.vmap(one)(x)


def blank_trees(trees: int, nodes: int) -> BoostedTrees:
    """Trees that give 0, of the shapes of saved ones, to load those into."""
    integers, floats = jnp.zeros((trees, nodes), jnp.int16), jnp.zeros((trees, nodes))
    return BoostedTrees(jnp.zeros(()), integers, floats, integers, integers, floats)


def boost(
    x: Float64[np.ndarray, "rows features"],
    y: Float64[np.ndarray, " rows"],
    monotone: Sequence[int],
    settings: BoostingSettings,
    seed: int,
) -> BoostedTrees:
    """Least-squares boosting: every tree is grown on what those before it leave over.

    `monotone` is, for each feature, 1 where the value may not fall with it, -1 where it may not rise, else 0. Each tree
    keeps to it, and so their sum does. Source: Friedman, Annals of Statistics 2001 and 2002 (random rows).
    """
    from sklearn.tree import DecisionTreeRegressor  # a second to import

    draw = np.random.default_rng(seed)
    inputs = x.astype(np.float32)
    base = float(y.mean())
    grown: list[_Nodes] = []
    sample = max(int(settings.share_rows * len(y)), min(len(y), 2))
    for _ in range(settings.seeds):
        left_over = y - base
        for _ in range(settings.rounds):
            rows = draw.choice(len(y), sample, replace=False)
            tree = DecisionTreeRegressor(
                max_leaf_nodes=settings.leaves,
                min_samples_leaf=settings.least_rows,
                max_features=settings.share_features,
                monotonic_cst=list(monotone),
                random_state=int(draw.integers(2**31 - 1)),
            ).fit(inputs[rows], left_over[rows], check_input=False)
            left_over = left_over - settings.learning_rate * tree.predict(inputs, check_input=False)
            grown.append(_nodes_of(tree.tree_, settings))
    return _stacked(base, grown, 2 * settings.leaves - 1)


@dataclass(frozen=True)
class _Nodes:
    feature: Int64[np.ndarray, " nodes"]
    threshold: Float32[np.ndarray, " nodes"]
    left: Int64[np.ndarray, " nodes"]
    right: Int64[np.ndarray, " nodes"]
    value: Float64[np.ndarray, " nodes"]


def _nodes_of(tree: object, settings: BoostingSettings) -> _Nodes:
    """Arrays of one of scikit-learn's trees. Thresholds are rounded down, so that float32 inputs go the same way."""
    split, left, right = (np.asarray(getattr(tree, name)) for name in ("feature", "children_left", "children_right"))
    exact, value = np.asarray(tree.threshold), np.asarray(tree.value)[:, 0, 0]  # pyright: ignore[reportAttributeAccessIssue] a tree of scikit-learn has no public type
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    own, leaf = np.arange(len(left)), left < 0
    return _Nodes(
        feature=np.where(leaf, 0, split).astype(np.int64),
        threshold=np.where(leaf, 0.0, threshold).astype(np.float32),
        left=np.where(leaf, own, left).astype(np.int64),
        right=np.where(leaf, own, right).astype(np.int64),
        value=value * settings.learning_rate / settings.seeds,
    )


def _stacked(base: float, grown: list[_Nodes], nodes: int) -> BoostedTrees:
    def stack(arrays: list[np.ndarray], dtype: type[np.generic]) -> Array:
        padded = [np.pad(one, (0, nodes - len(one))) for one in arrays]
        return jnp.asarray(np.stack(padded).astype(dtype))

    return BoostedTrees(
        base=jnp.asarray(base, jnp.float32),
        feature=stack([one.feature for one in grown], np.int16),
        threshold=stack([one.threshold for one in grown], np.float32),
        left=stack([one.left for one in grown], np.int16),
        right=stack([one.right for one in grown], np.int16),
        value=stack([one.value for one in grown], np.float32),
    )
