"""Routes of what acts: decisions, slices, sites, and what may be done without asking."""

from twinloop.service.api.acting.decisions import router as decisions_router
from twinloop.service.api.acting.modes import router as modes_router
from twinloop.service.api.acting.sites import router as sites_router
from twinloop.service.api.acting.slices import router as slices_router

ROUTERS = (decisions_router, modes_router, slices_router, sites_router)

__all__ = ["ROUTERS"]
