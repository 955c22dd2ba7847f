import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import Ewma, LastValue, kalman
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins import Current, Twins, empty_twins

X, SINR = column(USER_ATTRIBUTES, "position_x_m"), column(USER_ATTRIBUTES, "sinr_db")
SHAPE = (2, len(USER_ATTRIBUTES))


def current(value: float, slot: int, reports: int) -> Current:
    return Current(
        active=jnp.ones(2, bool),
        value=jnp.full(SHAPE, value, jnp.float32),
        slot=jnp.full(SHAPE, slot, jnp.int32),
        revision=jnp.full(2, reports, jnp.int32),
        error=jnp.full(SHAPE, -1.0 if reports < 2 else 0.0, jnp.float32),
    )


def forecasts(emulator, reports: list[tuple[int, float]], until: int):
    """Emulated value and deviation of the first user's attributes after every slot, given (slot, value) reports."""
    state = emulator.start("users", current(0.0, -1, 0))
    advance = jax.jit(lambda state, known, now: emulator.advance("users", state, known, now))
    told, known, out = dict(reports), current(0.0, -1, 0), []
    count = 0
    for now in range(until):
        if now in told:
            count += 1
            known = current(told[now], now, count)
        state, forecast = advance(state, known, jnp.int32(now))
        out.append((np.asarray(forecast.emulated[0]), np.asarray(forecast.std[0])))
    return out


REPORTS = [(0, 3.0), (1, 4.5), (4, 9.0), (5, 9.5), (9, 17.0)]


def reference(reports, measurement, level, trend, trend_change, until):
    """Textbook filter in float64, one slot at a time, predicting through the slots without a report."""
    transition = np.array([[1.0, 1.0], [0.0, 1.0]])
    noise = np.array([[level + trend_change / 3, trend_change / 2], [trend_change / 2, trend_change]])
    told, out = dict(reports), []
    mean = covariance = None
    for now in range(until):
        if mean is not None:
            mean, covariance = transition @ mean, transition @ covariance @ transition.T + noise
        if now in told and mean is None:
            mean, covariance = np.array([told[now], 0.0]), np.diag([measurement, trend])
        elif now in told:
            gain = covariance[:, 0] / (covariance[0, 0] + measurement)
            mean = mean + gain * (told[now] - mean[0])
            covariance = covariance - np.outer(gain, covariance[0])
        ahead = transition @ covariance @ transition.T + noise
        out.append(((transition @ mean)[0], np.sqrt(ahead[0, 0] + measurement)))
    return out


@pytest.mark.parametrize("attribute", [X, SINR])
def test_kalman_is_the_textbook_filter_however_reports_are_spaced(attribute):
    name = USER_ATTRIBUTES[attribute].name
    emulator = kalman(measurement_std={"users": {name: 2.0}}, level_std={"users": {name: 0.5}})
    noise = emulator.users
    expected = reference(
        REPORTS,
        *(float(part[attribute]) for part in (noise.measurement, noise.level_per_s, noise.trend, noise.trend_per_s)),
        until=12,
    )
    got = [(mean[attribute], std[attribute]) for mean, std in forecasts(emulator, REPORTS, 12)]
    np.testing.assert_allclose(got, expected, rtol=1e-4)


def test_kalman_sees_constant_velocity_ahead_through_missing_reports():
    walk = [(t, 1.5 * t) for t in range(0, 20, 2)]
    mean, _ = forecasts(kalman(), walk, 24)[-1]
    np.testing.assert_allclose(mean[X], 1.5 * 24, atol=0.3)
    last, _ = forecasts(LastValue(), walk, 24)[-1]
    np.testing.assert_allclose(last[X], 27.0)


def test_kalman_deviations_are_those_of_its_misses():
    rng = np.random.default_rng(0)
    level = np.cumsum(rng.normal(0, 1.0, 400))
    reports = [(t, float(level[t] + rng.normal(0, 2.0))) for t in range(400) if rng.random() < 0.7]
    emulator = kalman(measurement_std={"users": {"sinr_db": 2.0}}, level_std={"users": {"sinr_db": 1.0}})
    ahead = forecasts(emulator, reports, 400)
    misses = [(value - ahead[t - 1][0][SINR]) / ahead[t - 1][1][SINR] for t, value in reports if t > 20]
    assert 0.85 < np.std(misses) < 1.15


def test_kalman_beats_the_last_value_on_a_noisy_level():
    rng = np.random.default_rng(1)
    level = 10 + np.cumsum(rng.normal(0, 0.3, 300))
    reports = [(t, float(level[t] + rng.normal(0, 2.0))) for t in range(300)]
    good = kalman(measurement_std={"users": {"sinr_db": 2.0}}, level_std={"users": {"sinr_db": 0.3}})
    miss = {
        name: np.sqrt(np.mean([(ahead[t][0][SINR] - level[t + 1]) ** 2 for t in range(20, 299)]))
        for name, ahead in (("kalman", forecasts(good, reports, 300)), ("last", forecasts(LastValue(), reports, 300)))
    }
    assert miss["kalman"] < 0.6 * miss["last"]


def test_ewma_weighs_a_report_by_the_time_it_stands_for():
    ahead = forecasts(Ewma(weight=0.5), [(0, 0.0), (1, 8.0), (4, 12.0)], 5)
    assert ahead[1][0][SINR] == 4.0
    np.testing.assert_allclose(ahead[4][0][SINR], 4.0 + (1 - 0.5**3) * 8.0)
    half = forecasts(Ewma(weight=0.5, slot_s=0.5), [(0, 0.0), (2, 8.0)], 3)
    np.testing.assert_allclose(half[2][0][SINR], 4.0)


def test_the_last_value_is_less_sure_the_older_it_is():
    ahead = forecasts(LastValue(), [(0, 0.0), (1, 2.0)], 6)
    assert ahead[1][0][SINR] == ahead[5][0][SINR] == 2.0
    np.testing.assert_allclose([ahead[1][1][SINR], ahead[5][1][SINR]], [2.0, 2.0 * np.sqrt(5)], rtol=1e-5)


def test_a_noise_for_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no attribute sped"):
        kalman(level_std={"users": {"sped": 1.0}})


def test_an_emulator_can_start_on_a_fork_or_late():
    state: Twins = empty_twins(users=2, cells=1, servers=1, slices=1, history=1, class_length_s=jnp.array([5.0]))
    emulator = kalman()
    known = Twins(
        type(state.users)(current(7.0, 3, 5), state.users.history, state.users.scale),
        state.cells,
        state.servers,
        state.slices,
        state.swipes,
    )
    _, forecast = emulator.emulate(emulator.init(known), known, jnp.int32(3))
    np.testing.assert_allclose(forecast.users.emulated[:, SINR], 7.0)
