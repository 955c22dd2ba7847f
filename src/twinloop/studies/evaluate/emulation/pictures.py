"""Pictures of a judgement of emulators: bands on an unseen stretch, scores by model, coverage by nominal level."""

from collections.abc import Callable
from functools import partial

import numpy as np

from twinloop.learning import LEVELS
from twinloop.reporting import Band, Curve, Dots, Figure, Panel, plot_curves, plot_forecast_bands, plot_scores
from twinloop.studies.evaluate.emulation.folds import DEFAULT, SCALED, Judged, Stretch
from twinloop.studies.evaluate.emulation.scoring import NOMINAL
from twinloop.studies.evaluate.judgement import Row
from twinloop.training import Samples

_SHOWN_STEPS = 160


def pictures(
    samples: Samples, judged: Judged, rows: tuple[Row, ...], best: list[str]
) -> dict[str, Callable[[], Figure]]:
    """Figures by file name; `best` names the baseline of lowest CRPS by horizon."""
    stem = f"emulation_{samples.source.name}"
    return {
        f"{stem}_bands.png": partial(_bands, samples, judged),
        f"{stem}_scores.png": partial(_scores, samples, rows),
        f"{stem}_reliability.png": partial(_reliability, samples, judged, best),
    }


def _bands(samples: Samples, judged: Judged) -> Figure:
    """The file of median CRPS, its middle; the truth stands at the time it came, beside what had been forecast."""
    stretch = _typical(judged)
    known = np.flatnonzero(stretch.counted.any(axis=-1))
    middle = (known[0] + known[-1]) // 2
    first = max(int(known[0]), middle - _SHOWN_STEPS // 2)
    steps = np.arange(first, min(first + _SHOWN_STEPS, int(known[-1]) + 1))
    factor, unit = _unit(samples, stretch)
    shown = (0, len(samples.horizons) - 1) if len(samples.horizons) > 1 else (0,)
    bands = [_band(samples, stretch, steps, horizon, factor) for horizon in shown]
    time = f"time ({_time_unit(samples.source.step_s * len(steps))[1]})"
    title = f"Default emulator on {stretch.file}, unseen ({samples.source.name})"
    return plot_forecast_bands(bands, title, time, f"{samples.source.attribute.rsplit('_', 1)[0]} ({unit})")


def _typical(judged: Judged) -> Stretch:
    crps = np.nanmean(judged.scores[DEFAULT].crps, axis=1)
    usable = [stretch for stretch in judged.stretches if stretch.counted.any()]
    score = np.array([crps[stretch.number] for stretch in usable])
    return usable[int(np.argsort(score)[len(score) // 2])]


def _unit(samples: Samples, stretch: Stretch) -> tuple[float, str]:
    unit = samples.source.unit
    largest = np.abs(stretch.truth[stretch.counted]).max()
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit[:3] in ("bit", "byt") and largest >= factor:
            return factor, prefix + unit
    return 1.0, unit


def _time_unit(longest_s: float) -> tuple[float, str]:
    """Seconds in the largest unit of which `longest_s` seconds are five or more, and its name."""
    units = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
    return next(((size, name) for size, name in units if longest_s >= 5 * size), (1.0, "s"))


def _band(samples: Samples, stretch: Stretch, steps: np.ndarray, horizon: int, factor: float) -> Band:
    """Forecasts of `steps`, made `horizons[horizon]` steps before each."""
    ahead = samples.horizons[horizon]
    made = np.maximum(steps - ahead, 0)
    counted = stretch.counted[made, horizon] & (steps >= ahead)
    quantiles = np.where(counted[:, None], stretch.quantiles[made, horizon], np.nan) / factor
    truth = np.where(counted, stretch.truth[made, horizon], np.nan) / factor
    x = (steps - steps[0]) * samples.source.step_s / _time_unit(samples.source.step_s * len(steps))[0]
    at = [quantiles[:, LEVELS.index(level)] for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
    before_s = ahead * samples.source.step_s
    unit_s, unit = _time_unit(before_s)
    title = f"forecast {ahead} step{'s' if ahead > 1 else ''} before ({before_s / unit_s:g} {unit})"
    return Band(title, x, truth, at[2], (at[1], at[3]), (at[0], at[4]))


def _scores(samples: Samples, rows: tuple[Row, ...]) -> Figure:
    shown: list[Dots] = []
    shown_models = _comparable(rows)
    picked = sorted({samples.horizons[0], samples.horizons[-1]})
    for metric in ("RMSE / std", "CRPS / std"):
        for horizon in picked:
            own = [row for row in rows if row.names[0] == str(horizon) and row.names[1] in shown_models]
            values = {row.names[1]: _ends(row, metric) for row in own}
            label = f"{metric}, {horizon} step{'s' if horizon > 1 else ''}"
            shown.append(Dots(label, values, {row.names[1]: row.role for row in own}))
    return plot_scores(
        shown, f"Every model on unseen files of {samples.source.name} (less is better; above twice the best not shown)"
    )


def _comparable(rows: tuple[Row, ...]) -> set[str]:
    """Models whose error at the first horizon is at most twice the lowest, each with one kind of interval."""
    first = [row for row in rows if row.names[0] == rows[0].names[0] and SCALED not in row.names[1]]
    least = min(row.values["RMSE / std"].value for row in first)
    return {row.names[1] for row in first if row.values["RMSE / std"].value <= 2 * least}


def _ends(row: Row, metric: str) -> tuple[float, float, float]:
    figure = row.values[metric]
    low = figure.value if figure.low is None else figure.low
    return figure.value, low, figure.value if figure.high is None else figure.high


def _reliability(samples: Samples, judged: Judged, best: list[str]) -> Figure:
    nominal = np.asarray(NOMINAL)
    shown: list[Panel] = []
    for horizon, ahead in enumerate(samples.horizons):
        curves = [Curve("as it says", np.array([0.0, 1.0]), np.array([0.0, 1.0]), measured=True)]
        for label, name in ((DEFAULT, DEFAULT), ("best baseline", best[horizon])):
            inside = np.nanmean(judged.scores[name].inside[:, horizon], axis=0)
            curves.append(Curve(label, nominal, inside))
        title = f"{ahead} step{'s' if ahead > 1 else ''} ahead"
        shown.append(Panel("nominal share", "share of truths inside", tuple(curves), title=title))
    return plot_curves(shown, f"How often central intervals hold the truth, unseen files of {samples.source.name}")
