"""From a block of slots to table rows, and to the sums that a summary is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twinloop.enforcement import EFFECTS
from twinloop.entities import USER_ATTRIBUTES
from twinloop.traces import watched_rows
from twinloop.validation import RESULTS

Values = NDArray[Any]
MOST_RECORDED_USERS = 2_500
_REQUESTS_EVERY_SLOTS = 10
_PERIODIC = np.array([attribute.method == "periodic" for attribute in USER_ATTRIBUTES])
_LEVEL = np.array([attribute.kind == "level" for attribute in USER_ATTRIBUTES])
_POWERS = ("cell_power_w", "report_power_w", "server_power_w")
_TRUTH_OF = {"position_x_m": "x_m", "position_y_m": "y_m"}
_USER_COLUMNS = (
    "x_m",
    "y_m",
    "rate_bps",
    "delay_s",
    "jitter_s",
    "loss_ratio",
    "buffer_s",
    "version",
    "quality",
    "quality_change",
    "rebuffer_s",
    "swipes",
    "wasted_bits",
    "delivered_bits",
    "sinr_db",
    "last_watch_s",
    "last_class",
)


@dataclass(frozen=True)
class Block:
    """One block of slots on the host: truth and trace, every array led by the slot, and who is in which slice."""

    first_slot: int
    slot_s: float
    truth: Mapping[str, Values]
    trace: Mapping[str, Values]
    user_slice: Values
    cell_bandwidth_hz: Values
    server_cycles_per_s: Values
    policy: str

    @property
    def slots(self) -> Values:
        """Slot numbers of the block."""
        return np.arange(self.first_slot, self.first_slot + self.truth["active"].shape[0], dtype=np.int32)

    @property
    def satisfaction(self) -> Values:
        """min(delivered / needed, 1) by slot and user, NaN where a user is absent."""
        return satisfaction(self.truth)


def satisfaction(truth: Mapping[str, Values]) -> Values:
    """min(delivered bits / needed bits, 1); 1 where nothing is needed, NaN where the user is absent."""
    needed = truth["needed_bits"]
    share = np.where(needed > 0, np.minimum(truth["delivered_bits"] / np.maximum(needed, 1.0), 1.0), 1.0)
    return np.where(truth["active"], share, np.nan)


def periodic_mean(values: Values) -> Values:
    """Mean by slot over the attributes that are sent at a period, of values by slot and user attribute."""
    return values[:, _PERIODIC].mean(axis=1)


def tables(block: Block) -> dict[str, pa.Table]:
    """Rows of every trace table of one block; at most 2,500 users are recorded, evenly chosen."""
    return {
        "users": _users(block),
        "cells": _by_row(block, "cell", ("load", "used_bandwidth_hz", "overhead_bandwidth_hz"), _cell_columns(block)),
        "servers": _by_row(block, "server", ("utilisation", "queue_cycles"), _server_columns(block)),
        "slices": _slices(block),
        "twins": _twins(block),
        "forecasts": _forecasts(block),
        "collection": _collection(block),
        "requests": _requests(block),
        "decisions": _decisions(block),
    }


def window_row(slot: int, verdict: Mapping[str, Values], policies: tuple[str, ...], effect: int) -> pa.Table:
    """The decision table's row of one window decision; `effect` is what the next report said of it."""
    winner = int(verdict["winner"])
    return pa.table(
        {
            "slot": pa.array([slot], pa.int32()),
            "scale": ["window"],
            "proposals": pa.array([len(policies)], pa.int32()),
            "winner": ["standing" if winner < 0 else policies[winner]],
            "code": pa.array([int(verdict["code"])], pa.int32()),
            "reason": [RESULTS[int(verdict["code"])]],
            "objective_proposed": pa.array([float(verdict["score_proposed"])], pa.float32()),
            "objective_standing": pa.array([float(verdict["score_standing"])], pa.float32()),
            "reservation_value": pa.array([float(verdict["value"])], pa.float32()),
            "reservation_bound": pa.array([float(verdict["bound"])], pa.float32()),
            "effect": [EFFECTS[effect]],
        }
    )


def _users(block: Block) -> pa.Table:
    users = block.truth["active"].shape[1]
    step = -(-users // MOST_RECORDED_USERS)
    chosen = np.arange(0, users, step)
    present = block.truth["active"][:, chosen]
    slot, user = np.nonzero(present)

    def of(values: Values) -> Values:
        return values[:, chosen][slot, user]

    columns: dict[str, Any] = {
        "slot": block.slots[slot],
        "user": chosen[user].astype(np.int32),
        "slice": block.user_slice[chosen[user]].astype(np.int16),
        "cell": of(block.truth["serving_cell"]).astype(np.int16),
        "needed_bps": of(block.truth["needed_bits"]) / block.slot_s,
        "delivered_bps": of(block.truth["delivered_bits"]) / block.slot_s,
        "satisfaction": of(block.satisfaction).astype(np.float32),
    }
    for name in _USER_COLUMNS:
        columns[name] = of(block.truth[name])
    return pa.table(columns)


def _by_row(block: Block, row: str, names: tuple[str, ...], extra: Mapping[str, Values]) -> pa.Table:
    count = block.truth[names[0]].shape[1]
    slots = block.slots
    columns: dict[str, Any] = {
        "slot": np.repeat(slots, count),
        row: np.tile(np.arange(count, dtype=np.int32), len(slots)),
    }
    for name in names:
        columns[name] = block.truth[name].reshape(-1)
    for name, values in extra.items():
        columns[name] = values.reshape(-1)
    return pa.table(columns)


def _cell_columns(block: Block) -> dict[str, Values]:
    truth = block.truth
    return {
        "throughput_bps": truth["throughput_bps"],
        "users": truth["users"],
        "power_w": truth["cell_power_w"],
    }


def _server_columns(block: Block) -> dict[str, Values]:
    truth = block.truth
    asked = truth["cache_hits_bits"] + truth["cache_misses_bits"]
    ratio = np.where(asked > 0, truth["cache_hits_bits"] / np.maximum(asked, 1.0), np.nan)
    return {"cache_hit_ratio": ratio.astype(np.float32), "power_w": truth["server_power_w"]}


def _slices(block: Block) -> pa.Table:
    trace, rows = block.trace, block.trace["slice_active"].shape[1]
    slots = block.slots
    in_slice = np.eye(rows, dtype=bool)[block.user_slice]
    active = block.truth["active"].astype(np.float32)
    users = active @ in_slice
    total = np.nan_to_num(block.satisfaction) @ in_slice
    mean = np.where(users > 0, total / np.maximum(users, 1.0), np.nan)
    columns = {
        "slot": np.repeat(slots, rows),
        "slice": np.tile(np.arange(rows, dtype=np.int32), len(slots)),
        "users": users.reshape(-1),
        "reserved_bandwidth_hz": trace["slice_bandwidth_hz"].sum(axis=1).reshape(-1),
        "used_bandwidth_hz": block.truth["slice_used_hz"].sum(axis=1).reshape(-1),
        "reserved_cycles_per_s": trace["slice_cycles_per_s"].sum(axis=1).reshape(-1),
        "reserved_cache_bytes": trace["slice_cache_bytes"].sum(axis=1).reshape(-1),
        "demand_bandwidth_hz": trace["slice_demand_hz"].sum(axis=1).reshape(-1),
        "demand_cycles_per_s": trace["slice_demand_cycles_per_s"].sum(axis=1).reshape(-1),
        "satisfaction": mean.astype(np.float32).reshape(-1),
    }
    keep = trace["slice_active"].reshape(-1)
    return pa.table(columns).filter(pa.array(keep))


def _twins(block: Block) -> pa.Table:
    names = [attribute.name for attribute in USER_ATTRIBUTES]
    slots = block.slots
    return pa.table(
        {
            "slot": np.repeat(slots, len(names)),
            "attribute": pa.array(names * len(slots)).dictionary_encode(),
            "mean_age_s": block.trace["age_s"].reshape(-1),
            "fidelity": block.trace["fidelity"].reshape(-1),
            "compared": block.trace["compared"].astype(np.int32).reshape(-1),
            "covered": block.trace["covered"].astype(np.int32).reshape(-1),
        }
    )


def _forecasts(block: Block) -> pa.Table:
    """What was foretold for the slot of a few users, attribute by attribute, beside what came."""
    rows = watched_rows(block.truth["active"].shape[1])
    levels = [column for column, attribute in enumerate(USER_ATTRIBUTES) if attribute.kind == "level"]
    names = [USER_ATTRIBUTES[column].name for column in levels]
    slots, people = block.slots, len(rows)
    truth = np.stack([block.truth[_TRUTH_OF.get(name, name)][:, rows] for name in names], axis=2)
    truth = np.clip(truth, [USER_ATTRIBUTES[at].low for at in levels], [USER_ATTRIBUTES[at].high for at in levels])
    present = np.broadcast_to(block.truth["active"][:, rows, None], truth.shape)
    table = pa.table(
        {
            "slot": np.repeat(slots, people * len(names)),
            "user": np.tile(np.repeat(rows, len(names)), len(slots)),
            "attribute": pa.array(names * (len(slots) * people)).dictionary_encode(),
            "emulated": block.trace["emulated"][:, :, levels].reshape(-1),
            "std": block.trace["emulated_std"][:, :, levels].reshape(-1),
            "truth": truth.astype(np.float32).reshape(-1),
        }
    )
    return table.filter(pa.array(present.reshape(-1)))


def _collection(block: Block) -> pa.Table:
    bits = block.trace["bits"]
    return pa.table(
        {
            "slot": block.slots,
            "users_bits": bits[:, 0],
            "cells_bits": bits[:, 1],
            "servers_bits": bits[:, 2],
            "periodic_bits": block.trace["asked_periodic_bits"],
            "discriminator": block.trace["asked_discriminator"],
            "shed": block.trace["asked_shed"].max(axis=1).astype(np.int32),
            "reports": block.trace["reports"],
            "late": block.trace["late"],
            "duplicates": block.trace["duplicates"],
        }
    )


def _requests(block: Block) -> pa.Table:
    """How each slice's attributes were asked for, every ten slots."""
    trace, names = block.trace, [attribute.name for attribute in USER_ATTRIBUTES]
    kept = np.flatnonzero(block.slots % _REQUESTS_EVERY_SLOTS == 0)
    slots, groups = block.slots[kept], trace["asked_bits"].shape[1]
    each = {
        name: trace[f"asked_{name}"][kept].reshape(-1).astype(np.float32)
        for name in ("period_s", "bits", "alarm", "error")
    }
    importance = np.repeat(trace["asked_importance"][kept][:, None], groups, axis=1)
    return pa.table(
        {
            "slot": np.repeat(slots, groups * len(names)),
            "slice": np.tile(np.repeat(np.arange(groups, dtype=np.int16), len(names)), len(slots)),
            "attribute": pa.array(names * (len(slots) * groups)).dictionary_encode(),
            **each,
            "importance": importance.reshape(-1).astype(np.float32),
            "shift": trace["asked_shift"][kept].reshape(-1),
        }
    )


def _decisions(block: Block) -> pa.Table:
    trace = block.trace
    code = trace["code"].astype(np.int32)
    unknown = np.full(len(code), np.nan, np.float32)
    return pa.table(
        {
            "slot": block.slots,
            "scale": pa.array(["slot"] * len(code)),
            "proposals": np.ones(len(code), np.int32),
            "winner": pa.array(["standing" if row < 0 else block.policy for row in trace["winner"]]),
            "code": code,
            "reason": pa.array([RESULTS[row] for row in code]),
            "objective_proposed": trace["score_proposed"],
            "objective_standing": trace["score_standing"],
            "reservation_value": unknown,
            "reservation_bound": unknown,
            "effect": pa.array([EFFECTS[row] for row in trace["effect"]]),
        }
    )


@dataclass
class Totals:
    """Running sums of a run; JSON in a checkpoint, so that a resumed run ends with the summary of an unbroken one."""

    sums: dict[str, float] = field(default_factory=dict[str, float])
    user_satisfaction: list[float] = field(default_factory=list[float])
    user_slots: list[float] = field(default_factory=list[float])

    def add(self, block: Block) -> None:
        """Adds one block's slots."""
        for name, value in block_sums(block).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        share: Values = np.asarray(np.nansum(block.satisfaction, axis=0, dtype=np.float64))
        present = block.truth["active"].sum(axis=0, dtype=np.float64)
        if not self.user_satisfaction:
            self.user_satisfaction, self.user_slots = [0.0] * len(share), [0.0] * len(share)
        self.user_satisfaction = [a + float(b) for a, b in zip(self.user_satisfaction, share, strict=True)]
        self.user_slots = [a + float(b) for a, b in zip(self.user_slots, present, strict=True)]

    def count(self, name: str, amount: float = 1.0) -> None:
        """Adds to one named sum."""
        self.sums[name] = self.sums.get(name, 0.0) + amount


@dataclass
class Pace:
    """Whether blocks were lived as fast as they pass: `late_slots` are those of blocks that took longer than they last,
    `slowest_slot_s` the mean time of a slot in the slowest block, upkeep and all. Single slots are not timed.
    """

    late_slots: int = 0
    slowest_slot_s: float = 0.0

    def add(self, lasted_s: float, slots: int, slot_s: float) -> None:
        """Adds one block that took `lasted_s`."""
        self.slowest_slot_s = max(self.slowest_slot_s, lasted_s / slots)
        self.late_slots += slots if lasted_s > slots * slot_s else 0


def block_sums(block: Block) -> dict[str, float]:
    """The sums that a block adds to a run's totals, in float64."""
    truth, trace = block.truth, block.trace
    active = truth["active"]

    def people(name: str) -> float:
        return float(np.sum(truth[name], where=active, dtype=np.float64))

    slots = active.shape[0]
    return {
        "slots": float(slots),
        "user_slots": float(active.sum()),
        "delivered_bits": people("delivered_bits"),
        "needed_bits": people("needed_bits"),
        "satisfaction": float(np.nansum(block.satisfaction, dtype=np.float64)),
        "rebuffer_s": people("rebuffer_s"),
        "quality": people("quality"),
        "quality_change": float(np.sum(np.abs(truth["quality_change"]), where=active, dtype=np.float64)),
        "wasted_bits": people("wasted_bits"),
        "swipes": people("swipes"),
        "used_hz": float(np.sum(truth["used_bandwidth_hz"] + truth["overhead_bandwidth_hz"], dtype=np.float64)),
        "capacity_hz": float(block.cell_bandwidth_hz.sum()) * slots,
        "cycles_share": float(np.sum(truth["utilisation"], dtype=np.float64)),
        "server_slots": float(truth["utilisation"].size),
        "bound_satisfied": float(np.sum(trace["bound_satisfied"], dtype=np.float64)),
        "bound_users": float(np.sum(trace["bound_users"], dtype=np.float64)),
        "load_hz": float(np.sum(trace["load_hz"], dtype=np.float64)),
        "fidelity": float(np.sum(periodic_mean(trace["fidelity"]), dtype=np.float64)),
        "age_s": float(np.sum(periodic_mean(trace["age_s"]), dtype=np.float64)),
        "compared": float(np.sum(trace["compared"][:, _LEVEL], dtype=np.float64)),
        "covered": float(np.sum(trace["covered"][:, _LEVEL], dtype=np.float64)),
        "true_fidelity": float(np.sum(trace["true_fidelity"].mean(axis=1), dtype=np.float64)),
        "bits": float(np.sum(trace["bits"], dtype=np.float64)),
        "periodic_bits": float(np.sum(trace["asked_periodic_bits"], dtype=np.float64)),
        "users_bits": float(np.sum(trace["bits"][:, 0], dtype=np.float64)),
        "approved": float(np.sum(trace["winner"] >= 0)),
        "refused": float(np.sum(trace["winner"] < 0)),
        "rolled_back": float(np.sum(trace["effect"] == EFFECTS.index("rolled_back"))),
        "energy_j": block.slot_s * sum(float(np.sum(truth[name], dtype=np.float64)) for name in _POWERS),
    }
