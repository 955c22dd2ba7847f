"""Every registered emulator meets the same suite, by being registered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.collection import Observations, Seen
from twinloop.emulation import EMULATORS
from twinloop.entities import USER_ATTRIBUTES
from twinloop.twins import Twins, admit, assimilate, empty_twins

USERS, COLUMNS = 4, len(USER_ATTRIBUTES)
LOW = np.array([a.low for a in USER_ATTRIBUTES], np.float32)
HIGH = np.array([a.high for a in USER_ATTRIBUTES], np.float32)
IS_LEVEL = np.array([a.kind == "level" for a in USER_ATTRIBUTES])
MIDDLE = np.floor(LOW + 0.25 * (HIGH - LOW)).astype(np.float32)


def seen(value: np.ndarray, fresh: np.ndarray | bool, now: int) -> Seen:
    nothing = jnp.zeros((), jnp.int32)
    fresh = np.broadcast_to(fresh, value.shape)
    slot = jnp.asarray(np.where(fresh, now, -1), jnp.int32)
    return Seen(jnp.asarray(value, jnp.float32), jnp.asarray(fresh), slot, jnp.zeros(()), nothing, nothing, nothing)


def observed(value: np.ndarray, fresh: np.ndarray | bool, now: int) -> Observations:
    cells, servers = np.full((2, 5), 0.5), np.full((1, 4), 0.5)
    return Observations(jnp.int32(now), seen(value, fresh, now), seen(cells, True, now), seen(servers, True, now))


def nobody() -> Twins:
    return empty_twins(users=USERS, cells=2, servers=1, slices=1, history=2, class_length_s=jnp.array([5.0]))


class Run:
    """Twins and one emulator, told slot after slot; compiled once for all tests of the emulator."""

    def __init__(self, name: str) -> None:
        emulator = EMULATORS[name](1.0)
        self.traces = 0

        def slot(twins, state, forecast, told, now):
            self.traces += 1
            twins = assimilate(twins, told, forecast, now)
            return twins, *emulator.emulate(state, twins, now)

        self.emulator = emulator
        self.slot = jax.jit(slot)

    def start(self):
        state, forecast = self.emulator.emulate(self.emulator.init(nobody()), nobody(), jnp.int32(-1))
        return nobody(), state, forecast

    def through(self, stream, carry=None, begin: int = 0):
        carry = carry or self.start()
        for now, (value, fresh) in enumerate(stream, begin):
            carry = self.slot(*carry, observed(value, fresh, now), jnp.int32(now))
        return carry


@pytest.fixture(scope="module", params=sorted(EMULATORS))
def run(request) -> Run:
    return Run(request.param)


def steady(level: np.ndarray = MIDDLE) -> np.ndarray:
    return np.broadcast_to(level, (USERS, len(LOW)))


def test_before_any_report_the_forecast_is_finite_and_as_unsure_as_the_range(run):
    _, _, forecast = run.start()
    assert bool(jnp.all(jnp.isfinite(forecast.users.emulated)))
    np.testing.assert_allclose(
        forecast.users.std, np.broadcast_to((HIGH - LOW) / np.sqrt(12), (USERS, COLUMNS)), rtol=1e-5
    )


def test_what_never_changes_is_emulated_as_it_is(run):
    _, _, forecast = run.through([(steady(), True)] * 12)
    np.testing.assert_allclose(forecast.users.emulated, steady(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(forecast.cells.emulated, 0.5, rtol=1e-4)
    np.testing.assert_allclose(forecast.servers.emulated, 0.5, rtol=1e-4)


def test_labels_and_counts_keep_their_last_value(run):
    rng = np.random.default_rng(0)
    stream = [(rng.integers(0, 4, (USERS, COLUMNS)).astype(np.float32), True) for _ in range(5)]
    _, _, forecast = run.through(stream)
    np.testing.assert_array_equal(np.asarray(forecast.users.emulated)[:, ~IS_LEVEL], stream[-1][0][:, ~IS_LEVEL])
    assert not np.asarray(forecast.users.std)[:, ~IS_LEVEL].any()


def test_forecasts_stay_in_range_and_deviations_are_positive_whatever_is_missing(run):
    rng = np.random.default_rng(1)
    stream = [(rng.uniform(LOW, HIGH, (USERS, COLUMNS)), rng.random((USERS, COLUMNS)) < 0.3) for _ in range(20)]
    twins, _, forecast = run.through(stream)
    known = np.asarray(twins.users.current.slot) >= 0
    emulated, std = np.asarray(forecast.users.emulated), np.asarray(forecast.users.std)
    assert np.isfinite(emulated).all() and np.isfinite(std).all()
    inside = (emulated >= LOW[None, :]) & (emulated <= HIGH[None, :])
    assert (inside | ~known).all()
    assert (std[:, IS_LEVEL] > 0).all()


def test_silence_never_makes_surer(run):
    rng = np.random.default_rng(2)
    stream = [(steady() + rng.normal(0, 1, (USERS, COLUMNS)), True) for _ in range(6)]
    carry = run.through(stream)
    silent = run.through([(steady(), False)] * 5, carry, begin=6)
    assert bool(jnp.all(silent[2].users.std >= carry[2].users.std))


def test_permuting_users_permutes_their_forecasts(run):
    rng = np.random.default_rng(3)
    stream = [(rng.uniform(LOW, HIGH, (USERS, COLUMNS)), rng.random((USERS, COLUMNS)) < 0.6) for _ in range(6)]
    order = np.array([2, 0, 3, 1])
    _, _, plain = run.through(stream)
    _, _, moved = run.through([(value[order], fresh[order]) for value, fresh in stream])
    np.testing.assert_allclose(np.asarray(plain.users.emulated)[order], moved.users.emulated, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(plain.users.std)[order], moved.users.std, rtol=1e-5)


def test_a_new_occupant_of_a_row_owes_nothing_to_the_last(run):
    twins, state, forecast = run.through([(steady(), True)] * 6)
    users = admit(twins.users, jnp.arange(USERS) == 1)
    twins = Twins(users, twins.cells, twins.servers, twins.slices, twins.swipes)
    other = np.floor(LOW + 0.75 * (HIGH - LOW)).astype(np.float32)
    _, _, after = run.through([(steady(other), True)], (twins, state, forecast), begin=6)
    np.testing.assert_allclose(np.asarray(after.users.emulated)[1], other, rtol=1e-5)


def test_it_scans_and_maps_and_is_traced_once_for_all_of_this(run):
    twins, state, forecast = run.start()
    told = jax.tree.map(lambda *x: jnp.stack(x), *[observed(steady() + t, True, t) for t in range(3)])

    def slot(carry, now_and_told):
        now, what = now_and_told
        known = assimilate(carry[0], what, carry[2], now)
        return (known, *run.emulator.emulate(carry[1], known, now)), None

    def whole(shift):
        moved = jax.tree.map(lambda x: x + shift if x.dtype == jnp.float32 else x, told)
        return jax.lax.scan(slot, (twins, state, forecast), (jnp.arange(3), moved))[0][2].users.emulated

    both = jax.jit(jax.vmap(whole))(jnp.array([0.0, 1.0]))
    _, _, eager = run.through([(steady() + t, True) for t in range(3)])
    np.testing.assert_allclose(both[0], eager.users.emulated, rtol=1e-4, atol=1e-4)
    assert not np.allclose(both[0], both[1])
    assert run.traces == 1
