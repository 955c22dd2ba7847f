"""Figures of the drift study, from plain results."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from twinloop.reporting import Curve, Figure, Panel, plot_curves
from twinloop.studies.evaluate.drift.beside import Beside
from twinloop.studies.evaluate.drift.calendar_drift import Drifted
from twinloop.studies.evaluate.drift.detecting import Detected
from twinloop.studies.evaluate.drift.operating import CHANGE, RETURN, Course
from twinloop.studies.evaluate.drift.sizing import SIZES, Sizing
from twinloop.studies.evaluate.drift.transferring import STARTS, Newcomers
from twinloop.training import JOULE_PER_MULTIPLY_ADD

_SMOOTH = 8
_SHOWN = {"drift": "alarm", "promoted": "new model", "rolled back": "rolled back", "refused": "refused"}
_CALENDAR_SMOOTH = 25


def draw_courses(worlds: Mapping[str, Mapping[str, Sequence[Course]]]) -> Figure:
    """Error of the serving model around the drift, one panel a world: the first seed, with what upkeep did marked."""
    shown: list[Panel] = []
    for name, courses in worlds.items():
        curves = tuple(_smoothed(way, several[0].error, _SMOOTH) for way, several in courses.items())
        ours = next(one[0] for way, one in courses.items() if way != "frozen")
        marks = [(float(CHANGE), "world changes"), (float(RETURN), "and back")]
        marks += [(float(event.slot), _SHOWN[event.kind]) for event in ours.events if event.kind in _SHOWN]
        shown.append(Panel("slot", "error", curves, name, free_y=True, marks=tuple(sorted(marks))))
    return plot_curves(shown, "Running error of the serving model (mean of 8 slots); marks: the first update strategy")


def draw_detectors(found: Detected) -> Figure:
    """Delay against false alarms: for each detector the best of the settings tried at each rate of false alarms."""
    curves: list[Curve] = []
    for name, tried in found.tradeoff.items():
        front = _front(tried)
        curves.append(Curve(name, np.maximum(front[:, 0], 0.02), front[:, 1]))
    panel = Panel(
        "false alarms in 1,000 slots", "mean delay (slots)", tuple(curves), log_x=True, log_y=True, dotted=True
    )
    return plot_curves([panel], "Detection delay against false alarms")


def _front(tried: Float64[np.ndarray, "settings 2"]) -> Float64[np.ndarray, "kept 2"]:
    """Settings that no other one beats in both, from few false alarms to many."""
    ordered = tried[np.lexsort((tried[:, 1], tried[:, 0]))]
    kept = ordered[:, 1] <= np.minimum.accumulate(ordered[:, 1])
    return ordered[kept]


def draw_sizes(found: Sequence[Sizing]) -> Figure:
    """Error against energy: fixed sizes, a random mix, and the chooser over prices of energy."""
    shown: list[Panel] = []
    for one in found:

        def curve(name: str, ways: Sequence[str], one: Sizing = one) -> Curve:
            energy = np.array([1e9 * JOULE_PER_MULTIPLY_ADD * one.multiply_adds[way] for way in ways])
            order = np.argsort(energy)
            return Curve(name, energy[order], np.array([one.mean(way) for way in ways])[order])

        curves = (
            curve("always one size", [f"always {size}" for size in SIZES]),
            curve("chosen by entity", [way for way in one.error if way.startswith("chosen, price")]),
            curve("random mix, same shares", ["random mix, same shares"]),
        )
        labels = ("energy an inference (nJ)", "MSE / variance")
        shown.append(Panel(*labels, curves, one.name, log_x=True, free_y=True, dotted=True))
    return plot_curves(shown, "Adaptive inference: error against energy")


def draw_transfer(found: Sequence[Newcomers]) -> Figure:
    """Error of new users' models against how much of them is known, by where the model starts."""
    shown = [
        Panel(
            "known of the user (s)",
            "RMSE / std on what follows",
            tuple(
                Curve(start, np.array(one.known_s, float), np.sqrt(one.error[start]).mean(axis=1)) for start in STARTS
            ),
            one.name,
            free_y=True,
            dotted=True,
        )
        for one in found
    ]
    return plot_curves(shown, "New users: where a model starts, and how far it comes")


def draw_slots(found: Beside) -> Figure:
    """Share of slots that took longer than a time, alone and beside training."""
    curves = tuple(Curve.exceeding(way, 1e3 * times) for way, times in found.slot_s.items())
    marks = ((1e3 * found.deadline_s, "deadline"),)
    panel = Panel("time of a slot (ms)", "share of slots that took longer", curves, marks=marks)
    return plot_curves([panel], "Slots of the campus loop beside training")


def draw_calendar(both: Sequence[Drifted]) -> Figure:
    """Running error over the calendar, a panel for each way to see a series; marks where another application begins."""
    shown = [_calendar_panel(drifted) for drifted in both]
    return plot_curves(shown, "Irish 5G by date; upright lines: another application begins")


def _calendar_panel(drifted: Drifted) -> Panel:
    calendar = drifted.calendar
    curves = tuple(_smoothed(way, error, _CALENDAR_SMOOTH) for way, error in drifted.error.items())
    application = [calendar.regimes[row].split(",")[0] for row in calendar.file]
    begins = [slot for slot in range(1, len(application)) if application[slot] != application[slot - 1]]
    marks = tuple((float(slot), "") for slot in begins)
    return Panel("slot of 80 s, by date", "MSE / variance", curves, calendar.name, log_y=True, free_y=True, marks=marks)


def _smoothed(name: str, error: Float64[np.ndarray, " slots"], window: int) -> Curve:
    total = np.cumsum(np.concatenate([[0.0], error]))
    mean = (total[window:] - total[:-window]) / window
    return Curve(name, np.arange(window - 1, len(error), dtype=np.float64), mean)
