"""What users need of four resources to experience what was agreed, from samples of what may come."""

from twinloop.decision.demand.futures import Futures, Outlook, channel_power, look, plan, profile
from twinloop.decision.demand.links import LinkBelief, LinkModel, believe_links, fit_links, sample_links
from twinloop.decision.demand.need import (
    BINDING,
    FOLLOW,
    Caps,
    Demand,
    People,
    Prices,
    Supply,
    predict_demand,
)
from twinloop.decision.demand.player import Held, Lived, Rules, course_of, live, rules_of, started
from twinloop.decision.demand.store import Store, cheapest, needed_cycles, store_of

__all__ = [
    "BINDING",
    "FOLLOW",
    "Caps",
    "Demand",
    "Futures",
    "Held",
    "LinkBelief",
    "LinkModel",
    "Lived",
    "Outlook",
    "People",
    "Prices",
    "Rules",
    "Store",
    "Supply",
    "believe_links",
    "channel_power",
    "cheapest",
    "course_of",
    "fit_links",
    "live",
    "look",
    "needed_cycles",
    "plan",
    "predict_demand",
    "profile",
    "rules_of",
    "sample_links",
    "started",
    "store_of",
]
