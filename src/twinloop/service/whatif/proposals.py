"""What somebody proposes, by names and shares, as a reservation; and what is wrong with it."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.decision import Reservation
from twinloop.errors import TwinloopError
from twinloop.service.live import Picture

Shares = Mapping[str, Mapping[str, float]]
"""Share of a cell's bandwidth or a server's cycles by cell or server and slice."""

TOLERANCE = 1e-3
"""Share of a cell or server by which rounding may exceed it, as in `slicing.capacity_and_isolation`."""


class ProposalError(TwinloopError):
    """A proposal that cannot be: names that there are not, shares that do not fit, floors that it breaks."""


def reservation_of(shares: Shares, picture: Picture, standing: Reservation) -> Reservation:
    """The standing reservation with the proposed shares in place of its own; caches stay as they are.

    Raises ProposalError for unknown names, shares outside 0 to 1, and more than a cell or server has.
    """
    bandwidth, cycles = np.array(standing.bandwidth_hz), np.array(standing.cycles_per_s)
    pools = [
        ("cell", picture.cells.names.row, bandwidth, picture.cell_bandwidth_hz),
        ("server", picture.servers.names.row, cycles, picture.server_cycles_per_s),
    ]
    for pool, by_slice in shares.items():
        found = [(held, whole, rows[pool]) for _, rows, held, whole in pools if pool in rows]
        if not found:
            there = ", ".join((*picture.cells.names.row, *picture.servers.names.row))
            raise ProposalError(f"slices: there is no cell or server {pool!r}; there are {there}")
        for held, whole, row in found:
            _fill(held, row, float(whole[row]), pool, by_slice, picture)
    return Reservation(jnp.asarray(bandwidth), jnp.asarray(cycles), standing.cache_bytes)


def shares_of(reservation: Reservation, picture: Picture) -> dict[str, dict[str, float]]:
    """The shares that a reservation gives, by cell or server and slice."""
    rows = [
        *zip(picture.cells.ids, np.asarray(reservation.bandwidth_hz), picture.cell_bandwidth_hz, strict=True),
        *zip(picture.servers.ids, np.asarray(reservation.cycles_per_s), picture.server_cycles_per_s, strict=True),
    ]
    return {
        pool: {
            name: round(float(part / max(whole, 1e-9)), 4) for name, part in zip(picture.slices.ids, held, strict=True)
        }
        for pool, held, whole in rows
    }


def check_floors(
    standing: Reservation,
    proposed: Reservation,
    demand_hz: NDArray[np.float32],
    demand_cycles_per_s: NDArray[np.float32],
    picture: Picture,
) -> None:
    """Raises ProposalError where an active slice gets less than min(floor, its need) of a cell or server, unless it
    does so now as well; the rule of `slicing.capacity_and_isolation`.
    """
    parts = [
        (picture.cells.ids, picture.cell_bandwidth_hz, standing.bandwidth_hz, proposed.bandwidth_hz, demand_hz),
        (
            picture.servers.ids,
            picture.server_cycles_per_s,
            standing.cycles_per_s,
            proposed.cycles_per_s,
            demand_cycles_per_s,
        ),
    ]
    for pools, whole, before, after, demand in parts:
        least = np.minimum(picture.floor_share[None, :] * whole[:, None], demand)
        slack = TOLERANCE * whole[:, None]
        below = (np.asarray(after) < least - slack) & picture.slice_active[None, :]
        broken = np.argwhere(below & (np.asarray(after) < np.asarray(before) - slack))
        if len(broken):
            pool, row = (int(number) for number in broken[0])
            given, needed = float(np.asarray(after)[pool, row] / whole[pool]), float(least[pool, row] / whole[pool])
            raise ProposalError(
                f"slices.{pools[pool]}.{picture.slices.ids[row]}: {given:.3f} is less than {needed:.3f}, which the "
                f"slice was promised and needs there; give it at least that"
            )


def _fill(
    held: NDArray[np.float32], row: int, whole: float, pool: str, by_slice: Mapping[str, float], picture: Picture
) -> None:
    for name, share in by_slice.items():
        if name not in picture.slices.names.row:
            there = ", ".join(picture.slices.names.row)
            raise ProposalError(f"slices.{pool}: there is no slice {name!r}; there are {there}")
        if not 0.0 <= share <= 1.0:
            raise ProposalError(f"slices.{pool}.{name}: {share:g} is no share; give 0 to 1")
        held[row, picture.slices.names.row[name]] = share * whole
    total = float(held[row].sum()) / whole
    if total > 1.0 + TOLERANCE:
        raise ProposalError(
            f"slices.{pool}: its slices get {total:.3f} of it together, what is not named keeping what it has; "
            "give at most 1"
        )
