"""The future of twins: the emulator going on by itself, and intervals that are as wide as they must be."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from twinloop.emulation import Z90
from twinloop.service.whatif import Foreteller
from twinloop.service.whatif.widths import LEAST_SCORES, STEPS, Claim, Widths


@pytest.fixture(scope="module")
def foreteller(present):
    made = Foreteller(lambda: present, lambda: 0.0)
    yield made
    made.close()


def test_the_emulator_goes_on_by_itself(present, foreteller):
    foretold = foreteller.foretell("user", "buffer_s", 45.0)
    assert foretold.mean.shape == foretold.std.shape == (45, 12)
    np.testing.assert_allclose(foretold.mean, 2.0)
    assert np.all(np.diff(foretold.std, axis=0) >= 0)
    now_s = present.picture.time_s(present.picture.slot)
    np.testing.assert_allclose(foretold.time_s, now_s + np.arange(1, 46))
    again = foreteller.foretell("user", "buffer_s", 3.0)
    np.testing.assert_array_equal(again.mean, foretold.mean[:3])


def test_what_nobody_knows_is_not_foretold(present, foreteller):
    with pytest.raises(KeyError):
        foreteller.foretell("user", "colour", 5.0)
    with pytest.raises(KeyError):
        Foreteller(lambda: None, lambda: 0.0).foretell("user", "buffer_s", 5.0)
    assert np.isnan(foreteller.foretell("cell", "load", 2.0).mean).all()
    foretold = foreteller.foretell("user", "serving_cell", 2.0)
    np.testing.assert_array_equal(foretold.mean[1], present.picture.users.value[:, 5])
    assert not foretold.std.any()


def test_slices_are_expected_to_wander_as_they_did(present):
    made = Foreteller(lambda: shown[-1], lambda: 0.0)
    table = present.picture.slices
    shown = []
    for slot in range(4):
        value = np.full_like(table.value, 100.0 + 2.0 * (-1) ** slot)
        slices = replace(table, value=value, slot=np.full_like(table.slot, slot), active=np.ones(len(table.ids), bool))
        shown.append(replace(present, picture=replace(present.picture, slot=slot, slices=slices)))
        made.lived(shown[-1].picture, ready=False)
    foretold = made.foretell("slice", "rate_bps", 9.0)
    np.testing.assert_allclose(foretold.mean, 98.0)
    np.testing.assert_allclose(foretold.std[[0, 8], 0], 4.0 * np.sqrt(np.pi / 2) * np.array([1, 3]), rtol=1e-6)
    made.close()


def claims(widths: Widths, std: float, miss_std: float, rng, rounds: int = 40) -> None:
    """Forecasts of 50 twins with a deviation of `std`, and what came: off by `miss_std`."""
    names = tuple(f"ue-{row}" for row in range(50))
    rows, shape = np.arange(50), (len(STEPS), 50, 1)
    slot = 0
    for _ in range(rounds):
        mean = np.zeros(shape, np.float32)
        claim = Claim(slot, rows, names, mean, np.full(shape, std, np.float32), np.ones((50, 1), np.bool_))
        widths.claim(claim)
        for ahead in sorted({step + 1 for step in STEPS}):
            came = rng.normal(0, miss_std, (50, 1)).astype(np.float32)
            widths.compare(slot + ahead, names, np.ones(50, bool), came, np.full((50, 1), slot, np.int32))
        slot += max(STEPS) + 2


@pytest.mark.parametrize("miss_std", [0.5, 3.0])
def test_widths_come_to_hold_nine_truths_in_ten(miss_std):
    rng, widths = np.random.default_rng(1), Widths(1)
    np.testing.assert_array_equal(widths.factors(5), 1.0)
    claims(widths, 1.0, miss_std, rng)
    factors = widths.factors(60)[:, 0]
    held = np.abs(rng.normal(0, miss_std, 100_000)) <= Z90 * factors[29]
    assert held.mean() == pytest.approx(0.9, abs=0.03)
    np.testing.assert_allclose(factors, miss_std, rtol=0.15)


def test_few_misses_and_strangers_teach_nothing():
    widths = Widths(1)
    names, shape = tuple("abcdefghij"), (len(STEPS), 10, 1)
    number = np.zeros((10, 1), np.float32)
    for slot in range(0, 5000, 10):
        widths.claim(
            Claim(
                slot,
                np.arange(10),
                names,
                np.zeros(shape, np.float32),
                np.ones(shape, np.float32),
                np.zeros((10, 1), np.bool_),
            )
        )
        widths.compare(slot + 2, ("x",) * 10, np.ones(10, bool), number + 99, np.full((10, 1), slot + 1, np.int32))
        widths.compare(slot + 3, names, np.ones(10, bool), number + 99, np.full((10, 1), slot, np.int32))
    np.testing.assert_array_equal(widths.factors(3), 1.0)
    assert LEAST_SCORES > 10


def test_beyond_what_was_compared_widths_go_on_growing():
    rng, widths = np.random.default_rng(2), Widths(1)
    names, rows, shape = tuple(f"ue-{row}" for row in range(50)), np.arange(50), (len(STEPS), 50, 1)
    for slot in range(0, 40 * 200, 200):
        widths.claim(
            Claim(
                slot, rows, names, np.zeros(shape, np.float32), np.ones(shape, np.float32), np.ones((50, 1), np.bool_)
            )
        )
        for step in STEPS:
            came = rng.normal(0, np.sqrt(step), (50, 1)).astype(np.float32)
            widths.compare(slot + step + 1, names, np.ones(50, bool), came, np.full((50, 1), slot, np.int32))
    factors = widths.factors(300)[:, 0]
    np.testing.assert_allclose(factors[[9, 29, 119]], np.sqrt([10, 30, 120]), rtol=0.12)
    assert factors[299] == pytest.approx(np.sqrt(300), rel=0.3)


def test_forecasts_are_held_against_what_comes(present):
    """Two minutes in which every buffer walks about are enough to know how wide is right."""
    rng, clock, shown = np.random.default_rng(3), [0.0], [present]
    made = Foreteller(lambda: shown[-1], lambda: clock[0])
    users, value = present.picture.users, present.picture.users.value
    for slot in range(41, 41 + 130):
        value = value + rng.normal(0, 0.5, value.shape).astype(np.float32)
        measured = np.full_like(users.slot, slot)
        picture = replace(present.picture, slot=slot, users=replace(users, value=value, slot=measured))
        state = eqx.tree_at(
            lambda s: (s.twin.users.current.value, s.twin.users.current.slot),
            present.state,
            (jnp.asarray(value), jnp.asarray(measured)),
        )
        shown.append(replace(present, state=state, picture=picture))
        clock[0] = float(slot)
        made.lived(picture, ready=True)
        made._learning.result()
    foretold = made.foretell("user", "buffer_s", 30.0)
    np.testing.assert_allclose(foretold.std[[9, 29]].mean(axis=1), 0.5 * np.sqrt([10, 30]), rtol=0.3)
    made.close()
