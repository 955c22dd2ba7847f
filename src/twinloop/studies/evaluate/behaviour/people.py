"""Emulated viewers against people that no training saw: likelihood, watch ratios, hazards, and a two-sample test."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float64

from twinloop.datasets import HELD_OUT_RULE, load_viewing_log, shipped_figures
from twinloop.emulation import AbstractBehaviour, Imitated, ending_step, step_middle_s, watch_through
from twinloop.reporting import Curve, Figure, Panel, plot_curves
from twinloop.studies.evaluate.behaviour.baselines import Shipped, by_second, first_watch, shipped
from twinloop.studies.evaluate.behaviour.campus import CampusViewers, campus_viewers
from twinloop.studies.evaluate.behaviour.telling import Seen, told_apart
from twinloop.studies.evaluate.judgement import Claim, Estimate, Judgement, Role, Row, ks_distance
from twinloop.training import (
    Crowd,
    Effort,
    Views,
    load_viewers,
    log_likelihood,
    split_people,
    train_viewers,
    tuned_frailty,
    tuned_machine,
)

PEOPLE = "unseen people"
NATS = "nats a view"
GAIN = "gain on pooled"
FIRST = "nats, first watch"
KS = "KS, watch ratio"
HAZARD = "hazard error"
AUC = "told apart (AUC)"
AUC_TARGET = 0.6
POOLED = "pooled hazard, by share"
MACHINE = "state machine"
CLONED = "cloned network"
GAIL = "GAIL"
ALONE = "GAIL, critic alone"
GIVEN = "model given"
_DRAWS = 2
_RESAMPLES = 1000
_MOST_S = 30
_LENGTH_BINS_S = (0.0, 12.0, 30.0, 1e9)

Silent = Callable[[str], None]


@dataclass(frozen=True)
class Judged:
    """Views of unseen people as measured and as simulated, in judged steps; `exists` marks the views."""

    views: Views
    exists: Bool[np.ndarray, "people views"]
    measured_s: Float64[np.ndarray, "people views"]
    length_s: Float64[np.ndarray, "people views"]


def evaluate_people(
    data: Path,
    seed: int = 0,
    *,
    model: Path | None = None,
    effort: Effort | None = None,
    progress: Silent = lambda text: None,
) -> Judgement:
    """Viewers learned from two thirds of the people of `kuairand_explicit` against the last third, person by person.

    `model` judges a saved one in place of training GAIL. Raises DataError when the set is absent or too small,
    ModelError for a wrong file.
    """
    given = None if model is None else load_viewers(model)
    log = load_viewing_log(data).required()[0]
    crowd = split_people(log, data / "kuairand_explicit")
    models = _models(crowd, given, seed, effort, progress)
    views = crowd.unseen
    judged = Judged(
        views,
        np.asarray(views.exists) > 0,
        np.asarray(step_middle_s()[ending_step(views.watched_s)], np.float64),
        np.asarray(views.length_s, np.float64),
    )
    drawn = {name: _drawn(viewers, judged, seed) for name, viewers in models.items()}
    rows = _rows(models, drawn, judged, seed, progress)
    proposed = GAIL if given is None else GIVEN
    progress("predicting swipes on the simulated campus")
    campus = campus_viewers(_imitator(models, proposed), seed)
    return Judgement(
        title="Swipes: emulated viewers against unseen people",
        labels=("quantity", "from"),
        rows=rows,
        claims=_claims(rows, proposed),
        numbers=_numbers(models, judged, log.images_dropped, seed) | campus.numbers,
        method=_method(),
        figures=_figures(judged, drawn, campus),
    )


def _models(
    crowd: Crowd, given: AbstractBehaviour | None, seed: int, effort: Effort | None, progress: Silent
) -> dict[str, AbstractBehaviour]:
    progress("counting hazards")
    length = tuned_machine(crowd, likings=False, outcomes=False)
    models: dict[str, AbstractBehaviour] = {
        "pooled hazard, by second": by_second(crowd.train),
        POOLED: tuned_machine(crowd, lengths=False, likings=False, outcomes=False),
        "by length": length,
        "by length x user's factor": tuned_frailty(crowd, length),
        "shipped types x factors": shipped(shipped_figures().viewing),
        MACHINE: tuned_machine(crowd),
    }
    progress("training the network by cloning")
    clone = train_viewers(crowd, "clone", seed, effort)
    assert isinstance(clone, Imitated)
    models[CLONED] = clone
    progress("training GAIL with nothing but the critic")
    models[ALONE] = train_viewers(crowd, "gail_alone", seed, effort)
    if given is not None:
        return models | {GIVEN: given}
    progress("training GAIL from the cloned network")
    return models | {GAIL: train_viewers(crowd, "gail", seed, effort, clone)}


def _imitator(models: Mapping[str, AbstractBehaviour], proposed: str) -> Imitated:
    """The proposed viewers if they are a network, else the cloned ones."""
    found = models[proposed]
    if isinstance(found, Imitated):
        return found
    clone = models[CLONED]
    assert isinstance(clone, Imitated)
    return clone


def _drawn(viewers: AbstractBehaviour, judged: Judged, seed: int) -> list[Float64[np.ndarray, "people views"]]:
    """Watch times of simulated viewers who are shown what the unseen people were shown, some draws of them."""
    watch = eqx.filter_jit(watch_through)
    keys = jax.random.split(jax.random.key(seed), _DRAWS)
    every = [np.asarray(watch(k, viewers, judged.views.length_s, judged.views.liking), np.float64) for k in keys]
    return [np.minimum(one, judged.length_s) for one in every] if isinstance(viewers, Shipped) else every


def _rows(
    models: Mapping[str, AbstractBehaviour],
    drawn: Mapping[str, list[Float64[np.ndarray, "people views"]]],
    judged: Judged,
    seed: int,
    progress: Silent,
) -> tuple[Row, ...]:
    roles: dict[str, Role] = dict.fromkeys((MACHINE, GAIL, GIVEN), "proposed")
    pooled = _by_person(log_likelihood(models[POOLED], judged.views))
    views = judged.exists.sum(axis=1)
    people = _seen(judged, judged.measured_s)
    rows: list[Row] = []
    for name, viewers in models.items():
        progress(f"judging: {name}")
        got = _by_person(log_likelihood(viewers, judged.views))
        values = {
            NATS: _mean(-got, views, seed),
            GAIN: _mean(got - pooled, views, seed),
            FIRST: _mean(-_by_person(first_watch(viewers, judged.views)), views, seed),
            KS: _distance(drawn[name], judged, seed),
            HAZARD: _hazard_error(drawn[name], judged, seed),
            AUC: told_apart(people, [_seen(judged, one) for one in drawn[name]], seed),
        }
        if isinstance(viewers, Shipped):
            values = {metric: values[metric] for metric in (FIRST, KS)}
        rows.append(Row((PEOPLE, name), roles.get(name, "baseline"), values))
    halves = np.random.default_rng(seed).permutation(len(views))
    one, other = halves[: len(halves) // 2], halves[len(halves) // 2 :]
    floor = told_apart(people.of(one), [people.of(other)], seed)
    rows.append(Row((PEOPLE, "unseen people, other half"), "reference", {AUC: floor}))
    return tuple(rows)


def _by_person(got: object) -> Float64[np.ndarray, " people"]:
    return np.asarray(got, np.float64).sum(axis=1)


def _mean(total: Float64[np.ndarray, " people"], views: np.ndarray, seed: int) -> Estimate:
    """Sum over views, with 95 % of the values when people are resampled."""
    pick = _resampled(len(total), seed)
    spread = total[pick].sum(axis=1) / views[pick].sum(axis=1)
    low, high = np.quantile(spread, [0.025, 0.975])
    return Estimate(float(total.sum() / views.sum()), float(low), float(high))


def _resampled(people: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(people, size=(_RESAMPLES, people))


def _distance(drawn: list[Float64[np.ndarray, "people views"]], judged: Judged, seed: int) -> Estimate:
    """KS distance of watch ratios, averaged over draws; interval over resampled people."""
    measured = judged.measured_s / judged.length_s
    made = [one / judged.length_s for one in drawn]

    def of(rows: np.ndarray) -> float:
        kept = judged.exists[rows]
        return float(np.mean([ks_distance(measured[rows][kept], one[rows][kept]) for one in made]))

    spread = [of(rows) for rows in _resampled(len(measured), seed)[:100]]
    low, high = np.quantile(spread, [0.025, 0.975])
    return Estimate(of(np.arange(len(measured))), float(low), float(high))


def _hazard_error(drawn: list[Float64[np.ndarray, "people views"]], judged: Judged, seed: int) -> Estimate:
    """Mean absolute difference of the hazards of the first 30 s, relative to the measured mean hazard."""

    def of(rows: np.ndarray) -> float:
        kept = judged.exists[rows]
        measured, reached = _hazard(judged.measured_s[rows][kept])
        made = np.mean([_hazard(one[rows][kept])[0] for one in drawn], axis=0)
        return float(np.sum(reached * np.abs(made - measured)) / np.sum(reached * measured))

    spread = [of(rows) for rows in _resampled(len(judged.exists), seed)[:100]]
    low, high = np.quantile(spread, [0.025, 0.975])
    return Estimate(of(np.arange(len(judged.exists))), float(low), float(high))


def _hazard(watched_s: Float64[np.ndarray, " views"]) -> tuple[Float64[np.ndarray, " s"], Float64[np.ndarray, " s"]]:
    """Leaves over viewers still there, and those viewers, in each of the first seconds."""
    second = np.minimum(watched_s.astype(np.int64), _MOST_S)
    left = np.bincount(second, minlength=_MOST_S + 1).astype(np.float64)
    reached = np.cumsum(left[::-1])[::-1]
    return (left / np.maximum(reached, 1.0))[:_MOST_S], reached[:_MOST_S]


def _seen(judged: Judged, watched_s: Float64[np.ndarray, "people views"]) -> Seen:
    liking = np.asarray(judged.views.liking, np.float64)
    return Seen(watched_s, judged.length_s, liking, judged.exists.sum(axis=1), np.arange(len(watched_s)))


def _claims(rows: tuple[Row, ...], proposed: str) -> tuple[Claim, ...]:
    values = {row.names[1]: row.values for row in rows}
    claims: list[Claim] = []
    for name in (MACHINE, proposed):
        gain = values[name][GAIN]
        statement = f"{name}: more likely than the pooled hazard (nats gained a view above 0)"
        claims.append(Claim(statement, gain, gain.low is not None and gain.low > 0))
    apart = values[proposed][AUC]
    statement = f"{proposed}: told from unseen people with an AUC of less than {AUC_TARGET:g}"
    return (*claims, Claim(statement, apart, apart.value < AUC_TARGET))


def _numbers(models: Mapping[str, AbstractBehaviour], judged: Judged, images: int, seed: int) -> dict[str, float]:
    """Plain numbers; gains of adversarial training are paired over people."""
    views = judged.exists.sum(axis=1)
    ratio = (judged.measured_s / judged.length_s)[judged.exists]
    numbers = {
        "unseen_people": float(len(views)),
        "unseen_views": float(views.sum()),
        "views_with_replay": float(np.mean(ratio > 1)),
        "images_dropped": float(images),
    }
    clone = _by_person(log_likelihood(models[CLONED], judged.views))
    for name in (GAIL, ALONE):
        if name in models:
            gain = _mean(_by_person(log_likelihood(models[name], judged.views)) - clone, views, seed)
            word = name.replace(", ", "_").replace(" ", "_").lower()
            assert gain.low is not None and gain.high is not None
            numbers |= {f"{word}_over_cloned_nats": gain.value}
            numbers |= {f"{word}_over_cloned_low": gain.low, f"{word}_over_cloned_high": gain.high}
    return numbers


def _method() -> tuple[str, ...]:
    return (
        f"people: {HELD_OUT_RULE}; of the others a third tunes (prior weights, factor, steps), the rest trains",
        "a view ends in a second up to 60 s, then in steps of 5 %; replays count on; nats are of those steps, for "
        "the first watch of the step before the end or of reaching it; all see earlier views, length and liking",
        "simulated viewers start without history and are shown what the unseen people were shown",
        "told apart: best of logistic regression, forest and boosting on ten views in a row, five folds by person",
        "hazard error: mean |difference| over the first 30 s / mean hazard; intervals: 95 % over resampled people",
        "the log holds rated videos only: levels are those of rated videos, and neither types nor stalls are in it",
    )


def _figures(
    judged: Judged, drawn: Mapping[str, list[Float64[np.ndarray, "people views"]]], campus: CampusViewers
) -> dict[str, Callable[[], Figure]]:
    shown = {name: drawn[name] for name in (POOLED, MACHINE, CLONED, GAIL, GIVEN) if name in drawn}
    return {
        "people_ratios.png": partial(_draw_ratios, judged, shown),
        "people_hazards.png": partial(_draw_hazards, judged, shown),
        **campus.figures,
    }


def _draw_ratios(judged: Judged, shown: Mapping[str, list[Float64[np.ndarray, "people views"]]]) -> Figure:
    panels: list[Panel] = []
    for low, high in pairwise(_LENGTH_BINS_S):
        kept = judged.exists & (judged.length_s > low) & (judged.length_s <= high)
        curves = [Curve.exceeding("unseen people", _capped(judged.measured_s, judged.length_s, kept), measured=True)]
        curves += [Curve.exceeding(name, _capped(one[0], judged.length_s, kept)) for name, one in shown.items()]
        panels.append(Panel("watch time / length", "views still running", tuple(curves), title=_bin(low, high)))
    return plot_curves(panels, "Watch ratios, replays above 1: simulated viewers against unseen people")


def _capped(watched_s: np.ndarray, length_s: np.ndarray, kept: np.ndarray) -> Float64[np.ndarray, " views"]:
    return np.minimum((watched_s / length_s)[kept], 4.0)


def _draw_hazards(judged: Judged, shown: Mapping[str, list[Float64[np.ndarray, "people views"]]]) -> Figure:
    panels: list[Panel] = []
    at = np.arange(_MOST_S) + 0.5
    for low, high in pairwise(_LENGTH_BINS_S):
        kept = judged.exists & (judged.length_s > low) & (judged.length_s <= high)
        curves = [Curve("unseen people", at, _hazard(judged.measured_s[kept])[0], measured=True)]
        curves += [
            Curve(name, at, np.mean([_hazard(one[kept])[0] for one in every], axis=0)) for name, every in shown.items()
        ]
        panels.append(
            Panel("second of the view (s)", "hazard of leaving (1/s)", tuple(curves), _bin(low, high), free_y=True)
        )
    return plot_curves(panels, "Hazard by second: simulated viewers against unseen people")


def _bin(low: float, high: float) -> str:
    return f"videos of {low:g} to {high:g} s" if high < 1e6 else f"videos above {low:g} s"
