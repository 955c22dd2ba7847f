"""What stands at addresses where there is no page."""

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.frame import PLACES, framed
from twinloop.service.dashboard.visits import Visit

ABSENT = 404


def show_nothing(visit: Visit, request: Request) -> None:
    """Says so, and what pages there are."""
    ui.context.client.status_code = ABSENT
    lead = f"There is nothing at {request.url.path}. It may have moved, or the address was cut."
    with framed(visit, "", "No such page", lead), ui.element("section").classes("tl-panel"):
        for place in PLACES:
            ui.link(place.name, place.path).classes("tl-link")
            ui.element("br")
