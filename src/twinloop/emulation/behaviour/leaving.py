"""When viewers leave a video, as a model that can be kept current: the first belief, lifted by class and by second."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_KNOTS_S = (0.0, 1.0, 3.0, 7.0, 15.0, 40.0, 120.0)
_LEAST = 1e-6


class EndedViews(eqx.Module):
    """Viewings that ended: class of the video, the second that was left (the number of seconds of the model where none
    was), and the viewer's own factor on the hazard.
    """

    video_class: Int[Array, " examples"]
    second: Int[Array, " examples"]
    factor: Float[Array, " examples"]


class LeavingModel(eqx.Module):
    """Chance h_ct = 1 - (1 - p_ct)^exp(a_c + b(t)) that a viewer with factor 1 leaves in second t of class c.

    p is the `first` belief and is not trained; a is `by_class`, b is linear in ln(1 + t) between knots at 0, 1, 3, 7,
    15, 40 and 120 s, `by_second`. With a few figures a class it learns a changed world from some hundred views. *Ours*.
    """

    first: Float[Array, "classes seconds"]
    by_class: Float[Array, " classes"]
    by_second: Float[Array, " knots"]

    def hazard(self) -> Float[Array, "classes seconds"]:
        """Chance to leave by class and second; 0 where the first belief is 0."""
        risk = -jnp.log1p(-jnp.clip(jax.lax.stop_gradient(self.first), 0.0, 1.0 - _LEAST))
        at = jnp.log1p(jnp.arange(self.first.shape[1], dtype=jnp.float32))
        lift = jnp.interp(at, jnp.log1p(jnp.asarray(_KNOTS_S, jnp.float32)), self.by_second)
        return -jnp.expm1(-risk * jnp.exp(self.by_class[:, None] + lift[None, :]))


def leaving_model(first: Float[Array, "classes seconds"]) -> LeavingModel:
    """The model that believes in `first`."""
    return LeavingModel(first, jnp.zeros(first.shape[0]), jnp.zeros(len(_KNOTS_S)))


def leaving_surprise(model: LeavingModel, views: EndedViews) -> Float[Array, " examples"]:
    """-ln of the probability (nats) that each view ended as it did.

    Left in second k: S_k (1 - (1 - h_k)^f) with S_k = prod_{t<k} (1 - h_t)^f; watched to the end: S of all seconds.
    """
    stayed, here = _risks(model, views)
    left = -jnp.log(-jnp.expm1(-here) + _LEAST)
    return stayed + jnp.where(views.second < model.first.shape[1], left, 0.0)


def swipe_signals(model: LeavingModel, views: EndedViews) -> Float[Array, " signals"]:
    """How far the number of videos left, N, is from what the model expected of the seconds that were watched, E.

    |N - E| / sqrt(E), and sum_c (N_c - E_c)^2 / E over the classes c: about 1 while the model holds. They find a change
    of all hazards, or of some classes, sooner than the surprise does, in which when a video is left drowns how often.
    """
    stayed, here = _risks(model, views)
    swiped = (views.second < model.first.shape[1]).astype(jnp.float32)
    off = swiped - stayed - 0.5 * here
    expected = jnp.maximum(jnp.sum(swiped - off), _LEAST)
    by_class = jnp.zeros(model.first.shape[0]).at[views.video_class].add(off)
    return jnp.stack([jnp.abs(jnp.sum(off)) / jnp.sqrt(expected), jnp.sum(by_class**2) / expected])


def _risks(model: LeavingModel, views: EndedViews) -> tuple[Float[Array, " examples"], Float[Array, " examples"]]:
    """Each viewer's cumulative hazard before the second that was left, and in it."""
    risk = jnp.pad(-jnp.log1p(-jnp.clip(model.hazard(), 0.0, 1.0 - _LEAST)), ((0, 0), (0, 1)))
    stayed = (jnp.cumsum(risk, axis=1) - risk)[views.video_class, views.second]
    return views.factor * stayed, views.factor * risk[views.video_class, views.second]
