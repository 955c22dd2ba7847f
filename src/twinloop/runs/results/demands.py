"""What level one foretold of users before a window, and what level two made of it, as tables."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twinloop.decision import BINDING
from twinloop.runs.blocks import USED_QUANTILES
from twinloop.runs.results.recording import Values

_AMOUNTS = ("bandwidth_hz", "cycles_per_s", "cache_bytes", "reports_per_s", "experience", "low", "high", "best", "cost")


def demand_tables(
    slot: int, verdict: Mapping[str, Values], active: NDArray[np.bool_], user_slice: NDArray[np.int32]
) -> dict[str, pa.Table]:
    """`needs`, a row a present user: the cheapest mix that keeps the agreement, and what is lacking where none does;
    `foreseen`, a row a cell and slice: what users are expected to take, and the game's equilibrium.

    Empty where the reservation's method asks no agents.
    """
    if "foretold_feasible" not in verdict:
        return {}
    user = np.flatnonzero(active).astype(np.int32)
    foretold = {name: np.asarray(verdict[f"foretold_{name}"])[user] for name in (*_AMOUNTS, "feasible", "binding")}
    needs = {
        "slot": np.full(len(user), slot, np.int32),
        "user": user,
        "slice": user_slice[user].astype(np.int16),
        **{name: foretold[name].astype(np.float32) for name in _AMOUNTS},
        "feasible": foretold["feasible"],
        "binding": np.array(BINDING)[foretold["binding"]],
    }
    return {"needs": pa.table(needs), "foreseen": _foreseen(slot, verdict)}


def _foreseen(slot: int, verdict: Mapping[str, Values]) -> pa.Table:
    used = np.asarray(verdict["used"], np.float32)
    cells, slices = used.shape[1:3]
    cell, name = (index.ravel() for index in np.indices((cells, slices)))
    columns = {
        "slot": np.full(len(cell), slot, np.int32),
        "cell": cell.astype(np.int16),
        "slice": name.astype(np.int16),
        "game_level": np.asarray(verdict["game_level"], np.float32).ravel(),
        "game_gap": np.full(len(cell), verdict["game_gap"], np.float32),
        "by_game": np.full(len(cell), bool(verdict["by_game"])),
    }
    for at, share in enumerate(USED_QUANTILES):
        for resource, unit in enumerate(("bandwidth_hz", "cycles_per_s")):
            columns[f"{unit}_p{round(100 * share):02d}"] = used[at, :, :, resource].ravel()
    return pa.table(columns)
