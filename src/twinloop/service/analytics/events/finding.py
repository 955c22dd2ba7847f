"""What an event is asked about, and what is found."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from twinloop.service.analytics.events.samples import Rows
from twinloop.service.analytics.models import (
    DnPerfInfo,
    NetworkPerfInfo,
    NsiLoadLevelInfo,
    QosSustainabilityInfo,
    ServiceExperienceInfo,
    SliceLoadLevelInformation,
    UeCommunication,
    UeMobility,
    UserDataCongestionInfo,
)

Item = (
    DnPerfInfo
    | NetworkPerfInfo
    | NsiLoadLevelInfo
    | QosSustainabilityInfo
    | ServiceExperienceInfo
    | SliceLoadLevelInformation
    | UeCommunication
    | UeMobility
    | UserDataCongestionInfo
)


@dataclass(frozen=True)
class Question:
    """Rows of the twins that are asked about: `users` (each to be answered for where they are `named`), `slices`, and
    `cells`, which are all cells where it is `everywhere`.

    `throughputs_bps`: thresholds of what a user gets. `perf_types` and `subsets` are what is wanted of network
    performance and of an item; None is everything. `load_percent`: the threshold of load that an answer should mention.
    """

    users: Rows
    named: bool
    slices: Rows
    cells: Rows
    everywhere: bool
    throughputs_bps: tuple[float, ...] = ()
    perf_types: frozenset[str] | None = None
    subsets: frozenset[str] | None = None
    load_percent: float | None = None

    def wants(self, subset: str) -> bool:
        """Whether a part of an item is wanted."""
        return self.subsets is None or subset in self.subsets


@dataclass(frozen=True)
class Finding:
    """One item of an answer. `key` says what it is about; `gauges` are the quantities that thresholds are held against;
    one that is not `told` matters to thresholds only.
    """

    key: str
    item: Item
    gauges: Mapping[str, float] = field(default_factory=dict[str, float])
    told: bool = True
