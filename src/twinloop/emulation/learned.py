"""A trained emulator of one attribute of users, as `twinloop train emulator` leaves it, among the twins."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from twinloop.emulation.forecast import Z90, AbstractEmulator, KindForecast, news
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.errors import ModelError
from twinloop.learning import Arrival, Emulator, EmulatorState, load_emulator, read_card
from twinloop.twins import Current, Kind

CELL_CHANGE = "cell_change"
_MOVED, _UNKNOWN = -1, -2
_SERVING = column(USER_ATTRIBUTES, "serving_cell")


class LearnedState(eqx.Module):
    """What the base and the trained emulator remember, which reports they had, and the cell that a user was in."""

    base: PyTree
    trained: EmulatorState | None
    slot: Int[Array, "entities attributes"]
    cell: Float[Array, " entities"]


class Learned(AbstractEmulator[LearnedState]):
    """Emulates attribute `attribute` of users by a trained emulator, one step of it a slot, and all else by `base`.

    A slot without a report is a step in which nothing was measured. `covariates` are columns of other attributes,
    `_MOVED` for a change of the serving cell, `_UNKNOWN` for what no twin knows: NaN, which networks take as the mean.
    """

    base: AbstractEmulator[Any]
    trained: Emulator
    attribute: int = eqx.field(static=True)
    covariates: tuple[int, ...] = eqx.field(static=True)

    def start(self, kind: Kind, current: Current) -> LearnedState:
        """Nothing reported."""
        entities = current.value.shape[0]
        own = self.trained.start(entities) if kind == "users" else None
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
        at = self.attribute
        before = _forgotten(state.trained, self.trained.start(current.value.shape[0]), first[:, at])
        came = Arrival(current.value[:, at], first[:, at] | further[:, at], self._covariates(state, current))
        trained, ahead = self.trained.step(before, came)
        now = self.trained.horizons.index(1)
        low, high = ahead.interval
        known = current.slot[:, at] >= 0
        emulated = jnp.where(known, ahead.mean[:, now], forecast.emulated[:, at])
        std = jnp.where(known, (high - low)[:, now] / (2 * Z90), forecast.std[:, at])
        after = LearnedState(base, trained, current.slot, current.value[:, _SERVING])
        return after, KindForecast(forecast.emulated.at[:, at].set(emulated), forecast.std.at[:, at].set(std))

    def _covariates(self, state: LearnedState, current: Current) -> Float[Array, "entities covariates"]:
        unknown = jnp.full(current.value.shape[0], jnp.nan)
        moved = jnp.where(state.cell >= 0, current.value[:, _SERVING] != state.cell, False).astype(jnp.float32)
        derived = {_MOVED: moved, _UNKNOWN: unknown}
        columns = [
            derived[at] if at < 0 else jnp.where(current.slot[:, at] >= 0, current.value[:, at], unknown)
            for at in self.covariates
        ]
        return jnp.stack(columns, axis=1) if columns else jnp.zeros((unknown.shape[0], 0))


def learned(path: Path, base: AbstractEmulator[Any], slot_s: float) -> Learned:
    """The trained emulator in `path` among twins whose slots last `slot_s` seconds; `base` does what it does not.

    Raises ModelError where the file is missing, damaged or of another kind, and where it was trained on an attribute
    that users' twins do not have, in other steps, or not for the next step.
    """
    card, trained = read_card(path), load_emulator(path)
    levels = {attribute.name: at for at, attribute in enumerate(USER_ATTRIBUTES) if attribute.kind == "level"}
    name = str(card.get("attribute"))
    if name not in levels:
        raise ModelError(path, f"trained on {name!r}", f"an attribute of user twins: {', '.join(levels)}")
    if float(card.get("step_s", 0.0)) != slot_s:
        raise ModelError(
            path, f"trained in steps of {card.get('step_s')} s", f"steps of {slot_s:g} s, the twins' slots"
        )
    if 1 not in trained.horizons:
        raise ModelError(path, f"trained for horizons {', '.join(map(str, trained.horizons))}", "horizon 1 among them")
    everything = {attribute.name: at for at, attribute in enumerate(USER_ATTRIBUTES)}
    names: list[str] = list(card.get("covariates", []))
    covariates = tuple(_MOVED if each == CELL_CHANGE else everything.get(each, _UNKNOWN) for each in names)
    return Learned(base, trained, levels[name], covariates)


def _forgotten(state: EmulatorState, blank: EmulatorState, who: Bool[Array, " entities"]) -> EmulatorState:
    """`state` with the rows `who` as if nothing had been seen of them."""

    def rows(new: Array, old: Array, axis: int) -> Array:
        mask = who.reshape((1,) * axis + who.shape + (1,) * (old.ndim - axis - 1))
        return jnp.where(mask, new, old)

    memory = jax.tree.map(lambda new, old: rows(new, old, 0), blank.memory, state.memory)
    hidden = jax.tree.map(lambda new, old: rows(new, old, 1), blank.hidden, state.hidden)
    return EmulatorState(memory, hidden)
