"""What a slice is promised, as a row of arrays, and its life cycle: create, adjust, end."""

from collections.abc import Sequence
from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


@dataclass(frozen=True)
class SliceSpec:
    """A slice as its tenant orders it.

    `sst` and `sd` form the S-NSSAI (3GPP TS 23.003, 28.4.2). `target_bps` is the downlink rate each user is promised
    (dLThptPerUE of TS 28.541), `floor_share` the dedicated share of every cell's bandwidth, every server's cycles and
    every cache (rRMPolicyDedicatedRatio), `weight` the worth of one satisfied user.
    """

    name: str
    sst: int
    sd: str
    service: str
    target_bps: float
    floor_share: float = 0.0
    weight: float = 1.0


class SliceTable(eqx.Module):
    """The slices' promises by row; an inactive row gets nothing, and who is in it is served nothing."""

    active: Bool[Array, " slices"]
    target_bps: Float[Array, " slices"]
    floor_share: Float[Array, " slices"]
    weight: Float[Array, " slices"]


def table_from_specs(specs: Sequence[SliceSpec], capacity: int) -> SliceTable:
    """Table with `specs` in its first rows, all active, and room for `capacity` slices.

    Raises ValueError when there are more specs than rows or the floors promise more than everything.
    """
    if len(specs) > capacity:
        raise ValueError(f"{len(specs)} slices do not fit {capacity} rows")
    empty = jnp.zeros(capacity)
    table = SliceTable(jnp.zeros(capacity, bool), empty, empty, empty)
    for row, spec in enumerate(specs):
        table = create_slice(table, row, spec)
    return table


def create_slice(table: SliceTable, row: int, spec: SliceSpec) -> SliceTable:
    """Table with `spec` active in the free row `row`. Raises ValueError when the row is taken or the floors exceed
    1.
    """
    if bool(table.active[row]):
        raise ValueError(f"slice row {row} is taken")
    created = SliceTable(
        table.active.at[row].set(True),
        table.target_bps.at[row].set(spec.target_bps),
        table.floor_share.at[row].set(spec.floor_share),
        table.weight.at[row].set(spec.weight),
    )
    return _with_possible_floors(created)


def adjust_slice(
    table: SliceTable,
    row: int,
    *,
    target_bps: float | None = None,
    floor_share: float | None = None,
    weight: float | None = None,
) -> SliceTable:
    """Table with the given promises of an active slice changed. Raises ValueError when inactive or the floors exceed
    1.
    """
    if not bool(table.active[row]):
        raise ValueError(f"slice row {row} is not active")
    changed = table
    if target_bps is not None:
        changed = eqx.tree_at(lambda t: t.target_bps, changed, changed.target_bps.at[row].set(target_bps))
    if floor_share is not None:
        changed = eqx.tree_at(lambda t: t.floor_share, changed, changed.floor_share.at[row].set(floor_share))
    if weight is not None:
        changed = eqx.tree_at(lambda t: t.weight, changed, changed.weight.at[row].set(weight))
    return _with_possible_floors(changed)


def end_slice(table: SliceTable, row: int) -> SliceTable:
    """Table with the slice in `row` ended: its floor returns to the others. Raises ValueError when it is not active."""
    if not bool(table.active[row]):
        raise ValueError(f"slice row {row} is not active")
    return SliceTable(
        table.active.at[row].set(False),
        table.target_bps.at[row].set(0.0),
        table.floor_share.at[row].set(0.0),
        table.weight.at[row].set(0.0),
    )


def _with_possible_floors(table: SliceTable) -> SliceTable:
    promised = float(jnp.sum(table.floor_share))
    if promised > 1.0 + 1e-6:
        raise ValueError(f"the slices' floors promise {promised:.2f} of every cell; they must sum to at most 1")
    return table
