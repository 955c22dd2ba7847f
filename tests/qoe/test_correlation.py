import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import false_discovery_control

from twinloop.qoe import benjamini_hochberg, distance_correlation

USERS, RATINGS, FACTORS = 6, 40, 4
PEER = """
import json, sys
import dcor, numpy
pairs = [numpy.array(pair) for pair in json.load(sys.stdin)]
print(json.dumps([[dcor.distance_correlation(*pair), dcor.u_distance_correlation_sqr(*pair)] for pair in pairs]))
"""


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(USERS, RATINGS, FACTORS)).astype(np.float32)
    y = (x[..., 0] ** 2 + 0.3 * draw.normal(size=(USERS, RATINGS))).astype(np.float32)
    x[..., 3] = 1e6
    there = np.ones((USERS, RATINGS), bool)
    there[1, 25:], there[2, ::2], there[3, 3:], there[4] = False, False, False, False
    x[1, 25:], y[2, ::2] = 99.0, 99.0
    return x, y, there


@pytest.fixture(scope="module")
def found(drawn):
    return distance_correlation(jax.random.key(0), *map(jnp.asarray, drawn), permutations=99)


def test_both_correlations_are_those_of_dcor(drawn, found):
    x, y, there = drawn
    places = [(user, factor) for user in (0, 1, 2, 5) for factor in range(3)]
    pairs = [[x[user, there[user], factor].tolist(), y[user, there[user]].tolist()] for user, factor in places]
    # A process of its own: LLVM aborts now and then where numba compiles beside XLA.
    asked = subprocess.run(
        [sys.executable, "-c", PEER], input=json.dumps(pairs), capture_output=True, text=True, check=True
    )
    for (user, factor), (plain, corrected) in zip(places, json.loads(asked.stdout), strict=True):
        assert float(found.plain[user, factor]) == pytest.approx(plain, abs=1e-4)
        assert float(found.corrected[user, factor]) == pytest.approx(corrected, abs=1e-4)


def test_dependence_without_correlation_is_found_and_chance_is_not(found):
    assert float(found.p_value[0, 0]) <= 0.02
    rest = found.p_value[jnp.array([0, 1, 2, 5])][:, 1:3]
    assert float(jnp.mean(rest < 0.05)) < 0.4


def test_nothing_is_told_of_constant_factors_few_ratings_and_nobody(found):
    assert not found.usable[:, 3].any() and not found.usable[3].any() and not found.usable[4].any()
    assert (found.p_value[~found.usable] == 1.0).all() and (found.plain[~found.usable] == 0.0).all()
    assert bool(jnp.all(jnp.isfinite(found.corrected)))


def test_p_values_are_uniform_where_nothing_depends():
    draw = np.random.default_rng(5)
    x, y = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((40, 20, 5), (40, 20)))
    p = distance_correlation(jax.random.key(1), x, y, jnp.ones((40, 20), bool), permutations=49).p_value
    assert float(jnp.mean(p <= 0.1)) == pytest.approx(0.1, abs=0.06)
    assert float(jnp.mean(p)) == pytest.approx(0.5, abs=0.07)


def test_corrections_for_many_tests():
    p = jnp.array([[0.01, 0.04, 0.03, 0.9], [0.2, 0.001, 0.02, 0.02]])
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(np.asarray(p), axis=1), abs=1e-6)
