"""The structured model of a population: opinion = best x S(quality of chunks) x I(stalls, start-up)."""

from dataclasses import fields
from functools import partial
from typing import Final, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

from twinloop.learning import least_squares
from twinloop.training.experience.sessions import DEVICES, Sessions

Form = Literal["levels", "sizes", "slopes"]

FORMS: Final[tuple[Form, ...]] = ("levels", "sizes", "slopes")
"""Which terms are free: levels of quality only; also difficulty from chunk sizes; also its effect on the slope, the
encoded rate, and a need for rate by device."""

_KNOTS: Final = (0.8, 1.6, 2.3, 2.9, 3.4, 3.8, 4.2, 4.6, 5.2)
_SIZES: Final = ("difficulty_shift",)
_SLOPES: Final = ("difficulty_slope", "device_need", "encoded_share")
_BY_DEVICE: Final = ("device_top", "mid", "device_need", "stall_raw", "count_raw", "recency")
_OFF_LOGIT: Final = -30.0
_BRIEF_S: Final = 0.2
_ABOVE_ZERO: Final = 30.0
_FULL: Final = 100.0
_PRIOR_WEIGHT: Final = 3.0
_ROUNDS: Final = 40


class StructuredModel(eqx.Module):
    """MOS = 100 top S I of a session, in words of what a viewer meets.

    Chunk k of level l_k [ln of rate over 100 kbit/s] has the quality q_k = sigmoid(mid + shift + gain c(l_k)), where c
    rises through `rises` between knots, HEVC adds `codec` and turns the gain by `codec_slope`, and difficult pictures
    shift q and turn the gain. S = (1 - m) sum_k w_k q_k + m min q - up sum(rises of q) - down sum(falls of q).
    I = exp(-stall tau ln(1 + sum_k r_k s_k/tau) - count n - startup ln(1 + s_0)), with seconds s_k, r_k = exp(recency)
    by place, n stalls (a brief one counts less). Weights named *_raw pass through softplus, so every term keeps its
    sign. Shape of S x I: paper 000, eq. (1); the terms are ours.
    """

    top: Float[Array, ""]
    device_top: Float[Array, " devices"]
    mid: Float[Array, " devices"]
    rises_raw: Float[Array, " knots"]
    codec: Float[Array, ""]
    codec_slope: Float[Array, ""]
    difficulty_shift: Float[Array, " 4"]
    difficulty_slope: Float[Array, " 4"]
    device_need: Float[Array, " devices"]
    encoded_share: Float[Array, ""]
    place: Float[Array, " chunks"]
    least_share: Float[Array, ""]
    up_raw: Float[Array, ""]
    down_raw: Float[Array, ""]
    stall_raw: Float[Array, " devices"]
    count_raw: Float[Array, " devices"]
    recency: Float[Array, " devices"]
    patience_raw: Float[Array, ""]
    startup_raw: Float[Array, ""]

    def quality(self, sessions: Sessions) -> Float[Array, "sessions chunks"]:
        """q of every chunk, in [0, 1]."""
        share = jax.nn.sigmoid(self.encoded_share)
        level = (
            sessions.level + share * (sessions.rate - sessions.level) + (sessions.device @ self.device_need)[:, None]
        )
        knots = jnp.asarray(_KNOTS)
        along = (level[..., None] - knots[None, None, :-1]) / jnp.diff(knots)[None, None]
        ramp = jnp.clip(along, jnp.zeros(len(_KNOTS) - 1).at[0].set(-2.0)[None, None], 1.0)
        difficulty = sessions.difficulty
        gain = jnp.exp(self.codec_slope * sessions.hevc + difficulty @ self.difficulty_slope)
        shift = sessions.device @ self.mid + self.codec * sessions.hevc + difficulty @ self.difficulty_shift
        return jax.nn.sigmoid(shift[:, None] + gain[:, None] * (ramp @ jax.nn.softplus(self.rises_raw)))

    def service(self, sessions: Sessions) -> Float[Array, " sessions"]:
        """S: chunks pooled, the worst one and switches counted; kept above 0, below which stalls would raise MOS."""
        quality = self.quality(sessions)
        share = jax.nn.sigmoid(self.least_share)
        pooled = (1.0 - share) * (quality @ jax.nn.softmax(self.place)) + share * quality.min(axis=1)
        step = jnp.diff(quality, axis=1)
        up, down = jnp.maximum(step, 0.0).sum(axis=1), jnp.maximum(-step, 0.0).sum(axis=1)
        service = pooled - jax.nn.softplus(self.up_raw) * up - jax.nn.softplus(self.down_raw) * down
        return jax.nn.softplus(_ABOVE_ZERO * service) / _ABOVE_ZERO

    def impact(self, sessions: Sessions) -> Float[Array, " sessions"]:
        """I in (0, 1]: what stalls and start-up leave."""
        places = sessions.stall_s.shape[1]
        late = (jnp.arange(places) - (places - 1) / 2) / ((places - 1) / 2)
        weight = sessions.device @ jnp.exp(self.recency[:, None] * late[None])
        patience_s = jax.nn.softplus(self.patience_raw)
        felt_s = patience_s * jnp.log1p((sessions.stall_s * weight).sum(axis=1) / patience_s)
        count = (1.0 - jnp.exp(-sessions.stall_s / _BRIEF_S)).sum(axis=1)
        stalling = jax.nn.softplus(sessions.device @ self.stall_raw) * felt_s / 3.0
        counted = jax.nn.softplus(sessions.device @ self.count_raw) * count
        return jnp.exp(-stalling - counted - jax.nn.softplus(self.startup_raw) * jnp.log1p(sessions.startup_s))

    def __call__(self, sessions: Sessions) -> Float[Array, " sessions"]:
        """Expected MOS, at most 100."""
        top = jax.nn.sigmoid(self.top + sessions.device @ self.device_top)
        return _FULL * top * self.service(sessions) * self.impact(sessions)


def first_guess(form: Form, chunks: int) -> StructuredModel:
    """Where fits start, which is also what they are drawn to: a viewer who minds everything a little."""
    devices, nothing = jnp.zeros(len(DEVICES)), jnp.zeros(())
    return StructuredModel(
        top=nothing + 1.5,
        device_top=devices,
        mid=devices - 2.5,
        rises_raw=jnp.full(len(_KNOTS) - 1, -0.5),
        codec=nothing + 0.3,
        codec_slope=nothing,
        difficulty_shift=jnp.zeros(4),
        difficulty_slope=jnp.zeros(4),
        device_need=devices,
        encoded_share=nothing + (-1.0 if form == "slopes" else _OFF_LOGIT),
        place=jnp.zeros(chunks),
        least_share=nothing - 2.0,
        up_raw=nothing - 2.0,
        down_raw=nothing - 2.0,
        stall_raw=devices + jnp.asarray([-2.0, -1.5, -2.0]),
        count_raw=devices - 3.0,
        recency=devices,
        patience_raw=nothing + 2.0,
        startup_raw=nothing - 2.0,
    )


@partial(jax.jit, static_argnames="form")
def fit_structured(
    sessions: Sessions, mos: Float[Array, " sessions"], used: Float[Array, "fits sessions"], form: Form
) -> StructuredModel:
    """Models fitted to the sessions that each row of `used` marks with 1, all at once; a leading axis counts fits.

    Least squares of MOS - model, and of 3 x (parameter - first guess): a prior of 1.7 where MOS is known to 5. A device
    that a fit has not seen gets the mean of the others.
    """
    guess = first_guess(form, sessions.level.shape[1])
    start, parameters = ravel_pytree(guess)
    held = {"levels": _SIZES + _SLOPES, "sizes": _SLOPES, "slopes": ()}[form]
    free, _ = ravel_pytree(_marked(guess, held))

    def one(weight: Float[Array, " sessions"]) -> StructuredModel:
        def residual(theta: Float[Array, " n"]) -> Float[Array, " m"]:
            model = parameters(start + free * (theta - start))
            return jnp.concatenate([weight * (model(sessions) - mos), _PRIOR_WEIGHT * (theta - start)])

        return _for_new_devices(parameters(least_squares(residual, start, _ROUNDS)), weight @ sessions.device > 0)

    return jax.vmap(one)(used)


def _for_new_devices(model: StructuredModel, seen: Bool[Array, " devices"]) -> StructuredModel:
    """The model with the mean of devices seen in place of what a device not seen would keep of the first guess."""
    arrays = {each.name: getattr(model, each.name) for each in fields(model)}
    for name in _BY_DEVICE:
        mean = jnp.sum(jnp.where(seen, arrays[name], 0.0)) / jnp.maximum(seen.sum(), 1)
        arrays[name] = jnp.where(seen, arrays[name], mean)
    return StructuredModel(**arrays)


def _marked(model: StructuredModel, held: tuple[str, ...]) -> StructuredModel:
    """1 in place of every parameter, 0 in those that are held."""
    arrays = {each.name: getattr(model, each.name) for each in fields(model)}
    marks = {name: jnp.full(array.shape, 0.0 if name in held else 1.0) for name, array in arrays.items()}
    return StructuredModel(**marks)
