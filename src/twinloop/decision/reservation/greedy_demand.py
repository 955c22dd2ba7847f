"""Reservation greedy by predicted demand."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.abstraction import Features
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.interface import AbstractReservation, Demand, fill, hand_out, resource_demands
from twinloop.slicing import SliceTable


class GreedyDemand(AbstractReservation):
    """Every slice gets its predicted demand of every resource, each resource on its own.

    reserved_s = max(floor_s, t demand_s), t filling the pool: above 1 where capacity is left over, below 1 where demand
    exceeds it, so all slices are cut alike. Left out: what a reserved unit is worth, and that a slice short of cycles
    cannot use its bandwidth.
    """

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """Parts in proportion to demand; equal parts where nobody demands anything."""

        def parts(demand: Demand) -> Float[Array, "pools slices"]:
            wanted = jnp.minimum(demand.capacity, jnp.sum(demand.demand, axis=1))
            return hand_out(fill(demand.floor, demand.demand, wanted), demand, slices)

        return Reservation(*(parts(demand) for demand in resource_demands(features, slices)))
