"""The page of a comparison: who was better, by how much, how surely, how far from the bound, what the twins gave."""

import json
from functools import partial
from pathlib import Path

import numpy as np

from twinloop.errors import OutputError
from twinloop.reporting.chapters.compared_experience import experience_section, felt, followed
from twinloop.reporting.comparison import (
    Comparison,
    Difference,
    difference_text,
    interval,
    open_comparison,
    readable,
    with_half,
)
from twinloop.reporting.figures.comparison import plot_differences, plot_metric, plot_seeds, plot_tradeoff
from twinloop.reporting.page import Folder, Section, Table, Tile, writable
from twinloop.reporting.wording import NO_NUMBER, count, duration, metric, plain, share, shown

_LEAD_METRIC = "satisfaction"
_TELLING = (
    *("ela_share", "ela_ratio", "qoe_median"),
    *("satisfaction", "rebuffer_ratio", "mean_quality", "resource_use", "resource_per_satisfaction"),
)


def write_comparison(directory: Path | str) -> Path:
    """Draw the figures of a `compare.json` into `figures/` beside it and write `report.html`; returns the page's path.

    Raises OutputError when there is no usable comparison or the directory cannot be written.
    """
    comparison = open_comparison(Path(directory))
    folder = writable(comparison.directory)
    sections = [_verdict_section(comparison, folder), _metric_section(comparison, folder)]
    if followed(comparison):
        sections.insert(1, experience_section(comparison, folder))
    if comparison.controls:
        sections.append(_control_section(comparison))
    raw = json.loads((comparison.directory / "compare.json").read_text(encoding="utf-8"))
    return folder.write(
        "report.html",
        "comparison.html.j2",
        title=f"{comparison.scenario}: {count(len(comparison.policies), 'policy', 'policies')} compared",
        subtitle=_subtitle(comparison),
        story=story(comparison),
        notices=_notices(comparison),
        tiles=_tiles(comparison),
        sections=sections,
        raw_text=json.dumps(raw, indent=1),
        metrics=[known for name in comparison.metrics() if (known := metric(name)).meaning],
    )


def story(comparison: Comparison) -> str:
    """Who won, in a few plain sentences."""
    try:
        best = comparison.best(_LEAD_METRIC)
    except OutputError as error:
        return f"{str(error)[:1].upper()}{str(error)[1:]}."
    mean = interval(comparison.policies[best][_LEAD_METRIC]).mean
    told = [f"{readable(best)} gave people the most of what they needed: {share(mean)} on average over "
            f"{count(len(comparison.seeds), 'seed')}."]  # fmt: skip
    found = [d for other in comparison.policies if other != best
             if (d := comparison.difference(best, other, _LEAD_METRIC)) is not None]  # fmt: skip
    surely = [d for d in found if d.side > 0]
    if surely:
        told.append("That is " + "; ".join(f"{difference_text(d)} over {readable(d.b)}" for d in surely) + ".")
    unsure = [readable(d.b) for d in found if not d.clear and np.isfinite(d.low)]
    if unsure:
        told.append(f"Against {' and '.join(unsure)} no difference is shown.")
    told += felt(comparison)
    bound = comparison.bound.get(_LEAD_METRIC)
    if bound is not None and np.isfinite(bound).any():
        first = readable(next(iter(comparison.policies)))
        most = share(interval(bound).mean)
        told.append(f"In the channels and needs that {first} met, nobody could have given more than {most}.")
    return " ".join(told)


def _subtitle(comparison: Comparison) -> str:
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    length = f" · {duration(comparison.duration_s)} each" if comparison.duration_s else ""
    return f"{'Seed' if len(comparison.seeds) == 1 else 'Seeds'} {seeds}{length}"


def _notices(comparison: Comparison) -> list[str]:
    notices: list[str] = []
    if len(comparison.seeds) == 1:
        notices.append(
            "One seed gives no interval: nothing here can be told from chance. Compare with --seeds 5 or more."
        )
    failed = {
        readable(policy): missing
        for policy, results in comparison.policies.items()
        if (missing := max((int(np.isnan(values).sum()) for values in results.values()), default=0))
    }
    notices += [f"{policy}: {count(missing, 'seed')} without a result." for policy, missing in failed.items()]
    return notices


def _tiles(comparison: Comparison) -> list[Tile]:
    tiles: list[Tile] = []
    headlines = ((_LEAD_METRIC, "most satisfied"), ("resource_use", "fewest resources"))
    by_experience = (("ela_share", "most agreements kept"), ("qoe_median", "best median experience"))
    for name, words in (*by_experience, *headlines):
        try:
            best = comparison.best(name)
        except OutputError:
            continue
        values = comparison.policies[best][name]
        tiles.append(Tile(words.capitalize(), shown(name, interval(values).mean), readable(best), primary=True))
    bound, room = comparison.bound.get(_LEAD_METRIC), len(tiles) <= len(headlines)
    if bound is not None and np.isfinite(bound).any():
        tiles.append(
            Tile("Clairvoyant bound", share(interval(bound).mean), "same objective, the future known, relaxed", room)
        )
    if np.isfinite(comparison.load_factor).any():
        load = comparison.load_factor[np.isfinite(comparison.load_factor)]
        spread = "demand over capacity"
        if len(load) > 1:
            spread += f"; {plain(float(load.min()))} to {plain(float(load.max()))} over seeds"
        tiles.append(Tile("Load factor", plain(float(load.mean())), spread, room))
    return tiles


def _verdict_section(comparison: Comparison, folder: Folder) -> Section:
    lead = (
        "Every policy met the same people, walks and channels, seed by seed, so differences are taken within a seed. "
        "A verdict is given where the 95 % interval of the paired difference excludes 0."
    )
    views = [
        folder.view("differences", partial(plot_differences, comparison),
                    "An interval that crosses the zero line shows no difference.", wide=True),
        folder.view("tradeoff", partial(plot_tradeoff, comparison),
                    "Up and to the left is better: more satisfaction from fewer resources."),
        folder.view("seeds", partial(plot_seeds, comparison), "Better on every seed is better indeed."),
    ]  # fmt: skip
    telling = [d for d in comparison.differences if d.metric in _TELLING]
    others = [d for d in comparison.differences if d.metric not in _TELLING]
    tables = [
        _difference_table("Paired differences", telling),
        _difference_table("Differences in all other metrics", others),
    ]
    return Section("verdicts", "Who was better", lead, views, [table for table in tables if table.rows])


def _difference_table(title: str, differences: list[Difference]) -> Table:
    rows = [
        [readable(d.a), readable(d.b), metric(d.metric).title.lower(), difference_text(d), d.verdict()]
        for d in differences
    ]
    note = "Mean of first minus second, with the 95 % interval over seeds in brackets."
    heads = ["first", "second", "metric", "difference", "verdict"]
    return Table(title, heads, rows, note, 5, wide=True, folded="other" in title)


def _metric_section(comparison: Comparison, folder: Folder) -> Section:
    lead = (
        "Dots are seeds, diamonds their means, bars 95 % intervals of the mean over seeds. They overlap more than "
        "paired differences do, because what differs between seeds is still in them."
    )
    views = [
        folder.view(f"metric_{name}", partial(plot_metric, comparison, name),
                    f"{metric(name).meaning[:1].upper()}{metric(name).meaning[1:]}." if metric(name).meaning else "")
        for name in comparison.metrics() if name != "load_factor"
    ]  # fmt: skip
    return Section("metrics", "Metric by metric", lead, views, [_mean_table(comparison)])


def _mean_table(comparison: Comparison) -> Table:
    names = comparison.metrics()[:8]
    rows = [
        [readable(policy), *(with_half(name, results.get(name)) for name in names)]
        for policy, results in comparison.policies.items()
    ]
    if comparison.bound:
        rows.append(["clairvoyant bound", *(with_half(name, comparison.bound.get(name)) for name in names)])
    note = "Mean over seeds ± half of its 95 % interval."
    return Table("Means", ["policy", *(metric(name).title.lower() for name in names)], rows, note, wide=True)


def _control_section(comparison: Comparison) -> Section:
    best = next(iter(comparison.policies))
    lead = (
        f"In a control, {readable(best)} decides from twins that are wrong on purpose: shuffled twins describe "
        "somebody else, frozen twins stop learning. If the twins matter, a control must lose what they gained."
    )
    tables = [_control_table(comparison, best, _LEAD_METRIC)]
    if "ela_share" in comparison.policies[best]:
        tables.append(_control_table(comparison, best, "ela_share"))
    return Section("controls", "Negative controls", lead, [], tables)


def _control_table(comparison: Comparison, best: str, name: str) -> Table:
    rows = [_control_row(comparison, best, control, name) for control in comparison.controls]
    title = metric(name).title
    names = ["control", title.lower(), f"against {readable(best)}", "what it shows"]
    note = "The difference is taken within each seed, with its 95 % interval in brackets."
    return Table(f"Twins made wrong on purpose: {title.lower()}", names, rows, note, 4, wide=True)


def _control_row(comparison: Comparison, best: str, control: str, name: str) -> list[str]:
    values = comparison.controls[control].get(name)
    if values is None or not np.isfinite(values).any():
        return [readable(control), NO_NUMBER, NO_NUMBER, "no result"]
    found = comparison.difference(control, best, name)
    if found is None:
        gap = interval(values - comparison.policies[best][name])
        found = Difference(control, best, name, gap.mean, gap.low, gap.high)
    words = {
        -1: "loses: true twins matter here",
        1: "gains: the twins did harm here",
        0: "no loss shown: the gain is not the twins'",
    }
    shows = words[found.side] if np.isfinite([found.low, found.high]).all() else "one seed: no verdict"
    return [readable(control), shown(name, interval(values).mean), difference_text(found), shows]
