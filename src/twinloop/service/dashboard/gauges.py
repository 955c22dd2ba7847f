"""Figures out of `/metrics`, in Prometheus' text form."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Gauges:
    """Samples by name, each with its labels."""

    samples: Mapping[str, list[tuple[Labels, float]]] = field(default_factory=dict[str, list[tuple[Labels, float]]])

    def of(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The samples of a name that have these labels."""
        return ((had, value) for had, value in self.samples.get(name, ()) if labels.items() <= had.items())

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return sum((value for _, value in self.of(name, **labels)), 0.0)

    def mean(self, histogram: str, **labels: str) -> float | None:
        """Mean of what a histogram counted, None where it counted nothing."""
        count = self.total(f"{histogram}_count", **labels)
        return self.total(f"{histogram}_sum", **labels) / count if count else None

    def below(self, histogram: str, share: float, **labels: str) -> float | None:
        """The least bucket's edge that at least this share of what was counted lay below; None where nothing was."""
        buckets = sorted((float(had["le"]), value) for had, value in self.of(f"{histogram}_bucket", **labels))
        if not buckets or not buckets[-1][1]:
            return None
        return next(edge for edge, value in buckets if value >= share * buckets[-1][1])


def gauges_of(text: str) -> Gauges:
    """Reads what `/metrics` answers."""
    samples: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return Gauges(samples)
