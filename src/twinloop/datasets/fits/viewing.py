"""Types of video and their hazards from leave distributions, and the spread of viewers from a log of views."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from twinloop.datasets.figures import Provenance, VideoType, ViewingFigures
from twinloop.datasets.fits.split import HELD_OUT_RULE, held_out
from twinloop.datasets.video import LeaveDistribution, ViewingLog

KNOTS = (0.0, 0.01, 0.02, 0.035, 0.05, 0.075, *(round(0.05 * k, 2) for k in range(2, 21)))
_FEATURE_KNOTS = (0.05, 0.25, 0.5, 0.75, 1.0)
_LEAST_SURVIVAL = 1e-4
_LEAST_LENGTH_STD = 0.1
_LENGTH_WEIGHT = 2.0
_LEAST_VIEWS = 5
_ROUNDS = 100

TYPE_BASIS = {
    "entertainment": ("6_jt", "2_EDG"),
    "sports": (),
    "science": ("1_tj",),
    "news": (),
    "food": ("3_gy",),
    "dance": ("4_dx",),
    "travel": ("5_ss",),
    "games": ("7_yd",),
}
"""Types in order of their videos' length, with the labelled videos that stand for them; the source's labels are study
(science), entertainment, life (food, dance, travel: one video each) and game. Sports and news have none."""

TYPE_ORDER = ("entertainment", "games", "food", "sports", "science", "dance", "travel", "news")


def survival_on_knots(video: LeaveDistribution, knots: Float64[np.ndarray, " knots"]) -> Float64[np.ndarray, " knots"]:
    """Share of viewers still there at shares of the length, linear inside a second."""
    return np.interp(knots * video.length_s, np.arange(len(video.survival)), video.survival)


def fit_viewing(
    labelled: Sequence[LeaveDistribution], unlabelled: Sequence[LeaveDistribution], log: ViewingLog, command: str
) -> ViewingFigures:
    """Hazards of the eight types from the videos that are not held out, and the spread of viewers' factors.

    Unlabelled videos fall into eight clusters by length and shape of their curve (k-means), which are named in order of
    length; labelled videos join the type that they stand for. A type's survival is the mean over its videos; its
    cumulative hazard H solves E_f[exp(-f H)] = survival over the factors f of viewers, so that types times factors give
    the data back.
    """
    train = [video for video in unlabelled if not held_out(video.name)]
    member = _clusters(train, len(TYPE_BASIS))
    spread, users = fit_factor_spread(log)
    types: dict[str, VideoType] = {}
    for index, (name, basis) in enumerate(TYPE_BASIS.items()):
        mine = [video for video, cluster in zip(train, member, strict=True) if cluster == index]
        share = len(mine) / len(train)
        mine += [video for video in labelled if video.name in basis]
        types[name] = _type(name, " ".join(basis) or "named by us", share, mine, spread)
    citation = "Zuo et al., ACM MM 2022 grand challenge on short video streaming; Li et al., Dashlet, NSDI 2023"
    return ViewingFigures(
        knots=KNOTS,
        types=tuple(types[name] for name in TYPE_ORDER),
        factor_spread=spread,
        provenance=Provenance(
            ("svs_challenge", "dashlet_turk"), citation, command, HELD_OUT_RULE, (), len(train) + len(labelled)
        ),
        factor_provenance=Provenance(
            ("kuairand_explicit",),
            "Gao et al., KuaiRand, CIKM 2022; a subset of rated views: differences between users only",
            command,
            HELD_OUT_RULE,
            (),
            users,
        ),
    )


def _type(name: str, basis: str, share: float, videos: Sequence[LeaveDistribution], spread: float) -> VideoType:
    survival = np.stack([survival_on_knots(video, np.array(KNOTS)) for video in videos]).mean(axis=0)
    log_length = np.log([video.length_s for video in videos])
    return VideoType(
        name=name,
        basis=basis,
        share=share,
        log_length_mean=float(log_length.mean()),
        log_length_std=max(float(log_length.std()), _LEAST_LENGTH_STD),
        videos=len(videos),
        cumulative_hazard=tuple(float(value) for value in hazard_behind(survival, spread)),
    )


def _clusters(videos: Sequence[LeaveDistribution], count: int) -> Int64[np.ndarray, " videos"]:
    """Cluster of every video by k-means on log length and shape, numbered in order of mean log length.

    Starts are the means of `count` groups of equal size in order of length: no chance, the same on every run.
    """
    log_length = np.log([video.length_s for video in videos])
    shape = np.stack([survival_on_knots(video, np.array(_FEATURE_KNOTS)) for video in videos])
    feature = np.concatenate([log_length[:, None], shape], axis=1)
    feature = (feature - feature.mean(axis=0)) / feature.std(axis=0)
    feature[:, 0] *= _LENGTH_WEIGHT
    by_length = np.argsort(log_length, kind="stable")
    centre = np.stack([feature[group].mean(axis=0) for group in np.array_split(by_length, count)])
    member = np.full(len(videos), -1)
    for _ in range(_ROUNDS):
        nearest = np.linalg.norm(feature[:, None, :] - centre[None, :, :], axis=2).argmin(axis=1)
        if np.array_equal(nearest, member):
            break
        member = nearest
        for index in np.unique(member):
            centre[index] = feature[member == index].mean(axis=0)
    rank = np.argsort(np.argsort([log_length[member == index].mean() for index in range(count)]))
    return rank[member]


def hazard_behind(survival: Float64[np.ndarray, " knots"], spread: float) -> Float64[np.ndarray, " knots"]:
    """Cumulative hazard H of a viewer with factor 1 when all viewers together survive as given.

    Solves E_z[exp(-f H)] = survival, f = exp(spread z - spread^2 / 2), by bisection over ln H; the expectation by
    Gauss-Hermite quadrature.
    """
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    factor = np.exp(spread * node - spread**2 / 2)
    weight = weight / weight.sum()
    target = np.maximum(survival, _LEAST_SURVIVAL)
    low, high = np.full(len(target), -20.0), np.full(len(target), 20.0)
    for _ in range(80):
        middle = (low + high) / 2
        above = np.exp(-factor[None, :] * np.exp(middle)[:, None]) @ weight > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(target >= 1.0, 0.0, np.maximum.accumulate(np.exp((low + high) / 2)))


def fit_factor_spread(log: ViewingLog, *, unseen: bool = False) -> tuple[float, int]:
    """Spread s of the logarithm of viewers' hazard factors, normal, and the number of users behind it.

    Per user, the number of videos left early is Poisson with mean f E, E being the user's expected number under the
    pooled cumulative hazard (Nelson and Aalen's, apart for liked and hated videos) at the shares that the user watched.
    s is the maximum likelihood over a grid, the level a free nuisance. Only users that are not held out, and have at
    least five views, count.
    """
    left, expected = _left_and_expected(log, unseen)
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    weight = weight / weight.sum()
    spreads = np.arange(0.0, 1.5001, 0.02)
    levels = np.arange(-0.6, 0.3001, 0.05)
    score = np.array([[_log_likelihood(left, expected, level + s * node, weight) for level in levels] for s in spreads])
    return float(spreads[score.max(axis=1).argmax()]), len(left)


def _left_and_expected(
    log: ViewingLog, unseen: bool
) -> tuple[Float64[np.ndarray, " users"], Float64[np.ndarray, " users"]]:
    ids, views = np.unique(log.user_id, return_counts=True)
    kept = np.array(
        [count >= _LEAST_VIEWS and held_out(str(user)) == unseen for user, count in zip(ids, views, strict=True)]
    )
    chosen = np.isin(log.user_id, ids[kept])
    ratio = np.minimum(log.watch_ratio[chosen], 1.0)
    liked = log.liked[chosen]
    total = np.zeros(len(ratio))
    for label in (True, False):
        if np.any(liked == label):
            total[liked == label] = nelson_aalen(ratio[liked == label], ratio[liked == label] < 1)
    row = np.searchsorted(ids[kept], log.user_id[chosen])
    users = int(kept.sum())
    return np.bincount(row, weights=(ratio < 1), minlength=users), np.bincount(row, weights=total, minlength=users)


def nelson_aalen(
    ratio: Float64[np.ndarray, " views"], left: Bool[np.ndarray, " views"]
) -> Float64[np.ndarray, " views"]:
    """Pooled cumulative hazard at each view's own end: sum over earlier leaves of 1 / (views still running)."""
    order = np.argsort(ratio, kind="stable")
    at_risk = len(ratio) - np.arange(len(ratio))
    total = np.empty(len(ratio))
    total[order] = np.cumsum(left[order] / at_risk)
    return total


def _log_likelihood(
    left: Float64[np.ndarray, " users"],
    expected: Float64[np.ndarray, " users"],
    log_factor: Float64[np.ndarray, " nodes"],
    weight: Float64[np.ndarray, " nodes"],
) -> float:
    """Log likelihood of Poisson counts whose factor is mixed over the nodes, up to a constant."""
    term = left[:, None] * log_factor[None, :] - expected[:, None] * np.exp(log_factor)[None, :]
    top = term.max(axis=1)
    return float(np.sum(top + np.log(np.exp(term - top[:, None]) @ weight)))


def viewer_hazard(video: LeaveDistribution, factor_spread: float) -> Float64[np.ndarray, " seconds"]:
    """Chance of a viewer with factor 1 to leave in each second of a measured video, given that the second is reached.

    With the lognormal factors f of viewers (mean 1, spread `factor_spread`) and 1 - (1 - h)^f the video's measured
    survival comes back.
    """
    return -np.expm1(-np.diff(hazard_behind(video.survival, factor_spread)))
