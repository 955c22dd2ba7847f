import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.learning import (
    adwin_alarms,
    cluster_error,
    cumulative_detector,
    detect,
    dual_error,
    page_hinkley_alarms,
)


def noise(steps: int, entities: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((steps, entities)).astype(np.float32)


def alarms_of(detector, errors) -> np.ndarray:
    return np.asarray(detect(detector, detector.init(errors.shape[1]), jnp.asarray(errors))[1])


def test_a_rise_alarms_in_the_entities_that_rose_and_soon() -> None:
    errors = 5.0 + 2.0 * noise(300, 6)
    errors[200:, :3] += 4.0
    alarms = alarms_of(cumulative_detector(12.0, 0.5), errors)
    assert not alarms[:, 3:].any() and not alarms[:200].any()
    assert (alarms[200:, :3].argmax(axis=0) < 20).all() and alarms[200:, :3].any(axis=0).all()


def test_a_fall_of_the_error_asks_for_nothing() -> None:
    errors = 5.0 + noise(300, 4)
    errors[150:] -= 3.0
    assert not alarms_of(cumulative_detector(8.0, 0.5), errors).any()


def test_false_alarms_grow_rarer_with_the_threshold() -> None:
    errors = noise(2000, 20, 1)
    rates = [alarms_of(cumulative_detector(threshold, 0.25), errors).mean() for threshold in (3.0, 6.0, 12.0)]
    assert rates[0] > 5 * rates[1] > 5 * rates[2]


def test_the_plain_sum_of_the_paper_alarms_without_any_drift() -> None:
    errors = np.full((400, 1), 0.5, np.float32)
    plain = cumulative_detector(50.0, 0.0, settle=2, level="zero")
    assert alarms_of(plain, errors)[:, 0].sum() == 3
    assert not alarms_of(cumulative_detector(50.0, 0.5), errors).any()


def test_one_wild_error_is_no_drift_and_does_not_deafen() -> None:
    errors = 5.0 + noise(400, 1)
    errors[100] = 1e6
    errors[200:] += 3.0
    alarms = alarms_of(cumulative_detector(12.0, 0.5), errors)
    assert not alarms[:200].any() and alarms[200:220].any()


def test_what_is_unknown_counts_for_nothing_and_what_is_infinite_for_much() -> None:
    errors = 5.0 + noise(200, 2)
    errors[100:, 0] = np.nan
    errors[100:, 1] = np.inf
    alarms = alarms_of(cumulative_detector(12.0, 0.5), errors)
    assert not alarms[:, 0].any() and alarms[100:106, 1].any()


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"allowance": -1.0}, {"clip": 0.4}, {"settle": 1}])
def test_settings_that_could_never_work_are_told(wrong) -> None:
    with pytest.raises(ValueError, match="needs threshold > 0"):
        cumulative_detector(**wrong)


@pytest.mark.parametrize("alarms", [adwin_alarms, page_hinkley_alarms])
def test_the_rivals_see_a_rise_and_no_fall(alarms) -> None:
    calm = noise(400, 1, 3)[:, 0].astype(np.float64)
    up, down = calm.copy(), calm.copy()
    up[200:] += 3.0
    down[200:] -= 3.0
    assert alarms(up)[200:280].any() and not alarms(up)[:200].any()
    assert not alarms(down).any()


def test_entropy_misses_who_is_wrong_and_sure_and_the_squared_error_does_not() -> None:
    sure = jnp.asarray([[0.98, 0.01, 0.01], [0.98, 0.01, 0.01], [1 / 3, 1 / 3, 1 / 3]])
    both = dual_error(sure, jnp.asarray([0, 1, 0]), jnp.asarray([True, True, False]))
    assert both.entropy[0] == both.entropy[1] < 0.15 and both.entropy[2] == pytest.approx(1.0)
    assert both.squared[1] > 0.9 > 0.01 > both.squared[0] and np.isnan(both.squared[2])
    certain = dual_error(jnp.asarray([[1.0, 0.0]]), jnp.asarray([0]), jnp.asarray([True]))
    assert float(certain.entropy[0]) == 0.0 == float(certain.squared[0])


def test_users_between_clusters_blur_and_users_far_from_all_are_distant() -> None:
    centres = jnp.asarray([[0.0, 0.0], [4.0, 0.0]])
    found = cluster_error(jnp.asarray([[0.1, 0.0], [2.0, 0.0], [-9.0, 0.0]]), centres, jnp.float32(1.0))
    assert found.nearest.tolist() == [0, found.nearest[1], 0]
    assert found.entropy[1] == pytest.approx(1.0) and found.blur[1] == pytest.approx(1.0)
    assert found.entropy[2] < 0.01 and found.distance[2] > 80
    assert found.distance[0] < 0.02 and found.blur[0] < 0.05
