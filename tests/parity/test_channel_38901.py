"""Path loss and line of sight against values worked out by hand from TR 38.901 V17, Tables 7.4.1-1 and 7.4.2-1."""

from math import hypot

import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.simulator.air.channel import (
    PathLoss,
    Site,
    los_probability,
    path_loss_coefficients,
    path_loss_db,
    shadow_std_db,
)


def coefficients(model: str, frequency_hz: float, height_m: float, exponent: float = 2.0) -> PathLoss:
    site = Site(jnp.asarray([frequency_hz]), jnp.asarray([height_m]), jnp.float32(1.5), jnp.asarray([exponent]))
    return path_loss_coefficients((model,), site)


def both(loss: PathLoss, distance_m: float, rise_m: float) -> tuple[float, float]:
    los, nlos = path_loss_db(loss, jnp.asarray([[distance_m]]), jnp.asarray([[hypot(distance_m, rise_m)]]))
    return float(los[0, 0]), float(nlos[0, 0])


# model, d_2D (m), f_c (Hz), h_BS (m), path loss with and without line of sight (dB); h_UT = 1.5 m.
# Breakpoints: UMi 46.9 and 210.1 m, UMa 125.0 and 560.4 m, RMa 858.8 and 3851.1 m for 780.5 MHz and 3.5 GHz.
TABLE = [
    ("umi", 20.0, 0.7805e9, 10.0, 58.326, 67.307),
    ("umi", 20.0, 3.5e9, 10.0, 71.360, 81.188),
    ("umi", 100.0, 0.7805e9, 10.0, 78.431, 90.763),
    ("umi", 100.0, 3.5e9, 10.0, 85.314, 104.644),
    ("umi", 500.0, 0.7805e9, 10.0, 106.330, 115.383),
    ("umi", 500.0, 3.5e9, 10.0, 107.108, 129.265),
    ("umi", 2000.0, 0.7805e9, 10.0, 130.410, 136.634),
    ("uma", 20.0, 0.7805e9, 25.0, 58.614, 69.592),
    ("uma", 100.0, 3.5e9, 25.0, 83.138, 103.038),
    ("uma", 500.0, 0.7805e9, 25.0, 95.947, 116.882),
    ("uma", 500.0, 3.5e9, 25.0, 98.269, 129.916),
    ("uma", 2000.0, 0.7805e9, 25.0, 120.012, 140.393),
    ("uma", 2000.0, 3.5e9, 25.0, 121.444, 153.427),
    ("rma", 100.0, 0.7805e9, 35.0, 71.165, 79.640),
    ("rma", 500.0, 3.5e9, 35.0, 98.612, 118.823),
    ("rma", 2000.0, 0.7805e9, 35.0, 105.557, 129.013),
    ("rma", 2000.0, 3.5e9, 35.0, 113.018, 142.047),
    ("rma", 5000.0, 0.7805e9, 35.0, 121.472, 144.385),
    ("rma", 5000.0, 3.5e9, 35.0, 125.967, 157.419),
]


@pytest.mark.parametrize(("model", "distance_m", "frequency_hz", "height_m", "los_db", "nlos_db"), TABLE)
def test_path_loss_is_that_of_table_7_4_1_1(
    model: str, distance_m: float, frequency_hz: float, height_m: float, los_db: float, nlos_db: float
) -> None:
    found = both(coefficients(model, frequency_hz, height_m), distance_m, height_m - 1.5)
    np.testing.assert_allclose(found, (los_db, nlos_db), atol=0.01)


@pytest.mark.parametrize(
    ("model", "frequency_hz", "height_m", "breakpoint_m"),
    [("umi", 3.5e9, 10.0, 210.1), ("uma", 3.5e9, 25.0, 560.4), ("rma", 0.7805e9, 35.0, 858.8)],
)
def test_slope_turns_to_40_at_the_breakpoint_without_a_jump(
    model: str, frequency_hz: float, height_m: float, breakpoint_m: float
) -> None:
    loss = coefficients(model, frequency_hz, height_m)
    assert float(loss.breakpoint_m[0]) == pytest.approx(breakpoint_m, abs=0.1)
    rise = height_m - 1.5
    before, after = both(loss, breakpoint_m - 1.0, rise)[0], both(loss, breakpoint_m + 1.0, rise)[0]
    assert 0.0 < after - before < 0.2
    decade = both(loss, 20.0 * breakpoint_m, 0.0)[0] - both(loss, 2.0 * breakpoint_m, 0.0)[0]
    assert decade == pytest.approx(40.0, abs=1e-3)


# d_2D (m), UMi, UMa, RMa
SIGHT = [
    (10.0, 1.0, 1.0, 1.0),
    (18.0, 1.0, 1.0, 0.9920),
    (50.0, 0.5196, 0.6494, 0.9608),
    (100.0, 0.2310, 0.3477, 0.9139),
    (300.0, 0.0602, 0.0680, 0.7483),
    (1000.0, 0.0180, 0.0180, 0.3716),
]


@pytest.mark.parametrize(("distance_m", "umi", "uma", "rma"), SIGHT)
def test_los_probability_is_that_of_table_7_4_2_1(distance_m: float, umi: float, uma: float, rma: float) -> None:
    for model, expected in (("umi", umi), ("uma", uma), ("rma", rma), ("free_space", 1.0), ("close_in", 1.0)):
        found = los_probability(coefficients(model, 2e9, 25.0), jnp.asarray([[distance_m]]))
        np.testing.assert_allclose(found, [[expected]], atol=1e-4, err_msg=model)


@pytest.mark.parametrize(
    ("distance_m", "frequency_hz", "expected_db"), [(1.0, 1e9, 32.448), (1e3, 2.4e9, 100.052), (6e5, 2e9, 154.031)]
)
def test_free_space_is_friis(distance_m: float, frequency_hz: float, expected_db: float) -> None:
    found = both(coefficients("free_space", frequency_hz, 20.0), distance_m, 0.0)
    np.testing.assert_allclose(found, (expected_db, expected_db), atol=0.01)


def test_close_in_is_free_space_at_one_metre_and_ten_n_a_decade_from_there() -> None:
    loss = coefficients("close_in", 28e9, 10.0, exponent=3.2)
    assert both(loss, 1.0, 0.0)[0] == pytest.approx(61.391, abs=0.01)
    assert both(loss, 100.0, 0.0)[0] == pytest.approx(125.391, abs=0.01)


@pytest.mark.parametrize(
    ("model", "near", "far", "nlos"), [("umi", 4.0, 4.0, 7.82), ("uma", 4.0, 4.0, 6.0), ("rma", 4.0, 6.0, 8.0)]
)
def test_shadowing_is_as_wide_as_table_7_4_1_1_says(model: str, near: float, far: float, nlos: float) -> None:
    distance = jnp.asarray([[50.0], [4000.0], [50.0]])
    los = jnp.asarray([[True], [True], [False]])
    found = shadow_std_db(coefficients(model, 0.7805e9, 25.0), distance, los)
    np.testing.assert_allclose(found[:, 0], (near, far, nlos))
