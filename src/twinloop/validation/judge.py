"""Proposals and the standing decision are lived through in the twin; the best safe one is approved.

Source: paper 003, II-C (emulation before control) and paper 002 (internal loop). Left out: a person's consent.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.abstraction import Features
from twinloop.decision import Proposal
from twinloop.emulation import Forecast, Respond, Served, TwinModel, rollout, sample_states
from twinloop.entities import Action
from twinloop.qoe import Conditions
from twinloop.simulator import State
from twinloop.slicing import SliceTable
from twinloop.twins import PERIOD_SLOTS, ExperienceTwins, Twins, so_far
from twinloop.validation.approval import Approved
from twinloop.validation.safety import ISOLATION, safety_code

Objective = Literal["satisfaction", "experience"]

BEYOND = 0.2
"""Worth of experience beyond what was agreed, over that up to it; *ours*."""

STALL_WEIGHT = 1.0
"""Worth of one second of stalling per second, in units of satisfaction; *ours*."""


class Judge(eqx.Module):
    """The twin in which proposals compete. `model` has parameters of its own, equal to no policy's and not the
    network's.

    `samples` states are drawn from the twins' uncertainty and lived for `horizon` slots under each candidate. Score =
    (1 - `cvar_weight`) mean + `cvar_weight` mean of the worst `cvar_share` of the samples. A proposal must reach the
    standing decision's score minus `tolerance`, which may be negative: then it must be better by so much. A user's
    value is satisfaction less stalling or, where the `objective` is experience and the twins follow it,
    min(E / agreed, 1) + .2 max(E / agreed - 1, 0) with the E that the period under way is headed for, were all of its
    rest as in the what-if.
    """

    model: TwinModel
    cvar_share: Float[Array, ""]
    cvar_weight: Float[Array, ""]
    tolerance: Float[Array, ""]
    samples: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    objective: Objective = eqx.field(static=True, default="satisfaction")


class Verdict(eqx.Module):
    """What was decided and why. Candidate 0 is the standing decision, candidate 1 + p is proposal p; `best` is the best
    proposal, whether approved or not.
    """

    approved: Approved
    code: Int[Array, ""]
    best: Int[Array, ""]
    score: Float[Array, " candidates"]
    safety: Int[Array, " candidates"]


def validate(
    key: PRNGKeyArray,
    judge: Judge,
    twins: Twins,
    forecast: Forecast,
    features: Features,
    proposals: tuple[Proposal, ...],
    standing: Action,
    slices: SliceTable,
    respond: Respond | None = None,
) -> Verdict:
    """Verdict over `proposals`; `approved` is always valid: the winner, or the `standing` action that is in effect now.

    With `respond`, a candidate is only the first slot's action and later ones follow from what it brought: how a
    reservation is judged together with the policy that fills it (see `rollout`).

    All candidates meet the same sampled states and random numbers. Proposals are refused when unsafe, or when the best
    safe one scores below the standing decision by more than the tolerance; ties go to the first proposal. Where demand
    has outgrown what a slice has reserved, the standing decision breaks isolation as well: there a slot's proposal is
    no less safe, and is judged by its score until the next window.
    """
    actions = [standing] + [proposal.action for proposal in proposals]
    candidates = jax.tree.map(lambda *leaves: jnp.stack(leaves), *actions)
    k_sample, k_live = jax.random.split(key)
    states = sample_states(k_sample, judge.model, twins, forecast, judge.samples)
    keys = jax.random.split(k_live, judge.samples)

    def worth(served: Served) -> Float[Array, " users"]:
        if judge.objective == "satisfaction" or twins.experience is None:
            return served.satisfaction - STALL_WEIGHT * served.stalled_share
        return _kept(twins.experience, twins, served, judge.model.params.slot_s)

    def value(action: Action) -> Float[Array, " samples"]:
        def live(k: PRNGKeyArray, state: State) -> Float[Array, ""]:
            served = rollout(k, judge.model, state, action, judge.horizon, respond)
            users = jnp.maximum(jnp.sum(served.active), 1.0)
            return jnp.sum(jnp.where(served.active, worth(served), 0.0)) / users

        return jax.vmap(live)(keys, states)

    values = jax.vmap(value)(candidates)
    score = (1 - judge.cvar_weight) * jnp.mean(values, axis=1) + judge.cvar_weight * _cvar(values, judge.cvar_share)
    safety = jax.vmap(lambda action: safety_code(action, features, slices))(candidates)
    shared = (safety[1:] == ISOLATION) & (safety[0] == ISOLATION)
    eligible = jnp.where((safety[1:] == 0) | shared, score[1:], -jnp.inf)
    best = jnp.argmax(eligible)
    any_safe = jnp.isfinite(eligible[best])
    good_enough = score[1 + best] >= score[0] - judge.tolerance
    wins = any_safe & (good_enough | (safety[0] != 0) & (safety[1 + best] == 0))
    chosen = jnp.where(wins, 1 + best, 0)
    code = jnp.where(wins, 0, jnp.where(any_safe, 1, safety[1]))
    approved = Approved(
        jax.tree.map(lambda leaf: leaf[chosen], candidates),
        jnp.where(wins, best, -1).astype(jnp.int32),
    )
    return Verdict(approved, code.astype(jnp.int32), best.astype(jnp.int32), score, safety)


def _kept(experience: ExperienceTwins, twins: Twins, served: Served, slot_s: float) -> Float[Array, " users"]:
    """What a user's experience is worth against the agreement, by the likeliest model of that user."""
    users = twins.users.current
    now = so_far(experience, jnp.where(users.slot >= 0, users.value, 0.0), slot_s)
    passed = jnp.clip(experience.period.slots / PERIOD_SLOTS, 0.0, 1.0)
    rest = 1.0 - passed
    whole = Conditions(
        stall_s=now.stall_s + rest * served.stalled_share * PERIOD_SLOTS * slot_s,
        quality=passed * now.quality + rest * served.quality,
        behaviour=passed * now.behaviour + rest * experience.last.behaviour,
        environment=passed * now.environment + rest * experience.last.environment,
    )
    ratio = experience.fitted.models.experience(whole) / experience.agreed
    return jnp.minimum(ratio, 1.0) + BEYOND * jnp.maximum(ratio - 1.0, 0.0)


def _cvar(values: Float[Array, "candidates samples"], share: Float[Array, ""]) -> Float[Array, " candidates"]:
    """Mean of the worst `share` of the samples (at least one)."""
    samples = values.shape[1]
    count = jnp.maximum(jnp.ceil(share * samples), 1.0)
    worst = jnp.arange(samples) < count
    return jnp.sum(jnp.sort(values, axis=1) * worst[None, :], axis=1) / count
