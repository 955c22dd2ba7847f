"""What people said, against what models expect of them: `waterloo4`, or a person's own table of scores."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from jaxtyping import Float64

from twinloop.errors import DataError
from twinloop.reporting import plot_expected, plot_raters
from twinloop.studies.evaluate.experience.own import judge_own
from twinloop.studies.evaluate.experience.raters import (
    FOLDS,
    OWN_RATINGS,
    PERSONAL_RATINGS,
    RaterErrors,
    panels_around_average,
    panels_around_model,
    rater_errors,
    require_enough,
)
from twinloop.studies.evaluate.experience.waterloo import (
    BEST,
    SPLITS,
    Rated,
    Split,
    judge_population,
    load_rated,
)
from twinloop.studies.evaluate.judgement import Claim, Judgement, Row
from twinloop.training import CANDIDATES, Scale, fit_population

MOST_ERROR = 15.3
LEAST_SHARE = 0.8
_SMALLER = (10, 25)
_SETTING: Final = CANDIDATES[1]
_METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {"average": "average alone", "shift": "average + shrunken shift", "personal": "average + personal traits"}
)
_ROLES = MappingProxyType({"average": "baseline", "shift": "baseline", "personal": "proposed"})

Tell = Callable[[str], None]


def evaluate_qoe(
    dataset: str,
    data: Path | None,
    *,
    split: str | None = None,
    file: Path | None = None,
    scale: Scale | None = None,
    seed: int = 0,
    progress: Tell = lambda _: None,
) -> Judgement:
    """Models of opinion judged on sessions (waterloo4) or ratings (csv) that they have not seen.

    Without `split`, waterloo4 is judged by trace, and by rater. Raises DataError for an unknown or unfitting option and
    for what cannot be read.
    """
    if dataset == "csv":
        if split is not None:
            raise DataError("--split", "a table of your own is parted by its ratings", "--split with waterloo4")
        if file is None:
            raise DataError("csv", "no file given", "--file FILE")
        return judge_own(file, scale, seed, progress)
    if dataset != "waterloo4":
        raise DataError("--dataset", f"{dataset!r}", "waterloo4 or csv")
    if file is not None or scale is not None:
        raise DataError(dataset, "--file and --scale say nothing here", "them with --dataset csv")
    if data is None:
        raise DataError(dataset, "no folder of data sets given", "--data DIR, or TWINLOOP_DATA")
    if split is not None and split not in SPLITS:
        raise DataError("--split", f"{split!r}", f"one of {', '.join(SPLITS)}")
    folder = data.parent if data.name == "waterloo4" else data
    wanted: tuple[Split, ...] = ("trace", "rater") if split is None else tuple(one for one in SPLITS if one == split)
    loaded: dict[Split, Rated] = {one: load_rated(folder, one) for one in wanted}
    if "rater" in loaded:
        _require_raters(folder / "waterloo4", loaded["rater"])
    parts = [
        _by_rater(rated, seed, progress) if one == "rater" else _by_group(rated, one, seed, progress)
        for one, rated in loaded.items()
    ]
    return parts[0] if len(parts) == 1 else _joined(*parts)


def _by_group(rated: Rated, split: Split, seed: int, progress: Tell) -> Judgement:
    judgement, said = judge_population(rated, split, seed, progress)
    shown = {
        f"{split} {name} held out": (said[BEST][rated.group == index], rated.mos[rated.group == index])
        for index, name in enumerate(rated.names)
    }
    title = "Opinion of sessions that no fit has seen"
    return replace(judgement, figures={f"opinion-by-{split}.png": partial(plot_expected, shown, title, "MOS")})


def _require_raters(source: Path, rated: Rated) -> None:
    """Raises DataError where there are too few sessions or raters for `_by_rater`, before anything is fitted."""
    nothing = np.zeros((len(rated.names), len(rated.mos)))
    by_trace = panels_around_model(rated.sessions, rated.scores, nothing, rated.group)
    require_enough(source, by_trace, PERSONAL_RATINGS, [f"trace {name}" for name in rated.names])
    by_chance = panels_around_average(rated.sessions, rated.scores, rated.mos, seed=0)
    require_enough(source, by_chance, OWN_RATINGS, [f"fold {one + 1}" for one in range(FOLDS)])


def _by_rater(rated: Rated, seed: int, progress: Tell) -> Judgement:
    rows: list[Row] = []
    from_mos = _errors_around_average(rated, rated.mos, seed, progress)
    from_others = _errors_around_average(rated, None, seed, progress)
    for told, errors in (("published MOS", from_mos), ("mean of the other raters", from_others)):
        rows += _rows(f"{told}, {OWN_RATINGS} own ratings", errors)
    progress("general model for each held-out trace")
    models = fit_population(rated.sessions, rated.mos, rated.used, _SETTING, seed)
    said = np.stack([np.asarray(model(rated.sessions), np.float64) for model in models])
    panels = panels_around_model(rated.sessions, rated.scores, said, rated.group)
    personal: dict[int, RaterErrors] = {}
    for own in (*_SMALLER, PERSONAL_RATINGS):
        personal[own] = rater_errors(rated.sessions, panels, own, seed, progress)
        rows += _rows(f"logs alone, {own} own ratings", personal[own])
    gains = {f"{own} own ratings": np.sqrt(one.personal) - np.sqrt(one.average) for own, one in personal.items()}
    title = "Personal against general model, on traces neither has seen"
    draw = partial(plot_raters, gains, title, "RMSE, personal - general (points)")
    method = (
        f"With the MOS: sessions of a device parted into {FOLDS} folds at random; own ratings are drawn outside the "
        "held-out fold, 20 times; the prior of traits comes from the other raters of the device, outside it.",
        "The published MOS holds the rater's own score with a weight of about 1/30, which flatters all three alike; "
        "the mean of the other raters does not.",
        "From logs alone: a trace is held out of everything, the general model is structured + monotone trees.",
        "Intervals: raters resampled. Source: Waterloo SQoE-IV (Duanmu et al., 2020), CC BY 4.0.",
    )
    return Judgement(
        "Single raters of waterloo4",
        ("from", "model"),
        tuple(rows),
        rater_claims(from_mos, personal),
        {},
        method,
        {"raters.png": draw},
    )


def rater_claims(from_mos: RaterErrors, personal: Mapping[int, RaterErrors]) -> tuple[Claim, ...]:
    """What was promised of single raters with ten own ratings, and beyond it what fifty bring from logs alone."""
    error = from_mos.rmse("personal")
    asked, further = personal[OWN_RATINGS].better(), personal[PERSONAL_RATINGS].better()
    better = f"own ratings, better than the general model for at least {LEAST_SHARE:.0%} of raters"
    return (
        Claim(
            f"a rater's held-out scores from the published MOS and {OWN_RATINGS} own ratings: RMSE below {MOST_ERROR}",
            error,
            error.value < MOST_ERROR,
        ),
        Claim(f"from logs alone with {OWN_RATINGS} {better}", asked, asked.value >= LEAST_SHARE),
        Claim(
            f"beyond what was asked: from logs alone with {PERSONAL_RATINGS} {better}",
            further,
            further.value >= LEAST_SHARE,
        ),
    )


def _errors_around_average(
    rated: Rated, mos: Float64[np.ndarray, " sessions"] | None, seed: int, progress: Tell
) -> RaterErrors:
    panels = panels_around_average(rated.sessions, rated.scores, mos, seed)
    return rater_errors(rated.sessions, panels, OWN_RATINGS, seed, progress)


def _rows(told: str, errors: RaterErrors) -> list[Row]:
    rows: list[Row] = []
    for name, model in _METHODS.items():
        values = {"RMSE": errors.rmse(name)}
        if name == "personal":
            values["share of raters better off"] = errors.better()
        rows.append(Row((told, model), "proposed" if _ROLES[name] == "proposed" else "baseline", values))
    return rows


def _joined(groups: Judgement, raters: Judgement) -> Judgement:
    """Both judgements as one."""
    rows = tuple(replace(row, names=(groups.title, *row.names)) for row in groups.rows) + raters.rows
    return Judgement(
        "Opinion on waterloo4, by trace and by rater",
        raters.labels,
        rows,
        groups.claims + raters.claims,
        {},
        groups.method + raters.method,
        {**groups.figures, **raters.figures},
    )
