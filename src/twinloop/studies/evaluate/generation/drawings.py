"""Figures of generated against recorded series."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64, Int64

from twinloop.reporting import Curve, Panel, plot_curves, plot_maps, plot_scores
from twinloop.studies.evaluate.generation.prospects import Foreseen
from twinloop.studies.evaluate.generation.scores import Held, autocovariance
from twinloop.studies.evaluate.generation.verdicts import FITTED, HELD_OUT, prospect_dots
from twinloop.training import SCENE_WIDTH_M, Windows

if TYPE_CHECKING:
    from twinloop.reporting import Figure

Series = Float64[np.ndarray, "_ steps channels"]
_SHOWN = 2
_MBIT = 1e6


def draw_statistics(held: Held, beside: Mapping[str, Series]) -> "Figure":
    """Autocovariance and distribution of the log rate, held-out against everything beside it."""
    every = {HELD_OUT: held.series} | dict(beside)
    lags = np.arange(len(autocovariance(held, held.series)), dtype=np.float64)
    memory = [
        Curve(name.replace("_", " "), lags, autocovariance(held, one)[:, 0], name == HELD_OUT)
        for name, one in every.items()
    ]
    at = np.linspace(0.0, 1.0, 400)
    spread = [
        Curve(name.replace("_", " "), np.quantile(one[..., 0], at), 1.0 - at, name == HELD_OUT)
        for name, one in every.items()
    ]
    low = min(float(curve.x.min()) for curve in spread)
    shifted = [Curve(curve.name, curve.x - low, curve.y, curve.measured) for curve in spread]
    panels = [
        Panel("lag (s)", "autocovariance", tuple(memory), free_y=True),
        Panel("log rate above the lowest (deviations)", "share above", tuple(shifted)),
    ]
    return plot_curves(
        panels, "Log rate (in deviations) of held-out links, against fitted ones and what generators draw"
    )


def draw_series(unseen: Windows, made: Mapping[str, Series]) -> "Figure":
    """Rates of two windows of every class: recorded, and drawn by each generator for the same class."""
    time_s = np.arange(unseen.value.shape[1]) * unseen.step_s
    kinds = [kind for kind in range(len(unseen.classes)) if np.any(unseen.label == kind)]
    panels: list[Panel] = []
    for kind in kinds[:_SHOWN]:
        row = np.flatnonzero(unseen.label == kind)[0]
        for name, values in {HELD_OUT: unseen.value, **made}.items():
            curve = Curve(name, time_s, values[row, :, 0] / _MBIT, name == HELD_OUT)
            title = f"{unseen.classes[kind]}: {name.replace('_', ' ')}"
            panels.append(Panel("time (s)", "rate (Mbit/s)", (curve,), title=title, free_y=True))
    return plot_curves(panels, "One window of each source, each on its own scale of rate")


def draw_prospects(lived: Mapping[str, Mapping[str, Foreseen]], what: str) -> "Figure":
    """Mean satisfaction and the interval of 90 % of environments, by decision and source."""
    return plot_scores(prospect_dots(lived), f"What decisions bring: mean, and the interval of 90 % of {what}")


def draw_maps(
    classes: tuple[str, ...], label: Int64[np.ndarray, " scenes"], density: Mapping[str, Float64[np.ndarray, "_ _"]]
) -> "Figure":
    """Mean people by tile, one row a class, one column a source."""
    side = round(density[HELD_OUT].shape[1] ** 0.5)
    mean = {
        f"{kind}: {name}": one[label == number].mean(axis=0).reshape(side, side)
        for number, kind in enumerate(classes)
        for name, one in density.items()
        if name != FITTED
    }
    return plot_maps(
        mean, "Mean scene of each class", len(density) - 1, width_km=SCENE_WIDTH_M / 1e3, label="people in a tile"
    )
