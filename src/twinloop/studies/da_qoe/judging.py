"""What the runs say: by scheme and number of users, paired with the proposed scheme over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twinloop.qoe import agreements_kept, on_grid
from twinloop.runs import paired_interval
from twinloop.studies.da_qoe.living import Lived, Place
from twinloop.studies.da_qoe.setting import PROPOSED, SCHEMES
from twinloop.studies.evaluate import Estimate, Row
from twinloop.studies.evaluate.judgement import Claim

GRID_MINUTES = 3
SKIPPED_MINUTES = 3
PERCENTILES = (5, 10, 25, 50, 75, 90, 95)


def experienced(lived: Lived) -> Float[np.ndarray, "users minutes"]:
    """True experience of those present, without the first three minutes, in which twins know nothing yet."""
    return lived.experience[SKIPPED_MINUTES:, lived.present].T


def ratios_of(lived: Lived) -> Float[np.ndarray, "_"]:
    """Experience over agreement of every user and cell of the grid."""
    felt = experienced(lived)
    cells, _ = on_grid(jnp.asarray(felt), jnp.asarray(felt > 0), GRID_MINUTES)
    return (np.asarray(cells) / lived.agreed[lived.present][:, None]).reshape(-1)


def figures_of(lived: Lived) -> dict[str, Any]:
    """The figures of one run."""
    felt = experienced(lived)
    cells, there = on_grid(jnp.asarray(felt), jnp.asarray(felt > 0), GRID_MINUTES)
    agreed = jnp.asarray(lived.agreed[lived.present])
    kept = agreements_kept(cells, there, agreed)
    ratio = ratios_of(lived)
    return {
        "ela_share": float(np.mean(ratio >= 1.0)),
        "ela_ratio": float(np.mean(np.minimum(ratio, 1.0))),
        "ela_share_of_users": float(np.mean(np.asarray(kept.reached))),
        "ela_ratio_percentiles": {str(part): float(np.percentile(ratio, part)) for part in PERCENTILES},
        "qoe_median": float(np.median(felt)),
        "qoe_mean": float(np.mean(felt)),
        "qoe_quartiles": np.percentile(felt, [25, 50, 75]).tolist(),
        "qoe_iqr": float(np.subtract(*np.percentile(felt, [75, 25]))),
        "stall_s_per_min": float(lived.stall_s[SKIPPED_MINUTES:, lived.present].mean()),
        "quality": float(lived.quality[SKIPPED_MINUTES:, lived.present].mean()),
        "bandwidth_use": float(lived.bandwidth_use[SKIPPED_MINUTES:].mean()),
        "cycles_use": float(lived.cycles_use[SKIPPED_MINUTES:].mean()),
        "load_factor": float(lived.load[SKIPPED_MINUTES:].mean()),
        "windows_won": float(np.nanmean(lived.window_won)) if np.isfinite(lived.window_won).any() else float("nan"),
        "slots_refused": float(lived.refused[SKIPPED_MINUTES:].mean()),
        "slot_ms": 1e3 * float(lived.wall_s) / (60.0 * len(lived.experience)),
    }


SHOWN = ("ela_share", "ela_ratio", "qoe_median", "stall_s_per_min", "bandwidth_use", "load_factor")


def rows_of(figures: Mapping[Place, Mapping[str, Any]], schemes: Sequence[str], users: Sequence[int]) -> list[Row]:
    """Means over seeds with 95 % intervals (Student), one row a number of users and scheme."""
    rows: list[Row] = []
    for number in users:
        for scheme in schemes:
            runs = [one for place, one in figures.items() if place.scheme == scheme and place.users == number]
            role = "proposed" if scheme == PROPOSED else "baseline"
            values = {name: _mean([run[name] for run in runs]) for name in SHOWN}
            rows.append(Row((str(number), SCHEMES[scheme].title), role, values))
    return rows


def differences(
    figures: Mapping[Place, Mapping[str, Any]], schemes: Sequence[str], users: Sequence[int], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Proposed less every other scheme, paired over seeds, in ELA share, ELA ratio and median QoE."""
    told: list[dict[str, Any]] = []
    for number in users:
        for scheme in schemes:
            if scheme == PROPOSED:
                continue
            for name in ("ela_share", "ela_ratio", "qoe_median"):
                ours, theirs = (
                    [figures[Place(one, number, seed)][name] for seed in seeds] for one in (PROPOSED, scheme)
                )
                mean, low, high = paired_interval(ours, theirs)
                told.append(
                    {"users": number, "against": scheme, "metric": name, "mean": mean, "low": low, "high": high}
                )
    return told


def claims_of(told: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """The paper's claims, each decided by the weakest of its differences: it holds where no interval includes 0."""
    claims: list[Claim] = []
    for name, statement in (
        ("ela_ratio", "the proposed scheme has the highest mean ELA ratio at every number of users"),
        ("ela_share", "the proposed scheme has the highest share of agreements reached at every number of users"),
        ("qoe_median", "the proposed scheme has the highest median QoE at every number of users"),
    ):
        mine = [one for one in told if one["metric"] == name]
        weakest = min(mine, key=lambda one: one["low"])
        where = f" (weakest: against {SCHEMES[weakest['against']].title}, {weakest['users']} users)"
        measured = Estimate(weakest["mean"], weakest["low"], weakest["high"])
        claims.append(Claim(statement + where, measured, weakest["low"] > 0))
    return claims


def _mean(values: Sequence[float]) -> Estimate:
    if len(values) < 2:
        return Estimate(float(np.mean(values)))
    mean, low, high = paired_interval(values, [0.0] * len(values))
    return Estimate(mean, low, high)
