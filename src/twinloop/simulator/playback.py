"""Players: what is played, left and wasted in a slot, which bits are wanted next, and what arrives."""

from dataclasses import fields, replace

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.simulator.catalogue import Catalogue, Viewers, chunk_bits_at, leave_probability

_EPSILON_S = 1e-4


class Player(eqx.Module):
    """The app: it holds at most `buffer_cap_s` ahead, `preload_s` of them for the next video; `rate_memory` weighs the
    newest rate in its estimate, of which it dares `safety` (0 .. 1) with an empty buffer and all with a full one.
    """

    buffer_cap_s: Float[Array, ""]
    preload_s: Float[Array, ""]
    rate_memory: Float[Array, ""]
    safety: Float[Array, ""]


class PlaybackState(eqx.Module):
    """What every player holds: `buffer_*` of the video being watched from `watch_s` on, `preload_*` of the next one.

    `started` marks a video of which nothing was played but what its predecessor's last slot had time for.
    """

    video: Int[Array, " users"]
    next_video: Int[Array, " users"]
    started: Bool[Array, " users"]
    watch_s: Float[Array, " users"]
    buffer_s: Float[Array, " users"]
    buffer_bits: Float[Array, " users"]
    buffer_quality: Float[Array, " users"]
    preload_s: Float[Array, " users"]
    preload_bits: Float[Array, " users"]
    preload_quality: Float[Array, " users"]
    rate_estimate_bps: Float[Array, " users"]
    quality: Float[Array, " users"]
    delay_s: Float[Array, " users"]
    jitter_s: Float[Array, " users"]
    rebuffer_total_s: Float[Array, " users"]
    swipes_total: Int[Array, " users"]
    views_total: Int[Array, " users"]
    last_watch_s: Float[Array, " users"]
    last_class: Int[Array, " users"]


class Upcoming(eqx.Module):
    """What a player finds when it moves on: the next video, what it holds of it; `cut` moves it on now, unasked."""

    video: Int[Array, " users"]
    buffer_s: Float[Array, " users"]
    bits: Float[Array, " users"]
    quality: Float[Array, " users"]
    cut: Bool[Array, " users"]


class Viewing(eqx.Module):
    """What happened on the screens in one slot."""

    swiped: Bool[Array, " users"]
    moved: Bool[Array, " users"]
    rebuffer_s: Float[Array, " users"]
    wasted_bits: Float[Array, " users"]
    quality_change: Float[Array, " users"]


class Head(eqx.Module):
    """Where a download stands: `buffer_s` of `video` ahead of `watch_s`, `preload_s` of `next_video`."""

    video: Int[Array, " players"]
    next_video: Int[Array, " players"]
    watch_s: Float[Array, " players"]
    buffer_s: Float[Array, " players"]
    preload_s: Float[Array, " players"]


class Demand(eqx.Module):
    """What a download may fetch: seconds of room and bits per second, first of this video, then of the next.

    `want_bits` fills all room in the chosen version; `needed_bits` is one slot of playback in the promised one.
    """

    room_s: Float[Array, " players"]
    next_room_s: Float[Array, " players"]
    bits_per_s: Float[Array, " players"]
    next_bits_per_s: Float[Array, " players"]
    want_bits: Float[Array, " players"]
    needed_bits: Float[Array, " players"]


class Arrival(eqx.Module):
    """What came in one slot, of this video and of the next, in a version of `quality`."""

    seconds: Float[Array, " players"]
    bits: Float[Array, " players"]
    next_seconds: Float[Array, " players"]
    next_bits: Float[Array, " players"]
    quality: Float[Array, " players"]


def init_playback(video: Int[Array, " users"], next_video: Int[Array, " users"]) -> PlaybackState:
    """Players about to start `video` with nothing in their buffers; no video was left yet (`last_class` is -1)."""
    none, count = jnp.zeros(video.shape[0]), jnp.zeros(video.shape[0], jnp.int32)
    counts = {"swipes_total": count, "views_total": count, "last_class": count - 1}
    given = {"video": video, "next_video": next_video, "started": count > 0} | counts
    return PlaybackState(**{field.name: given.get(field.name, none) for field in fields(PlaybackState)})


def preloaded(state: PlaybackState) -> Upcoming:
    """What a player alone with its flow moves on to: its preload."""
    nobody = jnp.zeros(state.video.shape[0], bool)
    return Upcoming(state.next_video, state.preload_s, state.preload_bits, state.preload_quality, nobody)


def play(
    viewers: Viewers,
    catalogue: Catalogue,
    state: PlaybackState,
    upcoming: Upcoming,
    active: Bool[Array, " users"],
    factor: Float[Array, " users"],
    chance: Float[Array, " users"],
    fresh_video: Int[Array, " users"],
    slot_s: float,
) -> tuple[PlaybackState, Viewing]:
    """One slot of playback from the old buffer, then the decision to stay, swipe or, at the end, go on.

    Played p = min(b, tau, rest of the video); b <- b - p; rebuffer time is tau - p, less what the next video's preload
    fills in when this one ends. `chance`, uniform in [0, 1), decides the swipe; nobody swipes while nothing plays. A
    swipe drops the rest of the buffer (waste) and goes on with the preload; `fresh_video` becomes the video after it.
    A swipe is dated half way through what was played, so that its second is the one its hazard was read from.
    Left out: seeking back, watching twice, leaving because of a stall.
    """
    length = catalogue.length_s[state.video]
    rest = jnp.maximum(length - state.watch_s, 0.0)
    played = jnp.where(active, jnp.minimum(jnp.minimum(state.buffer_s, slot_s), rest), 0.0)
    watch = state.watch_s + played
    video_class = catalogue.video_class[state.video]
    leave = leave_probability(viewers, video_class, factor, jnp.where(state.started, 0.0, state.watch_s), watch)
    swiped = active & (played > 0) & (chance < leave)
    finished = active & ~swiped & (watch >= length - _EPSILON_S)
    viewed, moved = swiped | finished, swiped | finished | (upcoming.cut & active)
    carry = jnp.where(finished, jnp.minimum(upcoming.buffer_s, slot_s - played), 0.0)
    stalled = jnp.where(active, slot_s - played - carry, 0.0)
    bits_left = state.buffer_bits * _kept(played, state.buffer_s)
    quality = jnp.where(carry > 0, upcoming.quality, jnp.where(played > 0, state.buffer_quality, state.quality))
    viewing = Viewing(swiped, moved, stalled, jnp.where(moved, bits_left, 0.0), jnp.abs(quality - state.quality))
    after = replace(
        state,
        video=jnp.where(moved, upcoming.video, state.video),
        next_video=jnp.where(moved, fresh_video, state.next_video),
        started=moved | (state.started & (played <= 0)),
        watch_s=jnp.where(moved, carry, watch),
        buffer_s=jnp.where(moved, upcoming.buffer_s - carry, jnp.maximum(state.buffer_s - played, 0.0)),
        buffer_bits=jnp.where(moved, upcoming.bits * _kept(carry, upcoming.buffer_s), bits_left),
        buffer_quality=jnp.where(moved, upcoming.quality, state.buffer_quality),
        preload_s=jnp.where(moved, 0.0, state.preload_s),
        preload_bits=jnp.where(moved, state.preload_bits - upcoming.bits, state.preload_bits),
        quality=quality,
        rebuffer_total_s=state.rebuffer_total_s + stalled,
        swipes_total=state.swipes_total + swiped,
        views_total=state.views_total + viewed,
        last_watch_s=jnp.where(viewed, jnp.where(finished, length, watch - 0.5 * played), state.last_watch_s),
        last_class=jnp.where(viewed, video_class, state.last_class),
    )
    return after, viewing


def restart(
    state: PlaybackState,
    who: Bool[Array, " users"],
    video: Int[Array, " users"],
    next_video: Int[Array, " users"],
    watch_s: Float[Array, " users"],
) -> tuple[PlaybackState, Float[Array, " users"]]:
    """The players `who` dropped everything and stand at `watch_s` of `video`; and the bits wasted by that."""
    wasted = jnp.where(who, state.buffer_bits + state.preload_bits, 0.0)
    after = replace(
        state,
        video=jnp.where(who, video, state.video),
        next_video=jnp.where(who, next_video, state.next_video),
        started=state.started & ~who,
        watch_s=jnp.where(who, watch_s, state.watch_s),
        buffer_s=jnp.where(who, 0.0, state.buffer_s),
        buffer_bits=jnp.where(who, 0.0, state.buffer_bits),
        preload_s=jnp.where(who, 0.0, state.preload_s),
        preload_bits=jnp.where(who, 0.0, state.preload_bits),
    )
    return after, wasted


def target_version(catalogue: Catalogue, target_bps: Float[Array, " slices"]) -> Int[Array, " slices"]:
    """The highest version whose nominal rate is at most the slice's promised rate; the lowest where none is."""
    reached = catalogue.version_bps[None, :] <= target_bps[:, None] * (1.0 + 1e-6)
    return jnp.maximum(jnp.sum(reached, axis=1, dtype=jnp.int32) - 1, 0)


def choose_version(
    player: Player,
    catalogue: Catalogue,
    rate_estimate_bps: Float[Array, " players"],
    ahead_s: Float[Array, " players"],
    highest: Int[Array, " players"],
) -> Int[Array, " players"]:
    """Rate and buffer rule: the highest version v <= `highest` with r_v <= estimate (s + (1 - s) b / cap), s = safety.

    Left out: other adaptation rules, penalties on switching.
    """
    fill = jnp.minimum(ahead_s / player.buffer_cap_s, 1.0)
    budget = rate_estimate_bps * (player.safety + (1.0 - player.safety) * fill)
    version = jnp.zeros_like(highest)
    for rate in catalogue.version_bps[1:]:
        version += rate <= budget
    return jnp.minimum(version, highest)


def demand(
    player: Player,
    catalogue: Catalogue,
    head: Head,
    version: Int[Array, " players"],
    target: Int[Array, " players"],
    slot_s: float,
) -> Demand:
    """Room of every player and what filling it costs.

    This video may be buffered up to the cap less the preload, or its end; what remains of the cap is the next video's.
    So a player that got one slot of playback in every slot has room for exactly one more. Sizes are read once a slot at
    the download head. Left out: segment boundaries, the video after the next one.
    """
    end = head.watch_s + head.buffer_s
    rest = jnp.maximum(catalogue.length_s[head.video] - end, 0.0)
    room = jnp.minimum(jnp.maximum(player.buffer_cap_s - player.preload_s - head.buffer_s, 0.0), rest)
    next_rest = jnp.maximum(catalogue.length_s[head.next_video] - head.preload_s, 0.0)
    spare = player.buffer_cap_s - head.buffer_s - head.preload_s - room
    next_room = jnp.minimum(jnp.maximum(spare, 0.0), next_rest)
    needed_here = jnp.minimum(room, slot_s)
    bits = chunk_bits_at(catalogue, head.video, version, end)
    next_bits = chunk_bits_at(catalogue, head.next_video, version, head.preload_s)
    needed = needed_here * chunk_bits_at(catalogue, head.video, target, end)
    needed += (slot_s - needed_here) * chunk_bits_at(catalogue, head.next_video, target, head.preload_s)
    return Demand(room, next_room, bits, next_bits, room * bits + next_room * next_bits, needed)


def arrived(wanted: Demand, bits: Float[Array, " players"], quality: Float[Array, " players"]) -> Arrival:
    """What `bits` brought: seconds of this video until its room is full, then of the next."""
    seconds = jnp.minimum(bits / wanted.bits_per_s, wanted.room_s)
    here = jnp.minimum(seconds * wanted.bits_per_s, bits)
    next_seconds = jnp.minimum((bits - here) / wanted.next_bits_per_s, wanted.next_room_s)
    return Arrival(seconds, here, next_seconds, bits - here, quality)


def receive(state: PlaybackState, arrival: Arrival) -> PlaybackState:
    """Buffers with what arrived."""
    return replace(
        state,
        buffer_s=state.buffer_s + arrival.seconds,
        buffer_bits=state.buffer_bits + arrival.bits,
        buffer_quality=mixed(state.buffer_quality, state.buffer_s, arrival.quality, arrival.seconds),
        preload_s=state.preload_s + arrival.next_seconds,
        preload_bits=state.preload_bits + arrival.next_bits,
        preload_quality=mixed(state.preload_quality, state.preload_s, arrival.quality, arrival.next_seconds),
    )


def estimated(
    old_bps: Float[Array, " players"],
    rate_bps: Float[Array, " players"],
    want_bits: Float[Array, " players"],
    memory: Float[Array, ""],
) -> Float[Array, " players"]:
    """Rate estimate, old + m (rate - old); as before where nothing was wanted."""
    return old_bps + jnp.where(want_bits > 0, memory, 0.0) * (rate_bps - old_bps)


def delayed(state: PlaybackState, delay_s: Float[Array, " users"]) -> PlaybackState:
    """This slot's delay D, and jitter J <- J + (|D - D_before| - J) / 16 (RFC 3550, 6.4.1)."""
    change = jnp.abs(delay_s - state.delay_s)
    return replace(state, delay_s=delay_s, jitter_s=state.jitter_s + (change - state.jitter_s) / 16.0)


def mixed(
    old: Float[Array, "..."], old_s: Float[Array, "..."], new: Float[Array, "..."], new_s: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Mean quality of `old_s` seconds of `old` and `new_s` of `new`; 0 for nothing."""
    return (old * old_s + new * new_s) / jnp.maximum(old_s + new_s, 1e-6)


def _kept(taken_s: Float[Array, " users"], held_s: Float[Array, " users"]) -> Float[Array, " users"]:
    return jnp.clip(1.0 - taken_s / jnp.maximum(held_s, 1e-6), 0.0, 1.0)
