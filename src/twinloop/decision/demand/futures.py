"""Samples of what may come for every user, and what they would live through at a constant share of a band."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.decision.demand.player import MINUTE_SLOTS, Course, Held, Lived, Rules, course_of, live
from twinloop.qoe import Conditions, UserModels, behaviour_of, environment_of

_LEAST_SE = 0.05


class Futures(eqx.Module):
    """What may come in a window of whole minutes, slots of 1 s, in `samples` equally likely ways.

    Spectral efficiency of the links [bit/s/Hz] and what the twins will believe of it when a slot is decided, mean speed
    of every minute, the hazard of leaving a video [1/s], and a number in [0, 1) a slot that decides it.
    """

    efficiency: Float[Array, "samples users slots"]
    believed: Float[Array, "samples users slots"]
    speed_mps: Float[Array, "samples users minutes"]
    leave_per_s: Float[Array, "samples users"]
    chance: Float[Array, "samples users slots"]


class Outlook(eqx.Module):
    """What a grant brings in every sample: mean experience of the window's minutes, and bits by version per second."""

    experience: Float[Array, "samples users"]
    bits_per_s: Float[Array, "versions samples users"]


def profile(futures: Futures, follow: Float[Array, " users"]) -> Float[Array, "samples users slots"]:
    """How a grant of mean 1 Hz lies over the slots: believed^-follow, over its mean over slots and samples.

    0 grants the same band in every slot, which serves log quality best; 1 the same rate, which keeps buffers filled.
    """
    power = channel_power(futures.believed, follow)
    return power / jnp.mean(power, axis=(0, 2), keepdims=True)


def channel_power(
    efficiency: Float[Array, "*samples users slots"], follow: Float[Array, " users"]
) -> Float[Array, "*samples users slots"]:
    """Efficiency [bit/s/Hz] to the power of -follow; below .05 it counts as that."""
    exponent = jnp.broadcast_to(-follow[:, None], efficiency.shape)
    return jnp.maximum(efficiency, _LEAST_SE) ** exponent


def plan(rules: Rules, futures: Futures, follow: Float[Array, " users"]) -> Course:
    """What befalls players in all samples, minute by minute, where grants lie over the slots by `profile`."""
    slots = futures.chance.shape[2]
    minutes = slots // MINUTE_SLOTS

    def by_minute(values: Float[Array, "samples users slots"]) -> Float[Array, "minutes minute_slots samples users"]:
        timed = jnp.moveaxis(values[:, :, : minutes * MINUTE_SLOTS], 2, 0)
        return timed.reshape(minutes, MINUTE_SLOTS, *timed.shape[1:])

    return course_of(rules, by_minute(profile(futures, follow) * futures.efficiency), by_minute(futures.chance))


def look(
    rules: Rules,
    models: UserModels,
    held: Held,
    futures: Futures,
    course: Course,
    bandwidth_hz: Float[Array, " users"],
) -> Outlook:
    """What users would live through with `bandwidth_hz` on average, spread over slots as in `course` (see `plan`)."""
    samples, minutes = futures.chance.shape[0], course.share.shape[0]

    def everywhere(value: Array) -> Array:
        return jnp.broadcast_to(value[None], (samples, *value.shape))

    state = jax.tree.map(everywhere, held)
    lived = live(rules, state, everywhere(bandwidth_hz), course, futures.leave_per_s)
    experience = _experience(models, lived, jnp.moveaxis(futures.speed_mps[:, :, :minutes], 2, 0))
    seconds = float(minutes * MINUTE_SLOTS)
    return Outlook(jnp.mean(experience, axis=0), jnp.sum(lived.bits, axis=0) / seconds)


def _experience(
    models: UserModels, lived: Lived, speed_mps: Float[Array, "minutes samples users"]
) -> Float[Array, "minutes samples users"]:
    conditions = Conditions(
        stall_s=lived.stall_s,
        quality=lived.quality_s / jnp.maximum(lived.played_s, 1e-6),
        behaviour=behaviour_of(lived.swipes),
        environment=environment_of(speed_mps),
    )
    return jax.vmap(jax.vmap(models.experience))(conditions)
