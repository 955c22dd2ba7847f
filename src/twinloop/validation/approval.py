"""The only thing that can be enforced. Nobody outside this package constructs it."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int

from twinloop.entities import Action


class Approved(eqx.Module):
    """An action that may be enforced. `policy` is the proposal's index, -1 for the standing decision."""

    action: Action
    policy: Int[Array, ""]


def first_approved(action: Action) -> Approved:
    """The decision that stands before any other was judged."""
    return Approved(action, jnp.full((), -1, jnp.int32))
