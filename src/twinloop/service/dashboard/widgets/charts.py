"""Courses over time: what was reported, what is foretold with its band."""

from collections.abc import Sequence
from typing import Any

from nicegui import ui
from nicegui.element import Element

INK, MUTED, LINE, ACCENT, SECOND = "var(--ink)", "var(--muted)", "var(--line)", "var(--accent)", "var(--second)"
FONT = "DejaVu Sans, Noto Sans, Segoe UI, system-ui, sans-serif"
Point = tuple[float, float | None]


class Trend(Element):
    """One attribute over time, local clock below; a band where something is foretold."""

    def __init__(self, label: str) -> None:
        super().__init__("div")
        self.classes("tl-chart").props("role=img")
        self.props["aria-label"] = label
        with self:
            self._chart = ui.echart(_options(), renderer="svg").classes("tl-chart-body")
        self._drawn: tuple[object, ...] = ()

    def draw(
        self,
        unit: str,
        known: Sequence[Point],
        foretold: Sequence[Point] = (),
        band: Sequence[tuple[float, float, float]] = (),
    ) -> None:
        """Draws (epoch seconds, value) pairs; `band` holds (epoch seconds, low, high) of nine cases in ten."""
        drawn = (unit, tuple(known), tuple(foretold), tuple(band))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        options = self._chart.options
        options["yAxis"]["name"] = "" if unit == "1" else unit
        options["series"][0]["data"] = _milliseconds(known)
        options["series"][1]["data"] = _milliseconds(foretold)
        options["series"][2]["data"] = _milliseconds([(at, low) for at, low, _ in band])
        options["series"][3]["data"] = _milliseconds([(at, high - low) for at, low, high in band])
        self._chart.update()


def _milliseconds(points: Sequence[Point]) -> list[list[float | None]]:
    return [[at * 1000, value] for at, value in points]


def _options() -> dict[str, Any]:
    line: dict[str, Any] = {"type": "line", "symbol": "none", "data": [], "lineStyle": {"width": 2}}
    hidden: dict[str, Any] = {"type": "line", "symbol": "none", "data": [], "lineStyle": {"width": 0}}
    hidden |= {"stack": "band", "stackStrategy": "all"}
    axis: dict[str, Any] = {
        "axisLabel": {"color": MUTED, "fontSize": 12, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": LINE}},
        "splitLine": {"lineStyle": {"color": LINE}},
        "nameTextStyle": {"color": MUTED, "align": "right"},
    }
    ends = {**axis["axisLabel"], "alignMinLabel": "left", "alignMaxLabel": "right"}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 28, "containLabel": True},
        "textStyle": {"fontFamily": FONT},
        "legend": {
            "top": 0,
            "right": 8,
            "icon": "roundRect",
            "itemGap": 18,
            "textStyle": {"color": INK, "fontFamily": FONT},
            "data": ["reported", "foretold"],
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": {**axis, "type": "time", "splitLine": {"show": False}, "axisLabel": ends},
        "yAxis": {**axis, "type": "value", "scale": True},
        "series": [
            {**line, "name": "reported", "color": ACCENT, "connectNulls": False},
            {**line, "name": "foretold", "color": SECOND, "lineStyle": {"width": 2, "type": "dashed"}},
            {**hidden, "name": "from", "tooltip": {"show": False}},
            {**hidden, "name": "nine in ten", "areaStyle": {"color": SECOND, "opacity": 0.22}},
        ],
    }
