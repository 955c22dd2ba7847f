"""`evaluate_generation`: which data set is judged how."""

from collections.abc import Callable
from pathlib import Path

from twinloop.errors import DataError
from twinloop.studies.evaluate.generation.crowds import evaluate_crowds
from twinloop.studies.evaluate.generation.series import evaluate_series
from twinloop.studies.evaluate.judgement import Judgement
from twinloop.training import RECORDED_LINKS

SCENES = "scenes"
GENERATION_SETS = (*RECORDED_LINKS, SCENES)


def evaluate_generation(
    data: Path,
    dataset: str = "irish5g",
    model: Path | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda told: None,
) -> Judgement:
    """Generators of `dataset` (see GENERATION_SETS) against recordings that no generator was fitted to.

    `model` is a generator that `twinloop train generator` saved, judged in place of one fitted now. Raises DataError
    and ModelError where data or model cannot be used.
    """
    if dataset not in GENERATION_SETS:
        raise DataError("--dataset", f"{dataset!r}", f"one of {', '.join(GENERATION_SETS)}")
    if dataset == SCENES:
        if model is not None:
            raise DataError("--model", "generators of scenes are not read from files", "a data set of links with it")
        return evaluate_crowds(data, seed, progress)
    return evaluate_series(data, dataset, model, seed, progress)
