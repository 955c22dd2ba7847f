"""What people experience, minute by minute: the rows of a run's table, and all minutes for its figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pyarrow as pa

from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork
from twinloop.qoe import IMPACTS, RULES, Conditions, behaviour_of, environment_of
from twinloop.runs.results.agreements import Lived
from twinloop.runs.results.recording import Block, Values
from twinloop.simulator import Raters, true_experience

_KEPT = ("experience", "believed", "at_best")
_SUMS = ("slots", "played_s", "quality_s", "stall_s", "swipes", "speed_mps", "satisfaction", "sinr_db")


@dataclass(frozen=True)
class Followed:
    """Whose experience is followed: what each user was promised, whose slice it is, and how each truly feels.

    `agreed` and `user_slice` by user; `raters` is the truth, for scoring and never for twins.
    """

    agreed: Values
    user_slice: Values
    raters: Raters
    slot_s: float


def structures(state: LoopState) -> Values | None:
    """Rule and impact of the model that twins hold of each user, [2, users]; None where nobody is followed."""
    felt = state.twin.experience
    return None if felt is None else np.stack([np.asarray(felt.fitted.models.rule), felt.fitted.models.impact])


def begin_minutes(loop: Loop[SimulatedNetwork], agreed: Values) -> "Minutes | None":
    """No minute yet of a loop whose users were promised `agreed`; None where that is 0, and nobody is followed."""
    params = loop.network.params
    if params.raters is None or not agreed.any():
        return None
    return Minutes(Followed(agreed, np.asarray(params.user_slice), params.raters, loop.slot_s))


class Minutes:
    """Minutes of a run: all users in memory (12 bytes a user and minute), and the sums of the one under way."""

    def __init__(self, who: Followed) -> None:
        self._who = who
        self._over: list[dict[str, Values]] = []
        self._sums = np.zeros((len(_SUMS), len(who.agreed)))

    @property
    def under_way(self) -> list[list[float]]:
        """Sums of the minute under way, for a checkpoint."""
        return self._sums.tolist()

    def restore(self, under_way: Sequence[Sequence[float]], rows: Sequence[pa.Table]) -> None:
        """Goes back to a checkpoint: its sums, and the `rows` of all minutes before it."""
        self._sums = np.asarray(under_way, np.float64)
        for table in rows:
            slot, user = table["slot"].to_numpy(), table["user"].to_numpy()
            for end in np.unique(slot):
                over = {name: np.zeros(len(self._who.agreed), np.float32) for name in _KEPT}
                for name, values in over.items():
                    values[user[slot == end]] = table[name].to_numpy()[slot == end]
                self._over.append(over)

    def add(self, block: Block, structure: Values | None = None) -> pa.Table | None:
        """Rows of the minutes that ended in `block`, one a user who judged it; None where none ended.

        `structure` of the models that twins hold, as `structures` gives it; without it its columns are left out.
        """
        tables: list[pa.Table] = []
        begin = 0
        for end in np.flatnonzero((block.slots + 1) % self._who.raters.period_slots == 0).tolist():
            self._sum_up(block, begin, end + 1)
            tables.append(self._minute(block, end, structure))
            self._sums = np.zeros_like(self._sums)
            begin = end + 1
        self._sum_up(block, begin, len(block.slots))
        return pa.concat_tables(tables) if tables else None

    def lived(self) -> Lived:
        """All minutes so far."""
        none = np.zeros((len(self._who.agreed), 0), np.float32)
        parts = {name: np.stack([one[name] for one in self._over], axis=1) if self._over else none for name in _KEPT}
        period_s = self._who.raters.period_slots * self._who.slot_s
        return Lived(agreed=self._who.agreed, user_slice=self._who.user_slice, period_s=period_s, **parts)

    def _sum_up(self, block: Block, begin: int, end: int) -> None:
        truth = {name: values[begin:end] for name, values in block.truth.items()}
        there, stall_s = truth["active"], truth["rebuffer_s"].astype(np.float64)
        played_s = np.maximum(block.slot_s - stall_s, 0.0)
        lived = {
            "slots": np.ones(there.shape),
            "played_s": played_s,
            "quality_s": played_s * truth["quality"],
            "stall_s": stall_s,
            "satisfaction": block.satisfaction[begin:end],
            **{name: truth[name] for name in ("swipes", "speed_mps", "sinr_db")},
        }
        self._sums += np.stack([np.sum(lived[name], axis=0, where=there, dtype=np.float64) for name in _SUMS])

    def _minute(self, block: Block, end: int, structure: Values | None) -> pa.Table:
        who, sums = self._who, dict(zip(_SUMS, self._sums, strict=True))
        slots = np.maximum(sums["slots"], 1.0)
        minute = {name: sums[name] / slots for name in ("satisfaction", "sinr_db", "speed_mps")}
        minute["stall_s"] = sums["stall_s"]
        minute["quality"] = sums["quality_s"] / np.maximum(sums["played_s"], 1e-6)
        minute["swipes_per_min"] = sums["swipes"] / (slots * who.slot_s / 60.0)
        minute["experience"], minute["believed"] = block.truth["experience"][end], block.trace["believed"][end]
        minute |= _had_it_been(who.raters, minute)
        judged = minute["experience"] > 0
        self._over.append({name: np.where(judged, minute[name], 0.0).astype(np.float32) for name in _KEPT})
        user = np.flatnonzero(judged)
        columns: dict[str, Any] = {
            "slot": np.full(len(user), block.slots[end], np.int32),
            "user": user.astype(np.int32),
            "slice": who.user_slice[user].astype(np.int16),
            "agreed": who.agreed[user].astype(np.float32),
            "rule": _words(np.asarray(who.raters.models.rule)[user], RULES),
            **{name: values[user].astype(np.float32) for name, values in minute.items()},
        }
        if structure is not None:
            columns["believed_rule"] = _words(structure[0][user], RULES)
            columns["believed_impact"] = _words(structure[1][user], IMPACTS)
        return pa.table(columns)


def _had_it_been(raters: Raters, minute: dict[str, Values]) -> dict[str, Values]:
    """What each user would have felt with `no_stalls`, and `at_best`, with the best picture besides."""
    behaviour = behaviour_of(jnp.asarray(minute["swipes_per_min"], jnp.float32))
    environment = environment_of(jnp.asarray(minute["speed_mps"], jnp.float32))
    none, seen = jnp.zeros_like(behaviour), jnp.asarray(minute["quality"], jnp.float32)
    pictures = {"no_stalls": seen, "at_best": jnp.ones_like(seen)}
    return {
        name: np.asarray(true_experience(raters, Conditions(none, picture, behaviour, environment)))
        for name, picture in pictures.items()
    }


def _words(index: Values, names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(list(names)))
