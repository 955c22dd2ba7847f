"""What-ifs over environments: one decision lived through on many sets of links, and the interval of what it brings."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from twinloop.emulation.rollout import Respond, Served, TwinModel, rollout
from twinloop.entities import Action
from twinloop.simulator import RadioTrace, State


class Environments(eqx.Module):
    """Everybody's link over time in several possible worlds, recorded or drawn, one sample a slot."""

    spectral_efficiency: Float[Array, "environments users slots"]
    sinr_db: Float[Array, "environments users slots"]
    rsrp_dbm: Float[Array, "environments users slots"]


class Prospect(eqx.Module):
    """What a decision brings over environments: per environment the mean over people who are there."""

    satisfaction: Float[Array, " environments"]
    stalled_share: Float[Array, " environments"]

    def interval(self, share: float = 0.9) -> tuple[Float[Array, "2"], Float[Array, "2"]]:
        """Ends of the central `share` of environments, of satisfaction and of the share of time stalled."""
        ends = jnp.array([0.5 - 0.5 * share, 0.5 + 0.5 * share])
        return jnp.quantile(self.satisfaction, ends), jnp.quantile(self.stalled_share, ends)


@eqx.filter_jit
def foresee(
    key: PRNGKeyArray,
    model: TwinModel,
    state: State,
    environments: Environments,
    action: Action,
    respond: Respond | None = None,
) -> Prospect:
    """What `action`, and what `respond` makes of it slot by slot, brings from `state` on in every environment.

    Monte Carlo: the twin's own simulator is rolled out over all slots of each environment, whose links take the place
    of the channel model (`RadioTrace`); viewers are drawn anew in each. Source: paper 001, III-B (what-if on emulated
    status). Left out: that people's links are alike where they are together, unless the environments say so.
    """
    count, users, slots = environments.sinr_db.shape
    rows = jnp.arange(users, dtype=jnp.int32)
    start = jnp.broadcast_to(-state.time_slot % slots, (users,)).astype(jnp.int32)

    def live(k: PRNGKeyArray, one: Environments) -> Served:
        links = RadioTrace(one.spectral_efficiency, one.sinr_db, one.rsrp_dbm, rows, start)
        params = replace(model.params, radio_trace=links)
        return rollout(k, replace(model, params=params), state, action, slots, respond)

    served = jax.vmap(live)(jax.random.split(key, count), environments)
    people = jnp.maximum(jnp.sum(served.active, axis=1), 1)
    return Prospect(jnp.sum(served.satisfaction, axis=1) / people, jnp.sum(served.stalled_share, axis=1) / people)
