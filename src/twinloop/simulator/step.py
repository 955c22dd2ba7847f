"""The simulated network as `init` and `step`: people move, links change, videos play, flows are served."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.entities import Action
from twinloop.simulator import edge as edges
from twinloop.simulator import multicast as casts
from twinloop.simulator import playback as players
from twinloop.simulator.air.radio import Radio, RadioState, associate, init_radio, loss_ratio, sinr_and_rate
from twinloop.simulator.air.shadowing import Maps, draw_maps, link_gains
from twinloop.simulator.catalogue import Catalogue, Viewers, draw_video, preference_now, version_quality
from twinloop.simulator.edge import Edge, Overhead, Usage
from twinloop.simulator.mobility import KinematicState, Mobility, init_kinematics, move
from twinloop.simulator.multicast import Bearers, MulticastState, Plan, Service
from twinloop.simulator.opinions import OpinionState, Raters, init_opinions, live_through
from twinloop.simulator.playback import Head, PlaybackState, Player, Viewing
from twinloop.simulator.topology import Topology, cell_positions
from twinloop.slicing import SliceTable

_BLOCK = 16_384
_OPINION_SALT = 5
_Rows = TypeVar("_Rows")
_Result = TypeVar("_Result")


class RadioTrace(eqx.Module):
    """Measured links, one sample a slot, that replace the modelled ones; user u reads on from sample `start`."""

    spectral_efficiency: Float[Array, "traces time"]
    sinr_db: Float[Array, "traces time"]
    rsrp_dbm: Float[Array, "traces time"]
    user_trace: Int[Array, " users"]
    start: Int[Array, " users"]


class Params(eqx.Module):
    """Everything about a network that does not change by itself.

    `user_group` is a user's multicast group, -1 for unicast; `group_slice` the slice that carries each group. `slot_s`
    is the duration of a slot. Without `raters` nothing is known of anybody's experience.
    """

    topology: Topology
    radio: Radio
    mobility: Mobility
    catalogue: Catalogue
    viewers: Viewers
    player: Player
    edge: Edge
    slices: SliceTable
    user_slice: Int[Array, " users"]
    user_group: Int[Array, " users"]
    group_slice: Int[Array, " groups"]
    radio_trace: RadioTrace | None = None
    raters: Raters | None = None
    slot_s: float = eqx.field(static=True, default=1.0)


class Environment(eqx.Module):
    """What a seed fixes for the whole run: fields over the area, and how fidgety each user is."""

    maps: Maps
    leave_factor: Float[Array, " users"]


class State(eqx.Module):
    """Everything that evolves."""

    time_slot: Int[Array, ""]
    radio: RadioState
    kinematics: KinematicState
    playback: PlaybackState
    multicast: MulticastState
    active: Bool[Array, " users"]
    cell_load: Float[Array, " cells"]
    queue_bits: Float[Array, " flows"]
    opinions: OpinionState


class Outcome(eqx.Module):
    """What one slot brought, by user, flow, cell, slice and server.

    Of users: `rate_bps` was granted, `delivered_bits` used; `needed_bits` is one slot of playback in the version that
    the slice promises (0 for absent users), so min(delivered / needed, 1) is the slot's satisfaction. `watch_s` is the
    position in the video, `last_watch_s` how long the last one was watched. `experience` is that of the last whole
    rated period, true, 0 before the first and where nobody is known to feel anything; `opinion` the last score given.
    Totals grow since the start; everything else is of this slot. Multicast members carry their bearer's rate, bits,
    delay and version.
    """

    x_m: Float[Array, " users"]
    y_m: Float[Array, " users"]
    speed_mps: Float[Array, " users"]
    rsrp_dbm: Float[Array, " users"]
    sinr_db: Float[Array, " users"]
    spectral_efficiency: Float[Array, " users"]
    serving_cell: Int[Array, " users"]
    handed_over: Bool[Array, " users"]
    rate_bps: Float[Array, " users"]
    delivered_bits: Float[Array, " users"]
    needed_bits: Float[Array, " users"]
    delay_s: Float[Array, " users"]
    jitter_s: Float[Array, " users"]
    loss_ratio: Float[Array, " users"]
    buffer_s: Float[Array, " users"]
    version: Int[Array, " users"]
    quality: Float[Array, " users"]
    quality_change: Float[Array, " users"]
    rebuffer_s: Float[Array, " users"]
    rebuffer_total_s: Float[Array, " users"]
    watch_s: Float[Array, " users"]
    video_class: Int[Array, " users"]
    swipes: Int[Array, " users"]
    swipes_total: Int[Array, " users"]
    views_total: Int[Array, " users"]
    last_watch_s: Float[Array, " users"]
    last_class: Int[Array, " users"]
    wasted_bits: Float[Array, " users"]
    transcoded_bits: Float[Array, " users"]
    transcode_share: Float[Array, " users"]
    experience: Float[Array, " users"]
    opinion: Float[Array, " users"]
    opinions: Int[Array, " users"]
    active: Bool[Array, " users"]
    flow_bandwidth_hz: Float[Array, " flows"]
    flow_cycles_per_s: Float[Array, " flows"]
    flow_spectral_efficiency: Float[Array, " flows"]
    flow_bits: Float[Array, " flows"]
    load: Float[Array, " cells"]
    used_bandwidth_hz: Float[Array, " cells"]
    overhead_bandwidth_hz: Float[Array, " cells"]
    throughput_bps: Float[Array, " cells"]
    users: Int[Array, " cells"]
    cell_power_w: Float[Array, " cells"]
    report_power_w: Float[Array, " cells"]
    slice_used_hz: Float[Array, "cells slices"]
    utilisation: Float[Array, " servers"]
    queue_cycles: Float[Array, " servers"]
    cache_hits_bits: Float[Array, " servers"]
    cache_misses_bits: Float[Array, " servers"]
    server_power_w: Float[Array, " servers"]


class Link(eqx.Module):
    """Every user's serving link in one slot."""

    rsrp_dbm: Float[Array, " users"]
    sinr_db: Float[Array, " users"]
    spectral_efficiency: Float[Array, " users"]
    handed_over: Bool[Array, " users"]


def init(key: PRNGKeyArray, params: Params) -> tuple[Environment, State]:
    """The seed's constants and the state before the first slot: everybody placed, associated, and about to watch.

    With sessions that come and go, each user is present with the long-run probability on / (on + off).
    """
    k_maps, k_factor, k_place, k_video, k_playlist, k_active = jax.random.split(key, 6)
    viewers, users = params.viewers, params.user_slice.shape[0]
    cells, groups = params.topology.cell_power_dbm.shape[0], params.group_slice.shape[0]
    spread = viewers.user_factor_spread
    factor = jnp.exp(spread * jax.random.normal(k_factor, (users,)) - 0.5 * spread**2)
    environment = Environment(draw_maps(k_maps, params.topology, params.radio), factor)
    kinematics = init_kinematics(k_place, params.mobility, params.topology.area_m)
    start_m = cell_positions(params.topology, jnp.float32(0.0))
    rsrp = link_gains(params.topology, params.radio, environment.maps, kinematics.position_m, start_m)
    chance = jax.random.uniform(k_video, (4, users))
    first, second = (draw_video(params.catalogue, viewers.preference, chance[i], chance[i + 2]) for i in range(2))
    group = params.user_group
    cast = casts.init_multicast(k_playlist, params.catalogue, viewers.preference, group, (groups, cells))
    if groups:
        first = jnp.where(group >= 0, cast.playlist[jnp.maximum(group, 0), 0], first)
    on, off = viewers.session_on_p, viewers.session_off_p
    present = jnp.where(on + off > 0, on / jnp.maximum(on + off, 1e-12), 1.0)
    state = State(
        time_slot=jnp.int32(0),
        radio=init_radio(rsrp),
        kinematics=kinematics,
        playback=players.init_playback(first, second),
        multicast=cast,
        active=jax.random.uniform(k_active, (users,)) < present,
        cell_load=jnp.zeros(cells),
        queue_bits=jnp.zeros(users + groups * cells),
        opinions=init_opinions(users),
    )
    return environment, state


def step(
    key: PRNGKeyArray, params: Params, environment: Environment, state: State, action: Action, overhead: Overhead
) -> tuple[State, Outcome]:
    """One slot: move, measure, hand over; join and leave; play, stay or swipe; grant, transcode, deliver."""
    k_move, k_watch = jax.random.split(key)
    link, state = _link(k_move, params, environment, state)
    viewing, state = _watch(k_watch, params, environment, state, link.handed_over)
    state = _feel(jax.random.fold_in(key, _OPINION_SALT), params, state, viewing)
    service, usage, state = _serve(params, state, link, action, overhead)
    state = replace(state, cell_load=usage.load, time_slot=state.time_slot + 1)
    return state, _outcome(params, state, link, viewing, service, usage)


def _link(key: PRNGKeyArray, params: Params, environment: Environment, state: State) -> tuple[Link, State]:
    topology, radio = params.topology, params.radio
    kinematics = move(key, params.mobility, topology.area_m, state.kinematics, params.slot_s, state.time_slot)
    cell_m = cell_positions(topology, state.time_slot * params.slot_s)

    def measured(people: tuple[Float[Array, "users 2"], RadioState]) -> tuple[Link, RadioState]:
        rsrp = link_gains(topology, radio, environment.maps, people[0], cell_m)
        radio_state, handed_over = associate(radio, people[1], rsrp, params.slot_s)
        serving, offset_db = radio_state.serving, radio_state.sinr_offset_db
        sinr_db, efficiency = sinr_and_rate(topology, radio, rsrp, serving, state.cell_load, offset_db)
        serving_dbm = jnp.take_along_axis(rsrp, serving[:, None], axis=1)[:, 0]
        return Link(serving_dbm, sinr_db, efficiency, handed_over), radio_state

    link, radio_state = _by_block(measured, (kinematics.position_m, state.radio))
    trace = params.radio_trace
    if trace is not None:
        at = (trace.user_trace, (trace.start + state.time_slot) % trace.sinr_db.shape[1])
        link = Link(trace.rsrp_dbm[at], trace.sinr_db[at], trace.spectral_efficiency[at], link.handed_over)
    return link, replace(state, kinematics=kinematics, radio=radio_state)


def _by_block(function: Callable[[_Rows], _Result], rows: _Rows) -> _Result:
    """`function` of all rows, in blocks whose [users, cells] arrays stay in the processor's cache."""
    users = jax.tree.leaves(rows)[0].shape[0]
    blocks = users // _BLOCK
    if blocks < 2:
        return function(rows)
    inside = blocks * _BLOCK
    whole = jax.tree.map(lambda leaf: leaf[:inside].reshape(blocks, _BLOCK, *leaf.shape[1:]), rows)
    result = jax.tree.map(lambda leaf: leaf.reshape(inside, *leaf.shape[2:]), jax.lax.map(function, whole))
    if inside == users:
        return result
    rest = function(jax.tree.map(lambda leaf: leaf[inside:], rows))
    return jax.tree.map(lambda first, last: jnp.concatenate([first, last]), result, rest)


def _watch(
    key: PRNGKeyArray, params: Params, environment: Environment, state: State, handed_over: Bool[Array, " users"]
) -> tuple[Viewing, State]:
    catalogue, viewers, group = params.catalogue, params.viewers, params.user_group
    cell, users, groups = state.radio.serving, params.user_slice.shape[0], params.group_slice.shape[0]
    leave_chance, type_chance, chance = jax.random.uniform(key, (3, users))
    change_p = jnp.where(state.active, viewers.session_off_p, viewers.session_on_p)
    changed = chance < change_p
    active = state.active ^ changed
    chance = jnp.where(changed, chance / jnp.maximum(change_p, 1e-12), (chance - change_p) / (1.0 - change_p))
    preference = preference_now(viewers, state.time_slot)
    fresh = draw_video(catalogue, preference, type_chance, chance)
    playback, cast = state.playback, state.multicast
    restarted, video, position = changed & state.active, playback.next_video, jnp.zeros(users)
    if groups:
        entered = (group >= 0) & (changed | handed_over)
        item, joined, sent_s = casts.enter(catalogue, cast, group, cell)
        restarted, video = restarted | entered, jnp.where(entered, joined, video)
        position = jnp.where(entered, sent_s, position)
        cast = replace(cast, item=jnp.where(entered, item, cast.item))
    playback, dropped = players.restart(playback, restarted, video, fresh, position)
    upcoming = casts.upcoming(catalogue, cast, playback, group, cell) if groups else players.preloaded(playback)
    playback, viewing = players.play(
        viewers, catalogue, playback, upcoming, active, environment.leave_factor, leave_chance, fresh, params.slot_s
    )
    queue = jnp.where(restarted | viewing.moved, 0.0, state.queue_bits[:users])
    if groups:
        taste, draws = casts.group_preference(preference, group, groups), jax.random.uniform(key, (2, groups))
        frontier = cast.frontier
        cast = casts.advance(cast, viewing.moved, active, group, cell, draw_video(catalogue, taste, draws[0], draws[1]))
        shared = jnp.where((cast.frontier == frontier).reshape(-1), state.queue_bits[users:], 0.0)
        queue = jnp.concatenate([queue, shared])
    viewing = replace(viewing, wasted_bits=viewing.wasted_bits + dropped)
    return viewing, replace(state, playback=playback, multicast=cast, active=active, queue_bits=queue)


def _feel(key: PRNGKeyArray, params: Params, state: State, viewing: Viewing) -> State:
    if params.raters is None:
        return state
    opinions = live_through(
        key,
        params.raters,
        state.opinions,
        state.active,
        viewing.rebuffer_s,
        state.playback.quality,
        viewing.swiped,
        state.kinematics.speed_mps,
        state.time_slot,
        params.slot_s,
    )
    return replace(state, opinions=opinions)


def _plans(params: Params, state: State, link: Link) -> tuple[Plan, Bearers | None, Plan | None]:
    player, catalogue, slot_s, group = params.player, params.catalogue, params.slot_s, params.user_group
    playback, cast, cell = state.playback, state.multicast, state.radio.serving
    users, groups, cells = group.shape[0], params.group_slice.shape[0], state.cell_load.shape[0]
    target = players.target_version(catalogue, params.slices.target_bps)
    head = Head(playback.video, playback.next_video, playback.watch_s, playback.buffer_s, playback.preload_s)
    airtime = slot_s - jnp.where(link.handed_over, jnp.minimum(params.radio.handover_s, slot_s), 0.0)
    active, queue = state.active & (group < 0), state.queue_bits
    flows = edges.flows(active, cell, params.user_slice, link.spectral_efficiency, airtime, queue[:users])
    estimate = playback.rate_estimate_bps
    own = casts.plan(player, catalogue, head, estimate, target[params.user_slice], flows, slot_s)
    if groups == 0:
        return own, None, None
    heard = casts.bearers(cast, playback, state.active, group, cell, link.spectral_efficiency)
    at, of = jnp.tile(jnp.arange(cells), groups), jnp.repeat(params.group_slice, cells)
    airtime = jnp.full(groups * cells, slot_s)
    flows = edges.flows(heard.members > 0, at, of, heard.spectral_efficiency, airtime, queue[users:])
    return own, heard, casts.plan(player, catalogue, heard.head, cast.rate_estimate_bps, target[of], flows, slot_s)


def _serve(
    params: Params, state: State, link: Link, action: Action, overhead: Overhead
) -> tuple[Service, Usage, State]:
    topology, slot_s, group = params.topology, params.slot_s, params.user_group
    playback, cast, cell, users = state.playback, state.multicast, state.radio.serving, params.user_slice.shape[0]
    cells = state.cell_load.shape[0]
    report_hz = edges.report_bandwidth_hz(overhead.bits, cell, link.spectral_efficiency, cells, slot_s)
    limit = edges.limits(topology, params.slices.active & action.slice_active, action, overhead, report_hz, slot_s)
    own, listeners, shared = _plans(params, state, link)
    flows = own.flows if shared is None else edges.joined(own.flows, shared.flows)
    got = edges.deliver(topology, params.edge, action, flows, limit, slot_s)
    quality, memory = version_quality(params.catalogue), params.player.rate_memory
    arrival = players.arrived(own.wanted, got.bits[:users], quality[own.version])
    user_flow, version, needed = jnp.arange(users), own.version, own.wanted.needed_bits
    if listeners is not None and shared is not None:
        sent = players.arrived(shared.wanted, got.bits[users:], quality[shared.version])
        arrival = casts.heard(listeners, arrival, sent)
        estimate = players.estimated(cast.rate_estimate_bps, got.rate_bps[users:], shared.flows.want_bits, memory)
        cast = replace(casts.send(cast, sent), rate_estimate_bps=estimate)
        user_flow = jnp.where(group >= 0, users + group * cells + cell, user_flow)
        version = jnp.concatenate([version, shared.version])[user_flow]
        needed = jnp.concatenate([needed, shared.wanted.needed_bits])[user_flow]
    estimate = players.estimated(playback.rate_estimate_bps, got.rate_bps[:users], own.flows.want_bits, memory)
    playback = replace(players.receive(playback, arrival), rate_estimate_bps=estimate)
    playback = players.delayed(playback, jnp.where(state.active, got.delay_s[user_flow], 0.0))
    usage = edges.usage(topology, params.edge, overhead, flows, got, limit, slot_s)
    service = Service(flows, got, user_flow, version, jnp.where(state.active, needed, 0.0))
    return service, usage, replace(state, playback=playback, multicast=cast, queue_bits=got.queue_bits)


def _outcome(params: Params, state: State, link: Link, viewing: Viewing, service: Service, usage: Usage) -> Outcome:
    playback, got, kinematics, active = state.playback, service.delivery, state.kinematics, state.active
    mine = service.user_flow

    def present(value: Float[Array, " flows"]) -> Float[Array, " users"]:
        return jnp.where(active, value if params.group_slice.shape[0] == 0 else value[mine], 0.0)

    bits, transcoded = present(got.bits), present(got.transcoded_bits)
    cells = state.cell_load.shape[0]
    return Outcome(
        x_m=kinematics.position_m[:, 0],
        y_m=kinematics.position_m[:, 1],
        speed_mps=kinematics.speed_mps,
        serving_cell=state.radio.serving,
        rate_bps=present(got.rate_bps),
        delivered_bits=bits,
        needed_bits=service.needed_bits,
        loss_ratio=loss_ratio(link.sinr_db),
        version=service.version,
        video_class=params.catalogue.video_class[playback.video],
        swipes=viewing.swiped.astype(jnp.int32),
        transcoded_bits=transcoded,
        transcode_share=transcoded / jnp.maximum(bits, 1.0),
        active=active,
        flow_bandwidth_hz=got.bandwidth_hz,
        flow_cycles_per_s=got.cycles_per_s,
        flow_spectral_efficiency=service.flows.spectral_efficiency,
        flow_bits=got.bits,
        users=jax.ops.segment_sum(active.astype(jnp.int32), state.radio.serving, cells),
        **_named(link, ("rsrp_dbm", "sinr_db", "spectral_efficiency", "handed_over")),
        **_named(viewing, ("rebuffer_s", "wasted_bits", "quality_change")),
        **_named(playback, ("delay_s", "jitter_s", "buffer_s", "quality", "rebuffer_total_s", "watch_s")),
        **_named(state.opinions, ("experience", "opinion", "opinions")),
        **_named(playback, ("swipes_total", "views_total", "last_watch_s", "last_class")),
        **vars(usage),
    )


def _named(source: eqx.Module, names: tuple[str, ...]) -> dict[str, Array]:
    return {name: getattr(source, name) for name in names}
