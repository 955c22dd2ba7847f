"""From what the loop asks for to the plan of each site, and what is known of how far it is kept."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network import Kind, Plan, Request, plan_of
from twinloop.scenario import SLOT_S, Scenario
from twinloop.service.collecting.observance import Observance
from twinloop.service.collecting.wishes import Wish, Wishes
from twinloop.service.live import Picture
from twinloop.service.records import Records

_SERVING = column(USER_ATTRIBUTES, "serving_cell")


class Collecting:
    """Plans by site, published anew every `every_s` where something in them changed. `sites` are servers by site."""

    def __init__(
        self,
        scenario: Scenario,
        sites: Mapping[str, Sequence[str]],
        records: Records,
        clock: Callable[[], float],
        every_s: float,
    ) -> None:
        self.wishes = Wishes(records)
        self.observance = Observance(sites, clock, SLOT_S)
        self.revision = int(clock())
        self._clock = clock
        self._every_s = every_s
        self._due_s = float("-inf")
        self._plans: dict[str, Plan] = {}
        self._lock = threading.Lock()
        site_of_server = {server: site for site, servers in sites.items() for server in servers}
        self._sites = tuple(sites)
        self._cell_site = [site_of_server.get(cell.server, "") for cell in scenario.network.cells]
        self._server_site = [site_of_server.get(server.name, "") for server in scenario.network.servers]

    def plan(self, site: str) -> Plan | None:
        """What a site is asked to report; None before the first slot. Raises KeyError for an unknown site."""
        if site not in self._sites:
            raise KeyError(site)
        with self._lock:
            return self._plans.get(site)

    def lived(self, picture: Picture, request: Request) -> None:
        """After a slot, on the runner's thread: new plans where it is time."""
        now = self._clock()
        if now < self._due_s:
            return
        self._due_s = now + self._every_s
        on_host: Request = jax.device_get(request)
        plans = {site: self.wishes.applied(plan_of(on_host, self._ids(picture, site), 0, site)) for site in self._sites}
        with self._lock:
            before = {site: plan.parts for site, plan in self._plans.items()}
            if before != {site: plan.parts for site, plan in plans.items()}:
                self.revision += 1
                self._plans = {site: Plan(self.revision, site, plan.parts) for site, plan in plans.items()}
            current = list(self._plans.values())
        there = [name for name, active in zip(picture.users.ids, picture.users.active, strict=True) if active]
        for plan in current:
            self.observance.planned(plan, self._known(picture, plan.site), there)

    def want(self, wish: Wish) -> None:
        """Has an operator's wish in every plan from the next slot on."""
        self.wishes.put(wish)
        self._due_s = float("-inf")

    def leave(self, site: str, kind: str, attribute: str) -> bool:
        """Leaves an attribute to the loop again from the next slot on; False where nothing was wanted of it."""
        dropped = self.wishes.drop(site, kind, attribute)
        self._due_s = float("-inf")
        return dropped

    def _ids(self, picture: Picture, site: str) -> dict[Kind, list[str]]:
        """Names by row of what belongs to a site, "" for the rest; users belong where they are served."""
        serving = picture.users.value[:, _SERVING]
        cells = len(self._cell_site)
        users = [
            name if name and 0 <= at < cells and self._cell_site[int(at)] == site else ""
            for name, at in zip(picture.users.ids, serving, strict=True)
        ]
        return {
            "users": users,
            "cells": [name if of == site else "" for name, of in zip(picture.cells.ids, self._cell_site, strict=True)],
            "servers": [
                name if of == site else "" for name, of in zip(picture.servers.ids, self._server_site, strict=True)
            ],
        }

    def _known(self, picture: Picture, site: str) -> dict[str, Any]:
        """Of which attributes any twin of the site has a value, by kind."""
        return {
            kind: (picture.of(kind).slot[[bool(name) for name in names]] >= 0).any(axis=0)
            for kind, names in self._ids(picture, site).items()
        }
