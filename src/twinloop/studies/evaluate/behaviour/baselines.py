"""What emulated viewers must beat: one hazard by second for all, and the shipped types times viewers' factors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from twinloop.datasets import ViewingFigures
from twinloop.emulation import AbstractBehaviour, History, Video, ending_step, no_history, step_edges_s
from twinloop.training import Views

_NODES = 15


class BySecond(AbstractBehaviour):
    """One cumulative hazard H(t) for all viewers and videos, at the edges of the judged steps, linear between them."""

    cumulative: Float[Array, " edges"]

    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """Differences of H."""
        del history, video
        return jnp.diff(jnp.interp(edges_s, step_edges_s(), self.cumulative), axis=1)

    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """Nothing is remembered."""
        del video, watched_s
        return history


class Shipped(AbstractBehaviour):
    """The simulator's viewers where a video's type is not known: S(t) = sum_k P(k | length) E_f[exp(-f H_k(t / L))].

    Factors f are lognormal with mean 1. Nobody leaves after the end: replays are unknown to it.
    """

    knots: Float[Array, " knots"]
    cumulative: Float[Array, "types knots"]
    log_mean: Float[Array, " types"]
    log_std: Float[Array, " types"]
    share: Float[Array, " types"]
    factor: Float[Array, " nodes"]
    weight: Float[Array, " nodes"]

    def intensity(
        self, history: History, video: Video, edges_s: Float[Array, "users edges"]
    ) -> Float[Array, "users steps"]:
        """Differences of -ln S."""
        del history
        z = (jnp.log(video.length_s)[:, None] - self.log_mean[None, :]) / self.log_std[None, :]
        kind = jax.nn.softmax(jnp.log(self.share / self.log_std)[None, :] - 0.5 * z**2, axis=1)
        reached = jnp.minimum(edges_s / video.length_s[:, None], 1.0)
        total = jax.vmap(lambda row: jnp.interp(reached, self.knots, row))(self.cumulative)
        mixed = jnp.exp(-total[..., None] * self.factor[None, None, None, :]) @ self.weight
        return jnp.maximum(-jnp.diff(jnp.log(jnp.einsum("kue,uk->ue", mixed, kind)), axis=1), 0.0)

    def remember(self, history: History, video: Video, watched_s: Float[Array, " users"]) -> History:
        """Nothing is remembered: shipped factors are drawn, not learned."""
        del video, watched_s
        return history


def by_second(views: Views) -> BySecond:
    """Nelson and Aalen's cumulative hazard over the judged steps of all views."""
    exists = np.asarray(views.exists) > 0
    step = np.asarray(ending_step(views.watched_s))[exists]
    left = np.bincount(step, minlength=step_edges_s().shape[0] - 1)
    reached = np.cumsum(left[::-1])[::-1]
    hazard = (left + 0.5) / (reached + 1.0)
    return BySecond(jnp.asarray(np.concatenate([[0.0], np.cumsum(-np.log1p(-hazard))]), jnp.float32))


def shipped(figures: ViewingFigures) -> Shipped:
    """The shipped figures as behaviour."""
    node, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    spread = figures.factor_spread
    types = figures.types
    parts = (
        figures.knots,
        [kind.cumulative_hazard for kind in types],
        [kind.log_length_mean for kind in types],
        [kind.log_length_std for kind in types],
        [kind.share for kind in types],
        np.exp(spread * node - spread**2 / 2),
        weight / weight.sum(),
    )
    return Shipped(*(jnp.asarray(part, jnp.float32) for part in parts))


@eqx.filter_jit
def first_watch(model: AbstractBehaviour, views: Views) -> Float[Array, "people views"]:
    """ln P(the judged step before the end in which the view was left, or that the end was reached); 0 for padding."""
    edges = step_edges_s()[None, :]

    def one(history: History, now: tuple[Array, Array, Array]) -> tuple[History, Array]:
        length, liking, watched = now
        video = Video(length, liking, jnp.ones_like(length))
        risk = model.intensity(history, video, jnp.minimum(edges, length[:, None]))
        step = ending_step(watched)[:, None]
        here = jnp.take_along_axis(risk, step, axis=1)[:, 0]
        before = jnp.take_along_axis(jnp.cumsum(risk, axis=1) - risk, step, axis=1)[:, 0]
        left = jnp.log(-jnp.expm1(-jnp.maximum(here, 1e-12))) - before
        got = jnp.where(watched < length, left, -jnp.sum(risk, axis=1))
        return model.remember(history, video, watched), got

    start = no_history(views.length_s.shape[0])
    _, got = jax.lax.scan(one, start, (views.length_s.T, views.liking.T, views.watched_s.T))
    return got.T * views.exists
