import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_cases import mobility
from scipy.stats import kstest

from twinloop.errors import ScenarioError
from twinloop.simulator.mobility import KinematicState, Mobility, init_kinematics, move, truncated_pareto

AREA = jnp.asarray([1000.0, 800.0])
ALL = ("path", "levy", "waypoint", "recorded")
FEW = settings(max_examples=8, deadline=None)


@eqx.filter_jit
def journey(key: jax.Array, parameters: Mobility, area_m: jax.Array, slots: int = 200) -> KinematicState:
    """States after every slot, [slots users ...]; row 0 is the start."""
    start = init_kinematics(key, parameters, area_m)

    def slot(state: KinematicState, time_slot: jax.Array) -> tuple[KinematicState, KinematicState]:
        after = move(jax.random.fold_in(key, time_slot), parameters, area_m, state, 1.0, time_slot)
        return after, after

    _, later = jax.lax.scan(slot, start, jnp.arange(slots))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, later)


@FEW
@given(st.integers(0, 2**31), st.floats(0.0, 2.0), st.floats(0.1, 12.0), st.floats(60.0, 900.0), st.floats(50.0, 900.0))
def test_everybody_stays_inside_and_within_their_speeds(
    seed: int, low: float, more: float, width: float, height: float
) -> None:
    users = 40
    parameters = mobility(users, ALL, speed_low_mps=jnp.full(users, low), speed_high_mps=jnp.full(users, low + more))
    seen = journey(jax.random.key(seed), parameters, jnp.asarray([width, height]))
    position, speed = np.asarray(seen.position_m), np.asarray(seen.speed_mps)
    assert np.isfinite(position).all()
    assert (position >= 0).all()
    assert (position <= np.asarray([width, height]) * (1 + 1e-6)).all()
    assert (speed >= 0).all()
    assert (speed <= (low + more) * (1 + 1e-4) + 2e-3).all()
    walked = np.linalg.norm(np.diff(position, axis=0), axis=2)
    assert (walked <= speed[1:] * (1 + 1e-3) + 5e-3).all()
    roams = np.isin(np.asarray(parameters.user_model), (1, 2))
    whole_slots = (np.asarray(seen.travel_s)[1:] > 0)[:, roams]
    assert (speed[1:, roams][whole_slots] >= low * (1 - 1e-4)).all()


@pytest.mark.parametrize("model", ["levy", "waypoint", "path"])
def test_same_key_same_journey_and_another_key_another(model: str) -> None:
    parameters = mobility(10, (model,))
    first, again, other = (journey(jax.random.key(seed), parameters, AREA).position_m for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other)[-1].mean() > 10.0


def test_the_key_of_a_slot_alone_changes_where_a_flight_goes() -> None:
    parameters = mobility(10, ("levy",))
    start = init_kinematics(jax.random.key(0), parameters, AREA)
    one, two = (move(jax.random.key(k), parameters, AREA, start, 1.0, jnp.int32(0)).position_m for k in (1, 2))
    assert bool(jnp.all(jnp.any(one != two, axis=1)))


@pytest.mark.parametrize(("exponent", "low", "high"), [(1.5, 5.0, 500.0), (0.6, 1.0, 1e4), (1.73, 50.0, 2000.0)])
def test_truncated_pareto_is_its_distribution(exponent: float, low: float, high: float) -> None:
    share = (jnp.arange(4000) + 0.5) / 4000
    found = truncated_pareto(share, jnp.float32(exponent), jnp.float32(low), jnp.float32(high))

    def below(x: np.ndarray) -> np.ndarray:
        return (1 - (low / x) ** exponent) / (1 - (low / high) ** exponent)

    assert kstest(found, below).statistic < 2e-3
    assert float(found.min()) >= low
    assert float(found.max()) <= high


def legs(parameters: Mobility, users: int) -> KinematicState:
    """State after the first slot, in which everybody began a leg, in an area too large to meet its edge."""
    start = init_kinematics(jax.random.key(3), parameters, jnp.asarray([1e5, 1e5]))
    return move(jax.random.key(4), parameters, jnp.asarray([1e5, 1e5]), start, 1e-3, jnp.int32(0))


def test_flights_have_pareto_lengths_even_directions_and_their_own_speed_law() -> None:
    users = 20_000
    wide = mobility(users, speed_low_mps=jnp.full(users, 1e-2), speed_high_mps=jnp.full(users, 1e3))
    state = legs(wide, users)
    speed = np.linalg.norm(state.velocity_mps, axis=1)
    length = speed * (np.asarray(state.travel_s) + 1e-3)
    low, high, a = 5.0, 500.0, 1.5
    assert kstest(length, lambda x: (1 - (low / x) ** a) / (1 - (low / high) ** a)).statistic < 0.015
    angle = np.arctan2(*np.asarray(state.velocity_mps).T)
    assert kstest((angle + np.pi) / (2 * np.pi), "uniform").statistic < 0.015
    np.testing.assert_allclose(length / speed, 1.4 * length ** (1 - 0.35), rtol=2e-3)
    pause = np.asarray(state.pause_s)
    assert kstest(pause, lambda x: (1 - 2.0 / x) / (1 - 0.02)).statistic < 0.015
    assert abs(np.corrcoef(length, pause)[0, 1]) < 0.03


def test_a_larger_exponent_makes_flights_shorter() -> None:
    medians = []
    for exponent in (0.8, 1.6):
        state = legs(mobility(4000, flight_exponent=jnp.array([exponent])), 4000)
        medians.append(np.median(np.linalg.norm(state.velocity_mps, axis=1) * np.asarray(state.travel_s)))
    assert medians[0] > 1.3 * medians[1]


def test_a_mixture_of_flights_has_the_distribution_of_its_parts_and_a_spread_of_durations() -> None:
    users = 20_000
    parts = {
        "flight_weight": jnp.array([0.75, 0.25]),
        "flight_exponent": jnp.array([1.2, -0.5]),
        "flight_low_m": jnp.array([5.0, 100.0]),
        "flight_high_m": jnp.array([50.0, 400.0]),
        "time_spread": jnp.float32(0.5),
    }
    wide = mobility(users, speed_low_mps=jnp.full(users, 1e-3), speed_high_mps=jnp.full(users, 1e4), **parts)
    state = legs(wide, users)
    speed = np.linalg.norm(state.velocity_mps, axis=1)
    length = speed * (np.asarray(state.travel_s) + 1e-3)

    def share(x: np.ndarray) -> np.ndarray:
        low = np.clip(x, 5.0, 50.0)
        high = np.clip(x, 100.0, 400.0)
        first = (1 - (5 / low) ** 1.2) / (1 - (5 / 50) ** 1.2)
        return 0.75 * first + 0.25 * (1 - (100 / high) ** -0.5) / (1 - (100 / 400) ** -0.5)

    assert kstest(length, share).statistic < 0.015
    residual = np.log(length / speed / (1.4 * length**0.65))
    assert abs(residual.std() - 0.5) < 0.02 and abs(residual.mean()) < 0.02


def test_flights_pause_between_legs() -> None:
    seen = journey(jax.random.key(5), mobility(50), AREA)
    still = np.asarray(seen.speed_mps)[1:] == 0
    assert 0.1 < still.mean() < 0.95


def test_waypoints_are_reached_at_one_speed_before_the_next_is_chosen() -> None:
    users = 50
    parameters = mobility(users, ("waypoint",), pause_max_s=jnp.float32(0.0))
    seen = journey(jax.random.key(6), parameters, AREA)
    speed, travel = np.asarray(seen.speed_mps), np.asarray(seen.travel_s)
    within_leg = (travel[1:-1] > 0) & (travel[2:] > 0) & (travel[2:] < travel[1:-1])
    assert within_leg.mean() > 0.9
    np.testing.assert_allclose(speed[2:][within_leg], speed[1:-1][within_leg], rtol=1e-5)
    assert kstest(np.asarray(seen.position_m)[0, :, 0] / 1000.0, "uniform").pvalue > 1e-3
    # random waypoints gather in the middle: the classical property of this model
    off_centre = np.abs(np.asarray(seen.position_m)[150:, :, 0] - 500.0)
    assert off_centre.mean() < 240.0


def test_paths_are_followed_round_and_speeds_are_drawn_anew() -> None:
    users = 30
    parameters = mobility(users, ("path",), speed_low_mps=jnp.full(users, 2.0), speed_high_mps=jnp.full(users, 12.0))
    seen = journey(jax.random.key(8), parameters, AREA, 400)
    x, y = np.moveaxis(np.asarray(seen.position_m), 2, 0)
    # triangle (10, 10), (410, 10), (410, 310): every place lies on one of its sides
    off = np.minimum.reduce([np.abs(y - 10), np.abs(x - 410), np.abs((y - 10) * 4 - (x - 10) * 3) / 5])
    assert off.max() < 0.01
    cruise = np.asarray(seen.cruise_mps)
    assert ((cruise >= 2.0) & (cruise <= 12.0)).all()
    assert all(len(np.unique(one)) >= 4 for one in cruise.T)
    assert x.max() - x.min() > 390


def test_a_path_of_one_point_stands_still() -> None:
    seen = journey(jax.random.key(0), mobility(3, ("path",), path_m=jnp.full((1, 4, 2), 77.0)), AREA)
    np.testing.assert_allclose(seen.position_m, 77.0)


def test_recorded_walks_are_interpolated_from_their_start_and_walked_back_at_their_end() -> None:
    parameters = mobility(2, ("recorded",), walk_start_s=jnp.asarray([0.0, 45.0]))
    place = np.asarray(journey(jax.random.key(0), parameters, AREA).position_m)
    # (0, 0) at 0 s, (60, 0) at 30 s, (60, 30) at 60 s, then back again
    for slot, expected in ((0, (0, 0)), (15, (30, 0)), (30, (60, 0)), (60, (60, 30)), (75, (60, 15)), (105, (30, 0))):
        np.testing.assert_allclose(place[slot, 0], expected, atol=0.01)
    np.testing.assert_allclose(place[0, 1], (60, 15), atol=0.01)
    np.testing.assert_allclose(place[15, 1], (60, 30), atol=0.01)


def test_recorded_walks_are_mirrored_at_the_edge() -> None:
    walk = jnp.asarray([[[0.0, 10.0], [60.0, 10.0], [120.0, -50.0]]])
    parameters = mobility(1, ("recorded",), walk_m=walk, speed_high_mps=jnp.full(1, 10.0))
    place = np.asarray(journey(jax.random.key(0), parameters, jnp.asarray([100.0, 100.0])).position_m)
    np.testing.assert_allclose(place[45, 0], (90.0, 20.0), atol=0.01)
    np.testing.assert_allclose(place[60, 0], (80.0, 50.0), atol=0.01)


def test_a_jump_of_the_receiver_is_walked_at_the_highest_speed() -> None:
    walk = jnp.asarray([[[0.0, 0.0], [900.0, 0.0], [900.0, 0.0]]])
    parameters = mobility(1, ("recorded",), walk_m=walk, speed_high_mps=jnp.full(1, 5.0))
    seen = journey(jax.random.key(0), parameters, AREA)
    np.testing.assert_allclose(seen.speed_mps[1:60], 5.0, rtol=1e-4)
    np.testing.assert_allclose(seen.position_m[60, 0], (300.0, 0.0), rtol=1e-4)


def test_models_that_do_not_occur_leave_no_trace_in_the_program() -> None:
    def operations(models: tuple[str, ...]) -> str:
        parameters = mobility(6, models)
        start = init_kinematics(jax.random.key(0), parameters, AREA)
        step = lambda k, s: move(k, parameters, AREA, s, 1.0, jnp.int32(0))  # noqa: E731 - traced once, here
        return str(jax.make_jaxpr(step)(jax.random.key(0), start))

    assert "random_bits" not in operations(("recorded",))
    assert "cos" not in operations(("waypoint", "path"))
    assert "cos" in operations(ALL)


def test_users_of_a_mixture_move_as_their_own_model_alone_would() -> None:
    mixed = journey(jax.random.key(2), mobility(8, ALL), AREA).position_m
    for index, model in enumerate(ALL):
        alone = journey(jax.random.key(2), mobility(8, (model,)), AREA).position_m
        np.testing.assert_allclose(mixed[:, index::4], alone[:, index::4], rtol=1e-4, atol=1e-2, err_msg=model)


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(ScenarioError, match=r"'jetpack'.*path, levy, waypoint, recorded"):
        mobility(1, ("jetpack",))
