"""What the twins are worth, window by window: how true they are, what they gain, what they cost.

Source: paper 004, eq. (1), the holistic twin value V = alpha F/f + beta Q - gamma R. As printed its first term rewards
collecting nothing; *ours* is V = alpha F + beta (Q - Q_0)/(Q_max - Q_0) - gamma R/budget, in comparable parts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from twinloop.runs.results.recording import Block, periodic_mean

COLUMNS = (
    *("first_slot", "slots", "fidelity", "mean_age_s", "satisfaction", "satisfaction_unaided", "satisfaction_bound"),
    *("gain", "bandwidth_share", "cycles_share", "cost", "value", "printed_first_term"),
    *("collected_bytes", "multiply_adds", "wall_s"),
)


@dataclass(frozen=True)
class Worth:
    """Weights of the three parts, and the share of bandwidth and cycles that the twins may cost."""

    fidelity: float
    gain: float
    cost: float
    budget: float


@dataclass
class ByWindow:
    """Running sums of every window that has begun, by its number; JSON in a checkpoint."""

    sums: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])

    def add(self, block: Block, window: int, *, inference_cycles_per_user: float, wall_s: float) -> None:
        """Adds a block's slots to its window; `wall_s` is how long they took."""
        own = self.sums.setdefault(str(window), {"first_slot": float(block.first_slot)})
        for name, value in _block_sums(block, inference_cycles_per_user).items():
            own[name] = own.get(name, 0.0) + value
        own["wall_s"] = own.get("wall_s", 0.0) + wall_s

    def rows(self, worth: Worth, multiply_adds_per_slot: float) -> list[dict[str, float]]:
        """The windows in order, as `COLUMNS`."""
        return [_row(self.sums[key], worth, multiply_adds_per_slot) for key in sorted(self.sums, key=int)]


def _block_sums(block: Block, inference_cycles_per_user: float) -> dict[str, float]:
    truth, trace = block.truth, block.trace
    slots = truth["active"].shape[0]
    users = float(truth["active"].sum())
    return {
        "slots": float(slots),
        "users": users,
        "satisfied": float(np.nansum(block.satisfaction, dtype=np.float64)),
        "unaided_satisfied": float(np.sum(trace["unaided_satisfied"], dtype=np.float64)),
        "unaided_users": float(np.sum(trace["unaided_users"], dtype=np.float64)),
        "bound_satisfied": float(np.sum(trace["bound_satisfied"], dtype=np.float64)),
        "bound_users": float(np.sum(trace["bound_users"], dtype=np.float64)),
        "fidelity": float(np.sum(trace["true_fidelity"].mean(axis=1), dtype=np.float64)),
        "age_s": float(np.sum(periodic_mean(trace["age_s"]), dtype=np.float64)),
        "reports": float(np.sum(trace["reports"], dtype=np.float64)),
        "bits": float(np.sum(trace["bits"], dtype=np.float64)),
        "overhead_hz": float(np.sum(truth["overhead_bandwidth_hz"], dtype=np.float64)),
        "capacity_hz": float(block.cell_bandwidth_hz.sum()) * slots,
        "inference_cycles": users * inference_cycles_per_user,
        "capacity_cycles": float(block.server_cycles_per_s.sum()) * slots * block.slot_s,
    }


def _row(sums: Mapping[str, float], worth: Worth, multiply_adds_per_slot: float) -> dict[str, float]:
    def mean(name: str, per: str) -> float:
        return sums[name] / max(sums[per], 1e-9)

    got, without, best = (
        mean("satisfied", "users"),
        mean("unaided_satisfied", "unaided_users"),
        mean("bound_satisfied", "bound_users"),
    )
    gain = (got - without) / (best - without) if best - without > 1e-3 else math.nan
    bandwidth, cycles = mean("overhead_hz", "capacity_hz"), mean("inference_cycles", "capacity_cycles")
    cost = (bandwidth + cycles) / 2 / worth.budget
    fidelity, age_s = mean("fidelity", "slots"), mean("age_s", "slots")
    reports = mean("reports", "users")
    return {
        "first_slot": sums["first_slot"],
        "slots": sums["slots"],
        "fidelity": fidelity,
        "mean_age_s": age_s,
        "satisfaction": got,
        "satisfaction_unaided": without,
        "satisfaction_bound": best,
        "gain": gain,
        "bandwidth_share": bandwidth,
        "cycles_share": cycles,
        "cost": cost,
        "value": worth.fidelity * fidelity + worth.gain * gain - worth.cost * cost,
        "printed_first_term": 1.0 / (1.0 + age_s) / max(reports, 1e-9),
        "collected_bytes": sums["bits"] / 8,
        "multiply_adds": multiply_adds_per_slot * sums["slots"],
        "wall_s": sums["wall_s"],
    }


def value_table(rows: list[dict[str, float]]) -> pa.Table:
    """One row a window: the parts of V, what they are made of, and what was spent.

    fidelity: of all users and attributes against the truth. gain: (satisfaction - unaided) / (bound - unaided),
    where unaided is the same world without twins (equal slices, equal turns, no reports) and bound what the
    realised future would have allowed. cost: mean share of bandwidth and cycles that reports and inference took,
    over the budget. printed_first_term: freshness 1 / (1 + age) over reports a user and slot, as eq. (1) reads.
    multiply_adds: of emulation; wall_s: time that the window took to compute.
    """
    return pa.table({name: np.array([row[name] for row in rows], np.float64) for name in COLUMNS})


def value_summary(rows: list[dict[str, float]]) -> dict[str, Any]:
    """V and its parts, mean over the windows weighted by their slots; NaN where no window knew its gain."""
    weight = np.array([row["slots"] for row in rows])
    names = ("value", "fidelity", "gain", "cost", "satisfaction_unaided")
    known = np.array([math.isfinite(row["value"]) for row in rows])
    if not known.any():
        return {}
    return {
        name: float(np.average(np.array([row[name] for row in rows])[known], weights=weight[known])) for name in names
    }
