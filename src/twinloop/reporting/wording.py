"""Numbers as people read them, and what every metric is called and means."""

import math
from dataclasses import dataclass
from typing import Any

NO_NUMBER = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_GAP = "\N{NO-BREAK SPACE}"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))


@dataclass(frozen=True)
class Metric:
    """How one number of a summary is shown.

    `kind` is `share` (printed in per cent), `number`, or an SI unit. `better` is +1 where more is better, -1 where less
    is, 0 where neither.
    """

    name: str
    title: str
    kind: str
    better: int
    meaning: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "satisfaction", "Satisfaction", "share", 1, "delivered of the rate that people needed, at most all of it"
        ),
        Metric("mean_rate_bps", "Mean rate", "bit/s", 1, "downlink rate of a user, averaged over users and slots"),
        Metric("rebuffer_ratio", "Stalled time", "share", -1, "share of the time in which playback stood still"),
        Metric("mean_quality", "Picture quality", "number", 1, "0 = lowest version, 1 = highest version"),
        Metric("wasted_ratio", "Wasted bits", "share", -1, "delivered bits that a swipe threw away"),
        Metric("resource_use", "Resources used", "share", -1, "share of the network's resources that was in use"),
        Metric(
            "resource_per_satisfaction", "Resources per satisfaction", "number", -1, "resource use over satisfaction"
        ),
        Metric("load_factor", "Load factor", "number", 0, "demand over capacity: above 1 nobody can serve everything"),
        Metric("fidelity", "Twin fidelity", "share", 1, "how closely the twin foretold the next report"),
        Metric("coverage", "Intervals that held", "share", 1, "how often the truth lay in the 90 % interval"),
        Metric("mean_age_s", "Age of information", "s", -1, "how old the twin's knowledge was on average"),
        Metric("collected_bits", "Reports collected", "bit", -1, "what the twins cost in reports"),
        Metric("satisfaction_bound", "Satisfaction, bound", "share", 0, "most that could be given, the future known"),
        Metric(
            "satisfaction_worst_decile", "Satisfaction, worst tenth", "share", 1, "nine of ten users got more than this"
        ),
        Metric("mean_quality_change", "Quality change", "number", -1, "mean change of picture quality between slots"),
        Metric("swipes_per_min", "Swipes a minute", "number", 0, "swipes a user and minute"),
        Metric("bandwidth_use", "Bandwidth used", "share", -1, "share of all cells' bandwidth, reports included"),
        Metric("cycles_use", "Cycles used", "share", -1, "share of all servers' cycles"),
        Metric("energy_j", "Energy", "J", -1, "what cells, servers and reports took"),
        Metric("refused", "Decisions refused", "count", 0, "proposals that no check in the twin could approve"),
        Metric("rolled_back", "Rolled back", "count", 0, "decisions undone because they did not take effect"),
        Metric("qoe_median", "Experience, median", "number", 1, "true experience E* of a user's minute, 1 to 5"),
        Metric("qoe_mean", "Experience, mean", "number", 1, "true experience E* of a user's minute, 1 to 5"),
        Metric("qoe_belief_error", "Error of belief", "number", -1, "mean distance of believed from true experience"),
        Metric("ela_share", "Agreements kept", "share", 1, "stretches of 3 minutes in which users got what was agreed"),
        Metric("ela_ratio", "Agreement ratio", "share", 1, "experience over what was agreed, at most 1"),
        Metric("ela_users_reached", "Users with their agreement", "share", 1, "users whose mean experience reached it"),
        Metric("ela_time_below", "Time below agreement", "share", -1, "of all users' stretches of 3 minutes"),
        Metric("ela_alarms", "Alarms", "number", -1, "times that a user fell below the agreement"),
        Metric("jain_index", "Fairness", "number", 1, "Jain's index of the users' satisfaction, 1 = all alike"),
    )
}


def metric(name: str) -> Metric:
    """The metric `name`; an unknown one is shown as a plain number without a direction."""
    known = METRICS.get(name)
    if known is not None:
        return known
    kind = next((unit for end, unit in (("_bps", "bit/s"), ("_s", "s"), ("_bits", "bit"), ("_w", "W"), ("_j", "J"))
                 if name.endswith(end)), "number")  # fmt: skip
    title = name
    for end in ("_bps", "_s", "_bits", "_w", "_j"):
        title = title.removesuffix(end)
    return Metric(name, title.replace("_", " ").capitalize(), kind, 0, "")


def shown(name: str, value: Any) -> str:
    """`value` of the metric `name` with its unit, or a dash for no number."""
    kind = metric(name).kind
    if value is None or not math.isfinite(float(value)):
        return NO_NUMBER
    if kind == "share":
        return share(float(value))
    if kind == "count":
        return f"{int(value):,}"
    return plain(float(value)) if kind == "number" else si(float(value), kind)


def difference(name: str, value: float) -> str:
    """A difference of the metric `name` with its sign; shares differ in percentage points."""
    sign = "+" if value > 0 else MINUS if value < 0 else ""
    kind = metric(name).kind
    size = abs(value)
    if kind == "share":
        return f"{sign}{100 * size:.{2 if size < 0.01 else 1}f}{_GAP}points"
    return sign + (plain(size) if kind in ("number", "count") else si(size, kind))


def share(value: float) -> str:
    """A share in per cent, with more digits near 0 and 1."""
    percent = 100 * value
    digits = 0 if percent in (0, 100) else 2 if 0 < percent < 1 or 99 < percent < 100 else 1
    return f"{percent:.{digits}f}{_GAP}%"


def plain(value: float) -> str:
    """A number with three significant digits and thousands separated."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else NO_NUMBER
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{min(digits, 6)}f}"


def si(value: float, unit: str) -> str:
    """A quantity with an SI prefix: 5.21 Mbit/s."""
    if not math.isfinite(value):
        return NO_NUMBER
    size = abs(value)
    if unit == "s" and size >= 1:
        return f"{plain(value)}{_GAP}s"
    factor, prefix = next(((f, p) for f, p in _PREFIXES if size >= f), (1.0, ""))
    return f"{plain(value / factor)}{_GAP}{prefix}{unit}"


def clock(seconds: float) -> str:
    """A moment of the run as m:ss, or h:mm:ss from an hour on."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """A length of time in words: 45 seconds, 5 minutes, 1.5 hours."""
    for size, unit in ((3600.0, "hour"), (60.0, "minute")):
        if seconds >= 1.5 * size or seconds == size:
            number = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{number} {unit}" + ("" if number == "1" else "s")
    return f"{seconds:.0f} second" + ("" if round(seconds) == 1 else "s")


def count(number: int, noun: str, plural: str = "") -> str:
    """A count with its noun: 1 user, 60 users."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def enumerated(parts: list[str]) -> str:
    """Parts joined as in a sentence: a, b and c."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
