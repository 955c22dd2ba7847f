"""Viewers as a semi-Markov machine: watch, swipe or reach the end; there go on or replay; hazards by place.

These are the states that a log of views identifies. Pauses, leaving the app and stalls stand in `life`.
"""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

LENGTH_EDGES_S = (9.0, 15.0, 30.0, 60.0)
"""Lengths between the classes of the machine."""
ZONE_EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
"""Shares of the video, its first second aside, between the zones of one hazard."""
LOOPS = 3
"""First watch, first replay, every further replay."""
ZONES = len(ZONE_EDGES)
LIKINGS = 3
OUTCOMES = 4
PHASES = 5
_FIRST_S = 1.0
_EARLY_ZONES = 4
_LEFT_SOON = 0.25
_RECENT = 0.7
_FINE_S = 60
_GROWTH = 1.05
_LONGEST_S = 600.0


class Video(eqx.Module):
    """What each user is shown: its length, whether the user likes it (1), hates it (-1) or has not said (0), and what
    its type multiplies hazards by (1 where the type is unknown). Several videos a user have an axis of their own.
    """

    length_s: Float[Array, "*users"]
    liking: Int[Array, "*users"]
    type_factor: Float[Array, "*users"]


class History(eqx.Module):
    """What is remembered of each user: videos seen, watch ratio of the last one (-1 before any), and by phase how many
    videos were left there, how many were expected to be, and of late the difference (each video weighs .7 of the next).

    Phases: the first second, up to 30 % of the video, the rest of it, the second after an end, replays.
    """

    seen: Float[Array, " users"]
    last_ratio: Float[Array, " users"]
    left: Float[Array, "users phases"]
    expected: Float[Array, "users phases"]
    recent: Float[Array, "users phases"]


class AbstractBehaviour(eqx.Module):
    """When viewers leave the video they watch, given what they did before. Time counts on through replays."""

    @abstractmethod
    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """Cumulative hazard of leaving in each step between successive `edges_s`, which ascend from 0.

        A step is survived with probability exp(-intensity); equal edges give 0.
        """

    @abstractmethod
    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """History after `video` was watched for `watched_s`, replays included."""


class Machine(AbstractBehaviour):
    """The semi-Markov machine: `rate` is the hazard by class of length, liking, last outcome, loop and zone.

    H(t) = sum over loops and zones of rate x exposure(t), so sojourns are piecewise exponential. Zone 0 is the first
    second of a loop, in 1/s: in the first loop a swipe at once, in later ones the choice at the end between the next
    video and a replay. The other zones are shares of the rest of the loop, rates per loop. An axis of size 1 does not
    distinguish; index 0 of liking and outcome means not known. Left out: time of day, what the video shows.
    """

    rate: Float[Array, "lengths likings outcomes loops zones"]

    def rates(self, history: History, video: Video) -> Float[Array, "users loops zones"]:
        """The hazards of every user's class, times the factor of the video's type."""
        lengths, likings, outcomes = self.rate.shape[:3]
        row = jnp.minimum(length_class(video.length_s), lengths - 1)
        said = jnp.minimum(liking_class(video.liking), likings - 1)
        last = jnp.minimum(outcome_class(history.last_ratio), outcomes - 1)
        return self.rate[row, said, last] * video.type_factor[:, None, None]

    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """Differences of H between the edges."""
        spent = exposure(edges_s, video.length_s[:, None])
        total = jnp.einsum("uelz,ulz->ue", spent, self.rates(history, video))
        return jnp.maximum(jnp.diff(total, axis=1), 0.0)

    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """History with this video; what was expected is the machine's own hazard."""
        loop, zone = place(watched_s, video.length_s)
        first = jnp.where(zone == 0, 0, jnp.where(zone > _EARLY_ZONES, 2, 1))
        phase = jnp.where(loop > 0, jnp.where(zone == 0, 3, 4), first)
        left = (phase[:, None] == jnp.arange(PHASES)[None, :]).astype(jnp.float32)
        expected = _by_phase(exposure(watched_s, video.length_s) * self.rates(history, video))
        return History(
            seen=history.seen + 1.0,
            last_ratio=watched_s / video.length_s,
            left=history.left + left,
            expected=history.expected + expected,
            recent=_RECENT * history.recent + left - expected,
        )


class Frailty(AbstractBehaviour):
    """A machine with a factor of each user's own, Gamma distributed with mean 1 and variance 1 / `shape`.

    After N videos left against E expected the factor is Gamma(shape + N, shape + E) distributed; mixed over it, the
    step from H to H' has intensity (shape + N) ln[(shape + E + H') / (shape + E + H)].
    """

    machine: Machine
    shape: Float[Array, ""]

    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """Intensity mixed over what is known of the user's factor."""
        step = self.machine.intensity(history, video, edges_s)
        before = self.shape + jnp.sum(history.expected, axis=1)[:, None] + jnp.cumsum(step, axis=1) - step
        return (self.shape + jnp.sum(history.left, axis=1))[:, None] * jnp.log1p(step / before)

    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """History with this video, against the machine's expectation."""
        return self.machine.remember(history, video, watched_s)


def no_history(users: int) -> History:
    """Nobody has seen anything."""
    nothing = jnp.zeros((users, PHASES))
    return History(jnp.zeros(users), jnp.full(users, -1.0), nothing, nothing, nothing)


def step_edges_s() -> Float[Array, " edges"]:
    """Times between the steps in which views are judged: seconds up to 60 s, then growing by 5 % up to 600 s."""
    growing = _FINE_S * _GROWTH ** np.arange(1, np.log(_LONGEST_S / _FINE_S) / np.log(_GROWTH))
    return jnp.asarray(np.concatenate([np.arange(_FINE_S + 1), growing, [_LONGEST_S]]), jnp.float32)


def length_class(length_s: Float[Array, " views"]) -> Int[Array, " views"]:
    """Class of a video by its length, 0 the shortest."""
    return jnp.searchsorted(jnp.asarray(LENGTH_EDGES_S), length_s, side="right").astype(jnp.int32)


def liking_class(liking: Int[Array, " views"]) -> Int[Array, " views"]:
    """0 not said, 1 hated, 2 liked."""
    return jnp.where(liking == 0, 0, jnp.where(liking < 0, 1, 2)).astype(jnp.int32)


def outcome_class(ratio: Float[Array, " views"]) -> Int[Array, " views"]:
    """0 not known, 1 left in the first quarter, 2 left later, 3 seen to the end."""
    return jnp.where(ratio < 0, 0, jnp.where(ratio < _LEFT_SOON, 1, jnp.where(ratio < 1, 2, 3))).astype(jnp.int32)


def place(
    watched_s: Float[Array, " views"], length_s: Float[Array, " views"]
) -> tuple[Int[Array, " views"], Int[Array, " views"]]:
    """Loop and zone in which a view ended."""
    loop = jnp.floor(watched_s / length_s)
    first = _first_s(length_s)
    within = watched_s - loop * length_s
    share = (within - first) / (length_s - first)
    zone = jnp.searchsorted(jnp.asarray(ZONE_EDGES[:-1]), share, side="right")
    return jnp.minimum(loop, LOOPS - 1).astype(jnp.int32), jnp.where(within < first, 0, zone).astype(jnp.int32)


def exposure(
    watched_s: Float[Array, "*any"], length_s: Float[Array, "*any_length"]
) -> Float[Array, "*any loops zones"]:
    """Time at risk in every loop and zone up to `watched_s`: seconds in zone 0, shares of the loop in the others.

    `length_s` has as many axes as `watched_s`, each as long or 1.
    """
    watched, length = jnp.broadcast_arrays(watched_s, length_s)
    axes = (1,) * watched.ndim
    low = jnp.asarray(ZONE_EDGES[:-1]).reshape(*axes, -1)
    width = jnp.diff(jnp.asarray(ZONE_EDGES)).reshape(*axes, -1)
    whole, first = jnp.floor(watched / length), _first_s(length)
    within = watched - whole * length
    share = jnp.clip((within - first) / (length - first), 0.0, 1.0)[..., None]
    part = jnp.concatenate([jnp.minimum(within, first)[..., None], jnp.clip(share - low, 0.0, width)], axis=-1)
    full = jnp.concatenate([first[..., None], jnp.broadcast_to(width, (*watched.shape, ZONES - 1))], axis=-1)
    loop = jnp.arange(LOOPS, dtype=jnp.float32).reshape(*axes, -1)
    whole = whole[..., None]
    current = jnp.minimum(whole, LOOPS - 1.0)
    further = jnp.where(loop == LOOPS - 1, jnp.maximum(whole - (LOOPS - 1), 0.0), 0.0)
    done = jnp.where(loop < current, 1.0, further)
    here = (loop == current).astype(jnp.float32)
    return done[..., None] * full[..., None, :] + here[..., None] * part[..., None, :]


def _by_phase(risk: Float[Array, "users loops zones"]) -> Float[Array, "users phases"]:
    parts = (
        risk[:, 0, 0],
        jnp.sum(risk[:, 0, 1 : _EARLY_ZONES + 1], axis=1),
        jnp.sum(risk[:, 0, _EARLY_ZONES + 1 :], axis=1),
        jnp.sum(risk[:, 1:, 0], axis=1),
        jnp.sum(risk[:, 1:, 1:], axis=(1, 2)),
    )
    return jnp.stack(parts, axis=1)


def _first_s(length_s: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """How long the first second of a loop lasts: 1 s, or half of a video shorter than 2 s."""
    return jnp.minimum(_FIRST_S, 0.5 * length_s)
