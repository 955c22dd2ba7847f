"""What sites were asked to report against what came: values and bits over the last minute, by site and attribute."""

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinloop.network import HEADER_BITS, Plan
from twinloop.network.formats import KINDS, TABLES, Rows

WINDOW_S = 60.0
"""How far back is looked."""

_BUCKETS = 6
_BUCKET_S = WINDOW_S / _BUCKETS
_ELSEWHERE = ""

_COLUMNS = [(kind, attribute) for kind in KINDS for attribute in TABLES[kind]]
_PLACE = {(kind, attribute.name): at for at, (kind, attribute) in enumerate(_COLUMNS)}
_FIRST = {KINDS[kind]: _PLACE[kind, TABLES[kind][0].name] for kind in KINDS}
_BITS = np.array([attribute.bits for _, attribute in _COLUMNS], np.float64)

Values = NDArray[np.float64]


def _nothing() -> Values:
    return np.zeros(len(_COLUMNS))


@dataclass
class _Demand:
    """What a plan asks of a site, by attribute: entities, looks and certain values a second, and bits a value.

    `header_bps` is what headers take at least, `known` whether any twin has a value.
    """

    revision: int | None = None
    entities: Values = field(default_factory=_nothing)
    looks_per_s: Values = field(default_factory=_nothing)
    values_per_s: Values = field(default_factory=_nothing)
    bits: Values = field(default_factory=lambda: _BITS.copy())
    header_bps: float = 0.0
    known: NDArray[np.bool_] = field(default_factory=lambda: np.ones(len(_COLUMNS), np.bool_))


class _Tally:
    """What came from one site and what was asked meanwhile, in buckets that are used in turn."""

    def __init__(self, now_s: float) -> None:
        self.demand = _Demand()
        self.began_s = now_s
        self.last_s: float | None = None
        self._heard = np.zeros((_BUCKETS + 1, len(_COLUMNS)))
        self._asked = np.zeros((_BUCKETS + 1, len(_COLUMNS)))
        self._rows = np.zeros(_BUCKETS + 1)
        self._until_s = now_s

    def advance(self, now_s: float) -> None:
        """Adds what is asked since the last time to the buckets between; what is older than the window goes."""
        if now_s - self._until_s > WINDOW_S + _BUCKET_S:
            self._until_s = now_s - WINDOW_S - _BUCKET_S
        while self._until_s < now_s:
            bucket = math.floor(self._until_s / _BUCKET_S)
            end_s = min(now_s, (bucket + 1) * _BUCKET_S)
            self._asked[bucket % (_BUCKETS + 1)] += self.demand.values_per_s * (end_s - self._until_s)
            self._until_s = end_s
            if end_s == (bucket + 1) * _BUCKET_S:
                begun = (bucket + 1) % (_BUCKETS + 1)
                self._heard[begun], self._asked[begun], self._rows[begun] = 0.0, 0.0, 0.0

    def heard(self, now_s: float, rows: Iterable[Rows]) -> None:
        """Counts what came."""
        self.advance(now_s)
        self.last_s = now_s
        bucket = math.floor(now_s / _BUCKET_S) % (_BUCKETS + 1)
        for part in rows:
            first = _FIRST[part.kind]
            self._heard[bucket, first : first + part.value.shape[1]] += np.isfinite(part.value).sum(axis=0)
            self._rows[bucket] += len(part.ids)

    def sums(self) -> tuple[Values, Values, float]:
        """Values heard and asked in the window, by attribute, and rows heard."""
        return self._heard.sum(axis=0), self._asked.sum(axis=0), float(self._rows.sum())

    def covered_s(self, now_s: float) -> float:
        """Length of what the sums are over."""
        return max(min(now_s - self.began_s, _BUCKETS * _BUCKET_S + now_s % _BUCKET_S), 1e-3)


class Observance:
    """Counts by site, in memory that does not grow; what comes from elsewhere is counted together."""

    def __init__(self, sites: Iterable[str], clock: Callable[[], float], slot_s: float) -> None:
        self._clock = clock
        self._slot_s = slot_s
        self._tallies = {site: _Tally(clock()) for site in (*sites, _ELSEWHERE)}
        self._lock = threading.Lock()

    def planned(self, plan: Plan, known: Mapping[str, NDArray[np.bool_]], there: Set[str]) -> None:
        """A site is asked so from now on. `there` are users that have not left; `known` tells by kind (`users`, ...)
        of which attributes any twin has a value.
        """
        demand = _demand(plan, there, self._slot_s)
        demand.known = np.concatenate([known[KINDS[kind]] for kind in KINDS])
        with self._lock:
            tally = self._tallies[plan.site]
            tally.advance(self._clock())
            tally.demand = demand

    def heard(self, source: str, rows: Iterable[Rows]) -> None:
        """Something of a source became durable."""
        site = source.partition(":")[0]
        with self._lock:
            self._tallies[site if site in self._tallies else _ELSEWHERE].heard(self._clock(), rows)

    def told(self, site: str) -> dict[str, Any]:
        """How a site keeps to its plan. Raises KeyError for an unknown one."""
        if site == _ELSEWHERE:
            raise KeyError(site)
        now = self._clock()
        with self._lock:
            tally = self._tallies[site]
            tally.advance(now)
            demand, (heard, asked, _) = tally.demand, tally.sums()
            never = (demand.entities > 0) & ~demand.known & (heard == 0)
            certain = demand.values_per_s > 0
            return {
                "site": site,
                "plan_revision": demand.revision,
                "last_heard_s": tally.last_s,
                "asked_per_s": float(demand.values_per_s.sum()),
                "looks_per_s": float(demand.looks_per_s.sum()),
                "ratio": _ratio(heard[certain].sum(), asked[certain].sum()),
                "asked_bps": float(demand.values_per_s @ demand.bits) + demand.header_bps,
                "never_heard": [
                    {"kind": kind, "attribute": attribute.name}
                    for at, (kind, attribute) in enumerate(_COLUMNS)
                    if never[at]
                ],
                **_came(tally, now),
            }

    def attributes(self, site: str) -> list[dict[str, Any]]:
        """The same, attribute by attribute, of those that are asked for or come. Raises KeyError for an unknown one."""
        now = self._clock()
        with self._lock:
            tally = self._tallies[site]
            tally.advance(now)
            demand, (heard, asked, _), covered_s = tally.demand, tally.sums(), tally.covered_s(now)
            return [
                {
                    "kind": kind,
                    "attribute": attribute.name,
                    "unit": attribute.unit,
                    "entities": int(demand.entities[at]),
                    "period_s": float(demand.entities[at] / demand.looks_per_s[at]) if demand.looks_per_s[at] else None,
                    "bits": float(demand.bits[at]),
                    "asked_per_s": float(demand.values_per_s[at]),
                    "looks_per_s": float(demand.looks_per_s[at]),
                    "heard_per_s": float(heard[at] / covered_s),
                    "ratio": _ratio(heard[at], asked[at]),
                    "known": bool(demand.known[at]),
                }
                for at, (kind, attribute) in enumerate(_COLUMNS)
                if demand.entities[at] or heard[at]
            ]

    def elsewhere(self) -> dict[str, Any]:
        """What came from sources that are no site: probes, players, files."""
        now = self._clock()
        with self._lock:
            tally = self._tallies[_ELSEWHERE]
            tally.advance(now)
            return {"last_heard_s": tally.last_s, **_came(tally, now)}


def _came(tally: _Tally, now_s: float) -> dict[str, float]:
    heard, _, rows = tally.sums()
    covered_s = tally.covered_s(now_s)
    return {
        "heard_per_s": float(heard.sum() / covered_s),
        "heard_bps": float((heard @ tally.demand.bits + HEADER_BITS * rows) / covered_s),
    }


def _ratio(heard: float, asked: float) -> float | None:
    """Share of what was certain to come; None where less than one value was."""
    return float(heard / asked) if asked >= 1.0 else None


def _demand(plan: Plan, there: Set[str], slot_s: float) -> _Demand:
    """What is asked: a value that is sent at every look, or at the latest after so long, is certain to come."""
    demand = _Demand(plan.revision)
    bits = _nothing()
    for part in plan.parts:
        count = sum(name in there for name in part.ids) if part.kind == "user" else len(part.ids)
        most_per_s = 0.0
        for name, asked in part.attributes.items():
            at = _PLACE.get((part.kind, name))
            if at is None:
                continue
            look_per_s = 1.0 / max(asked.period_s, slot_s)
            oldest_per_s = 0.0 if asked.max_age_s is None else 1.0 / max(asked.max_age_s, slot_s)
            certain_per_s = look_per_s if asked.delta < 0 else oldest_per_s
            most_per_s = max(most_per_s, certain_per_s)
            demand.entities[at] += count
            demand.looks_per_s[at] += count * look_per_s
            demand.values_per_s[at] += count * certain_per_s
            bits[at] += count * asked.bits
        demand.header_bps += count * most_per_s * HEADER_BITS
    demand.bits = np.where(demand.entities > 0, bits / np.maximum(demand.entities, 1.0), _BITS)
    return demand
