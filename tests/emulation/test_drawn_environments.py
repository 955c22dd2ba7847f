"""One decision in many possible worlds: links come from the environments, and more of them is never worse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import foresee
from twinloop.studies.evaluate.generation.prospects import Foreseen, build_stage, coverage, decision, environments_of

SLOTS = 8


@pytest.fixture(scope="module")
def stage():
    return build_stage(1e7)


def worlds(stage, rate_bps):
    """Environments in which everybody's link always carries the rate that `rate_bps` names for that environment."""
    series = np.repeat(np.asarray(rate_bps, float), stage.users)[:, None, None] * np.ones((1, SLOTS, 1))
    return environments_of(stage, series)


def test_better_links_bring_more_satisfaction_and_less_stalling(stage):
    model = stage.model
    action = decision(model.params, 0.6)
    found = foresee(jax.random.key(0), model, model.blank, worlds(stage, [1e5, 1e7, 1e8]), action)
    satisfied, stalled = np.asarray(found.satisfaction), np.asarray(found.stalled_share)
    assert satisfied[0] < satisfied[1] < satisfied[2] and satisfied[2] > 0.8
    assert stalled[0] > 2 * max(stalled[1], stalled[2])
    ends, _ = found.interval(0.9)
    assert satisfied[0] <= ends[0] <= ends[1] <= satisfied[2]


def test_a_dead_link_serves_nobody_and_time_does_not_shift_the_links(stage):
    model = stage.model
    action = decision(model.params, 0.6)
    dead = worlds(stage, [0.0, 0.0, 0.0])
    assert float(jnp.max(foresee(jax.random.key(0), model, model.blank, dead, action).satisfaction)) < 0.05
    halves = worlds(stage, [1e8, 1e8, 1e8])
    fading = eqx.tree_at(
        lambda e: e.spectral_efficiency,
        halves,
        halves.spectral_efficiency * (jnp.arange(SLOTS) < SLOTS // 2)[None, None, :],
    )
    later = eqx.tree_at(lambda s: s.time_slot, model.blank, jnp.int32(5))
    now, then = (foresee(jax.random.key(0), model, state, fading, action) for state in (model.blank, later))
    np.testing.assert_allclose(now.satisfaction, then.satisfaction, atol=0.05)


def test_the_premium_slice_gets_what_is_reserved_for_it(stage):
    params = stage.model.params
    action = decision(params, 0.8)
    share = np.asarray(action.slice_bandwidth_hz[0] / params.topology.cell_bandwidth_hz[0])
    np.testing.assert_allclose(share, [0.8, 0.2], atol=1e-6)
    by_flow = np.zeros(2)
    np.add.at(by_flow, np.asarray(params.user_slice), np.asarray(action.flow_bandwidth_hz))
    np.testing.assert_allclose(by_flow, action.slice_bandwidth_hz[0], rtol=1e-5)


def test_at_the_typical_rate_everybodys_need_takes_the_whole_cell(stage):
    params = stage.model.params
    efficiency = np.asarray(worlds(stage, [stage.typical_bps]).spectral_efficiency)[0, :, 0]
    need = np.asarray(params.slices.target_bps)[np.asarray(params.user_slice)]
    assert (need / efficiency).sum() == pytest.approx(float(params.topology.cell_bandwidth_hz[0]), rel=1e-4)


def test_measured_radio_passes_through_to_the_environments(stage):
    draw = np.random.default_rng(0)
    series = draw.uniform(1.0, 20.0, (2 * stage.users, SLOTS, 3))
    made = environments_of(stage, series)
    assert made.sinr_db.shape == (2, stage.users, SLOTS)
    np.testing.assert_allclose(np.asarray(made.sinr_db).reshape(-1, SLOTS), series[..., 1], rtol=1e-5)
    np.testing.assert_allclose(np.asarray(made.rsrp_dbm).reshape(-1, SLOTS), series[..., 2], rtol=1e-5)


def test_coverage_counts_what_lies_inside():
    drawn = Foreseen(np.linspace(0.0, 1.0, 101))
    inside, outside = Foreseen(np.full(40, 0.5)), Foreseen(np.concatenate([np.full(30, 0.5), np.full(10, 0.999)]))
    assert coverage(drawn, inside, 0).value == 1.0
    partly = coverage(drawn, outside, 0)
    assert partly.value == pytest.approx(0.75) and partly.low < 0.75 < partly.high
