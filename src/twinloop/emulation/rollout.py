"""What-ifs: worlds drawn from what the twins know, lived forward under a decision in the twin's own simulator."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.emulation.forecast import Forecast
from twinloop.entities import USER_ATTRIBUTES, Action, column
from twinloop.simulator import (
    Environment,
    Outcome,
    Overhead,
    Params,
    State,
    cell_positions,
    init,
    link_gains,
    sinr_and_rate,
    step,
    target_version,
)
from twinloop.twins import Twins

Respond = Callable[[Action, Outcome], Action]
"""The action of the next slot, from the action in effect and what the slot brought."""

_Life = tuple[State, Action, Array, Array, Array]


class TwinModel(eqx.Module):
    """A twin's own simulator: the physics as it believes them, never the network's parameters.

    `environment` and `blank` are a world of its own before its first slot, which the twins' knowledge is written into.
    """

    params: Params
    environment: Environment
    blank: State


def twin_model(key: PRNGKeyArray, params: Params) -> TwinModel:
    """The simulator of a twin that believes `params`."""
    return TwinModel(params, *init(key, params))


class Served(eqx.Module):
    """How people fared in a what-if, mean over its slots, by user: satisfaction in [0, 1], share of time stalled, and
    the quality of what was played in the rest, in [0, 1].
    """

    satisfaction: Float[Array, " users"]
    stalled_share: Float[Array, " users"]
    quality: Float[Array, " users"]
    active: Bool[Array, " users"]


def sample_states(key: PRNGKeyArray, model: TwinModel, twins: Twins, forecast: Forecast, samples: int) -> State:
    """`samples` states of the world that agree with the twins, stacked; all live in the model's environment.

    Levels (position, SINR, buffer, watch position) are drawn from the forecast's normal distribution, labels (cell,
    version) taken as known. The video is a popular one of the reported class. The modelled SINR is anchored to the
    drawn one by an offset, so a what-if starts from measured radio and moves on by the model. Left out: what is
    preloaded or queued, and what multicast bearers have sent: each starts an item anew, in the lowest version.
    """
    users = twins.users.current
    known = users.slot >= 0
    mean = jnp.where(known, forecast.users.emulated, 0.0)
    spread = jnp.where(known, forecast.users.std, 0.0)

    def draw(k: PRNGKeyArray) -> State:
        value = mean + spread * jax.random.normal(k, mean.shape)
        return _state(model, twins, value)

    return jax.vmap(draw)(jax.random.split(key, samples))


def rollout(
    key: PRNGKeyArray,
    model: TwinModel,
    state: State,
    action: Action,
    horizon: int,
    respond: Respond | None = None,
    settling: int = 0,
) -> Served:
    """`horizon` slots from one sampled state: the first under `action`, the others under what `respond` makes of it
    after each slot; under `action` throughout without one. How people fare counts after `settling` slots before them.
    """
    params = model.params
    users, servers = params.user_slice.shape[0], params.topology.server_cycles_per_s.shape[0]
    nothing = Overhead(jnp.zeros(users), jnp.zeros(servers))

    def live(carry: _Life, now: tuple[PRNGKeyArray, Float[Array, ""]]) -> tuple[_Life, None]:
        before, doing, satisfied, stalled, seen = carry
        k, counts = now
        after, outcome = step(k, params, model.environment, before, doing, nothing)
        share = jnp.minimum(outcome.delivered_bits / jnp.maximum(outcome.needed_bits, 1.0), 1.0)
        satisfied = satisfied + counts * jnp.where(outcome.active, share, 0.0)
        following = doing if respond is None else respond(doing, outcome)
        seen = seen + counts * outcome.quality * (params.slot_s - outcome.rebuffer_s)
        return (after, following, satisfied, stalled + counts * outcome.rebuffer_s, seen), None

    zero = jnp.zeros(users)
    start = (state, action, zero, zero, zero)
    slots = settling + horizon
    counts = (jnp.arange(slots) >= settling).astype(jnp.float32)
    (_, _, satisfied, stalled, seen), _ = jax.lax.scan(live, start, (jax.random.split(key, slots), counts))
    lasted_s = horizon * params.slot_s
    played_s = jnp.maximum(lasted_s - stalled, 1e-3)
    return Served(satisfied / horizon, stalled / lasted_s, seen / played_s, state.active)


def _state(model: TwinModel, twins: Twins, value: Float[Array, "users attributes"]) -> State:
    params, blank = model.params, model.blank

    def of(name: str) -> Float[Array, " users"]:
        return value[:, column(USER_ATTRIBUTES, name)]

    def label(name: str, most: int) -> Int[Array, " users"]:
        return jnp.clip(jnp.round(of(name)), 0, most).astype(jnp.int32)

    position = jnp.clip(
        jnp.stack([of("position_x_m"), of("position_y_m")], axis=1), 0.0, params.topology.area_m[None, :]
    )
    serving = label("serving_cell", params.topology.cell_server.shape[0] - 1)
    load = jnp.clip(twins.cells.current.value[:, 0], 0.0, 1.0)
    now = jnp.maximum(jnp.max(twins.users.current.slot), 0) + 1
    cell_m = cell_positions(params.topology, now * params.slot_s)
    gains = link_gains(params.topology, params.radio, model.environment.maps, position, cell_m)
    modelled, _ = sinr_and_rate(params.topology, params.radio, gains, serving, load, jnp.zeros(position.shape[0]))
    video = _video_of_class(params, label("video_class", params.viewers.hazard.shape[0] - 1), blank.playback.video)
    buffer = jnp.clip(of("buffer_s"), 0.0, params.player.buffer_cap_s)
    return eqx.tree_at(
        lambda s: (
            s.time_slot,
            s.kinematics.position_m,
            s.radio.serving,
            s.radio.sinr_offset_db,
            s.radio.lead_offset_db,
            s.playback.video,
            s.playback.watch_s,
            s.playback.buffer_s,
            s.playback.rate_estimate_bps,
            s.cell_load,
            s.active,
        ),
        blank,
        (
            now,
            position,
            serving,
            jnp.where(twins.users.current.active, of("sinr_db") - modelled, 0.0),
            jnp.max(gains, axis=1) - jnp.take_along_axis(gains, serving[:, None], axis=1)[:, 0],
            video,
            jnp.clip(of("watch_s"), 0.0, params.catalogue.length_s[video] - 1e-3),
            buffer,
            _rate_estimate(params, of("rate_bps"), label("version", params.catalogue.version_bps.shape[0] - 1)),
            load,
            twins.users.current.active,
        ),
    )


def _rate_estimate(
    params: Params, rate_bps: Float[Array, " users"], version: Int[Array, " users"]
) -> Float[Array, " users"]:
    """The rate that a player believes in: the reported one, moved to where the player plays the reported `version`.

    The rule of `simulator.choose_version` turned round, for any buffer, since that drains before the player chooses.
    Above the version that a slice promises players never go, so there any higher rate agrees.
    """
    rates = params.catalogue.version_bps
    highest = target_version(params.catalogue, params.slices.target_bps)[params.user_slice]
    least = jnp.where(version > 0, 1.001 * rates[version] / params.player.safety, 0.0)
    following = 0.999 * rates[jnp.minimum(version + 1, rates.shape[0] - 1)]
    most = jnp.where(version >= highest, jnp.inf, jnp.maximum(following, least))
    return jnp.clip(rate_bps, least, most)


def _video_of_class(
    params: Params, video_class: Int[Array, " users"], otherwise: Int[Array, " users"]
) -> Int[Array, " users"]:
    """The first video of each class, which is its most popular one; `otherwise` where the catalogue has none."""
    classes = params.viewers.hazard.shape[0]
    videos = jnp.arange(params.catalogue.video_class.shape[0], dtype=jnp.int32)
    first = jax.ops.segment_min(videos, params.catalogue.video_class, classes)
    found = first[video_class]
    return jnp.where(found < videos.shape[0], found, otherwise)
