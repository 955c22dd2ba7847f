"""Acting safely: decisions that wait for consent, slices on order, commands to sites, receipts, and their effect."""

from twinloop.service.acting.acting import ENDLESS, Acting, ActingSettings
from twinloop.service.acting.decisions import Decisions
from twinloop.service.acting.dispatch import Chosen, Dispatcher, Fate, Mode, Patience, Site
from twinloop.service.acting.effect import Effects, satisfaction
from twinloop.service.acting.limits import Authority, Blackout, Limits
from twinloop.service.acting.orders import WHOLE, Orders, sites_of
from twinloop.service.acting.record import FINAL, Decision, DecisionError
from twinloop.service.acting.slices import (
    AnyOrder,
    NoSliceError,
    Order,
    Orderer,
    Promises,
    ServiceProfile,
    ShortOrder,
    Slices,
    asked,
)
from twinloop.service.acting.webhooks import Webhook, WebhookOrder, Webhooks, signature

__all__ = [
    "ENDLESS",
    "FINAL",
    "WHOLE",
    "Acting",
    "ActingSettings",
    "AnyOrder",
    "Authority",
    "Blackout",
    "Chosen",
    "Decision",
    "DecisionError",
    "Decisions",
    "Dispatcher",
    "Effects",
    "Fate",
    "Limits",
    "Mode",
    "NoSliceError",
    "Order",
    "Orderer",
    "Orders",
    "Patience",
    "Promises",
    "ServiceProfile",
    "ShortOrder",
    "Site",
    "Slices",
    "Webhook",
    "WebhookOrder",
    "Webhooks",
    "asked",
    "satisfaction",
    "signature",
    "sites_of",
]
