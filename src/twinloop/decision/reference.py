"""The same problems given to SciPy and cvxpy, in float64: what the solvers in use are held to. Never used in a slot."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import linprog, minimize

from twinloop.decision.allocation.interface import FlowPools
from twinloop.decision.reservation.groups import Groups
from twinloop.errors import MissingExtraError
from twinloop.qoe import (
    AbstractUtility,
    AlphaFair,
    ConcaveMajorant,
    LogQuality,
    OffsetLog,
    QuadraticSatisfaction,
    SigmoidSatisfaction,
)

Vector = Float[np.ndarray, " items"]
Levels = Float[np.ndarray, "*shape"]
_TANGENTS = 400


class Problem(NamedTuple):
    """maximise sum weight U(r) subject to matrix r <= capacity, low <= r <= high; rates in Mbit/s."""

    utility: AbstractUtility
    weight: Vector
    matrix: Float[np.ndarray, "pools items"]
    capacity: Float[np.ndarray, " pools"]
    low: Vector
    high: Vector


def allocation_problem(utility: AbstractUtility, pools: FlowPools, weight: Any, low: Any, high: Any) -> Problem:
    """The problem that decision.Utility solves, both resources as rows of one matrix; floors must fit."""
    rows: list[np.ndarray] = []
    for per_rate, pool, capacity in (
        (pools.mhz_per_rate, pools.bandwidth_pool, pools.bandwidth),
        (pools.cycles_per_rate, pools.cycle_pool, pools.cycles),
    ):
        inside = np.asarray(pool)[None, :] == np.arange(capacity.shape[0])[:, None]
        rows.append(inside * np.asarray(per_rate, np.float64)[None, :])
    capacity = np.concatenate([np.asarray(pools.bandwidth, np.float64), np.asarray(pools.cycles, np.float64)])
    matrix = np.concatenate(rows)
    used = matrix.any(axis=1)
    top = np.where(np.asarray(pools.served), np.asarray(high, np.float64), 0.0)
    bottom = np.minimum(np.asarray(low, np.float64), top)
    return Problem(utility, np.asarray(weight, np.float64), matrix[used], capacity[used], bottom, top)


def objective(problem: Problem, rate: Any) -> float:
    """sum weight U(rate) in float64."""
    value, _ = _value_and_slope(problem.utility)
    return float(np.sum(problem.weight * value(np.asarray(rate, np.float64))))


def solve_slsqp(problem: Problem, iterations: int = 500) -> Vector:
    """Rates by SciPy's sequential least squares programming with analytic derivatives."""
    value, slope = _value_and_slope(problem.utility)
    part = np.min(problem.capacity / np.maximum(problem.matrix @ problem.high, 1e-12), initial=1.0)
    result = minimize(
        lambda r: -float(np.sum(problem.weight * value(r))),
        np.maximum(part * problem.high, problem.low),
        jac=lambda r: -problem.weight * slope(r),
        bounds=list(zip(problem.low, problem.high, strict=True)),
        constraints=[
            {
                "type": "ineq",
                "fun": lambda r: problem.capacity - problem.matrix @ r,
                "jac": lambda r: -problem.matrix,
            }
        ],
        method="SLSQP",
        options={"maxiter": iterations, "ftol": 1e-10},
    )
    return np.asarray(result.x)


def solve_cvxpy(problem: Problem) -> Vector:
    """Rates by cvxpy with Clarabel. Raises MissingExtraError where cvxpy is not installed."""
    cp = _cvxpy()
    rate = cp.Variable(problem.weight.shape[0])
    worth = problem.weight @ _expression(cp, problem.utility, rate)
    limits = [problem.matrix @ rate <= problem.capacity, rate >= problem.low, rate <= problem.high]
    cp.Problem(cp.Maximize(worth), limits).solve(solver=cp.CLARABEL)
    return np.asarray(rate.value)


def solve_surrogate_cvxpy(groups: Groups, majorant: ConcaveMajorant) -> tuple[Vector, float]:
    """Levels and value of the reservation surrogate by cvxpy with Clarabel.

    The majorant's curve is given as 400 tangents, at most 1e-6 above it. Raises MissingExtraError without cvxpy.
    """
    cp = _cvxpy()
    count = groups.weight.shape[0]
    low, high = np.asarray(groups.low, np.float64), np.asarray(groups.high, np.float64)
    z, worth = cp.Variable(count), cp.Variable(count)
    per_z, least = np.asarray(groups.per_z, np.float64), np.asarray(groups.least, np.float64)
    limits = [z >= low, z <= high]
    cost: Any = 0.0
    for m, capacity in enumerate(groups.capacity):
        use = cp.multiply(per_z[m], cp.maximum(z, least[m]))
        inside = np.asarray(groups.pool[m])[None, :] == np.arange(capacity.shape[0])[:, None]
        limits.append(inside.astype(float) @ use <= np.asarray(capacity, np.float64))
        cost = cost + float(groups.price[m]) * cp.sum(use)
    touch = np.asarray(majorant.touch, np.float64)
    start = sigmoid(majorant.shape, low)[0] - np.asarray(majorant.line_slope, np.float64) * low
    limits.append(worth <= start + cp.multiply(np.asarray(majorant.line_slope, np.float64), z))
    for part in np.linspace(0.0, 1.0, _TANGENTS):
        at = touch + part * (high - touch)
        value, slope = sigmoid(majorant.shape, at)
        limits.append(cp.multiply(high > touch, worth - value - cp.multiply(slope, z - at)) <= 0)
    problem = cp.Problem(cp.Maximize(np.asarray(groups.weight, np.float64) @ worth - cost), limits)
    problem.solve(solver=cp.CLARABEL)
    return np.asarray(z.value), float(problem.value)


def solve_bound_highs(spectral_efficiency: Vector, need_bps: Vector, members: Vector, bandwidth_hz: float) -> float:
    """Most satisfaction of one cell in one slot as a linear program (HiGHS); flows that cannot be reached left out."""
    reached = (spectral_efficiency > 0) & (need_bps > 0)
    if not reached.any():
        return 0.0
    cost = need_bps[reached] / spectral_efficiency[reached] / bandwidth_hz
    result: Any = linprog(-members[reached], A_ub=cost[None, :], b_ub=[1.0], bounds=(0.0, 1.0), method="highs")
    return -float(result.fun)


def sigmoid(shape: SigmoidSatisfaction, z: Levels) -> tuple[Levels, Levels]:
    """s(z) and s'(z) in float64."""
    k, th = shape.steepness, shape.threshold
    start = 1.0 / (1.0 + np.exp(k * th))
    value = 1.0 / (1.0 + np.exp(-k * (z - th)))
    return (value - start) / (1.0 - start), k * value * (1.0 - value) / (1.0 - start)


def _cvxpy() -> Any:
    try:
        return import_module("cvxpy")
    except ImportError as error:
        raise MissingExtraError("the cvxpy reference solver", "reference") from error


def _value_and_slope(utility: AbstractUtility) -> tuple[Callable[[Vector], Vector], Callable[[Vector], Vector]]:
    tiny = 1e-6
    if isinstance(utility, AlphaFair):
        power = 1.0 - utility.alpha
        if power == 0.0:
            return lambda r: np.log(np.maximum(r, tiny)), lambda r: 1.0 / np.maximum(r, tiny)
        return lambda r: np.maximum(r, tiny) ** power / power, lambda r: np.maximum(r, tiny) ** (power - 1.0)
    if isinstance(utility, OffsetLog):
        offset = np.asarray(utility.offset, np.float64)
        return lambda r: np.log(np.maximum(offset + r, tiny)), lambda r: 1.0 / np.maximum(offset + r, tiny)
    if isinstance(utility, LogQuality):
        need, ratio = np.asarray(utility.need, np.float64), utility.ratio
        return (
            lambda r: np.log1p((ratio - 1.0) * r / need) / np.log(ratio),
            lambda r: 1.0 / (np.log(ratio) * (need / (ratio - 1.0) + r)),
        )
    if isinstance(utility, QuadraticSatisfaction):
        need, e = np.asarray(utility.need, np.float64), utility.curvature
        return (
            lambda r: (1.0 + 0.5 * e) * r / need - 0.5 * e * (r / need) ** 2,
            lambda r: (1.0 + 0.5 * e - e * r / need) / need,
        )
    raise TypeError(f"no reference for {type(utility).__name__}; write its value, slope and expression here")


def _expression(cp: Any, utility: AbstractUtility, rate: Any) -> Any:
    if isinstance(utility, AlphaFair):
        power = 1.0 - utility.alpha
        return cp.log(rate) if power == 0.0 else cp.power(rate, power) / power
    if isinstance(utility, OffsetLog):
        return cp.log(np.asarray(utility.offset, np.float64) + rate)
    if isinstance(utility, LogQuality):
        steep = (utility.ratio - 1.0) / np.asarray(utility.need, np.float64)
        return cp.log(1.0 + cp.multiply(steep, rate)) / np.log(utility.ratio)
    if isinstance(utility, QuadraticSatisfaction):
        x = cp.multiply(1.0 / np.asarray(utility.need, np.float64), rate)
        return (1.0 + 0.5 * utility.curvature) * x - 0.5 * utility.curvature * cp.square(x)
    raise TypeError(f"no reference for {type(utility).__name__}; write its value, slope and expression here")
