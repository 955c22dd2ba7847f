"""What one slot of the loop leaves behind for whoever watches, saves or scores it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from twinloop.abstraction import Features
from twinloop.collection import Observations, Standing
from twinloop.emulation import Forecast
from twinloop.enforcement import Pending
from twinloop.entities import Action
from twinloop.twins import Twins, Views, age_s, believed_experience
from twinloop.validation import Verdict


class Trace(eqx.Module):
    """What one slot leaves behind: the decision in effect, what was seen, how good the twins were, and the verdict.

    `emulated` is what had been foretold for this slot of a few users, those of `watched_rows`; `views` what the twins
    saw end in it, `believed` what users are held to have experienced in their last whole period.
    """

    in_effect: Action
    asked: Standing
    bits: Float[Array, " kinds"]
    reports: Int[Array, ""]
    late: Int[Array, ""]
    duplicates: Int[Array, ""]
    age_s: Float[Array, " attributes"]
    fidelity: Float[Array, " attributes"]
    emulated: Float[Array, "watched attributes"]
    emulated_std: Float[Array, "watched attributes"]
    slice_demand_hz: Float[Array, "cells slices"]
    slice_demand_cycles_per_s: Float[Array, "servers slices"]
    code: Int[Array, ""]
    winner: Int[Array, ""]
    score_proposed: Float[Array, ""]
    score_standing: Float[Array, ""]
    effect: Int[Array, ""]
    views: Views
    believed: Float[Array, " users"]


def watched_rows(users: int) -> np.ndarray:
    """Rows of the users whose forecasts a trace keeps: at most four, evenly chosen."""
    return np.unique(np.linspace(0, users - 1, min(users, 4)).astype(np.int32))


def trace_of(
    standing: Standing,
    foretold: Forecast,
    seen: Observations,
    twin: Twins,
    features: Features,
    verdict: Verdict,
    pending: Pending,
    slot_s: float,
) -> Trace:
    """The trace of a slot that `foretold` was made for; `standing` is how collection stood in it."""
    users = twin.users.current
    known = (users.slot >= 0) & users.active[:, None]
    count = jnp.maximum(jnp.sum(known, axis=0), 1)
    compared = known & (users.error >= 0)
    policy = verdict.approved.policy
    kinds = (seen.users, seen.cells, seen.servers)
    rows = watched_rows(users.active.shape[0])
    return Trace(
        in_effect=pending.confirmed,
        asked=standing,
        bits=jnp.stack([kind.bits for kind in kinds]),
        reports=jnp.stack([kind.reports for kind in kinds]).sum(),
        late=jnp.stack([kind.late for kind in kinds]).sum(),
        duplicates=jnp.stack([kind.duplicates for kind in kinds]).sum(),
        age_s=jnp.sum(jnp.where(known, age_s(users, seen.slot, slot_s), 0.0), axis=0) / count,
        fidelity=jnp.sum(jnp.where(compared, 1.0 - users.error, 0.0), axis=0)
        / jnp.maximum(jnp.sum(compared, axis=0), 1),
        emulated=foretold.users.emulated[rows],
        emulated_std=foretold.users.std[rows],
        slice_demand_hz=features.slice_demand_hz,
        slice_demand_cycles_per_s=features.slice_demand_cycles_per_s,
        code=verdict.code,
        winner=policy,
        score_proposed=verdict.score[1 + verdict.best],
        score_standing=verdict.score[0],
        effect=pending.effect,
        views=twin.swipes.latest,
        believed=jnp.zeros(users.active.shape) if twin.experience is None else believed_experience(twin.experience),
    )
