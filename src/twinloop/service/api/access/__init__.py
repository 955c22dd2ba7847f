"""Routes of access: tokens and the audit log, whose slices are whose, and noisy figures for tenants."""

from twinloop.service.api.access.figures import router as figures_router
from twinloop.service.api.access.grants import router as grants_router
from twinloop.service.api.access.tokens import router as tokens_router

ROUTERS = (tokens_router, grants_router, figures_router)

__all__ = ["ROUTERS"]
