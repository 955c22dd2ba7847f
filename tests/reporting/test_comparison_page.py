"""The page of a comparison: right intervals, right verdicts, controls, the bound; and what a bad file says."""

import json

import numpy as np
import pytest
from scipy import stats
from synthetic_run import write_compare

from twinloop.errors import OutputError
from twinloop.reporting import open_comparison, plot_differences, plot_metric, write_comparison
from twinloop.reporting.comparison import Difference, difference_text, interval


def test_who_won_by_how_much_and_how_far_from_the_bound(compared):
    content = json.loads((compared.directory / "compare.json").read_text())
    mean = np.mean(content["policies"]["convex+utility"]["satisfaction"])
    assert f"convex + utility gave people the most of what they needed: {100 * mean:.1f} %" in compared.words
    bound = np.mean(content["bound"]["satisfaction"])
    assert f"nobody could have given more than {100 * bound:.1f} %" in compared.words
    assert f"Load factor {np.mean(content['load_factor']):.2f}" in compared.words


def test_means_carry_their_half_interval_in_a_unit_of_its_own(compared):
    values = np.array(
        json.loads((compared.directory / "compare.json").read_text())["policies"]["convex+utility"]["mean_rate_bps"]
    )
    half = stats.t.ppf(0.975, 4) * stats.sem(values)
    assert f"{values.mean() / 1e6:.2f} Mbit/s ± {half / 1e3:.0f} kbit/s" in compared.words


def test_controls_stand_in_their_own_table_with_what_they_show(compared):
    for control in ("shuffled", "frozen"):
        assert f"{control} 7" in compared.words
    assert compared.words.count("loses: true twins matter here") == 2


def test_all_differences_have_a_verdict(compared):
    assert "convex + utility greedy + proportional fair satisfaction +" in compared.words
    assert "convex + utility is better" in compared.words and "convex + utility is worse" in compared.words


def test_one_seed_gives_no_interval_and_no_verdict(tmp_path):
    page = write_comparison(write_compare(tmp_path, seeds=1, controls=False)).read_text(encoding="utf-8")
    assert "One seed gives no interval" in page and "no verdict" in page
    assert "no difference is shown" not in page
    assert "utility is better" not in page and 'id="controls"' not in page and "nan" not in page


def test_the_interval_is_students():
    values = np.array([0.71, 0.74, np.nan, 0.69, 0.77])
    known = values[np.isfinite(values)]
    low, high = stats.t.interval(0.95, 3, loc=known.mean(), scale=stats.sem(known))
    found = interval(values)
    np.testing.assert_allclose([found.mean, found.low, found.high], [known.mean(), low, high], rtol=1e-9)


@pytest.mark.parametrize(
    ("metric", "low", "high", "words"),
    [
        ("satisfaction", 0.01, 0.03, "good is better"),
        ("satisfaction", -0.03, -0.01, "good is worse"),
        ("rebuffer_ratio", 0.01, 0.03, "good is worse"),
        ("rebuffer_ratio", -0.03, -0.01, "good is better"),
        ("satisfaction", -0.01, 0.03, "no difference shown"),
        ("load_factor", 0.01, 0.03, "good is higher"),
        ("something_new", -0.03, -0.01, "good is lower"),
        ("satisfaction", np.nan, np.nan, "no verdict"),
    ],
)
def test_verdicts(metric, low, high, words):
    assert words in Difference("good", "other", metric, (low + high) / 2, low, high).verdict()


def test_a_difference_reads_with_sign_and_unit():
    text = difference_text(Difference("a", "b", "satisfaction", 0.056, 0.031, -0.081)).replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert text == "+5.6 points (+3.1 to \N{MINUS SIGN}8.1 points)"


def test_a_recorded_difference_is_found_either_way_round(compared):
    comparison = open_comparison(compared.directory)
    there = comparison.difference("convex+utility", "frozen", "satisfaction")
    back = comparison.difference("frozen", "convex+utility", "satisfaction")
    assert there is not None and back is not None
    assert (back.mean, back.low, back.high) == (-there.mean, -there.high, -there.low)


def test_less_is_better_where_it_is(compared):
    comparison = open_comparison(compared.directory)
    assert comparison.best("satisfaction") == "convex+utility"
    assert comparison.best("resource_use") == "equal+round_robin"


def test_a_failed_seed_is_left_out_and_named(tmp_path):
    path = write_compare(tmp_path) / "compare.json"
    content = json.loads(path.read_text())
    content["policies"]["equal+round_robin"]["satisfaction"][2] = None
    path.write_text(json.dumps(content))
    assert "equal + round robin: 1 seed without a result" in write_comparison(tmp_path).read_text(encoding="utf-8")


def test_figures_without_their_numbers_are_sentences(tmp_path):
    path = write_compare(tmp_path) / "compare.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"differences": [], "bound": {}, "load_factor": []}))
    with pytest.raises(OutputError, match="records no paired differences"):
        plot_differences(tmp_path)
    with pytest.raises(OutputError, match="no policy of this comparison has the metric beauty"):
        plot_metric(tmp_path, "beauty")
    assert "records no paired differences" in write_comparison(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no compare.json"),
        ("{", "is not JSON"),
        ('{"scenario": "x", "seeds": [1]}', "lacks policies"),
        ('{"scenario": "x", "seeds": [1], "policies": {"a": 3}}', "is not a comparison"),
        ('{"scenario": "x", "seeds": ["one"], "policies": {"a": {"satisfaction": [1]}}}', "is not a comparison"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "compare.json").write_text(content)
    with pytest.raises(OutputError, match=words):
        write_comparison(tmp_path)
