"""What every emulator answers: the values expected one slot ahead, with their uncertainty."""

from abc import abstractmethod
from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from twinloop.twins import ATTRIBUTES, Current, Kind, Twins, quantum

State = TypeVar("State")
Z90 = 1.6449
"""Half the width of the 90 % interval of a normal distribution, in standard deviations."""


class KindForecast(eqx.Module):
    """Values expected to be reported by one kind of entity: mean and standard deviation, in the attribute's unit."""

    emulated: Float[Array, "entities attributes"]
    std: Float[Array, "entities attributes"]


class Forecast(eqx.Module):
    """Values expected one slot ahead."""

    users: KindForecast
    cells: KindForecast
    servers: KindForecast


class ByKind(eqx.Module, Generic[State]):
    """An emulator's memory, by kind of entity."""

    users: State
    cells: State
    servers: State


class AbstractEmulator(eqx.Module, Generic[State]):
    """Predicts the twins one slot ahead; pure, for all entities and attributes at once.

    Labels and counts keep their last value with std 0; an attribute never reported is emulated as the twin has it, with
    the standard deviation of its whole range, (high - low) / sqrt(12). A row that was admitted anew is forgotten.
    """

    @abstractmethod
    def start(self, kind: Kind, current: Current) -> State:
        """Memory of one kind of entity before anything was seen."""

    @abstractmethod
    def advance(self, kind: Kind, state: State, current: Current, slot: Int[Array, ""]) -> tuple[State, KindForecast]:
        """Memory after what the twins of one kind know in `slot`, and their forecast for `slot` + 1."""

    def init(self, twins: Twins) -> ByKind[State]:
        """Memory before anything was seen; only the number of `twins` matters."""
        return ByKind(
            self.start("users", twins.users.current),
            self.start("cells", twins.cells.current),
            self.start("servers", twins.servers.current),
        )

    def emulate(self, state: ByKind[State], twins: Twins, slot: Int[Array, ""]) -> tuple[ByKind[State], Forecast]:
        """Memory after what the twins know in `slot`, and the forecast for `slot` + 1."""
        users, users_forecast = self.advance("users", state.users, twins.users.current, slot)
        cells, cells_forecast = self.advance("cells", state.cells, twins.cells.current, slot)
        servers, servers_forecast = self.advance("servers", state.servers, twins.servers.current, slot)
        return ByKind(users, cells, servers), Forecast(users_forecast, cells_forecast, servers_forecast)


def news(
    known_slot: Int[Array, "entities attributes"], current: Current
) -> tuple[Bool[Array, "entities attributes"], Bool[Array, "entities attributes"]]:
    """Which attributes have their first report (of a new occupant of the row, too), and which one after `known_slot`.

    An attribute's running error is unset until its second report, which tells a new occupant's report from a further
    one.
    """
    reported = current.slot >= 0
    first = reported & ((known_slot < 0) | (current.slot < known_slot) | (current.error < 0))
    return first, reported & ~first & (current.slot > known_slot)


def complete(
    kind: Kind,
    current: Current,
    emulated: Float[Array, "entities attributes"],
    variance: Float[Array, "entities attributes"],
) -> KindForecast:
    """Forecast of a kind from emulated levels: within the attributes' ranges, and with the rules that hold for all."""
    table = ATTRIBUTES[kind]
    low = np.array([attribute.low for attribute in table], np.float32)
    high = np.array([attribute.high for attribute in table], np.float32)
    is_level = np.array([attribute.kind == "level" for attribute in table])[None, :]
    reported = current.slot >= 0
    std = jnp.where(is_level, jnp.maximum(jnp.sqrt(variance), rounding_std(kind)[None, :]), 0.0)
    inside = jnp.clip(emulated, low[None, :], high[None, :])
    return KindForecast(
        emulated=jnp.where(is_level & reported, inside, current.value),
        std=jnp.where(reported, std, ((high - low) / np.sqrt(12.0, dtype=np.float32))[None, :]),
    )


def rounding_std(kind: Kind) -> np.ndarray:
    """Standard deviation of rounding to the table's precision, quantum / sqrt(12), by attribute."""
    return quantum(kind) / np.sqrt(12.0, dtype=np.float32)
