"""Twins over HTTP: what they know now, knew and expect, their changes as they happen, and what-ifs in forks of them."""

from fastapi import APIRouter

from twinloop.service.api.twins.changes import router as changes_router
from twinloop.service.api.twins.export import router as export_router
from twinloop.service.api.twins.past import router as past_router
from twinloop.service.api.twins.reading import router as reading_router
from twinloop.service.api.twins.shapes import Measured, Rows, measured_of, tidy
from twinloop.service.api.twins.whatif import LONGEST_PATIENCE_S, Proposal, tried
from twinloop.service.api.twins.whatif import router as whatif_router

router = APIRouter(prefix="/twins", tags=["twins"])
for part in (changes_router, export_router, whatif_router, past_router, reading_router):
    router.include_router(part)

__all__ = ["LONGEST_PATIENCE_S", "Measured", "Proposal", "Rows", "measured_of", "router", "tidy", "tried"]
