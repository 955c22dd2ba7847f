import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import Combined, Ewma, LastValue
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins import Current

SINR = column(USER_ATTRIBUTES, "sinr_db")
CELL = column(USER_ATTRIBUTES, "serving_cell")
USERS = 64
EMULATOR = Combined((LastValue(), Ewma(weight=0.05)))
ADVANCE = jax.jit(lambda state, known, now: EMULATOR.advance("users", state, known, now))


def current(value: np.ndarray, slot: int) -> Current:
    shape = (USERS, len(USER_ATTRIBUTES))
    return Current(
        active=jnp.ones(USERS, bool),
        value=jnp.broadcast_to(jnp.asarray(value, jnp.float32)[:, None], shape),
        slot=jnp.full(shape, slot, jnp.int32),
        revision=jnp.full(USERS, slot + 1, jnp.int32),
        error=jnp.full(shape, 0.0 if slot else -1.0, jnp.float32),
    )


def live(series: np.ndarray):
    """State, forecasts and deviations of one attribute after every slot of series [slots, users]."""
    state = EMULATOR.start("users", current(series[0], -1))
    means, stds = [], []
    for slot, value in enumerate(series):
        state, forecast = ADVANCE(state, current(value, slot), jnp.int32(slot))
        means.append(np.asarray(forecast.emulated[:, SINR]))
        stds.append(np.asarray(forecast.std[:, SINR]))
    return state, np.stack(means), np.stack(stds)


def noise(slots: int, seed: int = 0) -> np.ndarray:
    return 10 + np.random.default_rng(seed).normal(0, 3, (slots, USERS))


def walk(slots: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(1).normal(0, 0.4, (slots, USERS)), axis=0)


@pytest.mark.parametrize(("series", "best"), [(noise(150), 1), (walk(150), 0)])
def test_the_member_that_foretells_better_takes_over(series: np.ndarray, best: int) -> None:
    state, means, _ = live(series)
    assert int(jnp.argmin(state.loss[:, SINR])) == best
    alone = (LastValue(), Ewma(weight=0.05))[best]
    memory = alone.start("users", current(series[0], -1))
    misses = []
    for slot, value in enumerate(series):
        memory, forecast = alone.advance("users", memory, current(value, slot), jnp.int32(slot))
        misses.append(np.asarray(forecast.emulated[:, SINR]))
    ours, its = (np.mean((np.stack(rows)[60:-1] - series[61:]) ** 2) for rows in (means, misses))
    assert ours < 1.1 * its


def test_weights_follow_when_the_world_changes() -> None:
    state, _, _ = live(np.concatenate([walk(150), walk(150)[-1:] + noise(350)]))
    assert int(jnp.argmin(state.loss[:, SINR])) == 1


@pytest.mark.parametrize("series", [noise(250), walk(250), np.sinh(noise(250) / 3 - 10 / 3)])
def test_nine_of_ten_reports_lie_in_the_interval(series: np.ndarray) -> None:
    _, means, stds = live(series)
    inside = np.abs(series[101:] - means[100:-1]) <= 1.6449 * stds[100:-1]
    assert 0.87 < inside.mean() < 0.93


def test_labels_stay_and_have_no_width() -> None:
    series = np.floor(np.abs(noise(30)))
    state = EMULATOR.start("users", current(series[0], -1))
    for slot, value in enumerate(series):
        state, forecast = ADVANCE(state, current(value, slot), jnp.int32(slot))
        np.testing.assert_array_equal(forecast.emulated[:, CELL], value.astype(np.float32))
        assert float(jnp.max(forecast.std[:, CELL])) == 0.0


def test_labels_and_counts_are_exact_whatever_the_shares() -> None:
    three = Combined((LastValue(), Ewma(weight=0.05), Ewma()))
    values = np.arange(USERS) + 1.0
    _, forecast = three.advance("users", three.start("users", current(values, -1)), current(values, 0), jnp.int32(0))
    whole = np.array([attribute.kind != "level" for attribute in USER_ATTRIBUTES])
    wanted = np.broadcast_to(values[:, None], forecast.emulated.shape)[:, whole]
    np.testing.assert_array_equal(np.asarray(forecast.emulated)[:, whole], wanted)
    np.testing.assert_array_equal(np.asarray(forecast.std)[:, whole], 0.0)
