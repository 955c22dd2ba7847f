"""Models of opinion on waterloo4: sessions of traces, contents or devices that no fit has seen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets import load_opinions
from twinloop.errors import DataError
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Row
from twinloop.training import (
    CANDIDATES,
    CONTENT_BLIND,
    FORMS,
    PopulationSettings,
    Sessions,
    choose_population,
    correlation,
    fit_population,
    sessions_of,
    structured_models,
    tree_features,
)

Split = Literal["trace", "content", "device", "rater"]
SPLITS: Final[tuple[Split, ...]] = ("trace", "content", "device", "rater")
RIDGE, TREES, BEST = "ridge regression", "gradient boosting", "structured + monotone trees"
BLIND = "levels only + monotone trees"
UNSEEN, BLIND_UNSEEN = f"{BEST}, content unseen too", f"{BLIND}, content unseen too"
STRUCTURED: Final = {
    "levels": "structured, levels only",
    "sizes": "structured, with difficulty",
    "slopes": "structured, difficulty turns the slope",
}
LEAST_STRUCTURED, LEAST_BEST = 0.83, 0.87
MEAN = "mean r"
_RESAMPLES = 400
_RIDGES = np.logspace(-1, 4, 16)

Said = Float64[np.ndarray, " sessions"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Rated:
    """Sessions with what people said of them; `group` is what a split keeps together, `names` what it is called."""

    sessions: Sessions
    mos: Said
    scores: tuple[Float64[np.ndarray, "_"], ...]
    group: Int64[np.ndarray, " sessions"]
    names: tuple[str, ...]
    content: Int64[np.ndarray, " sessions"]

    @property
    def used(self) -> Bool[np.ndarray, "folds sessions"]:
        """For each group, the sessions of all others."""
        return np.stack([self.group != one for one in range(len(self.names))])


def load_rated(data: Path, split: Split) -> Rated:
    """Sessions of `waterloo4`, grouped by what `split` leaves out. Raises DataError where there is only one group."""
    rated = load_opinions(data).required()
    kept = "trace" if split == "rater" else split
    told = [str(getattr(session, kept)) for session in rated]
    names, group = np.unique(told, return_inverse=True)
    if len(names) < 2:
        raise DataError(data / "waterloo4", f"one {kept} only ({names[0]})", f"sessions of two {kept}s or more")
    return Rated(
        sessions=sessions_of(rated),
        mos=np.array([session.mos for session in rated]),
        scores=tuple(session.scores for session in rated),
        group=group.astype(np.int64),
        names=tuple(str(name) for name in names),
        content=np.unique([session.content for session in rated], return_inverse=True)[1].astype(np.int64),
    )


def judge_population(rated: Rated, split: Split, seed: int, progress: Tell) -> tuple[Judgement, Mapping[str, Said]]:
    """Every model against opinion within each held-out group, and what each said of the sessions held out."""
    said: dict[str, Said] = {}
    progress(f"baselines, one {split} held out at a time")
    said[RIDGE], said[TREES] = _ridge(rated), _boosting(rated, seed)
    for form in FORMS:
        progress(f"{STRUCTURED[form]}, one {split} held out at a time")
        models = structured_models(rated.sessions, rated.mos, rated.used, form)
        said[STRUCTURED[form]] = held_out_part(rated, [np.asarray(one(rated.sessions)) for one in models])
    chosen: list[str] = []
    whole: list[Said] = []
    unseen: dict[str, list[Said]] = {UNSEEN: [], BLIND_UNSEEN: []}
    for index, used in enumerate(rated.used):
        progress(f"{split} {rated.names[index]} held out: {len(CANDIDATES)} candidates compared on the others")
        settings = choose_population(rated.sessions, rated.mos, rated.group, used, seed)
        chosen.append(f"{rated.names[index]}: {settings.form}, {settings.boosting.leaves} leaves")
        (model,) = fit_population(rated.sessions, rated.mos, used[None], settings, seed)
        whole.append(np.asarray(model(rated.sessions), np.float64))
        if split != "content":
            unseen[UNSEEN].append(_content_unseen(rated, used, settings, seed))
            unseen[BLIND_UNSEEN].append(_content_unseen(rated, used, CONTENT_BLIND, seed))
    said[BEST] = held_out_part(rated, whole)
    blind = fit_population(rated.sessions, rated.mos, rated.used, CONTENT_BLIND, seed)
    said[BLIND] = held_out_part(rated, [np.asarray(one(rated.sessions)) for one in blind])
    said |= {name: held_out_part(rated, folds) for name, folds in unseen.items() if folds}
    return _judgement(rated, split, said, chosen), said


def _content_unseen(rated: Rated, used: Bool[np.ndarray, " sessions"], settings: PopulationSettings, seed: int) -> Said:
    """Each session's expected MOS by a model that saw neither its content nor anything outside `used`."""
    single = replace(settings, boosting=replace(settings.boosting, seeds=1))
    without = np.stack([used & (rated.content != one) for one in np.unique(rated.content)])
    models = fit_population(rated.sessions, rated.mos, without, single, seed)
    said = np.stack([np.asarray(one(rated.sessions), np.float64) for one in models])
    return said[rated.content, np.arange(len(rated.mos))]


def held_out_part(rated: Rated, said: list[np.ndarray]) -> Said:
    """Of each fold's model, what it says of the group it never saw."""
    return np.stack(said)[rated.group, np.arange(len(rated.mos))].astype(np.float64)


def _ridge(rated: Rated) -> Said:
    from sklearn.linear_model import RidgeCV  # a second to import

    features = np.asarray(tree_features(rated.sessions, sizes=True)[1], np.float64)
    said: list[Said] = []
    for used in rated.used:
        mean, deviation = features[used].mean(axis=0), features[used].std(axis=0) + 1e-9
        scaled = (features - mean) / deviation
        said.append(RidgeCV(_RIDGES).fit(scaled[used], rated.mos[used]).predict(scaled))
    return held_out_part(rated, said)


def _boosting(rated: Rated, seed: int) -> Said:
    from sklearn.ensemble import GradientBoostingRegressor  # a second to import

    features = np.asarray(tree_features(rated.sessions, sizes=True)[1], np.float64)
    model = GradientBoostingRegressor(random_state=seed)
    return held_out_part(rated, [model.fit(features[used], rated.mos[used]).predict(features) for used in rated.used])


def within_groups(rated: Rated, said: Said) -> dict[str, Estimate]:
    """Pearson's r within each group and their mean; its interval holds 95 % over sessions resampled within groups."""
    rows = [np.flatnonzero(rated.group == one) for one in range(len(rated.names))]
    draw = np.random.default_rng(0)
    means = np.zeros(_RESAMPLES)
    for one in rows:
        picks = one[draw.integers(len(one), size=(_RESAMPLES, len(one)))]
        means += np.array([correlation(said[pick], rated.mos[pick]) for pick in picks]) / len(rows)
    low, high = np.quantile(means, [0.025, 0.975])
    each = [correlation(said[one], rated.mos[one]) for one in rows]
    singles = {name: Estimate(value) for name, value in zip(rated.names, each, strict=True)}
    return {MEAN: Estimate(float(np.mean(each)), float(low), float(high)), **singles}


def _judgement(rated: Rated, split: Split, said: Mapping[str, Said], chosen: list[str]) -> Judgement:
    rows: list[Row] = []
    for name, one in said.items():
        role = "baseline" if name in (RIDGE, TREES) else "reference" if name in (UNSEEN, BLIND_UNSEEN) else "proposed"
        error = Estimate(float(np.sqrt(np.mean((one - rated.mos) ** 2))))
        rows.append(Row((name,), role, {**within_groups(rated, one), "RMSE": error}))
    measured = {row.names[0]: row.values[MEAN] for row in rows}
    claims = (
        _at_least(f"structured model without chunk sizes, mean r within each {split}", measured[STRUCTURED["levels"]],
                  LEAST_STRUCTURED),
        _at_least(f"best model, mean r within each {split}", measured[BEST], LEAST_BEST),
    )  # fmt: skip
    method = (
        f"Each {split} is held out in turn; r is Pearson's correlation with MOS within it, the mean is over "
        f"{len(rated.names)} of them. Intervals: sessions resampled within each.",
        "Factors: representation and encoded rate of each chunk, stalls, start-up delay, device, codec. No VMAF, SSIM "
        "or PSNR, and no name of a content; yet chunk sizes give contents away. Models of levels only lack them; "
        "rows with the content unseen show what is left for new contents.",
        f"The best model's form and trees are chosen among {len(CANDIDATES)} by leaving out one {split} after the "
        f"other of those not held out: {'; '.join(chosen)}.",
        "The structure itself was designed on this set: about 60 variants were compared on the same splits.",
        "Source: Waterloo SQoE-IV (Duanmu et al., 2020), CC BY 4.0.",
    )
    claims = claims if split == "trace" else ()
    return Judgement(f"Opinion on waterloo4, by {split}", ("model",), tuple(rows), claims, {}, method, {})


def _at_least(statement: str, measured: Estimate, least: float) -> Claim:
    return Claim(f"{statement}: at least {least}", measured, measured.value >= least)
