"""The light player against the simulator's own rules of playback, slot by slot, at constant rates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision.demand import course_of, live, rules_of, started
from twinloop.simulator import Player, Viewers, default_catalogue
from twinloop.simulator.catalogue import draw_video, version_quality
from twinloop.simulator.playback import (
    Head,
    arrived,
    choose_version,
    demand,
    estimated,
    init_playback,
    play,
    preloaded,
    receive,
)

CATALOGUE = default_catalogue(64)
PLAYER = Player(jnp.float32(6.0), jnp.float32(2.0), jnp.float32(0.3), jnp.float32(0.9))
RATES = (0.4e6, 0.7e6, 1.3e6, 3.0e6, 4.0e6)
EACH, MINUTES = 192, 4
HAZARD = 1.0 - float(np.exp(-0.1))


def viewers(users: int) -> Viewers:
    types = CATALOGUE.type_size.shape[0]
    return Viewers(
        hazard=jnp.full((types, 15), HAZARD),
        user_factor_spread=jnp.zeros(()),
        preference=jnp.full((users, types), 1.0 / types),
        drift_slot=jnp.zeros(0, jnp.int32),
        preference_after=jnp.zeros((0, users, types)),
        session_on_p=jnp.zeros(()),
        session_off_p=jnp.zeros(()),
    )


@eqx.filter_jit
def simulated(key: jax.Array, rate: jax.Array) -> tuple[jax.Array, ...]:
    """Stall, played and quality seconds, swipes, bits of every slot by `simulator.playback`."""
    users = rate.shape[0]
    people, quality = viewers(users), version_quality(CATALOGUE)
    everybody, ones = jnp.ones(users, bool), jnp.ones(users)
    top = jnp.full(users, CATALOGUE.version_bps.shape[0] - 1)

    def slot(state, k):
        chance, kind, video = jax.random.uniform(k, (3, users))
        fresh = draw_video(CATALOGUE, people.preference, kind, video)
        state, seen = play(people, CATALOGUE, state, preloaded(state), everybody, ones, chance, fresh, 1.0)
        head = Head(state.video, state.next_video, state.watch_s, state.buffer_s, state.preload_s)
        version = choose_version(PLAYER, CATALOGUE, state.rate_estimate_bps, state.buffer_s + state.preload_s, top)
        wanted = demand(PLAYER, CATALOGUE, head, version, top, 1.0)
        bits = jnp.minimum(rate, wanted.want_bits)
        estimate = estimated(state.rate_estimate_bps, rate, wanted.want_bits, PLAYER.rate_memory)
        state = receive(state, arrived(wanted, bits, quality[version]))
        state = eqx.tree_at(lambda s: s.rate_estimate_bps, state, estimate)
        played = 1.0 - seen.rebuffer_s
        return state, (seen.rebuffer_s, played, played * state.quality, seen.swiped.astype(jnp.float32), bits)

    nobody = jnp.zeros(users, jnp.int32)
    _, lived = jax.lax.scan(slot, init_playback(nobody, nobody + 1), jax.random.split(key, 60 * MINUTES))
    return lived


@pytest.fixture(scope="module")
def both() -> tuple[np.ndarray, np.ndarray]:
    """Per rate: stall a minute, quality, swipes a minute, Mbit/s; theirs and ours, first minute left out."""
    rate = jnp.repeat(jnp.asarray(RATES, jnp.float32), EACH)
    stall, played, quality, swipes, bits = (np.asarray(v) for v in simulated(jax.random.key(1), rate))
    rules = rules_of(PLAYER, CATALOGUE)
    zero = jnp.zeros(rate.shape)
    chance = jax.random.uniform(jax.random.key(2), (MINUTES, 60, rate.shape[0]))
    course = course_of(rules, jnp.ones_like(chance), chance)
    lived = jax.jit(live)(rules, started(rules, zero, zero, zero), rate, course, zero + 0.1)

    def table(stall, played, quality, swipes, bits, seconds):
        whole = [
            v.reshape(v.shape[0], len(RATES), EACH).sum(axis=(0, 2)) for v in (stall, played, quality, swipes, bits)
        ]
        lives = EACH * seconds / 60
        return np.stack([whole[0] / lives, whole[2] / whole[1], whole[3] / lives, whole[4] / lives / 60e6])

    seconds = 60.0 * (MINUTES - 1)
    theirs = table(*(v[60:] for v in (stall, played, quality, swipes, bits)), seconds)
    parts = (lived.stall_s, lived.played_s, lived.quality_s, lived.swipes, jnp.sum(lived.bits, axis=1))
    return theirs, table(*(np.asarray(v)[1:] for v in parts), seconds)


def test_stalls_agree_with_the_simulator_to_seven_hundredths_and_a_tenth_of_a_second_a_minute(both):
    np.testing.assert_allclose(both[1][0], both[0][0], rtol=0.07, atol=0.1)


def test_quality_agrees_with_the_simulator_to_one_hundredth(both):
    np.testing.assert_allclose(both[1][1], both[0][1], atol=0.01)


def test_swipes_and_bits_agree_with_the_simulator_to_a_tenth(both):
    np.testing.assert_allclose(both[1][2], both[0][2], rtol=0.1)
    np.testing.assert_allclose(both[1][3], both[0][3], rtol=0.05)


def test_a_rate_too_low_stalls_and_more_rate_shows_more(both):
    stall, quality = both[1][0], both[1][1]
    assert stall[0] > 5.0 > 0.5 > stall[3]
    assert np.all(np.diff(quality) >= 0) and quality[-1] > quality[1]


def test_what_a_player_already_holds_is_played_before_anything_stalls():
    rules = rules_of(PLAYER, CATALOGUE)
    held = started(rules, jnp.array([0.0, 6.0]), jnp.zeros(2), jnp.zeros(2))
    chance = jnp.ones((1, 60, 2))
    course = course_of(rules, jnp.ones_like(chance), chance)
    lived = jax.jit(live)(rules, held, jnp.zeros(2), course, jnp.zeros(2))
    np.testing.assert_allclose(np.asarray(lived.stall_s[0]), [60.0, 54.0], atol=1e-4)
