"""What is collected from the network: observations with their age and their cost in bits, and the next request."""

from twinloop.collection.adaptive import Adaptive, KindMemory, KindRules, Memory, Rules, adapt_kind, first_memory
from twinloop.collection.collect import Control, Observations, Seen, collect, collect_kind, control
from twinloop.collection.interface import (
    AbstractCollector,
    CollectionState,
    Evidence,
    KindEvidence,
    Standing,
    granted,
)
from twinloop.collection.ladder import Ladder
from twinloop.collection.periodic import Periodic

__all__ = [
    "AbstractCollector",
    "Adaptive",
    "CollectionState",
    "Control",
    "Evidence",
    "KindEvidence",
    "KindMemory",
    "KindRules",
    "Ladder",
    "Memory",
    "Observations",
    "Periodic",
    "Rules",
    "Seen",
    "Standing",
    "adapt_kind",
    "collect",
    "collect_kind",
    "control",
    "first_memory",
    "granted",
]
