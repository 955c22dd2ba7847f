"""Trained emulators of attributes of users, as `twinloop train emulator` leaves them, among the twins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from twinloop.emulation.forecast import Z90, AbstractEmulator, KindForecast, news, rounding_std
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import ModelError
from twinloop.learning import (
    Arrival,
    Emulator,
    EmulatorState,
    blank_memory,
    load_emulator,
    network_features,
    read_card,
)
from twinloop.twins import Current, Kind

CELL_CHANGE = "cell_change"
AGE = " age"
"""Ends the name of a covariate that is not the value of an attribute but log(1 + slots since it was measured)."""
_COLUMNS: Mapping[str, int] = {attribute.name: at for at, attribute in enumerate(USER_ATTRIBUTES)}
_LOW, _HIGH = (np.array([getattr(each, end) for each in USER_ATTRIBUTES], np.float32) for end in ("low", "high"))
_SERVING = column(USER_ATTRIBUTES, "serving_cell")
_LEAST, _MOST = 1e-30, 1e30


class LearnedState(eqx.Module):
    """What the base and the trained emulators remember, which reports they had, and the cell that a user was in.

    Arrays of `trained` are led by an axis that counts the trained attributes.
    """

    base: PyTree
    trained: EmulatorState | None
    slot: Int[Array, "entities attributes"]
    cell: Float[Array, " entities"]


class Learned(AbstractEmulator[LearnedState]):
    """Emulates the users' `attributes` by trained emulators, one step of them a slot, and all else by `base`.

    `trained` is one emulator for each attribute, of one structure, all arrays led by an axis that counts them; it
    computes in units of `scale`. What they expect is the median of their forecast: half-way between where a quantity
    stays and where it may jump, the mean is a value that it never has. A slot without a report is a step in which
    nothing was measured. `covariates` are names of attributes, ages of attributes (`AGE`) and `CELL_CHANGE`; what no
    twin knows is NaN, which networks take as the mean.
    """

    base: AbstractEmulator[Any]
    trained: Emulator
    scale: Float[Array, " trained"]
    attributes: tuple[int, ...] = eqx.field(static=True)
    covariates: tuple[str, ...] = eqx.field(static=True)

    def start(self, kind: Kind, current: Current) -> LearnedState:
        """Nothing reported."""
        entities = current.value.shape[0]
        own = eqx.filter_vmap(lambda one: one.start(entities))(self.trained) if kind == "users" else None
        base = self.base.start(kind, current)
        return LearnedState(base, own, jnp.full_like(current.slot, -1), jnp.full(entities, -1.0, jnp.float32))

    def advance(
        self, kind: Kind, state: LearnedState, current: Current, slot: Int[Array, ""]
    ) -> tuple[LearnedState, KindForecast]:
        """Memory after `slot` and the forecast for the next one."""
        base, forecast = self.base.advance(kind, state.base, current, slot)
        if state.trained is None:
            return LearnedState(base, None, current.slot, state.cell), forecast
        first, further = news(state.slot, current)
        at = np.array(self.attributes)
        beside = user_covariates(self.covariates, current, state.cell, slot)

        def one(
            model: Emulator, before: EmulatorState, value: Array, anew: Array, came: Array
        ) -> tuple[EmulatorState, Array, Array]:
            before = _forgotten(before, model.start(value.shape[0]), anew)
            after, ahead = model.step(before, Arrival(value, came, beside))
            now = model.horizons.index(1)
            low, high = ahead.interval
            return after, ahead.median[:, now], (high - low)[:, now] / (2 * Z90)

        arrived = (current.value[:, at].T / self.scale[:, None], first[:, at].T, (first | further)[:, at].T)
        trained, median, std = eqx.filter_vmap(one)(self.trained, state.trained, *arrived)
        known = current.slot[:, at] >= 0
        low, high = _LOW[None, at], _HIGH[None, at]
        emulated = jnp.clip((median * self.scale[:, None]).T, low, high)
        wide = jnp.maximum((std * self.scale[:, None]).T, rounding_std("users")[None, at])
        after = LearnedState(base, trained, current.slot, current.value[:, _SERVING])
        return after, KindForecast(
            forecast.emulated.at[:, at].set(jnp.where(known, emulated, forecast.emulated[:, at])),
            forecast.std.at[:, at].set(jnp.where(known, wide, forecast.std[:, at])),
        )


def user_covariates(
    names: tuple[str, ...], current: Current, cell: Float[Array, " entities"], slot: Int[Array, ""]
) -> Float[Array, "entities covariates"]:
    """The columns `names` of what user twins know in `slot`; `cell` served them a slot ago (-1: not known)."""
    unknown = jnp.full(current.value.shape[0], jnp.nan)

    def of(name: str) -> Array:
        if name == CELL_CHANGE:
            return jnp.where(cell >= 0, current.value[:, _SERVING] != cell, False).astype(jnp.float32)
        at = _COLUMNS.get(name.removesuffix(AGE))
        if at is None:
            return unknown
        aged = jnp.log1p(jnp.maximum(slot - current.slot[:, at], 0).astype(jnp.float32))
        return jnp.where(current.slot[:, at] >= 0, aged if name.endswith(AGE) else current.value[:, at], unknown)

    return jnp.stack([of(name) for name in names], axis=1) if names else jnp.zeros((unknown.shape[0], 0))


def learned(path: Path, base: AbstractEmulator[Any], slot_s: float) -> Learned:
    """The trained emulators in `path` among twins whose slots last `slot_s` seconds; `base` does what they do not.

    `path` is a model of one attribute or of several, or a folder of such models.

    Raises ModelError where a file is missing, damaged or of another kind, where its card does not fit its weights,
    where it was trained on an attribute that users' twins do not have, in other steps, or not for the next step, and
    where two files are of one attribute.
    """
    if not path.is_dir():
        return _loaded(path, base, slot_s)
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise ModelError(path, "no model in this folder", "files ending in .safetensors with their cards")
    trained_by: dict[int, Path] = {}
    chain = base
    for file in files:
        chain = _loaded(file, chain, slot_s)
        for at in chain.attributes:
            if at in trained_by:
                again = f"{USER_ATTRIBUTES[at].name!r} is trained here and in {trained_by[at].name}"
                raise ModelError(file, again, "each attribute once; take one of the files away")
            trained_by[at] = file
    assert isinstance(chain, Learned)
    return chain


def _loaded(path: Path, base: AbstractEmulator[Any], slot_s: float) -> Learned:
    card, trained = read_card(path), load_emulator(path)
    beside = path.with_suffix(".json")
    several = isinstance(card.get("attributes"), list)
    names = [str(name) for name in card["attributes"]] if several else [str(card.get("attribute"))]
    levels = {attribute.name: at for at, attribute in enumerate(USER_ATTRIBUTES) if attribute.kind == "level"}
    for name in names:
        if name not in levels:
            raise ModelError(path, f"trained on {name!r}", f"an attribute of user twins: {', '.join(levels)}")
    step_s = card.get("step_s")
    if not _is_number(step_s):
        raise ModelError(beside, f"step_s is {step_s!r}", f"a number of seconds, {slot_s:g} as the twins' slots")
    if step_s != slot_s:
        raise ModelError(path, f"trained in steps of {step_s} s", f"steps of {slot_s:g} s, the twins' slots")
    if 1 not in trained.horizons:
        raise ModelError(path, f"trained for horizons {', '.join(map(str, trained.horizons))}", "horizon 1 among them")
    scales = card.get("scales", [1.0] * len(names))
    if not isinstance(scales, list) or not all(_is_number(one) and _LEAST < one < _MOST for one in scales):
        raise ModelError(beside, f"scales are {scales!r}", "a list of positive numbers, one for each attribute")
    scale = np.asarray(scales, np.float32)
    led = trained if several else jax.tree.map(lambda leaf: leaf[None], trained.only((1,)))
    if led.linear.ndim != 3 or not led.linear.shape[0] == len(names) == len(scale):
        raise ModelError(beside, "attributes, scales and weights do not agree", "the card of training")
    covariates = _covariates(beside, card, trained)
    return Learned(base, led, jnp.asarray(scale), tuple(levels[name] for name in names), covariates)


def _is_number(said: object) -> bool:
    return isinstance(said, (int, float)) and not isinstance(said, bool)


def _covariates(beside: Path, card: Mapping[str, Any], trained: Emulator) -> tuple[str, ...]:
    """Names of the covariates. Raises ModelError where they are no list of names, or not as many as networks read."""
    said = card.get("covariates", [])
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise ModelError(beside, f"covariates are {said!r}", "a list of names")
    own = network_features(trained.quantity, blank_memory(trained.quantity, 1), jnp.zeros((1, 0))).shape[1]
    for network in trained.networks:
        read = network.structure.inputs - own
        if read != len(said):
            raise ModelError(beside, f"{len(said)} covariates", f"{read}, as many as the networks were trained with")
    return tuple(said)


def _forgotten(state: EmulatorState, blank: EmulatorState, who: Bool[Array, " entities"]) -> EmulatorState:
    """`state` with the rows `who` as if nothing had been seen of them."""

    def rows(new: Array, old: Array, axis: int) -> Array:
        mask = who.reshape((1,) * axis + who.shape + (1,) * (old.ndim - axis - 1))
        return jnp.where(mask, new, old)

    memory = jax.tree.map(lambda new, old: rows(new, old, 0), blank.memory, state.memory)
    hidden = jax.tree.map(lambda new, old: rows(new, old, 1), blank.hidden, state.hidden)
    return EmulatorState(memory, hidden)
