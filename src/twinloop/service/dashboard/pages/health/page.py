"""The page of what the server does, and who may stop it."""

from nicegui import ui
from starlette.requests import Request

from twinloop.service.dashboard.asking import Answer
from twinloop.service.dashboard.frame import framed
from twinloop.service.dashboard.pages.health.figures import Figures
from twinloop.service.dashboard.pages.health.loop import Times, show_loop
from twinloop.service.dashboard.pages.health.mode import Mode
from twinloop.service.dashboard.pages.health.sites import Sites, show_links
from twinloop.service.dashboard.visits import Visit

_SLOW_S = 5.0


def show_health(visit: Visit, request: Request) -> None:
    """Builds the page."""
    del request
    with framed(visit, "/health", "Health", "What the server does now, whom it reaches, and who decides."):
        with ui.element("div").classes("tl-columns"):
            loop = show_loop()
            mode = Mode(visit)
        times, sites, links, figures = Times(), Sites(visit), show_links(), Figures()
    parts = (loop, mode.show, times.show, sites.show, links)

    def show(answer: Answer) -> None:
        for part in parts:
            part(answer)

    def show_figures(answer: Answer) -> None:
        times.compare(answer)
        figures.show(answer)

    visit.watch("/system", show)
    visit.watch("/metrics", show_figures, _SLOW_S)
    visit.watch("/mode", mode.show_limits, _SLOW_S)
