"""The same world without twins: nobody reports, slices are equal, flows take equal turns. What twins must beat."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from twinloop.decision import Allocation, Reservation, assemble_action, equal_shares
from twinloop.entities import Action
from twinloop.loop import Loop, LoopState
from twinloop.network import SimulatedNetwork, realised_flows
from twinloop.simulator import Environment, Outcome, Overhead, Params, State, step


class Unaided(eqx.Module):
    """The world that nobody mirrors, and the action in effect there."""

    environment: Environment
    state: State
    action: Action


class Served(eqx.Module):
    """Sums over the users of one slot: min(delivered / needed, 1), and who was there."""

    satisfied: Float[Array, ""]
    users: Float[Array, ""]


def begin_unaided(state: LoopState) -> Unaided:
    """The unaided world beside a loop before its first slot."""
    return Unaided(state.plant.environment, state.plant.state, state.standing.action)


def unaided_slot(key: PRNGKeyArray, loop: Loop[SimulatedNetwork], world: Unaided) -> tuple[Unaided, Outcome]:
    """The slot that the loop lives under `key`, with the same people, walks, swipes and channels."""
    params = loop.network.params
    nothing = Overhead(jnp.zeros(params.user_slice.shape[0]), jnp.zeros(params.topology.server_cycles_per_s.shape[0]))
    state, outcome = step(step_key(key), params, world.environment, world.state, world.action, nothing)
    return Unaided(world.environment, state, _equal_turns(params, outcome)), outcome


def step_key(key: PRNGKeyArray) -> PRNGKeyArray:
    """The key that the simulator is given in the slot that `loop.slot` lives under `key`."""
    return jax.random.split(jax.random.split(key, 3)[0], 4)[0]


def served(outcome: Outcome) -> Served:
    """How people fared in a slot."""
    share = jnp.minimum(outcome.delivered_bits / jnp.maximum(outcome.needed_bits, 1.0), 1.0)
    share = jnp.where(outcome.needed_bits > 0, share, 1.0)
    return Served(jnp.sum(jnp.where(outcome.active, share, 0.0)), jnp.sum(outcome.active).astype(jnp.float32))


def _equal_turns(params: Params, outcome: Outcome) -> Action:
    """Equal slices; in each, equal turns for the flows that want data, as a scheduler without memory gives them."""
    slices, topology = params.slices, params.topology
    share = slices.active / jnp.maximum(jnp.sum(slices.active), 1)
    reservation = Reservation(
        topology.cell_bandwidth_hz[:, None] * share[None, :],
        topology.server_cycles_per_s[:, None] * share[None, :],
        topology.server_cache_bytes[:, None] * share[None, :],
    )
    flows = realised_flows(params, outcome)
    count = slices.active.shape[0]
    slice_of = jnp.concatenate([params.user_slice, jnp.repeat(params.group_slice, topology.cell_server.shape[0])])
    want_hz = flows.need_bps / flows.spectral_efficiency
    cell_pool = flows.cell * count + slice_of
    server_pool = topology.cell_server[flows.cell] * count + slice_of
    unlimited = jnp.full_like(want_hz, jnp.inf)
    bandwidth = equal_shares(flows.active, want_hz, cell_pool, reservation.bandwidth_hz.reshape(-1))
    cycles = equal_shares(flows.active, unlimited, server_pool, reservation.cycles_per_s.reshape(-1))
    return assemble_action(reservation, Allocation(bandwidth, cycles), slices)
