"""Aggregation for display against plain NumPy, and numbers as people read them."""

import numpy as np
import pytest

from twinloop.reporting.aggregation import grid_mean, groups, mean_by, most_common, quantiles_by, stretches, sum_by
from twinloop.reporting.wording import clock, difference, duration, enumerated, metric, plain, share, shown, si


def test_means_sums_and_quantiles_are_those_of_each_group():
    rng = np.random.default_rng(1)
    index = rng.integers(0, 5, 400)
    values = np.where(rng.uniform(size=400) < 0.2, np.nan, rng.normal(size=400))
    for group in range(5):
        mine = values[index == group]
        np.testing.assert_allclose(mean_by(index, values, 6)[group], np.nanmean(mine))
        np.testing.assert_allclose(sum_by(index, values, 6)[group], np.nansum(mine))
        np.testing.assert_allclose(
            quantiles_by(index, values, 6, [0.1, 0.5])[:, group], np.nanquantile(mine, [0.1, 0.5])
        )
    assert np.isnan(mean_by(index, values, 6)[5]) and np.isnan(quantiles_by(index, values, 6, [0.5])[0, 5])


def test_a_grid_keeps_rows_and_columns_apart():
    grid = grid_mean(np.array([0, 0, 1]), 2, np.array([0, 0, 2]), 3, np.array([1.0, 3.0, 5.0]))
    np.testing.assert_array_equal(grid, [[2, np.nan, np.nan], [np.nan, np.nan, 5]])


def test_groups_are_sorted_whatever_their_kind():
    index, labels = groups(np.array(["b", "a", "b"], dtype=object))
    assert index.tolist() == [1, 0, 1] and labels == ["a", "b"]


def test_the_most_common_wins():
    assert most_common(np.array([0, 0, 0, 1]), np.array([2, 2, 1, 0]), 2).tolist() == [2, 0]


@pytest.mark.parametrize(
    ("slots", "most", "length", "count"), [(100, 240, 1, 100), (240, 240, 1, 240), (241, 240, 2, 121)]
)
def test_stretches_cover_every_slot_once(slots, most, length, count):
    time = stretches(np.arange(slots) + 5, 2.0, most)
    assert time.slots == length and len(time.centre_s) == count
    assert np.bincount(time.index).max() == length
    np.testing.assert_allclose(time.centre_s[0], (5 + 0.5 * (length - 1)) * 2.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (share(0.8567), "85.7_%"),
        (share(0.0015), "0.15_%"),
        (share(0.99951), "99.95_%"),
        (share(1.0), "100_%"),
        (share(0.0), "0_%"),
        (plain(1234.5), "1,234"),
        (plain(0.01234), "0.0123"),
        (plain(0.0), "0"),
        (plain(float("nan")), "\N{EN DASH}"),
        (si(5.214e6, "bit/s"), "5.21_Mbit/s"),
        (si(0.0012, "s"), "1.20_ms"),
        (si(75.0, "s"), "75.0_s"),
        (si(1500.0, "s"), "1,500_s"),
        (si(0.0, "bit"), "0_bit"),
        (clock(75.0), "1:15"),
        (clock(3675.0), "1:01:15"),
        (duration(300.0), "5 minutes"),
        (duration(60.0), "1 minute"),
        (duration(45.0), "45 seconds"),
        (duration(5400.0), "1.5 hours"),
        (shown("satisfaction", None), "\N{EN DASH}"),
        (shown("refused", 1200.0), "1,200"),
        (shown("unheard_of_bps", 2e6), "2.00_Mbit/s"),
        (difference("satisfaction", -0.004), "\N{MINUS SIGN}0.40_points"),
        (difference("mean_rate_bps", 2.5e5), "+250_kbit/s"),
        (enumerated(["a"]), "a"),
        (enumerated(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_read_well(found, expected):
    assert found == expected.replace("_", "\N{NO-BREAK SPACE}")


def test_an_unknown_metric_is_named_after_its_key():
    assert metric("cell_power_w").title == "Cell power" and metric("cell_power_w").better == 0
