"""Acting safely: decisions that wait for consent, commands to sites, receipts, and what became of them."""

from twinloop.service.acting.decisions import FINAL, Decision, DecisionError, Decisions, Limits, satisfaction
from twinloop.service.acting.dispatch import Dispatcher, Mode, Site
from twinloop.service.acting.orders import WHOLE, Orders, sites_of

__all__ = [
    "FINAL",
    "WHOLE",
    "Decision",
    "DecisionError",
    "Decisions",
    "Dispatcher",
    "Limits",
    "Mode",
    "Orders",
    "Site",
    "satisfaction",
    "sites_of",
]
