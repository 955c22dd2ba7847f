import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from twinloop.datasets import shipped_figures
from twinloop.errors import DataError, OutputError
from twinloop.reporting import Curve, Panel, plot_curves, plot_tracks
from twinloop.studies import Judgement, evaluate_mobility, evaluate_swipe
from twinloop.studies.evaluate.judgement import KS_DISTANCE, Estimate, Row, at_most, ks_distance, ks_row
from twinloop.studies.evaluate.mobility import FLIGHTS
from twinloop.studies.evaluate.swipe import BY_VIDEO, RATIOS, watch


def judgement(distance: float = 0.05) -> Judgement:
    row = Row(("q", "ours"), "proposed", {"d": Estimate(distance, 0.01, 0.2)})
    other = Row(("q", "theirs"), "baseline", {"d": Estimate(0.5, 0.4, 0.6), "e": Estimate(1.0)})
    panel = Panel("x", "y", (Curve.exceeding("a", np.arange(5.0)),))
    claims = (at_most("d at most .1", row.values["d"], 0.1),)
    figures = {"f.png": partial(plot_curves, [panel], "t")}
    return Judgement("title", ("quantity", "from"), (other, row), claims, {"n": 2.0}, ("how",), figures)


def distance_of(judged: Judgement, quantity: str, name: str) -> float:
    return judged.estimate(KS_DISTANCE, quantity, name).value


def test_the_distance_is_the_greatest_gap_of_distribution_functions() -> None:
    assert ks_distance(np.arange(10.0), np.arange(10.0)) == 0
    assert ks_distance(np.array([1.0, 2.0]), np.array([3.0])) == 1
    assert ks_distance(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.25)
    assert ks_distance(np.array([]), np.array([1.0])) == 1


def test_an_interval_over_files_widens_when_files_differ() -> None:
    draw = np.random.default_rng(0)
    wanted = draw.random(4000)
    alike = [draw.random(50) for _ in range(20)]
    apart = [draw.random(50) * 0.2 + 0.8 * k / 19 for k in range(20)]
    rows = [ks_row(("q", "n"), "proposed", files, wanted, 0) for files in (alike, apart, alike)]
    same, differ, again = (row.values[KS_DISTANCE] for row in rows)
    assert same.low <= same.value + 0.02 and same.high - same.low < differ.high - differ.low
    assert again == same


def test_a_judgement_passes_at_most_at_a_tenth_and_keeps_its_numbers(tmp_path: Path) -> None:
    good, bad = judgement(0.1), judgement(0.11)
    assert good.passed and not bad.passed
    content = json.loads(good.to_json())
    assert content["claims"][0]["holds"] and content["passed"] and content["numbers"] == {"n": 2.0}
    assert [(row["from"], row["role"]) for row in content["rows"]] == [("theirs", "baseline"), ("ours", "proposed")]
    assert content["rows"][1]["d"] == {"value": 0.1, "low": 0.01, "high": 0.2}
    assert good.metrics == ("d", "e") and good.estimate("e", "q", "theirs").low is None
    with pytest.raises(KeyError, match="no e of q, ours"):
        good.estimate("e", "q", "ours")
    (path,) = good.save(tmp_path / "new")
    assert path.name == "f.png" and path.read_bytes().startswith(b"\x89PNG")


def test_figures_that_cannot_be_written_are_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"give another --out"):
        judgement().save(tmp_path / "file")


def test_viewers_leave_as_their_hazards_say() -> None:
    lengths = np.array([4.0, 2.0])
    hazard = [[np.array([0.5, 0.5, 0.0, 0.0]), np.zeros(4)], [np.array([1.0, 0.0]), np.array([0.0, 1.0])]]
    kind = np.stack([np.arange(4000) % 2, np.arange(4000) % 2])
    ratio = watch(hazard, kind, lengths, 0.0, 0)
    share = [np.mean(ratio[0, ::2] == value) for value in (0.125, 0.375, 1.0)]
    np.testing.assert_allclose(share, [0.5, 0.25, 0.25], atol=0.03)
    assert np.all(ratio[0, 1::2] == 1)
    np.testing.assert_allclose(np.mean(ratio[1], axis=0), np.mean([0.25, 0.75]), atol=1e-6)


def test_the_viewers_factor_spreads_without_moving_the_mean_hazard() -> None:
    kind = np.zeros((1, 20_000), np.int64)
    hazard = [[np.full(50, 0.05)]]
    same, spread = (watch(hazard, kind, np.array([50.0]), factor, 1) for factor in (0.0, 1.0))
    assert np.mean(spread == 1) > np.mean(same == 1) + 0.05
    assert np.mean(spread < 0.1) == pytest.approx(np.mean(same < 0.1), abs=0.05)


def test_curves_and_tracks_are_drawn_with_their_names() -> None:
    curves = tuple(Curve.exceeding(name, np.arange(1.0, 9.0), measured=name == "seen") for name in ("seen", "ours"))
    figure = plot_curves([Panel("length (m)", "share above", curves, log_x=True, log_y=True)] * 3, "Flights")
    assert isinstance(figure, Figure) and len(figure.axes) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seen", "ours"]
    tracks = plot_tracks({"a": [np.zeros((3, 2))], "b": [np.ones((3, 2))]}, "Tracks", half_width_km=2.0)
    assert [axis.get_title(loc="left") for axis in tracks.axes] == ["a", "b"]


def test_a_curve_of_exceedance_falls_from_one_to_nothing() -> None:
    curve = Curve.exceeding("a", np.array([3.0, 1.0, 2.0]))
    np.testing.assert_allclose(curve.x, [1, 1, 2, 3])
    np.testing.assert_allclose(curve.y, [1, 2 / 3, 1 / 3, 0])
    assert len(Curve.exceeding("a", np.random.default_rng(0).random(50_000)).x) <= 2001


def test_walks_that_were_all_fitted_judge_nothing(tmp_path: Path) -> None:
    name = shipped_figures().levy.provenance.fitted_on[0]
    folder = tmp_path / "kaist_walks"
    folder.mkdir()
    (folder / f"{name}.txt").write_text("0 0 0\n30 50 0\n60 50 0\n")
    with pytest.raises(DataError, match=r"every walk was used in fitting"):
        evaluate_mobility(tmp_path)


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kaist_walks"):
        evaluate_mobility(tmp_path)
    with pytest.raises(DataError, match=r"dashlet_turk"):
        evaluate_swipe(tmp_path)


@pytest.mark.data
def test_flights_above_50_m_are_within_a_tenth_of_unseen_walks(data_dir: Path, tmp_path: Path) -> None:
    judged = evaluate_mobility(data_dir)
    distance = distance_of(judged, FLIGHTS, "Levy flights")
    assert judged.claims[0].measured.value == distance < 0.07
    assert distance_of(judged, "flight duration", "Levy flights") < 0.07
    assert distance_of(judged, FLIGHTS, "random waypoint on a campus") > 3 * distance
    assert judged.numbers["unseen_walks"] == 28
    assert {path.name for path in judged.save(tmp_path)} == {"mobility_flights.png", "mobility_tracks.png"}


@pytest.mark.data
def test_watch_ratios_are_within_a_tenth_of_unseen_videos(data_dir: Path, tmp_path: Path) -> None:
    judged = evaluate_swipe(data_dir)
    assert judged.passed
    distance = distance_of(judged, RATIOS, "types x viewers")
    for name in ("types, no viewers' factors", "one hazard by second", "constant hazard (Poisson)"):
        assert distance_of(judged, RATIOS, name) > distance
        assert distance_of(judged, BY_VIDEO, name) > distance_of(judged, BY_VIDEO, "types x viewers")
    assert {path.name for path in judged.save(tmp_path)} == {"swipe_ratios.png", "swipe_types.png"}
