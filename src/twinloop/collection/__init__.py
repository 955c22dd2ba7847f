"""What is collected from the network: observations with their age and their cost in bits, and the next request."""

from twinloop.collection.collect import Observations, Seen, collect
from twinloop.collection.periodic import CollectionState, Fidelity, adapt

__all__ = ["CollectionState", "Fidelity", "Observations", "Seen", "adapt", "collect"]
