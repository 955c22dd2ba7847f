import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.qoe import FACTOR_NAMES, agreements_kept, by_class, gather_factors, on_grid

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


def test_factors_of_a_period_come_from_its_slots():
    slots = np.zeros((1, 7, len(FACTOR_NAMES)), np.float32)
    at = {name: number for number, name in enumerate(FACTOR_NAMES)}
    slots[0, :, at["throughput"]] = [1, 3, 99, 5, 7, 7, 9]
    slots[0, :3, at["rebuffer_time"]] = [1.0, 0.5, 9.0]
    slots[0, :, at["behaviour"]] = [0, 1, 0, 0, 0, 0, 0]
    slots[0, :, at["environment"]] = [40 / 3.6, 2 / 3.6, 0, 2 / 3.6, 2 / 3.6, 2 / 3.6, 0]
    slots[0, :, at["hour"]] = [8, 9, 99, 10, 11, 12, 13]
    present = jnp.ones((1, 7), bool).at[0, 2].set(False)
    factors, there = gather_factors(jnp.asarray(slots), present, 3, 20.0)
    first, second = np.asarray(factors[0])
    assert there.tolist() == [[True, True]]
    assert first[at["throughput"]] == 2.0 and second[at["throughput"]] == pytest.approx(19 / 3)
    assert first[at["rebuffer_time"]] == pytest.approx(1.5 * 3 / 2)
    assert first[at["behaviour"]] == pytest.approx(1 + 1.5 / 12) and second[at["behaviour"]] == 1.0
    assert first[at["environment"]] == pytest.approx(1.5) and second[at["environment"]] == pytest.approx(2.0)
    assert first[at["hour"]] == 9 and second[at["hour"]] == 12
    gone, there = gather_factors(jnp.asarray(slots), jnp.zeros((1, 7), bool), 3, 20.0)
    assert not there.any() and gone[0, 0, at["environment"]] == 1.0
