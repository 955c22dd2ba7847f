from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.learning import LEVELS, Quantity
from twinloop.studies import evaluate_emulation
from twinloop.studies.evaluate.emulation.baselines import Baselines
from twinloop.studies.evaluate.emulation.folds import DEFAULT, folds_of
from twinloop.studies.evaluate.emulation.judgement import _method
from twinloop.studies.evaluate.emulation.scoring import Bootstrap, Scores
from twinloop.training import (
    EmulatorSettings,
    Samples,
    Sequence,
    SequenceSet,
    load_sequences,
    samples_of,
    sums_of,
)

TINY = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=20, batch=8)


def source(*, walk: bool = False, periods: tuple[int, ...] = (), files: int = 6, steps: int = 60) -> SequenceSet:
    sequences = []
    for file in range(files):
        draw = np.random.default_rng(file)
        if walk:
            value = np.cumsum(np.cumsum(draw.normal(size=steps)))
        elif periods:
            value = 5 + 3 * np.sin(2 * np.pi * np.arange(steps) / periods[0]) + 0.1 * draw.normal(size=steps)
        else:
            value = 8 + draw.normal(size=steps)
        sequences.append(Sequence(f"f{file}", value, np.zeros((steps, 0)), np.ones(steps, bool)))
    form = Quantity(resolution=0.01, lags=4, wanders=walk, periods=periods)
    return SequenceSet("made", "y_m", "m", 1.0, "1 s", (), form, -np.inf, np.inf, tuple(sequences))


def forecasts(samples: Samples) -> dict[str, np.ndarray]:
    files = np.arange(len(samples.files))
    fitted = Baselines(samples, sums_of(samples)).fitted(files[:4], [(files[:2], files[2:4])])
    return {name: plain.mean for name, plain in fitted.items()}


def error(samples: Samples, mean: np.ndarray, horizon: int = 0) -> float:
    kept = samples.valid[4:, :, horizon]
    return float(np.mean((samples.truth[4:] - mean[4:])[..., horizon][kept] ** 2))


def test_baselines_of_noise_average_it() -> None:
    samples = samples_of(source(), (1, 3))
    made = forecasts(samples)
    errors = {name: error(samples, mean) for name, mean in made.items()}
    assert set(errors) == {"last value", "EWMA", "Kalman, local level", "linear autoregression", "training mean"}
    assert errors["last value"] > 1.6 * errors["EWMA"] and errors["training mean"] < errors["EWMA"] * 1.1
    assert errors["Kalman, local level"] < 0.7 * errors["last value"]


def test_constant_velocity_follows_a_walk() -> None:
    samples = samples_of(source(walk=True), (1, 3))
    errors = {name: error(samples, mean, 1) for name, mean in forecasts(samples).items()}
    assert errors["Kalman, constant velocity"] < 0.4 * errors["last value"]
    assert "training mean" not in errors


def test_seasons_are_known() -> None:
    samples = samples_of(source(periods=(12,)), (1, 3))
    errors = {name: error(samples, mean, 1) for name, mean in forecasts(samples).items()}
    for name in ("one season before", "seasonal mean", "seasonal autoregression"):
        assert errors[name] < 0.05 * errors["last value"]


def test_scores_are_those_computed_by_hand() -> None:
    samples = samples_of(source(), (1, 3))
    scores = Scores.empty(samples)
    mean = np.full((1, 60, 2), 8.0, np.float32)
    quantiles = mean[..., None] + np.linspace(-1.0, 1.0, len(LEVELS)).astype(np.float32)
    scores.fill(samples, np.array([2]), mean, quantiles, samples.valid[[2]])
    truth = samples.truth[2, :, 0][samples.valid[2, :, 0]]
    std = np.std(samples.value[2][samples.measured[2]])
    assert scores.squared[2, 0] == pytest.approx(np.mean((truth - 8) ** 2) / std**2, rel=1e-4)
    assert scores.inside[2, 0, 0] == pytest.approx(np.mean(np.abs(truth - 8) <= 1), abs=1e-6)
    assert np.isnan(scores.crps[0]).all() and 0 < scores.crps[2, 0] < 1
    assert scores.pinball[2, 0] == pytest.approx(scores.crps[2, 0] * 10 / len(LEVELS))


def test_paired_resamples_know_a_small_difference() -> None:
    draw = np.random.default_rng(0)
    theirs = draw.random(40) + 0.5
    better = Bootstrap(40, 0).relative(0.9 * theirs, theirs)
    assert better.value == pytest.approx(-0.1) and better.high < -0.09
    same = Bootstrap(40, 0).relative(theirs[::-1], theirs)
    assert same.low < 0 < same.high
    assert Bootstrap(40, 0).relative(0.81 * theirs, theirs, root=True).value == pytest.approx(-0.1)


def test_folds_part_the_files() -> None:
    samples = samples_of(source(), (1,))
    folds = folds_of(samples, 4, 0)
    assert sorted(np.concatenate(folds).tolist()) == list(range(6))
    for wrong in (1, 7):
        with pytest.raises(DataError, match=r"--split . *; expected a number of folds from 2 to 6"):
            folds_of(samples, wrong, 0)


def test_a_judgement_has_every_model_at_every_horizon_and_says_what_was_claimed(tmp_path: Path) -> None:
    told: list[str] = []
    judged = evaluate_emulation(source(), horizons=(3, 1), split=2, settings=TINY, progress=told.append)
    assert judged.rows[0].names == ("1", DEFAULT)
    assert not any("left out" in line for line in judged.method)
    models = {row.names[1] for row in judged.rows if row.names[0] == "3"}
    assert {
        DEFAULT,
        "last value",
        "EWMA",
        "candidate: gru",
        "gru, recursive (some steps)",
        "candidate: linear",
    } <= models
    assert len(judged.claims) == 5 and len(told) == 3
    for row in judged.rows:
        assert 0 < row.values["CRPS / std"].value < 2 and 0 <= row.values["coverage of 90 %"].value <= 1
    worse = judged.claims[0]
    assert worse.holds == (worse.measured.low <= 0.01)
    ratio = judged.estimate("RMSE / std", "1", DEFAULT).value / min(
        judged.estimate("RMSE / std", *row.names).value
        for row in judged.rows
        if row.names[0] == "1" and row.role == "baseline"
    )
    assert worse.measured.value == pytest.approx(ratio - 1, abs=1e-6)
    names = {path.name for path in judged.save(tmp_path)}
    assert names == {f"emulation_made_{what}.png" for what in ("bands", "scores", "reliability")}


def test_a_judgement_says_which_files_it_left_out() -> None:
    whole = source()
    still = replace(whole.sequences[0], value=np.full(60, 3.0))
    samples = samples_of(replace(whole, sequences=(still, *whole.sequences[1:])), (1,))
    assert "1 of 6 sequences left out: f0 is constant (3)" in _method(samples, TINY, 2)


@pytest.mark.data
def test_measured_traces_are_forecast_better_than_by_their_last_value(data_dir: Path) -> None:
    whole = load_sequences("oboe", data_dir)
    few = SequenceSet(**{**vars(whole), "sequences": whole.sequences[:24]})
    settings = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=40, batch=16)
    judged = evaluate_emulation(few, horizons=(1, 5), split=2, settings=settings)
    for horizon in ("1", "5"):
        ours = judged.estimate("CRPS / std", horizon, DEFAULT).value
        assert ours < 0.95 * judged.estimate("CRPS / std", horizon, "last value").value
        assert 0.75 < judged.estimate("coverage of 90 %", horizon, DEFAULT).value < 0.98
