"""The simulated network behind the port: true physics, seen only through noisy, late and missing reports."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Action, Attribute
from twinloop.network.measurement import Agent, Channel, idle_agent, measure
from twinloop.network.port import AbstractNetwork
from twinloop.network.report import Receipts, Report, Request
from twinloop.simulator import Environment, Outcome, Overhead, Params, State, init, step

_TRUTH_NAMES = {
    "position_x_m": "x_m",
    "position_y_m": "y_m",
    "rebuffer_s": "rebuffer_total_s",
    "swipes": "views_total",
}


class Plant(eqx.Module):
    """The simulated world, the action in effect, and the reports under way. `outcome` is the truth of the last slot;
    `frozen` slices are being reconfigured and serve nobody in the next one.
    """

    environment: Environment
    state: State
    outcome: Outcome
    in_effect: Action
    frozen: Bool[Array, " slices"]
    revision: Int[Array, ""]
    overhead: Overhead
    users: Agent
    cells: Agent
    servers: Agent


class SimulatedNetwork(AbstractNetwork[Plant]):
    """Wraps the simulator. `failure_p` is the chance that an action is lost on its way. Where `freezes`, a slice whose
    reservation changes serves nobody in the first slot after it (models.md, Slicing).

    What the twins use is debited: report bits from the bandwidth of the sender's cell, `inference_cycles_per_user` from
    the server that hosts the twin.
    """

    params: Params
    users_channel: Channel
    cells_channel: Channel
    servers_channel: Channel
    failure_p: Float[Array, ""]
    freezes: Bool[Array, ""]
    inference_cycles_per_user: Float[Array, ""]

    def begin(self, key: PRNGKeyArray, action: Action) -> Plant:
        """The network before its first slot with `action` in effect."""
        environment, state = init(key, self.params)
        topology = self.params.topology
        counts = (self.params.user_slice.shape[0], topology.cell_server.shape[0], topology.server_cycles_per_s.shape[0])
        overhead = Overhead(jnp.zeros(counts[0]), jnp.zeros(counts[2]))
        _, shapes = eqx.filter_eval_shape(step, key, self.params, environment, state, action, overhead)
        channels = (self.users_channel, self.cells_channel, self.servers_channel)
        users, cells, servers = (idle_agent(n, channel) for n, channel in zip(counts, channels, strict=True))
        blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        nothing = jnp.zeros_like(action.slice_active)
        revision = jnp.zeros((), jnp.int32)
        return Plant(environment, state, blank, action, nothing, revision, overhead, users, cells, servers)

    def report(self, key: PRNGKeyArray, plant: Plant, request: Request) -> tuple[Plant, Report]:
        """Lives one slot under the action in effect, then reports what is due and what arrives late."""
        k_step, k_users, k_cells, k_servers = jax.random.split(key, 4)
        slot, slot_s = plant.state.time_slot, self.params.slot_s
        doing = self._without(plant.frozen, plant.in_effect)
        state, outcome = step(k_step, self.params, plant.environment, plant.state, doing, plant.overhead)
        user_truth, cell_truth, server_truth = _truth(outcome)
        everywhere = jnp.ones(cell_truth.shape[0], bool)
        users, user_reports, user_bits = measure(
            k_users, self.users_channel, request.users, plant.users, user_truth, outcome.active, slot, slot_s
        )
        cells, cell_reports, _ = measure(
            k_cells, self.cells_channel, request.cells, plant.cells, cell_truth, everywhere, slot, slot_s
        )
        servers, server_reports, _ = measure(
            k_servers,
            self.servers_channel,
            request.servers,
            plant.servers,
            server_truth,
            jnp.ones(server_truth.shape[0], bool),
            slot,
            slot_s,
        )
        plant = Plant(
            plant.environment,
            state,
            outcome,
            plant.in_effect,
            jnp.zeros_like(plant.frozen),
            plant.revision,
            Overhead(user_bits, self._inference_cycles(outcome.active, outcome.serving_cell)),
            users,
            cells,
            servers,
        )
        receipts = Receipts(plant.revision, jnp.zeros((), jnp.int32))
        return plant, Report(slot, user_reports, cell_reports, server_reports, receipts)

    def apply(self, key: PRNGKeyArray, plant: Plant, action: Action, revision: Int[Array, ""]) -> Plant:
        """Takes `action` into effect from the next slot, unless it is lost."""
        lost = jax.random.uniform(key) < self.failure_p
        keep = jax.tree.map(lambda new, old: jnp.where(lost, old, new), action, plant.in_effect)
        number = jnp.where(lost, plant.revision, revision)
        frozen = self.freezes & self._reconfigured(plant.in_effect, keep)
        return eqx.tree_at(lambda p: (p.in_effect, p.frozen, p.revision), plant, (keep, frozen, number))

    def _reconfigured(self, before: Action, after: Action) -> Bool[Array, " slices"]:
        """Slices that hold another part of some cell or server than before, by more than a thousandth of it."""
        topology = self.params.topology
        pairs = (
            (before.slice_bandwidth_hz, after.slice_bandwidth_hz, topology.cell_bandwidth_hz),
            (before.slice_cycles_per_s, after.slice_cycles_per_s, topology.server_cycles_per_s),
        )
        moved = [jnp.any(jnp.abs(new - old) > 1e-3 * size[:, None], axis=0) for old, new, size in pairs]
        return (moved[0] | moved[1]) & before.slice_active & after.slice_active

    def _without(self, frozen: Bool[Array, " slices"], action: Action) -> Action:
        """The action with nothing for flows of frozen slices."""
        groups, cells = self.params.group_slice, self.params.topology.cell_server.shape[0]
        flow_slice = jnp.concatenate([self.params.user_slice, jnp.repeat(groups, cells)])
        served = ~frozen[flow_slice]
        return eqx.tree_at(
            lambda a: (a.flow_bandwidth_hz, a.flow_cycles_per_s),
            action,
            (
                jnp.where(served, action.flow_bandwidth_hz, 0.0),
                jnp.where(served, action.flow_cycles_per_s, 0.0),
            ),
        )

    def _inference_cycles(
        self, active: Bool[Array, " users"], serving: Int[Array, " users"]
    ) -> Float[Array, " servers"]:
        host = self.params.topology.cell_server[serving]
        servers = self.params.topology.server_cycles_per_s.shape[0]
        return self.inference_cycles_per_user * jax.ops.segment_sum(active.astype(jnp.float32), host, servers)


def user_truth(outcome: Outcome) -> Float[Array, "users attributes"]:
    """What users' attributes really were in a slot: for scoring, never for twins."""
    return _truth(outcome)[0]


def _truth(outcome: Outcome) -> tuple[Array, Array, Array]:
    requested = outcome.cache_hits_bits + outcome.cache_misses_bits
    derived = {
        "cache_hit_ratio": jnp.where(requested > 0, outcome.cache_hits_bits / jnp.maximum(requested, 1.0), 1.0),
        "power_w": outcome.cell_power_w,
    }

    def table(attributes: tuple[Attribute, ...], own: dict[str, Array]) -> Array:
        names = [_TRUTH_NAMES.get(attribute.name, attribute.name) for attribute in attributes]
        columns = [own[name] if name in own else getattr(outcome, name) for name in names]
        return jnp.stack([column.astype(jnp.float32) for column in columns], axis=1)

    return (
        table(USER_ATTRIBUTES, {}),
        table(CELL_ATTRIBUTES, derived),
        table(SERVER_ATTRIBUTES, derived | {"power_w": outcome.server_power_w}),
    )
