from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import LastValue, learned
from twinloop.emulation.learned import user_covariates
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import ModelError
from twinloop.learning import LEVELS, Emulator, Quantity, blank_memory, linear_features, remember, save_emulator
from twinloop.twins import Current

RATE, SINR = (column(USER_ATTRIBUTES, name) for name in ("rate_bps", "sinr_db"))
USERS = 5
FORM = Quantity(resolution=1.0, lags=3)
CARD = {"attribute": "rate_bps", "unit": "bit/s", "covariates": ["sinr_db", "cell_change", "cqi"], "step_s": 1.0}


def mean_of_two() -> Emulator:
    """Forecasts the mean of the last two values, +-1000 at the outer quantiles, for the next step and the fifth."""
    features = linear_features(FORM, blank_memory(FORM, 1), 1).shape[1]
    linear = jnp.zeros((2, features)).at[:, 0].set(0.5)
    quantiles = jnp.broadcast_to(1000.0 * jnp.linspace(-1, 1, len(LEVELS))[None, :], (2, len(LEVELS)))
    share = jnp.zeros((2, 2)).at[:, 0].set(1.0)
    return Emulator(FORM, linear, quantiles, quantiles, (), share, share, jnp.ones((2, len(LEVELS))), (1, 5), 0.0, 1e9)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_emulator(tmp_path / "m.safetensors", mean_of_two(), CARD)
    return tmp_path / "m.safetensors"


def current(rate: np.ndarray, measured_slot: np.ndarray, *, again: bool = True) -> Current:
    shape = (USERS, len(USER_ATTRIBUTES))
    value = jnp.zeros(shape).at[:, RATE].set(jnp.asarray(rate, jnp.float32))
    slot = jnp.broadcast_to(jnp.asarray(measured_slot, jnp.int32)[:, None], shape)
    error = jnp.full(shape, 0.1 if again else -1.0, jnp.float32)
    return Current(jnp.ones(USERS, bool), value, slot, jnp.ones(USERS, jnp.int32), error)


def test_the_trained_attribute_is_foretold_by_the_model_and_the_rest_by_the_base(saved: Path) -> None:
    emulator = learned(saved, LastValue(), 1.0)
    advance = jax.jit(lambda state, known, now: emulator.advance("users", state, known, now))
    rates = np.array([[10_100.0] * USERS, [10_200.0] * USERS, [10_400.0] * USERS])
    state = emulator.start("users", current(rates[0], np.full(USERS, -1)))
    for slot, rate in enumerate(rates):
        known = current(rate, np.full(USERS, slot), again=slot > 0)
        state, forecast = advance(state, known, jnp.int32(slot))
    np.testing.assert_allclose(forecast.emulated[:, RATE], 10_300.0)
    np.testing.assert_allclose(forecast.std[:, RATE], 2000 / (2 * 1.6449), rtol=1e-3)
    np.testing.assert_array_equal(forecast.emulated[:, SINR], 0.0)


def test_a_slot_without_a_report_is_a_step_and_a_new_occupant_is_forgotten(saved: Path) -> None:
    emulator = learned(saved, LastValue(), 1.0)
    state = emulator.start("users", current(np.zeros(USERS), np.full(USERS, -1)))
    state, _ = emulator.advance(
        "users", state, current(np.full(USERS, 100.0), np.zeros(USERS), again=False), jnp.int32(0)
    )
    held = current(np.full(USERS, 300.0), np.ones(USERS))
    state, _ = emulator.advance("users", state, held, jnp.int32(1))
    _, silent = emulator.advance("users", state, held, jnp.int32(2))
    np.testing.assert_allclose(silent.emulated[:, RATE], 300.0)
    anew = current(np.full(USERS, 900.0), np.full(USERS, 2), again=False)
    _, started = emulator.advance("users", state, anew, jnp.int32(2))
    np.testing.assert_allclose(started.emulated[:, RATE], 900.0)


def test_what_was_never_reported_is_as_the_base_has_it(saved: Path) -> None:
    emulator, base = learned(saved, LastValue(), 1.0), LastValue()
    nobody = current(np.zeros(USERS), np.full(USERS, -1))
    ours, its = (
        each.advance("users", each.start("users", nobody), nobody, jnp.int32(0))[1] for each in (emulator, base)
    )
    np.testing.assert_array_equal(ours.emulated, its.emulated)
    np.testing.assert_array_equal(ours.std, its.std)


def test_covariates_are_those_of_the_twins_with_their_ages() -> None:
    known = current(np.full(USERS, 7.0), np.array([3, 3, 3, 3, -1]))
    before = jnp.array([0.0, 2.0, -1.0, 0.0, 0.0])
    names = ("rate_bps", "rate_bps age", "cell_change", "cqi")
    seen = np.asarray(user_covariates(names, known, before, jnp.int32(5)))
    np.testing.assert_array_equal(seen[:, 0], [7.0, 7.0, 7.0, 7.0, np.nan])
    np.testing.assert_allclose(seen[:, 1], [*np.full(4, np.log(3.0)), np.nan], rtol=1e-6)
    np.testing.assert_array_equal(seen[:, 2], [0.0, 1.0, 0.0, 0.0, 0.0])
    assert np.isnan(seen[:, 3]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"attribute": "cpu_ratio"}, "trained on 'cpu_ratio'; expected an attribute of user twins: position_x_m"),
        ({"attribute": "swipes"}, "trained on 'swipes'"),
        ({"step_s": 300.0}, "trained in steps of 300.0 s; expected steps of 1 s"),
    ],
)
def test_a_model_of_something_else_is_refused_with_what_fits(tmp_path: Path, changed: dict, message: str) -> None:
    path = tmp_path / "m.safetensors"
    save_emulator(path, mean_of_two(), CARD | changed)
    with pytest.raises(ModelError, match=message):
        learned(path, LastValue(), 1.0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step_s": None}, r"m.json: step_s is None; expected a number of seconds, 1 as the twins' slots"),
        ({"step_s": "1"}, "step_s is '1'"),
        ({"scales": ["a"]}, r"m.json: scales are \['a'\]; expected a list of positive numbers"),
        ({"scales": [0.0]}, r"scales are \[0.0\]"),
        ({"scales": [1e300]}, r"scales are \[1e\+300\]"),
        ({"scales": 1.0}, "scales are 1.0"),
        ({"scales": [1.0, 1.0]}, "attributes, scales and weights do not agree"),
        ({"covariates": "c"}, "m.json: covariates are 'c'; expected a list of names"),
        ({"covariates": [1]}, r"covariates are \[1\]"),
    ],
)
def test_an_edited_card_is_refused_in_a_line(tmp_path: Path, changed: dict, message: str) -> None:
    path = tmp_path / "m.safetensors"
    save_emulator(path, mean_of_two(), CARD | changed)
    with pytest.raises(ModelError, match=message):
        learned(path, LastValue(), 1.0)


def test_the_memory_that_the_tests_count_on() -> None:
    memory = blank_memory(FORM, 1)
    for value in (1.0, 3.0):
        memory = remember(memory, jnp.array([value]), jnp.array([True]))
    np.testing.assert_allclose(memory.lags[0, :2], [3.0, 1.0])
