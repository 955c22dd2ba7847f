"""Figures of users whom a tenant does not see, with noise that hides any one of them (differential privacy).

Counts and means over the users of all other slices, in one cell or in all. The unit of privacy is one user in one
answer: with this user added or taken away, any answer is at most exp(epsilon) times as likely. Noise is OpenDP's
discrete Laplace on whole numbers, which has none of the gaps of floating point.

A count has sensitivity 1. For a mean, values are clamped to bounds that do not depend on them and rounded to 1 / 32,768
of half the range around its middle; half of epsilon goes to the sum, whose sensitivity is 32,768, and half to the
number of users. The quotient costs nothing more. Left out: what several answers, days or colluding tenants add up to
(epsilons add; the budget bounds them per tenant and day), and the secrets of a slice as a whole, such as how many users
it has.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opendp.accuracy import discrete_laplacian_scale_to_accuracy
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import then_laplace
from opendp.metrics import symmetric_distance
from opendp.mod import enable_features
from opendp.transformations import make_clamp, then_sum

from twinloop.entities import Attribute
from twinloop.service.live import Picture
from twinloop.service.security.access import Identity, Permission
from twinloop.service.security.errors import Forbidden, InvalidInput
from twinloop.service.security.privacy.budget import Budget, Ledger
from twinloop.service.security.tenancy import Grants

STEPS = 32_768
"""Steps from the middle of a range to its end, in which values are summed."""
CONFIDENCE = 0.95

_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A noisy figure: `value` within [low, high] with 95 % confidence, what it cost, and what is left today."""

    value: float
    low: float
    high: float
    unit: str
    epsilon: float
    budget: Budget


class Aggregates:
    """Answers tenants from `latest`, the whole picture."""

    def __init__(self, latest: Callable[[], Picture], grants: Grants, ledger: Ledger) -> None:
        self._latest = latest
        self._grants = grants
        self._ledger = ledger

    def budget(self, identity: Identity) -> Budget:
        """What a tenant may still ask today. Raises Forbidden for anybody else."""
        return self._ledger.budget(_tenant(identity))

    def count(self, identity: Identity, *, cell: str | None = None, epsilon: float | None = None) -> Estimate:
        """How many users all other slices have, in a cell or in all.

        Raises Forbidden, KeyError for an unknown cell, InvalidInput, BudgetSpent.
        """
        tenant, picture = _tenant(identity), self._latest()
        others = self._others(picture, tenant, cell)
        cost, budget = self._ledger.charge(tenant, epsilon)
        number, error = noisy_sum(np.ones(int(others.sum()), np.int64), 1, cost)
        value = float(max(number, 0))
        return Estimate(value, max(number - error, 0.0), max(number + error, 0.0), "1", cost, budget)

    def mean(
        self,
        identity: Identity,
        attribute: str,
        *,
        cell: str | None = None,
        bounds: tuple[float, float] | None = None,
        epsilon: float | None = None,
    ) -> Estimate:
        """Mean of an attribute over the users of all other slices who ever reported it, in a cell or in all.

        `bounds` within the attribute's range, to which values are clamped: the narrower, the less noise. Raises
        Forbidden, KeyError for an unknown cell or attribute, InvalidInput, BudgetSpent.
        """
        tenant, picture = _tenant(identity), self._latest()
        column, known = _column(picture, attribute)
        low, high = _bounds(known, bounds)
        others = self._others(picture, tenant, cell) & (picture.users.slot[:, column] >= 0)
        values = picture.users.value[others, column].astype(np.float64)
        values = values[np.isfinite(values)]
        cost, budget = self._ledger.charge(tenant, epsilon)
        middle, half = (low + high) / 2, (high - low) / 2
        steps = np.rint((np.clip(values, low, high) - middle) / half * STEPS).astype(np.int64)
        total, total_error = noisy_sum(steps, STEPS, cost / 2)
        number, number_error = noisy_sum(np.ones(len(steps), np.int64), 1, cost / 2)
        people = max(number, 1)
        value = min(max(middle + half * total / STEPS / people, low), high)
        # |S'/N' - S/N| <= (|S' - S| + |S/N| |N' - N|) / N', and |S/N| <= 1 in halves of the range.
        error = half * (total_error / STEPS + number_error) / people if number > 0 else high - low
        return Estimate(value, max(value - error, low), min(value + error, high), known.unit, cost, budget)

    def _others(self, picture: Picture, tenant: str, cell: str | None) -> NDArray[np.bool_]:
        """Users who are not the tenant's, [users]; in a cell by what they reported last."""
        own = {grant.slice for grant in self._grants.of(tenant)}
        owned = np.asarray([*(name in own for name in picture.slices.ids), False], np.bool_)
        known = (picture.user_slice >= 0) & (picture.user_slice < len(picture.slices.ids))
        others = picture.users.active & ~owned[np.where(known, picture.user_slice, len(owned) - 1)]
        if cell is None:
            return others
        column, _ = _column(picture, "serving_cell")
        there = picture.users.value[:, column] == picture.cells.row(cell)
        return others & there & (picture.users.slot[:, column] >= 0)


def noisy_sum(values: NDArray[np.int64], most: int, epsilon: float) -> tuple[int, float]:
    """Sum of values clamped to [-most, most], `epsilon`-differentially private in one value, and its error at 97.5 %.

    The discrete Laplace distribution of scale most / epsilon, whose privacy OpenDP itself has confirmed.
    """
    scale = most / epsilon
    return int(_measurement(most, epsilon)(values)), _error(scale)


@lru_cache(maxsize=256)
def _measurement(most: int, epsilon: float) -> Any:
    """OpenDP's measurement: clamped whole numbers, their sum, noise. Raises ArithmeticError should it cost more."""
    with _LOCK:
        enable_features("contrib")
    clamped: Any = make_clamp(vector_domain(atom_domain(T="i64")), symmetric_distance(), bounds=(-most, most))
    # A scale a trifle larger keeps rounding from costing more than was charged.
    measurement = clamped >> then_sum() >> then_laplace(scale=most / epsilon * (1 + 1e-12))
    if measurement.map(1) > epsilon:
        raise ArithmeticError(f"the noise costs epsilon {measurement.map(1)}, above {epsilon}")
    return measurement


@lru_cache(maxsize=256)
def _error(scale: float) -> float:
    return float(math.floor(discrete_laplacian_scale_to_accuracy(scale, (1 - CONFIDENCE) / 2)))


def _tenant(identity: Identity) -> str:
    """The tenant who asks. Raises Forbidden for anybody else: who sees all twins needs no noise."""
    identity.require(Permission.AGGREGATES)
    if not identity.tenant:
        raise Forbidden("noisy figures are for tenants", "read the twins themselves")
    return identity.tenant


def _column(picture: Picture, name: str) -> tuple[int, Attribute]:
    """An attribute of users and its column. Raises KeyError."""
    for column, attribute in enumerate(picture.users.attributes):
        if attribute.name == name:
            return column, attribute
    raise KeyError(name)


def _bounds(attribute: Attribute, asked: tuple[float, float] | None) -> tuple[float, float]:
    """Bounds of a mean. Raises InvalidInput for labels, and for bounds outside of the attribute's range."""
    if attribute.kind == "label":
        raise InvalidInput(f"{attribute.name} is a label and has no mean", "ask for an attribute with a quantity")
    low, high = asked or (attribute.low, attribute.high)
    if not attribute.low <= low < high <= attribute.high:
        inside = f"{attribute.low:g} to {attribute.high:g} {attribute.unit}"
        raise InvalidInput(f"bounds {low:g} to {high:g} are not within the range", f"give bounds within {inside}")
    return low, high
