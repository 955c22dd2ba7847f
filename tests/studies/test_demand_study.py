"""The judgement of predicted demand: mostly from outcomes that were made up, since the whole study takes minutes."""

import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.studies.evaluate import demand as study
from twinloop.studies.evaluate.demand.plans import last_told
from twinloop.studies.evaluate.demand.worlds import POPULATIONS, draw_world, granted, measure


def outcome(confidence: float, seed: int) -> study.Outcome:
    """Who dares more certainty pays more and disappoints fewer; the last two users cannot be satisfied by anything."""
    rng = np.random.default_rng(seed)
    above = np.where(rng.random(24) < confidence, 0.1, -0.1)
    return study.Outcome(above, above + 0.2, np.full(24, 1.0 + confidence), np.ones(24), np.arange(24) < 22)


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


def test_claims_are_made_of_the_forecast_and_of_what_is_known(judged):
    judgement, _ = judged
    costs = [claim for claim in judgement.claims if "cost" in claim.statement]
    shares = [claim for claim in judgement.claims if "90 %" in claim.statement]
    assert len(costs) == len(shares) == 2 * len(POPULATIONS)
    assert not any(claim.holds for claim in costs)
    assert not judgement.passed
    assert judgement.numbers["feasible_share"] == pytest.approx(22 / 24)


@pytest.mark.parametrize(("met", "ratio", "holds"), [(21, 1.1, (True, True)), (18, 1.2, (False, False))])
def test_claims_hold_where_the_figures_do(monkeypatch, met, ratio, holds):
    users = np.arange(24)
    above = np.where(users < met, 0.1, -0.1)
    fared = study.Outcome(above, np.full(24, 0.1), np.full(24, ratio), np.ones(24), users < 22)
    made = {(name, one): fared for name in study.KNOWLEDGE for one in study.CONFIDENCES}
    monkeypatch.setattr(study, "draw_world", lambda people, seed, minutes: None)
    monkeypatch.setattr(study, "_world_outcomes", lambda world, seed: made)
    judgement = study.evaluate_demand(0, worlds=2, tuning=2)
    assert [claim.holds for claim in judgement.claims] == [*holds] * 2 * len(POPULATIONS)
    people = next(iter(POPULATIONS))
    assert judgement.estimate(study.MET, people, study.NOTHING).value == pytest.approx(met / 22)
    assert judgement.estimate(study.FREE, people, study.NOTHING).value == 1.0


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


def test_the_latest_report_before_a_slot_is_what_is_believed():
    efficiency = jnp.tile(jnp.arange(1.0, 7.0), (2, 1))
    told = last_told(efficiency, jnp.array([0.5, 0.25]), jnp.array([1.0, 0.25]))
    np.testing.assert_allclose(told, [[0.5, 1, 2, 3, 4, 5], [0.25, 0.25, 0.25, 0.25, 4, 4]])


@pytest.fixture(scope="module")
def world():
    return draw_world(next(iter(POPULATIONS)), 7, 1)


@pytest.mark.slow
def test_too_few_cycles_hurt_and_a_common_budget_helps(world):
    users = world.ela.shape[0]
    grant, cache = jnp.full((users, 60), 3e6), jnp.zeros(users)
    alone, together = jnp.zeros(users, bool), jnp.ones(users, bool)
    free = measure(world.truth, grant, jnp.full(users, jnp.inf), cache, alone)
    used = float(free.cycles_per_s.sum())
    assert used > 1e8
    none = measure(world.truth, grant, jnp.zeros(users), cache, alone)
    assert float(none.cycles_per_s.sum()) == 0.0
    assert float(none.experience.mean()) < float(free.experience.mean()) - 0.1
    even = jnp.full(users, 1.001 * used / users)
    kept, shared = measure(world.truth, grant, even, cache, alone), measure(world.truth, grant, even, cache, together)
    assert np.all(np.asarray(kept.cycles_per_s) <= (1 + 1e-5) * np.asarray(even))
    np.testing.assert_allclose(shared.experience, free.experience, atol=1e-4)
    assert float(kept.experience.mean()) < float(shared.experience.mean())


@pytest.mark.slow
def test_a_drawn_world_is_planned_for_and_lived(world):
    outcomes = study._world_outcomes(world, 7, (0.9,))
    assert set(outcomes) == {(name, 0.9) for name in study.KNOWLEDGE}
    known, forecast = outcomes[study.KNOWN, 0.9], outcomes[study.NOTHING, 0.9]
    feasible = known.feasible
    assert 0.5 < feasible.mean() <= 1.0
    assert np.all(known.least > 0) and np.all(np.isfinite(known.paid))
    assert np.mean(known.above_free[feasible] >= 0) > 0.6
    assert np.mean(known.above[feasible] >= 0) <= np.mean(known.above_free[feasible] >= 0)
    ratio = known.paid[feasible].sum() / known.least[feasible].sum()
    assert 0.9 < ratio < 2.0
    assert forecast.paid[feasible].sum() > 0.9 * known.paid[feasible].sum()
    assert np.any(forecast.above != known.above)
