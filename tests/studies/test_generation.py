"""Scores of generated series say what they should of copies, of forgetful and of perfect generators."""

import json
from dataclasses import replace

import numpy as np
import pytest

from twinloop.errors import DataError, ModelError
from twinloop.studies import evaluate_generation
from twinloop.studies.evaluate.generation import scores as scoring
from twinloop.studies.evaluate.generation import series as judged
from twinloop.studies.evaluate.generation.prospects import Foreseen
from twinloop.studies.evaluate.generation.verdicts import FITTED, GAN, HELD_OUT, claims, mean_ranks
from twinloop.training import GENERATORS, fit_gan, held_out_files, load_windows, save_source

FILES, PER_FILE, STEPS = 8, 40, 64


def remembering(seed, count, memory=0.9):
    draw = np.random.default_rng(seed)
    now, found = draw.normal(size=count), []
    for _ in range(STEPS):
        now = memory * now + np.sqrt(1 - memory**2) * draw.normal(size=count)
        found.append(now)
    return np.stack(found, axis=1)[:, :, None]


@pytest.fixture(scope="module")
def held():
    count = FILES * PER_FILE
    file = np.repeat(np.arange(FILES), PER_FILE)
    return scoring.Held(
        series=remembering(0, count),
        label=file % 2,
        file=file,
        fitted=remembering(1, count),
        fitted_label=file % 2,
        weight=scoring.resampled_files(np.arange(FILES) % 2, 0, 100),
    )


@pytest.fixture(scope="module")
def others(held):
    count = len(held.label)
    return {
        "alike": remembering(2, count),
        "forgetful": remembering(3, count, memory=0.3),
        "shifted": remembering(4, count) + 1.0,
    }


def told_apart(held, made):
    return scoring.discriminative(held, scoring.series_features(held.series), scoring.series_features(made), 0)


def test_trees_tell_what_differs_and_not_what_does_not(held, others):
    found = {name: told_apart(held, made) for name, made in others.items()}
    assert found["alike"].value < 0.08 < 0.25 < min(found["forgetful"].value, found["shifted"].value)
    assert found["alike"].estimate.low <= found["alike"].value <= found["shifted"].estimate.high


def test_each_distance_sees_its_own_fault(held, others):
    memory = {name: scoring.autocorrelation_distance(held, made).value for name, made in others.items()}
    margin = {name: scoring.marginal_distance(held, made).value for name, made in others.items()}
    assert memory["alike"] < 0.1 < 0.2 < memory["forgetful"]
    assert max(margin["alike"], margin["forgetful"]) < 0.12 < 0.3 < margin["shifted"]
    assert scoring.autocorrelation_distance(held, held.series).value == 0.0


def test_a_predictor_learned_from_forgetful_series_errs_more(held, others):
    real, alike, forgetful = (
        scoring.prediction_error(held, one, 1) for one in (held.fitted, others["alike"], others["forgetful"])
    )
    assert real.value == pytest.approx(np.sqrt(1 - 0.81), abs=0.05)
    assert abs(alike.over(real).value - 1.0) < 0.03 < 0.1 < forgetful.over(real).value - 1.0
    further = scoring.prediction_error(held, held.fitted, 5)
    assert further.value > real.value + 0.2


def test_copies_are_found(held, others):
    copies = held.fitted[np.random.default_rng(0).permutation(len(held.fitted))]
    copies[held.label == 0], copies[held.label == 1] = held.fitted[held.label == 0], held.fitted[held.label == 1]
    assert scoring.nearest_ratio(held, copies).value < 1e-3
    assert scoring.nearest_ratio(held, others["alike"]).value == pytest.approx(1.0, abs=0.05)


def test_files_are_resampled_within_their_class(held):
    weight = scoring.resampled_files(np.array([0, 0, 0, 1]), 0, 50)
    assert np.all(weight[0] == 1) and np.all(weight[:, 3] == 1) and np.all(weight[:, :3].sum(axis=1) == 3)
    assert len(np.unique(weight[:, 0])) > 1


def test_paired_differences_are_narrower_than_their_parts():
    draw = np.random.default_rng(0)
    common = draw.normal(size=200)
    a = scoring.Score(1.0, 1.0 + common)
    b = scoring.Score(0.5, 0.5 + common + 0.01 * draw.normal(size=200))
    gap = a.less(b).estimate
    assert gap.value == 0.5 and gap.high - gap.low < 0.1 < a.estimate.high - a.estimate.low


def test_claims_are_decided_by_intervals_and_may_fail():
    def score(value):
        return scoring.Score(value, np.full(50, value))

    metrics = {"a": 0.2, "e": 0.5, "nearest-neighbour ratio": 1.0}
    good = {name: {metric: score(value) for metric, value in metrics.items()} for name in (FITTED, GAN, "plain")}
    worse = good | {GAN: good[GAN] | {"a": score(0.3), "e": score(0.6), "nearest-neighbour ratio": score(0.1)}}
    outcome = np.linspace(0, 1, 101)
    lived = {name: {"x": Foreseen(outcome)} for name in (HELD_OUT, GAN, "plain")}
    narrow = lived | {"plain": {"x": Foreseen(0.5 + 0.1 * (outcome - 0.5))}}
    for scores, prospects, holds in ((good, lived, [True] * 4), (worse, narrow, [False] * 4)):
        ranks = mean_ranks(scores, ("a", "e"))
        found = claims(scores, prospects, ranks, compared=("a",), learned=("e",), seed=0)
        assert [claim.holds for claim in found] == holds
    assert mean_ranks(good, ("a",)) == {GAN: 1.5, "plain": 1.5}
    assert mean_ranks(worse, ("a",)) == {GAN: 2.0, "plain": 1.0}


def test_an_unknown_set_and_a_missing_one_are_errors_of_one_line(tmp_path):
    with pytest.raises(DataError, match=r"one of irish5g, norway_hsdpa, scenes"):
        evaluate_generation(tmp_path, "oboe")
    with pytest.raises(DataError, match=r"norway_hsdpa"):
        evaluate_generation(tmp_path, "norway_hsdpa")
    with pytest.raises(DataError, match=r"not read from files"):
        evaluate_generation(tmp_path, "scenes", tmp_path / "model.safetensors")


@pytest.fixture(scope="module")
def norway(data_dir):
    return load_windows(data_dir, "norway_hsdpa")


@pytest.mark.data
def test_generators_are_judged_on_files_they_never_saw(data_dir, norway, tmp_path, monkeypatch):
    """A barely trained GAN in a file is told apart, and loses to both simple generators."""
    fitted = norway.only(~held_out_files(norway.files, norway.file_class())[norway.file])
    path = tmp_path / "gan.safetensors"
    save_source(path, fit_gan(fitted, 0, steps=1), fitted, {})
    monkeypatch.setattr(judged, "ENVIRONMENTS", 8)
    told: list[str] = []
    found = evaluate_generation(data_dir, "norway_hsdpa", path, progress=told.append)
    assert not any("fitting gan" in line for line in told)
    assert found.numbers["files_judged_on"] + found.numbers["files_fitted"] == len(np.unique(norway.file))
    score = {name: found.estimate("value", "discriminative score", name).value for name in (FITTED, *GENERATORS)}
    assert score[GAN] > 0.4 > 0.2 > max(score["autoregression"], score[FITTED])
    assert not found.claims[0].holds and found.numbers["mean_rank_gan"] > 2.5
    assert 0.8 < found.estimate("value", "nearest-neighbour ratio", "block_bootstrap").value < 1.2
    assert {path.name for path in found.save(tmp_path)} == {
        f"generation_norway_hsdpa_{name}.png" for name in ("statistics", "series", "prospects")
    }
    assert json.loads(found.to_json())["passed"] is False


@pytest.mark.data
def test_a_model_fitted_to_what_it_is_judged_on_is_refused(data_dir, norway, tmp_path):
    path = tmp_path / "all.safetensors"
    save_source(path, fit_gan(replace(norway, value=norway.value), 0, steps=1), norway, {})
    with pytest.raises(ModelError, match=r"it was fitted to norway_.* on which it would be judged"):
        evaluate_generation(data_dir, "norway_hsdpa", path)
