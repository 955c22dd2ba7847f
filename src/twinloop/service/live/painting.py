"""From the state of a live loop to the picture that everybody else reads."""

from collections.abc import Sequence

import jax
import numpy as np

from twinloop.emulation import KindForecast
from twinloop.loop import Loop, LoopState
from twinloop.network import LiveNetwork
from twinloop.scenario import Scenario
from twinloop.service.live.members import Members
from twinloop.service.live.picture import KindPicture, Picture
from twinloop.twins import ATTRIBUTES, Current, Kind, TwinTable


def paint(
    scenario: Scenario, members: Members, loop: Loop[LiveNetwork], state: LoopState, slot: int, epoch_s: float
) -> Picture:
    """The twins after `slot`, copied to the host."""
    believed = loop.abstractor.params
    standing = state.standing.action
    host = jax.device_get(
        (
            [(table.current, foretold) for table, foretold in _tables(state)],
            (loop.slices, standing.slice_bandwidth_hz, standing.slice_cycles_per_s),
            (state.pending.confirmed_revision, state.pending.revision),
            (believed.topology.cell_bandwidth_hz, believed.topology.server_cycles_per_s),
            (believed.topology.cell_server, believed.topology.cell_path_m[:, 0, :2]),
        )
    )
    tables, (slices, bandwidth, cycles), (confirmed, requested), capacity, (server, position) = host
    names = (members.users.names, members.cells.names, members.servers.names, members.slice_names)
    kinds = [_kind(kind, ids, *table) for kind, ids, table in zip(ATTRIBUTES, names, tables, strict=True)]
    return Picture(
        slot=slot,
        slot_s=loop.slot_s,
        epoch_s=epoch_s,
        users=kinds[0],
        cells=kinds[1],
        servers=kinds[2],
        slices=kinds[3],
        user_slice=members.user_slice.copy(),
        cell_server=server,
        cell_position_m=position,
        cell_bandwidth_hz=capacity[0],
        server_cycles_per_s=capacity[1],
        area_m=scenario.area_m,
        slice_sst=tuple(entry.sst for entry in scenario.slices),
        slice_sd=tuple(entry.sd for entry in scenario.slices),
        slice_active=slices.active,
        target_bps=slices.target_bps,
        floor_share=slices.floor_share,
        reserved_bandwidth_hz=bandwidth,
        reserved_cycles_per_s=cycles,
        confirmed_revision=int(confirmed),
        requested_revision=int(requested),
    )


def _tables(state: LoopState) -> list[tuple[TwinTable, KindForecast | None]]:
    twin, forecast = state.twin, state.forecast
    return [
        (twin.users, forecast.users),
        (twin.cells, forecast.cells),
        (twin.servers, forecast.servers),
        (twin.slices, None),
    ]


def _kind(kind: Kind, ids: Sequence[str], current: Current, foretold: KindForecast | None) -> KindPicture:
    unknown = np.full(np.shape(current.value), np.nan, np.float32)
    return KindPicture(
        kind=kind,
        ids=tuple(ids),
        active=np.asarray(current.active),
        value=np.asarray(current.value),
        slot=np.asarray(current.slot),
        revision=np.asarray(current.revision),
        fidelity=np.where(np.asarray(current.error) >= 0, 1.0 - np.asarray(current.error), np.float32(np.nan)),
        emulated=unknown if foretold is None else np.asarray(foretold.emulated),
        emulated_std=unknown if foretold is None else np.asarray(foretold.std),
    )
