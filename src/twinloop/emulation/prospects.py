"""What a window may bring, in samples: links, speeds and swipes of everybody, lived forward in the twin's simulator."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from twinloop.emulation.forecast import Forecast
from twinloop.emulation.rollout import TwinModel, sample_states
from twinloop.entities import Action
from twinloop.simulator import Overhead, State, step
from twinloop.twins import Twins

MINUTE_SLOTS = 60


class Prospects(eqx.Module):
    """Futures of all users, slots of 1 s, all alike in chance: spectral efficiency [bit/s/Hz] of every slot, mean speed
    and swipes of every minute, and the cell that serves in the middle of it.
    """

    efficiency: Float[Array, "samples users slots"]
    speed_mps: Float[Array, "samples users minutes"]
    swipes: Float[Array, "samples users minutes"]
    cell: Int[Array, "samples users minutes"]


class Foresight(eqx.Module):
    """How windows are foreseen: `samples` futures of `minutes` in the simulator of `model`."""

    model: TwinModel
    samples: int = eqx.field(static=True)
    minutes: int = eqx.field(static=True)

    def foresee(self, key: PRNGKeyArray, twins: Twins, forecast: Forecast, action: Action) -> Prospects:
        """Futures from states drawn from what the twins know, with `action` standing.

        Channel, movement and swipes do not depend much on the action; what people are given is for the demand to find
        out. Source: paper 000, III-C.1 (Monte Carlo over emulated behaviour and environment). Left out: reports on the
        way.
        """
        model = self.model
        k_state, k_live = jax.random.split(key)
        states = sample_states(k_state, model, twins, forecast, self.samples)
        users, servers = model.params.user_slice.shape[0], model.params.topology.server_cycles_per_s.shape[0]
        nothing = Overhead(jnp.zeros(users), jnp.zeros(servers))

        def live(k: PRNGKeyArray, state: State) -> tuple[Array, Array, Array, Array]:
            def slot(before: State, one: PRNGKeyArray) -> tuple[State, tuple[Array, Array, Array, Array]]:
                after, outcome = step(one, model.params, model.environment, before, action, nothing)
                swipes = outcome.swipes.astype(jnp.float32)
                return after, (outcome.spectral_efficiency, outcome.speed_mps, swipes, outcome.serving_cell)

            return jax.lax.scan(slot, state, jax.random.split(k, self.minutes * MINUTE_SLOTS))[1]

        efficiency, speed, swipes, serving = jax.vmap(live)(jax.random.split(k_live, self.samples), states)

        def by_minute(
            values: Float[Array, "samples slots users"],
        ) -> Float[Array, "samples minutes minute_slots users"]:
            return values.reshape(self.samples, self.minutes, MINUTE_SLOTS, users)

        return Prospects(
            efficiency=jnp.moveaxis(efficiency, 1, 2),
            speed_mps=jnp.moveaxis(jnp.mean(by_minute(speed), axis=2), 1, 2),
            swipes=jnp.moveaxis(jnp.sum(by_minute(swipes), axis=2), 1, 2),
            cell=jnp.moveaxis(serving[:, MINUTE_SLOTS // 2 :: MINUTE_SLOTS], 1, 2),
        )
