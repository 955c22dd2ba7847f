"""Single raters of waterloo4: their scores from the average and ten of their own, and from logs alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from twinloop.errors import DataError
from twinloop.studies.evaluate.judgement import Estimate
from twinloop.training import DEVICES, Sessions, TraitsPrior, fit_person, learn_traits, trait_scale, traits

OWN_RATINGS = 10
PERSONAL_RATINGS = 50
FOLDS = 5
_DRAWS = 20
_LEAST_RATERS = 3
_RESAMPLES = 1000
_LIMITS = (0.0, 100.0)

Errors = Float64[np.ndarray, " raters"]


@dataclass(frozen=True)
class Panel:
    """A device's raters: `score` of each for each of its sessions, parted into folds by `fold`.

    `average` is what is known of people on average while a fold is held out; it has a row for every rater, as it may
    leave that rater's own score out.
    """

    device: str
    rows: Int[np.ndarray, " sessions"]
    fold: Int[np.ndarray, " sessions"]
    score: Float64[np.ndarray, "raters sessions"]
    average: Float64[np.ndarray, "folds raters sessions"]


@dataclass(frozen=True)
class RaterErrors:
    """Mean square error of each rater's held-out scores [points^2], over folds and draws."""

    average: Errors
    shift: Errors
    personal: Errors

    def rmse(self, name: str) -> Estimate:
        """Root of the mean over raters, with 95 % of its values when raters are resampled."""
        values = np.asarray(getattr(self, name))
        draw = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
        low, high = np.quantile(np.sqrt(values[draw].mean(axis=1)), [0.025, 0.975])
        return Estimate(float(np.sqrt(values.mean())), float(low), float(high))

    def better(self) -> Estimate:
        """Share of raters whose personal model is better than the average, with 95 % over raters resampled."""
        won = (self.personal < self.average).astype(np.float64)
        draw = np.random.default_rng(0).integers(len(won), size=(_RESAMPLES, len(won)))
        low, high = np.quantile(won[draw].mean(axis=1), [0.025, 0.975])
        return Estimate(float(won.mean()), float(low), float(high))


def panels_around_average(
    sessions: Sessions,
    scores: Sequence[Float64[np.ndarray, "_"]],
    mos: Float64[np.ndarray, " sessions"] | None,
    seed: int,
) -> list[Panel]:
    """Raters by device around the published `mos`, or around the mean of the other raters where None is given.

    The sessions of a device are parted into five folds at random.
    """
    panels: list[Panel] = []
    for device, rows, score in _by_device(sessions, scores):
        others = (score.sum(axis=0, keepdims=True) - score) / (len(score) - 1)
        known = others if mos is None else np.broadcast_to(mos[rows], score.shape)
        fold = np.random.default_rng(seed).permutation(len(rows)) % FOLDS
        panels.append(Panel(device, rows, fold, score, np.broadcast_to(known, (FOLDS, *known.shape))))
    return panels


def panels_around_model(
    sessions: Sessions,
    scores: Sequence[Float64[np.ndarray, "_"]],
    said: Float64[np.ndarray, "folds sessions"],
    fold: Int[np.ndarray, " sessions"],
) -> list[Panel]:
    """Raters by device around what a model says from logs alone; row f of `said` is by one that never saw fold f."""
    return [
        Panel(device, rows, fold[rows], score, np.broadcast_to(said[:, None, rows], (len(said), *score.shape)))
        for device, rows, score in _by_device(sessions, scores)
    ]


def require_enough(source: Path, panels: Sequence[Panel], own: int, parts: Sequence[str]) -> None:
    """Raises DataError where a device has too few raters, or too few sessions inside or outside one of the `parts`."""
    for panel in panels:
        inside = np.bincount(panel.fold, minlength=len(parts))
        outside = len(panel.rows) - inside
        if len(panel.score) < _LEAST_RATERS:
            raise DataError(source, f"{panel.device}: {len(panel.score)} raters", f"at least {_LEAST_RATERS}")
        if inside.min() == 0:
            missing = parts[int(inside.argmin())]
            raise DataError(source, f"{panel.device}: no session of {missing}", "some of each, to be held out in turn")
        if outside.min() < own:
            least = int(outside.argmin())
            raise DataError(
                source,
                f"{panel.device}: {outside[least]} sessions outside {parts[least]}",
                f"at least {own}, a rater's own ratings; --split trace needs none",
            )


def _by_device(
    sessions: Sessions, scores: Sequence[Float64[np.ndarray, "_"]]
) -> Iterator[tuple[str, Int[np.ndarray, " rows"], Float64[np.ndarray, "raters rows"]]]:
    for index, device in enumerate(DEVICES):
        rows = np.flatnonzero(np.asarray(sessions.device)[:, index] > 0)
        if len(rows):
            yield device, rows, np.stack([scores[int(row)] for row in rows], axis=1)


def rater_errors(
    sessions: Sessions, panels: list[Panel], own: int, seed: int, progress: Callable[[str], None]
) -> RaterErrors:
    """Errors on the sessions of each held-out fold, of which no rater's departure was used.

    The prior comes from the other raters' scores outside the fold; the rater gives `own` ratings drawn outside it, 20
    times. `shift` is a constant shrunk by the variances between and within those other raters.
    """
    parts = [_device_errors(sessions, panel, own, seed, progress) for panel in panels]
    joined = np.concatenate(parts, axis=1)
    return RaterErrors(average=joined[0], shift=joined[1], personal=joined[2])


def _device_errors(
    sessions: Sessions, panel: Panel, own: int, seed: int, progress: Callable[[str], None]
) -> Float64[np.ndarray, "3 raters"]:
    progress(f"raters of {panel.device}: {own} own ratings each")
    draw = np.random.default_rng(seed)
    here = jax.tree.map(lambda leaf: leaf[panel.rows], sessions)
    score = jnp.asarray(panel.score, jnp.float32)
    total = np.zeros((3, len(score)))
    for one in range(len(panel.average)):
        train, test = np.flatnonzero(panel.fold != one), np.flatnonzero(panel.fold == one)
        picks = np.stack([[draw.choice(train, own, replace=False) for _ in range(_DRAWS)] for _ in panel.score])
        average = jnp.asarray(panel.average[one], jnp.float32)
        total += np.asarray(_fold_errors(here, score, average, jnp.asarray(train), jnp.asarray(test), picks)).T
    return total / len(panel.average)


@jax.jit
def _fold_errors(
    sessions: Sessions,
    score: Float[Array, "raters sessions"],
    average: Float[Array, "raters sessions"],
    train: Int[Array, " train"],
    test: Int[Array, " test"],
    picks: Int[Array, "raters draws own"],
) -> Float[Array, "raters 3"]:
    """Errors of every rater in one fold; a rater's prior weighs that rater's own scores with 0."""
    departure = score - average
    seen = jax.tree.map(lambda leaf: leaf[train], sessions)
    scale = trait_scale(seen, average.mean(axis=0)[train])
    factors = jax.vmap(lambda one: traits(scale, sessions, one))(average)
    raters = jnp.arange(score.shape[0])

    def one(rater: Int[Array, ""]) -> Float[Array, " 3"]:
        others = jnp.where(jnp.arange(score.shape[0] - 1) >= rater, 1, 0) + jnp.arange(score.shape[0] - 1)
        known = departure[others][:, train]
        prior = learn_traits(scale, factors[others][:, train], known)
        within = (known - known.mean(axis=1, keepdims=True)).var() / known.mean(axis=1).var()
        return _errors(prior, factors[rater], departure[rater], average[rater], picks[rater], test, within)

    return jax.lax.map(one, raters)


def _errors(
    prior: TraitsPrior,
    factors: Float[Array, "sessions k"],
    departure: Float[Array, " sessions"],
    average: Float[Array, " sessions"],
    picks: Int[Array, "draws own"],
    test: Int[Array, " test"],
    shrink: Float[Array, ""],
) -> Float[Array, " 3"]:
    score = departure[test] + average[test]

    def one(pick: Int[Array, " own"]) -> Float[Array, " 3"]:
        weights, _ = fit_person(prior, factors[pick], departure[pick])
        shift = departure[pick].sum() / (pick.shape[0] + shrink)
        said = jnp.stack([average[test], average[test] + shift, average[test] + factors[test] @ weights])
        return ((jnp.clip(said, *_LIMITS) - score[None]) ** 2).mean(axis=1)

    return jax.vmap(one)(picks).mean(axis=0)
