"""Viewers learned from a log of views: the machine by counting, its correction by cloning or adversarial imitation."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int64

from twinloop.datasets import HELD_OUT_RULE, ViewingLog, held_out, load_viewing_log
from twinloop.emulation import (
    GIVENS,
    LENGTH_EDGES_S,
    LIKINGS,
    LOOPS,
    OUTCOMES,
    PLACES,
    ZONES,
    AbstractBehaviour,
    Frailty,
    History,
    Imitated,
    Machine,
    Video,
    default_assumptions,
    ending_step,
    exposure,
    length_class,
    liking_class,
    log_chances,
    no_history,
    outcome_class,
    place,
    see,
    step_edges_s,
    step_middle_s,
)
from twinloop.errors import DataError, ModelError
from twinloop.learning import (
    Adversarial,
    Choice,
    Recorded,
    Stops,
    World,
    critic_of,
    fit,
    imitate,
    load_model,
    observed,
    read_card,
    save_model,
    stopping_policy,
    surprise,
)

Method = Literal["machine", "clone", "gail", "gail_alone"]
METHODS: tuple[Method, ...] = get_args(Method)
KIND = "viewers"
_PRIORS = (2.0, 5.0, 10.0, 20.0, 50.0)
_SHAPES = (2.0, 4.0, 8.0, 16.0, 32.0)
_LEAST_PEOPLE = 10
_WINDOW = 12
_WIDTH = 32


class Views(eqx.Module):
    """Views by person in the order of the log, padded; `exists` is 1 for a view, 0 for padding."""

    length_s: Float[Array, "people views"]
    liking: Int[Array, "people views"]
    watched_s: Float[Array, "people views"]
    exists: Float[Array, "people views"]


@dataclass(frozen=True)
class Crowd:
    """People for training, for tuning what training leaves open, and unseen ones, by a rule on their ids."""

    train: Views
    tuning: Views
    unseen: Views


@dataclass(frozen=True)
class Effort:
    """How long networks are trained."""

    clone_steps: int = 2000
    gail: Adversarial = field(default_factory=Adversarial)
    gail_alone: Adversarial = field(default_factory=lambda: Adversarial(steps=600, learning_rate=1e-3, likelihood=0.0))


def split_people(log: ViewingLog, path: Path) -> Crowd:
    """The people of a log: unseen by the shipped rule, a third of the others for tuning, the rest for training.

    Raises DataError, naming `path`, where fewer than ten are left for one of the three.
    """
    users = np.unique(log.user_id)
    unseen = np.array([held_out(str(user)) for user in users], bool)
    tuning = np.array([held_out(f"tuning {user}") for user in users], bool) & ~unseen
    parts = (users[~unseen & ~tuning], users[tuning], users[unseen])
    if (fewest := min(len(part) for part in parts)) < _LEAST_PEOPLE:
        raise DataError(path, f"{fewest} people in one part of the split", f"at least {_LEAST_PEOPLE} in each of three")
    return Crowd(*(views_of(log, part) for part in parts))


def views_of(log: ViewingLog, users: Int64[np.ndarray, " people"]) -> Views:
    """The views of `users`, a row each."""
    rows = [np.flatnonzero(log.user_id == user) for user in users]
    longest = max(len(row) for row in rows)

    def padded(values: np.ndarray, fill: float) -> np.ndarray:
        return np.stack([np.pad(values[row], (0, longest - len(row)), constant_values=fill) for row in rows])

    return Views(
        length_s=jnp.asarray(padded(log.duration_s, 15.0), jnp.float32),
        liking=jnp.asarray(padded(np.where(log.liked, 1, -1), 0.0), jnp.int32),
        watched_s=jnp.asarray(padded(log.play_s, 0.0), jnp.float32),
        exists=jnp.asarray(padded(np.ones(log.rows), 0.0), jnp.float32),
    )


def fit_machine(
    views: Views, prior: float, *, lengths: bool = True, likings: bool = True, outcomes: bool = True
) -> Machine:
    """Rates by counting, leaves over exposure, for the classes that are asked for.

    rate = (leaves + m) / (exposure + m / wider rate), m = `prior`: the mean under a Gamma prior that weighs m leaves at
    the rate of the wider class: everything, then the length, then the liking, then the outcome of the last video.
    """
    exists = np.asarray(views.exists) > 0
    ratio = np.asarray(views.watched_s / views.length_s)
    last = np.concatenate([np.full((len(ratio), 1), -1.0, np.float32), ratio[:, :-1]], axis=1)
    length, watched, liking, last = (
        jnp.asarray(np.asarray(values)[exists]) for values in (views.length_s, views.watched_s, views.liking, last)
    )
    spent = np.asarray(exposure(watched, length), np.float64)
    loop, zone = (np.asarray(part) for part in place(watched, length))
    left = np.zeros_like(spent)
    left[np.arange(len(left)), loop, zone] = 1.0
    classes = (np.asarray(length_class(length)), np.asarray(liking_class(liking)), np.asarray(outcome_class(last)))
    sizes = (len(LENGTH_EDGES_S) + 1, LIKINGS, OUTCOMES)
    rate = ((left.sum(axis=0) + 0.5) / (spent.sum(axis=0) + 0.5))[None, None, None]
    used, shape = np.zeros((3, len(left)), np.int64), [1, 1, 1]
    for axis, wanted in enumerate((lengths, likings, outcomes)):
        if not wanted:
            continue
        used[axis], shape[axis] = classes[axis], sizes[axis]
        total = np.zeros((2, *shape, LOOPS, ZONES))
        np.add.at(total[0], tuple(used), left)
        np.add.at(total[1], tuple(used), spent)
        narrow = (total[0] + prior) / (total[1] + prior / rate)
        unknown = np.expand_dims(np.arange(shape[axis]) == 0, [k for k in range(5) if k != axis])
        rate = np.where(unknown & (axis > 0), rate, narrow)
    return Machine(jnp.asarray(rate, jnp.float32))


def log_likelihood(model: AbstractBehaviour, views: Views) -> Float[Array, "people views"]:
    """ln P(a view ends in the judged step in which it did | the person's earlier views), nats; 0 for padding."""
    return _log_likelihood(model, views)


@eqx.filter_jit
def _log_likelihood(model: AbstractBehaviour, views: Views) -> Float[Array, "people views"]:
    def one(history: History, now: tuple[Array, Array, Array]) -> tuple[History, Array]:
        length, liking, watched = now
        video = Video(length, liking, jnp.ones_like(length))
        chance = log_chances(model, history, video)
        got = jnp.take_along_axis(chance, ending_step(watched)[:, None], axis=1)[:, 0]
        return model.remember(history, video, watched), got

    start = no_history(views.length_s.shape[0])
    _, got = jax.lax.scan(one, start, (views.length_s.T, views.liking.T, views.watched_s.T))
    return got.T * views.exists


def nats(model: AbstractBehaviour, views: Views) -> float:
    """Mean surprise of a view, -ln P, in nats."""
    return -float(jnp.sum(log_likelihood(model, views)) / jnp.sum(views.exists))


def tuned_machine(crowd: Crowd, *, lengths: bool = True, likings: bool = True, outcomes: bool = True) -> Machine:
    """The machine whose weight of the prior surprises least on the people for tuning."""
    made = [fit_machine(crowd.train, m, lengths=lengths, likings=likings, outcomes=outcomes) for m in _PRIORS]
    return min(made, key=lambda machine: nats(machine, crowd.tuning))


def tuned_frailty(crowd: Crowd, machine: Machine) -> Frailty:
    """The machine with users' factors whose variance surprises least on the people for tuning."""
    made = [Frailty(machine, jnp.float32(shape)) for shape in _SHAPES]
    return min(made, key=lambda model: nats(model, crowd.tuning))


def train_viewers(
    crowd: Crowd, method: Method, seed: int = 0, effort: Effort | None = None, base: Imitated | None = None
) -> AbstractBehaviour:
    """Viewers by one of METHODS.

    `machine` counts. `clone` is the network of highest likelihood over the machine by length and liking; `gail` goes on
    from it (from `base`, where it is given) with the critic and a little likelihood; `gail_alone` starts at the machine
    and has nothing but the critic.
    """
    if method == "machine":
        return tuned_machine(crowd)
    effort = effort or Effort()
    k_net, k_fit, k_critic, k_imitate = jax.random.split(jax.random.key(seed), 4)
    if base is None:
        blank = stopping_policy(k_net, PLACES, GIVENS, _WIDTH)
        base = Imitated(tuned_machine(crowd, outcomes=False), blank)
        if method != "gail_alone":
            seen, held = (_stops(base.machine, views) for views in (crowd.train, crowd.tuning))
            fitted = fit(k_fit, base.policy, surprise, seen, held, steps=effort.clone_steps, batch=256)
            base = Imitated(base.machine, fitted.model)
    if method == "clone":
        return base
    schedule = effort.gail if method == "gail" else effort.gail_alone
    critic = critic_of(k_critic, PLACES, GIVENS, _WIDTH)
    recorded = _windows(base.machine, crowd.train)
    return Imitated(
        base.machine, imitate(k_imitate, base.policy, critic, _world(base.machine), recorded, schedule).policy
    )


def _world(machine: Machine) -> World[History, Video]:
    """Videos shown to people in turn; where one stops is known to the judged step."""
    edges, middle = step_edges_s()[None, :], step_middle_s()

    def observe(history: History, video: Video) -> Choice:
        return see(machine, history, video, jnp.tile(edges, (video.length_s.shape[0], 1)))

    def step(history: History, video: Video, stop: Int[Array, " people"]) -> History:
        return machine.remember(history, video, middle[stop])

    return World(lambda start: start, observe, step)


def _recorded(views: Views, start: History) -> Recorded[Video]:
    video = Video(views.length_s, views.liking, jnp.ones_like(views.length_s))
    return Recorded(start, video, ending_step(views.watched_s), views.exists)


def _stops(machine: Machine, views: Views) -> Stops:
    """Views apart from one another, with the histories that people brought to them; padding left out."""
    recorded = _recorded(views, no_history(views.length_s.shape[0]))
    stops = eqx.filter_jit(observed)(_world(machine), recorded)
    kept = np.flatnonzero(np.asarray(stops.exists) > 0)
    return jax.tree.map(lambda leaf: leaf[kept], stops)


def _windows(machine: Machine, views: Views) -> Recorded[Video]:
    """People cut into windows of videos in a row, each with the history that led to it."""
    count = -(-views.length_s.shape[1] // _WINDOW)
    filled = jax.tree.map(
        lambda leaf: jnp.pad(leaf, ((0, 0), (0, count * _WINDOW - leaf.shape[1])), mode="edge"), views
    )
    inside = jnp.arange(count * _WINDOW)[None, :] < views.length_s.shape[1]
    filled = eqx.tree_at(lambda v: v.exists, filled, filled.exists * inside)
    before = _histories(machine, filled)
    start = jax.tree.map(lambda leaf: leaf[::_WINDOW].swapaxes(0, 1).reshape(-1, *leaf.shape[2:]), before)
    cut = jax.tree.map(lambda leaf: leaf.reshape(-1, _WINDOW), filled)
    some = np.flatnonzero(np.asarray(cut.exists).sum(axis=1) > 0)
    start, cut = jax.tree.map(lambda leaf: leaf[some], (start, cut))
    return _recorded(cut, start)


@eqx.filter_jit
def _histories(machine: Machine, views: Views) -> History:
    """History before each view, views in front."""

    def one(history: History, now: tuple[Array, Array, Array]) -> tuple[History, History]:
        length, liking, watched = now
        return machine.remember(history, Video(length, liking, jnp.ones_like(length)), watched), history

    start = no_history(views.length_s.shape[0])
    return jax.lax.scan(one, start, (views.length_s.T, views.liking.T, views.watched_s.T))[1]


def train_and_save_viewers(
    data: Path,
    out: Path,
    method: Method = "gail",
    *,
    seed: int = 0,
    effort: Effort | None = None,
    command: str = "",
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:
    """Train viewers on the people of `kuairand_explicit` that are not held out; write weights and card; give metrics.

    The card holds what was assumed, not fitted, too. Raises DataError for data that cannot be used, OutputError where
    `out` cannot be written.
    """
    log = load_viewing_log(data).required()[0]
    crowd = split_people(log, data / "kuairand_explicit")
    progress(f"training viewers ({method}) on {crowd.train.exists.shape[0]} people")
    model = train_viewers(crowd, method, seed, effort)
    pooled = tuned_machine(crowd, lengths=False, likings=False, outcomes=False)
    metrics = {
        "nats_a_view_training": nats(model, crowd.train),
        "nats_a_view_tuning": nats(model, crowd.tuning),
        "nats_a_view_tuning_pooled_hazard": nats(pooled, crowd.tuning),
    }
    assumed = default_assumptions()
    card = {
        "kind": KIND,
        "method": method,
        "data": "kuairand_explicit",
        "citation": "Gao et al., KuaiRand, CIKM 2022; a subset of rated videos: levels are those of rated videos",
        "split": f"{HELD_OUT_RULE}; of the others those held out as 'tuning ID' tune",
        "people": {part.name: int(getattr(crowd, part.name).exists.shape[0]) for part in fields(crowd)},
        "views": int(jnp.sum(crowd.train.exists)),
        "metrics": metrics,
        "assumed_not_fitted": {part.name: float(getattr(assumed, part.name)) for part in fields(assumed)},
        "seed": seed,
        "command": command,
    }
    save_model(out, model, card)
    return metrics


def load_viewers(path: Path) -> AbstractBehaviour:
    """Viewers that `twinloop train viewers` wrote. Raises ModelError for anything else."""
    card = read_card(path)
    if card.get("kind") != KIND or card.get("method") not in METHODS:
        found = f"a model of kind {card.get('kind')!r}, method {card.get('method')!r}"
        raise ModelError(path, found, "a file that `twinloop train viewers` wrote")
    lengths = len(LENGTH_EDGES_S) + 1
    if card["method"] == "machine":
        return load_model(path, Machine(jnp.zeros((lengths, LIKINGS, OUTCOMES, LOOPS, ZONES))))
    blank = stopping_policy(jax.random.key(0), PLACES, GIVENS, _WIDTH)
    return load_model(path, Imitated(Machine(jnp.zeros((lengths, LIKINGS, 1, LOOPS, ZONES))), blank))
