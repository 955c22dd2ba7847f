"""Routes of what comes in beside reports, and of what is asked for: players' beacons, plans and their observance."""

from twinloop.service.api.collecting.beacons import Beacons, Preflight
from twinloop.service.api.collecting.observance import router

__all__ = ["Beacons", "Preflight", "router"]
