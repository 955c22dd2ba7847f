"""The price solver against SLSQP and cvxpy with Clarabel, on the same problems, within 1e-4 of the objective."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from decision.problems import draw_features, proportional_reservation

from twinloop.decision.allocation.interface import flow_pools
from twinloop.decision.allocation.utility import maximise
from twinloop.decision.reference import allocation_problem, objective, solve_cvxpy, solve_slsqp
from twinloop.qoe import AlphaFair, LogQuality, OffsetLog, QuadraticSatisfaction

solve = jax.jit(maximise)

KINDS = ["half", "proportional", "delay", "offset", "quality", "satisfaction", "linear"]


def make(kind, pools, features):
    served = np.asarray(pools.served)
    scale = {
        "half": AlphaFair(0.5),
        "proportional": AlphaFair(1.0),
        "delay": AlphaFair(2.0),
        "offset": OffsetLog(2.0 * features.average_rate_bps / 1e6),
        "quality": LogQuality(pools.need),
        "satisfaction": QuadraticSatisfaction(pools.need, 0.5),
        "linear": QuadraticSatisfaction(pools.need, 0.02),
    }
    saturating = kind in {"quality", "satisfaction", "linear"}
    high = jnp.minimum(pools.want, pools.need) if saturating else pools.want
    return scale[kind], high, served


def only(problem, served):
    """Unserved flows left out: SciPy and cvxpy cannot take ln 0."""
    utility = jax.tree.map(lambda row: row[np.flatnonzero(served)], problem.utility)
    return problem._replace(
        utility=utility,
        weight=problem.weight[served],
        matrix=problem.matrix[:, served],
        low=problem.low[served],
        high=problem.high[served],
    )


@pytest.mark.parametrize("compute", [0.3, 2.0], ids=["cycles_slack", "cycles_short"])
@pytest.mark.parametrize("kind", KINDS)
def test_objective_equals_references(kind, compute):
    for seed in range(3):
        features = draw_features(seed, compute=compute)
        pools = flow_pools(features, proportional_reservation(features))
        utility, high, served = make(kind, pools, features)
        weight = features.weight * features.members
        low = 0.1 * high
        rate = np.asarray(solve(utility, pools, weight, low, high).rate, np.float64)
        problem = only(allocation_problem(utility, pools, weight, low, high), served)
        ours = objective(problem, rate[served])
        best = max(objective(problem, solver(problem)) for solver in (solve_cvxpy, solve_slsqp))
        scale = max(abs(best), 1.0)
        assert np.all(problem.matrix @ rate[served] <= problem.capacity * (1 + 1e-5))
        assert np.all(rate[served] <= problem.high * (1 + 1e-6))
        assert np.all(rate[served] >= problem.low * (1 - 1e-6))
        assert np.all(rate[~served] == 0)
        assert ours >= best - 1e-4 * scale
        assert ours <= best + 1e-3 * scale
