import json
from pathlib import Path

import numpy as np
import pytest

from twinloop.datasets import figures_from_json, held_out, read_figures, shipped_figures
from twinloop.errors import DataError


def test_the_shipped_figures_are_complete_and_say_where_they_come_from() -> None:
    figures = shipped_figures()
    assert figures.video_types == ("entertainment", "games", "food", "sports", "science", "dance", "travel", "news")
    assert figures.hazard.shape == (8, 15) and np.all((figures.hazard > 0) & (figures.hazard < 0.5))
    assert 0.2 < figures.user_factor_spread < 0.8
    assert sum(kind.share for kind in figures.viewing.types) == pytest.approx(1, abs=1e-4)
    assert 0.38 < figures.radio.se_factor_one_unit < figures.radio.se_factor < figures.radio.se_factor_all_units < 0.6
    for parts in (figures.levy.flight_parts, figures.levy.pause_parts):
        assert sum(part.weight for part in parts) == pytest.approx(1, abs=1e-4)
        assert all(part.low < part.high and part.exponent != 0 for part in parts)
    places = (figures.viewing, figures.radio, figures.levy)
    for provenance in (*(place.provenance for place in places), figures.viewing.factor_provenance):
        assert provenance.sources and provenance.citation and provenance.samples > 0
        assert provenance.command.startswith("twinloop data fit --data DIR")


def test_no_fitted_walk_is_held_out() -> None:
    names = shipped_figures().levy.provenance.fitted_on
    assert len(names) > 20 and not any(held_out(name) for name in names)


def test_a_video_is_left_for_good_and_hazards_follow_its_length() -> None:
    viewing = shipped_figures().viewing
    for kind in range(8):
        hazard = viewing.hazard(kind, 10.4)
        assert hazard.shape == (11,) and np.all((hazard >= 0) & (hazard < 1))
        end = np.exp(-viewing.types[kind].cumulative_hazard[-1])
        assert np.prod(1 - hazard) == pytest.approx(end, rel=1e-6)


def test_types_are_known_by_length_as_a_probability() -> None:
    viewing = shipped_figures().viewing
    chance = viewing.type_given_length(np.array([6.0, 15.0, 120.0, 1e5]))
    np.testing.assert_allclose(chance.sum(axis=1), 1.0)
    assert viewing.names[int(chance[0].argmax())] == "entertainment"
    assert viewing.names[int(chance[2].argmax())] == "games"


def test_text_and_figures_are_the_same_there_and_back(tmp_path: Path) -> None:
    figures = shipped_figures()
    path = tmp_path / "figures.json"
    path.write_text(figures.to_json(), encoding="utf-8")
    assert read_figures(path) == figures


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        (("radio", "se_factor"), "much", "radio.se_factor holds 'much'"),
        (("levy", "time_rho"), float("nan"), "levy.time_rho"),
        (("viewing", "knots"), 3, "viewing.knots holds 3"),
        (("levy", "flight_parts"), [1], "levy.flight_parts[0]"),
        (("version",), 2, "version 2"),
    ],
)
def test_a_wrong_figure_is_named(place: tuple[str, ...], value: object, what: str) -> None:
    content = json.loads(shipped_figures().to_json())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(DataError) as caught:
        figures_from_json(json.dumps(content), Path("mine.json"))
    assert what in str(caught.value) and "mine.json" in str(caught.value)


def test_a_file_that_is_no_figures_is_named(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text('{"version": 1,\n oops}')
    with pytest.raises(DataError, match=r"line 2"):
        read_figures(path)
    path.write_text('{"version": 1}')
    with pytest.raises(DataError, match=r"viewing is missing"):
        read_figures(path)
    with pytest.raises(DataError, match=r"cannot be read"):
        read_figures(tmp_path / "none.json")
