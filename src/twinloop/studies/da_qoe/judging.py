"""What the runs say: by case and number of users, paired with the proposed scheme over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from twinloop.qoe import agreements_kept, on_grid
from twinloop.runs import paired_interval
from twinloop.studies.da_qoe.clairvoyance import clairvoyant_ratio
from twinloop.studies.da_qoe.living import Lived, Place
from twinloop.studies.da_qoe.setting import PROPOSED
from twinloop.studies.da_qoe.variants import CASES
from twinloop.studies.evaluate import Estimate, Row
from twinloop.studies.evaluate.judgement import Claim

GRID_MINUTES = 3
SKIPPED_MINUTES = 3
PERCENTILES = tuple(range(5, 100, 5))
BOUND = "clairvoyant bound"

Figures = Mapping[Place, Mapping[str, Any]]


def experienced(lived: Lived) -> Float[np.ndarray, "users minutes"]:
    """True experience of those present, without the first three minutes, in which twins know nothing yet."""
    return lived.experience[SKIPPED_MINUTES:, lived.present].T


def ratios_of(lived: Lived) -> Float[np.ndarray, "users cells"]:
    """Experience over agreement of every user and cell of the grid."""
    return _on_grid(experienced(lived)) / lived.agreed[lived.present][:, None]


def _on_grid(felt: Float[np.ndarray, "users minutes"]) -> Float[np.ndarray, "users cells"]:
    return np.asarray(on_grid(jnp.asarray(felt), jnp.asarray(felt > 0), GRID_MINUTES)[0])


def figures_of(lived: Lived, *, bounded: bool = False) -> dict[str, Any]:
    """The figures of one run; with `bounded` also the most that its ELA ratio could have been, which takes a while."""
    felt, after = experienced(lived), slice(SKIPPED_MINUTES, None)
    cells, there = on_grid(jnp.asarray(felt), jnp.asarray(felt > 0), GRID_MINUTES)
    agreed = lived.agreed[lived.present]
    kept = agreements_kept(cells, there, jnp.asarray(agreed))
    ratio = ratios_of(lived)
    feasible = _on_grid(lived.ceiling[after, lived.present].T) >= agreed[:, None]
    quartiles = np.percentile(felt, [25, 50, 75])
    decided_s = float(np.nansum(lived.decide_s))
    bound = {"ela_ratio_bound": clairvoyant_ratio(lived, SKIPPED_MINUTES, GRID_MINUTES)} if bounded else {}
    return bound | {
        "ela_share": float(np.mean(ratio >= 1.0)),
        "ela_ratio": float(np.mean(np.minimum(ratio, 1.0))),
        "ela_share_of_users": float(np.mean(np.asarray(kept.reached))),
        "ela_ratio_percentiles": {str(part): float(np.percentile(ratio, part)) for part in PERCENTILES},
        "feasible": float(np.mean(feasible)),
        "ela_share_feasible": float(np.mean(ratio[feasible] >= 1.0)),
        "ela_ratio_feasible": float(np.mean(np.minimum(ratio[feasible], 1.0))),
        "qoe_median": float(quartiles[1]),
        "qoe_mean": float(np.mean(felt)),
        "qoe_quartiles": quartiles.tolist(),
        "qoe_iqr": float(quartiles[2] - quartiles[0]),
        "stall_s_per_min": float(lived.stall_s[after, lived.present].mean()),
        "quality": float(lived.quality[after, lived.present].mean()),
        "bandwidth_use": float(lived.bandwidth_use[after].mean()),
        "cycles_use": float(lived.cycles_use[after].mean()),
        "twin_kbit_per_s": float(lived.twin_bits[after].mean() / 60e3),
        "load_factor": float(lived.load[after].mean()),
        "reconfigurations_per_h": float(np.nansum(lived.window_won) / (len(lived.decided) / 60.0)),
        "windows_won": _mean_of(lived.window_won),
        "window_value": _mean_of(lived.window_value),
        "window_bound": _mean_of(lived.window_bound),
        "game_gap": _most_of(lived.game_gap),
        "by_game": _mean_of(lived.by_game),
        "slots_refused": float(lived.refused[after].mean()),
        "belief_error": float(np.mean(np.abs(lived.believed[after, lived.present] - felt.T))),
        "slot_ms": 1e3 * (float(lived.wall_s) - decided_s) / (60.0 * len(lived.experience)),
        "window_ms": 1e3 * _mean_of(lived.decide_s),
        "compile_s": float(lived.compile_s),
    }


SHOWN = ("ela_ratio", "ela_share", "qoe_median")


def rows_of(figures: Figures, cases: Iterable[str], users: Iterable[int]) -> list[Row]:
    """Means over seeds with 95 % intervals (Student), one row a number of users and case, and the bound."""
    chosen = tuple(cases)
    rows: list[Row] = []
    for number in users:
        for case in chosen:
            runs = runs_of(figures, case, number)
            if runs:
                role = "proposed" if case == PROPOSED else "baseline"
                values = {name: mean_of([run[name] for run in runs]) for name in SHOWN}
                rows.append(Row((str(number), CASES[case].title), role, values))
        bound = runs_of(figures, PROPOSED, number)
        if bound:
            most = {"ela_ratio": mean_of([run["ela_ratio_bound"] for run in bound])}
            rows.append(Row((str(number), BOUND), "reference", most))
    return rows


def runs_of(figures: Figures, case: str, users: int) -> list[Mapping[str, Any]]:
    """Figures of a case's runs at a number of users, in the order of seeds."""
    places = sorted(place for place in figures if (place.case, place.users) == (case, users))
    return [figures[place] for place in places]


def difference(figures: Figures, ours: str, theirs: str, users: int, metric: str) -> Estimate:
    """First less second, paired over the seeds that both have."""
    by_seed = [
        {place.seed: one[metric] for place, one in figures.items() if (place.case, place.users) == (case, users)}
        for case in (ours, theirs)
    ]
    seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
    return Estimate(*paired_interval(*([one[seed] for seed in seeds] for one in by_seed)))


def differences(
    figures: Figures, schemes: Sequence[str], users: Sequence[int], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Proposed less every other scheme at every number of users."""
    return [
        {
            "users": number,
            "against": scheme,
            "metric": metric,
            **vars(difference(figures, PROPOSED, scheme, number, metric)),
        }
        for number in users
        for scheme in schemes
        if scheme != PROPOSED
        for metric in metrics
    ]


def claims_of(told: Sequence[Mapping[str, Any]], figures: Figures, schemes: Sequence[str]) -> list[Claim]:
    """The paper's claims and what acceptance asks, each decided by the weakest of its paired differences."""
    claims = [
        _everywhere(told, "ela_ratio", "the proposed scheme has the highest mean ELA ratio at every number of users"),
        _everywhere(told, "ela_share", "the proposed scheme reaches most agreements at every number of users"),
        _everywhere(told, "qoe_median", "the proposed scheme has the highest median QoE at every number of users"),
        _percentiles(figures, schemes),
    ]
    if "pdrl-l1" in schemes:
        claims += _between(figures)
    for worst, metric, sign, statement in (
        ("hsla-l2", "ela_ratio", -1, "HSLA-L2 has the lowest mean ELA ratio of the paper's schemes"),
        ("no-agents", "qoe_median", -1, "no agents has the lowest median QoE of the paper's schemes"),
        ("no-agents", "qoe_iqr", 1, "no agents spreads QoE the most of the paper's schemes"),
    ):
        others = [scheme for scheme in schemes if scheme not in (worst, "pf")]
        if worst in schemes and others:
            claims.append(_extreme(figures, worst, others, metric, sign, statement))
    return claims


def _everywhere(told: Sequence[Mapping[str, Any]], metric: str, statement: str) -> Claim:
    mine = [one for one in told if one["metric"] == metric]
    weakest = min(mine, key=lambda one: one["low"])
    where = f" (weakest: against {CASES[weakest['against']].title}, {weakest['users']} users)"
    return Claim(statement + where, Estimate(weakest["value"], weakest["low"], weakest["high"]), weakest["low"] > 0)


def _percentiles(figures: Figures, schemes: Sequence[str]) -> Claim:
    """In what share of the percentiles 5, 10 .. 95 of a seed's ratios the proposed scheme is above all others."""
    ours = _by_seed(figures, PROPOSED)
    others = [_by_seed(figures, scheme) for scheme in schemes if scheme != PROPOSED]
    highest = [np.all([ours[seed] > other[seed] for other in others], axis=0) for seed in ours]
    share = mean_of([float(np.mean(one)) for one in highest])
    statement = "the proposed scheme has the highest ELA ratio in more than half of the percentiles (share, by seed)"
    return Claim(statement, share, (share.low or 0.0) > 0.5)


def _by_seed(figures: Figures, scheme: str) -> dict[int, Float[np.ndarray, " percentiles"]]:
    """Percentiles of the ratio, mean over all numbers of users."""
    seeds = sorted({place.seed for place in figures if place.case == scheme})
    of = {place: list(one["ela_ratio_percentiles"].values()) for place, one in figures.items() if place.case == scheme}
    return {seed: np.mean([held for place, held in of.items() if place.seed == seed], axis=0) for seed in seeds}


def _between(figures: Figures) -> list[Claim]:
    """Mean gap of a seed's percentile curves where the proposed scheme's ratio lies between .6 and .7, over the seeds
    in which any does; no claim where none does.
    """
    ours, theirs = (_by_seed(figures, scheme) for scheme in (PROPOSED, "pdrl-l1"))
    there = {seed: (ratio >= 0.6) & (ratio <= 0.7) for seed, ratio in ours.items()}
    gaps = [float(np.mean((theirs[seed] - ours[seed])[at])) for seed, at in there.items() if at.any()]
    if not gaps:
        return []
    gap = mean_of(gaps)
    return [Claim("PDRL-L1 is slightly better where ratios lie between .6 and .7", gap, (gap.low or 0.0) > 0)]


def _extreme(figures: Figures, worst: str, others: Sequence[str], metric: str, sign: int, statement: str) -> Claim:
    """The scheme `worst` lies below (sign -1) or above (+1) all `others` at every number of users."""
    users = sorted({place.users for place in figures if place.case in others})
    gaps = [(other, number, difference(figures, worst, other, number, metric)) for other in others for number in users]

    def sure(gap: Estimate) -> float:
        end = gap.high if sign < 0 else gap.low
        return sign * (end if end is not None else gap.value)

    other, number, weakest = min(gaps, key=lambda one: sure(one[2]))
    where = f" (weakest: against {CASES[other].title}, {number} users)"
    return Claim(statement + where, weakest, sure(weakest) > 0)


def mean_of(values: Sequence[float]) -> Estimate:
    """Mean with its 95 % interval (Student) over seeds."""
    if len(values) < 2:
        return Estimate(float(np.mean(values)))
    return Estimate(*paired_interval(values, [0.0] * len(values)))


def _mean_of(values: Float[np.ndarray, " minutes"]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _most_of(values: Float[np.ndarray, " minutes"]) -> float:
    """Greatest of those that are there; NaN where none is."""
    there = values[np.isfinite(values)]
    return float(there.max()) if there.size else float("nan")
