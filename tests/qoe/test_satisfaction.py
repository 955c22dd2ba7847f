import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.qoe import AlphaFair, LogQuality, OffsetLog, QuadraticSatisfaction, SigmoidSatisfaction, concave_majorant
from twinloop.qoe import log_quality as quality

SHAPE = SigmoidSatisfaction()


def test_sigmoid_has_the_values_of_the_model():
    assert SHAPE.value(jnp.array([0.0, 1.0])) == pytest.approx([0.0, 0.9525], abs=1e-3)
    slope = jax.vmap(jax.grad(SHAPE.value))(jnp.linspace(0.0, 1.0, 9))
    assert SHAPE.slope(jnp.linspace(0.0, 1.0, 9)) == pytest.approx(np.asarray(slope), rel=1e-4)


def test_concave_z_inverts_the_slope():
    z = jnp.linspace(0.72, 1.0, 20)
    assert SHAPE.concave_z(SHAPE.slope(z)) == pytest.approx(np.asarray(z), abs=1e-3)
    assert float(SHAPE.concave_z(jnp.array(99.0))) == pytest.approx(0.7)


def test_tangent_from_zero_touches_at_091():
    majorant = concave_majorant(SHAPE, jnp.array([0.0]), jnp.array([1.0]))
    assert float(majorant.touch[0]) == pytest.approx(0.91, abs=0.005)
    assert float(majorant.line_slope[0]) == pytest.approx(float(SHAPE.slope(majorant.touch)[0]), rel=1e-3)


def test_chord_where_the_capacity_ends_before_the_tangent_point():
    majorant = concave_majorant(SHAPE, jnp.array([0.1]), jnp.array([0.6]))
    assert float(majorant.touch[0]) == pytest.approx(0.6)
    rise = float(SHAPE.value(jnp.array(0.6)) - SHAPE.value(jnp.array(0.1)))
    assert float(majorant.line_slope[0]) == pytest.approx(rise / 0.5, rel=1e-4)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.3, 1.0), (0.5, 0.8), (0.75, 1.0), (0.0, 0.4), (0.6, 0.6)])
def test_majorant_is_the_least_concave_function_above(low, high):
    z = np.linspace(low, high, 201)
    ends = jnp.full(201, low), jnp.full(201, high)
    majorant = concave_majorant(SHAPE, *ends)
    above, s = np.asarray(majorant.value(jnp.asarray(z, jnp.float32))), np.asarray(SHAPE.value(jnp.asarray(z)))
    assert np.all(above >= s - 1e-5)
    assert np.all(np.diff(above, 2) <= 2e-6)
    assert above[[0, -1]] == pytest.approx(s[[0, -1]], abs=1e-5)
    hull = (
        [
            max(
                s[i] + (s[j] - s[i]) * (k - i) / (j - i)
                for i in range(0, k + 1, 20)
                for j in range(k, 201, 20)
                if i < j
            )
            for k in (40, 100, 160)
        ]
        if high > low
        else above[[40, 100, 160]]
    )
    assert above[[40, 100, 160]] == pytest.approx(np.asarray(hull), abs=0.01)


def test_best_z_maximises_the_majorant_minus_the_cost():
    grid = jnp.linspace(0.2, 1.0, 2001)
    for slope in (0.2, 0.8, 1.0, 1.15, 1.4):
        one = concave_majorant(SHAPE, jnp.array([0.2]), jnp.array([1.0]))
        many = concave_majorant(SHAPE, jnp.full(2001, 0.2), jnp.full(2001, 1.0))
        best = one.best_z(jnp.array([slope]))
        value = float(one.value(best)[0] - slope * best[0])
        assert value == pytest.approx(float(jnp.max(many.value(grid) - slope * grid)), abs=1e-4)


NEED = jnp.array([0.5, 1.0, 3.0, 3.0])


@pytest.mark.parametrize(
    "utility",
    [
        AlphaFair(0.5),
        AlphaFair(1.0),
        AlphaFair(2.0),
        OffsetLog(NEED * 0.3),
        LogQuality(NEED),
        QuadraticSatisfaction(NEED),
    ],
    ids=lambda utility: type(utility).__name__,
)
def test_slope_is_the_derivative_and_rate_its_inverse(utility):
    rate = NEED * jnp.array([0.2, 0.5, 0.7, 0.95])
    derivative = jax.grad(lambda r: jnp.sum(utility.value(r)))(rate)
    assert utility.slope(rate) == pytest.approx(np.asarray(derivative), rel=1e-4)
    assert utility.rate(utility.slope(rate)) == pytest.approx(np.asarray(rate), rel=1e-4)


@pytest.mark.parametrize(
    "utility", [LogQuality(NEED), QuadraticSatisfaction(NEED, 2.0), QuadraticSatisfaction(NEED, 0.1)]
)
def test_saturating_utilities_run_from_0_to_1(utility):
    assert utility.value(jnp.zeros(4)) == pytest.approx([0.0] * 4)
    assert utility.value(NEED) == pytest.approx([1.0] * 4, rel=1e-5)


def test_log_quality_of_the_versions():
    rates = jnp.array([0.1e6, 0.5e6, 1.2247449e6, 3e6, 9e6])
    found = quality(rates, jnp.full(5, 0.5e6), jnp.full(5, 3e6))
    assert found == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0], abs=1e-5)
