"""From what the loop asks for to the plan of each site, and what is known of how far it is kept."""

import threading
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from numpy.typing import NDArray

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

    def quiet_s(self, site: str) -> float:
        """The longest time in s in which a site that keeps its plan may say nothing at all of its cells and servers;
        inf where it need never. Raises KeyError for an unknown site.
        """
        plan = self.plan(site)
        asked = [one for part in plan.parts if part.kind != "user" for one in part.attributes.values()] if plan else []
        certain_s = [one.period_s if one.delta < 0 else one.max_age_s for one in asked]
        return min((each for each in certain_s if each is not None), default=float("inf"))

    @property
    def due(self) -> bool:
        """Whether it is time for new plans."""
        return self._clock() >= self._due_s

    def lived(self, picture: Picture, request: Request) -> None:
        """After a slot, on one thread at a time: new plans where it is time."""
        if not self.due:
            return
        self._due_s = self._clock() + self._every_s
        on_host: Request = jax.device_get(request)
        ids = self._ids(picture)
        plans = {site: self.wishes.applied(plan_of(on_host, ids[site], 0, site)) for site in self._sites}
        with self._lock:
            before = {site: plan.parts for site, plan in self._plans.items()}
            if before != {site: plan.parts for site, plan in plans.items()}:
                self.revision += 1
                self._plans = {site: Plan(self.revision, site, plan.parts) for site, plan in plans.items()}
            current = list(self._plans.values())
        there = {name for name, active in zip(picture.users.ids, picture.users.active, strict=True) if active}
        for plan in current:
            self.observance.planned(plan, _known(picture, ids[plan.site]), there)

    def want(self, wish: Wish) -> None:
        """Has an operator's wish in every plan from the next slot on."""
        self.wishes.put(wish)
        self._due_s = float("-inf")

    def leave(self, site: str, kind: str, attribute: str) -> bool:
        """Leaves an attribute to the loop again from the next slot on; False where nothing was wanted of it."""
        dropped = self.wishes.drop(site, kind, attribute)
        self._due_s = float("-inf")
        return dropped

    def _ids(self, picture: Picture) -> dict[str, dict[Kind, list[str]]]:
        """By site the names by row of what belongs to it, "" for the rest; users belong where they are served."""
        serving = picture.users.value[:, _SERVING]
        served = np.isfinite(serving) & (serving >= 0) & (serving < len(self._cell_site))
        cell_site = np.array(self._cell_site, object)
        user_site = np.where(served, cell_site[np.where(served, serving, 0).astype(np.int64)], "")
        site_of: dict[Kind, NDArray[np.object_]] = {
            "users": user_site,
            "cells": cell_site,
            "servers": np.array(self._server_site, object),
        }
        names: dict[Kind, NDArray[np.object_]] = {kind: np.array(picture.of(kind).ids, object) for kind in site_of}
        return {
            site: {kind: np.where(of == site, names[kind], "").tolist() for kind, of in site_of.items()}
            for site in self._sites
        }


def _known(picture: Picture, ids: Mapping[Kind, Sequence[str]]) -> dict[str, NDArray[np.bool_]]:
    """Of which attributes any of the twins named has a value, by kind."""
    named = {kind: np.flatnonzero(np.array(names, object) != "") for kind, names in ids.items()}
    return {kind: np.any(picture.of(kind).slot[rows] >= 0, axis=0) for kind, rows in named.items()}
