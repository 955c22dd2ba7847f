"""Policies meet the same worlds; differences are paired; bound and spoiled twins stand beside them."""

import json

import jax
import numpy as np
import pytest
from scipy import stats

from twinloop import runs
from twinloop.errors import OutputError, ScenarioError
from twinloop.scenario import Policy, build_loop

POLICIES = ("equal+round_robin", "convex+utility")


@pytest.fixture(scope="module")
def compared(tiny, programs, tmp_path_factory):
    """Two policies over three seeds with controls from the first minute on, saved; read it only."""
    out = tmp_path_factory.mktemp("compared") / "compare"
    told: list[tuple[int, int]] = []
    early = tiny.model_copy(update={"twin": tiny.twin.model_copy(update={"control_from": 10.0})})
    result = runs.compare(early, POLICIES, seeds=3, out=out, progress=lambda *done: told.append(done))
    return result, out, told


def test_an_interval_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0.8, 0.1, 7).tolist(), rng.normal(0.7, 0.1, 7).tolist()
    mean, low, high = runs.paired_interval(ours, theirs)
    judged = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert mean == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert (low, high) == pytest.approx((judged.low, judged.high))


def test_every_policy_and_control_has_a_figure_for_every_seed(tiny, compared):
    result, _, _ = compared
    assert result["scenario"] == "tiny"
    assert result["seeds"] == [tiny.seed, tiny.seed + 1, tiny.seed + 2]
    assert result["duration_s"] == 120.0
    assert tuple(result["policies"]) == POLICIES
    assert set(result["controls"]) == {f"{POLICIES[0]} ({kind} twins)" for kind in ("shuffled", "frozen")}
    for figures in (result["policies"] | result["controls"]).values():
        assert {"satisfaction", "rebuffer_ratio", "resource_use", "fidelity"} <= set(figures)
        assert all(len(values) == 3 and np.all(np.isfinite(values)) for values in figures.values())
    assert len(result["load_factor"]) == 3 and min(result["load_factor"]) > 0


def test_nobody_beats_the_bound(compared):
    result, _, _ = compared
    achieved = np.array(result["policies"][POLICIES[0]]["satisfaction"])
    bound = np.array(result["bound"]["satisfaction"])
    assert np.all(achieved <= bound + 1e-6) and np.all(bound <= 1.0 + 1e-6)


def test_differences_are_those_of_the_figures(compared):
    result, _, _ = compared
    others = [POLICIES[1], *result["controls"]]
    figures = result["policies"] | result["controls"]
    assert [row["b"] for row in result["differences"] if row["metric"] == "satisfaction"] == others
    for row in result["differences"]:
        assert row["a"] == POLICIES[0]
        expected = runs.paired_interval(figures[row["a"]][row["metric"]], figures[row["b"]][row["metric"]])
        assert (row["mean"], row["low"], row["high"]) == expected
        assert row["low"] <= row["mean"] <= row["high"]


def test_a_spoiled_twin_decides_otherwise_in_every_world(compared):
    result, _, _ = compared
    sound = np.array(result["policies"][POLICIES[0]]["mean_rate_bps"])
    for name, figures in result["controls"].items():
        assert np.all(np.array(figures["mean_rate_bps"]) != sound), name


def test_worlds_differ_between_seeds(compared):
    result, _, _ = compared
    for figures in result["policies"].values():
        assert len(set(figures["mean_rate_bps"])) == 3


def test_a_world_is_one_for_all_policies(tiny):
    plans = [tiny.model_copy(update={"policy": runs.parse_policy(name, tiny.policy)}) for name in POLICIES]
    one, other = (build_loop(plan)[1].plant for plan in plans)
    leaves = (jax.tree.leaves((plant.environment, plant.state)) for plant in (one, other))
    for mine, its in zip(*leaves, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_what_is_returned_is_saved_and_progress_ends_at_the_end(compared):
    result, out, told = compared
    assert json.loads((out / "compare.json").read_text()) == result
    assert [path.name for path in out.iterdir()] == ["compare.json"]
    assert told[-1] == (480, 480)
    assert told == sorted(told)


def test_a_compared_seed_is_the_run_of_that_seed(compared, tiny_run):
    result, _, _ = compared
    figures = result["policies"][tiny_run.summary["policy"]]
    for name in ("satisfaction", "mean_rate_bps", "load_factor", "collected_bits"):
        assert figures[name][0] == pytest.approx(tiny_run.summary[name], rel=1e-3), name


def test_two_comparisons_do_not_share_a_directory(tiny, compared):
    _, out, _ = compared
    before = (out / "compare.json").read_bytes()
    with pytest.raises(OutputError, match="is not empty"):
        runs.compare(tiny, POLICIES, out=out)
    assert (out / "compare.json").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("convex", "reservation+allocation, such as convex+utility"),
        ("convx+utility", "did you mean 'convex'? there are equal, greedy, gain, game, convex, agents"),
        ("equal+utilty", "did you mean 'utility'?"),
        ("equal+zzz", "there are round_robin, proportional_fair, utility"),
        ("a+b+c", "reservation+allocation"),
    ],
)
def test_an_unknown_policy_names_the_known_ones(text, words):
    with pytest.raises(ScenarioError) as caught:
        runs.parse_policy(text, Policy())
    assert words in str(caught.value)


def test_a_policy_keeps_what_it_does_not_name():
    policy = runs.parse_policy("greedy+round_robin", Policy(demand_margin=0.7))
    assert (policy.reservation, policy.allocation, policy.demand_margin) == ("greedy", "round_robin", 0.7)


@pytest.mark.parametrize(("policies", "seeds", "words"), [((), 5, "at least one policy"), (POLICIES, 1, "at least 2")])
def test_a_comparison_of_nothing_is_refused(policies, seeds, words, tiny, tmp_path):
    with pytest.raises(ScenarioError, match=words):
        runs.compare(tiny, policies, seeds=seeds, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
