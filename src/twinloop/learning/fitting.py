"""Training as one compiled function: batches are drawn, steps taken and the best model kept without leaving it."""

from collections.abc import Callable
from typing import Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

Model = TypeVar("Model", bound=eqx.Module)
Loss = Callable[[Model, PRNGKeyArray, PyTree], Float[Array, ""]]
"""Mean loss of a model on a batch: a tree of arrays whose first axis counts examples."""


class Fitted(eqx.Module, Generic[Model]):
    """A trained model: the one of lowest loss on held-out examples, and the losses at each check."""

    model: Model
    best: Int[Array, ""]
    loss: Float[Array, " checks"]
    held_out_loss: Float[Array, " checks"]


@eqx.filter_jit
def fit(
    key: PRNGKeyArray,
    model: Model,
    loss: Loss[Model],
    examples: PyTree,
    held_out: PyTree,
    *,
    steps: int,
    batch: int,
    learning_rate: float = 3e-3,
    checks: int = 20,
    clip: float = 1.0,
) -> Fitted[Model]:
    """Adam on batches of `batch` examples drawn with replacement, learning rate falling to 0 along a cosine.

    Every `steps` / `checks` steps the whole of `held_out` is scored; the model that scored lowest is returned, the
    untrained one included, so training never makes it worse there. Gradients are clipped to norm `clip`.
    """
    trained, fixed = eqx.partition(model, eqx.is_inexact_array)
    count = jax.tree.leaves(examples)[0].shape[0]
    span = max(steps // checks, 1)
    rule = optax.chain(optax.clip_by_global_norm(clip), optax.adam(optax.cosine_decay_schedule(learning_rate, steps)))
    k_start, k_steps = jax.random.split(key)

    def score(leaves: PyTree, k: PRNGKeyArray, some: PyTree) -> Float[Array, ""]:
        return loss(eqx.combine(leaves, fixed), k, some)

    def one_step(carry: PyTree, k: PRNGKeyArray) -> tuple[PyTree, Float[Array, ""]]:
        leaves, memory = carry
        k_pick, k_loss = jax.random.split(k)
        pick = jax.random.randint(k_pick, (batch,), 0, count)
        value, gradient = jax.value_and_grad(score)(leaves, k_loss, jax.tree.map(lambda leaf: leaf[pick], examples))
        change, memory = rule.update(gradient, memory, leaves)
        return (optax.apply_updates(leaves, change), memory), value

    def one_check(carry: PyTree, k: PRNGKeyArray) -> tuple[PyTree, tuple[Array, Array]]:
        leaves, memory, kept, lowest = carry
        (leaves, memory), values = jax.lax.scan(one_step, (leaves, memory), jax.random.split(k, span))
        now = score(leaves, k_start, held_out)
        better = now < lowest
        kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), leaves, kept)
        return (leaves, memory, kept, jnp.where(better, now, lowest)), (jnp.mean(values), now)

    first = score(trained, k_start, held_out)
    start = (trained, rule.init(trained), trained, first)
    (_, _, kept, _), (losses, held) = jax.lax.scan(one_check, start, jax.random.split(k_steps, checks))
    return Fitted(eqx.combine(kept, fixed), jnp.argmin(held), losses, held)
