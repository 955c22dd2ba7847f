"""The chapter on what twins foretold that users need, and what slices were offered for it."""

from functools import partial

import numpy as np

from twinloop.reporting.figures.opinion import needs
from twinloop.reporting.page import Folder, Section, Table, guarded, tabled
from twinloop.reporting.run import Run
from twinloop.reporting.wording import NO_NUMBER, clock, count, plain, share, si


def demand_section(run: Run, folder: Folder) -> Section:
    """Users' demand before every window, and what binds."""
    views = [
        folder.view("demand_foreseen", partial(needs.plot_foreseen, run),
                    "Foreseen: what users take at prices that clear the cells, over all prospects; the band adds up "
                    "the cells' own quantiles."),
        folder.view("demand_binding", partial(needs.plot_binding, run),
                    "By user: the cheapest mix of bandwidth, cycles, cache and reports that keeps the agreement, or "
                    "the resource whose largest share does not. Experience: no service at all would."),
    ]  # fmt: skip
    return Section("demand", "What users need", guarded(lambda: _lead(run)), views, tabled(lambda: _latest(run)))


def _lead(run: Run) -> str:
    slot, feasible, binding = run.columns("needs", "slot", "feasible", "binding")
    (by_game, gap) = run.columns("foreseen", "by_game", "game_gap")
    windows = len(np.unique(slot))
    kept = float(np.mean(feasible))
    text = (
        f"Before each of {count(windows, 'decision')} on slices the twins foretold what every user's agreement takes. "
        f"{share(kept)} of these forecasts found a mix that keeps it"
    )
    lacking = binding[~feasible.astype(bool)].astype(str)
    if len(lacking):
        names, number = np.unique(lacking, return_counts=True)
        order = np.argsort(-number, kind="stable")
        why = ", ".join(f"{names[at]} ({number[at]})" for at in order)
        text += f"; where none does, what binds is {why}"
    return text + (
        f". In the game of slices nobody gains alone more than {plain(float(gap.max()))} of what it is worth to it; "
        f"its equilibrium was proposed in {share(float(np.mean(by_game)))} of the decisions."
    )


def _latest(run: Run) -> Table:
    amounts = ("bandwidth_hz", "cycles_per_s", "cache_bytes", "reports_per_s")
    names: tuple[str, ...] = ("slot", "slice", *amounts, "experience", "feasible")
    columns = dict(zip(names, run.columns("needs", *names), strict=True))
    last = columns["slot"] == columns["slot"].max()
    rows: list[list[str]] = []
    for identity in np.unique(columns["slice"][last]):
        mine = last & (columns["slice"] == identity)
        kept = mine & columns["feasible"].astype(bool)
        held = [
            si(float(columns[name][kept].mean()), unit) if kept.any() else NO_NUMBER
            for name, unit in zip(amounts, ("Hz", "cycle/s", "B", "/s"), strict=True)
        ]
        rows.append([run.names("slices", [identity])[0], f"{mine.sum():,}", f"{kept.sum():,}", *held,
                     f"{columns['experience'][mine].mean():.2f}"])  # fmt: skip
    heads = ["slice", "users", "can be kept", "bandwidth", "cycles", "cache", "reports", "foretold E"]
    moment = clock(float(columns["slot"].max()) * run.slot_s)
    note = (
        "Means over users whose agreement can be kept; foretold E: over all. Every user and decision stands in "
        "needs.parquet, sums by cell and slice in foreseen.parquet."
    )
    return Table(f"Demand by slice at the last decision, {moment}", heads, rows, note, wide=True)
