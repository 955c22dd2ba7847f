"""Models kept current while they serve: replay, trials, versions, training in the background, rollback."""

from twinloop.learning.upkeep.background import BackgroundTraining, TrainingOutcome
from twinloop.learning.upkeep.keeping import Upkeep
from twinloop.learning.upkeep.replay import Reservoir, empty_reservoir, keep_examples, with_replay
from twinloop.learning.upkeep.rules import UpkeepEvent, UpkeepRules
from twinloop.learning.upkeep.trial import ErrorDifference, paired_difference
from twinloop.learning.upkeep.versions import Lineage, Version, load_version, read_lineage

__all__ = [
    "BackgroundTraining",
    "ErrorDifference",
    "Lineage",
    "Reservoir",
    "TrainingOutcome",
    "Upkeep",
    "UpkeepEvent",
    "UpkeepRules",
    "Version",
    "empty_reservoir",
    "keep_examples",
    "load_version",
    "paired_difference",
    "read_lineage",
    "with_replay",
]
