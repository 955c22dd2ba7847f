"""The mirror of the network: user, cell and server twins (level one) and slice twins (level two)."""

from twinloop.twins.assimilation import Emulated, KindEmulated, assimilate, assimilate_in_place, evidence, spread
from twinloop.twins.exchange import Format, export_twin, import_twin
from twinloop.twins.forks import fork, recent, take
from twinloop.twins.record import TwinRecord, record_of, restore_twin
from twinloop.twins.slices import aggregate_slices
from twinloop.twins.swipes import (
    SwipeCounts,
    Views,
    begun_anew,
    count_viewings,
    empty_swipes,
    swipe_hazard,
    viewer_factor,
)
from twinloop.twins.table import (
    ATTRIBUTES,
    Current,
    History,
    Kind,
    Scale,
    Twins,
    TwinTable,
    admit,
    age_s,
    empty_twins,
    fidelity,
    quantum,
    retire,
    retire_silent,
)

__all__ = [
    "ATTRIBUTES",
    "Current",
    "Emulated",
    "Format",
    "History",
    "Kind",
    "KindEmulated",
    "Scale",
    "SwipeCounts",
    "TwinRecord",
    "TwinTable",
    "Twins",
    "Views",
    "admit",
    "age_s",
    "aggregate_slices",
    "assimilate",
    "assimilate_in_place",
    "begun_anew",
    "count_viewings",
    "empty_swipes",
    "empty_twins",
    "evidence",
    "export_twin",
    "fidelity",
    "fork",
    "import_twin",
    "quantum",
    "recent",
    "record_of",
    "restore_twin",
    "retire",
    "retire_silent",
    "spread",
    "swipe_hazard",
    "take",
    "viewer_factor",
]
