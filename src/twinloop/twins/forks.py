"""What-if copies of twins that cost no copy, and the histories of chosen rows."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.twins.table import History, Twins, TwinTable


def fork(twins: Twins) -> Twins:
    """Twins for a what-if, sharing the current values of `twins` without a copy and having no history.

    What is done to the fork does not show in `twins`, nor the other way round; it lives on when `assimilate_in_place`
    takes the history of `twins`. Where history is needed, `take` the rows it is needed for.
    """
    return Twins(
        users=_without_history(twins.users),
        cells=_without_history(twins.cells),
        servers=_without_history(twins.servers),
        slices=_without_history(twins.slices),
        swipes=twins.swipes,
        experience=twins.experience,
    )


def take(table: TwinTable, rows: Int[Array, " chosen"]) -> TwinTable:
    """Table of the chosen rows only, with their history."""
    current, history = jax.tree.map(lambda x: x[rows], (table.current, table.history))
    return TwinTable(current, history, table.scale)


def recent(
    history: History, rows: Int[Array, " chosen"]
) -> tuple[Float[Array, "chosen history attributes"], Int[Array, "chosen history"]]:
    """History of the chosen rows from the oldest to the latest: values and slots (-1: empty, always first)."""
    length = history.slot.shape[1]
    order = (history.cursor[rows][:, None] + jnp.arange(length)[None, :]) % max(length, 1)
    return history.value[rows[:, None], order], history.slot[rows[:, None], order]


def _without_history(table: TwinTable) -> TwinTable:
    entities, attributes = table.current.value.shape
    nothing = History(
        value=jnp.zeros((entities, 0, attributes)),
        slot=jnp.zeros((entities, 0), jnp.int32),
        cursor=jnp.zeros(entities, jnp.int32),
    )
    return TwinTable(table.current, nothing, table.scale)
