"""Plausible run directories without a simulator: people walk, slices get busy, decisions win, lose and are undone."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES

SCENARIO = """\
name: campus
title: Two cells, one edge server, people who watch short videos
duration: 5min
seed: 7
window: 60
area_m: [600, 400]
network:
  cells:
    - {name: library, kind: macro, position_m: [150, 200], bandwidth_hz: 10e6}
    - {name: canteen, kind: small, model: umi, position_m: [450, 200], bandwidth_hz: 10e6}
  servers:
    - {name: edge, cycles_per_s: 10e9}
slices:
  - {name: short_video, target_bps: 1.7e6}
  - {name: lecture_multicast, target_bps: 3.0e6}
  - {name: best_effort, target_bps: 0.5e6}
users:
  - {count: 60, slice: short_video}
events:
  - {at: 180, change: adjust, slice: lecture_multicast, floor_share: 0.3}
policy: {reservation: convex, allocation: utility}
"""
SLICES = ("short_video", "lecture_multicast", "best_effort")
CLASSES = ("entertainment", "games", "food", "sports", "science", "dance", "travel", "news")


@dataclass(frozen=True)
class Shape:
    """What a made-up run is like."""

    users: int = 60
    slots: int = 300
    cells: int = 2
    swipes: bool = True
    refused_only: bool = False
    retention: bool = True
    experience: bool = True
    scenario: str = SCENARIO
    seed: int = 7


def write_run(directory: Path, shape: Shape | None = None) -> Path:
    """Write every file of a run directory that a finished run of `shape` leaves (reports aside)."""
    shape = shape or Shape()
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(shape.seed)
    users = _users(rng, shape)
    tables = {
        "users": users, "cells": _cells(rng, shape, users), "servers": _servers(rng, shape),
        "slices": _slices(rng, shape, users), "twins": _twins(rng, shape), "forecasts": _forecasts(rng, shape),
        "collection": _collection(rng, shape), "requests": _requests(shape),
        "decisions": _decisions(rng, shape), "value": _value(rng, shape), "looks": _looks(rng, shape),
    }  # fmt: skip
    if shape.experience and shape.slots >= 180:
        tables["experience"] = _experience(rng, shape, users)
    if shape.retention:
        tables["retention"] = _retention(rng)
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), directory / f"{name}.parquet")
    (directory / "scenario.yaml").write_text(shape.scenario, encoding="utf-8")
    (directory / "command.json").write_text(json.dumps(_command(shape)), encoding="utf-8")
    (directory / "summary.json").write_text(json.dumps(_summary(shape, tables)), encoding="utf-8")
    return directory


def write_partial(directory: Path, shape: Shape | None = None) -> Path:
    """A run stopped by a power cut: no summary, one trace cut off, one never begun."""
    write_run(directory, replace(shape or Shape(), slots=90))
    (directory / "summary.json").unlink()
    (directory / "servers.parquet").unlink()
    whole = (directory / "decisions.parquet").read_bytes()
    (directory / "decisions.parquet").write_bytes(whole[: len(whole) // 2])
    return directory


def write_compare(
    directory: Path, seeds: int = 5, *, controls: bool = True, experience: bool = False, seed: int = 3
) -> Path:
    """Write a compare.json of three policies, two controls and a bound, with `experience` scored by it, too."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    luck = rng.normal(0, 0.03, seeds)
    level = {"convex+utility": 0.87, "greedy+proportional_fair": 0.82, "equal+round_robin": 0.74}
    policies = {name: _results(rng, luck, mean, 0.82 - 0.1 * row) for row, (name, mean) in enumerate(level.items())}
    controls_of = {"shuffled": 0.75, "frozen": 0.79} if controls else {}
    content: dict[str, Any] = {
        "scenario": "campus-real", "seeds": list(range(1, seeds + 1)), "duration_s": 1800.0, "policies": policies,
        "bound": {"satisfaction": (0.93 + luck).tolist()}, "load_factor": (1.12 - luck).tolist(),
        "controls": {name: _results(rng, luck, mean, 0.8) for name, mean in controls_of.items()},
    }  # fmt: skip
    everything = {**policies, **content["controls"]}
    first = "convex+utility"
    content["differences"] = [
        _difference(first, other, metric, everything)
        for other in everything
        if other != first
        for metric in ("satisfaction", "rebuffer_ratio", "resource_use", "mean_quality")
    ]
    if experience:
        _add_experience(rng, content, everything, luck)
    (directory / "compare.json").write_text(json.dumps(content), encoding="utf-8")
    return directory


def _add_experience(
    rng: np.random.Generator, content: dict[str, Any], everything: dict[str, Any], luck: np.ndarray
) -> None:
    """The first policy keeps a quarter more of the agreements than the others, which do not differ."""
    for row, (name, figures) in enumerate(everything.items()):
        level = (0.75 if row == 0 else 0.5) + luck + rng.normal(0, 0.01, len(luck))
        figures |= {
            "ela_share": level.tolist(),
            "ela_ratio": (0.2 + level).tolist(),
            "qoe_median": (5 * level).tolist(),
        }
        content.setdefault("ela_ratio_percentiles", {})[name] = np.linspace(0.4, 1.1 + 0.1 * (row == 0), 101).tolist()
    first, *others = everything
    content["differences"] += [
        _difference(first, other, metric, everything) for other in others for metric in ("ela_share", "qoe_median")
    ]


def _experience(rng: np.random.Generator, shape: Shape, users: dict[str, Any]) -> dict[str, Any]:
    """Whole minutes; every third user minds stalls, quality, or both, and twins take user 0 for another kind."""
    U, minutes = shape.users, shape.slots // 60
    user, minute = np.tile(np.arange(U), minutes), np.repeat(np.arange(minutes), U)
    member = np.asarray(users["slice"]).reshape(shape.slots, U)[0]
    rule = user % 3
    stall_s, quality = rng.gamma(1.0, 2.0, U * minutes), rng.beta(5, 2, U * minutes)
    best = rng.uniform(0.85, 1.0, U)[user]
    lacking = [np.where(rule == 1, 0, 0.1 * stall_s), np.where(rule == 0, 0, 1 - quality)]
    felt = {
        "experience": best * (1 - lacking[0] - lacking[1]), "no_stalls": best * (1 - lacking[1]), "at_best": best,
    }  # fmt: skip
    table: dict[str, Any] = {name: 1 + 4 * np.clip(values, 0, 1) for name, values in felt.items()}
    table["believed"] = np.clip(table["experience"] + rng.normal(0.1, 0.2, len(user)), 1, 5)
    names, impacts = np.array(["stall", "quality", "both"]), np.array(["none", "behaviour", "environment", "both"])
    return table | {
        "slot": 60 * minute + 59, "user": user, "slice": member[user], "agreed": rng.uniform(3, 5, U)[user],
        "rule": names[rule], "believed_rule": names[np.where(user == 0, 1, rule)], "believed_impact": impacts[user % 4],
        "stall_s": stall_s, "quality": quality, "swipes_per_min": rng.poisson(6, len(user)) * 1.0,
        "speed_mps": rng.uniform(0.5, 8, len(user)), "satisfaction": rng.uniform(0.3, 1, len(user)),
        "sinr_db": rng.normal(12, 5, len(user)),
    }  # fmt: skip


def _users(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    U, T = shape.users, shape.slots
    heading = rng.uniform(0, 2 * np.pi, U) + np.cumsum(rng.normal(0, 0.12, (T, U)), axis=0)
    speed = rng.uniform(0.3, 1.6, U)
    x = rng.uniform(40, 560, U) + np.cumsum(speed * np.cos(heading), axis=0)
    y = rng.uniform(40, 360, U) + np.cumsum(speed * np.sin(heading), axis=0)
    x, y = _reflected(x, 600), _reflected(y, 400)
    sites = np.linspace(150, 450, max(shape.cells, 2))
    distance = np.hypot(x[..., None] - sites, y[..., None] - 200)
    cell = distance.argmin(axis=-1) % shape.cells
    sinr = 26 - 22 * np.log10(1 + distance.min(axis=-1) / 40) + rng.normal(0, 1.5, (T, U)) + rng.normal(0, 2.0, U)
    member = rng.choice(3, U, p=[0.5, 0.3, 0.2]) if U > 1 else np.zeros(U, int)
    need = np.array([1.7e6, 3.0e6, 0.5e6])[member] * rng.lognormal(0, 0.12, (T, U))
    busy = 1.0 + 0.5 * np.exp(-(((np.arange(T) / T - 0.55) / 0.1) ** 2))
    rate = need * np.clip((sinr + 8) / 20 / busy[:, None], 0.05, 1.6) * rng.lognormal(0, 0.1, (T, U))
    delivered = np.minimum(rate, need)
    swipes = (rng.uniform(size=(T, U)) < 0.07 * shape.swipes).astype(np.int32)
    rebuffer = np.where(delivered / need < 0.42, rng.uniform(0.2, 0.9, (T, U)), 0.0)
    grid_slot, grid_user = np.mgrid[0:T, 0:U]
    columns = {
        "x_m": x, "y_m": y, "rate_bps": rate, "needed_bps": need, "delivered_bps": delivered,
        "satisfaction": np.clip(delivered / need, 0, 1), "delay_s": rng.gamma(3, 0.01, (T, U)),
        "jitter_s": rng.gamma(2, 0.003, (T, U)), "loss_ratio": np.clip(rng.normal(0.01, 0.01, (T, U)), 0, 1),
        "buffer_s": np.clip(6 * delivered / need + rng.normal(0, 0.5, (T, U)), 0, 6),
        "quality": np.clip(0.3 + 0.6 * delivered / need - 0.2 + rng.normal(0, 0.08, (T, U)), 0, 1),
        "quality_change": np.abs(rng.normal(0, 0.05, (T, U))), "rebuffer_s": rebuffer,
        "wasted_bits": swipes * rng.gamma(2, 4e5, (T, U)), "delivered_bits": delivered, "sinr_db": sinr,
        "last_watch_s": rng.gamma(2, 5, (T, U)),
    }  # fmt: skip
    table: dict[str, Any] = {name: values.astype(np.float32).ravel() for name, values in columns.items()}
    integers = {"slot": grid_slot, "user": grid_user, "cell": cell, "swipes": swipes,
                "version": np.clip(sinr / 7, 0, 3), "last_class": rng.integers(0, 8, (T, U))}  # fmt: skip
    table |= {name: np.asarray(values).astype(np.int32).ravel() for name, values in integers.items()}
    return table | {"slice": np.broadcast_to(member, (T, U)).astype(np.int32).ravel()}


def _reflected(values: np.ndarray, size: float) -> np.ndarray:
    return size - np.abs(np.mod(values, 2 * size) - size)


def _cells(rng: np.random.Generator, shape: Shape, users: dict[str, Any]) -> dict[str, Any]:
    slot, cell = (grid.ravel() for grid in np.mgrid[0 : shape.slots, 0 : shape.cells])
    key = users["slot"] * shape.cells + users["cell"]
    n = shape.slots * shape.cells
    people = np.bincount(key, minlength=n)
    throughput = np.bincount(key, weights=users["delivered_bps"], minlength=n)
    load = np.clip(throughput / 4.5e7 + rng.normal(0, 0.02, n), 0.02, 1)
    return {
        "slot": slot, "cell": cell, "load": load, "used_bandwidth_hz": load * 1e7,
        "overhead_bandwidth_hz": np.full(n, 4e4), "throughput_bps": throughput, "users": people,
        "power_w": 100 + 60 * load,
    }  # fmt: skip


def _servers(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    time = np.arange(shape.slots)
    busy = np.clip(0.5 + 0.3 * np.sin(time / 40) + rng.normal(0, 0.05, shape.slots), 0, 1)
    return {
        "slot": time, "server": np.zeros(shape.slots, int), "utilisation": busy,
        "queue_cycles": np.maximum(busy - 0.7, 0) * 4e10, "cache_hit_ratio": np.clip(1 - 0.6 * busy, 0, 1),
        "power_w": 20 + 80 * busy**2,
    }  # fmt: skip


def _slices(rng: np.random.Generator, shape: Shape, users: dict[str, Any]) -> dict[str, Any]:
    slot, member = (grid.ravel() for grid in np.mgrid[0 : shape.slots, 0:3])
    key, n = users["slot"] * 3 + users["slice"], shape.slots * 3
    people = np.bincount(key, minlength=n)
    need = np.bincount(key, weights=users["needed_bps"], minlength=n)
    got = np.bincount(key, weights=users["delivered_bps"], minlength=n)
    demand = need / 3.2 * 1.1
    window = slot // 60
    level = np.zeros((slot.max() // 60 + 1, 3))
    np.maximum.at(level, (window, member), demand * rng.uniform(0.75, 1.0, n))
    with np.errstate(invalid="ignore"):
        satisfaction = np.where(people > 0, got / np.maximum(need, 1), np.nan)
    return {
        "slot": slot, "slice": member, "users": people, "reserved_bandwidth_hz": level[window, member],
        "used_bandwidth_hz": np.minimum(got / 3.2, level[window, member]), "demand_bandwidth_hz": demand,
        "reserved_cycles_per_s": level[window, member] * 500, "demand_cycles_per_s": demand * 420,
        "reserved_cache_bytes": np.array([0.3e9, 0.15e9, 0.05e9])[member], "satisfaction": satisfaction,
    }  # fmt: skip


def _twins(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    names = [a.name for a in USER_ATTRIBUTES]
    names += [f"cells.{a.name}" for a in CELL_ATTRIBUTES] + [f"servers.{a.name}" for a in SERVER_ATTRIBUTES]
    periods = np.array([a.period_s for a in (*USER_ATTRIBUTES, *CELL_ATTRIBUTES, *SERVER_ATTRIBUTES)])
    base = rng.beta(14, 1.5, len(names))
    T = shape.slots
    dip = 0.15 * np.exp(-(((np.arange(T) / T - 0.55) / 0.08) ** 2))
    fidelity = np.clip(
        base - dip[:, None] * rng.uniform(0.2, 2, len(names)) + rng.normal(0, 0.01, (T, len(names))), 0, 1
    )
    fidelity[:3] = np.nan
    age = periods * 0.6 * rng.uniform(0.8, 1.2, (T, len(names)))
    slot = np.repeat(np.arange(T), len(names))
    compared = rng.integers(0, 6, len(slot))
    return {
        "slot": slot, "attribute": names * T, "mean_age_s": age.ravel(), "fidelity": fidelity.ravel(),
        "compared": compared, "covered": rng.binomial(compared, 0.9),
    }  # fmt: skip


def _forecasts(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    people = np.unique(np.linspace(0, shape.users - 1, min(shape.users, 4)).astype(np.int32))
    names = [a.name for a in USER_ATTRIBUTES if a.kind == "level"]
    wander = np.cumsum(rng.normal(0, 0.3, (shape.slots, len(people), len(names))), axis=0) + 5
    scale = np.array([1e6 if name == "rate_bps" else 1.0 for name in names])
    truth = wander * scale
    return {
        "slot": np.repeat(np.arange(shape.slots), len(people) * len(names)),
        "user": np.tile(np.repeat(people, len(names)), shape.slots),
        "attribute": names * (shape.slots * len(people)),
        "emulated": (truth + rng.normal(0, 0.3, truth.shape) * scale).ravel(),
        "std": np.broadcast_to(0.3 * scale, truth.shape).ravel(), "truth": truth.ravel(),
    }  # fmt: skip


def _value(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    first = np.arange(0, shape.slots, 60).astype(np.float64)
    W = len(first)
    got, gain, cost = rng.uniform(0.7, 0.8, W), rng.uniform(0.3, 0.5, W), rng.uniform(0.01, 0.1, W)
    return {
        "first_slot": first, "slots": np.minimum(60.0, shape.slots - first), "fidelity": rng.uniform(0.85, 0.95, W),
        "mean_age_s": rng.uniform(0.5, 1.5, W), "satisfaction": got, "satisfaction_unaided": got - 0.1,
        "satisfaction_bound": got + 0.15, "gain": gain, "cost": cost, "value": 0.9 + gain - cost,
        "bandwidth_share": cost / 20, "cycles_share": cost / 20, "printed_first_term": rng.uniform(0.5, 1, W),
        "collected_bytes": rng.uniform(1e4, 1e5, W), "multiply_adds": np.full(W, 2e7), "wall_s": rng.uniform(0.1, 1, W),
    }  # fmt: skip


def _looks(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    """A look every fourth slot; the first version no longer fits from the middle on."""
    slot = np.arange(3, shape.slots, 4)
    level = rng.normal(2.0, 0.1, len(slot))
    lost = 0.5 * (slot > shape.slots // 2)
    return {
        "slot": slot, "version": (slot > 0.7 * shape.slots).astype(int), "twins": level + 0.3 * lost,
        "model": level + 0.3 * lost, "first_model": level + lost, "truth": level - 0.02,
    }  # fmt: skip


def _upkeep(shape: Shape) -> dict[str, Any]:
    half = shape.slots // 2
    told = (
        (half + 10, "drift", 0, "swipes", {"error": 2.5, "level": 2.0}),
        (half + 20, "training", 0, "swipes", {}),
        (half + 30, "promoted", 1, "better on fresh data", {"error": 2.1, "incumbent": 2.5, "high": -0.2}),
        (half + 60, "kept", 1, "better than its parent", {"error": 2.1, "parent": 2.5}),
    )
    drift = {"at_s": float(half), "change": "exchange", "found_after_s": 10.0, "answered_after_s": 30.0}
    drift |= {f"{who}_{when}": 2.0 for who in ("twins", "truth") for when in ("before", "missed", "after")}
    names = ("slot", "kind", "version", "reason", "figures")
    return {"version": 1, "events": [dict(zip(names, one, strict=True)) for one in told], "drifts": [drift]}


def _collection(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    time = np.arange(shape.slots)
    per_user = 110 + 60 * (time % 2 == 0) + 40 * (time % 4 == 0) + rng.integers(0, 8, shape.slots)
    return {
        "slot": time, "users_bits": per_user * shape.users, "cells_bits": np.full(shape.slots, 72 * shape.cells),
        "servers_bits": np.full(shape.slots, 40), "reports": np.full(shape.slots, shape.users + shape.cells + 1),
        "periodic_bits": np.full(shape.slots, 182.0 * shape.users),
        "late": rng.poisson(0.05 * shape.users, shape.slots),
        "duplicates": rng.poisson(0.01 * shape.users, shape.slots),
    }  # fmt: skip


def _requests(shape: Shape) -> dict[str, Any]:
    """Every attribute climbs a rung a minute, the first slice's first, and falls back halfway."""
    names = [attribute.name for attribute in USER_ATTRIBUTES]
    slots = np.arange(0, shape.slots, 10)
    slot, row, place = (part.ravel() for part in np.meshgrid(slots, np.arange(3), np.arange(len(names)), indexing="ij"))
    rung = np.clip((slot % max(shape.slots // 2, 1)) // 30 - row - place % 3, 0, 5)
    return {
        "slot": slot, "slice": row.astype(np.int16), "attribute": np.array(names)[place],
        "period_s": (2.0**rung).astype(np.float32), "bits": np.full(len(slot), 8.0), "alarm": np.full(len(slot), 1.0),
        "error": np.full(len(slot), 0.2), "importance": np.ones(len(slot)), "shift": np.zeros(len(slot), bool),
    }  # fmt: skip


def _decisions(rng: np.random.Generator, shape: Shape) -> dict[str, Any]:
    rows: list[tuple[int, str, int, str, int, str, float, float, str]] = []
    for slot in range(shape.slots):
        for scale in ["window"] * (slot % 60 == 0) + ["slot"]:
            chance = rng.uniform()
            stands = 0.7 + 0.15 * np.sin(slot / 50) + rng.normal(0, 0.01)
            gain = abs(rng.normal(0.05, 0.03))
            if shape.refused_only or chance < 0.12:
                row = (
                    slot,
                    scale,
                    2,
                    "standing",
                    2,
                    "every proposal broke the isolation of a slice",
                    stands,
                    stands,
                    "applied",
                )
            elif chance < 0.3:
                row = (
                    slot,
                    scale,
                    2,
                    "standing",
                    1,
                    "no proposal was better than the standing decision",
                    stands,
                    stands,
                    "applied",
                )
            elif chance < 0.32:
                row = (
                    slot,
                    scale,
                    2,
                    "utility",
                    0,
                    "approved: best of the safe proposals",
                    stands + gain,
                    stands,
                    "rolled_back",
                )
            else:
                name = ("convex" if scale == "window" else "utility") if chance < 0.8 else "greedy"
                effect = "pending" if slot >= shape.slots - 2 else "applied"
                row = (slot, scale, 2, name, 0, "approved: best of the safe proposals", stands + gain, stands, effect)
            rows.append(row)
    names = (
        "slot",
        "scale",
        "proposals",
        "winner",
        "code",
        "reason",
        "objective_proposed",
        "objective_standing",
        "effect",
    )
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _retention(rng: np.random.Generator) -> dict[str, Any]:
    second = np.arange(0, 31)
    rows: dict[str, list[Any]] = {
        key: [] for key in ("class", "name", "second", "data_survival", "simulated_survival", "count")
    }
    for index, name in enumerate(CLASSES):
        data = np.exp(-((second / rng.uniform(8, 20)) ** rng.uniform(0.6, 0.9)))
        simulated = np.clip(data + rng.normal(0, 0.02) * np.sin(second / 31 * np.pi), 0, 1)
        views = int(rng.integers(40, 400))
        for key, values in zip(rows, (index, name, second, data, simulated, views), strict=True):
            rows[key] += np.broadcast_to(values, second.shape).tolist()
    return rows


def _summary(shape: Shape, tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    users, decisions = tables["users"], tables["decisions"]
    code = np.array(decisions["code"])
    undone = int((np.array(decisions["effect"]) == "rolled_back").sum())
    return {
        "scenario": "campus", "seed": shape.seed, "slots": shape.slots, "slot_s": 1.0, "users": shape.users,
        "satisfaction_worst_decile": 0.77,
        "satisfaction_bound": 0.94, "energy_j": 9.1e4, "policy": "convex+utility",
        "mean_rate_bps": float(users["rate_bps"].mean()), "satisfaction": float(users["satisfaction"].mean()),
        "rebuffer_ratio": float(users["rebuffer_s"].mean()), "mean_quality": float(users["quality"].mean()),
        "wasted_ratio": float(users["wasted_bits"].sum() / users["delivered_bits"].sum()), "resource_use": 0.71,
        "load_factor": 1.08, "fidelity": float(np.nanmean(tables["twins"]["fidelity"])), "mean_age_s": 1.21,
        "coverage": 0.9,
        "twin_value": {"value": 1.2, "fidelity": 0.9, "gain": 0.35, "cost": 0.05, "satisfaction_unaided": 0.68},
        "collected_bits": int(tables["collection"]["users_bits"].sum()),
        "decisions": {"proposed": 2 * len(code), "approved": int((code == 0).sum()), "refused": int((code == 2).sum()),
                      "rolled_back": undone},
        "upkeep": _upkeep(shape), "pace": {"late_slots": 0, "slowest_slot_s": 0.004},
        "wall_s": 14.2, "user_slots_per_s": 1268.0, "compile_s": 6.4,
        "stages": {"report": 1.9, "assimilate": 0.8, "emulate": 0.5, "abstract": 0.3, "propose": 1.2, "validate": 2.4,
                   "enforce": 0.2, "save": 0.4},
    } | (_felt(tables["experience"]) if "experience" in tables else {})  # fmt: skip


def _felt(table: dict[str, Any]) -> dict[str, Any]:
    first = table["slot"] < 180
    users = int(table["user"].max()) + 1
    felt = table["experience"][first].reshape(3, users).mean(axis=0)
    agreed, member = table["agreed"][:users], table["slice"][:users]

    def row(mine: np.ndarray) -> dict[str, Any]:
        share = float((felt >= agreed)[mine].mean())
        return {"users": int(mine.sum()), "share": share, "ratio": float(np.minimum(felt / agreed, 1)[mine].mean()),
                "users_reached": share, "time_below": 1 - share, "alarms": int((felt < agreed)[mine].sum()),
                "reachable": 0.95, "noticed": 0.9 if share < 1 else None}  # fmt: skip

    lower, median, upper = np.quantile(table["experience"], [0.25, 0.5, 0.75]).tolist()
    qoe = {"minutes": len(table["user"]), "mean": float(table["experience"].mean()), "median": median,
           "lower_quartile": lower, "upper_quartile": upper, "belief_error": 0.2, "belief_bias": 0.1}  # fmt: skip
    by_slice = {SLICES[at]: row(member == at) for at in np.unique(member)}
    return {"qoe": qoe, "ela": {"grid_s": 180.0, "cells": users} | row(np.ones(users, bool)) | {"by_slice": by_slice}}


def _command(shape: Shape) -> dict[str, Any]:
    argv = ["twinloop", "run", "campus", "--duration", "5min", "--seed", str(shape.seed), "--out", "runs/campus 7"]
    return {"command": argv, "seed": shape.seed, "started": "2025-05-04T09:30:00Z", "device": "cpu, 2 cores",
            "versions": {"twinloop": "0.1.0", "jax": "0.10.0", "numpy": "2.3.1", "python": "3.11.9"}}  # fmt: skip


def _results(rng: np.random.Generator, luck: np.ndarray, satisfaction: float, use: float) -> dict[str, list[float]]:
    n = len(luck)
    return {
        "satisfaction": (satisfaction + luck + rng.normal(0, 0.008, n)).tolist(),
        "rebuffer_ratio": np.abs(0.3 * (1 - satisfaction - luck) + rng.normal(0, 0.003, n)).tolist(),
        "mean_quality": (0.6 * satisfaction + luck + rng.normal(0, 0.03, n)).tolist(),
        "mean_rate_bps": (2.1e6 * (satisfaction + luck) + rng.normal(0, 2e4, n)).tolist(),
        "resource_use": (use + rng.normal(0, 0.01, n)).tolist(),
        "fidelity": (0.93 + rng.normal(0, 0.005, n)).tolist(),
    }


def _difference(a: str, b: str, metric: str, results: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    gaps = np.array(results[a][metric]) - np.array(results[b][metric])
    half = 2.776 * gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else float("nan")
    mean = float(gaps.mean())
    low, high = (None, None) if len(gaps) == 1 else (mean - float(half), mean + float(half))
    return {"a": a, "b": b, "metric": metric, "mean": mean, "low": low, "high": high}
