"""From the reports that arrived in a slot to observations: each attribute's newest measurement, and what it cost."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.network import Report, Reports


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


def collect(report: Report) -> Observations:
    """Observations in a slot's reports: per attribute the newest measurement wins, in whatever order they came.

    Of two different reports measured in the same slot the higher sequence number wins. A measurement that claims a
    later slot than the one it arrived in (a clock ahead) counts as measured on arrival; one that is not finite, or
    from before slot 0, is no measurement.

    Left out: a duplicate that arrives in a later slot than its original is counted as late, not as duplicate; the twins
    ignore it either way, since it is not newer than what they know.
    """
    return Observations(
        slot=report.slot,
        users=collect_kind(report.users, report.slot),
        cells=collect_kind(report.cells, report.slot),
        servers=collect_kind(report.servers, report.slot),
    )


def collect_kind(reports: Reports, now: Int[Array, ""]) -> Seen:
    """What the reports of one kind that arrived in slot `now` say; see `collect`."""
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

    return Seen(
        value=value,
        fresh=slot >= 0,
        slot=slot,
        bits=jnp.sum(reports.size_bits),
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


class Control(eqx.Module):
    """A negative control of a study: from slot `since` on, twins are `frozen`, or `shuffled` (each user gets
    another's).

    Values, not kinds: sound and spoiled twins run in one compiled program.
    """

    since: Int[Array, ""]
    frozen: Bool[Array, ""]
    shuffled: Bool[Array, ""]

    def spoil(self, seen: Observations, slot: Int[Array, ""]) -> Observations:
        """`seen` as the control lets the twins see it."""
        on = slot >= self.since
        users = seen.users
        half = users.fresh.shape[0] // 2
        value, fresh, measured = jax.tree.map(
            lambda leaf: jnp.where(on & self.shuffled, jnp.roll(leaf, half, axis=0), leaf),
            (users.value, users.fresh, users.slot),
        )
        spoiled = (value, fresh & ~(on & self.frozen), measured)
        return eqx.tree_at(lambda s: (s.users.value, s.users.fresh, s.users.slot), seen, spoiled)


def control(kind: Literal["none", "frozen", "shuffled"], since: int) -> Control:
    """The control of that kind from slot `since` on; `none` lets the twins see everything."""
    return Control(jnp.int32(since), jnp.asarray(kind == "frozen"), jnp.asarray(kind == "shuffled"))
