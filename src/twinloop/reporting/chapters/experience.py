"""The chapters on what people experienced (QoE) and on what of their agreements was kept (ELA)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.reporting.figures.opinion import kept, lived
from twinloop.reporting.figures.opinion.reading import CELL_S, Felt, Stretch, felt
from twinloop.reporting.page import Folder, Section, Table, guarded, tabled
from twinloop.reporting.run import Run, Values
from twinloop.reporting.wording import MINUS, NO_NUMBER, clock, count, share

_MOST_ALARMS = 12
_TELLING = 0.1


def qoe_section(run: Run, folder: Folder) -> Section:
    """What people experienced, and what twins believed of it."""
    views = [
        folder.view("qoe_history", partial(lived.plot_experience_history, run),
                    "E* is how each minute truly was for its user, by that user's own rule; only the simulated network "
                    "knows it, twins see reports and some scores."),
        folder.view("qoe_belief", partial(lived.plot_belief, run),
                    "A dot is a user's minute. Diamonds above the dashed line: twins think too little of what people "
                    "get; below it: too much."),
        folder.view("qoe_lacking", partial(lived.plot_lacking, run),
                    "Stalls and pictures are the network's to mend. What swipes and slow walks take away stays with "
                    "any service."),
    ]  # fmt: skip
    return Section("qoe", "Experience (QoE)", guarded(lambda: _qoe_lead(run)), views, tabled(lambda: _by_rule(run)))


def ela_section(run: Run, folder: Folder) -> Section:
    """What of users' agreements was kept."""
    views = [
        folder.view("ela_history", partial(kept.plot_agreement_history, run),
                    "Mean true experience of 3 minutes over what was agreed: above the line the promise is kept."),
        folder.view("ela_spread", partial(kept.plot_agreement_spread, run),
                    "Where a line crosses the dashed one: the share of stretches in which the class was below."),
        folder.view("ela_users", partial(kept.plot_agreement_users, run),
                    "Users left of where the dots cross the line got less than their agreement over the whole run.",
                    wide=True),
        folder.view("ela_cells", partial(kept.plot_agreement_cells, run),
                    "Blue: kept. Pale to dark red: farther and farther below.", wide=True),
    ]  # fmt: skip
    tables = [*tabled(lambda: _class_table(run)), *tabled(lambda: _alarm_table(run))]
    return Section("ela", "Agreements (ELA)", guarded(lambda: _ela_lead(run)), views, tables)


def judged(run: Run) -> bool:
    """Whether the run lived long enough for agreements to be judged."""
    return run.has("experience") and felt(run).minutes * 60.0 >= CELL_S


def _qoe_lead(run: Run) -> str:
    people = felt(run)
    true, error = people.column("experience"), people.column("believed") - people.column("experience")
    lower, middle, upper = np.quantile(true, [0.25, 0.5, 0.75])
    bias = float(error.mean())
    text = (
        f"Half of all {len(true):,} minutes felt like {middle:.2f} or better on the scale of 1 to 5; the middle half "
        f"lay between {lower:.2f} and {upper:.2f}. Twins err by {np.abs(error).mean():.2f} on average"
    )
    return text + (f" and hold it to be {abs(bias):.2f} too {'high' if bias > 0 else 'low'}." if abs(bias) >= 0.01
                   else ", not more to one side than to the other.")  # fmt: skip


def _by_rule(run: Run) -> Table:
    """Believed against true experience by the structure of the model that twins hold."""
    people = felt(run)
    true, believed = people.column("experience"), people.column("believed")
    held, rule, impact = (people.column(name).astype(str) for name in ("believed_rule", "rule", "believed_impact"))
    rows = [
        [lived.RULES[name], *_structure_row(people, held == name, true, believed, rule == name, impact)]
        for name in lived.RULES
        if (held == name).any()
    ]
    heads = ["twins hold that a user", "users", "minutes", "truly so", "swipes matter", "walk matters", "median E*",
             "mean error", "too high by", "correlation"]  # fmt: skip
    note = (
        "By the rule that twins held likeliest for the user in that minute. Truly so: share of minutes of users whose "
        "own rule it is. Swipes, walk: share in which twins hold that they matter besides."
    )
    return Table("Believed and true experience by structure of the model", heads, rows, note, wide=True)


def _structure_row(
    people: Felt,
    mine: Values,
    true: Values,
    believed: Values,
    right: Values,
    impact: Values,
) -> list[str]:
    error = (believed - true)[mine]
    varies = mine.sum() > 2 and np.ptp(true[mine]) > 0 and np.ptp(believed[mine]) > 0
    return [
        f"{len(np.unique(people.row[mine])):,}",
        f"{mine.sum():,}",
        share(float(right[mine].mean())),
        *(share(float(np.isin(impact[mine], (part, "both")).mean())) for part in ("behaviour", "environment")),
        f"{np.median(true[mine]):.2f}",
        f"{np.abs(error).mean():.2f}",
        _signed(float(error.mean())),
        f"{np.corrcoef(true[mine], believed[mine])[0, 1]:.2f}" if varies else NO_NUMBER,
    ]


def _ela_lead(run: Run) -> str:
    people = felt(run)
    ratio, best = people.ratio(), people.cells("at_best")
    there = np.isfinite(ratio)
    over = np.nanmean(np.where(there, people.cells("experience"), np.nan), axis=1)[there.any(axis=1)]
    got = int((over >= people.agreed[there.any(axis=1)]).sum())
    text = (
        f"In {share(float((ratio[there] >= 1).mean()))} of {there.sum():,} stretches of 3 minutes a user's mean "
        f"experience reached what was agreed; {got:,} of {count(len(over), 'user')} got their agreement over the whole "
        "run."
    )
    hopeless = float((best < people.agreed[:, None])[there].mean())
    if hopeless > 0:
        text += f" In {share(hopeless)} of the stretches no service at all could have reached it."
    return text


def _class_table(run: Run) -> Table:
    ela: Mapping[str, Any] = run.summary.get("ela") or {}
    by_slice: Mapping[str, Any] = ela.get("by_slice") or {}
    rows = [_class_row(run.names("slices", [name])[0], row) for name, row in by_slice.items()]
    if len(rows) > 1:
        rows.append(_class_row("all", ela))
    heads = ["class", "users", "stretches kept", "mean ratio", "users reached", "time below", "alarms", "within reach",
             "noticed"]  # fmt: skip
    note = (
        "Stretches are of 3 minutes. Ratio: min(E* / agreed, 1). Users reached: mean of the run. Within reach: the "
        "best picture without a stall would have been enough. Noticed: of the stretches below, those that twins, too, "
        "held to be below."
    )
    return Table("Agreements by class", heads, rows, note, wide=True)


def _class_row(name: str, row: Mapping[str, Any]) -> list[str]:
    noticed = row["noticed"]
    return [
        name, f"{row['users']:,}", share(row["share"]), f"{row['ratio']:.3f}", share(row["users_reached"]),
        share(row["time_below"]), f"{row['alarms']:,}", share(row["reachable"]),
        NO_NUMBER if noticed is None else share(noticed),
    ]  # fmt: skip


def _alarm_table(run: Run) -> Table:
    people = felt(run)
    found = people.below()
    values = {name: people.cells(name) for name in ("experience", "believed", "no_stalls", "at_best")}
    why = {name: people.by_minute(name) for name in ("stall_s", "quality", "swipes_per_min", "speed_mps",
                                                       "satisfaction", "sinr_db")}  # fmt: skip
    depth = {one: float(np.nanmean(people.ratio()[one.user, one.first : one.last + 1])) for one in found}
    found.sort(key=lambda one: (-one.lasting_s, depth[one]))
    rows = [_alarm_row(people, one, values, why) for one in found[:_MOST_ALARMS]]
    left = len(found) - _MOST_ALARMS
    note = (
        f"{count(left, 'shorter or milder stretch', 'shorter or milder stretches')} are left out. " if left > 0 else ""
    )
    note += (
        "Points in brackets are what each cause took from the experience, by the user's own rule. What swipes and a "
        "slow walk take, no service brings back."
    )
    heads = ["user", "class", "from", "below for", "why", "E*", "agreed", "twins believed", "at best"]
    return Table("Alarms: below the agreement, longest first", heads, rows, note, 5, wide=True)


def _alarm_row(
    people: Felt, one: Stretch, values: Mapping[str, NDArray[np.float64]], why: Mapping[str, NDArray[np.float64]]
) -> list[str]:
    cells = slice(one.first, one.last + 1)
    minutes = slice(round(one.first * CELL_S / 60), round((one.last + 1) * CELL_S / 60))
    felt_by = {name: float(np.nanmean(cell[one.user, cells])) for name, cell in values.items()}
    was = {name: float(np.nanmean(minute[one.user, minutes])) for name, minute in why.items()}
    return [
        str(people.users[one.user]),
        people.names[people.member[one.user]],
        clock(one.first * CELL_S),
        f"{one.lasting_s / 60:.0f} min",
        "; ".join(_reasons(felt_by, was, float(people.agreed[one.user]))),
        f"{felt_by['experience']:.2f}",
        f"{people.agreed[one.user]:.2f}",
        f"{felt_by['believed']:.2f}",
        f"{felt_by['at_best']:.2f}",
    ]


def _reasons(felt_by: Mapping[str, float], was: Mapping[str, float], agreed: float) -> list[str]:
    """What took the experience away, the most first, and what of the network stood behind it."""
    lost = {
        f"stalls of {was['stall_s']:.{0 if was['stall_s'] >= 10 else 1}f} s a minute": felt_by["no_stalls"]
        - felt_by["experience"],
        f"a picture of {was['quality']:.2f}": felt_by["at_best"] - felt_by["no_stalls"],
        f"{was['swipes_per_min']:.0f} swipes a minute at {3.6 * was['speed_mps']:.0f} km/h": 5.0 - felt_by["at_best"],
    }
    told: Sequence[tuple[str, float]] = sorted(lost.items(), key=lambda item: -item[1])
    reasons = [f"{words} ({MINUS}{points:.1f})" for words, points in told if points >= _TELLING]
    if felt_by["at_best"] < agreed:
        return [*reasons, "out of reach of any service"]
    network = f"{share(was['satisfaction'])} of the needed rate at {was['sinr_db']:.0f} dB".replace("-", MINUS)
    return [*reasons, network]


def _signed(value: float) -> str:
    return f"{MINUS if value < 0 else '+'}{abs(value):.2f}"
