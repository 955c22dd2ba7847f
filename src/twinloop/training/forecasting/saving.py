"""An emulator trained on every file of a set, as weights with a card that says what it is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twinloop.learning import save_emulator
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

    Raises DataError for what cannot be trained on and OutputError where `out` cannot be written.
    """
    samples = samples_of(source, tuple(sorted(set(horizons))))
    (trained,) = train_emulators(seed, samples, [np.arange(len(samples.files))], settings, progress)
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
        "data": {"name": source.name, "files": list(samples.files)},
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
