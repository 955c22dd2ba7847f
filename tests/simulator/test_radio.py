import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radio_cases import radio, topology
from scipy.integrate import quad
from scipy.special import exp1, i0e

from twinloop.simulator.air.radio import (
    RadioState,
    associate,
    init_radio,
    loss_ratio,
    sinr_and_rate,
    spectral_efficiency,
)

FEW = settings(max_examples=20, deadline=None)
SNR_DB = np.arange(-20.0, 45.1, 2.5)
efficiency = eqx.filter_jit(spectral_efficiency)
link = eqx.filter_jit(sinr_and_rate)
measure = eqx.filter_jit(associate)


def calm(serving: list[int]) -> RadioState:
    rest = jnp.zeros(len(serving))
    return RadioState(jnp.asarray(serving), jnp.full(len(serving), -1), rest, rest, rest)


def follow(rsrp_dbm: np.ndarray, **changes: float) -> tuple[np.ndarray, np.ndarray]:
    """Serving cells and handovers over time of one user that begins at cell 0; rsrp_dbm [slots cells]."""
    parameters = radio(**changes)
    state, serving, handovers = calm([0]), [], []
    for row in rsrp_dbm:
        state, handed = measure(parameters, state, jnp.asarray(row)[None].astype(jnp.float32), 1.0)
        serving.append(int(state.serving[0]))
        handovers.append(bool(handed[0]))
    return np.asarray(serving), np.asarray(handovers)


def test_everybody_begins_at_the_strongest_cell() -> None:
    state = init_radio(jnp.asarray([[-90.0, -80.0, -99.0], [-70.0, -80.0, -99.0]]))
    np.testing.assert_array_equal(state.serving, (1, 0))
    np.testing.assert_array_equal(state.candidate, -1)


def test_a_better_cell_takes_over_once_it_led_for_the_time_to_trigger() -> None:
    serving, handovers = follow(np.tile([-90.0, -85.0], (6, 1)), hysteresis_db=3.0, time_to_trigger_s=3.0)
    np.testing.assert_array_equal(serving, (0, 0, 0, 1, 1, 1))
    np.testing.assert_array_equal(handovers, (False, False, False, True, False, False))


def test_a_lead_within_the_hysteresis_never_hands_over() -> None:
    serving, _ = follow(np.tile([-90.0, -87.1], (20, 1)), hysteresis_db=3.0, time_to_trigger_s=0.0)
    np.testing.assert_array_equal(serving, 0)


def test_an_interrupted_lead_starts_again() -> None:
    lead = np.asarray([5.0, 5.0, 0.0, 5.0, 5.0, 0.0, 5.0, 5.0, 5.0])
    serving, _ = follow(np.stack([np.full(9, -90.0), -90.0 + lead], axis=1), time_to_trigger_s=2.0)
    np.testing.assert_array_equal(serving, [0] * 8 + [1])


def test_another_leader_starts_again() -> None:
    rows = [[-90.0, -80.0, -99.0], [-90.0, -99.0, -80.0]] * 4 + [[-90.0, -99.0, -80.0]]
    serving, _ = follow(np.asarray(rows), time_to_trigger_s=1.0)
    np.testing.assert_array_equal(serving, [0] * 8 + [2])


def test_without_time_to_trigger_the_first_measurement_hands_over() -> None:
    serving, handovers = follow(np.asarray([[-90.0, -80.0]]), time_to_trigger_s=0.0)
    assert serving[0] == 1
    assert handovers[0]


@FEW
@given(st.integers(0, 2**31), st.floats(0.0, 6.0), st.integers(0, 4))
def test_every_handover_was_earned(seed: int, hysteresis_db: float, trigger_s: int) -> None:
    """One serving cell always; it changes only to a cell that led by the hysteresis for the time to trigger."""
    rsrp = np.random.default_rng(seed).normal(-90.0, 4.0, (12, 3)).repeat(3, axis=0)
    rsrp = rsrp.astype(np.float32)
    serving, handovers = follow(rsrp, hysteresis_db=hysteresis_db, time_to_trigger_s=float(trigger_s))
    before = np.concatenate([[0], serving[:-1]])
    np.testing.assert_array_equal(handovers, serving != before)
    for slot in np.flatnonzero(handovers):
        assert slot >= trigger_s
        watched = rsrp[slot - trigger_s : slot + 1]
        assert (watched.argmax(axis=1) == serving[slot]).all()
        assert (watched[:, serving[slot]] > watched[:, before[slot]] + hysteresis_db - 1e-3).all()


def rayleigh(snr_db: float, alpha: float, top: float) -> float:
    """alpha/ln2 e^(1/g) [E1(1/g) - E1(2^(top/alpha)/g)], the exact mean of the capped rate over Rayleigh fading."""
    snr = 10.0 ** (snr_db / 10.0)
    return alpha / np.log(2) * np.exp(1 / snr) * (exp1(1 / snr) - exp1(2.0 ** (top / alpha) / snr))


@pytest.mark.parametrize(("alpha", "top"), [(0.6, 5.5), (0.4, 3.0), (1.0, 8.0), (0.9, 100.0)])
def test_rayleigh_efficiency_is_within_one_per_cent_of_the_exact_mean(alpha: float, top: float) -> None:
    found = efficiency(radio(se_factor=alpha, se_max=top), jnp.asarray(SNR_DB))
    np.testing.assert_allclose(found, [rayleigh(s, alpha, top) for s in SNR_DB], rtol=0.01)


def test_without_a_cap_rayleigh_is_the_exponential_integral() -> None:
    snr = 10.0 ** (SNR_DB / 10.0)
    found = efficiency(radio(se_factor=1.0, se_max=1e3), jnp.asarray(SNR_DB))
    np.testing.assert_allclose(found, np.exp(1 / snr) * exp1(1 / snr) / np.log(2), rtol=0.01)


def rician(snr_db: float, k: float, alpha: float, top: float) -> float:
    snr = 10.0 ** (snr_db / 10.0)

    def integrand(t: float) -> float:
        x = np.exp(t)
        density = (1 + k) * np.exp(-((np.sqrt(k) - np.sqrt((1 + k) * x)) ** 2)) * i0e(2 * np.sqrt(k * (1 + k) * x))
        return x * density * min(alpha * np.log2(1 + snr * x), top)

    bend = np.clip(np.log((2 ** (top / alpha) - 1) / snr), -24.0, 4.5)
    return sum(
        quad(integrand, *ends, limit=200)[0] for ends in ((-25, min(bend, -3)), (min(bend, -3), bend), (bend, 5))
    )


@pytest.mark.parametrize("k", [0.0, 0.5, 2.0, 6.0, 20.0])
def test_rician_efficiency_is_within_one_per_cent_of_quadrature(k: float) -> None:
    levels = np.asarray([-20.0, -10.0, 0.0, 8.0, 16.0, 24.0, 40.0])
    found = efficiency(radio(se_factor=0.6, se_max=5.5, rician_k=k), jnp.asarray(levels))
    np.testing.assert_allclose(found, [rician(s, k, 0.6, 5.5) for s in levels], rtol=0.01)


def test_a_strong_line_of_sight_leaves_shannon() -> None:
    found = efficiency(radio(se_factor=0.6, se_max=5.5, rician_k=1e5), jnp.asarray(SNR_DB))
    np.testing.assert_allclose(found, np.minimum(0.6 * np.log2(1 + 10 ** (SNR_DB / 10)), 5.5), rtol=2e-3)


@FEW
@given(st.floats(0.1, 1.0), st.floats(1.0, 12.0), st.floats(0.0, 30.0))
def test_efficiency_grows_with_sinr_and_stays_below_its_cap_and_shannon(alpha: float, top: float, k: float) -> None:
    levels = jnp.linspace(-30.0, 60.0, SNR_DB.size)
    found = np.asarray(efficiency(radio(se_factor=alpha, se_max=top, rician_k=k), levels))
    assert (np.diff(found) >= -1e-5).all()
    assert (found >= 0).all()
    assert (found <= top * (1 + 1e-5)).all()
    assert (found <= alpha * np.log2(1 + 10 ** (np.asarray(levels) / 10)) * (1 + 1e-4)).all()


def sinr(rsrp_dbm: list[float], load: list[float], **changes: float) -> float:
    cells = topology([(0, 0, 25.0)] * len(rsrp_dbm))
    state = init_radio(jnp.asarray([rsrp_dbm]))
    found, _ = link(
        cells, radio(**changes), jnp.asarray([rsrp_dbm]), jnp.zeros_like(state.serving), jnp.asarray(load), jnp.zeros(1)
    )
    return float(found[0])


def test_sinr_is_power_over_noise_and_loaded_neighbours() -> None:
    noise_mw = 10 ** ((-174.0 + 10 * np.log10(15e3) + 9.0) / 10)
    expected = 1e-9 / (noise_mw + 0.5 * 1e-10 + 0.25 * 1e-11)
    found = sinr([-90.0, -100.0, -110.0], [1.0, 0.5, 0.25])
    assert found == pytest.approx(10 * np.log10(expected), abs=1e-3)
    alone = sinr([-90.0, -100.0, -110.0], [1.0, 0.5, 0.25], interference=0.0)
    assert alone == pytest.approx(10 * np.log10(1e-9 / noise_mw), abs=1e-3)


@FEW
@given(st.floats(0.0, 0.9), st.floats(0.01, 0.1), st.floats(-120.0, -70.0))
def test_load_of_another_cell_lowers_sinr_and_own_load_does_not(load: float, more: float, other_dbm: float) -> None:
    quiet = sinr([-90.0, other_dbm], [0.3, load])
    assert sinr([-90.0, other_dbm], [0.3, load + more]) < quiet
    assert sinr([-90.0, other_dbm], [0.9, load]) == quiet


def test_cells_interfere_only_where_their_bands_meet() -> None:
    cells = topology(
        [(0, 0, 25.0)] * 3,
        cell_frequency_hz=jnp.asarray([780e6, 790e6, 3500e6]),
        cell_bandwidth_hz=jnp.asarray([20e6, 10e6, 100e6]),
    )
    rsrp = jnp.full((3, 3), -90.0)
    load = jnp.ones(3)
    found, _ = link(cells, radio(), rsrp, jnp.arange(3), load, jnp.zeros(3))
    noise = 10 ** ((-174.0 + 10 * np.log10(15e3) + 9.0 + 90.0) / 10)
    # 785-790 MHz meets: a quarter of the first band, half of the second, nothing of the third
    np.testing.assert_allclose(found, -10 * np.log10([noise + 0.25, noise + 0.5, noise]), atol=1e-3)


def test_the_offset_moves_sinr_and_the_rate_follows() -> None:
    cells = topology([(0, 0, 25.0)])
    rsrp = jnp.full((2, 1), -110.0)
    found, rate = link(cells, radio(), rsrp, jnp.zeros(2, jnp.int32), jnp.ones(1), jnp.asarray([0.0, -6.0]))
    assert float(found[0] - found[1]) == pytest.approx(6.0, abs=1e-4)
    np.testing.assert_allclose(rate, efficiency(radio(), found), rtol=1e-6)
    assert rate[0] > rate[1]


def test_loss_is_that_of_four_faded_transmissions() -> None:
    draws = np.random.default_rng(0).exponential(size=(200_000, 4)).sum(axis=1)
    for level in (-14.0, -10.0, -6.7, -3.0):
        outage = np.mean(draws * 10 ** (level / 10) < 10**-0.67)
        assert float(loss_ratio(jnp.asarray([level]))[0]) == pytest.approx(outage, abs=0.004)


def test_loss_falls_from_all_to_nothing() -> None:
    found = np.asarray(loss_ratio(jnp.linspace(-60.0, 60.0, 241)))
    assert (np.diff(found) <= 1e-6).all()
    assert found[0] > 0.999
    assert found[-1] == 0.0
    assert ((found >= 0) & (found <= 1)).all()


def test_many_environments_at_once_equal_one_by_one() -> None:
    cells, parameters = topology([(0, 0, 25.0)] * 3), radio()
    rsrp = -90.0 + 8.0 * jax.random.normal(jax.random.key(0), (4, 5, 3))

    def both(rsrp_dbm: jax.Array) -> tuple[jax.Array, jax.Array]:
        state, _ = associate(parameters, init_radio(rsrp_dbm[:, ::-1]), rsrp_dbm, 1.0)
        return sinr_and_rate(cells, parameters, rsrp_dbm, state.serving, jnp.ones(3), state.sinr_offset_db)

    together = jax.jit(jax.vmap(both))(rsrp)
    one_by_one = jax.jit(both)
    alone = [one_by_one(one) for one in rsrp]
    for part in (0, 1):
        np.testing.assert_allclose(together[part], jnp.stack([one[part] for one in alone]), rtol=1e-5, atol=1e-5)
