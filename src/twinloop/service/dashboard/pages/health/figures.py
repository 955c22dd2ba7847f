"""Metrics: what comes in, how old and how true twins are, what became of decisions."""

import time
from collections.abc import Mapping

from nicegui import ui

from twinloop.service.dashboard.asking import Answer
from twinloop.service.dashboard.gauges import Gauges, gauges_of
from twinloop.service.dashboard.widgets import Cell, Column, Facts, Panel, Row, Table, meter
from twinloop.service.dashboard.words import STATES, UNKNOWN, attribute, number, quantity, tone_of

_KINDS = {"users": "Users", "cells": "Cells", "servers": "Servers"}
_TWINS = [
    Column("Twins"),
    Column("There", "num"),
    Column("Mean age", "num"),
    Column("Oldest", "num"),
    Column("Mean fidelity"),
    Column("Least true"),
]
_ROWS, _REFUSED, _BYTES = (f"twinloop_source_{what}_total" for what in ("rows", "refused_rows", "bytes"))


class Figures:
    """The panel; rates are over the time between two answers."""

    def __init__(self) -> None:
        self._before: tuple[float, Gauges] | None = None
        self._latest: Answer | None = None
        self._panel = Panel("Metrics", "The same figures, and more, are at /metrics for Prometheus.")
        with self._panel:
            self._facts = Facts(
                {
                    "rows": "Rows coming in",
                    "bytes": "Volume coming in",
                    "refused": "Rows refused in all",
                    "failures": "Not kept: snapshots, history",
                }
            )
            self._decisions = ui.label("").classes("tl-note")
            self._twins = Table("Age and fidelity of twins", _TWINS, "No twin is there yet.", cards=True)

    def show(self, answer: Answer) -> None:
        """Shows them as they are now."""
        if not self._panel.settle(answer) or answer is self._latest:
            return
        self._latest = answer
        now_s, gauges = time.monotonic(), gauges_of(answer.body)
        before_s, before = self._before or (now_s, gauges)
        self._before = (now_s, gauges)
        passed_s = now_s - before_s
        rows, size = (gauges.total(name) - before.total(name) for name in (_ROWS, _BYTES))
        self._facts.say("rows", f"{number(rows / passed_s)} a second" if passed_s else "…")
        self._facts.say("bytes", f"{quantity(size / passed_s, 'B')} a second" if passed_s else "…")
        refused, failures = gauges.total(_REFUSED), gauges.total("twinloop_keeping_failures_total")
        self._facts.say("refused", number(refused), "warn" if refused else "")
        self._facts.say("failures", number(failures), "bad" if failures else "")
        made = {had["state"]: count for had, count in gauges.of("twinloop_decisions")}
        told = ", ".join(f"{number(count)} {STATES.get(name, (name, ''))[0]}" for name, count in made.items())
        self._decisions.set_text(f"Decisions at hand: {told or 'none'}.")
        there = {had["kind"]: count for had, count in gauges.of("twinloop_twins")}
        self._twins.fill([_twins(kind, count, gauges) for kind, count in there.items()])


def _twins(kind: str, count: float, gauges: Gauges) -> Row:
    ages = _by_attribute(gauges, "twinloop_age_seconds", kind)
    true = _by_attribute(gauges, "twinloop_fidelity", kind)
    oldest: Cell = UNKNOWN
    least: Cell = UNKNOWN
    if ages:
        name = max(ages, key=ages.__getitem__)
        oldest = {"text": quantity(ages[name], "s"), "sub": attribute(name)}
    if true:
        name = min(true, key=true.__getitem__)
        least = {"text": f"{true[name]:.0%}", "sub": attribute(name)}
    mean_s = sum(ages.values()) / len(ages) if ages else None
    mean = sum(true.values()) / len(true) if true else None
    fidelity = meter("mean fidelity", mean, tone_of(mean, 0.4, 0.7))
    return Row(kind, [_KINDS.get(kind, kind), number(count), quantity(mean_s, "s"), oldest, fidelity, least])


def _by_attribute(gauges: Gauges, name: str, kind: str) -> Mapping[str, float]:
    return {had["attribute"]: value for had, value in gauges.of(name, kind=kind)}
