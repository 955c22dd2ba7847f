"""How people feel, by flow: whose model of experience counts, what was agreed, and where they stand."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from twinloop.qoe import Conditions, UserModels, predict
from twinloop.twins import GRID_PERIODS, PERIOD_SLOTS, ExperienceTwins, so_far

_BOTH = 2


class Felt(eqx.Module):
    """What twins know of the experience of whoever a flow serves.

    `models` are to plan with, `structure` (4 rule + impact) is the likeliest one. Users' mean experience over
    `periods` is held against `agreed`; `done` of them are over and brought `experience_sum`. `elapsed_s` of the
    period under way have passed, with `stall_s` stalled and `quality` on average; `factor` is I = B^-kappa_b
    C^-kappa_c as expected until its end. `version_bps` are the versions on offer, `cycles_per_bit` the expected
    work of each. `spread` is the standard deviation of the expected experience, as the models go.
    """

    models: UserModels
    structure: Int[Array, " flows"]
    agreed: Float[Array, " flows"]
    spread: Float[Array, " flows"]
    periods: Float[Array, ""]
    done: Float[Array, " flows"]
    experience_sum: Float[Array, " flows"]
    elapsed_s: Float[Array, " flows"]
    stall_s: Float[Array, " flows"]
    quality: Float[Array, " flows"]
    factor: Float[Array, " flows"]
    version_bps: Float[Array, " versions"]
    cycles_per_bit: Float[Array, "flows versions"]
    version: Float[Array, " flows"]


def felt_by_users(
    twins: ExperienceTwins,
    value: Float[Array, "users attributes"],
    slot_s: float,
    version_bps: Float[Array, " versions"],
    cycles_per_bit: Float[Array, "users versions"],
    version: Float[Array, " users"],
) -> Felt:
    """Where every user stands; what a period will have been like is read from its start and from the one before."""
    now, before = so_far(twins, value, slot_s), twins.last
    elapsed = jnp.clip(twins.period.slots / PERIOD_SLOTS, 0.0, 1.0)

    def expected(name: str) -> Float[Array, " users"]:
        return elapsed * getattr(now, name) + (1.0 - elapsed) * getattr(before, name)

    models = twins.fitted.blend
    coming = Conditions(now.stall_s, now.quality, expected("behaviour"), expected("environment"))
    users = twins.agreed.shape[0]
    return Felt(
        models=models,
        structure=twins.fitted.structure,
        agreed=twins.agreed,
        spread=_spread(twins, coming),
        periods=jnp.float32(GRID_PERIODS),
        done=jnp.broadcast_to(jnp.mod(twins.grid_periods, GRID_PERIODS), (users,)),
        experience_sum=jnp.where(twins.grid_periods < GRID_PERIODS, twins.grid_experience, 0.0),
        elapsed_s=twins.period.slots * slot_s,
        stall_s=now.stall_s,
        quality=now.quality,
        factor=models.factor(coming),
        version_bps=version_bps,
        cycles_per_bit=cycles_per_bit,
        version=version,
    )


def with_bearers(
    felt: Felt,
    mean: Callable[[Float[Array, " users"]], Float[Array, " bearers"]],
    served: Bool[Array, " bearers"],
    cycles_per_bit: Float[Array, "bearers versions"],
) -> Felt:
    """Users' flows, then bearers: these are led as one user who minds both, of average promises and past.

    `mean` is over the users that a bearer serves.
    """
    bearers = served.shape[0]
    ones, none = jnp.ones(bearers), jnp.zeros(bearers)
    rule, impact = jnp.full(bearers, _BOTH, jnp.int32), jnp.zeros(bearers, jnp.int32)
    all_minds = UserModels(rule, impact, none, mean(felt.models.stall_weight), ones, none, none)

    def joined(of_users: Float[Array, " users"]) -> Float[Array, " flows"]:
        return jnp.concatenate([of_users, jnp.where(served, mean(of_users), 0.0)])

    return Felt(
        models=jax.tree.map(lambda own, shared: jnp.concatenate([own, shared]), felt.models, all_minds),
        structure=jnp.concatenate([felt.structure, 4 * rule]),
        agreed=joined(felt.agreed),
        spread=joined(felt.spread),
        periods=felt.periods,
        done=joined(felt.done),
        experience_sum=joined(felt.experience_sum),
        elapsed_s=joined(felt.elapsed_s),
        stall_s=joined(felt.stall_s),
        quality=joined(felt.quality),
        factor=joined(felt.factor),
        version_bps=felt.version_bps,
        version=joined(felt.version),
        cycles_per_bit=jnp.concatenate([felt.cycles_per_bit, cycles_per_bit]),
    )


def _spread(twins: ExperienceTwins, conditions: Conditions) -> Float[Array, " users"]:
    one_each = jax.tree.map(lambda column: column[:, None], conditions)
    return predict(twins.fitted, one_each)[1][:, 0]
