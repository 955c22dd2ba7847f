"""Change of distribution: a two-sample test between one window of reported values and the one before."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

_EDGES = (-1.6, -1.0, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1.0, 1.6)
BINS = len(_EDGES) + 1
_CRITICAL = 1.95
_VALUES_A_PERSON = 4.0


class Windows(eqx.Module):
    """Histograms of the standardised values of each group: of the running window, and of the finished one before."""

    running: Float[Array, "groups attributes bins"]
    before: Float[Array, "groups attributes bins"]


def no_windows(groups: int, attributes: int) -> Windows:
    """Nothing seen."""
    return Windows(jnp.zeros((groups, attributes, BINS)), jnp.zeros((groups, attributes, BINS)))


def count_values(
    windows: Windows,
    status: Float[Array, "sample attributes"],
    weight: Float[Array, " sample"],
    groups: Int[Array, " sample"],
) -> Windows:
    """Windows after a sample of standardised statuses, each with its weight."""
    place = jnp.searchsorted(jnp.asarray(_EDGES), status)
    one_hot = jax.nn.one_hot(place, BINS) * weight[:, None, None]
    new = jax.ops.segment_sum(one_hot, groups, windows.running.shape[0])
    return Windows(windows.running + new, windows.before)


def shifted(windows: Windows, people: Float[Array, " groups"]) -> Bool[Array, "groups attributes"]:
    """Whether the running window differs from the one before.

    Kolmogorov-Smirnov statistic of the binned values, D > 1.95 sqrt(2 / n), a level of 0.001 for n independent values.
    Values of one of the group's `people` follow each other, so that a window of them counts as four at most (*ours*).
    """
    totals = [jnp.sum(one, axis=2, keepdims=True) for one in (windows.running, windows.before)]
    both = (totals[0] > 0) & (totals[1] > 0)
    below = [
        jnp.cumsum(one, axis=2) / jnp.maximum(total, 1e-9)
        for one, total in zip((windows.running, windows.before), totals, strict=True)
    ]
    distance = jnp.max(jnp.abs(below[0] - below[1]), axis=2)
    values = jnp.minimum(jnp.minimum(*totals)[:, :, 0], _VALUES_A_PERSON * people[:, None])
    limit = _CRITICAL * jnp.sqrt(2.0 / jnp.maximum(values, 1.0))
    return (distance > limit) & both[:, :, 0]


def turn(windows: Windows, ended: Bool[Array, ""]) -> Windows:
    """Windows in which the running one becomes the one before, where it `ended`."""
    return Windows(
        jnp.where(ended, 0.0, windows.running),
        jnp.where(ended, windows.running, windows.before),
    )
