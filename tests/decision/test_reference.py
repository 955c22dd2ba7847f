import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.decision import reference
from twinloop.errors import MissingExtraError
from twinloop.qoe import AlphaFair

PROBLEM = reference.Problem(AlphaFair(1.0), np.ones(2), np.ones((1, 2)), np.ones(1), np.zeros(2), np.ones(2))


def test_without_cvxpy_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(reference, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"twinloop\[reference\]"):
        reference.solve_cvxpy(PROBLEM)


def test_slsqp_needs_no_extra():
    assert reference.solve_slsqp(PROBLEM) == pytest.approx([0.5, 0.5], abs=1e-4)


def test_objective_is_the_weighted_utility():
    assert reference.objective(PROBLEM, jnp.array([1.0, 1.0])) == pytest.approx(0.0)
