import json
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

from twinloop.errors import DataError
from twinloop.learning import LEVELS, Quantity, load_emulator
from twinloop.training import (
    EmulatorSettings,
    Samples,
    Sequence,
    SequenceSet,
    forecast_candidates,
    point_weights,
    samples_of,
    solve_ridge,
    sums_of,
    train_and_save,
    train_emulators,
    tuned_ridge,
)
from twinloop.training.forecasting.linear import weighted_quantiles
from twinloop.training.forecasting.stacking import Unseen, shares, width_factors

TINY = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=20, batch=8)
FILES = 6


def source(changed: int | None = None, steps: int = 70) -> SequenceSet:
    """Files of y' = .8 y + noise whose size a covariate foretells; one of them different if asked."""
    sequences = []
    for file in range(FILES):
        draw = np.random.default_rng(file)
        loud = draw.random(steps) < 0.5
        value = np.zeros(steps)
        for step in range(1, steps):
            value[step] = 0.8 * value[step - 1] + draw.normal() * (2.0 if loud[step - 1] else 0.2)
        value = 10.0 + value if file != changed else 50.0 - 3 * value
        sequences.append(Sequence(f"file {file}", value, loud[:, None].astype(float), np.ones(steps, bool)))
    form = Quantity(resolution=0.01, lags=4)
    return SequenceSet("made", "y", "m", 2.0, "2 s", ("loud",), form, -np.inf, np.inf, tuple(sequences))


@pytest.fixture(scope="module")
def samples() -> Samples:
    return samples_of(source(), (1, 4))


@pytest.fixture(scope="module")
def trained(samples: Samples):
    return train_emulators(0, samples, [np.arange(4)], TINY)[0]


def test_ridge_without_penalty_is_least_squares(samples: Samples) -> None:
    sums = sums_of(samples)
    files = np.arange(3)
    weights = solve_ridge(sums, files, np.full(2, 1e-9), [0, 1, 2])
    root = np.sqrt(point_weights(samples, files)[..., 0] / samples.entity_std[:, None, 0] ** 2)
    kept = root > 0
    x, y = samples.linear[:, :, 0, :3][kept], (samples.truth[..., 0] - samples.last)[kept]
    wanted = np.linalg.lstsq(x * root[kept][:, None], y * root[kept], rcond=None)[0]
    np.testing.assert_allclose(weights[0, :3], wanted, rtol=1e-3)
    assert (weights[:, 3:] == 0).all()
    direct = np.sum(root[kept] ** 2 * (y - x @ wanted) ** 2) / 3
    assert sums.error(weights, files)[0] == pytest.approx(direct, rel=1e-3)


def test_a_great_penalty_leaves_the_best_level_or_the_last_value(samples: Samples) -> None:
    sums, files = sums_of(samples), np.arange(4)
    huge = np.full(2, 1e9)
    assert np.abs(solve_ridge(sums, files, huge)).max() < 1e-6
    around = solve_ridge(sums, files, huge, around=range(3, 10))
    alone = np.eye(samples.linear.shape[-1])[3:10]
    errors = [sums.error(np.stack([one, one]), files) for one in (*alone, 0 * alone[0])]
    np.testing.assert_allclose(sums.error(around, files), np.min(errors, axis=0), rtol=1e-4)
    ridge, error = tuned_ridge(sums, [(np.arange(3), np.array([3]))])
    assert ridge.shape == error.shape == (2,) and (error < sums.change[3]).all()


def test_weighted_quantiles_follow_the_weights() -> None:
    values = np.array([3.0, 1.0, 2.0])
    assert weighted_quantiles(values, np.array([1.0, 1.0, 98.0]), [0.005, 0.5, 0.999]).tolist() == [1.0, 2.0, 3.0]


def unseen(wide: float, points: int = 3000) -> Unseen:
    """A good candidate and a bad one; both say intervals `wide` times what is true."""
    draw = np.random.default_rng(1)
    truth = draw.normal(size=points)
    quantiles = wide * np.quantile(draw.normal(size=20_000), LEVELS)
    mean = np.stack([np.zeros(points), np.full(points, 4.0)], axis=1)
    every = np.ones(points)
    return Unseen(mean, mean[..., None] + quantiles, truth, every, every / points)


def test_shares_go_to_the_candidate_that_is_right() -> None:
    mean_share, share = shares([unseen(1.0), unseen(1.0)])
    np.testing.assert_allclose(mean_share, [[1, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(share, [[1, 0], [1, 0]], atol=1e-6)


def test_widths_are_set_so_that_intervals_hold() -> None:
    points = unseen(0.5)
    quantiles = points.quantiles[:, 0]
    factor = width_factors(quantiles, points.truth, points.weight)
    assert factor[0] == pytest.approx(2.0, abs=0.15) and factor[-1] == pytest.approx(2.0, abs=0.15)
    middle = quantiles[:, 9, None]
    wide = middle + factor * (quantiles - middle)
    assert np.mean((points.truth >= wide[:, 0]) & (points.truth <= wide[:, -1])) == pytest.approx(0.9, abs=0.01)


def test_a_file_outside_the_training_files_changes_nothing(samples: Samples, trained) -> None:
    other = samples_of(source(changed=5), (1, 4))
    assert not np.allclose(other.value, samples.value)
    again = train_emulators(0, other, [np.arange(4)], TINY)[0]
    said, wanted = (forecast_candidates(one.emulator, samples, np.array([4])) for one in (again, trained))
    np.testing.assert_array_equal(said.quantiles, wanted.quantiles)
    np.testing.assert_array_equal(again.emulator.share, trained.emulator.share)


def test_what_the_covariate_foretells_makes_intervals_narrow_and_wide() -> None:
    samples = samples_of(source(steps=240), (1, 4))
    longer = EmulatorSettings(kinds=("gru",), hidden=4, members=2, steps=300, batch=16, learning_rate=1e-2)
    emulator = train_emulators(0, samples, [np.arange(4)], longer)[0].emulator
    said = emulator.combined(forecast_candidates(emulator, samples, np.array([4, 5])))
    width = np.asarray(said.quantiles[..., 0, -1] - said.quantiles[..., 0, 0])
    counted = samples.valid[4:6, :, 0]
    loud = samples.covariates[4:6, :, 0] > 0
    ratio = width[counted & loud].mean() / width[counted & ~loud].mean()
    assert ratio > 1.5


def test_a_saved_emulator_has_a_card_that_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "y.safetensors"
    told: list[str] = []
    train_and_save(source(), out, horizons=(4, 1), settings=TINY, seed=0, command="twinloop x", progress=told.append)
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["attribute"] == "y" and card["unit"] == "m" and card["horizons"] == [1, 4] and card["step_s"] == 2.0
    assert card["data"]["files"] == [f"file {k}" for k in range(FILES)] and card["command"] == "twinloop x"
    assert 0 < card["metrics_on_unseen_files"]["1"]["rmse_over_std"] < 1.2
    assert 0.4 < card["normalisation"]["loud"]["mean"] < 0.6
    assert load_emulator(out, attribute="y").horizons == (1, 4) and len(told) == 2


def still(count: int) -> SequenceSet:
    """The set with its first files constant."""
    whole = source()
    constant = [replace(one, value=np.full(len(one.value), 3.0)) for one in whole.sequences[:count]]
    return replace(whole, sequences=(*constant, *whole.sequences[count:]))


def test_training_tells_what_it_left_out(tmp_path: Path, monkeypatch, trained) -> None:
    monkeypatch.setattr("twinloop.training.forecasting.saving.train_emulators", lambda *_: [trained])
    told: list[str] = []
    out = tmp_path / "y.safetensors"
    train_and_save(still(2), out, horizons=(1,), settings=TINY, seed=0, command="", progress=told.append)
    assert told == ["2 of 6 sequences left out: file 0 is constant (3), file 1 is constant (3)"]
    left_out = json.loads(out.with_suffix(".json").read_text())["data"]["left_out"]
    assert left_out == ["file 0 is constant (3)", "file 1 is constant (3)"]


@pytest.mark.parametrize("what", ["score", "weight"])
def test_what_did_not_converge_is_not_saved(tmp_path: Path, monkeypatch, trained, what: str) -> None:
    if what == "score":
        broken = replace(trained, metrics={"1": {"rmse_over_std": float("nan")}})
    else:
        spoilt = jax.tree.map(lambda leaf: leaf * np.nan if eqx.is_inexact_array(leaf) else leaf, trained.emulator)
        broken = replace(trained, emulator=spoilt)
    monkeypatch.setattr("twinloop.training.forecasting.saving.train_emulators", lambda *_: [broken])
    with pytest.raises(DataError, match=r"made: training did not converge \((rmse_over_std of 1 is nan|weights)"):
        train_and_save(source(), tmp_path / "y.safetensors", horizons=(1,), settings=TINY, seed=0, command="")
    assert not list(tmp_path.iterdir())


def test_sets_without_enough_to_learn_from_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 of 6 files or blocks can be used: file 3 is constant \(3\)"):
        samples_of(still(4), (1,))
    with pytest.raises(DataError, match=r"at least 60 are needed for 50 steps"):
        samples_of(source(steps=50), (50,))
