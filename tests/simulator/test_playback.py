from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import player, viewers

from twinloop.simulator import PlaybackState, Viewers, default_catalogue
from twinloop.simulator.playback import (
    Head,
    arrived,
    choose_version,
    delayed,
    demand,
    estimated,
    init_playback,
    play,
    preloaded,
    receive,
    restart,
    target_version,
)

CATALOGUE = default_catalogue(64)


def state(users: int = 1, **values: float) -> PlaybackState:
    fresh = init_playback(jnp.zeros(users, jnp.int32), jnp.ones(users, jnp.int32))
    return replace(fresh, **{name: jnp.full(users, value) for name, value in values.items()})


@eqx.filter_jit
def one_slot(held: PlaybackState, people: Viewers, chance: jax.Array, slot_s: float = 1.0):
    users = held.video.shape[0]
    everybody, fresh = jnp.ones(users, bool), jnp.full(users, 2, jnp.int32)
    return play(people, CATALOGUE, held, preloaded(held), everybody, jnp.ones(users), chance, fresh, slot_s)


def stays(users: int = 1) -> Viewers:
    return viewers(users, hazard=0.0)


def test_playback_takes_a_slot_from_the_buffer_and_its_bits():
    after, seen = one_slot(state(buffer_s=4.0, buffer_bits=4e6, watch_s=3.0), stays(), jnp.zeros(1))
    assert (float(after.buffer_s[0]), float(after.watch_s[0])) == (3.0, 4.0)
    assert float(after.buffer_bits[0]) == pytest.approx(3e6)
    assert float(seen.rebuffer_s[0]) == 0.0


def test_what_playback_lacked_is_rebuffering():
    after, seen = one_slot(state(buffer_s=0.3, buffer_bits=3e5, watch_s=3.0), stays(), jnp.zeros(1))
    assert float(seen.rebuffer_s[0]) == pytest.approx(0.7)
    assert float(after.rebuffer_total_s[0]) == pytest.approx(0.7)
    assert float(after.buffer_s[0]) == 0.0
    again, _ = one_slot(after, stays(), jnp.zeros(1))
    assert float(again.rebuffer_total_s[0]) == pytest.approx(1.7)
    assert float(again.buffer_s[0]) == 0.0


def test_a_swipe_wastes_the_buffer_and_goes_on_with_the_preload():
    held = state(buffer_s=4.0, buffer_bits=4e6, watch_s=3.0, preload_s=2.0, preload_bits=1e6, preload_quality=0.5)
    after, seen = one_slot(held, viewers(1, hazard=1.0), jnp.zeros(1))
    assert bool(seen.swiped[0])
    assert float(seen.wasted_bits[0]) == pytest.approx(3e6)
    assert (float(after.watch_s[0]), float(after.buffer_s[0]), float(after.buffer_bits[0])) == (0.0, 2.0, 1e6)
    assert (float(after.preload_s[0]), float(after.preload_bits[0])) == (0.0, 0.0)
    assert (int(after.video[0]), int(after.next_video[0])) == (1, 2)
    assert (int(after.swipes_total[0]), int(after.views_total[0])) == (1, 1)
    assert float(after.last_watch_s[0]) == 3.5
    assert int(after.last_class[0]) == int(CATALOGUE.video_class[0])


def test_nobody_swipes_while_stalled():
    after, seen = one_slot(state(watch_s=3.0), viewers(1, hazard=1.0), jnp.zeros(1))
    assert not bool(seen.swiped[0])
    assert int(after.video[0]) == 0


def test_the_end_of_a_video_is_no_swipe_and_the_next_fills_the_slot():
    held = state(buffer_s=0.4, buffer_bits=4e5, watch_s=14.6, preload_s=2.0, preload_bits=2e6)
    after, seen = one_slot(held, stays(), jnp.zeros(1))
    assert (bool(seen.swiped[0]), bool(seen.moved[0])) == (False, True)
    assert float(seen.rebuffer_s[0]) == pytest.approx(0.0, abs=1e-5)
    assert float(after.watch_s[0]) == pytest.approx(0.6, abs=1e-5)
    assert float(after.buffer_s[0]) == pytest.approx(1.4, abs=1e-5)
    assert float(after.buffer_bits[0]) == pytest.approx(1.4e6, rel=1e-4)
    assert (int(after.swipes_total[0]), int(after.views_total[0])) == (0, 1)
    assert float(after.last_watch_s[0]) == 15.0
    assert float(seen.wasted_bits[0]) == pytest.approx(0.0, abs=1.0)


def watch_until_left(hazard: np.ndarray, users: int, slot_s: float) -> np.ndarray:
    """How long each of many viewers stays with its first video when everything is buffered."""
    people = eqx.tree_at(lambda v: v.hazard, viewers(users), jnp.tile(jnp.asarray(hazard, jnp.float32), (8, 1)))

    @jax.jit
    def run(held: PlaybackState, key: jax.Array) -> PlaybackState:
        def body(held: PlaybackState, key: jax.Array):
            full = replace(held, buffer_s=jnp.full(users, 20.0))
            after, _ = one_slot(full, people, jax.random.uniform(key, (users,)), slot_s)
            gone = held.views_total > 0
            kept = jnp.where(gone, held.last_watch_s, after.last_watch_s)
            return replace(after, last_watch_s=kept), None

        return jax.lax.scan(body, held, jax.random.split(key, round(16 / slot_s)))[0]

    return np.asarray(run(state(users), jax.random.key(5)).last_watch_s)


@pytest.mark.parametrize("slot_s", [1.0, 0.25])
def test_swipes_reproduce_the_given_retention_curve(slot_s: float):
    hazard = np.array([0.2, 0.12, 0.1, 0.08, 0.05, 0.05, 0.04, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02, 0.05, 0.1])
    watched = watch_until_left(hazard, 20_000, slot_s)
    survival = np.cumprod(1 - hazard)
    measured = np.array([(watched >= second).mean() for second in range(1, 16)])
    assert np.abs(measured - survival).max() < 0.012


def test_poisson_requests_are_a_constant_hazard():
    per_minute = 6.0
    hazard = 1 - np.exp(-per_minute / 60)
    watched = watch_until_left(np.full(15, hazard), 20_000, 1.0)
    left = watched[watched < 15]
    assert np.mean(watched >= 15) == pytest.approx(np.exp(-per_minute / 4), abs=0.012)
    exposure = np.floor(left).sum() + len(left) + 15 * np.sum(watched >= 15)
    assert len(left) / exposure == pytest.approx(hazard, rel=0.03)


def test_a_satisfied_player_asks_for_one_slot_and_is_never_above_its_cap():
    rules, people = player(cap_s=6.0, preload_s=2.0), stays()

    @jax.jit
    def slot(held: PlaybackState):
        held, _ = one_slot(held, people, jnp.ones(1))
        head = Head(held.video, held.next_video, held.watch_s, held.buffer_s, held.preload_s)
        version = jnp.array([3])
        wanted = demand(rules, CATALOGUE, head, version, version, 1.0)
        return receive(held, arrived(wanted, wanted.want_bits, jnp.ones(1))), wanted

    held = state()
    for step in range(40):
        held, wanted = slot(held)
        assert float(held.buffer_s[0] + held.preload_s[0]) <= 6.0 + 1e-4
        if step > 0:
            assert float(wanted.room_s[0] + wanted.next_room_s[0]) == pytest.approx(1.0, abs=1e-4)
            assert float(wanted.want_bits[0]) == pytest.approx(float(wanted.needed_bits[0]), rel=1e-4)
    assert float(held.rebuffer_total_s[0]) == 1.0


def test_this_video_comes_first_then_the_preload():
    head = Head(jnp.array([0]), jnp.array([1]), jnp.array([2.0]), jnp.array([1.0]), jnp.array([0.0]))
    wanted = demand(player(6.0, 2.0), CATALOGUE, head, jnp.array([1]), jnp.array([1]), 1.0)
    assert (float(wanted.room_s[0]), float(wanted.next_room_s[0])) == (3.0, 2.0)
    some = arrived(wanted, 2.0 * wanted.bits_per_s, jnp.ones(1))
    assert (float(some.seconds[0]), float(some.next_seconds[0])) == (pytest.approx(2.0), 0.0)
    full = arrived(wanted, wanted.want_bits, jnp.ones(1))
    assert (float(full.seconds[0]), float(full.next_seconds[0])) == (pytest.approx(3.0), pytest.approx(2.0))
    assert float(full.bits[0] + full.next_bits[0]) == pytest.approx(float(wanted.want_bits[0]))


def test_version_follows_rate_buffer_and_the_slices_promise():
    target = target_version(CATALOGUE, jnp.array([0.1e6, 1.0e6, 2e6, 45e6]))
    assert target.tolist() == [0, 1, 2, 3]
    rate, ahead = jnp.array([2e6, 2e6, 2e6, 9e9]), jnp.array([0.0, 6.0, 6.0, 6.0])
    highest = jnp.array([3, 3, 0, 3])
    assert choose_version(player(), CATALOGUE, rate, ahead, highest).tolist() == [1, 2, 0, 3]


def test_rate_estimate_rests_while_nothing_is_wanted():
    new = estimated(jnp.array([1e6, 1e6]), jnp.array([2e6, 0.0]), jnp.array([1.0, 0.0]), jnp.float32(0.25))
    np.testing.assert_allclose(new, [1.25e6, 1e6])


def test_jitter_is_that_of_rfc_3550():
    held = delayed(state(delay_s=0.1, jitter_s=0.02), jnp.array([0.3]))
    assert float(held.jitter_s[0]) == pytest.approx(0.02 + (0.2 - 0.02) / 16)


def test_quality_of_a_mixed_buffer_is_weighted_by_seconds():
    head = Head(jnp.array([0]), jnp.array([1]), jnp.array([0.0]), jnp.array([1.0]), jnp.array([0.0]))
    wanted = demand(player(), CATALOGUE, head, jnp.array([1]), jnp.array([1]), 1.0)
    held = receive(state(buffer_s=1.0, buffer_quality=0.2), arrived(wanted, 3 * wanted.bits_per_s, jnp.array([1.0])))
    assert float(held.buffer_quality[0]) == pytest.approx((0.2 + 3.0) / 4)
    after, seen = one_slot(replace(held, quality=jnp.array([0.5])), stays(), jnp.zeros(1))
    assert float(seen.quality_change[0]) == pytest.approx(0.3)
    assert float(after.quality[0]) == pytest.approx(0.8)


def test_a_player_that_restarts_drops_all_it_holds():
    held = state(2, buffer_s=2.0, buffer_bits=2e6, preload_s=1.0, preload_bits=1e6, watch_s=5.0)
    who = jnp.array([True, False])
    after, wasted = restart(held, who, jnp.array([7, 7]), jnp.array([8, 8]), jnp.zeros(2))
    np.testing.assert_allclose(wasted, [3e6, 0.0])
    assert (int(after.video[0]), int(after.video[1])) == (7, 0)
    np.testing.assert_allclose(after.buffer_s + after.preload_s, [0.0, 3.0])
