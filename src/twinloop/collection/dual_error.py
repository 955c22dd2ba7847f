"""Two errors in one scale: of what is later known to have been right or wrong, and of what never is.

Levels and counts get a truth with every look: normalised squared error. For labels the entropy of the predictive
distribution stands in, as in the dual error of adaptive collection for twins (mean squared error and entropy).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

CLASSES = 32
MEMORY = 0.98


class Classes(eqx.Module):
    """How often each class of a label was seen in each group, and how often it changed; a slot ago weighs 0.98 of now.

    Labels beyond 32 share a place with label mod 32, so that their entropy is a lower bound.
    """

    seen: Float[Array, "groups labels classes"]
    changed: Float[Array, "groups labels"]
    looks: Float[Array, "groups labels"]


def no_classes(groups: int, labels: int) -> Classes:
    """Nothing seen."""
    return Classes(jnp.zeros((groups, labels, CLASSES)), jnp.zeros((groups, labels)), jnp.zeros((groups, labels)))


def count_classes(
    classes: Classes,
    label: Float[Array, "entities labels"],
    fresh: Bool[Array, "entities labels"],
    changed: Bool[Array, "entities labels"],
    looked: Bool[Array, "entities labels"],
    groups: Int[Array, " entities"],
) -> Classes:
    """Counts after a slot in which `label` was reported where `fresh`, and `looked` at, in silence or not."""
    count, labels, _ = classes.seen.shape
    place = (label.astype(jnp.int32) % CLASSES) + CLASSES * jnp.arange(labels)[None, :]
    row = (groups[:, None] * labels * CLASSES + place).reshape(-1)
    new = jax.ops.segment_sum(fresh.astype(jnp.float32).reshape(-1), row, count * labels * CLASSES)
    per_group = jax.ops.segment_sum(
        jnp.stack([(changed & fresh).astype(jnp.float32), looked.astype(jnp.float32)]).transpose(1, 0, 2), groups, count
    )
    return Classes(
        MEMORY * classes.seen + new.reshape(classes.seen.shape),
        MEMORY * classes.changed + per_group[:, 0],
        MEMORY * classes.looks + per_group[:, 1],
    )


def label_entropy(classes: Classes) -> Float[Array, "groups labels"]:
    """Entropy of the predictive distribution of a label at its next look, over log 32, in [0, 1].

    The label stays with probability 1 - c and is drawn from the group's classes p otherwise:
    H = -c log c - (1 - c) log(1 - c) + c H(p), c the share of looks that found a change.
    """
    share = classes.seen / jnp.maximum(jnp.sum(classes.seen, axis=2, keepdims=True), 1e-9)
    mix = -jnp.sum(share * jnp.log(jnp.maximum(share, 1e-9)), axis=2)
    c = jnp.clip(classes.changed / jnp.maximum(classes.looks, 1e-9), 1e-6, 1 - 1e-6)
    return (-c * jnp.log(c) - (1 - c) * jnp.log(1 - c) + c * mix) / jnp.log(float(CLASSES))


def squared_error(
    expected: Float[Array, "entities attributes"],
    value: Float[Array, "entities attributes"],
    allowed: Float[Array, "entities attributes"],
) -> Float[Array, "entities attributes"]:
    """min((expected - value)^2 / allowed^2, 1): the share of the allowed error that was used."""
    return jnp.minimum(((expected - value) / jnp.maximum(allowed, 1e-12)) ** 2, 1.0)
