"""Slices that are ordered while the network runs."""

from twinloop.service.acting.slices.book import ORDERS, Slices
from twinloop.service.acting.slices.order import ENDED, Judge, NoSliceError, Order, Orderer
from twinloop.service.acting.slices.profiles import AnyOrder, Promises, ServiceProfile, ShortOrder, asked

__all__ = [
    "ENDED",
    "ORDERS",
    "AnyOrder",
    "Judge",
    "NoSliceError",
    "Order",
    "Orderer",
    "Promises",
    "ServiceProfile",
    "ShortOrder",
    "Slices",
    "asked",
]
