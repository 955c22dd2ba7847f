"""Models of opinion as files: of the raters of waterloo4, or of the users in a person's own table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twinloop.datasets import load_opinions
from twinloop.errors import DataError, ModelError
from twinloop.learning import BoostingSettings, blank_trees, load_model, read_card, save_model
from twinloop.qoe import FittedUsers, Ratings, fit_users, take_ratings
from twinloop.training.experience.own_scores import OwnScores, Scale, read_own_scores
from twinloop.training.experience.personal import (
    TRAITS,
    TraitScale,
    TraitsPrior,
    fit_person,
    learn_traits,
    trait_scale,
    traits,
)
from twinloop.training.experience.population import (
    CONTENT_BLIND,
    PopulationModel,
    PopulationSettings,
    choose_population,
    fit_population,
)
from twinloop.training.experience.sessions import DEVICES, Sessions, sessions_of
from twinloop.training.experience.structured import first_guess
from twinloop.training.experience.unrated import fit_by_scores, with_estimates

_SESSIONS, _FACTORS = "opinion of streaming sessions", "opinion by user"
_CHUNKS = 7

Contents = Literal["known", "any"]
"""Whether sessions to come show contents of the set that is fitted to, or any."""


class SessionModel(eqx.Module):
    """What people say of sessions, and each rater's departure: weights of traits with covariance.

    `score` holds the ratings that it was fitted to, NaN-free: `rated` has the rows of `logs` each rater scored.
    """

    population: PopulationModel
    prior: TraitsPrior
    weight: Float[Array, "raters traits"]
    covariance: Float[Array, "raters traits traits"]
    device: Int[Array, " raters"]
    rated: Int[Array, "raters ratings"]
    score: Float[Array, "raters ratings"]
    logs: Sessions

    def expected(self, rater: int, sessions: Sessions) -> tuple[Float[Array, " sessions"], Float[Array, " sessions"]]:
        """A rater's expected score of each session, 0 to 100, and its deviation from what is not known of the rater."""
        average = self.population(sessions)
        factors = traits(self.prior.scale, sessions, average)
        said = average + factors @ self.weight[rater]
        spread = jnp.einsum("si,ij,sj->s", factors, self.covariance[rater], factors)
        return jnp.clip(said, 0.0, 100.0), jnp.sqrt(jnp.maximum(spread, 0.0))


class UsersModel(eqx.Module):
    """Users' own models E = S x I with the ratings they were fitted to.

    `further` factors of these ratings are those that E is no function of, None where the table had none; what they are
    called, and the scale of the scores, stands on the card.
    """

    ratings: Ratings
    fitted: FittedUsers
    further: Float[Array, "users ratings factors"] | None = None


@dataclass(frozen=True)
class Made:
    """What a fit left: the names of its users, and lines to tell."""

    users: tuple[str, ...]
    notes: tuple[str, ...]


def fit_and_save(
    data: Path, out: Path, *, scale: Scale | None, seed: int, command: str, contents: Contents = "known"
) -> Made:
    """Fit to `data` (the folder waterloo4 or one that holds it, or a CSV file) and write `out` with its card.

    Raises DataError for what cannot be fitted, OutputError where `out` cannot be written.
    """
    if data.is_dir():
        if scale is not None:
            raise DataError(
                "--scale", "it says nothing of waterloo4, whose scores are 0-100", "--scale with a CSV file"
            )
        return _fit_sessions(data.parent if data.name == "waterloo4" else data, out, seed, command, contents)
    if contents != "known":
        raise DataError(
            "--any-content", "it says nothing of a table of your own", "--any-content with the folder waterloo4"
        )
    own = read_own_scores(data, scale)
    ratings, told = own.intake.ratings, own.notes
    if own.behaviour is not None:
        ratings, line = with_estimates(ratings, own.behaviour, own.intake.users)
        told = (*told, line)
    fitted = fit_by_scores(own.intake.ratings, ratings)
    shape = {"users": list(own.intake.users), "ratings": int(ratings.score.shape[1])}
    card = {"kind": _FACTORS, "data": data.name, "scale": own.scale, "command": command, "notes": list(told)}
    if own.further:
        card["further"] = list(own.further)
    save_model(out, UsersModel(ratings, fitted, _stacked(own, ratings.score.shape[1])), card | shape)
    return Made(own.intake.users, told)


def _stacked(own: OwnScores, width: int) -> Float[Array, "users ratings factors"] | None:
    """Further factors side by side, 0 beyond the ratings given."""
    if not own.further:
        return None
    table = np.stack(list(own.further.values()), axis=2)
    return jnp.pad(jnp.asarray(table), ((0, 0), (0, width - table.shape[1]), (0, 0)))


def _fit_sessions(data: Path, out: Path, seed: int, command: str, contents: Contents) -> Made:
    rated = load_opinions(data).required()
    sessions, mos = sessions_of(rated), np.array([one.mos for one in rated])
    trace = np.array([one.trace for one in rated])
    everything = np.ones(len(rated), bool)
    known = contents == "known"
    settings = choose_population(sessions, mos, trace, everything, seed) if known else CONTENT_BLIND
    (population,) = fit_population(sessions, mos, everything[None], settings, seed)
    model = _with_raters(population, sessions, [one.scores for one in rated])
    names = tuple(f"{DEVICES[device]}-{number}" for device, number in _numbered(np.asarray(model.device)))
    card = {
        "kind": _SESSIONS,
        "data": "Waterloo SQoE-IV (Duanmu et al., 2020), CC BY 4.0",
        "command": command,
        "form": settings.form,
        "contents": contents,
        "leaves": settings.boosting.leaves,
        "trees": int(population.trees.feature.shape[0]),
        "users": list(names),
        "ratings": int(model.score.shape[1]),
        "sessions": len(rated),
        "score": "twinloop evaluate qoe --dataset waterloo4 gives the held-out figures",
    }
    save_model(out, model, card)
    told = "for contents of this set only: chunk sizes tell them apart" if known else "for any contents"
    notes = (f"{len(rated)} sessions, {len(names)} raters; form {settings.form}, {told}",)
    return Made(names, notes)


def _with_raters(population: PopulationModel, sessions: Sessions, scores: Sequence[np.ndarray]) -> SessionModel:
    average = population(sessions)
    scale = trait_scale(sessions, average)
    factors = traits(scale, sessions, average)
    of = np.asarray(sessions.device).argmax(axis=1)
    rows = {device: np.flatnonzero(of == device) for device in np.unique(of)}
    width = min(len(own) for own in rows.values())
    rated = [own[:width] for own in rows.values() for _ in scores[own[0]]]
    device = [device for device, own in rows.items() for _ in scores[own[0]]]
    score = [
        np.array([scores[row][rater] for row in own[:width]])
        for own in rows.values()
        for rater in range(len(scores[own[0]]))
    ]
    at, said = jnp.asarray(np.stack(rated)), jnp.asarray(np.stack(score), jnp.float32)
    departure = said - average[at]
    prior = learn_traits(scale, factors[at], departure)
    weight, covariance = jax.vmap(fit_person, in_axes=(None, 0, 0))(prior, factors[at], departure)
    kinds = jnp.asarray(np.array(device, np.int32))
    return SessionModel(population, prior, weight, covariance, kinds, at, said, sessions)


def _numbered(device: np.ndarray) -> list[tuple[int, int]]:
    counts: dict[int, int] = {}
    numbered: list[tuple[int, int]] = []
    for one in map(int, device):
        counts[one] = counts.get(one, 0) + 1
        numbered.append((one, counts[one]))
    return numbered


def load_opinion_model(path: Path) -> tuple[SessionModel | UsersModel, tuple[str, ...]]:
    """A saved model and the names of its users. Raises ModelError for a file of another kind."""
    card = read_card(path)
    try:
        users = tuple(str(name) for name in card["users"])
        like = _blank_sessions(card) if card["kind"] == _SESSIONS else _blank_users(card)
    except (KeyError, TypeError, ValueError):
        raise ModelError(path.with_suffix(".json"), "this is no card of an opinion model", "one of qoe fit") from None
    return load_model(path, like), users


def _blank_users(card: dict[str, Any]) -> UsersModel:
    if card["kind"] != _FACTORS:
        raise ValueError(card["kind"])
    blank = take_ratings(["0"], [3.0], {}, known=[str(n) for n in range(len(card["users"]))]).ratings
    width = int(card["ratings"])
    ratings = jax.tree.map(lambda leaf: jnp.zeros((leaf.shape[0], width), leaf.dtype), blank)
    names = card.get("further", [])
    further = jnp.zeros((*ratings.score.shape, len(names))) if names else None
    return UsersModel(ratings, _zeros(eqx.filter_eval_shape(fit_users, ratings)), further)


def _blank_sessions(card: dict[str, Any]) -> SessionModel:
    raters, ratings, sessions = len(card["users"]), int(card["ratings"]), int(card["sessions"])
    settings = PopulationSettings(card["form"], BoostingSettings(leaves=int(card["leaves"])))
    trees = blank_trees(int(card["trees"]), 2 * settings.boosting.leaves - 1)
    k = len(TRAITS)
    prior = TraitsPrior(TraitScale(jnp.zeros(k), jnp.zeros(k)), jnp.zeros((k, k)), jnp.zeros(()))
    chunks = jnp.zeros((sessions, _CHUNKS))
    rest = jnp.zeros(sessions)
    logs = Sessions(chunks, chunks, jnp.zeros((sessions, _CHUNKS - 1)), rest, jnp.zeros((sessions, len(DEVICES))), rest)
    return SessionModel(
        population=PopulationModel(first_guess(settings.form, _CHUNKS), trees, settings.sizes),
        prior=prior,
        weight=jnp.zeros((raters, k)),
        covariance=jnp.zeros((raters, k, k)),
        device=jnp.zeros(raters, jnp.int32),
        rated=jnp.zeros((raters, ratings), jnp.int32),
        score=jnp.zeros((raters, ratings)),
        logs=logs,
    )


def _zeros(shapes: FittedUsers) -> FittedUsers:
    return jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes)
