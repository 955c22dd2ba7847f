import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, proportional_reservation

from twinloop.decision import ALLOCATIONS, bound
from twinloop.decision.reference import solve_bound_highs


def realised(seed, slots=5, flows=40, cells=3):
    rng = np.random.default_rng(seed)
    efficiency = rng.uniform(0.0, 6.0, (slots, flows)) * (rng.random((slots, flows)) < 0.95)
    need = rng.choice([0.0, 0.5e6, 1e6, 3e6], (slots, flows))
    members = rng.choice([1.0, 1.0, 4.0], (slots, flows))
    cell = rng.integers(0, cells, (slots, flows))
    active = rng.random((slots, flows)) < 0.8
    return efficiency, need, members, cell, active, np.array([2e6, 4e6, 0.0])


def ours(arrays):
    efficiency, need, members, cell, active, bandwidth = arrays
    return jax.jit(bound)(
        jnp.asarray(efficiency, jnp.float32),
        jnp.asarray(need, jnp.float32),
        jnp.asarray(members, jnp.float32),
        jnp.asarray(cell, jnp.int32),
        jnp.asarray(active),
        jnp.asarray(bandwidth, jnp.float32),
    )


def test_bound_equals_the_linear_program():
    arrays = realised(3)
    efficiency, need, members, cell, active, bandwidth = arrays
    found = ours(arrays)
    for slot in range(5):
        for c in range(3):
            here = active[slot] & (cell[slot] == c)
            best = 0.0
            if bandwidth[c] > 0:
                best = solve_bound_highs(efficiency[slot, here], need[slot, here], members[slot, here], bandwidth[c])
            assert float(found.satisfied[slot, c]) == pytest.approx(best, rel=1e-5, abs=1e-6)
            assert float(found.users[slot, c]) == members[slot, here & (need[slot] > 0)].sum()


def test_bound_by_hand():
    one = ours(
        (
            np.array([[1.0, 2.0, 4.0]]),
            np.array([[1e6, 1e6, 1e6]]),
            np.ones((1, 3)),
            np.zeros((1, 3), int),
            np.ones((1, 3), bool),
            np.array([1.25e6]),
        )
    )
    assert float(one.satisfied[0, 0]) == pytest.approx(2.5)
    assert float(one.mean()) == pytest.approx(2.5 / 3)


def test_nobody_is_fully_satisfied_and_finite():
    arrays = list(realised(1))
    arrays[4] = np.zeros_like(arrays[4])
    found = ours(arrays)
    assert float(found.mean()) == 1.0
    assert np.all(np.asarray(found.mean_by_slot()) == 1.0)
    assert np.all(np.asarray(found.satisfied) == 0.0)


@pytest.mark.parametrize("name", sorted(ALLOCATIONS))
def test_no_allocation_exceeds_the_bound(name):
    method = ALLOCATIONS[name]()
    call = jax.jit(lambda f, r: method.allocate(f, r, ())[0])
    for seed in range(3):
        features = draw_features(seed, load=1.2, compute=0.1)
        allocation = call(features, proportional_reservation(features))
        rate = allocation.bandwidth_hz * features.spectral_efficiency
        satisfied = jnp.minimum(rate / features.need_bps, 1.0) * features.members * features.flow_active
        limit = bound(
            features.spectral_efficiency[None],
            features.need_bps[None],
            features.members[None],
            features.flow_cell[None],
            features.flow_active[None],
            features.cell_bandwidth_hz,
        )
        assert float(jnp.sum(satisfied)) <= float(jnp.sum(limit.satisfied)) * (1 + 1e-5)
        if name == "utility":
            assert float(jnp.sum(satisfied)) >= 0.5 * float(jnp.sum(limit.satisfied))
