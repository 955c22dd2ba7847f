"""Proposals compete in the twin with the decision that stands: the best safe one wins, and nothing else gets out."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop import scenario
from twinloop.decision import Proposal
from twinloop.emulation import Forecast, KindForecast
from twinloop.entities import USER_ATTRIBUTES, Action, column
from twinloop.validation import RESULTS, Approved, recheck, validate

KEY = jax.random.key(11)
APPROVED, WORSE, CAPACITY, ISOLATION, NOT_FINITE, FLOWS, ENDED = range(len(RESULTS))
HUNGRY, HALF, FED = 0.002, 0.01, 1.0


class Court:
    """A judge, and everything of a slot that it is given but the proposals."""

    def __init__(self, tiny):
        self.loop, state = scenario.build_loop(tiny)
        self.judge = self.loop.slot_judge
        params, users = self.loop.network.params, tiny.user_count
        rng = np.random.default_rng(2)
        told = {
            "position_x_m": rng.uniform(200, 700, users),
            "position_y_m": rng.uniform(150, 450, users),
            "serving_cell": np.arange(users) % 2,
            "sinr_db": rng.uniform(8, 20, users),
            "rate_bps": np.full(users, 3e6),
            "version": np.ones(users),
        }
        value = np.zeros((users, len(USER_ATTRIBUTES)), np.float32)
        for name, values in told.items():
            value[:, column(USER_ATTRIBUTES, name)] = values
        std = np.zeros_like(value)
        std[:, column(USER_ATTRIBUTES, "position_x_m")] = 40.0
        self.twins = eqx.tree_at(
            lambda t: (t.users.current.value, t.users.current.slot, t.users.current.active),
            state.twin,
            (jnp.asarray(value), jnp.zeros(value.shape, jnp.int32), jnp.ones(users, bool)),
        )
        kinds = [state.forecast.cells, state.forecast.servers]
        self.forecast = Forecast(KindForecast(jnp.asarray(value), jnp.asarray(std)), *kinds)
        self.slices = params.slices
        self.features = eqx.filter_jit(self.loop.abstractor.abstract)(self.twins, self.forecast, self.slices)

    def action(self, fill: float) -> Action:
        """Equal slices whose flows get `fill` of what is reserved for them, in equal parts."""
        f = self.features
        bandwidth = jnp.tile(f.cell_bandwidth_hz[:, None] / 3, (1, 3))
        cycles = jnp.tile(f.server_cycles_per_s[:, None] / 3, (1, 3))
        pool = f.flow_cell * 3 + f.flow_slice
        crowd = jnp.maximum(jax.ops.segment_sum(f.flow_active.astype(jnp.float32), pool, 6)[pool], 1.0)
        on = f.flow_active * fill
        of_slice = jax.ops.segment_sum(f.flow_active.astype(jnp.float32), f.flow_slice, 3)[f.flow_slice]
        return Action(
            slice_active=self.slices.active,
            slice_bandwidth_hz=bandwidth,
            slice_cycles_per_s=cycles,
            slice_cache_bytes=jnp.tile(f.server_cache_bytes[:, None] / 3, (1, 3)),
            flow_bandwidth_hz=on * bandwidth[f.flow_cell, f.flow_slice] / crowd,
            flow_cycles_per_s=on * cycles[0, f.flow_slice] / jnp.maximum(of_slice, 1.0),
        )

    def judged(self, standing, *proposed, key=KEY, judge=None, respond=None):
        proposals = tuple(Proposal(action, jnp.int32(index)) for index, action in enumerate(proposed))
        judge = self.judge if judge is None else judge
        features = self.features
        return verdict(key, judge, self.twins, self.forecast, features, proposals, standing, self.slices, respond)


verdict = eqx.filter_jit(validate, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def court(tiny) -> Court:
    return Court(tiny)


def replaced(action: Action, **changes) -> Action:
    return Action(**(vars(action) | changes))


def breach(action: Action, code: int) -> Action:
    """`action` made unsafe in the way that `code` names, and otherwise generous."""
    held, flows = action.slice_bandwidth_hz, action.flow_bandwidth_hz
    if code == CAPACITY:
        return replaced(action, slice_bandwidth_hz=2.0 * held)
    if code == ISOLATION:
        return replaced(
            action, slice_bandwidth_hz=held.at[:, 1].set(0.0).at[:, 0].mul(2.0), flow_bandwidth_hz=0 * flows
        )
    if code == NOT_FINITE:
        return replaced(action, flow_bandwidth_hz=flows.at[0].set(jnp.nan))
    return replaced(action, flow_bandwidth_hz=3.0 * flows)


def test_new_slices_must_score_a_margin_above_those_that_stand(tiny, court):
    fed, hungry = court.action(FED), court.action(HUNGRY)
    plain = court.judged(hungry, fed)
    gain = float(plain.score[1] - plain.score[0])
    assert gain > 0
    for share, code in ((0.9, APPROVED), (1.1, WORSE)):
        part = tiny.twin.judge.model_copy(update={"window_margin": share * gain})
        asked = tiny.model_copy(update={"twin": tiny.twin.model_copy(update={"judge": part})})
        loop = scenario.build_loop(asked)[0]
        strict = eqx.tree_at(lambda judge: judge.tolerance, court.judge, loop.window_judge.tolerance)
        assert int(court.judged(hungry, fed, judge=strict).code) == code
        assert float(loop.slot_judge.tolerance) == pytest.approx(part.tolerance)


def test_the_better_of_two_proposals_is_approved(court):
    fed, half, hungry = court.action(FED), court.action(HALF), court.action(HUNGRY)
    for order, winner in (((half, fed), 1), ((fed, half), 0)):
        decided = court.judged(hungry, *order)
        assert int(decided.code) == APPROVED
        assert int(decided.approved.policy) == winner
        assert eqx.tree_equal(decided.approved.action, fed)
        assert not np.any(decided.safety)
        standing, best, other = decided.score[0], decided.score[1 + winner], decided.score[2 - winner]
        assert float(best) > float(other) > float(standing)


def test_a_worse_proposal_leaves_the_standing_decision(court):
    fed = court.action(FED)
    decided = court.judged(fed, court.action(HUNGRY), court.action(HALF))
    assert (int(decided.code), int(decided.approved.policy)) == (WORSE, -1)
    assert eqx.tree_equal(decided.approved.action, fed)
    assert float(decided.score[0]) > float(decided.score[1:].max())
    lenient = eqx.tree_at(lambda j: j.tolerance, court.judge, jnp.float32(2.0))
    assert int(court.judged(fed, court.action(HUNGRY), court.action(HALF), judge=lenient).approved.policy) == 1


@pytest.mark.parametrize("code", [CAPACITY, ISOLATION, NOT_FINITE, FLOWS])
def test_what_breaks_a_promise_is_refused_by_name(court, code):
    hungry = court.action(HUNGRY)
    unsafe = breach(court.action(FED), code)
    decided = court.judged(hungry, unsafe, unsafe)
    assert int(decided.code) == code
    assert int(decided.approved.policy) == -1
    assert eqx.tree_equal(decided.approved.action, hungry)
    assert decided.safety.tolist() == [0, code, code]
    rescued = court.judged(hungry, unsafe, court.action(HALF))
    assert (int(rescued.code), int(rescued.approved.policy)) == (APPROVED, 1)
    assert rescued.safety.tolist() == [0, code, 0]


def test_a_floor_counts_only_as_far_as_it_is_needed(court):
    action = court.action(FED)
    nobody = jnp.zeros_like(court.features.slice_demand_hz[:, 1])
    idle = eqx.tree_at(lambda f: f.slice_demand_hz, court.features, court.features.slice_demand_hz.at[:, 1].set(nobody))
    unsafe = breach(action, ISOLATION)
    proposals = (Proposal(unsafe, jnp.int32(0)), Proposal(unsafe, jnp.int32(1)))
    decided = verdict(KEY, court.judge, court.twins, court.forecast, idle, proposals, action, court.slices, None)
    assert decided.safety.tolist() == [0, 0, 0]


def test_an_unsafe_standing_decision_yields_to_a_safe_one(court):
    standing = breach(court.action(FED), FLOWS)
    decided = court.judged(standing, court.action(HUNGRY), court.action(HUNGRY))
    assert (int(decided.code), int(decided.approved.policy)) == (APPROVED, 0)
    assert float(decided.score[0]) > float(decided.score[1])
    assert decided.safety.tolist() == [FLOWS, 0, 0]


def test_a_tie_goes_to_the_first_proposal(court):
    fed = court.action(FED)
    decided = court.judged(fed, fed, fed)
    assert len(set(decided.score.tolist())) == 1, "equal candidates met different worlds"
    assert (int(decided.code), int(decided.approved.policy)) == (APPROVED, 0)


def test_the_key_decides_everything_random(court):
    candidates = court.action(HUNGRY), court.action(HALF), court.action(FED)
    first, again, other = (court.judged(*candidates, key=jax.random.key(seed)) for seed in (1, 1, 2))
    assert eqx.tree_equal(first, again)
    assert not np.allclose(first.score, other.score, atol=1e-6)


def test_the_score_weighs_the_worst_samples(court):
    candidates = court.action(HUNGRY), court.action(HALF), court.action(FED)

    def score(weight: float, share: float) -> np.ndarray:
        judge = eqx.tree_at(
            lambda j: (j.cvar_weight, j.cvar_share), court.judge, (jnp.float32(weight), jnp.float32(share))
        )
        return np.asarray(court.judged(*candidates, judge=judge).score)

    mean, worst, mixed, all_of_them = score(0.0, 0.5), score(1.0, 0.5), score(0.25, 0.5), score(1.0, 1.0)
    assert np.all(worst <= mean + 1e-6)
    assert np.any(worst < mean - 1e-4)
    np.testing.assert_allclose(mixed, 0.75 * mean + 0.25 * worst, atol=1e-5)
    np.testing.assert_allclose(all_of_them, mean, atol=1e-5)


def test_a_response_changes_later_slots_only(court):
    fed, hungry = court.action(FED), court.action(HUNGRY)

    def starve(action, outcome):
        return replaced(action, flow_bandwidth_hz=jnp.zeros_like(action.flow_bandwidth_hz))

    alone, answered = (court.judged(hungry, fed, fed, respond=respond).score for respond in (None, starve))
    assert float(answered[1]) < float(alone[1]) - 0.1
    assert float(answered[1]) > float(answered[0]), "the first slot no longer counts"


def consented(court, action: Action, filled: Action | None = None, slices=None):
    """What a person consents to later: the action as it would stand, and whether it is still safe."""
    again, code = eqx.filter_jit(recheck)(
        Approved(action, jnp.int32(0)), filled or action, court.features, slices or court.slices
    )
    return again.action, int(code)


def test_consent_is_to_what_slices_hold_and_flows_are_of_now(court):
    stale, now = breach(court.action(FED), FLOWS), court.action(HALF)
    action, code = consented(court, stale, now)
    assert code == APPROVED
    np.testing.assert_array_equal(action.flow_bandwidth_hz, now.flow_bandwidth_hz)
    np.testing.assert_array_equal(action.slice_bandwidth_hz, stale.slice_bandwidth_hz)


def test_what_a_slice_needs_in_one_slot_is_not_held_against_consent_and_the_rest_is(court):
    assert consented(court, breach(court.action(FED), ISOLATION), court.action(HUNGRY))[1] == APPROVED
    assert consented(court, breach(court.action(FED), CAPACITY))[1] == CAPACITY
    assert consented(court, breach(court.action(FED), NOT_FINITE))[1] == NOT_FINITE
    ended = eqx.tree_at(lambda s: s.active, court.slices, court.slices.active.at[1].set(False))
    assert consented(court, court.action(FED), slices=ended)[1] == ENDED
