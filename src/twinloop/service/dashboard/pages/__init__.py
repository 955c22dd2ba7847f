"""One page a module; `PAGES` says which address shows what."""

from collections.abc import Callable, Mapping

from starlette.requests import Request

from twinloop.service.dashboard.pages.collection import show_collection
from twinloop.service.dashboard.pages.decisions import show_decisions
from twinloop.service.dashboard.pages.health import show_health
from twinloop.service.dashboard.pages.network_map import show_map
from twinloop.service.dashboard.pages.nothing import show_nothing
from twinloop.service.dashboard.pages.sign_in import show_sign_in
from twinloop.service.dashboard.pages.slices import show_slices
from twinloop.service.dashboard.pages.twin import show_twin
from twinloop.service.dashboard.pages.twin_list import show_twins
from twinloop.service.dashboard.visits import Visit

PAGES: Mapping[str, Callable[[Visit, Request], None]] = {
    "/": show_map,
    "/twins/{kind}": show_twins,
    "/twins/{kind}/{name:path}": show_twin,
    "/slices": show_slices,
    "/decisions": show_decisions,
    "/collection": show_collection,
    "/health": show_health,
    "/{rest:path}": show_nothing,
}
"""What builds the page at each address; the first that fits counts."""

__all__ = ["PAGES", "show_sign_in"]
