from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, proportional_reservation

from twinloop.decision import LEARNED, TACTICS, learned_allocation, shipped_checkpoint
from twinloop.decision.allocation.grouped import CLAIMS, GROUPS, GroupTactic
from twinloop.decision.allocation.sight import standing_of
from twinloop.errors import ModelError
from twinloop.learning import q_network, read_card, save_q_network

USERS, CELLS, SLICES = 24, 2, 3
SCARCE, OTHER = draw_features(1, load=1.8, compute=1.5), draw_features(2, load=0.5, compute=0.3)
HELD = proportional_reservation(SCARCE)
ALIKE = CLAIMS.index(1.0)


@pytest.fixture(scope="module", params=LEARNED)
def policy(request):
    method = learned_allocation(request.param, CELLS, SLICES, USERS)
    return method, eqx.filter_jit(method.allocate)


def test_allocation_is_finite_and_within_every_reservation(policy):
    method, allocate = policy
    nobody = replace(SCARCE, flow_active=jnp.zeros_like(SCARCE.flow_active))
    outage = replace(SCARCE, spectral_efficiency=jnp.zeros(USERS))
    for features in (SCARCE, OTHER, nobody, outage):
        given, _ = allocate(features, HELD, method.init())
        pool = np.asarray(features.flow_cell) * SLICES + np.asarray(features.flow_slice)
        for part, held, at in (
            (given.bandwidth_hz, HELD.bandwidth_hz, pool),
            (given.cycles_per_s, HELD.cycles_per_s, np.asarray(features.flow_slice)),
        ):
            part = np.asarray(part, np.float64)
            room = np.asarray(held, np.float64).ravel()
            assert np.all(np.isfinite(part)) and np.all(part >= 0)
            assert np.all(np.bincount(at, part, room.size) <= room * (1 + 1e-4) + 1e-3)
            assert np.all(part[~np.asarray(features.flow_active)] == 0)
    assert float(allocate(SCARCE, HELD, method.init())[0].bandwidth_hz.sum()) > 0


def test_levels_are_kept_to_until_it_is_time_to_decide_anew(policy):
    method, allocate = policy
    _, memory = allocate(SCARCE, HELD, method.init())
    _, elsewhere = allocate(OTHER, HELD, method.init())
    first = np.asarray(memory.level)
    assert np.any(first != np.asarray(elsewhere.level))
    for _ in range(method.hold - 1):
        _, memory = allocate(OTHER, HELD, memory)
        assert np.array_equal(memory.level, first)
    _, memory = allocate(OTHER, HELD, memory)
    assert np.array_equal(memory.level, elsewhere.level)


def test_flows_that_change_places_get_what_they_got(policy):
    method, allocate = policy
    order = np.random.default_rng(0).permutation(USERS)
    moved = jax.tree.map(lambda row: row[order] if row.shape[:1] == (USERS,) else row, SCARCE)
    before, after = (allocate(features, HELD, method.init())[0] for features in (SCARCE, moved))
    for ours, theirs in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.asarray(theirs) == pytest.approx(np.asarray(ours)[order], abs=1e-2 * float(jnp.max(ours)))


@pytest.mark.parametrize("name", LEARNED)
def test_one_network_serves_networks_of_any_size(name):
    small = draw_features(3, users=5, cells=1, slices=1)
    method = learned_allocation(name, 1, 1, 5)
    given, memory = eqx.filter_eval_shape(method.allocate, small, proportional_reservation(small), method.init())
    assert given.bandwidth_hz.shape == (5,)
    assert memory.level.shape == (TACTICS[name].agents(1, 1, 5), len(TACTICS[name].levels))


def test_features_without_experience_are_refused(policy):
    method, _ = policy
    with pytest.raises(ValueError, match="experience"):
        method.allocate(replace(SCARCE, felt=None), HELD, method.init())


def test_a_group_that_claims_more_is_given_more():
    tactic, level = GroupTactic(), jnp.full((CELLS * SLICES, 2 * GROUPS), ALIKE)
    carry = jax.jit(tactic.carry_out)
    group = np.asarray(SCARCE.felt.structure) // 4
    raised = []
    for number in range(GROUPS):
        mine = slice(2 * number, 2 * number + 2)
        most, least = (level.at[:, mine].set(CLAIMS.index(part)) for part in (max(CLAIMS), min(CLAIMS)))
        more, less = (np.asarray(carry(SCARCE, HELD, one).bandwidth_hz)[group == number].sum() for one in (most, least))
        assert more >= 0.999 * less
        raised.append(more > 1.02 * less)
    assert sum(raised) >= 2


def test_what_is_still_required_closes_the_mean_over_the_three_minutes():
    felt = SCARCE.felt
    lacking = np.asarray(standing_of(felt).lacking)
    inside = np.abs(lacking) < 2.0
    passed = np.asarray(felt.elapsed_s) / 60.0
    stall = np.asarray(felt.stall_s) / np.maximum(passed, 1 / 60)
    service = felt.models.level + felt.models.quality_weight * felt.quality - felt.models.stall_weight * stall
    now = 1.0 + 4.0 * np.clip(np.asarray(service) * np.asarray(felt.factor), 0, 1)
    rest = 3.0 - np.asarray(felt.done) - passed
    mean = (np.asarray(felt.experience_sum) + passed * now + rest * (lacking + np.asarray(felt.agreed))) / 3.0
    wide = inside & (rest > 0.25)
    assert wide.sum() >= 5
    assert mean[wide] == pytest.approx(np.asarray(felt.agreed)[wide], abs=1e-4)


def test_shipped_agents_come_with_their_cards_and_are_small():
    size = 0
    for name in LEARNED:
        path, card = shipped_checkpoint(name), read_card(shipped_checkpoint(name))
        size += path.stat().st_size + path.with_suffix(".json").stat().st_size
        assert card["command"].startswith("twinloop train agents")
        assert {"data", "seed", "steps", "scores", "differences", "curve", "hold_slots"} <= set(card)
        assert card["structure"]["layers"] == {"groups": 4, "pdrl": 5}[name]
    assert size < 1e6


def test_agents_of_another_scheme_or_without_a_hold_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_q_network(path, q_network(jax.random.key(0), 7, (2, 3), width=8, head_width=0), {"hold_slots": 5})
    with pytest.raises(ModelError, match="branches"):
        learned_allocation("groups", 1, 1, 3, path)
    save_q_network(path, q_network(jax.random.key(0), 7, (2, 3), width=8, head_width=0), {})
    with pytest.raises(ModelError, match="hold_slots"):
        learned_allocation("groups", 1, 1, 3, path)
