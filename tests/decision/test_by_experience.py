import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, proportional_reservation

from twinloop.decision import RESERVATIONS
from twinloop.decision.allocation.experience import ExperienceAllocation, choose, polish
from twinloop.decision.allocation.interface import flow_pools

METHOD = ExperienceAllocation()


def best_by_enumeration(options, pools):
    """The most that whole options are worth inside both pools."""
    worth, mhz, mcycles = (np.asarray(x, np.float64) for x in (options.worth, options.mhz, options.mcycles))
    flows = np.arange(worth.shape[0])
    best = -np.inf
    for chosen in itertools.product(range(worth.shape[1]), repeat=worth.shape[0]):
        if mhz[flows, chosen].sum() > pools.bandwidth[0] or mcycles[flows, chosen].sum() > pools.cycles[0]:
            continue
        best = max(best, worth[flows, chosen].sum())
    return best


def worth_of(options, pools, chosen):
    """Worth of options, and the fullest pool's use over what it holds."""
    flows = np.arange(len(chosen))
    used = [np.asarray(x)[flows, chosen].sum() for x in (options.mhz, options.mcycles)]
    room = [float(pools.bandwidth[0]), float(pools.cycles[0])]
    return np.asarray(options.worth)[flows, chosen].sum(), max(u / r for u, r in zip(used, room, strict=True))


@pytest.mark.parametrize("seed", range(6))
def test_polished_prices_choose_nearly_what_enumeration_finds(seed):
    features = draw_features(seed, users=6, cells=1, slices=1, load=1.5, compute=1.2)
    pools = flow_pools(features, proportional_reservation(features))
    options = METHOD.options(features.felt, pools)
    priced = np.asarray(jax.jit(choose, static_argnums=2)(options, pools, METHOD.steps))
    polished = np.asarray(jax.jit(polish, static_argnums=3)(options, pools, jnp.asarray(priced), METHOD.rounds))
    value, fullest = worth_of(options, pools, polished)
    assert fullest <= 1.0 + 1e-5
    assert value >= 0.94 * best_by_enumeration(options, pools)
    before, full_before = worth_of(options, pools, priced)
    assert value >= before - 1e-6 or full_before > 1.0


def test_who_can_reach_the_agreement_is_served_before_who_cannot():
    features = draw_features(1, users=2, cells=1, slices=1)
    felt = replace(
        features.felt,
        models=jax.tree.map(lambda leaf: leaf[jnp.array([0, 0])], features.felt.models),
        agreed=jnp.array([3.5, 3.5]),
        done=jnp.array([2.0, 2.0]),
        experience_sum=jnp.array([7.0, 2.0]),
        elapsed_s=jnp.zeros(2),
        stall_s=jnp.zeros(2),
        factor=jnp.ones(2),
    )
    felt = replace(felt, models=replace(felt.models, rule=jnp.array([1, 1]), level=jnp.zeros(2),
                                        quality_weight=jnp.ones(2), stall_weight=jnp.zeros(2)))  # fmt: skip
    worth = np.asarray(METHOD.worth(felt))
    gain = worth[:, 1:] - worth[:, :1]
    assert gain[0, -1] > 1.5 * gain[1, -1]


def test_features_without_experience_are_refused():
    features = replace(draw_features(1), felt=None)
    with pytest.raises(ValueError, match="experience"):
        METHOD.allocate(features, proportional_reservation(features), ())


def test_agents_are_made_by_a_scenario_and_not_by_name_alone():
    assert "agents" not in RESERVATIONS
