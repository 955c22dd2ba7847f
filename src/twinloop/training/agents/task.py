"""The task of agents: hold agreements with people in a simulated network, in steps of a few slots."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from twinloop.abstraction import Features
from twinloop.decision import AbstractTactic, Allocation, Reservation, assemble_action
from twinloop.learning import AbstractEnvironment, Consequence, Observation
from twinloop.simulator import Environment, Outcome, Overhead, Params, State, conditions_of, true_experience
from twinloop.simulator import init as init_network
from twinloop.simulator import step as step_network
from twinloop.training.agents.worlds import Worlds
from twinloop.twins import GRID_PERIODS, PERIOD_SLOTS

BEYOND = 0.1
"""Worth of experience beyond what was agreed, over that up to it; *ours*."""

REACHED, SOFT = 0.2, 0.15
"""Worth of an agreement that is reached, and the experience over which that is a matter of degree; *ours*."""

FEWEST = 16
REWARD_SCALE = 10.0
_LEAST_USERS = 0.25
_SPREAD = 0.3


class Lived(eqx.Module):
    """Everything of an episode that evolves: a population's network, the slot that is over and what is seen of it.

    `done` periods of those held against the agreement are over, with true experience summing to `experience_sum`;
    `weight` is by how much slices' reservations differ from shares by users.
    """

    world: Int[Array, "*episodes"]
    slot: Int[Array, "*episodes"]
    environment: Environment
    network: State
    outcome: Outcome
    weight: Float[Array, "*episodes cells slices"]
    done: Float[Array, "*episodes"]
    experience_sum: Float[Array, "*episodes users"]
    features: Features


class AgentsTask(AbstractEnvironment):
    """Agents decide every `hold` slots; an episode lasts `grids` times the periods held against the agreement.

    Episodes begin from `scenes`. An agent is rewarded by the mean gain of the users that are its own after the step,
    `worth` now less before, times `REWARD_SCALE`; where agents are users, `shared` of it is the mean of their slice in
    their cell.
    """

    worlds: Worlds
    scenes: Lived
    tactic: AbstractTactic
    hold: int = eqx.field(static=True)
    grids: int = eqx.field(static=True, default=2)
    shared: float = eqx.field(static=True, default=0.5)

    @property
    def levels(self) -> tuple[int, ...]:
        """Those of the tactic."""
        return self.tactic.levels

    def init(self, key: PRNGKeyArray) -> tuple[Lived, Observation]:
        """One of the scenes."""
        scene = jax.random.randint(key, (), 0, self.scenes.slot.shape[0])
        state = jax.tree.map(lambda rows: rows[scene], self.scenes)
        return state, self._seen(state)

    def step(
        self, key: PRNGKeyArray, state: PyTree, action: Int[Array, "agents branches"]
    ) -> tuple[Lived, Observation, Consequence]:
        """`hold` slots under the levels."""

        def one(carry: tuple[Lived, Array], k: PRNGKeyArray) -> tuple[tuple[Lived, Array], None]:
            now, gained = carry
            reservation = reserve(now)
            allocation = self.tactic.carry_out(now.features, reservation, action)
            after, gain = live(k, self.worlds, now, allocation, reservation)
            return (after, gained + gain), None

        begun = (state, jnp.zeros_like(state.experience_sum))
        (after, gained), _ = jax.lax.scan(one, begun, jax.random.split(key, self.hold))
        reward = self._rewards(gained, after)
        over = after.slot >= self.grids * GRID_PERIODS * PERIOD_SLOTS
        return after, self._seen(after), Consequence(reward, jnp.zeros(reward.shape, bool), over)

    def _seen(self, state: Lived) -> Observation:
        return self.tactic.observe(state.features, reserve(state))

    def _rewards(self, gained: Float[Array, " users"], state: Lived) -> Float[Array, " agents"]:
        cells, slices = state.weight.shape
        pair = state.outcome.serving_cell * slices + self.worlds.params.user_slice
        there = state.outcome.active.astype(jnp.float32)
        total = jax.ops.segment_sum(there * gained, pair, cells * slices)
        mean = total / jnp.maximum(jax.ops.segment_sum(there, pair, cells * slices), 1.0)
        users = gained.shape[0]
        if self.tactic.agents(cells, slices, users) == users:
            mean = self.shared * mean[pair] + (1.0 - self.shared) * gained
        return REWARD_SCALE * mean


@eqx.filter_jit
def draw_scenes(key: PRNGKeyArray, worlds: Worlds, count: int) -> Lived:
    """First slots of `count` episodes: a population, of which some people are there, placed by the twin."""
    return jax.vmap(lambda k: begin(k, worlds))(jax.random.split(key, count))


def begin(key: PRNGKeyArray, worlds: Worlds) -> Lived:
    """The first slot of an episode, in which nobody was given anything."""
    k_world, k_count, k_who, k_net, k_weight, k_slot = jax.random.split(key, 6)
    users, slices = worlds.params.user_slice.shape[0], worlds.slices.active.shape[0]
    world = jax.random.randint(k_world, (), 0, worlds.populations)
    params = params_of(worlds, world)
    environment, network = init_network(k_net, params)
    number = jax.random.randint(k_count, (), min(FEWEST, users), users + 1)
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(k_who, (users,))))
    network = replace(network, active=network.active & (rank < number))
    topology = params.topology
    even = Reservation(
        jnp.tile(topology.cell_bandwidth_hz[:, None] / slices, (1, slices)),
        jnp.tile(topology.server_cycles_per_s[:, None] / slices, (1, slices)),
        jnp.tile(topology.server_cache_bytes[:, None] / slices, (1, slices)),
    )
    flows = network.queue_bits.shape[0]
    nothing = assemble_action(even, Allocation(jnp.zeros(flows), jnp.zeros(flows)), worlds.slices)
    network, outcome = step_network(k_slot, params, environment, network, nothing, _none(params))
    none = jnp.zeros(users)
    return Lived(
        world=world,
        slot=jnp.int32(1),
        environment=environment,
        network=network,
        outcome=outcome,
        weight=_weights(k_weight, (topology.cell_bandwidth_hz.shape[0], slices)),
        done=jnp.float32(0.0),
        experience_sum=none,
        features=_features(worlds, world, network, outcome, jnp.float32(0.0), none),
    )


def reserve(state: Lived) -> Reservation:
    """Slices' shares in proportion to their users, times a weight of each cell and slice drawn for every window."""
    features = state.features
    claim = state.weight * (features.slice_users + _LEAST_USERS)
    share = claim / jnp.sum(claim, axis=1, keepdims=True)
    at_server = jax.ops.segment_sum(claim, features.cell_server, features.server_cycles_per_s.shape[0])
    at_server = at_server / jnp.maximum(jnp.sum(at_server, axis=1, keepdims=True), 1e-9)
    return Reservation(
        share * features.cell_bandwidth_hz[:, None],
        at_server * features.server_cycles_per_s[:, None],
        at_server * features.server_cache_bytes[:, None],
    )


def live(
    key: PRNGKeyArray, worlds: Worlds, state: Lived, allocation: Allocation, reservation: Reservation
) -> tuple[Lived, Float[Array, " users"]]:
    """One slot under an allocation, and what everybody gained of `worth`."""
    params, agreed = params_of(worlds, state.world), worlds.persons.agreed[state.world]
    k_step, k_weight = jax.random.split(key)
    before = worth(params, agreed, state)
    action = assemble_action(reservation, allocation, worlds.slices)
    network, outcome = step_network(k_step, params, state.environment, state.network, action, _none(params))
    ends = (state.slot + 1) % PERIOD_SLOTS == 0
    summed = state.experience_sum + jnp.where(ends, outcome.experience, 0.0)
    done = state.done + jnp.where(ends, 1.0, 0.0)
    lived = replace(state, slot=state.slot + 1, network=network, outcome=outcome, done=done, experience_sum=summed)
    gain = jnp.where(outcome.active, worth(params, agreed, lived) - before, 0.0)
    full = done >= GRID_PERIODS
    done, summed = jnp.where(full, 0.0, done), jnp.where(full, 0.0, summed)
    features = _features(worlds, state.world, network, outcome, done, summed)
    weight = jnp.where(full, _weights(k_weight, state.weight.shape), state.weight)
    return replace(lived, done=done, experience_sum=summed, weight=weight, features=features), gain


def worth(params: Params, agreed: Float[Array, " users"], state: Lived) -> Float[Array, " users"]:
    """What everybody's standing is worth, by true experience: min(M/A, 1) + .1 max(M/A - 1, 0) + .2 Phi((M - A) / .15).

    M is the mean experience of the periods held against the agreement A, were the rest of them as agreed; at the end of
    the last one it is what it was. So a gain is what a slot moved, and gains add up to where people end.
    """
    if params.raters is None:
        raise ValueError("worlds of agents need people who feel")
    opinions = state.network.opinions
    passed = opinions.slots / PERIOD_SLOTS
    so_far = conditions_of(opinions, params.slot_s)
    whole = replace(so_far, stall_s=so_far.stall_s / jnp.maximum(passed, 1.0 / PERIOD_SLOTS))
    now = jnp.where(opinions.slots > 0, true_experience(params.raters, whole), agreed)
    rest = GRID_PERIODS - state.done - passed
    mean = (state.experience_sum + passed * now + rest * agreed) / GRID_PERIODS
    ratio = mean / agreed
    reached = ndtr((mean - agreed) / SOFT)
    return jnp.minimum(ratio, 1.0) + BEYOND * jnp.maximum(ratio - 1.0, 0.0) + REACHED * reached


def params_of(worlds: Worlds, world: Int[Array, ""]) -> Params:
    """The network as the twins believe it, with the people of one population in it."""
    true = jax.tree.map(lambda rows: rows[world], worlds.persons.true)
    return eqx.tree_at(lambda p: p.raters.models, worlds.params, true)


def _features(
    worlds: Worlds,
    world: Int[Array, ""],
    network: State,
    outcome: Outcome,
    done: Float[Array, ""],
    experience_sum: Float[Array, " users"],
) -> Features:
    """What twins that hear everything at once would see, with the models that they learned from past ratings."""
    persons = jax.tree.map(lambda rows: rows[world], worlds.persons)
    seen = worlds.abstractor.foresee(worlds.blank, outcome, worlds.slices)
    if seen.felt is None:
        raise ValueError("worlds of agents need twins that follow experience")
    so_far = conditions_of(network.opinions, worlds.params.slot_s)
    felt = replace(
        seen.felt,
        done=jnp.broadcast_to(done, experience_sum.shape),
        experience_sum=experience_sum,
        elapsed_s=network.opinions.slots * worlds.params.slot_s,
        stall_s=so_far.stall_s,
        quality=so_far.quality,
        models=persons.believed,
        structure=persons.structure,
        agreed=persons.agreed,
        factor=persons.believed.factor(so_far),
    )
    return replace(seen, felt=felt)


def _weights(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "cells slices"]:
    return jnp.exp(_SPREAD * jax.random.normal(key, shape))


def _none(params: Params) -> Overhead:
    return Overhead(jnp.zeros(params.user_slice.shape[0]), jnp.zeros(params.topology.server_kappa.shape[0]))
