from pathlib import Path

import numpy as np
import pytest
from set_samples import every_set, kaist, walk_text, write

from twinloop.datasets import (
    LeaveDistribution,
    TruncatedPareto,
    ViewingLog,
    extract_flights,
    fit_factor_spread,
    fit_figures,
    fit_mobility,
    fit_radio,
    fit_truncated_pareto,
    fit_viewing,
    hazard_behind,
    held_out,
    load_sutd5g,
    load_walks,
    pad,
    viewer_hazard,
)
from twinloop.datasets.fits.pareto import distance, fit_parts, mixture_cdf
from twinloop.errors import DataError


def test_the_split_is_a_stable_third() -> None:
    names = [f"video{k}" for k in range(3000)]
    assert 0.3 < np.mean([held_out(name) for name in names]) < 0.37
    assert [held_out(name) for name in ("KAIST_30sec_001", "KAIST_30sec_003")] == [False, True]


def test_a_flight_is_a_run_of_moving_steps_between_rests(tmp_path: Path) -> None:
    east, north, rest = np.array([40.0, 0.0]), np.array([0.0, 40.0]), np.zeros(2)
    steps = [east, east, north, rest, rest + 3.9, rest, north, north, np.array([2000.0, 0.0]), east, east, rest, east]
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    flights = extract_flights(position, 30.0)
    np.testing.assert_allclose(flights.length_m, [np.hypot(80, 40), 80, 80])
    np.testing.assert_allclose(flights.duration_s, [90, 60, 60])
    np.testing.assert_allclose(flights.pause_s, [90])


def test_short_moves_and_their_time_belong_to_the_pause() -> None:
    steps = np.array([[60.0, 0], [0, 0], [20, 0], [0, 0], [0, 60]])
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    flights = extract_flights(position, 30.0)
    np.testing.assert_allclose(flights.length_m, [60, 60])
    np.testing.assert_allclose(flights.pause_s, [90])


def test_a_pareto_is_found_again() -> None:
    sample = TruncatedPareto(0.8, 50.0, 3000.0).draw(np.random.default_rng(0), 4000)
    assert sample.min() >= 50 and sample.max() <= 3000
    fitted = fit_truncated_pareto(sample, 50.0)
    assert abs(fitted.exponent - 0.8) < 0.1
    assert distance(fitted.cdf(np.sort(sample))) < 0.02


def test_three_parts_fit_two_kinds_of_flight_where_one_pareto_cannot() -> None:
    draw = np.random.default_rng(1)
    short = TruncatedPareto(1.5, 50.0, 300.0).draw(draw, 1500)
    trips = TruncatedPareto(-1.5, 400.0, 1000.0).draw(draw, 700)
    sample = np.sort(np.concatenate([short, trips]))
    parts = fit_parts(sample, 50.0)
    assert sum(part.weight for part in parts) == pytest.approx(1)
    three, one = distance(mixture_cdf(parts, sample)), distance(fit_truncated_pareto(sample, 50.0).cdf(sample))
    assert three < 0.04 < 0.1 < one


def test_a_walk_law_is_found_again_and_held_out_walks_are_not_fitted(tmp_path: Path) -> None:
    walks = load_walks(kaist(tmp_path, walks=12).parent).items
    fitted = fit_mobility(walks, "twinloop data fit")
    assert set(fitted.provenance.fitted_on) == {walk.name for walk in walks if not held_out(walk.name)}
    assert fitted.provenance.samples > 50
    assert -0.1 < fitted.time_rho < 0.4 and 0 < fitted.time_spread < 0.5


def test_hazards_behind_a_population_give_it_back() -> None:
    survival = np.array([1.0, 0.9, 0.5, 0.2])
    total = hazard_behind(survival, 0.5)
    draw = np.random.default_rng(0)
    factor = np.exp(0.5 * draw.standard_normal(200_000) - 0.125)
    np.testing.assert_allclose(np.exp(-factor[:, None] * total).mean(axis=0), survival, atol=3e-3)
    np.testing.assert_allclose(hazard_behind(survival, 0.0), -np.log(survival), atol=1e-9)


def test_a_measured_video_comes_back_from_its_viewers() -> None:
    video = LeaveDistribution("v", "", np.array([0.3, 0.1, 0.2]), 0.4)
    hazard = viewer_hazard(video, 0.4)
    factor = np.exp(0.4 * np.random.default_rng(0).standard_normal(200_000) - 0.08)
    stay = np.cumprod((1 - hazard)[None, :] ** factor[:, None], axis=1).mean(axis=0)
    np.testing.assert_allclose(stay, video.survival[1:], atol=3e-3)


@pytest.mark.parametrize("spread", [0.0, 0.6])
def test_the_spread_of_viewers_is_found_again(spread: float) -> None:
    draw = np.random.default_rng(3)
    users = np.repeat(np.arange(2, 802, 2), 40)
    factor = np.exp(spread * draw.standard_normal(900))[users]
    watched = draw.exponential(1.0, len(users)) / factor
    ones = np.ones(len(users))
    log = ViewingLog(users, users, np.minimum(watched, 1.2) * 10, 10 * ones, draw.random(len(users)) < 0.5, 0)
    found, counted = fit_factor_spread(log)
    assert abs(found - spread) < 0.1
    assert counted == sum(not held_out(str(user)) for user in np.unique(users))


def test_types_come_in_order_of_length_with_the_labelled_videos_in_them() -> None:
    draw = np.random.default_rng(4)

    def video(name: str, seconds: int, hazard: float) -> LeaveDistribution:
        stay = (1 - hazard) ** np.arange(seconds + 1)
        return LeaveDistribution(name, "", -np.diff(stay), float(stay[-1]))

    lengths = (6, 9, 13, 18, 25, 40, 70, 120)
    unlabelled = [video(f"u{k}", lengths[k % 8], 0.02 + 0.01 * draw.random()) for k in range(240)]
    labelled = [video("7_yd", 125, 0.2), video("6_jt", 6, 0.1)]
    ones = np.ones(60)
    log = ViewingLog(np.repeat(np.arange(2, 22, 2), 6), np.arange(60), 5 * ones, 10 * ones, ones > 0, 0)
    viewing = fit_viewing(labelled, unlabelled, log, "twinloop data fit")
    length = {kind.name: np.exp(kind.log_length_mean) for kind in viewing.types}
    assert length["entertainment"] < length["science"] < length["food"] < length["travel"] < length["games"]
    assert {kind.name: kind.basis for kind in viewing.types}["games"] == "7_yd"
    assert sum(kind.videos for kind in viewing.types) == viewing.provenance.samples
    assert viewing.provenance.samples == 2 + sum(not held_out(one.name) for one in unlabelled)


def test_the_factor_of_a_link_at_half_of_shannon_is_a_half(tmp_path: Path) -> None:
    every_set(tmp_path)
    fitted = fit_radio(load_sutd5g(tmp_path).items, "twinloop data fit")
    assert fitted.se_factor == pytest.approx(0.5, abs=0.01)
    assert fitted.se_factor_one_unit == pytest.approx(0.5, abs=0.01)
    assert fitted.median_error < 0.02


def test_a_fit_stops_at_a_fault(tmp_path: Path) -> None:
    every_set(tmp_path)
    write(tmp_path / "kaist_walks/KAIST_30sec_777.txt", walk_text(np.zeros((3, 2))) + "cut")
    with pytest.raises(DataError, match=r"KAIST_30sec_777"):
        fit_figures(tmp_path)


def test_series_are_padded_with_their_last_sample_or_a_value() -> None:
    padded = pad([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]])])
    np.testing.assert_array_equal(padded.length, [1, 2])
    np.testing.assert_array_equal(padded.values[0], [[1, 2], [1, 2]])
    np.testing.assert_array_equal(pad([np.ones(1), np.ones(2)], fill=0.0).values, [[1, 0], [1, 1]])
    for series in ([], [np.zeros(0)]):
        with pytest.raises(ValueError, match=r"at least one"):
            pad(series)
