"""What a site is commanded to do, as it travels: slices by name and S-NSSAI, and, where asked, flows inside them."""

from collections.abc import Sequence

import jax.numpy as jnp
import msgspec
import numpy as np

from twinloop.entities import Action


class SliceShare(msgspec.Struct, frozen=True):
    """What one slice holds at a site: Hz of each cell, cycles/s and bytes of cache of each server, by name."""

    slice: str
    sst: int
    sd: str
    active: bool
    bandwidth_hz: dict[str, float]
    cycles_per_s: dict[str, float]
    cache_bytes: dict[str, float]


class FlowShare(msgspec.Struct, frozen=True):
    """What one flow holds: of a `user`, or of multicast `group` in `cell`."""

    bandwidth_hz: float
    cycles_per_s: float
    user: str = ""
    group: str = ""
    cell: str = ""


class Command(msgspec.Struct, frozen=True):
    """Everything that `site` shall do from now on. Without `flows` the site schedules inside slices by itself.

    A receipt carries `revision` back, with what became of it.
    """

    revision: int
    site: str
    issued_s: float
    slices: list[SliceShare]
    flows: list[FlowShare] | None = None

    def same_as(self, other: "Command | None") -> bool:
        """Whether both ask for the same."""
        return other is not None and (self.slices, self.flows) == (other.slices, other.flows)


class Names(msgspec.Struct, frozen=True):
    """Names of the rows of an action; `users` is "" where nobody stands."""

    cells: Sequence[str]
    servers: Sequence[str]
    slices: Sequence[str]
    users: Sequence[str]
    groups: Sequence[str]


def action_of(command: Command, names: Names, before: Action) -> tuple[Action, list[str]]:
    """`before` with everything that the command names, and what it names that there is not.

    Where the command leaves flows to the site, those of `before` are kept: the site fits them into the slices.
    """
    columns = {name: column for column, name in enumerate(names.slices)}
    active = np.array(before.slice_active)
    pools = {
        "bandwidth_hz": (names.cells, np.array(before.slice_bandwidth_hz)),
        "cycles_per_s": (names.servers, np.array(before.slice_cycles_per_s)),
        "cache_bytes": (names.servers, np.array(before.slice_cache_bytes)),
    }
    unknown = [part.slice for part in command.slices if part.slice not in columns]
    for part in command.slices:
        column = columns.get(part.slice)
        if column is None:
            continue
        active[column] = part.active
        for field, (rows, held) in pools.items():
            shares: dict[str, float] = getattr(part, field)
            unknown += [name for name in shares if name not in rows]
            for row, name in enumerate(rows):
                held[row, column] = shares.get(name, held[row, column])
    bandwidth, cycles = np.array(before.flow_bandwidth_hz), np.array(before.flow_cycles_per_s)
    if command.flows is not None:
        place = _places(names)
        bandwidth[:], cycles[:] = 0.0, 0.0
        for flow in command.flows:
            at = place.get((flow.user, flow.group, flow.cell))
            if at is None:
                unknown.append(flow.user or f"{flow.group} in {flow.cell}")
                continue
            bandwidth[at], cycles[at] = flow.bandwidth_hz, flow.cycles_per_s
    held = {field: jnp.asarray(values) for field, (_, values) in pools.items()}
    return (
        Action(
            jnp.asarray(active),
            held["bandwidth_hz"],
            held["cycles_per_s"],
            held["cache_bytes"],
            jnp.asarray(bandwidth),
            jnp.asarray(cycles),
        ),
        unknown,
    )


def _places(names: Names) -> dict[tuple[str, str, str], int]:
    """Numbers of flows: users first, then multicast groups by cell (see `Action`)."""
    users, cells = len(names.users), len(names.cells)
    unicast = {(name, "", ""): row for row, name in enumerate(names.users) if name}
    bearers = {
        ("", group, cell): users + number * cells + at
        for number, group in enumerate(names.groups)
        for at, cell in enumerate(names.cells)
    }
    return unicast | bearers
