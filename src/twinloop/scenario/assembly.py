"""From a scenario to a loop in its first slot: the network, and twins that know neither its parameters nor its
future.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from twinloop.abstraction import Abstractor
from twinloop.collection import AbstractCollector, CollectionState, control
from twinloop.datasets import shipped_figures
from twinloop.decision import (
    ALLOCATIONS,
    LEARNED,
    RESERVATIONS,
    AbstractAllocation,
    AbstractReservation,
    AgentReservation,
    Allocation,
    Prices,
    Reservation,
    Supply,
    Utility,
    assemble_action,
    learned_allocation,
    rules_of,
    store_of,
)
from twinloop.emulation import (
    EMULATORS,
    AbstractEmulator,
    Combined,
    Forecast,
    Foresight,
    TwinModel,
    learned,
    twin_model,
)
from twinloop.enforcement import nothing_pending
from twinloop.entities import CELL_ATTRIBUTES, SERVER_ATTRIBUTES, USER_ATTRIBUTES, Action, Attribute
from twinloop.loop import Loop, LoopState
from twinloop.network import AbstractNetwork, Channel, SimulatedNetwork
from twinloop.scenario.collecting import build_collector, sensor_noise
from twinloop.scenario.experience import begin_experiences, build_raters
from twinloop.scenario.models import SLOT_S, Mismatch, Policy, Scenario, Twin
from twinloop.scenario.people import (
    Watching,
    build_player,
    build_viewers,
    build_watching,
    group_slices,
    load_radio_trace,
    load_recorded_walks,
    user_groups,
)
from twinloop.scenario.physics import build_mobility, build_radio, build_topology
from twinloop.simulator import Edge, Mobility, Params
from twinloop.slicing import SliceSpec, SliceTable, create_slice, table_from_specs
from twinloop.twins import ExperienceTwins, Twins, empty_twins
from twinloop.validation import Judge, first_approved

NetworkT = TypeVar("NetworkT", bound=AbstractNetwork[Any])

_JUDGE_SALT = 1_000_003
_FORESIGHT_SALT = 2_000_003
_MOST_REPORTS_PER_S = 1.0
_CYCLES_PER_BIT = 400.0
_REPORT_J_PER_BIT = 1e-7


def build_loop(scenario: Scenario, data: Path | None = None) -> tuple[Loop[SimulatedNetwork], LoopState]:
    """The scenario's loop and its state before the first slot, drawn from the scenario's seed.

    Raises ScenarioError or DataError when the scenario needs data that is not there.
    """
    rng = np.random.default_rng(scenario.seed)
    watching = build_watching(scenario, data, rng)
    params = build_params(scenario, watching, data, rng)
    loop = assemble(scenario, params, _network(scenario, params))
    people = None if scenario.twin.ratings == 0 else begin_experiences(scenario)
    begin = eqx.filter_jit(loop.network.begin)
    key = jax.random.key(scenario.seed)
    return loop, first_state(scenario, loop, watching, people, lambda action: begin(key, action))


def build_world(scenario: Scenario, data: Path | None = None) -> tuple[SimulatedNetwork, Params]:
    """The scenario's network alone, without anything that watches it.

    Raises ScenarioError or DataError when the scenario needs data that is not there.
    """
    rng = np.random.default_rng(scenario.seed)
    params = build_params(scenario, build_watching(scenario, data, rng), data, rng)
    return _network(scenario, params), params


def assemble(scenario: Scenario, params: Params, network: NetworkT) -> Loop[NetworkT]:
    """The scenario's stages around `network`; what they believe differs from `params` as the scenario says."""
    believed = as_believed(params, scenario.twin.mismatch)
    judged = as_believed(params, scenario.twin.judge.mismatch)
    model = eqx.filter_jit(twin_model)(jax.random.key(scenario.seed + _JUDGE_SALT), judged)
    return Loop(
        network=network,
        collector=build_collector(scenario, params),
        emulator=_emulator(scenario.twin),
        abstractor=Abstractor(
            believed, jnp.float32(scenario.policy.demand_margin), math.ceil(scenario.viewing.buffer_cap_s) + 1
        ),
        reservations=(_reservation(scenario, believed),),
        allocations=(_allocation(scenario.policy, params),),
        slot_judge=_judge(scenario, model, scenario.twin.judge.slot_horizon, scenario.twin.judge.tolerance),
        window_judge=_judge(scenario, model, scenario.twin.judge.window_horizon, -scenario.twin.judge.window_margin),
        slices=params.slices,
        foresight=_foresight(scenario, believed),
        control=control(scenario.twin.control, round(scenario.twin.control_from / SLOT_S)),
        slot_s=SLOT_S,
        retries=scenario.enforcement.retries,
    )


def build_params(scenario: Scenario, watching: Watching, data: Path | None, rng: np.random.Generator) -> Params:
    """The simulated network's parameters."""
    slices = [entry.name for entry in scenario.slices]
    counts = [population.count for population in scenario.users]
    groups = user_groups(scenario)
    return Params(
        topology=build_topology(scenario),
        radio=build_radio(scenario),
        mobility=build_mobility(scenario, rng, load_recorded_walks(scenario, data)),
        catalogue=watching.catalogue,
        viewers=build_viewers(scenario, watching, rng),
        player=build_player(scenario.viewing),
        edge=Edge(jnp.float32(_CYCLES_PER_BIT), jnp.float32(_REPORT_J_PER_BIT)),
        slices=first_slices(scenario),
        user_slice=jnp.asarray(np.repeat([slices.index(p.slice) for p in scenario.users], counts), jnp.int32),
        user_group=jnp.asarray(groups, jnp.int32),
        group_slice=jnp.asarray(group_slices(scenario), jnp.int32),
        radio_trace=load_radio_trace(scenario, data, rng),
        raters=build_raters(scenario),
        slot_s=SLOT_S,
    )


def as_believed(params: Params, mismatch: Mismatch) -> Params:
    """Parameters as a twin believes them: no shadowing map, no measured trace, nobody's way, nobody's feelings, and
    factors off the truth.
    """
    topology = eqx.tree_at(
        lambda t: (t.cell_exponent, t.cell_power_dbm),
        params.topology,
        (
            params.topology.cell_exponent + mismatch.exponent_bias,
            params.topology.cell_power_dbm + mismatch.power_bias_db,
        ),
    )
    radio = replace(
        params.radio,
        se_factor=params.radio.se_factor * mismatch.se_factor,
        shadow_scale=jnp.zeros(()),
        shadow_grid_m=jnp.float32(max(float(jnp.max(params.topology.area_m)), 1.0)),
        grid=(2, 2),
    )
    hazard = 1.0 - (1.0 - params.viewers.hazard) ** mismatch.hazard
    taste = jnp.full_like(params.viewers.preference, 1.0 / params.viewers.preference.shape[1])
    viewers = eqx.tree_at(
        lambda v: (v.hazard, v.user_factor_spread, v.preference), params.viewers, (hazard, jnp.zeros(()), taste)
    )
    edge = eqx.tree_at(lambda e: e.cycles_per_bit, params.edge, params.edge.cycles_per_bit * mismatch.cycles_per_bit)
    return eqx.tree_at(
        lambda p: (p.topology, p.radio, p.mobility, p.viewers, p.edge, p.radio_trace, p.raters),
        params,
        (topology, radio, _unforeseen(params.mobility), viewers, edge, None, None),
        is_leaf=lambda leaf: leaf is None,
    )


def _emulator(twin: Twin) -> AbstractEmulator[Any]:
    """The named emulator; a trained one joins it, and takes over what it foretells better."""
    named = EMULATORS[twin.emulator](SLOT_S)
    if twin.trained_emulator is None:
        return named
    members = named.members if isinstance(named, Combined) else (named,)
    return Combined((*members, learned(Path(twin.trained_emulator), members[-1], SLOT_S)))


def _reservation(scenario: Scenario, believed: Params) -> AbstractReservation:
    policy = scenario.policy
    if policy.reservation != "agents":
        return RESERVATIONS[policy.reservation]()
    topology, catalogue = believed.topology, believed.catalogue
    users = max(scenario.user_count, 1)
    return AgentReservation(
        supply=Supply(rules_of(believed.player, catalogue), store_of(catalogue), believed.edge.cycles_per_bit),
        prices=Prices(
            bandwidth=1.0 / jnp.sum(topology.cell_bandwidth_hz),
            cycles=1.0 / jnp.sum(topology.server_cycles_per_s),
            cache=1.0 / (users * jnp.sum(topology.server_cache_bytes)),
            sensing=jnp.float32(1.0 / (users * _MOST_REPORTS_PER_S)),
        ),
        confidence=jnp.float32(policy.confidence),
        reports_per_s=jnp.asarray(policy.reports_per_s, jnp.float32),
    )


def _foresight(scenario: Scenario, believed: Params) -> Foresight | None:
    """The policy's own what-ifs of a window, apart from the judge's; None where no policy asks for any."""
    if scenario.policy.reservation != "agents":
        return None
    model = eqx.filter_jit(twin_model)(jax.random.key(scenario.seed + _FORESIGHT_SALT), believed)
    return Foresight(model, scenario.policy.prospects, scenario.policy.prospect_minutes)


def _allocation(policy: Policy, params: Params) -> AbstractAllocation:
    if policy.allocation == "utility":
        return Utility(policy.utility, policy.alpha, floor=policy.floor)
    if policy.allocation in LEARNED:
        cells, slices = params.topology.cell_server.shape[0], params.slices.active.shape[0]
        flows = params.user_slice.shape[0] + params.group_slice.shape[0] * cells
        return learned_allocation(policy.allocation, cells, slices, flows)
    return ALLOCATIONS[policy.allocation]()


def _unforeseen(mobility: Mobility) -> Mobility:
    """Mobility without anybody's walk, path or waypoints: all are believed to make flights at their own speeds."""
    users = mobility.user_model.shape[0]
    nobody, nowhere = jnp.zeros(users, jnp.int32), jnp.zeros((1, 1, 2))
    return replace(
        mobility,
        models=("levy",),
        user_model=nobody,
        path_m=nowhere,
        user_path=nobody,
        walk_m=nowhere,
        walk_length=jnp.ones(1, jnp.int32),
        user_walk=nobody,
        walk_start_s=jnp.zeros(users),
    )


def first_slices(scenario: Scenario) -> SliceTable:
    """The slices that stand at the start: all but those that an event creates later."""
    later = scenario.created_later
    specs = [SliceSpec(**entry.model_dump()) for entry in scenario.slices]
    table = table_from_specs(specs, len(specs)) if not later else table_from_specs([], len(specs))
    if later:
        for row, spec in enumerate(specs):
            table = table if spec.name in later else create_slice(table, row, spec)
    return table


def _network(scenario: Scenario, params: Params) -> SimulatedNetwork:
    part = scenario.collection
    noise = sensor_noise(part)

    def channel(table: tuple[Attribute, ...], *, radio: bool) -> Channel:
        return Channel(
            loss_p=jnp.float32(part.loss_p if radio else 0.0),
            late_p=jnp.float32(part.late_p if radio else 0.0),
            duplicate_p=jnp.float32(part.duplicate_p if radio else 0.0),
            noise=jnp.asarray([noise.get(entry.name, 0.0) if radio else 0.0 for entry in table], jnp.float32),
            low=jnp.asarray([entry.low for entry in table], jnp.float32),
            high=jnp.asarray([entry.high for entry in table], jnp.float32),
            lanes=part.late_slots + 2 if radio else 1,
        )

    return SimulatedNetwork(
        params=params,
        users_channel=channel(USER_ATTRIBUTES, radio=True),
        cells_channel=channel(CELL_ATTRIBUTES, radio=False),
        servers_channel=channel(SERVER_ATTRIBUTES, radio=False),
        failure_p=jnp.float32(scenario.enforcement.failure_p),
        freezes=jnp.asarray(scenario.enforcement.freezes),
        inference_cycles_per_user=jnp.float32(scenario.twin.inference_cycles_per_user),
    )


def _judge(scenario: Scenario, model: TwinModel, horizon: int, tolerance: float) -> Judge:
    part = scenario.twin.judge
    return Judge(
        model=model,
        cvar_share=jnp.float32(part.cvar_share),
        cvar_weight=jnp.float32(part.cvar_weight),
        tolerance=jnp.float32(tolerance),
        samples=part.samples,
        horizon=horizon,
        objective=scenario.policy.objective,
    )


def first_state(
    scenario: Scenario,
    loop: Loop[Any],
    watching: Watching,
    experience: ExperienceTwins | None,
    begin: Callable[[Action], PyTree],
) -> LoopState:
    """Before the first slot: equal shares in effect, twins of nobody; `begin` makes the plant under that action."""
    params = loop.abstractor.params
    cells, servers, users = len(scenario.network.cells), len(scenario.network.servers), scenario.user_count
    share = loop.slices.active / jnp.maximum(jnp.sum(loop.slices.active), 1)
    topology = params.topology
    reservation = Reservation(
        topology.cell_bandwidth_hz[:, None] * share[None, :],
        topology.server_cycles_per_s[:, None] * share[None, :],
        topology.server_cache_bytes[:, None] * share[None, :],
    )
    flows = users + params.group_slice.shape[0] * cells
    nothing = Allocation(jnp.zeros(flows), jnp.zeros(flows))
    approved = first_approved(assemble_action(reservation, nothing, loop.slices))
    twin = empty_twins(
        users=users,
        cells=cells,
        servers=servers,
        slices=len(scenario.slices),
        history=scenario.twin.history,
        class_length_s=jnp.asarray(watching.class_length_s, jnp.float32),
        swipe_prior=params.viewers.hazard,
        factor_spread=scenario.twin.mismatch.hazard * shipped_figures().viewing.factor_spread,
        counted=params.user_group < 0,
        experience=experience,
    )
    memory, forecast = _begin_emulation(loop.emulator, twin)
    return LoopState(
        plant=begin(approved.action),
        collection=_begin_collection(loop.collector),
        twin=twin,
        emulation=memory,
        forecast=forecast,
        allocations=tuple(policy.init() for policy in loop.allocations),
        reservation=reservation,
        sensing=jnp.zeros(users),
        standing=approved,
        pending=nothing_pending(approved),
    )


@eqx.filter_jit
def _begin_emulation(emulator: AbstractEmulator[Any], twin: Twins) -> tuple[PyTree, Forecast]:
    memory = emulator.init(twin)
    _, forecast = emulator.emulate(memory, twin, jnp.int32(-1))
    return memory, forecast


@eqx.filter_jit
def _begin_collection(collector: AbstractCollector[Any]) -> CollectionState[Any]:
    return collector.start()
