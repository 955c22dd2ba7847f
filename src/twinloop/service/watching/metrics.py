"""What Prometheus is told: intake, ages and fidelity of twins, how long slots and windows take, decisions, sites."""

from collections.abc import Iterator

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from twinloop.service.live import KindPicture, Picture
from twinloop.service.live_platform import Platform

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.8, 1.0, 2.0, 5.0)
_WINDOW_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)


class Metrics:
    """The metrics of one platform, in a registry of their own."""

    def __init__(self, platform: Platform) -> None:
        self._registry = CollectorRegistry()
        self._parts = Histogram(
            "twinloop_slot_part_seconds",
            "Duration of a part of a slot: take (inbox), slot (the loop), paint (picture), act (commands, history).",
            ["part"],
            registry=self._registry,
            buckets=_BUCKETS_S,
        )
        self._windows = Histogram(
            "twinloop_window_seconds",
            "Duration of a window's decision, which is made beside the slots.",
            registry=self._registry,
            buckets=_WINDOW_BUCKETS_S,
        )
        self._registry.register(_Read(platform))
        platform.runner.timing.observers.append(self._observe)
        platform.runner.window_timing.observers.append(lambda _, seconds: self._windows.observe(seconds))

    def written(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _observe(self, part: str, seconds: float) -> None:
        self._parts.labels(part).observe(seconds)


class _Read(Collector):
    """Reads the platform when asked."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def collect(self) -> Iterator[Metric]:
        """All metrics but durations."""
        platform = self._platform
        yield from self._intake()
        yield _gauge("twinloop_slot", "Number of the last slot.", platform.runner.slot)
        yield _counter("twinloop_slots_held", "Slots in which the standing decision was held.", platform.slots_held)
        yield _gauge("twinloop_deciding", "1 where the last slot decided, 0 where it held.", not platform.held_since)
        yield _counter("twinloop_keeping_failures", "Snapshots and history not kept.", platform.keeper.failures)
        yield from self._decisions()
        yield from self._sites()
        picture = platform.picture
        if picture is not None:
            yield _gauge(
                "twinloop_slot_late_seconds",
                "Time since the last slot ended.",
                platform.clock() - picture.time_s(picture.slot + 1),
            )
            yield from _twins(picture)

    def _intake(self) -> Iterator[Metric]:
        intake = self._platform.intake
        waiting, size = intake.waiting
        yield _gauge("twinloop_intake_waiting_events", "Events that wait for the disk.", waiting)
        yield _gauge("twinloop_intake_waiting_bytes", "Bytes that wait for the disk.", size)
        backlog, backlog_bytes = intake.backlog.waiting
        yield _gauge("twinloop_intake_backlog_events", "Events that wait for a slot.", backlog)
        yield _gauge("twinloop_intake_backlog_bytes", "Bytes that wait for a slot.", backlog_bytes)
        yield _counter("twinloop_intake_busy", "Batches refused because too much waited.", intake.refused_busy)
        sources = intake.ledger.told()
        for name, text in (
            ("batches", "Batches kept."),
            ("rows", "Rows accepted."),
            ("refused_rows", "Rows refused."),
            ("duplicates", "Batches that had come before."),
            ("disordered", "Batches that came late."),
            ("skewed", "Batches whose clock was off and was corrected."),
            ("bytes", "Bytes received."),
        ):
            metric = CounterMetricFamily(f"twinloop_source_{name}", text, labels=["source"])
            for source in sources:
                metric.add_metric([source["source"]], source[name])
            yield metric
        missing = GaugeMetricFamily("twinloop_source_missing", "Sequence numbers that did not come.", labels=["source"])
        for source in sources:
            missing.add_metric([source["source"]], source["missing"])
        yield missing

    def _decisions(self) -> Iterator[Metric]:
        decisions = self._platform.decisions
        states: dict[str, int] = {}
        for decision in list(decisions.recent.values()):
            states[decision.state] = states.get(decision.state, 0) + 1
        metric = GaugeMetricFamily("twinloop_decisions", "Decisions at hand, by state.", labels=["state"])
        for state, count in states.items():
            metric.add_metric([state], count)
        yield metric
        modes = GaugeMetricFamily("twinloop_mode", "1 for the mode in force.", labels=["mode"])
        for mode in ("advise", "act", "halted"):
            modes.add_metric([mode], float(decisions.mode == mode))
        yield modes

    def _sites(self) -> Iterator[Metric]:
        follows = GaugeMetricFamily("twinloop_site_follows", "1 where a site does what is wanted.", labels=["site"])
        silent = GaugeMetricFamily("twinloop_site_silent_seconds", "Time since a site was heard.", labels=["site"])
        age = GaugeMetricFamily(
            "twinloop_site_report_age_seconds", "Age of what is newest of a site's cells and servers.", labels=["site"]
        )
        now = self._platform.clock()
        for site in self._platform.dispatcher.sites.values():
            follows.add_metric([site.name], float(site.follows))
            silent.add_metric([site.name], now - site.heard_s if site.heard_s > 0 else float("nan"))
            age.add_metric([site.name], now - site.reported_s if site.reported_s > 0 else float("nan"))
        yield follows
        yield silent
        yield age


def _twins(picture: Picture) -> Iterator[Metric]:
    active = GaugeMetricFamily("twinloop_twins", "Twins that are there.", labels=["kind"])
    age = GaugeMetricFamily("twinloop_age_seconds", "Mean age of what twins know.", labels=["kind", "attribute"])
    true = GaugeMetricFamily("twinloop_fidelity", "Mean fidelity of emulation.", labels=["kind", "attribute"])
    for kind in (picture.users, picture.cells, picture.servers):
        active.add_metric([kind.kind], float(np.sum(kind.active)))
        for at, attribute in enumerate(kind.attributes):
            known = kind.active & (kind.slot[:, at] >= 0)
            if np.any(known):
                slots = picture.slot - kind.slot[known, at]
                age.add_metric([kind.kind, attribute.name], float(np.mean(slots)) * picture.slot_s)
                _add_mean(true, kind, attribute.name, kind.fidelity[known, at])
    yield active
    yield age
    yield true
    yield from _slices(picture)


def _slices(picture: Picture) -> Iterator[Metric]:
    for at, attribute in enumerate(picture.slices.attributes):
        name = f"twinloop_slice_{attribute.name}"
        metric = GaugeMetricFamily(name, f"Of a slice, in {attribute.unit}.", labels=["slice"])
        for row in np.flatnonzero(picture.slices.active & (picture.slices.slot[:, at] >= 0)):
            metric.add_metric([picture.slices.ids[row]], float(picture.slices.value[row, at]))
        yield metric


def _add_mean(metric: GaugeMetricFamily, kind: KindPicture, name: str, values: np.ndarray) -> None:
    compared = values[np.isfinite(values)]
    if compared.size:
        metric.add_metric([kind.kind, name], float(np.mean(compared)))


def _gauge(name: str, text: str, value: int | float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: int | float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))
