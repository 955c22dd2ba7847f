"""From user, cell and server twins to the features of a decision: flows for the slot, demand of slices for the
window.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.abstraction.features import Features
from twinloop.abstraction.felt import Felt, felt_by_users, with_bearers
from twinloop.abstraction.swipes import watching_probability
from twinloop.emulation import Forecast, Prospects
from twinloop.entities import SLICE_ATTRIBUTES, USER_ATTRIBUTES, column
from twinloop.simulator import Outcome, Params, spectral_efficiency
from twinloop.slicing import SliceTable
from twinloop.twins import Twins, swipe_hazard, viewer_factor

_FALL_BACK_SHARE = 0.05
_LEAST_WORK = 0.05
_LOWEST_EFFICIENCY = 0.05
"""bit/s/Hz below which a link is planned as if it had this; else one lost user claims a whole cell; *ours*."""


class _People(eqx.Module):
    """What the twins expect of every user in the next slot."""

    active: Bool[Array, " users"]
    cell: Int[Array, " users"]
    slice_row: Int[Array, " users"]
    efficiency: Float[Array, " users"]
    need_bps: Float[Array, " users"]
    want_bps: Float[Array, " users"]
    cycles_per_bit: Float[Array, " users"]
    buffer_s: Float[Array, " users"]
    rate_bps: Float[Array, " users"]
    version: Float[Array, " users"]


class Abstractor(eqx.Module):
    """Turns forecasts into features with the twin's own belief of the physics, `params`.

    `demand_margin` is added to every user's promised rate (0.1 = 10 %): sizes vary and players are careful. `horizon`
    is the number of segments ahead whose watching probability bounds what is worth sending: at least the player's
    buffer and one slot.
    """

    params: Params
    demand_margin: Float[Array, ""]
    horizon: int = eqx.field(static=True)

    def abstract(
        self, twins: Twins, forecast: Forecast, slices: SliceTable, prospects: Prospects | None = None
    ) -> Features:
        """Features of the next slot, with what the next window may bring, where that was foreseen.

        Demand of slice s in cell c: sum over its flows of need / spectral efficiency; of cycles at a server:
        need x expected cycles per bit; of cache: the server's cache in proportion to users who need transcoding.
        """
        known = twins.users.current.slot >= 0
        expected = jnp.where(known, forecast.users.emulated, 0.0)
        present = twins.users.current.active
        people = self._people(twins, lambda name: expected[:, column(USER_ATTRIBUTES, name)], present, slices)
        return self._features(people, slices, self._felt(twins, people, slices), prospects)

    def foresee(self, twins: Twins, outcome: Outcome, slices: SliceTable) -> Features:
        """Features of the slot after `outcome`, a slot of a what-if: what the twins would see if it came true."""
        people = self._people(twins, lambda name: getattr(outcome, name).astype(jnp.float32), outcome.active, slices)
        return self._features(people, slices, self._felt(twins, people, slices))

    def _felt(self, twins: Twins, people: _People, slices: SliceTable) -> Felt | None:
        if twins.experience is None:
            return None
        users, catalogue = twins.users.current, self.params.catalogue
        work = self.params.edge.cycles_per_bit * jnp.maximum(self._missing(twins, slices), _LEAST_WORK)
        value = jnp.where(users.slot >= 0, users.value, 0.0)
        own = work[self.params.user_slice]
        felt = felt_by_users(twins.experience, value, self.params.slot_s, catalogue.version_bps, own, people.version)
        listens, bearer, bearers = self._bearers(people)

        def total(of_users: Array) -> Array:
            return jax.ops.segment_sum(jnp.where(listens, of_users, 0.0), bearer, bearers + 1)[:bearers]

        members = total(jnp.ones_like(people.need_bps))
        shared = jnp.repeat(work[self.params.group_slice], self.params.topology.cell_server.shape[0], axis=0)
        return with_bearers(felt, lambda of_users: total(of_users) / jnp.maximum(members, 1.0), members > 0, shared)

    def _missing(self, twins: Twins, slices: SliceTable) -> Float[Array, "slices versions"]:
        """Chance that a popular draw of each version is not in the cache of a slice; 0 for the top one, which is
        stored.
        """
        catalogue = self.params.catalogue
        servers = self.params.topology.server_cycles_per_s.shape[0]
        cache = twins.slices.current.value[:, column(SLICE_ATTRIBUTES, "reserved_cache_bytes")] / servers
        weight = catalogue.popularity / jnp.sum(catalogue.popularity)
        lacks = catalogue.cached_bytes_before[None, :, :] > cache[:, None, None]
        return jnp.einsum("v,svl->sl", weight, lacks.astype(jnp.float32))

    def _features(
        self, people: _People, slices: SliceTable, felt: Felt | None, prospects: Prospects | None = None
    ) -> Features:
        flows = _concatenated(self._unicast(people, slices), self._multicast(people, slices))
        topology = self.params.topology
        cells, servers, rows = (
            topology.cell_server.shape[0],
            topology.server_cycles_per_s.shape[0],
            slices.active.shape[0],
        )
        load = jnp.where(flows["flow_active"], flows["need_bps"], 0.0)
        at_cell = flows["flow_cell"] * rows + flows["flow_slice"]
        at_server = topology.cell_server[flows["flow_cell"]] * rows + flows["flow_slice"]
        users = _pooled(people.active.astype(jnp.float32), people.cell * rows + people.slice_row, cells, rows)
        lower = people.active & (people.need_bps < self.params.catalogue.version_bps[-1] * 0.999)
        lower_at = topology.cell_server[people.cell] * rows + people.slice_row
        of_cache = _pooled(lower.astype(jnp.float32), lower_at, servers, rows)
        of_cache = of_cache / jnp.maximum(jnp.sum(of_cache, axis=1, keepdims=True), 1.0)
        return Features(
            **flows,
            slice_demand_hz=_pooled(load / flows["spectral_efficiency"], at_cell, cells, rows),
            slice_demand_cycles_per_s=_pooled(load * flows["cycles_per_bit"], at_server, servers, rows),
            slice_demand_cache_bytes=of_cache * topology.server_cache_bytes[:, None],
            slice_users=users,
            cell_server=topology.cell_server,
            cell_bandwidth_hz=topology.cell_bandwidth_hz,
            server_cycles_per_s=topology.server_cycles_per_s,
            server_cache_bytes=topology.server_cache_bytes,
            felt=felt,
            prospects=prospects,
        )

    def _people(
        self,
        twins: Twins,
        of: Callable[[str], Float[Array, " users"]],
        present: Bool[Array, " users"],
        slices: SliceTable,
    ) -> _People:
        """`of` gives an attribute of every user by its name."""
        params = self.params
        row = params.user_slice
        need = slices.target_bps[row] * (1.0 + self.demand_margin)
        buffer = jnp.clip(of("buffer_s"), 0.0, params.player.buffer_cap_s)
        video_class = jnp.clip(jnp.round(of("video_class")), 0, twins.swipes.left.shape[0] - 1).astype(jnp.int32)
        hazard, factor = swipe_hazard(twins.swipes), viewer_factor(twins.swipes)
        watched = watching_probability(hazard, video_class, of("watch_s"), factor, self.horizon)
        room_s = _useful_seconds(watched, buffer, params.player.buffer_cap_s + params.slot_s)
        share = self._transcode_share(twins, slices, of("version"), of("transcode_share"))
        efficiency = spectral_efficiency(params.radio, of("sinr_db"))
        last_cell = params.topology.cell_server.shape[0] - 1
        return _People(
            active=present & slices.active[row],
            cell=jnp.clip(jnp.round(of("serving_cell")), 0, last_cell).astype(jnp.int32),
            slice_row=row,
            efficiency=jnp.maximum(efficiency, _LOWEST_EFFICIENCY),
            need_bps=need,
            want_bps=need * room_s / params.slot_s,
            cycles_per_bit=params.edge.cycles_per_bit * share,
            buffer_s=buffer,
            rate_bps=jnp.maximum(of("rate_bps"), 1.0),
            version=of("version"),
        )

    def _transcode_share(
        self,
        twins: Twins,
        slices: SliceTable,
        version: Float[Array, " users"],
        reported: Float[Array, " users"],
    ) -> Float[Array, " users"]:
        """Expected share of bits to transcode in the version that the slice promises.

        The chance that a popular draw is not cached; half of that and half what was reported of this video where the
        player is at that version. The top version is stored; a little is kept for a player that falls back from it.
        """
        catalogue, row = self.params.catalogue, self.params.user_slice
        target = jnp.sum(catalogue.version_bps[None, 1:] <= slices.target_bps[:, None], axis=1, dtype=jnp.int32)
        missing = jnp.take_along_axis(self._missing(twins, slices), target[:, None], axis=1)[:, 0][row]
        there = jnp.round(version) == target[row]
        expected = jnp.where(there, 0.5 * (jnp.clip(reported, 0.0, 1.0) + missing), missing)
        top = target[row] == catalogue.version_bps.shape[0] - 1
        return jnp.where(top, _FALL_BACK_SHARE, jnp.maximum(expected, _FALL_BACK_SHARE))

    def _unicast(self, people: _People, slices: SliceTable) -> dict[str, Array]:
        active = people.active & (self.params.user_group < 0)
        return {
            "flow_active": active,
            "flow_cell": people.cell,
            "flow_slice": people.slice_row,
            "members": active.astype(jnp.float32),
            "spectral_efficiency": people.efficiency,
            "need_bps": people.need_bps,
            "want_bps": people.want_bps,
            "cycles_per_bit": people.cycles_per_bit,
            "buffer_s": people.buffer_s,
            "average_rate_bps": people.rate_bps,
            "weight": slices.weight[people.slice_row],
        }

    def _bearers(self, people: _People) -> tuple[Bool[Array, " users"], Int[Array, " users"], int]:
        """Who listens to a bearer, to which one (a number beyond the last for nobody's), and how many there are."""
        cells = self.params.topology.cell_server.shape[0]
        bearers = self.params.group_slice.shape[0] * cells
        listens = people.active & (self.params.user_group >= 0)
        return listens, jnp.where(listens, self.params.user_group * cells + people.cell, bearers), bearers

    def _multicast(self, people: _People, slices: SliceTable) -> dict[str, Array]:
        """One flow a group and cell: the weakest member sets the rate, the emptiest buffer the wish."""
        cells = self.params.topology.cell_server.shape[0]
        groups = self.params.group_slice.shape[0]
        listens, bearer, bearers = self._bearers(people)

        def total(value: Array) -> Array:
            return jax.ops.segment_sum(jnp.where(listens, value, 0.0), bearer, bearers + 1)[:bearers]

        def least(value: Array) -> Array:
            return jax.ops.segment_min(value, bearer, bearers + 1)[:bearers]

        members = total(jnp.ones_like(people.need_bps))
        some = members > 0
        mean = jnp.maximum(members, 1.0)
        row = jnp.repeat(self.params.group_slice, cells)
        return {
            "flow_active": some,
            "flow_cell": jnp.tile(jnp.arange(cells, dtype=jnp.int32), groups),
            "flow_slice": row,
            "members": members,
            "spectral_efficiency": jnp.where(some, least(people.efficiency), 1.0),
            "need_bps": jnp.where(some, total(people.need_bps) / mean, 0.0),
            "want_bps": jnp.where(some, total(people.want_bps) / mean, 0.0),
            "cycles_per_bit": total(people.cycles_per_bit) / mean,
            "buffer_s": jnp.where(some, least(people.buffer_s), 0.0),
            "average_rate_bps": jnp.where(some, total(people.rate_bps) / mean, 1.0),
            "weight": slices.weight[row],
        }


def _useful_seconds(
    watched: Float[Array, "users segments"], buffer_s: Float[Array, " users"], most_s: Float[Array, ""]
) -> Float[Array, " users"]:
    """Seconds beyond the buffer, up to `most_s` ahead, weighted by the chance that they are watched; at least one
    segment.

    After a swipe another video begins, which is watched as well: a segment counts half its chance of being skipped.
    """
    ahead = jnp.arange(watched.shape[1], dtype=jnp.float32)[None, :]
    part = jnp.clip(jnp.minimum(ahead + 1.0, most_s) - jnp.maximum(ahead, buffer_s[:, None]), 0.0, 1.0)
    return jnp.maximum(jnp.sum(part * 0.5 * (1.0 + watched), axis=1), 1.0)


def _concatenated(first: dict[str, Array], second: dict[str, Array]) -> dict[str, Array]:
    return {name: jnp.concatenate([first[name], second[name]]) for name in first}


def _pooled(value: Array, pool: Array, pools: int, rows: int) -> Float[Array, "pools slices"]:
    return jax.ops.segment_sum(value, pool, pools * rows).reshape(pools, rows)
