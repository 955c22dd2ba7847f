"""Lives of viewers by the second: watch, replay, pause, stall, away. What logs of views cannot show is assumed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.emulation.behaviour.machine import AbstractBehaviour, History, Video, no_history

WATCH, REPLAY, PAUSE, STALL, AWAY = range(5)
STATES = ("watch", "replay", "pause", "stall", "away")


class Assumptions(eqx.Module):
    """What no log here identifies; every figure is assumed.

    A playing viewer pauses with `pause_per_s` for a mean of `pause_mean_s`; after a video the session ends with
    `session_end` and the next begins after a mean of `away_mean_s`. A stall is borne for `patience_s`; from then on
    every stalled second loses `stall_leave_per_s` of the viewers to the next video. The last two are the shares that
    Krishnan and Sitaraman (IMC 2012) found for start-up delays of long videos: 5.8 % a second beyond 2 s.
    """

    pause_per_s: Float[Array, ""]
    pause_mean_s: Float[Array, ""]
    session_end: Float[Array, ""]
    away_mean_s: Float[Array, ""]
    patience_s: Float[Array, ""]
    stall_leave_per_s: Float[Array, ""]


class Life(eqx.Module):
    """Where every viewer is: state, place among the videos, position in it, how long playback has been stalled."""

    state: Int[Array, " users"]
    turn: Int[Array, " users"]
    watched_s: Float[Array, " users"]
    stalled_s: Float[Array, " users"]
    history: History


class Lived(eqx.Module):
    """States by second, and how many videos each viewer was shown."""

    state: Int[Array, "users seconds"]
    shown: Int[Array, " users"]


def default_assumptions() -> Assumptions:
    """A pause in about 200 s of 5 s, one session in 20 videos and 5 min away, stalls as in the source of the class."""
    return Assumptions(*(jnp.float32(value) for value in (0.005, 5.0, 0.05, 300.0, 2.0, 0.058)))


def live(
    key: PRNGKeyArray,
    model: AbstractBehaviour,
    assumed: Assumptions,
    length_s: Float[Array, "users videos"],
    liking: Int[Array, "users videos"],
    stalled: Bool[Array, "users seconds"],
) -> Lived:
    """Viewers from their first video on, in seconds of which `stalled` ones play nothing; videos come round again.

    A second is watched whole before it is left.
    """
    users, seconds = stalled.shape
    rest = jnp.zeros(users, jnp.int32)
    start = Life(rest, rest, jnp.zeros(users), jnp.zeros(users), no_history(users))

    def second(life: Life, now: tuple[PRNGKeyArray, Array]) -> tuple[Life, Array]:
        after = _second(now[0], model, assumed, life, _shown(life, length_s, liking), now[1])
        return after, after.state

    end, states = jax.lax.scan(second, start, (jax.random.split(key, seconds), stalled.T))
    return Lived(states.T, end.turn + 1)


def _shown(life: Life, length_s: Float[Array, "users videos"], liking: Int[Array, "users videos"]) -> Video:
    turn = (life.turn % length_s.shape[1])[:, None]
    length = jnp.take_along_axis(length_s, turn, axis=1)[:, 0]
    return Video(length, jnp.take_along_axis(liking, turn, axis=1)[:, 0], jnp.ones_like(length))


def _second(
    key: PRNGKeyArray,
    model: AbstractBehaviour,
    assumed: Assumptions,
    life: Life,
    video: Video,
    stalls: Bool[Array, " users"],
) -> Life:
    chance = jax.random.uniform(key, (3, stalls.shape[0]))
    returns = (life.state == AWAY) & (chance[0] < 1.0 / assumed.away_mean_s)
    resumes = (life.state == PAUSE) & (chance[0] < 1.0 / assumed.pause_mean_s)
    here = (life.state != AWAY) | returns
    playing = here & ((life.state != PAUSE) | resumes)
    pauses = playing & ~resumes & (chance[0] < assumed.pause_per_s)
    stuck = playing & ~pauses & stalls
    plays = playing & ~pauses & ~stalls
    edges = jnp.stack([jnp.zeros_like(life.watched_s), life.watched_s, life.watched_s + 1.0], axis=1)
    leave = -jnp.expm1(-model.intensity(life.history, video, edges)[:, 1])
    stalled_s = jnp.where(stuck, life.stalled_s + 1.0, jnp.where(plays, 0.0, life.stalled_s))
    gives_up = stuck & (stalled_s > assumed.patience_s) & (chance[1] < assumed.stall_leave_per_s)
    moves = (plays & (chance[1] < leave)) | gives_up
    goes = moves & (chance[2] < assumed.session_end)
    watched_s = life.watched_s + plays
    state = jnp.where(plays, jnp.where(watched_s > video.length_s, REPLAY, WATCH), AWAY)
    state = jnp.where(stuck, STALL, jnp.where(here & ~playing | pauses, PAUSE, state))
    ended = model.remember(life.history, video, jnp.maximum(watched_s - 0.5, 0.0))
    history = jax.tree.map(
        lambda new, old: jnp.where(moves.reshape(-1, *(1,) * (new.ndim - 1)), new, old), ended, life.history
    )
    return Life(
        state=jnp.where(goes, AWAY, state).astype(jnp.int32),
        turn=life.turn + moves,
        watched_s=jnp.where(moves, 0.0, watched_s),
        stalled_s=jnp.where(moves, 0.0, stalled_s),
        history=history,
    )
