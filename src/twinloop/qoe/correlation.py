"""Which factors a user's scores depend on: distance correlation, its permutation test, and correction for many."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

_USERS_AT_ONCE = 32
_LEAST_RATINGS = 4.0


class Dependence(eqx.Module):
    """Distance correlation of scores with each factor, by user.

    `plain` in [0, 1]; `corrected` is the bias-corrected square (about 0 without dependence, may be below); `p_value`
    of the permutation test on the corrected covariance, 1 where nothing can be told: a constant factor, constant
    scores, or fewer than four ratings, where `usable` is False and both correlations are 0.
    """

    plain: Float[Array, "*users factors"]
    corrected: Float[Array, "*users factors"]
    p_value: Float[Array, "*users factors"]
    usable: Bool[Array, "*users factors"]


class _Sums(eqx.Module):
    """Distances between ratings of one user: matrices, sums of their rows, and of everything."""

    distance: Float[Array, "rows ratings ratings"]
    by_rating: Float[Array, "rows ratings"]
    total: Float[Array, " rows"]


def distance_correlation(
    key: PRNGKeyArray,
    factors: Float[Array, "users ratings factors"],
    score: Float[Array, "users ratings"],
    present: Bool[Array, "users ratings"],
    permutations: int = 199,
) -> Dependence:
    """Distance correlation of `score` with every factor for every user, over the ratings that are `present`.

    With a_ij = |x_i - x_j|, row sums a_i and total a (b alike for scores), n ratings:
    V^2 = [sum a_ij b_ij - 2/n sum a_i b_i + a b/n^2] / n^2 and, bias-corrected (Szekely and Rizzo, 2014),
    U = [sum a_ij b_ij - 2/(n - 2) sum a_i b_i + a b/((n - 1)(n - 2))] / (n (n - 3)); correlations divide by those of x
    and y with themselves. p = (1 + number of shuffled scores with U at least as large) / (1 + permutations).
    """

    def one(entry: tuple[Array, Array, Array, PRNGKeyArray]) -> Dependence:
        x, y, there, k = entry
        return _of_one(x, y, there, jax.random.split(k, permutations))

    entries = (factors, score, present, jax.random.split(key, score.shape[0]))
    return jax.lax.map(one, entries, batch_size=_USERS_AT_ONCE)


def _of_one(
    x: Float[Array, "ratings factors"],
    y: Float[Array, " ratings"],
    there: Bool[Array, " ratings"],
    keys: Key[Array, " permutations"],
) -> Dependence:
    n = jnp.sum(there).astype(x.dtype)
    a, b = _sums(x.T, there), _sums(y[None, :], there)
    plain_ab, u_ab = _products(a, b, n)
    plain_aa, u_aa = _products(a, a, n)
    plain_bb, u_bb = _products(b, b, n)
    usable = (plain_aa > 1e-6) & (plain_bb > 1e-6) & (n >= _LEAST_RATINGS)
    plain = jnp.sqrt(jnp.maximum(plain_ab, 0.0) / jnp.sqrt(jnp.maximum(plain_aa * plain_bb, 1e-12)))
    corrected = u_ab / jnp.sqrt(jnp.maximum(u_aa * u_bb, 1e-12))
    flat = a.distance.reshape(a.distance.shape[0], -1)

    def shuffled(k: PRNGKeyArray) -> Float[Array, " factors"]:
        to = _shuffle(k, there)
        distance = b.distance[0][to][:, to]
        rows = a.by_rating @ b.by_rating[0][to]
        return _unbiased(flat @ distance.reshape(-1), rows, a.total * b.total[0], n)

    reached = jax.lax.map(lambda k: shuffled(k) >= u_ab - 1e-6 * jnp.abs(u_ab), keys)
    p_value = (1.0 + jnp.sum(reached, axis=0)) / (1.0 + keys.shape[0])
    none = jnp.zeros_like(plain)
    return Dependence(
        jnp.where(usable, jnp.minimum(plain, 1.0), none),
        jnp.where(usable, corrected, none),
        jnp.where(usable, p_value, 1.0),
        usable,
    )


def _sums(rows: Float[Array, "rows ratings"], there: Bool[Array, " ratings"]) -> _Sums:
    """Distances in units of the row's own spread, 0 where a rating is missing."""
    weight = there.astype(rows.dtype)[None, :]
    n = jnp.maximum(jnp.sum(weight), 1.0)
    known = jnp.where(there[None, :], rows, 0.0)
    mean = jnp.sum(known, axis=1, keepdims=True) / n
    away = jnp.where(there[None, :], known - mean, 0.0)
    scale = jnp.sqrt(jnp.sum(away * away, axis=1, keepdims=True) / n)
    tiny = 1e-5 * jnp.abs(mean) + 1e-12
    unit = jnp.where(scale > tiny, away / jnp.maximum(scale, tiny), 0.0)
    distance = jnp.abs(unit[:, :, None] - unit[:, None, :]) * (weight[:, :, None] * weight[:, None, :])
    by_rating = jnp.sum(distance, axis=-1)
    return _Sums(distance, by_rating, jnp.sum(by_rating, axis=-1))


def _products(a: _Sums, b: _Sums, n: Float[Array, ""]) -> tuple[Float[Array, " factors"], Float[Array, " factors"]]:
    """V^2 and U of each pair of rows; one row is held against all."""
    both = jnp.sum(a.distance * b.distance, axis=(-2, -1))
    rows = jnp.sum(a.by_rating * b.by_rating, axis=-1)
    totals = a.total * b.total
    least = jnp.maximum(n, 1.0)
    plain = (both - 2.0 / least * rows + totals / least**2) / least**2
    return plain, _unbiased(both, rows, totals, n)


def _unbiased(
    both: Float[Array, " factors"], rows: Float[Array, " factors"], totals: Float[Array, " factors"], n: Array
) -> Float[Array, " factors"]:
    n = jnp.maximum(n, _LEAST_RATINGS)
    return (both - 2.0 / (n - 2.0) * rows + totals / ((n - 1.0) * (n - 2.0))) / (n * (n - 3.0))


def _shuffle(key: PRNGKeyArray, there: Bool[Array, " ratings"]) -> Array:
    """Where each rating takes its score from: present ones among themselves, all others from where they are."""
    order = jnp.argsort(jnp.where(there, jax.random.uniform(key, there.shape), 2.0))
    places = jnp.argsort(~there, stable=True)
    return jnp.arange(there.shape[0]).at[places].set(order)


def benjamini_hochberg(p_value: Float[Array, "*shape tests"]) -> Float[Array, "*shape tests"]:
    """p adjusted so that of the findings below it that share is false on average (Benjamini and Hochberg, 1995)."""
    tests = p_value.shape[-1]
    order = jnp.argsort(p_value, axis=-1)
    steps = jnp.take_along_axis(p_value, order, -1) * tests / _row(jnp.arange(1, tests + 1), p_value)
    lowered = jnp.minimum(jax.lax.cummin(steps, axis=p_value.ndim - 1, reverse=True), 1.0)
    return jnp.take_along_axis(lowered, jnp.argsort(order, axis=-1), -1)


def _row(values: Array, like: Float[Array, "*shape tests"]) -> Float[Array, "*ones tests"]:
    return values.astype(like.dtype).reshape((1,) * (like.ndim - 1) + values.shape)
