import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from twinloop.qoe import (
    Conditions,
    draw_models,
    draw_scores,
    expected_score,
    from_percent,
    mos_from_percent,
    percent_from_mos,
    to_percent,
)

DRAWS = 20_000


@pytest.mark.parametrize(("experience", "variance"), [(1.0, 0.01), (1.3, 0.8), (3.0, 8.0), (4.9, 0.8), (5.0, 0.05)])
def test_scores_follow_the_truncated_normal(experience, variance):
    drawn = draw_scores(jax.random.key(3), jnp.full(DRAWS, experience), jnp.full(DRAWS, variance))
    deviation = np.sqrt(variance)
    reference = truncnorm((1 - experience) / deviation, (5 - experience) / deviation, experience, deviation)
    assert drawn.min() >= 1.0 and drawn.max() <= 5.0
    assert kstest(np.asarray(drawn, np.float64), reference.cdf).pvalue > 0.001


@pytest.mark.parametrize("variance", [0.05, 0.8, 8.0])
def test_the_expected_score_is_the_mean_of_those_drawn(variance):
    experience = jnp.array([1.0, 2.2, 3.0, 4.6, 5.0])
    ends = ((1 - np.asarray(experience)) / variance**0.5, (5 - np.asarray(experience)) / variance**0.5)
    reference = truncnorm(*ends, np.asarray(experience), variance**0.5).mean()
    assert expected_score(experience, variance) == pytest.approx(reference, abs=2e-4)
    assert variance != 0.8 or float(expected_score(experience, variance)[-1]) == pytest.approx(4.29, abs=0.01)


def test_true_models_say_the_rules_of_the_paper_where_nothing_weighs_on_the_user():
    models = draw_models(jax.random.key(0), 300, moved=False)
    minute = Conditions(*(jnp.full(300, value) for value in (2.0, 0.7, 1.8, 1.2)))
    rules = np.array([5 - 0.4 * 2.0, 1 + 4 * 0.7, 1 + 4 * 0.7 - 0.4 * 2.0])
    assert models.experience(minute) == pytest.approx(rules[np.asarray(models.rule)], abs=1e-5)


def test_a_third_is_unmoved_and_others_keep_to_the_range_of_kappa():
    models = draw_models(jax.random.key(1), 6000)
    moved = models.kappa_b > 0
    assert float(moved.mean()) == pytest.approx(2 / 3, abs=0.03)
    assert (models.kappa_b == models.kappa_c).all() and ((models.impact == 3) == moved).all()
    assert float(models.kappa_b[moved].min()) >= 0.05 and float(models.kappa_b.max()) <= 0.2


def test_scales_of_opinion_map_onto_each_other():
    assert to_percent(jnp.array([1.0, 2.0, 5.0])) == pytest.approx([0.0, 25.0, 100.0])
    assert from_percent(to_percent(jnp.array([1.0, 3.3, 5.0]))) == pytest.approx([1.0, 3.3, 5.0])


def test_the_mapping_of_p1203_and_its_inverse_on_the_rising_part():
    q = np.array([10.0, 35.0, 60.0, 83.0, 100.0])
    mos = 1.05 + 3.85 * q / 100 + 7e-6 * q * (q - 60) * (100 - q)
    assert mos_from_percent(jnp.asarray(q)) == pytest.approx(mos, abs=1e-5)
    assert percent_from_mos(jnp.asarray(mos)) == pytest.approx(q, abs=0.01)
    assert mos_from_percent(jnp.array([0.0, 2.0, 100.0])) == pytest.approx([1.05, 1.05, 4.9])
    assert percent_from_mos(jnp.array([1.0, 5.0])) == pytest.approx([80 - 5900**0.5, 100.0], abs=1e-3)
