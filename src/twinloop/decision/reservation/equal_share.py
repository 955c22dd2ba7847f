"""Equal shares: the trivial baseline."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.abstraction import Features
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.interface import AbstractReservation, Demand, fill, resource_demands
from twinloop.slicing import SliceTable


class EqualShare(AbstractReservation):
    """Every active slice gets capacity / slices of everything, more only where its floor is. Blind to demand."""

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """Equal parts of every cell and server."""

        def parts(demand: Demand) -> Float[Array, "pools slices"]:
            active = jnp.broadcast_to(slices.active[None, :], demand.demand.shape)
            return fill(demand.floor, active.astype(demand.floor.dtype), demand.capacity)

        return Reservation(*(parts(demand) for demand in resource_demands(features, slices)))
