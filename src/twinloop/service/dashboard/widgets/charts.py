"""Courses over time: lines by name, a band where something is foretold, a limit that must not be passed."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from nicegui.element import Element

INK, MUTED, LINE, CARD = "var(--ink)", "var(--muted)", "var(--line)", "var(--card)"
FONT = "DejaVu Sans, Noto Sans, Segoe UI, system-ui, sans-serif"
COLOURS = ("var(--accent)", "var(--k2)", "var(--second)")
"""Of lines, in their order; a band has the last one's."""
BAND = "nine in ten"
_LOW = "from"
_TOLD = """(lines) => {
    const say = (value) => value === null || value === undefined ? "\\u2013" : String(Number(value.toPrecision(4)));
    const of = (name) => lines.find((line) => line.seriesName === name)?.value[1] ?? null;
    const low = of("from"), told = [new Date(lines[0].value[0]).toLocaleTimeString()];
    for (const line of lines) {
        if (line.seriesName === "from") continue;
        const high = line.seriesName === "nine in ten" && low !== null ? low + line.value[1] : null;
        const value = high === null ? say(line.value[1]) : `${say(low)} to ${say(high)}`;
        told.push(`${line.marker}${line.seriesName}: <b>${value}</b>`);
    }
    return told.join("<br>");
}"""
_STROKE = "path://M0 0h20v3h-20z"
_BANDED: dict[str, Any] = {"name": BAND, "icon": "roundRect", "itemStyle": {"opacity": 0.35}}
Point = tuple[float, float | None]


class Trend(Element):
    """Lines over time, the local clock below. The last line may be `banded`; where there is a `limit`, so called, it is
    drawn across and values are drawn from 0.
    """

    def __init__(self, label: str, lines: Sequence[str], *, banded: bool = False, limit: str = "") -> None:
        super().__init__("div")
        self._lines = tuple(lines)
        self.classes("tl-chart").props("role=img")
        self.props["aria-label"] = label
        with self:
            self._chart = ui.echart(_options(self._lines, banded, limit), renderer="svg").classes("tl-chart-body")
        self._drawn: object = None

    def draw(
        self,
        axis: str,
        lines: Mapping[str, Sequence[Point]],
        band: Sequence[tuple[float, float, float]] = (),
        limit: float | None = None,
    ) -> None:
        """Draws (epoch seconds, value) pairs by line; `band` holds (epoch seconds, low, high) of nine cases in ten.
        `axis` names what is drawn, with its unit.
        """
        drawn = (axis, {name: tuple(lines.get(name, ())) for name in self._lines}, tuple(band), limit)
        if drawn == self._drawn:
            return
        self._drawn = drawn
        options = self._chart.options
        options["yAxis"]["name"] = axis
        if limit is not None:
            options["series"][0]["markLine"]["data"] = [{"yAxis": limit}]
            highest = max((value for _, value in lines[self._lines[0]] if value is not None), default=0.0)
            options["yAxis"]["max"] = 1.25 * max(limit, highest)
        for series in options["series"]:
            if series["name"] in self._lines:
                series["data"] = _milliseconds(lines.get(series["name"], ()))
            elif series["name"] == _LOW:
                series["data"] = _milliseconds([(at, low) for at, low, _ in band])
            elif series["name"] == BAND:
                series["data"] = _milliseconds([(at, high - low) for at, low, high in band])
        self._chart.update()


def _milliseconds(points: Sequence[Point]) -> list[list[float | None]]:
    return [[at * 1000, value] for at, value in points]


def _options(names: Sequence[str], banded: bool, limit: str) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "axisLabel": {"color": MUTED, "fontSize": 12, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": LINE}},
        "splitLine": {"lineStyle": {"color": LINE}},
    }
    title = {"color": MUTED, "fontSize": 12}
    ends = {**axis["axisLabel"], "alignMinLabel": "left", "alignMaxLabel": "right"}
    below = {"name": "local time", "nameLocation": "middle", "nameGap": 26, "nameTextStyle": title}
    return {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 68, "bottom": 44, "containLabel": True},
        "textStyle": {"fontFamily": FONT},
        "legend": {
            "top": 0,
            "left": 0,
            "itemGap": 10,
            "itemWidth": 20,
            "selectedMode": False,
            "textStyle": {"color": INK, "fontFamily": FONT},
            "data": [{"name": name, "icon": _STROKE} for name in names] + [_BANDED] * banded,
        },
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "backgroundColor": CARD,
            "borderColor": LINE,
            "textStyle": {"color": INK, "fontSize": 13},
            ":formatter": _TOLD,
        },
        "xAxis": {**axis, **below, "type": "time", "splitLine": {"show": False}, "axisLabel": ends},
        "yAxis": {**axis, "type": "value", "scale": not limit, "nameTextStyle": {**title, "align": "left"}},
        "series": _series(names, banded, limit),
    }


def _series(names: Sequence[str], banded: bool, limit: str) -> list[dict[str, Any]]:
    plain: dict[str, Any] = {"type": "line", "symbol": "none", "data": []}
    series: list[dict[str, Any]] = []
    for name, colour in zip(names, COLOURS, strict=False):
        width = 2 if name == names[0] else 1.5
        kind = "dashed" if banded and name == names[-1] else "solid"
        series.append({**plain, "name": name, "color": colour, "lineStyle": {"width": width, "type": kind}})
    if limit:
        across = {"color": "var(--bad)", "type": "dashed", "width": 1.5}
        told = {"formatter": limit, "color": "var(--bad)", "position": "insideEndTop"}
        mark: dict[str, Any] = {"symbol": "none", "silent": True, "lineStyle": across, "label": told, "data": []}
        series[0]["markLine"] = mark
    if banded:
        hidden = {**plain, "lineStyle": {"width": 0}, "stack": "band", "stackStrategy": "all"}
        series.append({**hidden, "name": _LOW, "color": "transparent"})
        series.append({**hidden, "name": BAND, "color": COLOURS[-1], "areaStyle": {"opacity": 0.22}})
    return series
