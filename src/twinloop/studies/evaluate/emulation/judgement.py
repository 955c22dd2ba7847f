"""The judgement of emulators on one data set: rows by horizon and model, claims written before, pictures."""

from collections.abc import Callable, Sequence

import numpy as np

from twinloop.studies.evaluate.emulation.folds import DEFAULT, SCALED, Judged, folds_of, judge
from twinloop.studies.evaluate.emulation.pictures import pictures
from twinloop.studies.evaluate.emulation.scoring import RESAMPLES, Bootstrap
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Role, Row
from twinloop.training import EmulatorSettings, Samples, SequenceSet, samples_of

HORIZONS = (1, 5, 10)
FOLDS = {"irish5g": 11, "norway_hsdpa": 6, "oboe": 5, "kaist_walks": 5, "sutd5g": 8}
_FEW_FOLDS = 6
NOT_WORSE = 0.01
COVERED = (0.85, 0.95)
RMSE, CRPS, PINBALL, COVERAGE = "RMSE / std", "CRPS / std", "pinball / std", "coverage of 90 %"


def evaluate_emulation(
    source: SequenceSet,
    *,
    horizons: Sequence[int] = HORIZONS,
    split: int | None = None,
    settings: EmulatorSettings | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Judgement:
    """Every model and baseline on files it has not seen, and what was claimed of the default emulator.

    `split` is the number of folds (each file alone on Irish 5G). Raises DataError for what cannot be trained on.
    """
    used = EmulatorSettings() if settings is None else settings
    samples = samples_of(source, tuple(sorted(set(horizons))))
    folds = folds_of(
        samples, min(FOLDS.get(source.name, _FEW_FOLDS), len(samples.files)) if split is None else split, seed
    )
    judged = judge(samples, folds, used, seed, progress)
    draws = Bootstrap(len(samples.files), seed)
    best = {metric: [_best(judged, metric, h) for h in range(len(samples.horizons))] for metric in (RMSE, CRPS)}
    rows = _rows(samples, judged, draws)
    return Judgement(
        title=f"Emulation of {source.attribute} on {source.name}, {len(samples.files)} files, {len(folds)} folds",
        labels=("steps ahead", "model"),
        rows=rows,
        claims=_claims(samples, judged, best, draws),
        numbers=_numbers(samples, judged, best, draws),
        method=_method(samples, used, len(folds)),
        figures=pictures(samples, judged, rows, best[CRPS]),
    )


def _best(judged: Judged, metric: str, horizon: int) -> str:
    """The baseline of lowest score on the judged files themselves: chosen in their favour."""
    name = {RMSE: "squared", CRPS: "crps"}[metric]
    return min(judged.baselines, key=lambda one: np.nanmean(getattr(judged.scores[one], name)[:, horizon]))


def _rows(samples: Samples, judged: Judged, draws: Bootstrap) -> tuple[Row, ...]:
    rows: list[Row] = []
    for index, horizon in enumerate(samples.horizons):
        for name, scores in judged.scores.items():
            role: Role = "baseline" if name in judged.baselines else "proposed" if name == DEFAULT else "reference"
            values = {
                RMSE: draws.mean(scores.squared[:, index], root=True),
                CRPS: draws.mean(scores.crps[:, index]),
                PINBALL: draws.mean(scores.pinball[:, index]),
                COVERAGE: draws.mean(scores.inside[:, index, 0]),
            }
            rows.append(Row((str(horizon), name), role, values))
    order = {"proposed": 0, "baseline": 1, "reference": 2}
    return tuple(sorted(rows, key=lambda row: (int(row.names[0]), order[row.role])))


def _claims(samples: Samples, judged: Judged, best: dict[str, list[str]], draws: Bootstrap) -> tuple[Claim, ...]:
    ours = judged.scores[DEFAULT]
    claims: list[Claim] = []
    for index, horizon in enumerate(samples.horizons):
        theirs = judged.scores[best[RMSE][index]]
        worse = draws.relative(ours.squared[:, index], theirs.squared[:, index], root=True)
        statement = (
            f"RMSE at {_steps(horizon)} over that of the best baseline ({best[RMSE][index]}), less 1: "
            f"the 95 % interval includes {NOT_WORSE} or less"
        )
        claims.append(Claim(statement, worse, worse.low is not None and worse.low <= NOT_WORSE))
    gain = _gain(judged, best, draws)
    statement = "CRPS over that of the best baselines, mean of the horizons, less 1: below 0 with its 95 % interval"
    claims.append(Claim(statement, gain, gain.high is not None and gain.high < 0))
    for index, horizon in enumerate(samples.horizons):
        covered = draws.mean(ours.inside[:, index, 0])
        statement = f"share of truths in the 90 % interval at {_steps(horizon)}: from {COVERED[0]} to {COVERED[1]}"
        claims.append(Claim(statement, covered, COVERED[0] <= covered.value <= COVERED[1]))
    return tuple(claims)


def _steps(horizon: int) -> str:
    return f"{horizon} step{'s' if horizon > 1 else ''}"


def _gain(judged: Judged, best: dict[str, list[str]], draws: Bootstrap, suffix: str = "") -> Estimate:
    """Mean CRPS of the default over the mean CRPS of the best baseline of each horizon, less 1."""
    theirs = np.stack([judged.scores[name + suffix].crps[:, h] for h, name in enumerate(best[CRPS])], axis=1)
    return draws.relative(judged.scores[DEFAULT].crps.mean(axis=1), theirs.mean(axis=1))


def _numbers(samples: Samples, judged: Judged, best: dict[str, list[str]], draws: Bootstrap) -> dict[str, float]:
    share = np.mean([np.asarray(emulator.share) for emulator in judged.emulators], axis=(0, 1))
    return {
        "files": float(len(samples.files)),
        "scored_forecasts": float(samples.valid.sum()),
        "CRPS_difference_to_the_best_baselines": _gain(judged, best, draws).value,
        "CRPS_difference_with_residuals_in_running_scales": _gain(judged, best, draws, SCALED).value,
        "share_of_networks_in_the_default": float(share[2:].sum()),
    }


def _method(samples: Samples, settings: EmulatorSettings, folds: int) -> tuple[str, ...]:
    source = samples.source
    divided = (
        "the root mean square of the file's displacement over the horizon"
        if source.form.wanders
        else "the standard deviation of the file's own reports"
    )
    return (
        f"a step is {source.step}; unit {source.unit}; covariates: {', '.join(source.covariates) or 'none'}",
        f"{'blocks of time' if source.in_blocks else 'files'} in {folds} folds; models of a fold saw none of its files",
        f"errors over {divided}; files count alike: RMSE / std is the root of the mean over files of MSE / variance",
        "CRPS by the trapezoid rule over quantiles at .05 to .95 for all; truths are reports, never held values",
        "baselines tuned on the training files, their intervals from training residuals weighted as the score weights",
        f"default: linear and {', '.join(settings.kinds)} ({settings.members} members each, width {settings.hidden}), "
        "combined and widened on training files that the member had not seen",
        f"intervals hold 95 % of {RESAMPLES} paired resamples of files; the best baseline is best on these very files",
        f"'{SCALED.removeprefix(', ')}': the same means, intervals as wide as the quantity moves of late",
        *([samples.told_left_out] if samples.told_left_out is not None else []),
    )
