"""Generators of link series by class: block bootstrap, autoregression with a marginal transform, conditional GAN."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.learning import SequenceGenerator

CANDIDATES = 32
WARM_UP = 256


class AbstractSource(eqx.Module):
    """Draws link series by class, in the units of the windows it was fitted to."""

    @abc.abstractmethod
    def draw(self, key: PRNGKeyArray, label: Int[Array, " series"]) -> Float[Array, "series steps channels"]:
        """One series for each class in `label`."""


class Margins(eqx.Module):
    """Quantiles of every channel by class, and with them the map of values to normal scores and back.

    score = Phi^-1(F_c(x)); values that repeat (whole decibels, outages) fill an interval of F, of which a series takes
    the point `place` in [0, 1] throughout, so that what is held stays constant. Source: the Gaussian copula (Nelsen,
    An Introduction to Copulas, 2006). Left out: values beyond those seen.
    """

    quantile: Float[Array, "classes channels knots"]

    def scores(
        self, values: Float[Array, "steps channels"], label: Int[Array, ""], place: Float[Array, " channels"]
    ) -> Float[Array, "steps channels"]:
        """Normal scores of one series of class `label`."""

        def of_channel(x: Array, q: Array, at: Array) -> Array:
            low, high = (jnp.searchsorted(q, x, side=side) for side in ("left", "right"))
            return norm.ppf((low + at * (high - low) + 0.5) / (q.shape[0] + 1))

        return jax.vmap(of_channel, in_axes=(1, 0, 0), out_axes=1)(values, self.quantile[label], place)

    def values(self, scores: Float[Array, "steps channels"], label: Int[Array, ""]) -> Float[Array, "steps channels"]:
        """One series of class `label` from its normal scores."""

        def of_channel(z: Array, q: Array) -> Array:
            at = norm.cdf(z) * (q.shape[0] + 1) - 1.0
            return jnp.interp(at, jnp.arange(q.shape[0], dtype=jnp.float32), q)

        return jax.vmap(of_channel, in_axes=(1, 0), out_axes=1)(scores, self.quantile[label])


class BlockBootstrap(AbstractSource):
    """Blocks of recorded windows of the class in a row, each begun where a record is near to where the last one ended.

    The next block is the nearest (in the change of scores over its seam) of `CANDIDATES` drawn at random: a local
    bootstrap. All it can give are pieces of what was recorded. Source: Kunsch, Annals of Statistics 1989 (blocks);
    Paparoditis and Politis, 2002 (local choice).
    """

    value: Float[Array, "windows steps channels"]
    score: Float[Array, "windows steps channels"]
    first: Int[Array, " classes"]
    count: Int[Array, " classes"]
    block: Int[Array, ""]

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " series"]) -> Float[Array, "series steps channels"]:
        """One series for each class in `label`."""
        return jax.vmap(self._series)(jax.random.split(key, label.shape[0]), label)

    def _series(self, key: PRNGKeyArray, label: Int[Array, ""]) -> Float[Array, "steps channels"]:
        steps = self.value.shape[1]

        def one(carry: tuple[Array, Array], at: tuple[Array, PRNGKeyArray]) -> tuple[tuple[Array, Array], Array]:
            row, place = carry
            now, k = at
            k_row, k_place = jax.random.split(k)
            rows = self.first[label] + jax.random.randint(k_row, (CANDIDATES,), 0, self.count[label])
            places = jax.random.randint(k_place, (CANDIDATES,), 1, steps - self.block + 1)
            seam = self.score[rows, places - 1] - self.score[row, jnp.maximum(place - 1, 0)][None, :]
            chosen = jnp.where(now == 0, 0, jnp.argmin(jnp.sum(seam**2, axis=1)))
            joins = now % self.block == 0
            row, place = jnp.where(joins, rows[chosen], row), jnp.where(joins, places[chosen], place)
            return (row, place + 1), self.value[row, place]

        start = (self.first[label], jnp.ones((), jnp.int32))
        return jax.lax.scan(one, start, (jnp.arange(steps), jax.random.split(key, steps)))[1]


class Autoregression(AbstractSource):
    """Vector autoregression of normal scores, by class, with resampled residuals: z_t = sum_k A_k z_{t-k} + e_t.

    A_k [channels, channels] by ridge regression, e_t drawn from the residuals (sieve bootstrap, Buhlmann, Bernoulli
    1997). Where the fit would grow, A_k shrinks by r^k to a spectral radius of .999. `scale` brings z to variance 1.
    """

    margins: Margins
    weight: Float[Array, "classes order channels channels"]
    residual: Float[Array, "classes residuals channels"]
    scale: Float[Array, "classes channels"]
    steps: int = eqx.field(static=True)

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " series"]) -> Float[Array, "series steps channels"]:
        """One series for each class in `label`."""
        return jax.vmap(self.margins.values)(self.scores(key, label), label)

    @eqx.filter_jit
    def scores(self, key: PRNGKeyArray, label: Int[Array, " series"]) -> Float[Array, "series steps channels"]:
        """Normal scores of one series for each class in `label`."""
        return jax.vmap(self._series)(jax.random.split(key, label.shape[0]), label)

    def _series(self, key: PRNGKeyArray, label: Int[Array, ""]) -> Float[Array, "steps channels"]:
        weight, pool = self.weight[label], self.residual[label]
        pick = jax.random.randint(key, (WARM_UP + self.steps,), 0, pool.shape[0])

        def one(past: Array, noise: Array) -> tuple[Array, Array]:
            now = jnp.einsum("kij,kj->i", weight, past) + noise
            return jnp.concatenate([now[None], past[:-1]]), now

        start = jnp.zeros((weight.shape[0], pool.shape[1]))
        return jax.lax.scan(one, start, pool[pick])[1][WARM_UP:] * self.scale[label][None, :]


class GanSource(AbstractSource):
    """A trained generator of normal scores, brought to the marginals of the class."""

    margins: Margins
    generator: SequenceGenerator

    @eqx.filter_jit
    def draw(self, key: PRNGKeyArray, label: Int[Array, " series"]) -> Float[Array, "series steps channels"]:
        """One series for each class in `label`."""
        score = jax.vmap(self.generator.generate)(jax.random.split(key, label.shape[0]), label)
        return jax.vmap(self.margins.values)(score, label)
