"""A small autoencoder whose code survives rounding: noise of one step stands for it while training.

J. Ballé, V. Laparra and E. P. Simoncelli, End-to-end optimized image compression, 2017: additive uniform noise as the
differentiable stand-in for rounding.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class Autoencoder(eqx.Module):
    """x -> code in [-1, 1]^dimensions -> x, one hidden layer each way, beside a linear path.

    `bits` a dimension is what the code is trained to be rounded to.
    """

    down: eqx.nn.Linear
    encode: eqx.nn.MLP
    up: eqx.nn.Linear
    decode: eqx.nn.MLP
    bits: int = eqx.field(static=True)

    def code(self, status: Float[Array, " attributes"]) -> Float[Array, " dimensions"]:
        """Code of one status, not rounded."""
        return jnp.tanh(self.down(status) + self.encode(status))

    def status(self, code: Float[Array, " dimensions"]) -> Float[Array, " attributes"]:
        """Status that a code stands for."""
        return self.up(code) + self.decode(code)

    def rebuilt(self, statuses: Float[Array, "examples attributes"], bits: int) -> Float[Array, "examples attributes"]:
        """What arrives of statuses whose codes are rounded to 2^bits steps a dimension."""
        steps = 2.0**bits - 1.0
        code = jax.vmap(self.code)(statuses)
        return jax.vmap(self.status)(jnp.round((code + 1.0) / 2.0 * steps) / steps * 2.0 - 1.0)


def autoencoder(key: PRNGKeyArray, attributes: int, dimensions: int, *, bits: int, width: int = 32) -> Autoencoder:
    """An untrained autoencoder. Raises ValueError for fewer than one dimension or bit."""
    if min(attributes, dimensions, bits) < 1:
        raise ValueError("an autoencoder needs at least one attribute, dimension and bit")
    keys = jax.random.split(key, 4)
    return Autoencoder(
        eqx.nn.Linear(attributes, dimensions, key=keys[0]),
        eqx.nn.MLP(attributes, dimensions, width, 1, key=keys[1]),
        eqx.nn.Linear(dimensions, attributes, key=keys[2]),
        eqx.nn.MLP(dimensions, attributes, width, 1, key=keys[3]),
        bits,
    )


def rebuilding_loss(
    model: Autoencoder, key: PRNGKeyArray, statuses: Float[Array, "examples attributes"]
) -> Float[Array, ""]:
    """Mean squared error of what is rebuilt from codes with uniform noise of one step of their rounding."""
    code = jax.vmap(model.code)(statuses)
    noise = jax.random.uniform(key, code.shape, minval=-1.0, maxval=1.0) / (2.0**model.bits - 1.0)
    return jnp.mean((jax.vmap(model.status)(code + noise) - statuses) ** 2)
