"""Recovery finds what can be found, says what cannot, and refuses what says nothing."""

import json

import jax
import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.studies import evaluate_recovery
from twinloop.studies.evaluate.experience import recovery

PRINTED = "variances 8, 1, .8"


@pytest.fixture(scope="module")
def judged():
    return evaluate_recovery(60, 40, seed=3)


def test_rules_are_found_by_the_claim_that_was_written_before(judged):
    rule, matters, covered = judged.claims
    assert rule.holds and rule.measured.value >= 0.9
    assert not matters.holds and 0.65 <= matters.measured.value < 0.85
    assert covered.holds and 0.9 <= covered.measured.value <= 0.98


def test_more_ratings_find_more_and_own_models_beat_one_for_all(judged):
    name = "variance .8"
    few, many = (judged.estimate(recovery.RULE, name, str(n), recovery.PROPOSED).value for n in (3, 40))
    assert few < many
    errors = [judged.estimate(m, name, "40", recovery.PROPOSED).value for m in (recovery.ERROR, recovery.GENERAL)]
    assert errors[0] < 0.5 * errors[1]


def test_printed_variances_are_told_apart_and_hide_something(judged):
    said = [line for line in judged.method if line.startswith("Printed variances")]
    assert len(said) == 3 and "cannot work" in said[0]
    stall, both = (
        [judged.estimate(recovery.MATTERS, name, "40", f"who minds {rule}") for name in ("variance .8", PRINTED)]
        for rule in ("stall", "both")
    )
    assert stall[1].value < 0.75 <= stall[0].value
    assert 0.55 <= both[1].value <= 0.8
    assert all(0.2 < one.high - one.low < 0.5 for one in (*stall, *both))


def test_the_judgement_is_saved_with_its_figure(judged, tmp_path):
    (path,) = judged.save(tmp_path)
    assert path.name == "recovery.png" and path.stat().st_size > 10_000
    assert len(json.loads(judged.to_json())["rows"]) == len(judged.rows)


def test_minutes_keep_to_their_ranges():
    minutes = recovery.draw_minutes(jax.random.key(0), (50, 100))
    assert float(np.mean(minutes.stall_s == 0)) == pytest.approx(0.5, abs=0.03)
    assert float(minutes.quality.mean()) == pytest.approx(0.625, abs=0.02)
    for one in (minutes.behaviour, minutes.environment):
        assert one.min() >= 1 and one.max() <= 2 and one.std() > 0.1


@pytest.mark.parametrize("wrong", [{"users": 10}, {"ratings": 2}, {"ratings": 5000}])
def test_too_few_and_too_many_are_refused(wrong):
    with pytest.raises(DataError, match=r"--users|--ratings"):
        evaluate_recovery(**wrong)
