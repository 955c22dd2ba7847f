"""Policies on the same seeds: paired differences with intervals, a clairvoyant bound, and negative controls beside
them.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import stdtrit

from twinloop.decision import ALLOCATIONS, LEARNED, RESERVATIONS
from twinloop.errors import ScenarioError
from twinloop.loop import Loop
from twinloop.network import SimulatedNetwork
from twinloop.runs.blocks import Compiled
from twinloop.runs.execute import Progress
from twinloop.runs.lanes import LaneBlock, Lanes
from twinloop.runs.resources import check
from twinloop.runs.results import directory as files
from twinloop.runs.results.agreements import PERCENTILES, agreement_ratios, ela_figures, flat_figures, qoe_figures
from twinloop.runs.results.experience import Minutes, begin_minutes
from twinloop.runs.results.recording import Block, Totals
from twinloop.runs.results.summary import summarise
from twinloop.scenario import Policy, Scenario, build_loop, check_events

METRICS = (
    "satisfaction",
    "satisfaction_bound",
    "satisfaction_worst_decile",
    "mean_quality",
    "rebuffer_ratio",
    "wasted_ratio",
    "mean_rate_bps",
    "resource_use",
    "resource_per_satisfaction",
    "bandwidth_use",
    "cycles_use",
    "load_factor",
    "fidelity",
    "collected_bits",
)
CONTROLS = ("shuffled", "frozen")
AGENTS = "agents"
BY_EXPERIENCE: Mapping[str, str] = MappingProxyType(
    {"reservation": "agents", "allocation": "groups", "objective": "experience", "windows": "adaptive"}
)
"""What the policy `agents` stands for: everything is decided by people's experience."""


def parse_policy(text: str, base: Policy) -> Policy:
    """Policy named `reservation+allocation`, such as convex+utility, or `agents` (`BY_EXPERIENCE`).

    Trained agents (`groups`, `pdrl`) are judged by experience as well.

    Raises ScenarioError naming near misses.
    """
    if text.strip() == AGENTS:
        return base.model_copy(update=dict(BY_EXPERIENCE))
    parts = text.strip().split("+")
    if len(parts) != 2:
        raise ScenarioError(
            f"policy {text!r} is neither {AGENTS} nor of the form reservation+allocation, such as convex+utility"
        )
    reservations, allocations = (*RESERVATIONS, AGENTS), (*ALLOCATIONS, *LEARNED)
    for name, known, kind in ((parts[0], reservations, "reservation"), (parts[1], allocations, "allocation")):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ScenarioError(f"no {kind} policy {name!r}; {hint}there are {', '.join(known)}")
    objective = "experience" if parts[1] in LEARNED else base.objective
    return base.model_copy(update={"reservation": parts[0], "allocation": parts[1], "objective": objective})


def compare(
    scenario: Scenario,
    policies: Sequence[str],
    *,
    seeds: int = 5,
    duration_s: float | None = None,
    data: Path | None = None,
    out: Path | None = None,
    controls: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs every policy on the same `seeds` worlds and returns (and with `out` saves) `compare.json`.

    The first policy is the proposed one: the others are compared with it pairwise, and the controls spoil its twins.
    The bound is the best that anybody could do in the channels that the proposed policy met, with everything known.
    Raises ScenarioError, DataError, ResourceError or OutputError before anything is run.
    """
    if not policies:
        raise ScenarioError("name at least one policy, such as convex+utility")
    if seeds < 2:
        raise ScenarioError(f"{seeds} seeds give no interval; take at least 2")
    chosen = {text.strip(): parse_policy(text, scenario.policy) for text in policies}
    if duration_s is not None:
        scenario = scenario.model_copy(update={"duration": duration_s})
    slots = max(60, -(-round(scenario.duration) // 60) * 60)
    check(scenario.model_copy(update={"users": scenario.users * seeds}), 60)
    plans = _plans(scenario, chosen, controls=controls)
    numbers = [scenario.seed + offset for offset in range(seeds)]
    check_events(scenario, build_loop(scenario, data)[0], slots)
    if controls and slots <= scenario.twin.control_from:
        raise ScenarioError(
            f"{slots} s end before controls spoil the twins, at {scenario.twin.control_from:g} s; live longer or give "
            "--no-controls"
        )
    if out is not None:
        files.prepare(out, resume=False)
    with nullcontext() if out is None else files.locked(out):
        lived: dict[str, list[dict[str, Any]]] = {}
        programs: dict[Policy, Compiled] = {}
        for name, plan in plans.items():
            begun = len(lived) * slots

            def note(done: int, total: int, begun: int = begun) -> None:
                if progress is not None:
                    progress(begun + done, total * len(plans))

            lived[name] = _live(plan, numbers, slots, data, programs, progress=note)
        comparison = _comparison(scenario, slots, numbers, lived, list(chosen))
        if out is not None:
            files.write_json(out / "compare.json", comparison)
    return comparison


def _plans(scenario: Scenario, chosen: Mapping[str, Policy], *, controls: bool) -> dict[str, Scenario]:
    """What is lived, by name: every policy, then the first one with its twins spoiled."""
    first = next(iter(chosen))
    plans = {name: scenario.model_copy(update={"policy": policy}) for name, policy in chosen.items()}
    for control in CONTROLS if controls else ():
        twin = scenario.twin.model_copy(update={"control": control})
        plans[f"{first} ({control} twins)"] = plans[first].model_copy(update={"twin": twin})
    return plans


def paired_interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Mean difference ours - theirs over seeds and its 95 % Student interval; the seed is the unit."""
    difference = np.asarray(ours, float) - np.asarray(theirs, float)
    mean = float(difference.mean())
    half = float(stdtrit(len(difference) - 1, 0.975) * difference.std(ddof=1) / math.sqrt(len(difference)))
    return mean, mean - half, mean + half


def _live(
    plan: Scenario,
    seeds: list[int],
    slots: int,
    data: Path | None,
    programs: dict[Policy, Compiled],
    *,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Summaries of a plan by seed, all seeds side by side; policies that `programs` has are not compiled again."""
    lanes = Lanes([plan.model_copy(update={"seed": seed}) for seed in seeds], slots, data)
    if plan.policy not in programs:
        programs[plan.policy] = lanes.compile()
    totals = [Totals() for _ in seeds]
    minutes = [begin_minutes(loop, agreed) for loop, agreed in zip(lanes.loops, lanes.agreed, strict=True)]
    for blocks in lanes.live(programs[plan.policy]):
        for lived, total, felt, loop in zip(blocks, totals, minutes, lanes.loops, strict=True):
            if lived.verdict is not None:
                total.count("window_proposed")
                total.count("window_approved", float(lived.verdict["winner"] >= 0))
            block = _block(loop, plan, lived)
            total.add(block)
            if felt is not None:
                felt.add(block)
        progress(blocks[0].first_slot + lanes.block_slots, slots)
    policy = f"{plan.policy.reservation}+{plan.policy.allocation}"
    return [
        summarise(
            total, scenario=plan.name, seed=seed, policy=policy, users=plan.user_count, slot_s=lanes.loops[0].slot_s
        )
        | ({} if felt is None else _felt(felt, plan))
        | {"orders": orders.told()}
        for seed, total, felt, orders in zip(seeds, totals, minutes, lanes.orders, strict=True)
    ]


def _felt(minutes: Minutes, plan: Scenario) -> dict[str, Any]:
    """Figures of experience, and the ratios to what was agreed that they are made of."""
    lived = minutes.lived()
    figures = {"qoe": qoe_figures(lived), "ela": ela_figures(lived, [entry.name for entry in plan.slices])}
    return figures | {"ratios": agreement_ratios(lived)}


def _block(loop: Loop[SimulatedNetwork], plan: Scenario, lived: LaneBlock) -> Block:
    params = loop.network.params
    return Block(
        first_slot=lived.first_slot,
        slot_s=loop.slot_s,
        truth=lived.truth,
        trace=lived.trace,
        user_slice=np.asarray(params.user_slice),
        cell_bandwidth_hz=np.asarray(params.topology.cell_bandwidth_hz),
        server_cycles_per_s=np.asarray(params.topology.server_cycles_per_s),
        policy=plan.policy.allocation,
    )


def _comparison(
    scenario: Scenario,
    slots: int,
    seeds: list[int],
    lived: Mapping[str, list[dict[str, Any]]],
    policies: list[str],
) -> dict[str, Any]:
    first = policies[0]
    felt = {name: [flat_figures(summary) for summary in summaries] for name, summaries in lived.items()}
    of_all = [metric for metric in felt[first][0] if all(metric in one for rows in felt.values() for one in rows)]
    results: dict[str, dict[str, list[float]]] = {}
    for name, summaries in lived.items():
        results[name] = {metric: [summary[metric] for summary in summaries] for metric in METRICS}
        results[name] |= {metric: [one[metric] for one in felt[name]] for metric in of_all}
        for count in ("refused", "rolled_back"):
            results[name][count] = [float(summary["decisions"][count]) for summary in summaries]
        if scenario.events:
            refused = [[order["answer"] for order in one["orders"]].count("refused") for one in summaries]
            results[name]["orders_refused"] = [float(number) for number in refused]
    differences = []
    for other in results:
        if other == first:
            continue
        for metric in (*METRICS, *of_all):
            mean, low, high = paired_interval(results[first][metric], results[other][metric])
            differences.append({"a": first, "b": other, "metric": metric, "mean": mean, "low": low, "high": high})
    return {
        "scenario": scenario.name,
        "seeds": seeds,
        "duration_s": float(slots),
        "policies": {name: results[name] for name in policies},
        "bound": {"satisfaction": [summary["satisfaction_bound"] for summary in lived[first]]},
        "load_factor": results[first]["load_factor"],
        "controls": {name: figures for name, figures in results.items() if name not in policies},
        "differences": differences,
        **_ratios(lived),
    }


def _ratios(lived: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Percentiles 0 to 100 of experience over agreement by policy and control, all seeds together; without any, none.

    The ratio is of a user's mean over 3 minutes.
    """
    pooled = {name: [one["ratios"] for one in rows if "ratios" in one] for name, rows in lived.items()}
    known = {name: np.concatenate(parts) for name, parts in pooled.items() if parts}
    told = {name: np.percentile(all_of, PERCENTILES).tolist() for name, all_of in known.items() if all_of.size}
    return {"ela_ratio_percentiles": told} if told else {}
