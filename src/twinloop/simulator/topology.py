"""Cells, their backhaul and edge servers: where they stand or fly, what they transmit, what they can carry."""

from typing import get_args

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.errors import ScenarioError
from twinloop.simulator.air.channel import PathLossModel


class Topology(eqx.Module):
    """The fixed side of the network.

    `models` names each cell's path loss model. A cell follows the closed polyline `cell_path_m` (x, y, height) at
    `cell_speed_mps`; a fixed cell repeats its point. `cell_gain_db` is the antenna gain, the same in every direction;
    `cell_exponent` is read by `close_in` cells only. `cell_delay_s` is the one-way propagation delay of the access
    link, which tells a satellite cell from a very wide one; `link_*` describe the backhaul to server `cell_server`.
    A cell draws `cell_static_w` + load x transmit power / `cell_amplifier_efficiency`, a server
    `server_kappa` x (cycles/s)^2 joules a cycle. `area_m` is width and height of the area, whose corner is the origin.

    Left out: sectors and antenna patterns, uplink, one server a cell at most.
    Raises ScenarioError when a model is unknown or the number of models is not the number of cells.
    """

    models: tuple[str, ...] = eqx.field(static=True)
    cell_path_m: Float[Array, "cells waypoints 3"]
    cell_speed_mps: Float[Array, " cells"]
    cell_power_dbm: Float[Array, " cells"]
    cell_gain_db: Float[Array, " cells"]
    cell_frequency_hz: Float[Array, " cells"]
    cell_bandwidth_hz: Float[Array, " cells"]
    cell_exponent: Float[Array, " cells"]
    cell_delay_s: Float[Array, " cells"]
    cell_static_w: Float[Array, " cells"]
    cell_amplifier_efficiency: Float[Array, " cells"]
    cell_server: Int[Array, " cells"]
    link_delay_s: Float[Array, " cells"]
    link_capacity_bps: Float[Array, " cells"]
    server_cycles_per_s: Float[Array, " servers"]
    server_cache_bytes: Float[Array, " servers"]
    server_kappa: Float[Array, " servers"]
    area_m: Float[Array, "2"]

    def __check_init__(self) -> None:
        known = get_args(PathLossModel)
        for model in self.models:
            if model not in known:
                raise ScenarioError(f"unknown path loss model {model!r}; there are {', '.join(known)}")
        cells = self.cell_power_dbm.shape[-1]
        if len(self.models) != cells:
            raise ScenarioError(f"{cells} cells have {len(self.models)} path loss models; name one for each cell")


def cell_positions(topology: Topology, time_s: Float[Array, ""]) -> Float[Array, "cells 3"]:
    """Where the cells are at `time_s`, metres.

    Each cell has travelled v t modulo the length of its closed polyline since time 0, when it was at its first point.
    A polyline without length keeps the cell there. Left out: turning radius, acceleration, charging.
    """
    path = topology.cell_path_m
    leg = jnp.roll(path, -1, axis=1) - path
    length = jnp.sqrt(jnp.sum(leg**2, axis=2))
    end = jnp.cumsum(length, axis=1)
    travelled = jnp.mod(topology.cell_speed_mps * time_s, jnp.maximum(end[:, -1], 1e-3))[:, None]
    share = jnp.clip((travelled - (end - length)) / jnp.maximum(length, 1e-6), 0.0, 1.0)
    return path[:, 0] + jnp.sum(leg * share[:, :, None], axis=1)
