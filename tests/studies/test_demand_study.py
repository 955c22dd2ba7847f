"""The judgement of predicted demand, from outcomes that were made up; the whole study takes minutes."""

import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.studies.evaluate import demand as study
from twinloop.studies.evaluate.demand.worlds import POPULATIONS, granted


def outcome(confidence: float, seed: int) -> study.Outcome:
    """Who dares more certainty pays more and disappoints fewer; the last two users cannot be satisfied by anything."""
    rng = np.random.default_rng(seed)
    above = np.where(rng.random(24) < confidence, 0.1, -0.1)
    return study.Outcome(above, np.full(24, 1.0 + confidence), np.ones(24), np.arange(24) < 22)


@pytest.fixture
def judged(monkeypatch):
    monkeypatch.setattr(study, "draw_world", lambda people, seed, minutes: None)
    made = {(name, one) for name in study.KNOWLEDGE for one in study.CONFIDENCES}
    monkeypatch.setattr(
        study, "_world_outcomes", lambda world, seed: {key: outcome(key[1] * 0.99, seed) for key in made}
    )
    told: list[str] = []
    return study.evaluate_demand(0, worlds=8, tuning=8, progress=told.append), told


def test_margin_is_the_least_that_suffices_on_other_networks(judged):
    judgement, _ = judged
    for people in POPULATIONS:
        confidence = judgement.estimate("confidence", people, study.NOTHING).value
        assert confidence in (0.9, 0.95, 0.98)
        assert judgement.estimate(study.COST, people, study.NOTHING).value == pytest.approx(1 + 0.99 * confidence)


def test_claims_hold_where_the_figures_do(judged):
    judgement, _ = judged
    costs = [claim for claim in judgement.claims if "cost" in claim.statement]
    shares = [claim for claim in judgement.claims if "90 %" in claim.statement]
    assert len(costs) == len(shares) == 2 * len(POPULATIONS)
    assert not any(claim.holds for claim in costs)
    assert all(claim.holds == (claim.measured.value >= 0.9) for claim in shares)
    assert judgement.numbers["feasible_share"] == pytest.approx(22 / 24)


def test_every_network_is_told_of_and_figures_are_drawn(judged, tmp_path):
    judgement, told = judged
    assert len(told) == 2 * 8 * len(POPULATIONS)
    assert {path.name for path in judgement.save(tmp_path)} == {"demand-trade-off.png", "demand-experience.png"}


def test_a_grant_keeps_its_mean_whatever_the_links():
    efficiency = jnp.asarray(np.random.default_rng(0).uniform(0.2, 6.0, (3, 60)), jnp.float32)
    grant = np.asarray(granted(jnp.array([1e6, 2e6, 3e6]), efficiency, jnp.array([0.0, 0.5, 1.0])))
    np.testing.assert_allclose(grant.mean(axis=1), [1e6, 2e6, 3e6], rtol=1e-4)
    assert np.ptp(grant[0]) == pytest.approx(0.0, abs=1.0)
    np.testing.assert_allclose(
        grant[2] * np.asarray(efficiency[2]), (grant[2] * np.asarray(efficiency[2]))[0], rtol=1e-4
    )
