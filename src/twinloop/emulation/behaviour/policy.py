"""Viewers as twins emulate them: the machine corrected by a network that sees place, length, liking and history."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.emulation.behaviour.machine import (
    PHASES,
    AbstractBehaviour,
    History,
    Machine,
    Video,
    no_history,
    step_edges_s,
)
from twinloop.learning import Choice, StoppingPolicy, log_stop

PLACES = 8
GIVENS = 7 + 2 * PHASES
_WEIGHT = 3.0


class Imitated(AbstractBehaviour):
    """The machine's intensities times exp(net), a policy trained to imitate viewers."""

    machine: Machine
    policy: StoppingPolicy

    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """The policy's intensity of leaving in each step."""
        return self.policy.intensity(see(self.machine, history, video, edges_s))

    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """History with this video, against the machine's expectation."""
        return self.machine.remember(history, video, watched_s)


def see(machine: Machine, history: History, video: Video, edges_s: Float[Array, "users edges"]) -> Choice:
    """What the policy sees of a video before it begins."""
    return Choice(_where(video, edges_s), _given(history, video), machine.intensity(history, video, edges_s))


def _where(video: Video, edges_s: Float[Array, "users edges"]) -> Float[Array, "users steps places"]:
    """Where each step lies: seconds and share of the video, the loop, and how near to a start or an end."""
    length = video.length_s[:, None]
    middle = 0.5 * (edges_s[:, 1:] + edges_s[:, :-1])
    loop = jnp.floor(middle / length)
    within = middle - loop * length
    features = [
        jnp.log1p(middle) / 3.0,
        within / length,
        jnp.minimum(loop, 3.0) / 2.0,
        (loop > 0).astype(jnp.float32),
        jnp.exp(-within),
        jnp.exp(within - length),
        jnp.exp(-middle / 3.0),
        jnp.broadcast_to(jnp.log(length) - 3.0, middle.shape),
    ]
    return jnp.stack(features, axis=2)


def _given(history: History, video: Video) -> Float[Array, "users givens"]:
    """What is known before the video begins: length, liking, last outcome, the user's factors of all times and late."""
    ratio = history.last_ratio
    some = (ratio >= 0).astype(jnp.float32)
    features = [
        jnp.log(video.length_s) - 3.0,
        video.liking.astype(jnp.float32),
        jnp.log1p(history.seen) / 3.0,
        some,
        some * jnp.minimum(ratio, 1.0),
        some * (ratio >= 1).astype(jnp.float32),
        some * jnp.log1p(jnp.maximum(ratio - 1.0, 0.0)),
    ]
    factor = jnp.log((history.left + _WEIGHT) / (history.expected + _WEIGHT))
    return jnp.concatenate([jnp.stack(features, axis=1), 2.0 * factor, history.recent], axis=1)


def leave_probability(
    model: AbstractBehaviour, history: History, video: Video, seconds: int
) -> Float[Array, "users {seconds}"]:
    """P(leave in second t | second t is reached), t = 0 .. `seconds` - 1, for every user's video, replays included."""
    edges = jnp.arange(seconds + 1, dtype=jnp.float32)[None, :]
    return -jnp.expm1(-model.intensity(history, video, jnp.tile(edges, (video.length_s.shape[0], 1))))


def watching_forecast(
    model: AbstractBehaviour, history: History, video: Video, position_s: Float[Array, " users"], horizon: int
) -> Float[Array, "users {horizon}"]:
    """P(segment n is watched) = exp(-(H(n) - H(n0))) for the `horizon` segments of 1 s from n0 = floor(position_s) on.

    Column 0 is 1: it is being watched. Segments beyond the end of the video have probability 0.
    """
    segment = jnp.floor(position_s)[:, None] + jnp.arange(horizon, dtype=jnp.float32)[None, :]
    edges = jnp.concatenate([jnp.zeros((segment.shape[0], 1)), segment], axis=1)
    step = model.intensity(history, video, edges)[:, 1:]
    reached = jnp.exp(-jnp.cumsum(step, axis=1))
    watched = jnp.concatenate([jnp.ones((segment.shape[0], 1)), reached], axis=1)
    return jnp.where(segment < video.length_s[:, None], watched, 0.0)


def own_factor(
    model: AbstractBehaviour, history: History, video: Video, edges_s: Float[Array, "users edges"]
) -> Float[Array, "users steps"]:
    """What a user's history multiplies the intensity of each step by, against a user of whom nothing is known."""
    nobody = no_history(video.length_s.shape[0])
    known, unknown = (model.intensity(h, video, edges_s) for h in (history, nobody))
    return jnp.where(unknown > 0, known / jnp.maximum(unknown, 1e-12), 1.0)


def log_chances(model: AbstractBehaviour, history: History, video: Video) -> Float[Array, "users steps"]:
    """ln P(the view ends in each of the judged steps)."""
    edges = jnp.tile(step_edges_s()[None, :], (video.length_s.shape[0], 1))
    return log_stop(model.intensity(history, video, edges))


def ending_step(watched_s: Float[Array, "*views"]) -> Int[Array, "*views"]:
    """Judged step in which a view ended; the last one holds whatever lasted longer."""
    edges = step_edges_s()
    step = jnp.searchsorted(edges, watched_s, side="right") - 1
    return jnp.clip(step, 0, edges.shape[0] - 2).astype(jnp.int32)


def step_middle_s() -> Float[Array, " steps"]:
    """Time in the middle of each judged step."""
    edges = step_edges_s()
    return 0.5 * (edges[1:] + edges[:-1])


def watch_through(
    key: PRNGKeyArray,
    model: AbstractBehaviour,
    length_s: Float[Array, "users videos"],
    liking: Int[Array, "users videos"],
) -> Float[Array, "users videos"]:
    """How long viewers without history watch each of the videos shown to them in turn, in the judged steps."""
    users, videos = length_s.shape
    middle = step_middle_s()

    def one(history: History, now: tuple[Array, Array, PRNGKeyArray]) -> tuple[History, Array]:
        length, said, k = now
        video = Video(length, said, jnp.ones_like(length))
        step = jax.random.categorical(k, log_chances(model, history, video), axis=1)
        return model.remember(history, video, middle[step]), middle[step]

    shown = (length_s.T, liking.T, jax.random.split(key, videos))
    return jax.lax.scan(one, no_history(users), shown)[1].T
