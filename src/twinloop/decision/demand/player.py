"""What people live through at a given rate: the player's rules on many futures at once, without the network around."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from twinloop.simulator import Catalogue, Player

MINUTE_SLOTS = 60
"""Slots of 1 s in a rated period."""

_EPSILON_S = 1e-4
_ROW_SPREAD = 8191.0
_ROWS = 128


class Rules(eqx.Module):
    """How a player fetches and what versions cost, in a form that needs no video's number.

    `version_bps` r_v and `quality` Q_v of every version; `size` [rows, seconds] is what a second of a video takes,
    relative to r_v, one row a class of sizes; every video lasts `length_s`.
    """

    player: Player
    version_bps: Float[Array, " versions"]
    quality: Float[Array, " versions"]
    size: Float[Array, "rows seconds"]
    length_s: Float[Array, ""]


class Held(eqx.Module):
    """What players hold: `ahead_s` of the video at `watch_s`, `next_s` of the one after it, in which mean quality, and
    which row of sizes either has; the quality last seen, and the rate that the player believes in.
    """

    watch_s: Float[Array, "*players"]
    ahead_s: Float[Array, "*players"]
    ahead_quality: Float[Array, "*players"]
    next_s: Float[Array, "*players"]
    next_quality: Float[Array, "*players"]
    quality: Float[Array, "*players"]
    rate_bps: Float[Array, "*players"]
    row: Int[Array, "*players"]
    next_row: Int[Array, "*players"]


class Lived(eqx.Module):
    """A minute of playback: seconds stalled, seconds played and their quality summed, swipes, bits by version."""

    stall_s: Float[Array, "*players"]
    played_s: Float[Array, "*players"]
    quality_s: Float[Array, "*players"]
    swipes: Float[Array, "*players"]
    bits: Float[Array, "versions *players"]


def rules_of(player: Player, catalogue: Catalogue) -> Rules:
    """Rules of players of `catalogue`: rows of sizes as often as popular videos have them (mean over versions), 128 in
    all; length by the videos' popularity.
    """
    rates = catalogue.version_bps
    weight = catalogue.popularity / jnp.sum(catalogue.popularity)
    spread = jnp.log(rates[-1] / rates[0]) if rates.shape[0] > 1 else jnp.ones(())
    quality = jnp.log(rates / rates[0]) / spread if rates.shape[0] > 1 else jnp.ones_like(rates)
    size = jnp.maximum(jnp.mean(catalogue.chunk_bits / rates[None, :, None], axis=1), 1e-3)
    reached = jnp.cumsum(jnp.zeros(size.shape[0]).at[catalogue.size_class].add(weight))
    row = jnp.searchsorted(reached, (jnp.arange(_ROWS) + 0.5) / _ROWS)
    drawn = size[jnp.minimum(row, size.shape[0] - 1)]
    return Rules(player, rates, quality, drawn, jnp.sum(weight * catalogue.length_s))


def started(
    rules: Rules,
    buffer_s: Float[Array, "*players"],
    rate_bps: Float[Array, "*players"],
    watch_s: Float[Array, "*players"],
) -> Held:
    """Players of which the buffer, the believed rate and the position are known; what is preloaded is not, so nothing.

    What is buffered has the quality that the believed rate would choose.
    """
    none, row = jnp.zeros_like(buffer_s), jnp.zeros(buffer_s.shape, jnp.int32)
    chosen = rules.quality[_version(rules, rate_bps, buffer_s)]
    inside = jnp.clip(watch_s, 0.0, rules.length_s - 1e-3)
    ahead = jnp.minimum(jnp.clip(buffer_s, 0.0, rules.player.buffer_cap_s), rules.length_s - inside)
    return Held(inside, ahead, chosen, none, none, chosen, rate_bps, row, row)


class Course(eqx.Module):
    """What befalls players slot by slot, whatever they are given, one row a minute: the rate that 1 bit/s of grant
    brings, how much of the hazard of leaving [1] a viewer bears in the slot, and which row of sizes the video after
    next has.
    """

    share: Float[Array, "minutes slots *players"]
    patience: Float[Array, "minutes slots *players"]
    fresh_row: Int[Array, "minutes slots *players"]


def course_of(
    rules: Rules, share: Float[Array, "minutes slots *players"], chance: Float[Array, "minutes slots *players"]
) -> Course:
    """The course that numbers `chance`, uniform in [0, 1), decide: a viewer leaves with chance 1 - exp(-h p) in a slot
    in which p seconds are played at the hazard h.
    """
    row = jnp.floor(jnp.mod(chance * _ROW_SPREAD, 1.0) * rules.size.shape[0])
    return Course(share, -jnp.log1p(-chance), row.astype(jnp.int32))


def live(
    rules: Rules,
    held: Held,
    rate_bps: Float[Array, "*players"],
    course: Course,
    leave_per_s: Float[Array, "*players"],
) -> Lived:
    """Minutes lived at the rates `rate_bps` x `course.share` of every slot of 1 s, one row a minute.

    The order of a slot is the simulator's: play from the old buffer (played p = min(b, 1 s, rest); stalled 1 s - p,
    less what the next video's preload fills in), swipe where the hazard `leave_per_s` x p is more than the viewer's
    patience, which drops the buffer and goes on with the preload; then the version by `simulator.playback`'s rule of
    rate and buffer, and the download of this video up to the cap less the preload, then of the next. Left out: caps on
    the version, transcoding queues, handovers, hazards that change with the position, lengths that differ.
    What is looked up in tables is kept from being computed once for every use (optimization_barrier).
    """

    def minute(before: Held, given: Course) -> tuple[Held, Lived]:
        none = jnp.zeros_like(rate_bps)
        empty = Lived(none, none, none, none, jnp.zeros((rules.version_bps.shape[0], *none.shape)))

        def slot(carry: tuple[Held, Lived], one: Course) -> tuple[tuple[Held, Lived], None]:
            state, lived = carry
            state, lived = _play(rules, state, lived, one, leave_per_s)
            return _fetch(rules, state, lived, rate_bps * one.share), None

        (after, lived), _ = jax.lax.scan(slot, (before, empty), given)
        return after, lived

    _, lived = jax.lax.scan(minute, held, course)
    return lived


def _play(
    rules: Rules, state: Held, lived: Lived, course: Course, leave_per_s: Float[Array, "*players"]
) -> tuple[Held, Lived]:
    rest = jnp.maximum(rules.length_s - state.watch_s, 0.0)
    played = jnp.minimum(jnp.minimum(state.ahead_s, 1.0), rest)
    watch = state.watch_s + played
    swiped = (played > 0) & (leave_per_s * played > course.patience)
    ended = ~swiped & (watch >= rules.length_s - _EPSILON_S)
    moved = swiped | ended
    carry = jnp.where(ended, jnp.minimum(state.next_s, 1.0 - played), 0.0)
    stalled = 1.0 - played - carry
    old = jnp.where(played > 0, state.ahead_quality, state.quality)
    quality = jnp.where(carry > 0, state.next_quality, old)
    after = Held(
        watch_s=jnp.where(moved, carry, watch),
        ahead_s=jnp.where(moved, state.next_s - carry, jnp.maximum(state.ahead_s - played, 0.0)),
        ahead_quality=jnp.where(moved, state.next_quality, state.ahead_quality),
        next_s=jnp.where(moved, 0.0, state.next_s),
        next_quality=state.next_quality,
        quality=quality,
        rate_bps=state.rate_bps,
        row=jnp.where(moved, state.next_row, state.row),
        next_row=jnp.where(moved, course.fresh_row, state.next_row),
    )
    seen = 1.0 - stalled
    return after, Lived(
        lived.stall_s + stalled,
        lived.played_s + seen,
        lived.quality_s + seen * quality,
        lived.swipes + swiped,
        lived.bits,
    )


def _fetch(rules: Rules, state: Held, lived: Lived, rate_bps: Float[Array, "*players"]) -> tuple[Held, Lived]:
    player = rules.player
    version = _version(rules, state.rate_bps, state.ahead_s + state.next_s)
    end = state.watch_s + state.ahead_s
    here = jnp.minimum(jnp.maximum(player.buffer_cap_s - player.preload_s - state.ahead_s, 0.0), rules.length_s - end)
    here = jnp.maximum(here, 0.0)
    spare = jnp.maximum(player.buffer_cap_s - state.ahead_s - state.next_s - here, 0.0)
    there = jnp.minimum(spare, jnp.maximum(rules.length_s - state.next_s, 0.0))
    bps, quality = rules.version_bps[version], rules.quality[version]
    here_bps, there_bps = bps * _size(rules, state.row, end), bps * _size(rules, state.next_row, state.next_s)
    looked_up = (version, bps, quality, here_bps, there_bps)
    version, bps, quality, here_bps, there_bps = jax.lax.optimization_barrier(looked_up)
    want = here * here_bps + there * there_bps
    bits = jnp.minimum(rate_bps, want)
    got = jnp.minimum(bits / here_bps, here)
    ahead_bits = jnp.minimum(got * here_bps, bits)
    got_next = jnp.minimum((bits - ahead_bits) / there_bps, there)
    learnt = jnp.where(want > 0, player.rate_memory * (rate_bps - state.rate_bps), 0.0)
    chosen = version[None] == jnp.arange(rules.version_bps.shape[0]).reshape((-1,) + (1,) * version.ndim)
    after = replace(
        state,
        ahead_s=state.ahead_s + got,
        ahead_quality=_mixed(state.ahead_quality, state.ahead_s, quality, got),
        next_s=state.next_s + got_next,
        next_quality=_mixed(state.next_quality, state.next_s, quality, got_next),
        rate_bps=state.rate_bps + learnt,
    )
    return after, replace(lived, bits=lived.bits + jnp.where(chosen, bits[None], 0.0))


def _version(
    rules: Rules, rate_bps: Float[Array, "*players"], ahead_s: Float[Array, "*players"]
) -> Int[Array, "*players"]:
    fill = jnp.minimum(ahead_s / rules.player.buffer_cap_s, 1.0)
    budget = rate_bps * (rules.player.safety + (1.0 - rules.player.safety) * fill)
    version = jnp.zeros(rate_bps.shape, jnp.int32)
    for rate in rules.version_bps[1:]:
        version += rate <= budget
    return version


def _size(rules: Rules, row: Int[Array, "*players"], at_s: Float[Array, "*players"]) -> Float[Array, "*players"]:
    seconds = rules.size.shape[1]
    return rules.size.reshape(-1)[row * seconds + jnp.clip(at_s.astype(jnp.int32), 0, seconds - 1)]


def _mixed(old: Array, old_s: Array, new: Array, new_s: Array) -> Float[Array, "*players"]:
    return (old * old_s + new * new_s) / jnp.maximum(old_s + new_s, 1e-6)
