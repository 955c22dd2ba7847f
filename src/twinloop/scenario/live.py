"""The loop of a scenario around a network that is elsewhere, and a site of the scenario as a world of its own."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twinloop.collection import Adaptive, Periodic
from twinloop.errors import ScenarioError
from twinloop.loop import Loop, LoopState
from twinloop.network import LiveNetwork, empty_mailbox
from twinloop.qoe import WORST, Conditions, Ratings, vague_prior
from twinloop.scenario.assembly import assemble, build_params, first_state
from twinloop.scenario.experience import agreements
from twinloop.scenario.models import Scenario
from twinloop.scenario.people import build_watching
from twinloop.twins import ExperienceTwins, begin_experience

LANES = 3
"""How many measurement times of one entity are taken in at once; what is older waits for the next slot."""


def build_live(scenario: Scenario, data: Path | None = None) -> tuple[Loop[LiveNetwork], LoopState]:
    """The scenario's loop around a live network of its topology, with room for as many users as it names.

    Nobody is there yet, and nothing is known of how anybody feels. Raises ScenarioError or DataError when the scenario
    needs data that is not there.
    """
    rng = np.random.default_rng(scenario.seed)
    watching = build_watching(scenario, data, rng)
    loop = assemble(scenario, build_params(scenario, watching, data, rng), LiveNetwork())
    users, cells, servers = scenario.user_count, len(scenario.network.cells), len(scenario.network.servers)
    people = None if scenario.twin.ratings == 0 else _strangers(scenario)
    return loop, first_state(
        scenario, loop, watching, people, lambda action: empty_mailbox(users, cells, servers, LANES, action)
    )


def with_members(loop: Loop[Any], user_slice: Int[Array, " users"], user_group: Int[Array, " users"]) -> Loop[Any]:
    """The loop with users in other slices and multicast groups (-1: unicast), known to the twins and judges alike."""

    def believed(lp: Any) -> list[Any]:
        params = [lp.abstractor.params, lp.slot_judge.model.params, lp.window_judge.model.params]
        return params if lp.foresight is None else [*params, lp.foresight.model.params]

    def memberships(lp: Any) -> tuple[Any, ...]:
        known = [of for params in believed(lp) for of in (params.user_slice, params.user_group)]
        return (*known, _groups(lp))

    known = (user_slice, user_group) * len(believed(loop))
    return eqx.tree_at(memberships, loop, (*known, user_slice))


def site_of(scenario: Scenario, name: str) -> Scenario:
    """One site of the scenario as a scenario of its own, in coordinates that begin at the site's origin.

    Raises ScenarioError where there is no such site, or nothing stands or nobody lives in it.
    """
    sites = {site.name: site for site in scenario.sites}
    if name not in sites:
        there = ", ".join(sites) or "none; add a part sites"
        raise ScenarioError(f"{scenario.name} has no site {name!r}; there are {there}")
    site = sites[name]
    x_m, y_m = site.origin_m
    servers = [server for server in scenario.network.servers if server.name in site.servers]
    cells = [
        cell.model_copy(update={"position_m": (cell.position_m[0] - x_m, cell.position_m[1] - y_m)})
        for cell in scenario.network.cells
        if cell.server in site.servers and cell.position_m is not None
    ]
    users = [population for population in scenario.users if population.site == name]
    if not (servers and cells and users):
        raise ScenarioError(f"site {name!r} of {scenario.name} needs a server, a cell that stands still, and users")
    network = scenario.network.model_copy(update={"servers": servers, "cells": cells})
    changes: dict[str, Any] = {"area_m": site.size_m, "network": network, "users": users, "sites": [], "events": []}
    return scenario.model_copy(update={"name": f"{scenario.name}-{name}", **changes})


def _groups(loop: Any) -> Any:
    if isinstance(loop.collector, Adaptive):
        return loop.collector.users.groups
    if isinstance(loop.collector, Periodic):
        return loop.collector.groups
    raise TypeError(f"no groups in {type(loop.collector).__name__}")


def _strangers(scenario: Scenario) -> ExperienceTwins:
    """People who were promised what the scenario says, and of whom no score is known."""
    shape = (scenario.user_count, scenario.twin.ratings)
    none = jnp.zeros(shape)
    ratings = Ratings(Conditions(none, none, none + 1.0, none + 1.0), none + WORST, none)
    rated = jnp.zeros(scenario.user_count, jnp.int32)
    return eqx.filter_jit(begin_experience)(ratings, rated, vague_prior(), agreements(scenario))
