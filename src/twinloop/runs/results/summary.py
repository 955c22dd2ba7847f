"""The figures that stand for a run."""

from typing import Any

import numpy as np

from twinloop.runs.results.recording import Totals


def summarise(totals: Totals, *, scenario: str, seed: int, policy: str, users: int, slot_s: float) -> dict[str, Any]:
    """Summary of a run's totals.

    satisfaction: mean over users of each user's mean of min(delivered / needed rate, 1). rebuffer_ratio: stalled
    time / time present. satisfaction_bound: the most that anybody could have reached in the channels that were met,
    every slot known, slices, computing and delays left out (decision.bound). wasted_ratio: bits dropped unseen /
    bits delivered. resource_use: mean of bandwidth_use (used and debited bandwidth / all) and cycles_use (mean
    server utilisation), resource_per_satisfaction is it over satisfaction. coverage: share of levels
    inside the 90 % interval foretold for them. load_factor: bandwidth that the needed rates ask for at the realised
    channels / bandwidth there is. fidelity in [0, 1] and mean_age_s over slots and user attributes, without those
    that are only sent when they change: their next report is a change by definition, and their age no staleness.
    true_fidelity: the same of every user attribute against what it was, reported or not. collected_bits of all
    reports, user_report_bits of users'; periodic_report_bits what the users' periodic attributes would have cost at
    the periods that the scenario asks for.
    """
    sums = totals.sums

    def mean(name: str, per: str) -> float:
        return sums.get(name, 0.0) / max(sums.get(per, 0.0), 1e-9)

    seconds = max(sums.get("user_slots", 0.0) * slot_s, 1e-9)
    present = np.array(totals.user_slots) > 0
    by_user = np.array(totals.user_satisfaction)[present] / np.array(totals.user_slots)[present]
    bandwidth_use, cycles_use = mean("used_hz", "capacity_hz"), mean("cycles_share", "server_slots")
    windows = sums.get("window_proposed", 0.0)
    satisfaction, resource_use = float(by_user.mean()) if by_user.size else 0.0, (bandwidth_use + cycles_use) / 2
    return {
        "scenario": scenario,
        "seed": seed,
        "policy": policy,
        "slots": int(sums.get("slots", 0)),
        "slot_s": slot_s,
        "users": users,
        "mean_rate_bps": sums.get("delivered_bits", 0.0) / seconds,
        "satisfaction": satisfaction,
        "satisfaction_bound": mean("bound_satisfied", "bound_users"),
        "satisfaction_worst_decile": float(np.quantile(by_user, 0.1)) if by_user.size else 0.0,
        "rebuffer_ratio": sums.get("rebuffer_s", 0.0) / seconds,
        "mean_quality": mean("quality", "user_slots"),
        "mean_quality_change": mean("quality_change", "user_slots"),
        "swipes_per_min": 60.0 * sums.get("swipes", 0.0) / seconds,
        "wasted_ratio": mean("wasted_bits", "delivered_bits"),
        "resource_use": resource_use,
        "resource_per_satisfaction": resource_use / max(satisfaction, 1e-3),
        "bandwidth_use": bandwidth_use,
        "cycles_use": cycles_use,
        "load_factor": mean("load_hz", "capacity_hz"),
        "fidelity": mean("fidelity", "slots"),
        "coverage": mean("covered", "compared"),
        "mean_age_s": mean("age_s", "slots"),
        "collected_bits": sums.get("bits", 0.0),
        "user_report_bits": sums.get("users_bits", 0.0),
        "periodic_report_bits": sums.get("periodic_bits", 0.0),
        "true_fidelity": mean("true_fidelity", "slots"),
        "energy_j": sums.get("energy_j", 0.0),
        "decisions": {
            "proposed": int(sums.get("slots", 0) + windows),
            "approved": int(sums.get("approved", 0) + sums.get("window_approved", 0)),
            "refused": int(sums.get("refused", 0) + windows - sums.get("window_approved", 0)),
            "rolled_back": int(sums.get("rolled_back", 0)),
        },
    }
