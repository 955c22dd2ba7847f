"""Collection at fixed periods: the trivial method, which every adaptive one must beat."""

import equinox as eqx
from jaxtyping import Array, Float

from twinloop.network import Request


class Fidelity(eqx.Module):
    """How close emulation came to what was then reported, per entity and attribute, in [0, 1] (1 is exact)."""

    users: Float[Array, "users user_attributes"]
    cells: Float[Array, "cells cell_attributes"]
    servers: Float[Array, "servers server_attributes"]


class CollectionState(eqx.Module):
    """What is asked of the network in the next slot."""

    request: Request


def adapt(state: CollectionState, fidelity: Fidelity) -> CollectionState:
    """The next request: with fixed periods the same one, whatever `fidelity` says."""
    del fidelity
    return state
