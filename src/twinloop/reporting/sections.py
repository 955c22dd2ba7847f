"""The chapters of a run's report: which figures and tables, and the sentence that says what they show."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from twinloop.reporting.aggregation import groups, mean_by
from twinloop.reporting.figures import campus, collection, decisions, infrastructure, slices, users, viewing
from twinloop.reporting.figures.mirror import foresight, twins, value
from twinloop.reporting.page import Folder, Section, Table, guarded, tabled
from twinloop.reporting.run import Run
from twinloop.reporting.wording import MINUS, clock, count, enumerated, plain, share, shown, si


def map_section(run: Run, folder: Folder) -> Section:
    """Where people were."""
    lead = (
        "People walked through the cells while they watched. Orange stretches were served worse than blue ones; "
        "compare the two maps to see where a low rate did not matter, because little was needed."
    )
    views = [
        folder.view("map_satisfaction", partial(campus.plot_map, run, "satisfaction"),
                    "Share of the needed rate that was delivered, along every walk."),
        folder.view("map_rate", partial(campus.plot_map, run, "rate_bps"), "Downlink rate along the same walks."),
    ]  # fmt: skip
    return Section("map", "Map", lead, views)


def user_section(run: Run, folder: Folder) -> Section:
    """What single users got."""
    views = [
        folder.view("users", partial(users.plot_users, run),
                    "Every dot is one user's mean over the run; boxes hold the middle half of a slice's users."),
        folder.view("experience", partial(users.plot_experience, run),
                    "The fan shows how evenly people are served; below, how many stand still at a time."),
        folder.view("radio", partial(users.plot_radio, run),
                    "Dots low on the right have a good signal and still too little: there a decision is to blame, "
                    "not the air."),
    ]  # fmt: skip
    return Section("users", "Experience of users", guarded(lambda: _user_lead(run)), views, tabled(lambda: _worst(run)))


def slice_section(run: Run, folder: Folder) -> Section:
    """Slices over time."""
    views = [
        folder.view("slices", partial(slices.plot_slices, run),
                    "Filled: reserved and used. Empty below the solid line: reserved in vain. Dashed above solid: the "
                    "slice wants more than it has."),
        folder.view("slice_satisfaction", partial(slices.plot_slice_satisfaction, run),
                    "Mean satisfaction of each slice's users, and how many they are."),
        folder.view("slice_computing", partial(slices.plot_slice_computing, run),
                    "Transcoding needs cycles where the cache lacks the wanted version. Both panels of cycles have "
                    "one scale: demand above what is reserved makes people wait."),
    ]  # fmt: skip
    return Section("slices", "Slices over time", guarded(lambda: _slice_lead(run)), views,
                   tabled(lambda: _slice_table(run)))  # fmt: skip


def twin_section(run: Run, folder: Folder) -> Section:
    """How true and how fresh the twins are."""
    views = [
        folder.view("twins", partial(twins.plot_twins, run), "Mean over the run, the least faithful on top."),
        folder.view("twin_history", partial(twins.plot_twin_history, run),
                    "Orange stretches: the twin foretold this attribute badly."),
        folder.view("forecasts", partial(foresight.plot_forecasts, run),
                    "Made a slot before, from whatever had been reported by then. Where the band is wide, the twin "
                    "knows that it does not know.", wide=True),
        folder.view("coverage", partial(foresight.plot_coverage, run),
                    "Far below 90 %: the twin is surer than it should be. Far above: it could decide more boldly."),
    ]  # fmt: skip
    return Section("twins", "Twin fidelity and age", guarded(lambda: _twin_lead(run)), views)


def value_section(run: Run, folder: Folder) -> Section:
    """What the twins are worth."""
    views = [
        folder.view("value", partial(value.plot_value, run),
                    "Gain: how much of the way from the same network without twins to the best that was possible. "
                    "Cost: bandwidth and cycles that the twins took, over their budget.", wide=True),
    ]  # fmt: skip
    return Section("value", "What the twins are worth", guarded(lambda: _value_lead(run)), views,
                   tabled(lambda: _value_table(run)))  # fmt: skip


def collection_section(run: Run, folder: Folder) -> Section:
    """What the twins cost in reports."""
    views = [
        folder.view("collection", partial(twins.plot_collection, run),
                    "Reports take bandwidth from the same cells that serve people."),
        folder.view("requests", partial(collection.plot_requests, run),
                    "Each slice's attributes climb to longer periods while little is missed and fall back at once. "
                    "Between looks only changes above an alarm are reported.", wide=True),
    ]  # fmt: skip
    return Section("collection", "Cost of collection", guarded(lambda: _collection_lead(run)), views,
                   tabled(lambda: _collection_table(run)))  # fmt: skip


def decision_section(run: Run, folder: Folder) -> Section:
    """Decisions and their verdicts."""
    views = [
        folder.view("decisions", partial(decisions.plot_decisions, run),
                    "One mark a decision. The window loop reserves for slices, the slot loop schedules users.",
                    wide=True),
        folder.view("objectives", partial(decisions.plot_objectives, run),
                    "Both futures are rolled out in the twin before anything is enforced; the shaded gap is why the "
                    "winner won."),
    ]  # fmt: skip
    return Section("decisions", "Decisions and verdicts", guarded(lambda: _decision_lead(run)), views,
                   [*tabled(lambda: _reason_table(run)), *tabled(lambda: _certificate_table(run))])  # fmt: skip


def infrastructure_section(run: Run, folder: Folder) -> Section:
    """Cells and servers."""
    views = [
        folder.view("cells", partial(infrastructure.plot_cells, run), "Load 1 means that all bandwidth was in use."),
        folder.view("servers", partial(infrastructure.plot_servers, run),
                    "A queue that only grows means that transcoding cannot keep up."),
    ]  # fmt: skip
    if len(groups(run.columns("cells", "cell")[0])[1] if run.optional("cells", "cell") is not None else []) > 2:
        views.append(folder.view("cell_load", partial(infrastructure.plot_cell_load, run),
                                 "Orange: the cell was full."))  # fmt: skip
    return Section("infrastructure", "Cells and servers", guarded(lambda: _infrastructure_lead(run)), views)


def viewing_section(run: Run, folder: Folder) -> Section:
    """Swipes, and whether they are like those of the data."""
    views = [
        folder.view("swipes", partial(viewing.plot_swipes, run), "Every swipe throws away what was loaded ahead."),
        folder.view("watching", partial(viewing.plot_watching, run), "Views that ran to their end are not counted."),
    ]  # fmt: skip
    tables: list[Table] = []
    if run.has("retention"):
        views.append(folder.view("retention", partial(viewing.plot_retention, run),
                                 "Share of views that go on after each second: real viewers against simulated ones.",
                                 wide=True))  # fmt: skip
        tables = tabled(lambda: _retention_table(run))
    return Section("viewing", "Swipes", guarded(lambda: _viewing_lead(run)), views, tables)


def _user_lead(run: Run) -> str:
    means = users.user_means(run)
    satisfaction = means.mean("satisfaction")
    known = satisfaction[np.isfinite(satisfaction)]
    if len(known) == 1:
        return f"The only user got {share(float(known[0]))} of the needed rate."
    middle, low = float(np.median(known)), float(known.min())
    text = f"Half of the {len(known):,} users got at least {share(middle)} of the rate they needed; "
    text += f"the worst served one got {share(low)}."
    if run.optional("users", "rebuffer_s") is not None:
        stalled = int((means.total("rebuffer_s") > 0).sum())
        text += (
            f" Playback stalled at least once for {count(stalled, 'user')}."
            if stalled
            else " Nobody's playback stalled."
        )
    return text


def _worst(run: Run) -> Table:
    columns = {
        "satisfaction": ("satisfaction", share),
        "rate_bps": ("rate", partial(si, unit="bit/s")),
        "needed_bps": ("needed", partial(si, unit="bit/s")),
        "rebuffer_s": ("stalled", partial(si, unit="s")),
        "quality": ("quality", plain),
        "sinr_db": ("SINR (dB)", lambda value: f"{value:.1f}".replace("-", MINUS)),
        "delay_s": ("delay", partial(si, unit="s")),
    }
    rows = users.worst_users(run)
    there = [name for name in columns if any(name in row for row in rows)]
    cells = [
        [f"{row['user']}", str(row["slice"]), str(row["cell"]), *(columns[name][1](float(row[name])) for name in there)]
        for row in rows
    ]
    return Table("Worst served users", ["user", "slice", "cell", *(columns[n][0] for n in there)], cells,
                 "Means over the time each user was there; cell is where the user was most of the time.", 3,
                 wide=True)  # fmt: skip


def _slice_means(run: Run, column: str) -> dict[str, float]:
    identity, values = run.columns("slices", "slice", column)
    index, labels = groups(identity)
    return dict(zip(run.names("slices", labels), mean_by(index, values, len(labels)).tolist(), strict=True))


def _slice_lead(run: Run) -> str:
    satisfaction = _slice_means(run, "satisfaction")
    known = sorted((value, name) for name, value in satisfaction.items() if np.isfinite(value))
    if len(known) < 2:
        return f"One slice: {known[0][1]}, satisfied to {share(known[0][0])}." if known else "No slice had users."
    (low, worst), (high, best) = known[0], known[-1]
    text = f"Of {len(known)} slices, {best} was served best ({share(high)}) and {worst} least ({share(low)})."
    asked = [part for kind, noun in (("bandwidth_hz", "bandwidth"), ("cycles_per_s", "cycles"))
             if (part := _asked(run, worst, kind, noun))]  # fmt: skip
    return text + (f" On average {worst} asked for {enumerated(asked)} that it had reserved." if asked else "")


def _asked(run: Run, name: str, kind: str, noun: str) -> str:
    """How often over the slice `name` demanded what it had reserved of one resource, empty where unknown."""
    if any(run.optional("slices", f"{part}_{kind}") is None for part in ("demand", "reserved")):
        return ""
    demand, reserved = (_slice_means(run, f"{part}_{kind}")[name] for part in ("demand", "reserved"))
    return f"{plain(demand / reserved)} times the {noun}" if reserved > 0 and np.isfinite(demand) else ""


def _slice_table(run: Run) -> Table:
    wanted = {
        "users": ("users", plain),
        "reserved_bandwidth_hz": ("reserved", partial(si, unit="Hz")),
        "used_bandwidth_hz": ("used", partial(si, unit="Hz")),
        "demand_bandwidth_hz": ("demand", partial(si, unit="Hz")),
        "satisfaction": ("satisfaction", partial(shown, "satisfaction")),
    }
    there = {name: _slice_means(run, name) for name in wanted if run.optional("slices", name) is not None}
    names = list(next(iter(there.values()), {}))
    rows = [[name, *(wanted[column][1](means[name]) for column, means in there.items())] for name in names]
    return Table("Slices, mean over the run", ["slice", *(wanted[c][0] for c in there)], rows)


def _value_lead(run: Run) -> str:
    whole = run.summary.get("twin_value") or {}
    if not whole:
        return "The run was too short, or nothing was to be gained."
    return (
        f"Value {plain(whole['value'])} = fidelity {plain(whole['fidelity'])} + gain {plain(whole['gain'])} "
        f"{MINUS} cost {plain(whole['cost'])}, each with its weight. Without twins, in the same world, people would "
        f"have got {share(whole['satisfaction_unaided'])} of what they needed."
    )


def _value_table(run: Run) -> Table:
    names = (
        "first_slot",
        "value",
        "fidelity",
        "gain",
        "cost",
        "mean_age_s",
        "collected_bytes",
        "multiply_adds",
        "wall_s",
    )
    columns = run.columns("value", *names)
    rows = [
        [
            clock(first * run.slot_s),
            *(plain(part) for part in parts),
            si(age, "s"),
            si(got, "B"),
            si(work, ""),
            si(took, "s"),
        ]
        for first, *parts, age, got, work, took in zip(*columns, strict=True)
    ]
    titles = ["from", "value", "fidelity", "gain", "cost", "age", "reports", "multiply-adds", "computed in"]
    return Table("Value by window", titles, rows, wide=True)


def _twin_lead(run: Run) -> str:
    rows = [row for row in twins.attribute_means(run) if np.isfinite(row[1])]
    oldest = max(rows, key=lambda row: np.nan_to_num(row[2]))
    worst = rows[0]
    return (
        f"The twins follow {count(len(rows), 'attribute')}. Hardest to foretell was "
        f"{twins.attribute_title(worst[0])} (fidelity {share(worst[1])}); oldest on average was "
        f"{twins.attribute_title(oldest[0])} ({si(oldest[2], 's')})."
    )


def _collection_lead(run: Run) -> str:
    bits = twins.collected_by_kind(run)
    total = sum(bits.values())
    if not total:
        return "No report was collected."
    text = f"Reports cost {si(total, 'bit')} in all, {si(total / max(run.slots * run.slot_s, run.slot_s), 'bit/s')}"
    delivered = run.optional("users", "delivered_bits")
    if delivered is not None and np.nansum(delivered) > 0:
        text += f": one bit of report for {plain(float(np.nansum(delivered)) / total)} bits of video"
    fixed, lived = run.optional("collection", "periodic_bits"), run.optional("collection", "users_bits")
    if fixed is not None and lived is not None and np.nansum(fixed) > 0 and _adapts(run):
        saved = 1.0 - float(np.nansum(lived)) / float(np.nansum(fixed))
        word = "saved" if saved >= 0 else "cost on top"
        text += f". Against the periods that were asked for first, adapting {word} {share(abs(saved))} of users' bits"
    return text + "."


def _adapts(run: Run) -> bool:
    part = run.scenario.get("collection")
    return not (isinstance(part, Mapping) and part.get("method") == "periodic")


def _collection_table(run: Run) -> Table:
    bits = twins.collected_by_kind(run)
    total = sum(bits.values()) or 1.0
    rows = [[f"reports of {kind}", si(value, "bit"), share(value / total)] for kind, value in bits.items()]
    for name, label in (("reports", "reports in all"), ("late", "of these late")):
        values = run.optional("collection", name)
        if values is not None:
            rows.append([label, f"{int(np.nansum(values)):,}", ""])
    return Table("Cost by kind", ["what", "cost or number", "share of bits"], rows)


def _decision_lead(run: Run) -> str:
    outcome = decisions.outcomes(run)
    words = {"applied": "took effect", "pending": "still waited for an effect", "rolled_back": "rolled back",
             "kept": "left the standing decision in place"}  # fmt: skip
    parts = [f"{number:,} {word}" for key, word in words.items() if (number := int((outcome == key).sum()))]
    return (
        f"{count(len(outcome), 'decision')}: {enumerated(parts)}. Nothing reaches the network that was not tested in "
        "the twin."
    )


def _reason_table(run: Run) -> Table:
    found = decisions.reasons(run)
    totals = {scale: sum(r.count for r in found if r.scale == scale) for scale in {r.scale for r in found}}
    rows = [
        [reason.scale, reason.text or "no reason given", str(reason.code), f"{reason.count:,}",
         share(reason.count / totals[reason.scale]), clock(reason.first_s)]
        for reason in found[:14]
    ]  # fmt: skip
    note = f"{len(found) - 14} rarer verdicts are left out." if len(found) > 14 else ""
    return Table("Verdicts and their reasons", ["loop", "reason", "code", "count", "share", "first at"], rows, note, 2)


def _certificate_table(run: Run) -> Table:
    """What the window's method says of its own reservations; no rows where it says nothing."""
    slot, value, bound = run.columns("decisions", "slot", "reservation_value", "reservation_bound")
    rows = [
        [clock(at * run.slot_s), plain(float(worth)), plain(float(most)), plain(float(most - worth))]
        for at, worth, most in zip(slot, value, bound, strict=True)
        if np.isfinite(worth) and np.isfinite(most)
    ][:14]
    note = "In weighted satisfied users by the surrogate model; no reservation can be worth more than the bound."
    return Table("How good the reservations are", ["window at", "worth", "bound", "gap"], rows, note, 0)


def _infrastructure_lead(run: Run) -> str:
    parts = [
        f"Busiest {kind}: {name}, {share(value)} of its {what} in use on average"
        for kind, column, what in (("cell", "load", "bandwidth"), ("server", "utilisation", "cycles"))
        for name, value in _busiest(run, kind, column)
    ]
    return ". ".join(parts) + "." if parts else "Neither cells nor servers were recorded."


def _busiest(run: Run, kind: str, column: str) -> list[tuple[str, float]]:
    if run.optional(f"{kind}s", column) is None:
        return []
    identity, values = run.columns(f"{kind}s", kind, column)
    index, labels = groups(identity)
    means = mean_by(index, values, len(labels))
    top = int(np.argmax(np.nan_to_num(means, nan=-1.0)))
    return [(run.names(f"{kind}s", labels)[top], float(means[top]))]


def _viewing_lead(run: Run) -> str:
    (swipes,) = run.columns("users", "swipes")
    total = int(np.nansum(swipes))
    if not total:
        return "Nobody swiped in this run."
    minutes = len(swipes) * run.slot_s / 60
    text = f"People swiped {total:,} times, {total / minutes:.1f} times a user and minute."
    gaps = viewing.retention_rows(run) if run.has("retention") else []
    if gaps:
        worst = max(gaps, key=lambda row: row.gap)
        text += f" Simulated retention is at most {worst.gap:.3f} from the data's ({worst.name})."
    return text


def _retention_table(run: Run) -> Table:
    rows = [[row.name, f"{row.views:,}", f"{row.gap:.3f}"] for row in viewing.retention_rows(run)]
    return Table("Simulated against real retention", ["videos", "views simulated", "largest gap"], rows,
                 "The largest gap between two such curves is the Kolmogorov-Smirnov distance.")  # fmt: skip
