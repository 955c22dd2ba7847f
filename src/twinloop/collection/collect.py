"""From the reports that arrived in a slot to observations: each attribute's newest measurement, and what it cost."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.network import HEADER_BITS, KindRequest, Report, Reports, Request


class Seen(eqx.Module):
    """What one slot's reports say about one kind of entity.

    `value[e, a]` measured in `slot[e, a]`, valid where `fresh`. `bits` received with their headers, duplicates
    included since they were carried too. `reports` distinct reports, of which `late` measured before the slot they
    arrived in; `duplicates` reports that repeat another one of the same slot.
    """

    value: Float[Array, "entities attributes"]
    fresh: Bool[Array, "entities attributes"]
    slot: Int[Array, "entities attributes"]
    bits: Float[Array, ""]
    reports: Int[Array, ""]
    late: Int[Array, ""]
    duplicates: Int[Array, ""]


class Observations(eqx.Module):
    """Everything seen in one slot (the slot of arrival)."""

    slot: Int[Array, ""]
    users: Seen
    cells: Seen
    servers: Seen


def collect(request: Request, report: Report) -> Observations:
    """Observations in a slot's reports: per attribute the newest measurement wins, in whatever order they came.

    Of two different reports measured in the same slot the higher sequence number wins. A measurement that claims a
    later slot than the one it arrived in (a clock ahead) counts as measured on arrival; one that is not finite, or
    from before slot 0, is no measurement.

    Left out: a duplicate that arrives in a later slot than its original is counted as late, not as duplicate; the twins
    ignore it either way, since it is not newer than what they know.
    """
    return Observations(
        slot=report.slot,
        users=_seen(request.users, report.users, report.slot),
        cells=_seen(request.cells, report.cells, report.slot),
        servers=_seen(request.servers, report.servers, report.slot),
    )


def _seen(request: KindRequest, reports: Reports, now: Int[Array, ""]) -> Seen:
    lanes, entities, attributes = reports.value.shape
    arrived = jnp.any(reports.sent, axis=2) & (reports.slot >= 0)
    duplicate = _duplicates(reports.sequence, arrived)
    distinct = arrived & ~duplicate
    measured = jnp.minimum(reports.slot, now)

    value = jnp.zeros((entities, attributes))
    slot = jnp.full((entities, attributes), -1, jnp.int32)
    sequence = jnp.full((entities, attributes), -1, jnp.int32)
    for lane in range(lanes):
        lane_slot, lane_sequence = measured[lane][:, None], reports.sequence[lane][:, None]
        newer = (lane_slot > slot) | ((lane_slot == slot) & (lane_sequence > sequence))
        usable = reports.sent[lane] & distinct[lane][:, None] & jnp.isfinite(reports.value[lane])
        take = usable & newer
        value = jnp.where(take, reports.value[lane], value)
        slot = jnp.where(take, lane_slot, slot)
        sequence = jnp.where(take, lane_sequence, sequence)

    carried = jnp.sum(reports.sent, axis=(0, 1)).astype(jnp.float32)
    return Seen(
        value=value,
        fresh=slot >= 0,
        slot=slot,
        bits=jnp.dot(carried, request.bits.astype(jnp.float32)) + HEADER_BITS * jnp.sum(jnp.any(reports.sent, axis=2)),
        reports=jnp.sum(distinct),
        late=jnp.sum(distinct & (measured < now)),
        duplicates=jnp.sum(duplicate),
    )


def _duplicates(
    sequence: Int[Array, "lanes entities"], arrived: Bool[Array, "lanes entities"]
) -> Bool[Array, "lanes entities"]:
    lanes = sequence.shape[0]
    same = (sequence[:, None, :] == sequence[None, :, :]) & arrived[:, None, :] & arrived[None, :, :]
    earlier = jnp.tril(jnp.ones((lanes, lanes), bool), k=-1)
    return jnp.any(same & earlier[:, :, None], axis=1)
