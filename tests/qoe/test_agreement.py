import jax.numpy as jnp
import pytest

from twinloop.qoe import agreements_kept, by_class, on_grid

E = jnp.array([[4.0, 2.0, 2.0, 5.0, 2.0], [3.0, 3.0, 3.0, 3.0, 3.0], [5.0, 1.0, 1.0, 1.0, 1.0], [1.0] * 5])
HERE = jnp.ones((4, 5), bool).at[2, 1:].set(False).at[3].set(False)
AGREED = jnp.array([3.0, 3.0, 4.0, 3.0])


def test_minutes_come_onto_the_common_grid():
    minute = jnp.arange(1.0, 8.0)[None] / 2 + 1
    there = jnp.ones((1, 7), bool).at[0, 4:6].set(False)
    cell, present = on_grid(minute, there, 3)
    assert cell[0] == pytest.approx([2.0, 3.0]) and present.tolist() == [[True, True]]
    assert on_grid(minute, jnp.zeros((1, 7), bool), 3)[1].tolist() == [[False, False]]


def test_agreements_by_user():
    kept = agreements_kept(E, HERE, AGREED)
    assert kept.mean == pytest.approx([3.0, 3.0, 5.0, 0.0])
    assert kept.reached.tolist() == [True, True, True, False]
    assert kept.ratio == pytest.approx([(1 + 2 / 3 + 2 / 3 + 1 + 2 / 3) / 5, 1.0, 1.0, 0.0])
    assert kept.below_min == pytest.approx([9.0, 0.0, 0.0, 0.0])
    assert kept.present_min == pytest.approx([15.0, 15.0, 3.0, 0.0])
    assert kept.alarms.tolist() == [2, 0, 0, 0]
    assert agreements_kept(E, HERE, AGREED, patience=2).alarms.tolist() == [1, 0, 0, 0]


def test_agreements_by_class_leave_out_who_was_never_there():
    kept = agreements_kept(E, HERE, AGREED)
    groups = by_class(kept, jnp.array([0, 0, 1, 1]), 3)
    assert groups.users.tolist() == [2.0, 1.0, 0.0]
    assert groups.satisfied == pytest.approx([1.0, 1.0, 0.0])
    assert groups.ratio == pytest.approx([0.9, 1.0, 0.0])
    assert groups.below == pytest.approx([0.3, 0.0, 0.0])
    assert groups.alarms.tolist() == [2, 0, 0]
