"""A network that is elsewhere: what has arrived lies in a mailbox before a slot, what is asked lies in it after.

Reading and writing the mailbox is pure, so a live loop compiles like a simulated one; whoever owns the mailbox fills it
and sends what is asked (paper 001, III: the interfaces of collection and of control).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Action
from twinloop.network.port import AbstractNetwork
from twinloop.network.report import Receipts, Report, Reports, Request


class Mailbox(eqx.Module):
    """What arrived for `slot`, and the `order` that the loop last asked for, under the number `revision`."""

    slot: Int[Array, ""]
    users: Reports
    cells: Reports
    servers: Reports
    newcomers: Bool[Array, " users"]
    receipts: Receipts
    order: Action
    revision: Int[Array, ""]


class LiveNetwork(AbstractNetwork[Mailbox]):
    """Reads what lies in the mailbox, leaves in it what is asked."""

    def report(self, key: PRNGKeyArray, plant: Mailbox, request: Request) -> tuple[Mailbox, Report]:
        """What has arrived; what is requested was published to the agents before."""
        del key, request
        return plant, Report(plant.slot, plant.users, plant.cells, plant.servers, plant.receipts, plant.newcomers)

    def apply(self, key: PRNGKeyArray, plant: Mailbox, action: Action, revision: Int[Array, ""]) -> Mailbox:
        """Leaves the action to be sent; a receipt in a later mailbox tells what became of it."""
        del key
        return eqx.tree_at(lambda box: (box.order, box.revision), plant, (action, revision))


def empty_mailbox(users: int, cells: int, servers: int, lanes: int, order: Action) -> Mailbox:
    """A mailbox of slot 0 with nothing in it and `order` in effect under revision 0.

    `lanes` is how many measurement times of one entity can arrive in one slot.
    """
    zero = jnp.zeros((), jnp.int32)
    return Mailbox(
        slot=zero,
        users=no_reports(users, len(USER_ATTRIBUTES), lanes),
        cells=no_reports(cells, len(CELL_ATTRIBUTES), lanes),
        servers=no_reports(servers, len(SERVER_ATTRIBUTES), lanes),
        newcomers=jnp.zeros(users, bool),
        receipts=Receipts(zero, zero),
        order=order,
        revision=zero,
    )


def no_reports(entities: int, attributes: int, lanes: int) -> Reports:
    """Nothing that arrived."""
    shape = (lanes, entities, attributes)
    never = jnp.full(shape[:2], -1, jnp.int32)
    return Reports(jnp.zeros(shape), jnp.zeros(shape, bool), never, never, jnp.zeros(shape[:2]))
