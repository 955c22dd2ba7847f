"""A group of three in one or two cells; positions and buffers are set by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import fair_action, mobility, network, no_overhead, player, viewers

from twinloop.entities import Action
from twinloop.simulator import MulticastState, Params, PlaybackState, State, default_catalogue, init, step
from twinloop.simulator.multicast import RING, advance, bearers, enter, heard, init_multicast, send, upcoming
from twinloop.simulator.playback import Arrival, init_playback

CATALOGUE = default_catalogue(64)
GROUP = jnp.zeros(3, jnp.int32)
HERE = jnp.zeros(3, jnp.int32)
ALL = jnp.ones(3, bool)
NONE = jnp.zeros(3, bool)
FRESH = jnp.array([63])


def start(cells: int = 2) -> MulticastState:
    return init_multicast(jax.random.key(0), CATALOGUE, jnp.ones((3, 8)), GROUP, (1, cells))


def watching(state: MulticastState, watch_s: list[float], buffer_s: list[float], held: float = 0.0) -> PlaybackState:
    video = state.playlist[0, state.item % RING]
    return replace(
        init_playback(video, video),
        watch_s=jnp.array(watch_s),
        buffer_s=jnp.array(buffer_s),
        preload_bits=jnp.full(3, held),
    )


def arrival(seconds: list[float], next_seconds: list[float]) -> Arrival:
    here, after = jnp.array(seconds), jnp.array(next_seconds)
    return Arrival(here, 1e6 * here, after, 1e6 * after, jnp.full(len(seconds), 0.5))


def test_the_fastest_swiper_sets_the_frontier_of_its_cell_only():
    state = start()
    moved = jnp.array([True, False, False])
    state = advance(state, moved, ALL, GROUP, jnp.array([0, 0, 1]), FRESH)
    assert state.item.tolist() == [1, 0, 0]
    assert state.frontier.tolist() == [[1, 0]]
    assert state.head.tolist() == [2]
    assert int(state.playlist[0, 2]) == 63


def test_the_bearer_sends_the_frontier_first_and_then_the_next():
    state = send(start(), arrival([4.0, 0.0], [1.0, 0.0]))
    np.testing.assert_allclose(state.sent_s[0, 0, :2], [4.0, 1.0])
    np.testing.assert_allclose(state.sent_bits[0, 0, :2], [4e6, 1e6])
    np.testing.assert_allclose(state.sent_s[0, 1], 0.0)


def test_slower_members_keep_what_was_sent_and_later_find_the_rest():
    state = send(start(), arrival([4.0, 0.0], [1.0, 0.0]))
    state = advance(state, jnp.array([True, False, False]), ALL, GROUP, HERE, FRESH)
    assert float(state.sent_s[0, 0, 0]) == 4.0
    state = send(state, arrival([3.0, 0.0], [0.0, 0.0]))
    np.testing.assert_allclose(state.sent_s[0, 0, :2], [4.0, 4.0])
    after = upcoming(CATALOGUE, state, watching(state, [1.0] * 3, [2.0] * 3, held=4e6), GROUP, HERE)
    assert after.buffer_s.tolist()[1:] == [4.0, 4.0]
    assert after.bits.tolist()[1:] == [4e6, 4e6]
    assert not bool(jnp.any(after.cut))
    assert int(after.video[1]) == int(state.playlist[0, 1])


def test_what_a_member_did_not_receive_it_does_not_find():
    state = send(start(), arrival([4.0, 0.0], [2.0, 0.0]))
    after = upcoming(CATALOGUE, state, watching(state, [1.0] * 3, [2.0] * 3, held=1e6), GROUP, HERE)
    np.testing.assert_allclose(after.buffer_s, 1.0)
    np.testing.assert_allclose(after.bits, 1e6)


def test_a_dry_member_whose_video_is_no_longer_sent_moves_on():
    state = send(start(), arrival([4.0, 0.0], [0.0, 0.0]))
    state = advance(state, jnp.array([True, False, False]), ALL, GROUP, HERE, FRESH)
    after = upcoming(CATALOGUE, state, watching(state, [0.0, 4.0, 2.0], [0.0, 0.0, 2.0]), GROUP, HERE)
    assert after.cut.tolist() == [False, True, False]


def test_a_member_falls_off_the_end_of_the_playlists_memory():
    state = start()
    for step_number in range(RING):
        state = advance(state, jnp.array([True, False, False]), ALL, GROUP, HERE, jnp.array([step_number]))
    assert state.head.tolist() == [RING + 1]
    after = upcoming(CATALOGUE, state, watching(state, [3.0] * 3, [2.0] * 3), GROUP, HERE)
    assert after.cut.tolist() == [False, True, True]


def test_who_comes_by_handover_joins_where_the_cell_is_sending():
    state = send(start(), arrival([4.0, 0.0], [0.0, 0.0]))
    item, video, position = enter(CATALOGUE, state, GROUP, jnp.array([0, 1, 0]))
    assert item.tolist() == [0, 0, 0]
    assert position.tolist() == [4.0, 0.0, 4.0]
    assert int(video[0]) == int(state.playlist[0, 0])
    state = send(start(), arrival([15.0, 0.0], [2.0, 0.0]))
    item, video, position = enter(CATALOGUE, state, GROUP, HERE)
    assert (item.tolist(), position.tolist()) == ([1, 1, 1], [2.0, 2.0, 2.0])
    assert int(video[0]) == int(state.playlist[0, 1])


def test_a_cell_without_members_stands_ready_at_the_newest_item_but_one():
    state = send(start(), arrival([4.0, 4.0], [0.0, 0.0]))
    state = advance(state, jnp.array([True, True, True]), ALL, GROUP, HERE, FRESH)
    assert state.frontier.tolist() == [[1, 1]]
    assert float(jnp.sum(state.sent_s[0, 1])) == 0.0
    assert float(state.sent_s[0, 0, 0]) == 4.0


def test_the_weakest_present_member_sets_the_rate_and_the_fastest_the_room():
    state = send(start(), arrival([4.0, 0.0], [0.0, 0.0]))
    playback = watching(state, [1.0, 3.0, 3.5], [3.0, 1.0, 0.5])
    efficiency = jnp.array([2.0, 0.5, 0.1])
    present = jnp.array([True, True, False])
    seen = bearers(state, playback, present, GROUP, HERE, efficiency)
    np.testing.assert_allclose(seen.spectral_efficiency, [0.5, 0.0])
    assert seen.members.tolist() == [2, 0]
    assert seen.at_frontier.tolist() == [True, True, False]
    assert (float(seen.head.watch_s[0]), float(seen.head.buffer_s[0])) == (3.0, 1.0)


def test_members_hear_the_bearer_and_those_behind_keep_it_for_later():
    state = advance(start(), jnp.array([True, False, False]), ALL, GROUP, HERE, FRESH)
    group = jnp.array([0, 0, -1])
    seen = bearers(state, watching(state, [0.0] * 3, [0.0] * 3), ALL, group, HERE, jnp.ones(3))
    got = heard(seen, arrival([0.25] * 3, [0.0] * 3), arrival([2.0, 0.0], [1.0, 0.0]))
    assert got.seconds.tolist() == [2.0, 0.0, 0.25]
    assert got.bits.tolist() == [2e6, 0.0, 0.25e6]
    assert got.next_bits.tolist() == [1e6, 3e6, 0.0]


@jax.jit
def run(key: jax.Array, params: Params, action: Action):
    environment, state = init(key, params)

    def body(state: State, key: jax.Array):
        return step(key, params, environment, state, action, no_overhead(params))

    return jax.lax.scan(body, state, jax.random.split(key, 90))


@pytest.mark.parametrize("hazard", [0.0, 0.15])
def test_one_bearer_feeds_a_whole_group(hazard: float):
    params = network(6, 1, groups=1, catalogue=CATALOGUE, people=viewers(6, hazard=hazard))
    params = replace(params, user_group=jnp.zeros(6, jnp.int32), player=player(8.0, 2.0), mobility=mobility(6, 0.1))
    action = fair_action(params)
    action = replace(action, flow_bandwidth_hz=action.flow_bandwidth_hz.at[:6].set(0.0))
    state, seen = run(jax.random.key(2), params, action)
    assert float(jnp.max(jnp.abs(seen.flow_bits[:, :6]))) == 0.0
    np.testing.assert_allclose(seen.delivered_bits, np.repeat(seen.flow_bits[:, 6:], 6, axis=1))
    assert float(jnp.mean(seen.delivered_bits[20:] >= 0.5 * seen.needed_bits[20:])) > 0.8
    watched = 90.0 - float(jnp.mean(state.playback.rebuffer_total_s))
    assert watched > 60.0
    if hazard == 0.0:
        assert len(set(state.multicast.item.tolist())) == 1
        assert int(state.multicast.item[0]) in (5, 6)
    else:
        assert int(state.multicast.head[0]) == int(jnp.max(state.multicast.item)) + 1
        assert int(jnp.max(state.multicast.item)) > 8
