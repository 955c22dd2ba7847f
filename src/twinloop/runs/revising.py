"""Revision in a run: whose surroundings moved is examined again after each window's fits, and what changed is kept."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jaxtyping import Array, PRNGKeyArray

from twinloop.qoe import (
    ASPECTS,
    WATCHED,
    WEIGHTS,
    Ratings,
    Revision,
    Watch,
    begin_watch,
    examined,
    movement,
    relevant_factors,
    structure_name,
    told,
    watched,
)
from twinloop.twins import PERIOD_SLOTS, ExperienceTwins, Twins

_SALT = 17
_AT_ONCE = 32
_watched, _movement, _examined = eqx.filter_jit(watched), eqx.filter_jit(movement), eqx.filter_jit(examined)
_relevant = eqx.filter_jit(relevant_factors)
_begun = eqx.filter_jit(begin_watch)


class Revising:
    """Watches the minutes that twins know, and examines who moved. `watch` is all that a resumed run needs, beside the
    tables of examinations before.
    """

    def __init__(self, key: PRNGKeyArray, twins: ExperienceTwins) -> None:
        self._key = jax.random.fold_in(key, _SALT)
        everybody = np.arange(twins.agreed.shape[0])
        self.watch: Watch = _begun(twins.fitted, self._factors(0, twins.ratings, everybody))
        self.tables: list[pa.Table] = []

    def resume(self, watch: Watch | None, tables: list[pa.Table]) -> None:
        """Go on from a checkpoint's `watch` and the `tables` of examinations before it."""
        assert watch is not None, "the checkpoint of a run that follows experience holds a watch"
        self.watch, self.tables = watch, tables

    def observe(self, next_slot: int, twins: Twins) -> None:
        """Take in the minute that ended before `next_slot`, if one did."""
        if next_slot % PERIOD_SLOTS == 0 and twins.experience is not None:
            self.watch = _watched(self.watch, twins.experience.last, twins.users.current.active)

    def examine(self, slot: int, twins: ExperienceTwins) -> pa.Table | None:
        """After models were fitted before `slot`: a row for everybody who was examined, None where nobody was."""
        moved, _ = _movement(self.watch)
        rows = np.flatnonzero(np.asarray(moved))
        if not rows.size:
            return None
        relevant = self._factors(slot, twins.ratings, rows)
        self.watch, change = _examined(self.watch, moved, relevant, twins.fitted)
        table = _table(slot, jax.device_get(change))
        self.tables.append(table)
        return table

    def told(self) -> dict[str, int]:
        """For a summary: examinations, of how many users, how many changed structure, won or lost a factor."""
        rows = pa.concat_tables(self.tables) if self.tables else None
        if rows is None:
            return dict.fromkeys(("examinations", "users", "structures", "entered", "left"), 0)
        column = {name: rows[name].to_numpy() for name in ("user", "structure_before", "structure_after", "entered")}
        return {
            "examinations": rows.num_rows,
            "users": len(np.unique(column["user"])),
            "structures": int(np.sum(column["structure_before"] != column["structure_after"])),
            "entered": int(np.sum(column["entered"] != "")),
            "left": int(np.sum(rows["left"].to_numpy() != "")),
        }

    def _factors(self, slot: int, ratings: Ratings, rows: np.ndarray) -> Array:
        """Factors that matter to the users in `rows`, nothing in all others' rows."""
        found = np.zeros((ratings.score.shape[0], len(ASPECTS)), bool)
        key = jax.random.fold_in(self._key, slot)
        for part in (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE)):
            padded = np.resize(part, _AT_ONCE)
            of_part = jax.tree.map(lambda leaf, at=padded: leaf[at], ratings)
            found[part] = np.asarray(_relevant(jax.random.fold_in(key, int(part[0])), of_part))[: len(part)]
        return jnp.asarray(found)


def _table(slot: int, change: Revision) -> pa.Table:
    why = told(change)
    user = np.array(sorted(why), np.int32)

    def factors(mask: Any) -> list[str]:
        return [", ".join(ASPECTS[i] for i in np.flatnonzero(np.asarray(mask)[row])) for row in user]

    columns: dict[str, Any] = {
        "slot": np.full(len(user), slot, np.int32),
        "user": user,
        **{f"{name}_shift": change.shift[user, at].astype(np.float32) for at, name in enumerate(WATCHED)},
        "entered": factors(change.entered),
        "left": factors(change.left),
        "structure_before": [structure_name(int(change.structure_before[row])) for row in user],
        "structure_after": [structure_name(int(change.structure_after[row])) for row in user],
    }
    for at, name in enumerate(WEIGHTS):
        columns[f"{name}_before"] = change.weights_before[user, at]
        columns[f"{name}_after"] = change.weights_after[user, at]
    return pa.table(columns | {"what": [why[row] for row in user.tolist()]})
