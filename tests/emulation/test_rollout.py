"""What-ifs start from what the twins were told, and live on reproducibly in the twin's own physics."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop import scenario
from twinloop.emulation import Forecast, KindForecast, rollout, sample_states
from twinloop.entities import USER_ATTRIBUTES, Action, column
from twinloop.simulator import Overhead, cell_positions, link_gains, step, target_version
from twinloop.twins import empty_twins

LEVEL_STD = {"position_x_m": 6.0, "sinr_db": 2.0}
HORIZON = 4


@pytest.fixture(scope="module")
def model(tiny):
    """The judge's simulator of the tiny campus: other parameters than the network's, no shadowing."""
    return scenario.build_loop(tiny)[0].slot_judge.model


@pytest.fixture(scope="module")
def reported(model):
    """What twelve people report: serving cells and SINR that the model would never expect."""
    params, rng = model.params, np.random.default_rng(3)
    users = params.user_slice.shape[0]
    target = np.asarray(target_version(params.catalogue, params.slices.target_bps))[np.asarray(params.user_slice)]
    width, height = np.asarray(params.topology.area_m)
    return {
        "position_x_m": rng.uniform(0.1 * width, 0.9 * width, users),
        "position_y_m": rng.uniform(0.1 * height, 0.9 * height, users),
        "sinr_db": rng.uniform(3.0, 25.0, users),
        "serving_cell": rng.integers(0, 2, users),
        "rate_bps": rng.uniform(0.5e6, 4e6, users),
        "buffer_s": rng.uniform(1.5, 4.0, users),
        "version": rng.integers(0, target + 1),
        "watch_s": rng.uniform(1.0, 8.0, users),
        "video_class": rng.integers(0, params.viewers.hazard.shape[0], users),
    }


def mirror(model, reported, std, absent=()):
    """Twins that know `reported`, and a forecast that expects it with standard deviations `std` (else exactly)."""
    params = model.params
    users = params.user_slice.shape[0]
    blank = empty_twins(users=users, cells=2, servers=1, slices=3, history=2, class_length_s=jnp.array([15.0]))
    value, spread = np.zeros((2, users, len(USER_ATTRIBUTES)), np.float32)
    for name, values in reported.items():
        value[:, column(USER_ATTRIBUTES, name)] = values
    for name, deviation in std.items():
        spread[:, column(USER_ATTRIBUTES, name)] = deviation
    active = jnp.ones(users, bool).at[jnp.asarray(absent, jnp.int32)].set(False)
    load = blank.cells.current.value.at[:, 0].set(jnp.array([0.3, 0.8]))
    twins = eqx.tree_at(
        lambda t: (t.users.current.slot, t.users.current.active, t.cells.current.value),
        blank,
        (jnp.zeros_like(blank.users.current.slot), active, load),
    )
    kinds = [KindForecast(table.current.value, table.current.value) for table in (twins.cells, twins.servers)]
    return twins, Forecast(KindForecast(jnp.asarray(value), jnp.asarray(spread)), *kinds)


def even(params) -> Action:
    """Equal shares for slices, and as much as fits for every flow."""
    topology, flows = params.topology, params.user_slice.shape[0] + 2 * params.group_slice.shape[0]
    share = jnp.full((1, 3), 1 / 3)
    return Action(
        slice_active=jnp.ones(3, bool),
        slice_bandwidth_hz=topology.cell_bandwidth_hz[:, None] * share,
        slice_cycles_per_s=topology.server_cycles_per_s[:, None] * share,
        slice_cache_bytes=topology.server_cache_bytes[:, None] * share,
        flow_bandwidth_hz=jnp.full(flows, 1e7),
        flow_cycles_per_s=jnp.full(flows, 1e10),
    )


def starved(action: Action) -> Action:
    """The same reservations, and nothing for any flow."""
    return eqx.tree_at(lambda a: a.flow_bandwidth_hz, action, jnp.zeros_like(action.flow_bandwidth_hz))


QUICK_COMPILE = {"xla_backend_optimization_level": 0}
sampled = eqx.filter_jit(sample_states, compiler_options=QUICK_COMPILE)
lived = eqx.filter_jit(rollout, compiler_options=QUICK_COMPILE)


@eqx.filter_jit(compiler_options=QUICK_COMPILE)
def first_slot(key, model, state):
    nothing = Overhead(jnp.zeros(state.active.shape[0]), jnp.zeros(1))
    return step(key, model.params, model.environment, state, even(model.params), nothing)


def world(model, reported, **changes):
    """The one state that agrees exactly with what was reported."""
    twins, forecast = mirror(model, reported, {}, **changes)
    return jax.tree.map(lambda leaf: leaf[0], sampled(jax.random.key(0), model, twins, forecast, 1))


def standing_still(model):
    """The same model in which nobody walks, so that the first slot's radio is that of the reports."""
    mobility, rest = model.params.mobility, jnp.zeros_like(model.params.mobility.speed_high_mps)
    return eqx.tree_at(
        lambda m: (m.params.mobility.speed_low_mps, m.params.mobility.speed_high_mps),
        model,
        (rest, jnp.zeros_like(mobility.speed_low_mps)),
    )


def test_a_sampled_state_is_what_was_reported(model, reported):
    state = world(model, reported, absent=(2, 7))
    position = np.stack([reported["position_x_m"], reported["position_y_m"]], axis=1)
    np.testing.assert_allclose(state.kinematics.position_m, position, rtol=1e-5)
    np.testing.assert_array_equal(state.radio.serving, reported["serving_cell"])
    np.testing.assert_allclose(state.playback.buffer_s, reported["buffer_s"], rtol=1e-5)
    np.testing.assert_allclose(state.playback.watch_s, reported["watch_s"], rtol=1e-5)
    np.testing.assert_array_equal(
        model.params.catalogue.video_class[state.playback.video],
        np.asarray(reported["video_class"]),
    )
    np.testing.assert_allclose(state.cell_load, [0.3, 0.8], rtol=1e-5)
    assert np.flatnonzero(~np.asarray(state.active)).tolist() == [2, 7]


def test_samples_spread_as_the_forecast_is_unsure(model, reported):
    twins, forecast = mirror(model, reported, LEVEL_STD)
    states = sampled(jax.random.key(1), model, twins, forecast, 256)
    x_m, y_m = np.moveaxis(np.asarray(states.kinematics.position_m), 2, 0)
    deviation = x_m - reported["position_x_m"][None, :]
    assert abs(deviation.mean()) < 0.5
    assert deviation.std() == pytest.approx(LEVEL_STD["position_x_m"], rel=0.05)
    assert np.ptp(y_m, axis=0).max() < 1e-3
    assert np.ptp(np.asarray(states.radio.serving), axis=0).max() == 0


def test_the_first_slot_has_the_reported_sinr_and_cell(model, reported):
    state = world(model, reported)
    _, outcome = first_slot(jax.random.key(2), standing_still(model), state)
    np.testing.assert_allclose(outcome.sinr_db, reported["sinr_db"], atol=0.05)
    np.testing.assert_array_equal(outcome.serving_cell, reported["serving_cell"])
    assert float(jnp.max(jnp.abs(state.radio.sinr_offset_db))) > 3.0, "the model expected these values anyway"


def test_people_walk_on_from_where_they_were_reported(model, reported):
    after, _ = first_slot(jax.random.key(2), model, world(model, reported))
    position = np.stack([reported["position_x_m"], reported["position_y_m"]], axis=1)
    walked = np.linalg.norm(np.asarray(after.kinematics.position_m) - position, axis=1)
    assert np.all(walked <= np.asarray(model.params.mobility.speed_high_mps) + 1e-3)
    assert walked.max() > 0.1


def test_nobody_is_handed_over_because_the_model_is_biased(model, reported):
    state = world(model, reported)
    still = standing_still(model)
    unanchored = eqx.tree_at(lambda s: s.radio.lead_offset_db, state, jnp.zeros_like(state.radio.lead_offset_db))
    leave = jnp.zeros(state.active.shape[0], bool)
    for number in range(3):
        unanchored, biased = first_slot(jax.random.key(number), still, unanchored)
        state, outcome = first_slot(jax.random.key(number), still, state)
        leave |= biased.handed_over
        assert not bool(outcome.handed_over.any())
    assert int(leave.sum()) >= 2, "the model agrees with all reported cells: nothing is shown"


def test_after_a_handover_the_model_stands_for_itself(model, reported):
    state = world(model, reported)
    still = standing_still(model)
    far = 1 - np.asarray(reported["serving_cell"])
    cells_m = np.asarray(cell_positions(model.params.topology, jnp.float32(0.0)))[:, :2]
    moved = np.arange(far.size) % 2 == 0
    there = np.where(moved[:, None], cells_m[far], np.asarray(state.kinematics.position_m))
    state = eqx.tree_at(
        lambda s: (s.kinematics.position_m, s.radio.lead_offset_db),
        state,
        (jnp.asarray(there), jnp.minimum(state.radio.lead_offset_db, 5.0)),
    )
    kept = np.asarray(state.radio.sinr_offset_db)
    measured, _ = first_slot(jax.random.key(3), still, state)
    after, outcome = first_slot(jax.random.key(4), still, measured)
    handed = np.asarray(outcome.handed_over)
    assert handed[moved].all()
    assert not np.any(np.asarray(after.radio.sinr_offset_db)[handed])
    assert not np.any(np.asarray(after.radio.lead_offset_db)[handed])
    np.testing.assert_array_equal(np.asarray(after.radio.sinr_offset_db)[~handed], kept[~handed])
    gains = link_gains(
        model.params.topology,
        model.params.radio,
        model.environment.maps,
        after.kinematics.position_m,
        cell_positions(model.params.topology, jnp.float32(0.0)),
    )
    np.testing.assert_array_equal(np.asarray(after.radio.serving)[handed], np.argmax(gains, axis=1)[handed])


def test_a_player_starts_in_the_reported_version(model, reported):
    alone = np.asarray(model.params.user_group) < 0
    _, outcome = first_slot(jax.random.key(5), model, world(model, reported))
    np.testing.assert_array_equal(np.asarray(outcome.version)[alone], reported["version"][alone])
    lowest = reported | {"version": np.zeros_like(reported["version"])}
    _, outcome = first_slot(jax.random.key(5), model, world(model, lowest))
    assert not np.any(np.asarray(outcome.version)[alone])


def test_a_rollout_is_repeatable_and_its_key_matters(model, reported):
    state, action = world(model, reported), even(model.params)
    first, again = (lived(jax.random.key(6), model, state, action, HORIZON) for _ in range(2))
    assert eqx.tree_equal(first, again)
    empty = eqx.tree_at(lambda s: s.playback.buffer_s, state, jnp.full_like(state.playback.buffer_s, 0.4))
    scarce = eqx.tree_at(lambda a: a.flow_bandwidth_hz, action, 0.003 * action.flow_bandwidth_hz)
    several = {float(lived(jax.random.key(seed), model, empty, scarce, HORIZON).satisfaction.sum()) for seed in (7, 8)}
    assert len(several) == 2


def test_what_responds_takes_over_after_the_first_slot(model, reported):
    state, action, key = world(model, reported), even(model.params), jax.random.key(9)
    alone = np.asarray(model.params.user_group) < 0
    unasked = lived(key, model, state, action, HORIZON)
    fed_once = lived(key, model, state, action, HORIZON, lambda doing, outcome: starved(doing))
    once = np.asarray(fed_once.satisfaction)[alone]
    assert np.all((once > 0) & (once <= 1.0 / HORIZON + 1e-5))
    assert float(unasked.satisfaction[alone].mean()) > 2.0 * once.mean()

    def feed_the_served(doing, outcome):
        return eqx.tree_at(lambda a: a.flow_bandwidth_hz, doing, 1e7 * (outcome.flow_bits > 0))

    served = lived(key, model, state, action, HORIZON, feed_the_served)
    hungry = lived(key, model, state, starved(action), HORIZON, feed_the_served)
    assert float(served.satisfaction[alone].mean()) > 2.0 * once.mean()
    assert not np.any(hungry.satisfaction)


def test_an_absent_person_is_not_served(model, reported):
    calm = eqx.tree_at(
        lambda m: (m.params.viewers.session_on_p, m.params.viewers.session_off_p), model, (jnp.zeros(()), jnp.zeros(()))
    )
    served = lived(jax.random.key(10), calm, world(model, reported, absent=(1,)), even(model.params), HORIZON)
    assert not bool(served.active[1])
    assert float(served.satisfaction[1]) == 0.0
    assert float(served.satisfaction[0]) > 0.0
