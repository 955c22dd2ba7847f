"""Multicast of a group's shared playlist, one bearer a cell at the pace of the fastest swiper; plans of all bearers."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.simulator.catalogue import Catalogue, draw_video
from twinloop.simulator.edge import Delivery, Flows
from twinloop.simulator.playback import (
    Arrival,
    Demand,
    Head,
    PlaybackState,
    Player,
    Upcoming,
    choose_version,
    demand,
    mixed,
)

RING = 8
_EPSILON_S = 1e-3


class MulticastState(eqx.Module):
    """Playlists and how far each cell has sent them.

    Item n of a playlist lies in place n mod 8, so the last 8 items are known; `head` is the newest. `frontier` is the
    item that the fastest member in a cell watches; `sent_*` is the prefix of each item that the cell has sent. `item`
    is what each member watches (0 without a group).
    """

    item: Int[Array, " users"]
    playlist: Int[Array, "groups ring"]
    head: Int[Array, " groups"]
    frontier: Int[Array, "groups cells"]
    sent_s: Float[Array, "groups cells ring"]
    sent_bits: Float[Array, "groups cells ring"]
    sent_quality: Float[Array, "groups cells ring"]
    rate_estimate_bps: Float[Array, " bearers"]


class Bearers(eqx.Module):
    """Who listens to each bearer: the flattened (group, cell); `members` are its users, the weakest sets the rate."""

    bearer: Int[Array, " users"]
    at_frontier: Bool[Array, " users"]
    members: Int[Array, " bearers"]
    spectral_efficiency: Float[Array, " bearers"]
    head: Head


class Plan(eqx.Module):
    """What bearers, unicast or multicast, ask for in one slot."""

    version: Int[Array, " flows"]
    wanted: Demand
    flows: Flows


class Service(eqx.Module):
    """What all flows asked for and got in one slot; which flow, version and need are each user's."""

    flows: Flows
    delivery: Delivery
    user_flow: Int[Array, " users"]
    version: Int[Array, " users"]
    needed_bits: Float[Array, " users"]


def init_multicast(
    key: PRNGKeyArray,
    catalogue: Catalogue,
    preference: Float[Array, "users types"],
    user_group: Int[Array, " users"],
    shape: tuple[int, int],
) -> MulticastState:
    """Groups at the first item of a playlist drawn by their members' taste; nothing sent; `shape` (groups, cells)."""
    groups, cells = shape
    chance = jax.random.uniform(key, (2, groups * RING))
    taste = jnp.repeat(group_preference(preference, user_group, groups), RING, axis=0)
    nothing = jnp.zeros((groups, cells, RING))
    return MulticastState(
        item=jnp.zeros_like(user_group),
        playlist=draw_video(catalogue, taste, chance[0], chance[1]).reshape(groups, RING),
        head=jnp.ones(groups, jnp.int32),
        frontier=jnp.zeros((groups, cells), jnp.int32),
        sent_s=nothing,
        sent_bits=nothing,
        sent_quality=nothing,
        rate_estimate_bps=jnp.zeros(groups * cells),
    )


def group_preference(
    preference: Float[Array, "users types"], user_group: Int[Array, " users"], groups: int
) -> Float[Array, "groups types"]:
    """Sum of the members' preferences, from which a group's next video is drawn."""
    return jax.ops.segment_sum(preference, jnp.where(user_group < 0, groups, user_group), groups + 1)[:groups]


def enter(
    catalogue: Catalogue, state: MulticastState, user_group: Int[Array, " users"], cell: Int[Array, " users"]
) -> tuple[Int[Array, " users"], Int[Array, " users"], Float[Array, " users"]]:
    """Item, video and position at which a member that comes into `cell` joins: where the cell is sending now.

    That is the end of what was sent of the frontier item, or of the next one once that is complete.
    """
    group = jnp.maximum(user_group, 0)
    item = state.frontier[group, cell]
    place = item % RING
    complete = state.sent_s[group, cell, place] >= catalogue.length_s[state.playlist[group, place]] - _EPSILON_S
    item += complete
    place = item % RING
    return item, state.playlist[group, place], state.sent_s[group, cell, place]


def upcoming(
    catalogue: Catalogue,
    state: MulticastState,
    playback: PlaybackState,
    user_group: Int[Array, " users"],
    cell: Int[Array, " users"],
) -> Upcoming:
    """What players move on to: members to the next item as far as they received it, everybody else to their preload.

    A member is cut, that is moved on unasked, when it has nothing left of an item that is no longer sent, and when the
    playlist is about to forget its item.
    """
    group = jnp.maximum(user_group, 0)
    member = user_group >= 0
    here, place = state.item % RING, (state.item + 1) % RING
    sent_bits = state.sent_bits[group, cell, place]
    received = jnp.minimum(playback.preload_bits / jnp.maximum(sent_bits, 1.0), 1.0)
    length = catalogue.length_s[playback.video]
    over = (state.item < state.frontier[group, cell]) | (state.sent_s[group, cell, here] >= length - _EPSILON_S)
    dry = over & (playback.buffer_s <= _EPSILON_S) & (playback.watch_s < length - _EPSILON_S)
    forgotten = state.item < state.head[group] - (RING - 2)
    return Upcoming(
        video=jnp.where(member, state.playlist[group, place], playback.next_video),
        buffer_s=jnp.where(member, state.sent_s[group, cell, place] * received, playback.preload_s),
        bits=jnp.where(member, sent_bits * received, playback.preload_bits),
        quality=jnp.where(member, state.sent_quality[group, cell, place], playback.preload_quality),
        cut=member & (dry | forgotten),
    )


def advance(
    state: MulticastState,
    moved: Bool[Array, " users"],
    present: Bool[Array, " users"],
    user_group: Int[Array, " users"],
    cell: Int[Array, " users"],
    fresh: Int[Array, " groups"],
) -> MulticastState:
    """Members that `moved` watch their next item; the fastest one `present` in each cell sets its frontier.

    A playlist that is used up to its newest item gets `fresh` as the next. A cell without members stands ready to begin
    the newest item but one. A frontier falls back when the fastest member leaves the cell; what was sent stays sent.
    """
    groups, cells = state.frontier.shape
    item = state.item + (moved & (user_group >= 0))
    bearer = _bearer(user_group, cell, present, groups, cells)
    newest = jax.ops.segment_max(item, bearer, groups * cells + 1)[:-1].reshape(groups, cells)
    occupied = newest >= 0
    head = jnp.maximum(state.head, jnp.max(newest, axis=1) + 1)
    renewed = (jnp.arange(RING)[None, :] == (head % RING)[:, None]) & (head > state.head)[:, None]
    cleared = renewed[:, None, :] | ~occupied[:, :, None]
    return replace(
        state,
        item=item,
        playlist=jnp.where(renewed, fresh[:, None], state.playlist),
        head=head,
        frontier=jnp.where(occupied, newest, head[:, None] - 1),
        sent_s=jnp.where(cleared, 0.0, state.sent_s),
        sent_bits=jnp.where(cleared, 0.0, state.sent_bits),
        sent_quality=jnp.where(cleared, 0.0, state.sent_quality),
    )


def bearers(
    state: MulticastState,
    playback: PlaybackState,
    present: Bool[Array, " users"],
    user_group: Int[Array, " users"],
    cell: Int[Array, " users"],
    spectral_efficiency: Float[Array, " users"],
) -> Bearers:
    """Listeners, rate and download head of every bearer: R = W min_u se_u over its members, 0 without members."""
    groups, cells = state.frontier.shape
    count = groups * cells
    bearer = _bearer(user_group, cell, present, groups, cells)
    frontier = state.frontier.reshape(-1)
    listens = bearer < count
    at_frontier = listens & (state.item == frontier[jnp.minimum(bearer, count - 1)])
    members = jax.ops.segment_sum(listens.astype(jnp.int32), bearer, count + 1)[:-1]
    weakest = jax.ops.segment_min(spectral_efficiency, bearer, count + 1)[:-1]
    reached = jnp.where(at_frontier, playback.watch_s, 0.0)
    watch = jnp.maximum(jax.ops.segment_max(reached, bearer, count + 1)[:-1], 0.0)
    group = jnp.repeat(jnp.arange(groups), cells)
    row, place, after = jnp.arange(count), frontier % RING, (frontier + 1) % RING
    sent = state.sent_s.reshape(count, RING)
    head = Head(
        video=state.playlist[group, place],
        next_video=state.playlist[group, after],
        watch_s=jnp.minimum(watch, sent[row, place]),
        buffer_s=jnp.maximum(sent[row, place] - watch, 0.0),
        preload_s=sent[row, after],
    )
    return Bearers(bearer, at_frontier, members, jnp.where(members > 0, weakest, 0.0), head)


def plan(
    player: Player,
    catalogue: Catalogue,
    head: Head,
    rate_estimate_bps: Float[Array, " flows"],
    target: Int[Array, " flows"],
    flows: Flows,
    slot_s: float,
) -> Plan:
    """Version and demand at each download head, and `flows` with what they want and the cache size that holds it."""
    version = choose_version(player, catalogue, rate_estimate_bps, head.buffer_s + head.preload_s, target)
    wanted = demand(player, catalogue, head, version, target, slot_s)
    video = jnp.where(wanted.room_s > 0, head.video, head.next_video)
    before = catalogue.cached_bytes_before[video, version]
    want = jnp.where(flows.active, wanted.want_bits, 0.0)
    return Plan(version, wanted, replace(flows, want_bits=want, cached_bytes_before=before))


def send(state: MulticastState, arrival: Arrival) -> MulticastState:
    """Prefixes after each bearer sent its arrival: of the frontier item first, then of the next."""
    shape = state.frontier.shape
    place = jnp.arange(RING)[None, None, :]
    here = place == (state.frontier % RING)[:, :, None]
    after = place == ((state.frontier + 1) % RING)[:, :, None]

    def spread(first: Float[Array, " bearers"], second: Float[Array, " bearers"]) -> Float[Array, "groups cells ring"]:
        on_next = jnp.where(after, second.reshape(shape)[:, :, None], 0.0)
        return jnp.where(here, first.reshape(shape)[:, :, None], on_next)

    seconds = spread(arrival.seconds, arrival.next_seconds)
    quality = spread(arrival.quality, arrival.quality)
    return replace(
        state,
        sent_s=state.sent_s + seconds,
        sent_bits=state.sent_bits + spread(arrival.bits, arrival.next_bits),
        sent_quality=mixed(state.sent_quality, state.sent_s, quality, seconds),
    )


def heard(listeners: Bearers, unicast: Arrival, sent: Arrival) -> Arrival:
    """What arrived at every player: its own flow's, or for members what their bearer sent.

    A member behind the frontier keeps all of it for later.
    """
    bearer = jnp.minimum(listeners.bearer, listeners.members.shape[0] - 1)
    member = listeners.bearer < listeners.members.shape[0]
    front = listeners.at_frontier
    total = (sent.bits + sent.next_bits)[bearer]
    bits = jnp.where(front, sent.bits[bearer], 0.0)
    return Arrival(
        seconds=jnp.where(member, jnp.where(front, sent.seconds[bearer], 0.0), unicast.seconds),
        bits=jnp.where(member, bits, unicast.bits),
        next_seconds=jnp.where(member, jnp.where(front, sent.next_seconds[bearer], 0.0), unicast.next_seconds),
        next_bits=jnp.where(member, total - bits, unicast.next_bits),
        quality=jnp.where(member, sent.quality[bearer], unicast.quality),
    )


def _bearer(
    user_group: Int[Array, " users"],
    cell: Int[Array, " users"],
    present: Bool[Array, " users"],
    groups: int,
    cells: int,
) -> Int[Array, " users"]:
    """Bearer of each present member, else one row past the last."""
    return jnp.where(present & (user_group >= 0), user_group * cells + cell, groups * cells)
