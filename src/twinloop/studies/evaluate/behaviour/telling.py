"""Can a classifier tell simulated viewers from people? A two-sample test on rows of views."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from twinloop.studies.evaluate.judgement import Estimate

ROW = 10
"""Views in a row that a classifier sees of a viewer."""
_MOST_RATIO = 5.0
_FOLDS = 5
_RESAMPLES = 400
_TREES = 60


@dataclass(frozen=True)
class Seen:
    """Views of people or of simulated viewers: a row a person, `views` of them; `person` tells who it is."""

    watched_s: Float64[np.ndarray, "people views"]
    length_s: Float64[np.ndarray, "people views"]
    liking: Float64[np.ndarray, "people views"]
    views: Int64[np.ndarray, " people"]
    person: Int64[np.ndarray, " people"]

    def of(self, rows: Int64[np.ndarray, " some"]) -> "Seen":
        """Those people."""
        return Seen(self.watched_s[rows], self.length_s[rows], self.liking[rows], self.views[rows], self.person[rows])


def told_apart(people: Seen, others: list[Seen], seed: int) -> Estimate:
    """AUC of the best of three classifiers at telling `others` from `people`; 0.5 is a coin.

    Logistic regression, random forest and gradient boosting see ten views in a row: every watch ratio, length and
    liking, and moments, shares, correlations over them. Five folds by person, so that nobody is trained and tested
    on. `others` are draws of the same kind, their AUCs averaged; the classifier is the best on that average. The
    interval is 95 % over resampled persons of the first draw, moved to the average.
    """
    known, who = _rows(people)
    drawn = [_rows(other) for other in others]
    tried = [
        [_scores(make, known, who, rows, persons) for rows, persons in drawn] for make in _classifiers(seed).values()
    ]
    best = max(tried, key=lambda every: np.mean([_auc(score, label) for score, label, _ in every]))
    value = float(np.mean([_auc(score, label) for score, label, _ in best]))
    low, high = _interval(*best[0], seed)
    shift = value - _auc(best[0][0], best[0][1])
    return Estimate(value, low + shift, high + shift)


def _classifiers(seed: int) -> Mapping[str, Callable[[], Any]]:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500)),
        "forest": lambda: RandomForestClassifier(_TREES, min_samples_leaf=5, random_state=seed),
        "boosting": lambda: GradientBoostingClassifier(
            n_estimators=_TREES, learning_rate=0.08, subsample=0.5, max_features="sqrt", random_state=seed
        ),
    }


def _scores(
    make: Callable[[], Any],
    known: Float64[np.ndarray, "a features"],
    who: Int64[np.ndarray, " a"],
    other: Float64[np.ndarray, "b features"],
    others: Int64[np.ndarray, " b"],
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Out-of-fold score, label (1 for others) and person of every row."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    feature = np.concatenate([known, other])
    label = np.concatenate([np.zeros(len(known), np.int64), np.ones(len(other), np.int64)])
    person = np.concatenate([who, others])
    chances = cross_val_predict(make(), feature, label, groups=person, cv=GroupKFold(_FOLDS), method="predict_proba")
    return np.asarray(chances, np.float64)[:, 1], label, person


def _auc(score: Float64[np.ndarray, " n"], label: Int64[np.ndarray, " n"]) -> float:
    """Chance that one of the others scores above one of the people, ties half (Mann and Whitney)."""
    people, others = np.sort(score[label == 0]), score[label == 1]
    below = np.searchsorted(people, others, side="left") + np.searchsorted(people, others, side="right")
    return float(below.mean() / (2 * len(people)))


def _interval(
    score: Float64[np.ndarray, " n"], label: Int64[np.ndarray, " n"], person: Int64[np.ndarray, " n"], seed: int
) -> tuple[float, float]:
    draw = np.random.default_rng(seed)
    rows = [np.flatnonzero(person == one) for one in np.unique(person)]
    values: list[float] = []
    for _ in range(_RESAMPLES):
        picked = np.concatenate([rows[k] for k in draw.integers(len(rows), size=len(rows))])
        if 0 < label[picked].sum() < len(picked):
            values.append(_auc(score[picked], label[picked]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _rows(seen: Seen) -> tuple[Float64[np.ndarray, "rows features"], Int64[np.ndarray, " rows"]]:
    """Features of every row of ten views, and whose it is."""
    features: list[Float64[np.ndarray, " features"]] = []
    person: list[int] = []
    for index, count in enumerate(seen.views):
        for first in range(0, int(count) - ROW + 1, ROW):
            part = slice(first, first + ROW)
            features.append(
                _features(seen.watched_s[index, part], seen.length_s[index, part], seen.liking[index, part])
            )
            person.append(int(seen.person[index]))
    return np.stack(features), np.array(person)


def _features(
    watched_s: Float64[np.ndarray, " row"], length_s: Float64[np.ndarray, " row"], liking: Float64[np.ndarray, " row"]
) -> Float64[np.ndarray, " features"]:
    ratio = np.minimum(watched_s / length_s, _MOST_RATIO)
    log_s, log_length = np.log1p(watched_s), np.log(length_s)
    summary = [
        ratio.mean(),
        ratio.std(),
        (ratio < 0.1).mean(),
        (ratio < 0.25).mean(),
        (ratio >= 1).mean(),
        (ratio > 1.1).mean(),
        (np.abs(watched_s - length_s) < 1).mean(),
        (watched_s < 1).mean(),
        log_s.mean(),
        log_s.std(),
        np.abs(np.diff(ratio)).mean(),
        _correlation(ratio[1:], ratio[:-1]),
        _correlation(ratio, log_length),
        _correlation(ratio, liking),
        *(ratio[liking == side].mean() if np.any(liking == side) else -1.0 for side in (1, -1)),
    ]
    return np.concatenate([summary, np.sort(ratio), ratio, log_length, liking])


def _correlation(a: Float64[np.ndarray, " n"], b: Float64[np.ndarray, " n"]) -> float:
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 else 0.0
