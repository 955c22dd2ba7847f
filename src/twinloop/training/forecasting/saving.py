"""An emulator trained on every file of a set, as weights with a card that says what it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from twinloop.errors import DataError
from twinloop.learning import Emulator, save_emulator
from twinloop.training.forecasting.samples import WARM_UP, samples_of
from twinloop.training.forecasting.sequences import SequenceSet
from twinloop.training.forecasting.train import EmulatorSettings, Progress, TrainedEmulator, train_emulators


def train_and_save(
    source: SequenceSet,
    out: Path,
    *,
    horizons: Sequence[int],
    settings: EmulatorSettings,
    seed: int,
    command: str,
    progress: Progress = lambda _: None,
) -> TrainedEmulator:
    """Train on all files of `source` and write `out` with its card beside it.

    Raises DataError for what cannot be trained on and where training did not converge, OutputError where `out` cannot
    be written.
    """
    samples = samples_of(source, tuple(sorted(set(horizons))))
    if (few := samples.told_left_out) is not None:
        progress(few)
    (trained,) = train_emulators(seed, samples, [np.arange(len(samples.files))], settings, progress)
    check_converged(source.name, trained.emulator, trained.metrics)
    known = np.isfinite(samples.covariates) & samples.measured[..., None]
    count = np.maximum(known.sum(axis=(0, 1)), 1)
    mean = np.where(known, samples.covariates, 0.0).sum(axis=(0, 1)) / count
    std = np.sqrt(np.where(known, (samples.covariates - mean) ** 2, 0.0).sum(axis=(0, 1)) / count)
    about = {
        "attribute": source.attribute,
        "unit": source.unit,
        "covariates": list(source.covariates),
        "step_s": source.step_s,
        "step": source.step,
        "horizons": list(samples.horizons),
        "warm_up_reports": WARM_UP,
        "data": {"name": source.name, "files": list(samples.files), "left_out": list(samples.left_out)},
        "normalisation": {
            name: {"mean": float(middle), "std": float(spread)}
            for name, middle, spread in zip(source.covariates, mean, std, strict=True)
        },
        "metrics_on_unseen_files": trained.metrics,
        "training": {**vars(settings), "seed": seed},
        "command": command,
    }
    save_emulator(out, trained.emulator, about)
    return trained


def check_converged(name: str, emulator: Emulator, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Raises DataError, naming the data, where a score (by horizon or attribute) or a weight is not finite."""
    wrong = [f"{metric} of {of} is {score}" for of, each in metrics.items() for metric, score in each.items()]
    scores = [score for each in metrics.values() for score in each.values()]
    faults = [told for told, score in zip(wrong, scores, strict=True) if not np.isfinite(score)]
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(eqx.filter(emulator, eqx.is_inexact_array))):
        faults.append("weights are not finite")
    if faults:
        problem = f"training did not converge ({faults[0]}); nothing was saved"
        raise DataError(name, problem, "values of ordinary size; rescale them, or look for outliers")
