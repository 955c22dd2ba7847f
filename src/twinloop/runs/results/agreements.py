"""Figures of experience (QoE) and of agreements kept (ELA) from what people lived, minute by minute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, Int32

from twinloop.qoe import GRID_MINUTES, agreements_kept, by_class, on_grid
from twinloop.runs.results.recording import Values

PERCENTILES = tuple(range(101))
"""Percentiles that stand for a distribution of experience over agreement."""

_QUARTILES = (0.25, 0.5, 0.75)
_FLAT = (
    ("qoe", ("median", "mean", "belief_error")),
    ("ela", ("share", "ratio", "users_reached", "time_below", "alarms")),
)


@dataclass(frozen=True)
class Lived:
    """What each user truly experienced in each minute, 0 where nothing was judged.

    `believed` is what twins held it to be, `at_best` what it would have been with no stall and the best picture;
    `agreed` what was promised, `period_s` the length of a minute as it is rated.
    """

    experience: Float32[np.ndarray, "users minutes"]
    believed: Float32[np.ndarray, "users minutes"]
    at_best: Float32[np.ndarray, "users minutes"]
    agreed: Float32[np.ndarray, " users"]
    user_slice: Int[np.ndarray, " users"]
    period_s: float

    def cells(self, name: str) -> tuple[Float32[np.ndarray, "users cells"], Values]:
        """Means of one value on the grid of 3 minutes, and whether a user judged anything in each cell."""
        periods = max(round(GRID_MINUTES * 60.0 / self.period_s), 1)
        values, there = on_grid(jnp.asarray(getattr(self, name)), jnp.asarray(self.experience > 0), periods)
        return np.asarray(values), np.asarray(there)


def qoe_figures(lived: Lived) -> dict[str, Any]:
    """Of all `minutes` that were judged: mean, median and quartiles of the true experience, mean absolute
    `belief_error` and mean `belief_bias` of what twins held it to be. Empty without any.
    """
    there = lived.experience > 0
    if not there.any():
        return {}
    felt = lived.experience[there].astype(np.float64)
    error = lived.believed[there] - felt
    lower, median, upper = np.quantile(felt, _QUARTILES).tolist()
    return {
        "minutes": int(there.sum()),
        "mean": float(felt.mean()),
        "median": median,
        "lower_quartile": lower,
        "upper_quartile": upper,
        "belief_error": float(np.abs(error).mean()),
        "belief_bias": float(error.mean()),
    }


def ela_figures(lived: Lived, slices: Sequence[str]) -> dict[str, Any]:
    """Agreements on the grid of 3 minutes, of all users and `by_slice`. Empty where no cell is full.

    `share` of users' cells in which the mean true experience reached what was agreed; mean `ratio` min(E / ELA, 1);
    share of `users_reached` (mean over the run); share of the `time_below`; `alarms`, stretches below; share of cells
    in which the agreement was `reachable` by any service at all; share of the cells below that twins `noticed`, None
    where none was below.
    """
    _, there = lived.cells("experience")
    if not there.any():
        return {}
    whole = _by_class(lived, np.zeros(len(lived.agreed), np.int32), 1)[0]
    each = _by_class(lived, lived.user_slice.astype(np.int32), len(slices))
    by_slice = {name: row for name, row in zip(slices, each, strict=True) if row["users"]}
    return {"grid_s": 60.0 * GRID_MINUTES, "cells": int(there.sum())} | whole | {"by_slice": by_slice}


def agreement_ratios(lived: Lived) -> Values:
    """Mean experience over agreement of every user's cell of the grid."""
    cells, there = lived.cells("experience")
    return (cells / lived.agreed[:, None])[there]


def flat_figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a summary's `qoe` and `ela` by one name each, as a comparison holds them."""
    return {
        f"{kind}_{name}": float(summary[kind][name]) for kind, names in _FLAT if summary.get(kind) for name in names
    }


def _by_class(lived: Lived, classes: Int32[np.ndarray, " users"], number: int) -> list[dict[str, Any]]:
    cells, there = lived.cells("experience")
    agreed = lived.agreed[:, None]
    kept = agreements_kept(jnp.asarray(cells), jnp.asarray(there), jnp.asarray(lived.agreed))
    mine = {name: np.asarray(part) for name, part in vars(by_class(kept, jnp.asarray(classes), number)).items()}
    below = there & (cells < agreed)
    held_below = below & (lived.cells("believed")[0] < agreed)
    reachable = there & (lived.cells("at_best")[0] >= agreed)

    def total(cell: Values) -> Values:
        return np.bincount(classes, weights=cell.sum(axis=1), minlength=number)

    counts = np.stack([total(cell) for cell in (there, below, held_below, reachable)], axis=1)
    return [
        {
            "users": int(mine["users"][row]),
            "share": 1.0 - lacked / max(judged, 1.0),
            "ratio": float(mine["ratio"][row]),
            "users_reached": float(mine["satisfied"][row]),
            "time_below": float(mine["below"][row]),
            "alarms": int(mine["alarms"][row]),
            "reachable": possible / max(judged, 1.0),
            "noticed": noticed / lacked if lacked else None,
        }
        for row, (judged, lacked, noticed, possible) in enumerate(counts.tolist())
    ]
