"""What twins are worth: the same world without them, and the parts of their value."""

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from twinloop.loop import slot
from twinloop.runs.worth import ByWindow, Worth, begin_unaided, served, unaided_slot
from twinloop.scenario import build_loop

WORTH = Worth(fidelity=1.0, gain=2.0, cost=3.0, budget=0.1)


def window(**changes: float) -> dict[str, float]:
    """Sums of a window of 10 slots, 4 users and 2 servers' worth of numbers that are easy to check."""
    sums = {
        "first_slot": 0.0, "slots": 10.0, "users": 40.0, "satisfied": 28.0, "unaided_satisfied": 20.0,
        "unaided_users": 40.0, "bound_satisfied": 36.0, "bound_users": 40.0, "fidelity": 9.0, "age_s": 10.0,
        "reports": 80.0, "bits": 800.0, "overhead_hz": 2.0, "capacity_hz": 100.0, "inference_cycles": 4.0,
        "capacity_cycles": 100.0, "wall_s": 0.5,
    }  # fmt: skip
    return sums | changes


def rows(**changes: float) -> dict[str, float]:
    return ByWindow({"0": window(**changes)}).rows(WORTH, 7.0)[0]


def test_the_parts_and_their_sum() -> None:
    row = rows()
    assert row["gain"] == pytest.approx((0.7 - 0.5) / (0.9 - 0.5))
    assert row["cost"] == pytest.approx((0.02 + 0.04) / 2 / 0.1)
    assert row["value"] == pytest.approx(0.9 + 2 * 0.5 - 3 * 0.3)
    assert row["printed_first_term"] == pytest.approx(1 / 2 / 2)
    assert row["multiply_adds"] == 70.0 and row["collected_bytes"] == 100.0


def test_twins_that_do_harm_have_a_negative_gain_and_no_gain_is_told_where_none_was_possible() -> None:
    assert rows(satisfied=18.0)["gain"] < 0
    assert np.isnan(rows(bound_satisfied=20.0)["value"])


def test_windows_come_in_order_of_time() -> None:
    sums = ByWindow({"10": window(first_slot=100.0), "2": window(first_slot=20.0)})
    assert [row["first_slot"] for row in sums.rows(WORTH, 0.0)] == [20.0, 100.0]


def test_the_unaided_world_has_the_same_people_and_is_served_worse(tiny) -> None:
    loop, state = build_loop(tiny)
    world, key = begin_unaided(state), jax.random.key(3)
    live = jax.jit(lambda k, now: slot(k, loop, now)[:2])
    alone = jax.jit(lambda k, now: unaided_slot(k, loop, now))
    got = 0.0
    for number in range(6):
        k = jax.random.fold_in(key, number)
        state, plant = live(k, state)
        world, outcome = alone(k, world)
        for name in ("x_m", "y_m", "active"):
            np.testing.assert_array_equal(getattr(outcome, name), getattr(plant.outcome, name))
        assert float(jnp.max(outcome.overhead_bandwidth_hz)) == 0.0
        assert float(jnp.max(outcome.load)) <= 1 + 1e-4
        got += float(served(outcome).satisfied)
    assert 0 < got < 6 * outcome.active.shape[0]


def test_a_run_tells_the_value_of_every_window(tiny, tiny_run) -> None:
    table = pq.read_table(tiny_run.directory / "value.parquet").to_pydict()
    assert table["first_slot"] == [0.0, 60.0] and table["slots"] == [60.0, 60.0]
    summary, weights = tiny_run.summary, tiny.twin.value
    assert np.mean(table["satisfaction"]) == pytest.approx(summary["satisfaction"], rel=1e-4)
    assert np.mean(table["satisfaction_bound"]) == pytest.approx(summary["satisfaction_bound"], rel=1e-4)
    assert sum(table["collected_bytes"]) == pytest.approx(summary["collected_bits"] / 8)
    parts = [np.array(table[name]) for name in ("fidelity", "gain", "cost")]
    value = weights.fidelity * parts[0] + weights.gain * parts[1] - weights.cost * parts[2]
    np.testing.assert_allclose(value, table["value"])
    assert summary["twin_value"]["value"] == pytest.approx(value.mean())
    assert min(table["multiply_adds"]) > 1000 and min(table["wall_s"]) > 0
