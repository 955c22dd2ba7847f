"""The only writer of the network. An action counts as in effect when a later report says so, not when it was sent."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from twinloop.entities import Action
from twinloop.network import AbstractNetwork, Receipts
from twinloop.validation import Approved

PlantT = TypeVar("PlantT")

EFFECTS = ("applied", "pending", "rolled_back")


class Pending(eqx.Module):
    """What was asked and what is known to be in effect.

    `requested` carries the number `revision`; `confirmed` is the last action that the network reported as taken.
    `missed` counts requests in a row without effect, `effect` indexes `EFFECTS`, `rolled_back` counts returns to
    `confirmed`.
    """

    requested: Action
    revision: Int[Array, ""]
    confirmed: Action
    confirmed_revision: Int[Array, ""]
    missed: Int[Array, ""]
    effect: Int[Array, ""]
    rolled_back: Int[Array, ""]


def nothing_pending(approved: Approved) -> Pending:
    """The state in which the network starts: the first approved action is in effect under revision 0."""
    zero = jnp.zeros((), jnp.int32)
    return Pending(approved.action, zero, approved.action, zero, zero, zero, zero)


def enforce(
    key: PRNGKeyArray,
    network: AbstractNetwork[PlantT],
    plant: PlantT,
    approved: Approved,
    pending: Pending,
    receipts: Receipts,
    retries: int,
) -> tuple[PlantT, Pending]:
    """Verifies the last request against the network's receipt, then asks for the next action.

    The request was taken when the receipt carries its revision. Otherwise the new decision takes its place (reconcile);
    after more than `retries` requests in a row without effect the last confirmed action is asked for instead of the new
    one (roll back), since a network that drops orders should stand on a decision that it is known to hold.
    """
    taken = receipts.revision == pending.revision
    confirmed = jax.tree.map(lambda new, old: jnp.where(taken, new, old), pending.requested, pending.confirmed)
    missed = jnp.where(taken, 0, pending.missed + 1)
    roll_back = missed > retries
    target = jax.tree.map(lambda new, old: jnp.where(roll_back, old, new), approved.action, confirmed)
    revision = pending.revision + 1
    plant = network.apply(key, plant, target, revision)
    effect = jnp.where(roll_back, 2, jnp.where(taken, 0, 1)).astype(jnp.int32)
    return plant, Pending(
        requested=target,
        revision=revision,
        confirmed=confirmed,
        confirmed_revision=jnp.where(taken, pending.revision, pending.confirmed_revision),
        missed=jnp.where(roll_back, 0, missed),
        effect=effect,
        rolled_back=pending.rolled_back + roll_back,
    )
