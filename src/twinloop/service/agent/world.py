"""A simulated site as its own network: it lives slot by slot, measures what it is asked for, and does as commanded."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Action, Attribute, column
from twinloop.network import Command, Kind, Names, Plan, Report, action_of, default_request, request_of
from twinloop.runs import compiler_options
from twinloop.scenario import Scenario, build_world, site_of
from twinloop.service.live import group_names

_X, _Y, _SERVING = (column(USER_ATTRIBUTES, name) for name in ("position_x_m", "position_y_m", "serving_cell"))
Columns = dict[str, Any]


class World:
    """One site of `scenario`, or all of it where `site` is None; users are called `<site>-<number>`.

    Positions and cells are reported as the whole scenario counts them. Without flows in a command, each slice's share
    of a cell is split evenly over its flows there.
    """

    def __init__(self, scenario: Scenario, site: str | None, seed: int) -> None:
        whole = scenario
        own = (scenario if site is None else site_of(scenario, site)).model_copy(update={"seed": seed})
        self.name = site or "all"
        self.origin_m = next((part.origin_m for part in whole.sites if part.name == site), (0.0, 0.0))
        self.network, self.params = build_world(own)
        self.names = Names(
            cells=[cell.name for cell in own.network.cells],
            servers=[server.name for server in own.network.servers],
            slices=[entry.name for entry in own.slices],
            users=[f"{self.name}-{row:03d}" for row in range(own.user_count)],
            groups=list(group_names(own)),
        )
        everywhere = [cell.name for cell in whole.network.cells]
        self._cell_row = np.array([everywhere.index(name) for name in self.names.cells], np.float32)
        self._slices = [self.names.slices[row] for row in np.asarray(self.params.user_slice)]
        self._groups = [self.names.groups[g] if g >= 0 else None for g in np.asarray(self.params.user_group)]
        self._ids: dict[Kind, Sequence[str]] = {
            "users": self.names.users,
            "cells": self.names.cells,
            "servers": self.names.servers,
        }
        counts: dict[Kind, int] = {
            "users": own.user_count,
            "cells": len(self.names.cells),
            "servers": len(self.names.servers),
        }
        self._default = default_request(counts)
        self.request = self._default
        self.action = self._even_shares()
        self._own_flows = True
        self._key = jax.random.key(seed)
        self.slot = 0
        jit: Any = eqx.filter_jit
        begin: Any = jit(self.network.begin, compiler_options=compiler_options())
        self.plant = begin(self._key, self.action)
        self._live: Any = (
            jit(_live, compiler_options=compiler_options())
            .lower(self._key, self.network, self.plant, self.request)
            .compile()
        )
        self._apply: Any = jit(_apply)

    def follow(self, plan: Plan) -> None:
        """Reports by `plan` from the next slot on."""
        self.request = request_of(plan, self._ids, self._default)

    def obey(self, command: Command) -> list[str]:
        """Does as commanded from the next slot on; what the command names that is not here is returned."""
        self.action, unknown = action_of(command, self.names, self.action)
        self._own_flows = command.flows is None
        return unknown

    @property
    def revision(self) -> int:
        """Number of the command in effect."""
        return int(self.plant.revision)

    def live(self, revision: int) -> Report:
        """One slot under the command of that number, then what is due for reporting."""
        key = jax.random.fold_in(self._key, self.slot)
        action = self._scheduled() if self._own_flows else self.action
        self.plant = self._apply(key, self.network, self.plant, action, jnp.int32(max(revision, 0)))
        self.plant, report = self._live(key, self.network, self.plant, self.request)
        self.slot += 1
        return jax.device_get(report)

    def columns(self, report: Report, epoch_s: float) -> list[Columns]:
        """The report as columns of a batch; slot n is taken to begin at `epoch_s` + n."""
        slot_s = self.params.slot_s
        parts = [
            ("user", USER_ATTRIBUTES, report.users, self.names.users),
            ("cell", CELL_ATTRIBUTES, report.cells, self.names.cells),
            ("server", SERVER_ATTRIBUTES, report.servers, self.names.servers),
        ]
        written: list[Columns] = []
        for kind, table, reports, ids in parts:
            sent, measured = np.asarray(reports.sent), np.asarray(reports.slot)
            lane, row = np.nonzero(sent.any(axis=2))
            if lane.size == 0:
                continue
            value = np.array(reports.value)[lane, row]
            value = self._placed(value) if kind == "user" else value
            columns = _columns(kind, table, value, sent[lane, row], [ids[int(at)] for at in row])
            columns["time_s"] = (epoch_s + measured[lane, row] * slot_s).tolist()
            if kind == "user":
                columns |= {"slices": [self._slices[at] for at in row], "groups": [self._groups[at] for at in row]}
            written.append(columns)
        return written

    def _placed(self, value: NDArray[np.float32]) -> NDArray[np.float32]:
        value[:, _X] += self.origin_m[0]
        value[:, _Y] += self.origin_m[1]
        value[:, _SERVING] = self._cell_row[np.clip(value[:, _SERVING].astype(int), 0, self._cell_row.size - 1)]
        return value

    def _even_shares(self) -> Action:
        topology, active = self.params.topology, self.params.slices.active
        share = active / jnp.maximum(jnp.sum(active), 1)
        cells = topology.cell_bandwidth_hz.shape[0]
        flows = jnp.zeros(self.params.user_slice.shape[0] + self.params.group_slice.shape[0] * cells)

        def even(capacity: Float[Array, " pools"]) -> Float[Array, "pools slices"]:
            return capacity[:, None] * share[None, :]

        return Action(
            active,
            even(topology.cell_bandwidth_hz),
            even(topology.server_cycles_per_s),
            even(topology.server_cache_bytes),
            flows,
            flows,
        )

    def _scheduled(self) -> Action:
        """The action with every slice's share of a cell or server split evenly over its flows there."""
        params, outcome = self.params, self.plant.outcome
        cells = params.topology.cell_server.shape[0]
        here, serving = np.asarray(outcome.active), np.asarray(outcome.serving_cell)
        user_slice, group_slice = np.asarray(params.user_slice), np.asarray(params.group_slice)
        group = np.asarray(params.user_group)
        members = np.zeros((group_slice.size, cells), bool)
        joined = here & (group >= 0)
        members[group[joined], serving[joined]] = True
        active = np.concatenate([here & (group < 0), members.reshape(-1)])
        cell = np.concatenate([serving, np.tile(np.arange(cells), group_slice.size)])
        of_slice = np.concatenate([user_slice, np.repeat(group_slice, cells)])
        server = np.asarray(params.topology.cell_server)[cell]
        bandwidth = _split(np.asarray(self.action.slice_bandwidth_hz), cell, of_slice, active)
        cycles = _split(np.asarray(self.action.slice_cycles_per_s), server, of_slice, active)
        return eqx.tree_at(lambda a: (a.flow_bandwidth_hz, a.flow_cycles_per_s), self.action, (bandwidth, cycles))


def _live(key: Array, network: Any, plant: Any, request: Any) -> tuple[Any, Report]:
    return network.report(jax.random.fold_in(key, 1), plant, request)


def _apply(key: Array, network: Any, plant: Any, action: Action, revision: Array) -> Any:
    return network.apply(jax.random.fold_in(key, 2), plant, action, revision)


def _split(
    held: NDArray[np.float32], pool: NDArray[np.int64], of_slice: NDArray[np.int64], active: NDArray[np.bool_]
) -> Array:
    count = np.zeros(held.shape)
    np.add.at(count, (pool[active], of_slice[active]), 1.0)
    each = held / np.maximum(count, 1.0)
    return jnp.asarray(np.where(active, each[pool, of_slice], 0.0), jnp.float32)


def _columns(
    kind: str, table: tuple[Attribute, ...], value: NDArray[np.float32], sent: NDArray[np.bool_], ids: list[str]
) -> Columns:
    carried = np.flatnonzero(sent.any(axis=0))
    cells = value[:, carried].astype(object)
    cells[~sent[:, carried]] = None
    return {"kind": kind, "attributes": [table[at].name for at in carried], "ids": ids, "values": cells.tolist()}
