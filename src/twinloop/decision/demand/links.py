"""What twins believe of a link ahead: two Gauss-Markov processes under the levels seen; belief fades with age."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, PRNGKeyArray

_LEAST_P = 1e-3
_FAST_S, _SLOW_S = 10.0, 90.0


class LinkModel(eqx.Module):
    """How SINR wanders, z = slow + fast + noise in normal scores: a level is Q(Phi(z)), Q the quantiles seen.

    `levels_db` holds Q at evenly spaced probabilities. z has variance 1 over users and times; `share` is how much of it
    lies in the slow process (where a user is) and in the fast one (obstacles on the way), the rest is new in every
    report; `memory_s` are their memories: corr(x_t, x_t+a) = exp(-a / memory).
    """

    levels_db: Float[Array, " levels"]
    share: Float[Array, "2"]
    memory_s: Float[Array, "2"]

    def score(self, sinr_db: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """z of a level."""
        place = jnp.linspace(0.0, 1.0, self.levels_db.shape[0])
        p = jnp.interp(sinr_db.reshape(-1), self.levels_db, place).reshape(sinr_db.shape)
        return ndtri(jnp.clip(p, _LEAST_P, 1.0 - _LEAST_P))

    def level_db(self, score: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Level of a z, linear between quantiles."""
        steps = self.levels_db.shape[0]
        place = ndtr(score) * (steps - 1)
        low = jnp.clip(place.astype(jnp.int32), 0, steps - 2)
        return self.levels_db[low] + (place - low) * (self.levels_db[low + 1] - self.levels_db[low])

    @property
    def noise(self) -> Float[Array, ""]:
        """Variance of what is new in every report."""
        return 1.0 - jnp.sum(self.share)


class LinkBelief(eqx.Module):
    """What is known of every user's link after its last report, `age_s` ago: mean of both processes, one covariance."""

    model: LinkModel
    mean: Float[Array, "users 2"]
    covariance: Float[Array, "2 2"]
    age_s: Float[Array, " users"]


def fit_links(sinr_db: Float[Array, "users reports"], step_s: float, levels: int = 65) -> LinkModel:
    """Link model of reports `step_s` apart, by moments of the autocorrelation r(a) of all users' scores.

    r at 90 s and 180 s is left to the slow process, what remains at one step and at 10 s to the fast one. There must be
    more than 180 s of reports, 10 s or less apart; else ValueError.
    """
    far = max(round(_SLOW_S / step_s), 1)
    near = max(round(_FAST_S / step_s), 1)
    if sinr_db.shape[1] <= 2 * far or step_s > _FAST_S:
        raise ValueError(
            f"{sinr_db.shape[1]} reports {step_s:g} s apart are too few: more than 180 s of them are needed"
        )
    table = jnp.quantile(sinr_db, jnp.linspace(0.0, 1.0, levels)) + jnp.arange(levels) * 1e-4
    unset = jnp.ones(2)
    score = LinkModel(table, unset, unset).score(sinr_db)
    rest = score - jnp.mean(score)

    def r(lag: int) -> Float[Array, ""]:
        return jnp.mean(rest[:, lag:] * rest[:, :-lag]) / jnp.mean(rest**2)

    r_far, r_beyond = jnp.clip(r(far), 0.02, 0.9), jnp.clip(r(2 * far), 0.01, 0.9)
    slow_s = jnp.clip(far * step_s / jnp.maximum(jnp.log(r_far / r_beyond), 1e-3), _SLOW_S, 3600.0)
    slow = jnp.clip(r_far * jnp.exp(far * step_s / slow_s), 0.02, 0.9)
    at_one = jnp.clip(r(1) - slow * jnp.exp(-step_s / slow_s), 0.02, 0.95)
    at_near = jnp.clip(r(near + 1) - slow * jnp.exp(-(near + 1) * step_s / slow_s), 0.01, 0.95)
    fast_s = jnp.clip(near * step_s / jnp.maximum(jnp.log(at_one / at_near), 0.1), 0.1, _SLOW_S)
    fast = jnp.clip(at_one * jnp.exp(step_s / fast_s), 0.02, 0.98 - slow)
    return LinkModel(table, jnp.stack([slow, fast]), jnp.stack([slow_s, fast_s]))


def believe_links(
    model: LinkModel, sinr_db: Float[Array, "users reports"], step_s: float, age_s: Float[Array, " users"]
) -> LinkBelief:
    """Belief after a user's reports `step_s` apart, the last of them `age_s` old: the Kalman filter of both processes.

    The gains are the same for all, since all report alike: x <- A x, P <- A P A + (1 - A^2) share, then a report each.
    """
    score = model.score(sinr_db)
    fade = jnp.exp(-step_s / model.memory_s)
    shock = jnp.diag(model.share * (1.0 - fade**2))
    users = sinr_db.shape[0]

    def learn(state: tuple[Array, Array], seen: Float[Array, " users"]) -> tuple[tuple[Array, Array], None]:
        mean, covariance = state
        mean = mean * fade[None]
        covariance = covariance * fade[:, None] * fade[None] + shock
        gain = jnp.sum(covariance, axis=1) / (jnp.sum(covariance) + model.noise)
        error = seen - jnp.sum(mean, axis=1)
        return (
            mean + error[:, None] * gain[None],
            covariance - gain[:, None] * jnp.sum(covariance, axis=0)[None],
        ), None

    start = (jnp.zeros((users, 2)), jnp.diag(model.share))
    (mean, covariance), _ = jax.lax.scan(learn, start, score.T)
    return LinkBelief(model, mean, covariance, age_s)


def sample_links(
    key: PRNGKeyArray, belief: LinkBelief, samples: int, slots: int
) -> Float[Array, "samples users slots"]:
    """SINR [dB] in `samples` futures of `slots` slots of 1 s; the first slot is one after the last report's age."""
    model, users = belief.model, belief.mean.shape[0]
    k_first, k_aged, k_walk, k_noise = jax.random.split(key, 4)
    root = jnp.linalg.cholesky(belief.covariance + 1e-6 * jnp.eye(2))
    first = belief.mean[None] + jax.random.normal(k_first, (samples, users, 2)) @ root.T
    faded = jnp.exp(-belief.age_s[:, None] / model.memory_s[None])[None]
    aged_std = jnp.sqrt(model.share[None, None] * (1.0 - faded**2))
    first = first * faded + aged_std * jax.random.normal(k_aged, first.shape)
    step = jnp.exp(-1.0 / model.memory_s)[None, None]
    shock = jnp.sqrt(model.share[None, None] * (1.0 - step**2))

    def walk(x: Float[Array, "samples users 2"], z: Array) -> tuple[Array, Array]:
        after = step * x + shock * z
        return after, jnp.sum(after, axis=2)

    _, path = jax.lax.scan(walk, first, jax.random.normal(k_walk, (slots, samples, users, 2)))
    noise = jnp.sqrt(jnp.maximum(model.noise, 0.0)) * jax.random.normal(k_noise, path.shape)
    return model.level_db(jnp.moveaxis(path + noise, 0, 2))
