"""From the action that the loop asks for to the commands of its sites."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twinloop.entities import USER_ATTRIBUTES, Action, column
from twinloop.network import Command, FlowShare, SliceShare
from twinloop.scenario import Scenario
from twinloop.service.live import Picture, group_names

_SERVING = column(USER_ATTRIBUTES, "serving_cell")
WHOLE = "all"
"""The one site of a scenario that names none."""


def sites_of(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Edge servers of each site."""
    if not scenario.sites:
        return {WHOLE: tuple(server.name for server in scenario.network.servers)}
    return {site.name: tuple(site.servers) for site in scenario.sites}


class Orders:
    """Writes the commands of a scenario's sites."""

    def __init__(self, scenario: Scenario) -> None:
        servers, cells = scenario.network.servers, scenario.network.cells
        self._slices = scenario.slices
        self._cells = [cell.name for cell in cells]
        self._groups = group_names(scenario)
        self._pools: dict[str, tuple[Mapping[str, int], Mapping[str, int]]] = {}
        for site, names in sites_of(scenario).items():
            own_cells = {cell.name: row for row, cell in enumerate(cells) if cell.server in names}
            own_servers = {server.name: row for row, server in enumerate(servers) if server.name in names}
            self._pools[site] = (own_cells, own_servers)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites."""
        return tuple(self._pools)

    def reported_s(self, picture: Picture) -> dict[str, float]:
        """When any cell or server of each site was last measured, epoch seconds; -inf for never."""
        newest = [kind.slot.max(axis=1, initial=-1) for kind in (picture.cells, picture.servers)]
        slots = {
            site: max(int(slot[row]) for slot, pool in zip(newest, pools, strict=True) for row in pool.values())
            for site, pools in self._pools.items()
        }
        return {site: picture.time_s(slot) if slot >= 0 else float("-inf") for site, slot in slots.items()}

    def write(
        self, action: Action, revision: int, picture: Picture, issued_s: float, *, flows: bool
    ) -> dict[str, Command]:
        """The command of each site; without `flows` sites schedule inside slices by themselves."""
        arrays = {name: np.asarray(value, np.float64) for name, value in vars(action).items()}
        served = self._users_by_cell(picture) if flows else {}
        return {
            site: Command(
                revision=revision,
                site=site,
                issued_s=issued_s,
                slices=[self._share(arrays, column, site) for column in range(len(self._slices))],
                flows=self._flows(arrays, picture, served, site) if flows else None,
            )
            for site in self._pools
        }

    def _share(self, arrays: Mapping[str, NDArray[np.float64]], column: int, site: str) -> SliceShare:
        cells, servers = self._pools[site]

        def held(name: str, pool: Mapping[str, int]) -> dict[str, float]:
            return {part: round(float(arrays[name][row, column]), 3) for part, row in pool.items()}

        entry = self._slices[column]
        return SliceShare(
            slice=entry.name,
            sst=entry.sst,
            sd=entry.sd,
            active=bool(arrays["slice_active"][column]),
            bandwidth_hz=held("slice_bandwidth_hz", cells),
            cycles_per_s=held("slice_cycles_per_s", servers),
            cache_bytes=held("slice_cache_bytes", servers),
        )

    def _users_by_cell(self, picture: Picture) -> dict[int, list[int]]:
        users = picture.users
        there = users.active & (users.slot[:, _SERVING] >= 0)
        by_cell: dict[int, list[int]] = {}
        for row in np.flatnonzero(there):
            by_cell.setdefault(int(users.value[row, _SERVING]), []).append(int(row))
        return by_cell

    def _flows(
        self,
        arrays: Mapping[str, NDArray[np.float64]],
        picture: Picture,
        served: Mapping[int, list[int]],
        site: str,
    ) -> list[FlowShare] | None:
        """What each user and group gets; None where nobody is known to be there, so that the site goes on by itself."""
        bandwidth: list[float] = arrays["flow_bandwidth_hz"].tolist()
        cycles: list[float] = arrays["flow_cycles_per_s"].tolist()
        cells, _ = self._pools[site]
        shares = [
            FlowShare(round(bandwidth[row], 1), round(cycles[row], 1), user=picture.users.ids[row])
            for cell in cells.values()
            for row in served.get(cell, [])
            if picture.users.ids[row]
        ]
        users = len(picture.users.ids)
        for number, group in enumerate(self._groups):
            for name, cell in cells.items():
                at = users + number * len(self._cells) + cell
                if bandwidth[at] > 0 or cycles[at] > 0:
                    shares.append(FlowShare(round(bandwidth[at], 1), round(cycles[at], 1), group=group, cell=name))
        return shares or None
