"""The chapters on orders of slices and their answers, and on users whose models were examined again."""

from collections.abc import Mapping
from typing import Any

from twinloop.reporting.page import Folder, Section, Table, guarded, tabled
from twinloop.reporting.run import Run
from twinloop.reporting.wording import NO_NUMBER, clock, count, plain, share, si

_MOST_SHOWN = 20
_WHAT = {"create": "a new slice", "adjust": "more for a slice", "end": "the end of a slice"}


def order_section(run: Run, folder: Folder) -> Section:
    """What was ordered, and what the twins answered."""
    return Section("orders", "Orders of slices", guarded(lambda: _order_lead(run)), (), [_order_table(run)])


def revision_section(run: Run, folder: Folder) -> Section:
    """Whose surroundings moved, and what became of the models."""
    lead = guarded(lambda: _revision_lead(run))
    return Section("revisions", "Models examined again", lead, (), tabled(lambda: _revision_table(run)))


def orders(run: Run) -> list[Mapping[str, Any]]:
    """Every order with its answer, in the order of time; empty where nothing was ordered or nobody judged it."""
    return list(run.summary.get("orders") or [])


def _order_lead(run: Run) -> str:
    answers = [str(order["answer"]) for order in orders(run)]
    text = (
        f"{count(len(answers), 'order')}: {answers.count('admitted')} admitted, {answers.count('refused')} refused. An "
        "order is admitted only where the twins, living the next seconds with and without it, expect no agreement to "
        "break that would hold without it."
    )
    idle = answers.count("left out")
    return text + (f" Left out, since an answer before had made them idle: {idle}." if idle else "")


def _order_table(run: Run) -> Table:
    rows = [
        [
            clock(float(order["slot"]) * run.slot_s),
            str(order["slice"]).replace("_", " "),
            _WHAT.get(str(order["change"]), str(order["change"])),
            _promise(float(order["target_bps"]), float(order["floor_share"])),
            str(order["answer"]),
            str(order["reason"]).partition(": ")[2].partition("; ")[0],
            _promise(float(order["offer_bps"]), float(order["offer_floor_share"]))
            if order["answer"] == "refused"
            else "",
        ]
        for order in orders(run)
    ]
    heads = ["at", "slice", "order", "asked for", "answer", "reason", "what would fit"]
    note = "A rate is that of each user, a floor the share of every cell, server and cache that is the slice's own."
    return Table("Orders and answers", heads, rows, note, len(heads), wide=True)


def _promise(target_bps: float, floor_share: float) -> str:
    return f"{si(target_bps, 'bit/s')}, floor {share(floor_share)}" if target_bps > 0 else NO_NUMBER


def _revision_lead(run: Run) -> str:
    told: Mapping[str, int] = run.summary.get("revisions") or {}
    if not told.get("examinations"):
        return "Nobody's swiping or speed moved by more than chance, so no model was examined again."
    number = {name: int(told[name]) for name in ("structures", "entered", "left")}
    return (
        f"Swiping or speed of {count(int(told['users']), 'user')} moved by more than chance "
        f"({count(int(told['examinations']), 'examination')}). Since they were last examined, {number['structures']} "
        f"of these found another structure likeliest, {number['entered']} a factor not shown to matter before, and "
        f"{number['left']} no longer showed one."
    )


def _revision_table(run: Run) -> Table:
    names = ("slot", "user", "behaviour_shift", "environment_shift", "entered", "left", "structure_before",
             "structure_after")  # fmt: skip
    found = list(zip(*run.columns("revisions", *names), strict=True))
    rows = [
        [clock(float(slot) * run.slot_s), str(user), plain(float(swipes)), plain(float(speed)), str(entered), str(left),
         str(before), str(after) if after != before else "the same"]
        for slot, user, swipes, speed, entered, left, before, after in found[:_MOST_SHOWN]
    ]  # fmt: skip
    note = "Shifts of B and C in standard deviations of a minute. Weights before and after stand in revisions.parquet."
    if len(found) > _MOST_SHOWN:
        note += f" {len(found) - _MOST_SHOWN} later ones are left out."
    heads = [
        "at",
        "user",
        "swipes moved by",
        "speed moved by",
        "factor entered",
        "factor left",
        "model before",
        "after",
    ]
    return Table("Who was examined again", heads, rows, note, 2, wide=True)
