"""What a measuring agent in the network does: noise, what is due, quantisation, and the way to the collector.

Left out: clocks that drift, and reports of one entity that are split over several messages.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from twinloop.network.report import KindRequest, Reports

HEADER_BITS = 64
"""Identity, slot and sequence number of one report; *ours*."""
_ROUNDING = 1e-6


class Channel(eqx.Module):
    """How reports of one kind travel. `lanes` - 1 is the greatest lateness in slots; probabilities are per report."""

    loss_p: Float[Array, ""]
    late_p: Float[Array, ""]
    duplicate_p: Float[Array, ""]
    noise: Float[Array, " attributes"]
    low: Float[Array, " attributes"]
    high: Float[Array, " attributes"]
    lanes: int = eqx.field(static=True)


class Agent(eqx.Module):
    """The reports of one kind under way, newest lane first, and what was last sent."""

    value: Float[Array, "lanes entities attributes"]
    sent: Bool[Array, "lanes entities attributes"]
    slot: Int[Array, "lanes entities"]
    sequence: Int[Array, "lanes entities"]
    size_bits: Float[Array, "lanes entities"]
    delay: Int[Array, "lanes entities"]
    duplicate: Bool[Array, "lanes entities"]
    last: Float[Array, "entities attributes"]
    last_slot: Int[Array, "entities attributes"]
    next_sequence: Int[Array, " entities"]


def idle_agent(entities: int, channel: Channel) -> Agent:
    """An agent that has sent nothing yet."""
    lanes, attributes = channel.lanes, channel.noise.shape[0]
    return Agent(
        value=jnp.zeros((lanes, entities, attributes)),
        sent=jnp.zeros((lanes, entities, attributes), bool),
        slot=jnp.full((lanes, entities), -1, jnp.int32),
        sequence=jnp.full((lanes, entities), -1, jnp.int32),
        size_bits=jnp.zeros((lanes, entities)),
        delay=jnp.zeros((lanes, entities), jnp.int32),
        duplicate=jnp.zeros((lanes, entities), bool),
        last=jnp.full((entities, attributes), jnp.inf, jnp.float32),
        last_slot=jnp.full((entities, attributes), -1, jnp.int32),
        next_sequence=jnp.zeros(entities, jnp.int32),
    )


def due(
    request: KindRequest, agent: Agent, value: Float[Array, "entities attributes"], slot: Int[Array, ""], slot_s: float
) -> Bool[Array, "entities attributes"]:
    """Which attributes are sent in `slot`; `value` is quantised.

    An attribute is due where its look has come (staggered by row) and it changed by more than `delta` since it was last
    sent, where it changed by more than `alarm`, and where it was silent for `max_age_s`. The header is paid once a
    report: where an entity reports anyway, whatever of it has a `delta` of its own (0 or more) and changed by more than
    that rides along. Whatever was never sent is due at once, so that a twin is complete from its first report.
    """
    row = jnp.arange(value.shape[0], dtype=jnp.int32)[:, None]
    look = (slot + row) % jnp.maximum(jnp.round(request.period_s / slot_s).astype(jnp.int32), 1) == 0
    change = jnp.abs(value - agent.last)
    silent_s = (slot - agent.last_slot).astype(jnp.float32) * slot_s
    moved = change > request.delta
    wanted = (look & moved) | (change > request.alarm) | (silent_s >= request.max_age_s[None, :])
    wanted = (wanted | jnp.isinf(agent.last)) & request.enabled[None, :]
    rides = moved & (request.delta >= 0) & request.enabled[None, :]
    return wanted | (rides & jnp.any(wanted, axis=1, keepdims=True))


def quantise(
    value: Float[Array, "entities attributes"], channel: Channel, bits: Int[Array, "entities attributes"]
) -> Float[Array, "entities attributes"]:
    """Value on a uniform grid of 2^bits steps over [low, high] of the attribute table, clipped to it."""
    steps = jnp.exp2(bits.astype(jnp.float32)) - 1.0
    low, span = channel.low[None, :], (channel.high - channel.low)[None, :]
    return low + jnp.round((jnp.clip(value, low, low + span) - low) / span * steps) / steps * span


def measure(
    key: PRNGKeyArray,
    channel: Channel,
    request: KindRequest,
    agent: Agent,
    truth: Float[Array, "entities attributes"],
    present: Bool[Array, " entities"],
    slot: Int[Array, ""],
    slot_s: float,
) -> tuple[Agent, Reports, Float[Array, " entities"]]:
    """One slot of measuring: the agent's next state, what arrives now, and the bits each entity sent in this slot.

    What differs from the value sent last by no more than rounding has not changed. A report measured now arrives after
    0 .. lanes-1 slots, or never; a duplicated one arrives again a slot later.
    """
    key_noise, key_way = jax.random.split(key)
    entities = truth.shape[0]
    noisy = truth + channel.noise[None, :] * jax.random.normal(key_noise, truth.shape)
    value = quantise(noisy, channel, request.bits)
    rounding = _ROUNDING * jnp.maximum(jnp.abs(channel.low), jnp.abs(channel.high))
    value = jnp.where(jnp.abs(value - agent.last) <= rounding[None, :], agent.last, value)
    sent = due(request, agent, value, slot, slot_s) & present[:, None]
    draw = jax.random.uniform(key_way, (4, entities))
    late = 1 + jnp.floor(draw[1] * max(channel.lanes - 1, 0)).astype(jnp.int32)
    delay = jnp.where(draw[0] < channel.late_p, late, 0)
    lost = draw[2] < channel.loss_p
    delay = jnp.where(lost | ~jnp.any(sent, axis=1), channel.lanes + 1, delay)

    reports_now = jnp.any(sent, axis=1)
    size_bits = (jnp.sum(sent * request.bits, axis=1) + HEADER_BITS * reports_now).astype(jnp.float32)

    def push(old: Array, new: Array) -> Array:
        return jnp.concatenate([new[None], old[:-1]])

    agent = Agent(
        value=push(agent.value, value),
        sent=push(agent.sent, sent),
        slot=push(agent.slot, jnp.full(entities, slot, jnp.int32)),
        sequence=push(agent.sequence, agent.next_sequence),
        size_bits=push(agent.size_bits, size_bits),
        delay=push(agent.delay, delay),
        duplicate=push(agent.duplicate, draw[3] < channel.duplicate_p),
        last=jnp.where(sent, value, agent.last),
        last_slot=jnp.where(sent, slot, agent.last_slot),
        next_sequence=agent.next_sequence + reports_now,
    )
    waited = jnp.arange(channel.lanes, dtype=jnp.int32)[:, None]
    arrives = (agent.delay == waited) | (agent.duplicate & (agent.delay == waited - 1))
    carried = jnp.where(arrives, agent.size_bits, 0.0)
    reports = Reports(agent.value, agent.sent & arrives[:, :, None], agent.slot, agent.sequence, carried)
    return agent, reports, size_bits
