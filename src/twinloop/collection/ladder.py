"""The ladder of periods: one rung up after calm looks, down at once when the error is high."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Ladder(eqx.Module):
    """Slots between looks by rung, and when to change rung.

    An attribute climbs one rung when its error stayed under `low` for `calm` looks in a row and drops `fall` rungs at
    once above `high`; between the two it stays (hysteresis).
    """

    slots: tuple[int, ...] = eqx.field(static=True)
    low: Float[Array, ""]
    high: Float[Array, ""]
    calm: int = eqx.field(static=True, default=3)
    fall: int = eqx.field(static=True, default=2)

    @property
    def top(self) -> int:
        """The rung of the longest period."""
        return len(self.slots) - 1

    def period_slots(self, rung: Int[Array, "..."]) -> Int[Array, "..."]:
        """Slots between looks on a rung."""
        return jnp.asarray(self.slots, jnp.int32)[rung]

    def climb(
        self,
        rung: Int[Array, "groups attributes"],
        calm: Int[Array, "groups attributes"],
        error: Float[Array, "groups attributes"],
        looked: Bool[Array, "groups attributes"],
        alarmed: Bool[Array, "groups attributes"],
        highest: Int[Array, ""],
    ) -> tuple[Int[Array, "groups attributes"], Int[Array, "groups attributes"]]:
        """Rungs and numbers of calm looks after a slot; nothing changes where nobody `looked` and nothing `alarmed`.

        `alarmed` sends an attribute back to the first rung whatever its error; none climbs above `highest`.
        """
        under, over = error < self.low, error > self.high
        calm = jnp.where(looked, jnp.where(under, calm + 1, 0), calm)
        up = calm >= self.calm
        rung = jnp.where(up, jnp.minimum(rung + 1, highest), rung)
        rung = jnp.where(looked & over, jnp.maximum(rung - self.fall, 0), rung)
        rung = jnp.where(alarmed, 0, rung)
        return rung, jnp.where(up | alarmed, 0, calm)
