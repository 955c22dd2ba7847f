"""Reservation by the game of user groups: an equilibrium that no group improves alone."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.abstraction import Features
from twinloop.decision.game.clearing import Objective, clear_pools
from twinloop.decision.game.equilibrium import shared_equilibrium
from twinloop.decision.game.gains import SigmoidGain, majorant_gain
from twinloop.decision.game.resource_game import TOLL
from twinloop.decision.proposal import Reservation
from twinloop.decision.reservation.gain import beside_floors, game_of
from twinloop.decision.reservation.groups import group_demands, reserved_at
from twinloop.decision.reservation.interface import AbstractReservation, Appraisal, resource_demands
from twinloop.qoe import SigmoidSatisfaction
from twinloop.slicing import SliceTable

_FREE = (0.0, 0.0, 0.0)


class GameReservation(AbstractReservation):
    """Every (cell, slice) group is a player that reserves for itself at congestion prices (paper 000, III-D.2).

    Worth is users x weight, gain the sigmoid satisfaction; `toll` is what congestion costs in a full pool, as a part
    of the mean worth. The equilibrium is the best found in which groups take what others leave
    (game.equilibrium.shared_equilibrium). Slices keep their floors besides; what is left over is divided by demand.
    """

    steepness: float = eqx.field(static=True, default=10.0)
    threshold: float = eqx.field(static=True, default=0.7)
    toll: float = eqx.field(static=True, default=TOLL)

    def reserve(self, features: Features, slices: SliceTable) -> Reservation:
        """The equilibrium's reservation."""
        return self.appraised(features, slices)[0]

    def appraised(self, features: Features, slices: SliceTable) -> tuple[Reservation, Appraisal]:
        """The reservation, what its levels are worth, the most that any are, and the equilibrium."""
        demands = resource_demands(features, slices)
        groups = group_demands(features, slices, demands, _FREE)
        shape = SigmoidSatisfaction(self.steepness, self.threshold)
        surrogate = majorant_gain(shape, groups.low, groups.high)
        game = game_of(groups, self.toll)
        found = shared_equilibrium(game, SigmoidGain(shape), surrogate)
        nothing = Objective(jnp.zeros_like(game.worth), jnp.zeros_like(game.slope))
        bound = clear_pools(game, surrogate, nothing).bound
        kept: Float[Array, " groups"] = beside_floors(groups, game, found.level)
        value = jnp.sum(groups.weight * shape.value(kept))
        return reserved_at(groups, kept, demands, slices), Appraisal(bound, value, game=found, by_game=jnp.bool_(True))
