import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from twinloop.qoe import Conditions, draw_models, draw_scores, from_percent, rule_mean, to_percent

DRAWS = 20_000


@pytest.mark.parametrize(("experience", "variance"), [(1.0, 0.01), (1.3, 0.8), (3.0, 8.0), (4.9, 0.8), (5.0, 0.05)])
def test_scores_follow_the_truncated_normal(experience, variance):
    drawn = draw_scores(jax.random.key(3), jnp.full(DRAWS, experience), jnp.full(DRAWS, variance))
    deviation = np.sqrt(variance)
    reference = truncnorm((1 - experience) / deviation, (5 - experience) / deviation, experience, deviation)
    assert drawn.min() >= 1.0 and drawn.max() <= 5.0
    assert kstest(np.asarray(drawn, np.float64), reference.cdf).pvalue > 0.001


def test_rules_are_those_of_the_paper():
    minute = Conditions(*(jnp.full(3, value) for value in (5.0, 0.5, 1.5, 1.5)))
    assert rule_mean(jnp.arange(3), minute) == pytest.approx([3.0, 3.0, 1.0])


def test_true_models_say_the_rules_where_nothing_weighs_on_the_user():
    models = draw_models(jax.random.key(0), 300, moved=False)
    minute = Conditions(*(jnp.full(300, value) for value in (2.0, 0.7, 1.8, 1.2)))
    expected = np.clip(rule_mean(models.rule, minute), 1.0, 5.0)
    assert models.experience(minute) == pytest.approx(expected, abs=1e-5)


def test_a_third_is_unmoved_and_others_keep_to_the_range_of_kappa():
    models = draw_models(jax.random.key(1), 6000)
    moved = models.kappa_b > 0
    assert float(moved.mean()) == pytest.approx(2 / 3, abs=0.03)
    assert (models.kappa_b == models.kappa_c).all() and ((models.impact == 3) == moved).all()
    assert float(models.kappa_b[moved].min()) >= 0.05 and float(models.kappa_b.max()) <= 0.2


def test_scales_of_opinion_map_onto_each_other():
    assert to_percent(jnp.array([1.0, 2.0, 5.0])) == pytest.approx([0.0, 25.0, 100.0])
    assert from_percent(to_percent(jnp.array([1.0, 3.3, 5.0]))) == pytest.approx([1.0, 3.3, 5.0])
