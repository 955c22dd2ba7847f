"""How people move: prescribed paths, truncated Levy flights, random waypoints and recorded walks."""

from dataclasses import replace
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

from twinloop.errors import ScenarioError

MobilityModel = Literal["path", "levy", "waypoint", "recorded"]

_UNIT_LOGISTIC = np.float32(np.sqrt(3.0) / np.pi)

Draw = tuple[Float[Array, " users"], Float[Array, " users"], Float[Array, " users"], Float[Array, " users"]]


class Mobility(eqx.Module):
    """Parameters of movement.

    `models` are those that occur, `user_model` each user's index into them; a model that is not listed costs nothing.
    Everybody stays between `speed_low_mps` and `speed_high_mps` while moving (recorded walks: below the upper one).

    Flights (`levy`): length a mixture of truncated Paretos, part k with chance `flight_weight[k]`, exponent and bounds
    of its own; duration `time_factor` x length^(1 - `time_rho`) x exp(`time_spread` z), z logistic with variance 1;
    then a pause, a mixture likewise. One part is the plain truncated Levy flight.
    Waypoints (`waypoint`) pause uniformly up to `pause_max_s`. Paths (`path`): user u goes round the closed polyline
    `path_m[user_path[u]]`; shorter ones repeat their last point. Walks (`recorded`): `walk_length` valid samples every
    `walk_step_s`, of which user u starts at `walk_start_s[u]`. Tables of models that do not occur may have any size.

    Raises ScenarioError when a model is unknown.
    """

    models: tuple[str, ...] = eqx.field(static=True)
    user_model: Int[Array, " users"]
    speed_low_mps: Float[Array, " users"]
    speed_high_mps: Float[Array, " users"]
    pause_max_s: Float[Array, ""]
    flight_weight: Float[Array, " flight_parts"]
    flight_exponent: Float[Array, " flight_parts"]
    flight_low_m: Float[Array, " flight_parts"]
    flight_high_m: Float[Array, " flight_parts"]
    pause_weight: Float[Array, " pause_parts"]
    pause_exponent: Float[Array, " pause_parts"]
    pause_low_s: Float[Array, " pause_parts"]
    pause_high_s: Float[Array, " pause_parts"]
    time_factor: Float[Array, ""]
    time_rho: Float[Array, ""]
    time_spread: Float[Array, ""]
    path_m: Float[Array, "paths waypoints 2"]
    user_path: Int[Array, " users"]
    walk_m: Float[Array, "walks samples 2"]
    walk_step_s: Float[Array, ""]
    walk_length: Int[Array, " walks"]
    user_walk: Int[Array, " users"]
    walk_start_s: Float[Array, " users"]

    def __check_init__(self) -> None:
        known = get_args(MobilityModel)
        for model in self.models:
            if model not in known:
                raise ScenarioError(f"unknown mobility model {model!r}; there are {', '.join(known)}")


class KinematicState(eqx.Module):
    """Where everybody is, and what is left of the current leg.

    `velocity_mps`, `travel_s` and `pause_s` belong to flights and waypoints, `progress_m` (along the polyline) and
    `cruise_mps` to paths. `speed_mps` is what was walked in the last slot over its duration.
    """

    position_m: Float[Array, "users 2"]
    speed_mps: Float[Array, " users"]
    velocity_mps: Float[Array, "users 2"]
    travel_s: Float[Array, " users"]
    pause_s: Float[Array, " users"]
    progress_m: Float[Array, " users"]
    cruise_mps: Float[Array, " users"]


def init_kinematics(key: PRNGKeyArray, mobility: Mobility, area_m: Float[Array, "2"]) -> KinematicState:
    """Start: flights and waypoints uniformly over the area and about to set off, paths uniformly along them, walks at
    their own start."""
    users = mobility.user_model.shape[0]
    draw = _uniform(key, users)
    rest = jnp.zeros(users)
    position = jnp.stack(draw[:2], axis=1) * area_m[None]
    progress = rest
    if "path" in mobility.models:
        progress = draw[2] * _laps(mobility)[1][mobility.user_path]
        place = _reflect(_along_path(mobility, progress)[0], area_m)[0]
        position = jnp.where(_moves_by(mobility, "path")[:, None], place, position)
    if "recorded" in mobility.models:
        place = _reflect(_recorded_place(mobility, mobility.walk_start_s), area_m)[0]
        position = jnp.where(_moves_by(mobility, "recorded")[:, None], place, position)
    cruise = _between(mobility.speed_low_mps, mobility.speed_high_mps, draw[3])
    return KinematicState(position, rest, jnp.zeros((users, 2)), rest, rest, progress, cruise)


def move(
    key: PRNGKeyArray,
    mobility: Mobility,
    area_m: Float[Array, "2"],
    state: KinematicState,
    slot_s: float,
    time_slot: Int[Array, ""],
) -> KinematicState:
    """State after slot `time_slot`; everybody stays inside the area, mirrored at its edge.

    A leg (flight or way to a waypoint) begins at the first slot after the previous pause, so legs start late by half a
    slot on average. Four 16-bit numbers a user and slot are drawn, none where everybody follows recorded walks.
    Left out: obstacles, streets outside prescribed paths, people who influence each other, acceleration.
    """
    moved = state
    if set(mobility.models) - {"recorded"}:
        draw = _uniform(key, mobility.user_model.shape[0])
        if "levy" in mobility.models or "waypoint" in mobility.models:
            moved = _roam(draw, mobility, area_m, moved, slot_s)
        if "path" in mobility.models:
            moved = _choose(_moves_by(mobility, "path"), _follow(draw, mobility, area_m, state, slot_s), moved)
    if "recorded" in mobility.models:
        walked = _replay(mobility, area_m, state, slot_s, time_slot)
        moved = _choose(_moves_by(mobility, "recorded"), walked, moved)
    return moved


def truncated_pareto(
    share: Float[Array, " users"],
    exponent: Float[Array, "*one"],
    low: Float[Array, "*one"],
    high: Float[Array, "*one"],
) -> Float[Array, " users"]:
    """Quantile of the Pareto distribution cut to [low, high], its parameters common to all or one a user.

    x = low (1 - q (1 - (low/high)^a))^(-1/a), q `share` in [0, 1), a `exponent`, not 0: P(X > x) ~ x^-a as in Rhee et
    al., IEEE/ACM Trans. Netw. 19(3), 2011, whose density exponent is 1 + a. Below a = -1 the density rises.
    """
    tail = (low / high) ** exponent
    return jnp.clip(low * jnp.exp(-jnp.log1p(-share * (1.0 - tail)) / exponent), low, high)


def mixed_pareto(
    share: Float[Array, " users"],
    weight: Float[Array, " parts"],
    exponent: Float[Array, " parts"],
    low: Float[Array, " parts"],
    high: Float[Array, " parts"],
) -> Float[Array, " users"]:
    """Draw from a mixture of truncated Paretos whose `weight` sums to 1.

    The uniform `share` falls into the interval of cumulated weight of one part; its place inside that interval is the
    share of that part's `truncated_pareto`.
    """
    end = jnp.cumsum(weight)
    part = jnp.sum(share[:, None] >= end[None, :-1], axis=1, dtype=jnp.int32)
    inside = jnp.clip((share - (end - weight)[part]) / weight[part], 0.0, 1.0 - 1e-6)
    return truncated_pareto(inside, exponent[part], low[part], high[part])


def _uniform(key: PRNGKeyArray, users: int) -> Draw:
    """Four independent uniform numbers a user, from the halves of two words: multiples of 2^-16, never 0 or 1."""
    words = jax.random.bits(key, (2, users), jnp.uint32)

    def share(half: UInt32[Array, " users"]) -> Float[Array, " users"]:
        return (half.astype(jnp.int32).astype(jnp.float32) + 0.5) * (1.0 / 65536.0)

    return share(words[0] >> 16), share(words[0] & 65535), share(words[1] >> 16), share(words[1] & 65535)


def _moves_by(mobility: Mobility, model: MobilityModel) -> Bool[Array, " users"]:
    return mobility.user_model == mobility.models.index(model)


def _between(
    low: Float[Array, " users"], high: Float[Array, " users"], share: Float[Array, " users"]
) -> Float[Array, " users"]:
    return low + (high - low) * share


def _choose(mine: Bool[Array, " users"], left: KinematicState, right: KinematicState) -> KinematicState:
    def pick(a: Array, b: Array) -> Array:
        return a if a is b else jnp.where(mine if a.ndim == 1 else mine[:, None], a, b)

    return jax.tree.map(pick, left, right)


def _reflect(
    position_m: Float[Array, "users 2"], area_m: Float[Array, "2"]
) -> tuple[Float[Array, "users 2"], Float[Array, "users 2"]]:
    """Position mirrored at the edges as often as needed, and the sign each coordinate's velocity keeps."""
    turn = jnp.mod(position_m, 2.0 * area_m[None])
    beyond = turn > area_m[None]
    return jnp.where(beyond, 2.0 * area_m[None] - turn, turn), jnp.where(beyond, -1.0, 1.0)


def _roam(
    draw: Draw,
    mobility: Mobility,
    area_m: Float[Array, "2"],
    state: KinematicState,
    slot_s: float,
) -> KinematicState:
    """Flights and waypoints: begin a new leg where travel and pause are over, then go on with the current one."""
    velocity, travel, pause = _next_leg(draw, mobility, area_m, state)
    ready = (state.travel_s <= 0.0) & (state.pause_s <= 0.0)
    velocity = jnp.where(ready[:, None], velocity, state.velocity_mps)
    travel = jnp.where(ready, travel, state.travel_s)
    pause = jnp.where(ready, pause, state.pause_s)
    moving_s = jnp.minimum(travel, slot_s)
    position, sign = _reflect(state.position_m + velocity * moving_s[:, None], area_m)
    speed = jnp.sqrt(velocity[:, 0] ** 2 + velocity[:, 1] ** 2) * moving_s / slot_s
    return KinematicState(
        position,
        speed,
        velocity * sign,
        travel - moving_s,
        jnp.maximum(pause - (slot_s - moving_s), 0.0),
        state.progress_m,
        state.cruise_mps,
    )


def _next_leg(
    draw: Draw, mobility: Mobility, area_m: Float[Array, "2"], state: KinematicState
) -> tuple[Float[Array, "users 2"], Float[Array, " users"], Float[Array, " users"]]:
    """Velocity, travel time and pause of the leg that a user would begin now."""
    leg = (state.velocity_mps, state.travel_s, state.pause_s)
    if "waypoint" in mobility.models:
        way = jnp.stack(draw[:2], axis=1) * area_m[None] - state.position_m
        distance = jnp.maximum(jnp.sqrt(way[:, 0] ** 2 + way[:, 1] ** 2), 1e-3)
        speed = jnp.maximum(_between(mobility.speed_low_mps, mobility.speed_high_mps, draw[2]), 1e-3)
        leg = (way * (speed / distance)[:, None], distance / speed, draw[3] * mobility.pause_max_s)
    if "levy" not in mobility.models:
        return leg
    length = mixed_pareto(
        draw[0], mobility.flight_weight, mobility.flight_exponent, mobility.flight_low_m, mobility.flight_high_m
    )
    angle = draw[1] * np.float32(2.0 * np.pi)
    chance = jnp.log(draw[3] / (1.0 - draw[3])) * _UNIT_LOGISTIC
    wanted = jnp.exp(jnp.log(length) * mobility.time_rho - mobility.time_spread * chance) / mobility.time_factor
    speed = jnp.maximum(jnp.clip(wanted, mobility.speed_low_mps, mobility.speed_high_mps), 1e-3)
    velocity = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1) * speed[:, None]
    pause = mixed_pareto(
        draw[2], mobility.pause_weight, mobility.pause_exponent, mobility.pause_low_s, mobility.pause_high_s
    )
    if "waypoint" not in mobility.models:
        return velocity, length / speed, pause
    flies = _moves_by(mobility, "levy")
    return (
        jnp.where(flies[:, None], velocity, leg[0]),
        jnp.where(flies, length / speed, leg[1]),
        jnp.where(flies, pause, leg[2]),
    )


def _laps(mobility: Mobility) -> tuple[Float[Array, "paths waypoints"], Float[Array, " paths"]]:
    """Distance from the start to the beginning of each leg of each path, and the length of a lap, metres."""
    leg = jnp.roll(mobility.path_m, -1, axis=1) - mobility.path_m
    end = jnp.cumsum(jnp.sqrt(jnp.sum(leg**2, axis=2)), axis=1)
    begin = jnp.concatenate([jnp.zeros_like(end[:, :1]), end[:, :-1]], axis=1)
    return begin, jnp.maximum(end[:, -1], 1e-3)


def _along_path(
    mobility: Mobility, progress_m: Float[Array, " users"]
) -> tuple[Float[Array, "users 2"], Int[Array, " users"]]:
    """Place on the path and the leg it lies on, found by bisection over the legs' beginnings."""
    begin, _ = _laps(mobility)
    waypoints = begin.shape[1]
    path = mobility.user_path
    leg = jnp.zeros_like(path)
    for bit in reversed(range(max(waypoints - 1, 1).bit_length())):
        further = leg + (1 << bit)
        reached = begin.at[path, jnp.minimum(further, waypoints - 1)].get(mode="promise_in_bounds") <= progress_m
        leg = jnp.where((further < waypoints) & reached, further, leg)
    here = mobility.path_m.at[path, leg].get(mode="promise_in_bounds")
    there = mobility.path_m.at[path, jnp.mod(leg + 1, waypoints)].get(mode="promise_in_bounds")
    way = there - here
    length = jnp.maximum(jnp.sqrt(way[:, 0] ** 2 + way[:, 1] ** 2), 1e-6)
    share = jnp.clip((progress_m - begin[path, leg]) / length, 0.0, 1.0)
    return here + way * share[:, None], leg


def _follow(
    draw: Draw,
    mobility: Mobility,
    area_m: Float[Array, "2"],
    state: KinematicState,
    slot_s: float,
) -> KinematicState:
    """Paths: go on at the cruising speed; a new one is drawn in the slot after a waypoint was passed."""
    lap = _laps(mobility)[1][mobility.user_path]
    progress = jnp.mod(state.progress_m + state.cruise_mps * slot_s, lap)
    place, leg = _along_path(mobility, progress)
    passed = leg != _along_path(mobility, state.progress_m)[1]
    cruise = jnp.where(passed, _between(mobility.speed_low_mps, mobility.speed_high_mps, draw[0]), state.cruise_mps)
    place = _reflect(place, area_m)[0]
    return replace(state, position_m=place, speed_mps=state.cruise_mps, progress_m=progress, cruise_mps=cruise)


def _recorded_place(mobility: Mobility, time_s: Float[Array, " users"]) -> Float[Array, "users 2"]:
    """Linear interpolation between samples; past its end a walk is walked backwards, and so on."""
    walk = mobility.user_walk
    span = jnp.maximum(mobility.walk_length[walk] - 1, 1)
    turn = jnp.mod(time_s / mobility.walk_step_s, 2.0 * span)
    sample = span - jnp.abs(turn - span)
    before = jnp.minimum(sample.astype(jnp.int32), span - 1)
    after = jnp.minimum(before + 1, mobility.walk_length[walk] - 1)
    share = (sample - before)[:, None]
    here = mobility.walk_m.at[walk, before].get(mode="promise_in_bounds")
    there = mobility.walk_m.at[walk, after].get(mode="promise_in_bounds")
    return here * (1.0 - share) + there * share


def _replay(
    mobility: Mobility, area_m: Float[Array, "2"], state: KinematicState, slot_s: float, time_slot: Int[Array, ""]
) -> KinematicState:
    """Recorded walks: head for the recorded place, mirrored into the area, no faster than the highest speed."""
    time_s = mobility.walk_start_s + (time_slot + 1).astype(jnp.float32) * slot_s
    way = _reflect(_recorded_place(mobility, time_s), area_m)[0] - state.position_m
    distance = jnp.sqrt(way[:, 0] ** 2 + way[:, 1] ** 2)
    walked = jnp.minimum(distance, mobility.speed_high_mps * slot_s)
    position = state.position_m + way * (walked / jnp.maximum(distance, 1e-6))[:, None]
    return replace(state, position_m=position, speed_mps=walked / slot_s)
