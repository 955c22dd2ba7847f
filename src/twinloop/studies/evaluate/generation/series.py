"""Generators of link series against recorded series of files that none of them was fitted to."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from twinloop.errors import DataError, ModelError
from twinloop.studies.evaluate.generation.drawings import draw_prospects, draw_series, draw_statistics
from twinloop.studies.evaluate.generation.prospects import (
    ENVIRONMENTS,
    PREMIUM_SHARES,
    Foreseen,
    Stage,
    build_stage,
    people_of,
    prospects,
)
from twinloop.studies.evaluate.generation.scores import (
    Held,
    Score,
    autocorrelation_distance,
    discriminative,
    marginal_distance,
    nearest_ratio,
    prediction_error,
    resampled_files,
    scaled,
    series_features,
)
from twinloop.studies.evaluate.generation.verdicts import (
    DISCRIMINATIVE,
    FITTED,
    HELD_OUT,
    NEAREST,
    claims,
    mean_ranks,
    prospect_rows,
    score_rows,
)
from twinloop.studies.evaluate.judgement import Judgement
from twinloop.training import GENERATORS, AbstractSource, Windows, held_out_files, load_source, load_windows

AUTOCORRELATION = "autocorrelation distance"
MARGINAL = "KS distance of values"
ONE_AHEAD = "error 1 step ahead"
FIVE_AHEAD = "error 5 steps ahead"
RANKED = (DISCRIMINATIVE, AUTOCORRELATION, MARGINAL, ONE_AHEAD, FIVE_AHEAD)

Series = Float64[np.ndarray, "_ steps channels"]
Progress = Callable[[str], None]


def evaluate_series(data: Path, dataset: str, model: Path | None, seed: int, progress: Progress) -> Judgement:
    """Every generator against the third of the files of `dataset` that none was fitted to.

    `model` replaces the generator of its method by one that `twinloop train generator` saved. Raises DataError when the
    set is absent or has too few files, ModelError when the model is of another set or was fitted to files judged on.
    """
    windows = load_windows(data, dataset)
    kept = held_out_files(windows.files, windows.file_class())[windows.file]
    if not kept.any():
        raise DataError(data / dataset, f"{len(windows.files)} files, none is left to judge by", "two files of a class")
    fitted, unseen = windows.only(~kept), windows.only(kept)
    sources = _sources(fitted, unseen, model, seed, progress)
    progress("scoring what they draw")
    made = {name: _drawn(source, unseen.label, seed + 1) for name, source in sources.items()}
    held = _held(fitted, unseen, seed)
    beside = _beside(held, fitted, unseen, made, seed)
    learned = {FITTED: held.fitted}
    for name, source in sources.items():
        learned[name] = scaled(_drawn(source, fitted.label, seed + 2), fitted.value)
    scores = _scores(held, beside, learned, seed)
    progress("living through what they draw")
    stage = build_stage(float(np.median(fitted.value[..., 0])))
    lived = _lived(stage, sources, unseen, seed)
    ranks = mean_ranks(scores, RANKED)
    return Judgement(
        title=f"Generation: {dataset}, {', '.join(windows.classes)}",
        labels=("quantity", "from"),
        rows=(*score_rows(scores), *prospect_rows(lived, seed)),
        claims=claims(scores, lived, ranks, compared=RANKED[:3], learned=(ONE_AHEAD, FIVE_AHEAD), seed=seed),
        numbers={
            "files_fitted": float(len(np.unique(fitted.file))),
            "files_judged_on": float(len(np.unique(unseen.file))),
            "windows_judged_on": float(unseen.count),
            **{f"mean_rank_{name}": rank for name, rank in ranks.items()},
        },
        method=_method(windows, stage),
        figures={
            f"generation_{dataset}_statistics.png": partial(draw_statistics, held, beside),
            f"generation_{dataset}_series.png": partial(draw_series, unseen, made),
            f"generation_{dataset}_prospects.png": partial(draw_prospects, lived, "environments"),
        },
    )


def _sources(
    fitted: Windows, unseen: Windows, model: Path | None, seed: int, progress: Progress
) -> dict[str, AbstractSource]:
    loaded: dict[str, AbstractSource] = {}
    if model is not None:
        source, card = load_source(model, fitted)
        judged = {unseen.files[row] for row in np.unique(unseen.file)}
        if shared := sorted(judged & set(card.get("fitted_on", []))):
            raise ModelError(model, f"it was fitted to {shared[0]}, on which it would be judged", "other files")
        loaded[card["method"]] = source
    for name, fit in GENERATORS.items():
        if name not in loaded:
            progress(f"fitting {name.replace('_', ' ')} to {fitted.count} windows")
            loaded[name] = fit(fitted, seed)
    return {name: loaded[name] for name in GENERATORS}


def _drawn(source: AbstractSource, label: Int64[np.ndarray, " windows"], seed: int) -> Series:
    return np.asarray(source.draw(jax.random.key(seed), jnp.asarray(label, jnp.int32)), np.float64)


def _held(fitted: Windows, unseen: Windows, seed: int) -> Held:
    return Held(
        series=scaled(unseen.value, fitted.value),
        label=unseen.label,
        file=unseen.file,
        fitted=scaled(fitted.value, fitted.value),
        fitted_label=fitted.label,
        weight=resampled_files(unseen.file_class(), seed),
    )


def _beside(held: Held, fitted: Windows, unseen: Windows, made: Mapping[str, Series], seed: int) -> dict[str, Series]:
    """Series to lay beside the held-out ones, class by class: first recorded ones of the fit, then drawn ones."""
    draw = np.random.default_rng(seed)
    alike = [np.flatnonzero(fitted.label == kind) for kind in unseen.label]
    pick = np.array([draw.choice(rows if len(rows) else np.arange(fitted.count)) for rows in alike])
    return {FITTED: held.fitted[pick]} | {name: scaled(one, fitted.value) for name, one in made.items()}


def _scores(
    held: Held, beside: Mapping[str, Series], learned: Mapping[str, Series], seed: int
) -> dict[str, dict[str, Score]]:
    """Every score by source; the first is of fitted recorded windows, the floor that files set."""
    found = {
        name: {
            DISCRIMINATIVE: discriminative(held, series_features(held.series), series_features(one), seed),
            AUTOCORRELATION: autocorrelation_distance(held, one),
            MARGINAL: marginal_distance(held, one),
            ONE_AHEAD: prediction_error(held, learned[name], 1),
            FIVE_AHEAD: prediction_error(held, learned[name], 5),
            NEAREST: nearest_ratio(held, one),
        }
        for name, one in beside.items()
    }
    del found[FITTED][NEAREST]
    return found


def _lived(
    stage: Stage, sources: Mapping[str, AbstractSource], unseen: Windows, seed: int
) -> dict[str, dict[str, Foreseen]]:
    """What decisions bring, by source of the environments; classes of links as often as they were recorded."""
    people = people_of(unseen.label, ENVIRONMENTS * stage.users, seed + 3)
    label = unseen.label[people_of(unseen.label, ENVIRONMENTS * stage.users, seed + 4)]
    lived = {HELD_OUT: prospects(stage, unseen.value[people], seed)}
    for name, source in sources.items():
        lived[name] = prospects(stage, _drawn(source, label, seed + 5), seed + 1)
    return lived


def _method(windows: Windows, stage: Stage) -> tuple[str, ...]:
    return (
        f"windows of {windows.value.shape[1]} s, {', '.join(windows.channels)}; a third of every class's files is kept "
        "to judge by, settings are chosen on the last quarter of the fitted files",
        f"{FITTED}: recorded windows of the fit beside held-out ones, what real files of the same class score; "
        "repeating them whole would be memory, not generation, as are pieces of them (block_bootstrap)",
        f"{DISCRIMINATIVE}: |accuracy - 1/2| of boosted trees on other files, means of 2 s; {AUTOCORRELATION}: lags 0 "
        "to 16 s; errors: ridge regression on 16 s of drawn series, tested on held-out ones, over their deviation",
        f"{NEAREST}: distance to the nearest fitted window over that of held-out windows; near 0 is a copy",
        "intervals of scores: 90 % over resampled held-out files, the same for all; a class with one held-out file "
        "adds no spread",
        f"decisions: {', '.join(f'{name} ({share:g})' for name, share in PREMIUM_SHARES.items())} of one cell for the "
        f"premium slice, {stage.users} people, links scaled to a load factor of 1 at the fitted median rate; the "
        "interval holds 90 % of environments, its coverage is the share of recorded ones inside",
        "mean rank: over " + ", ".join(RANKED) + "; 1 is best",
    )
