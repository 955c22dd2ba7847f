"""Small twins and observations to test with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from twinloop.collection import Observations, Seen
from twinloop.entities import USER_ATTRIBUTES
from twinloop.twins import Twins, empty_twins

COLUMNS = len(USER_ATTRIBUTES)
USERS, CELLS, SERVERS, SLICES, HISTORY = 4, 2, 1, 2, 3
LENGTH_S = (5.0, 8.5)


class KindForecast(NamedTuple):
    emulated: jax.Array


class Forecast(NamedTuple):
    users: KindForecast
    cells: KindForecast
    servers: KindForecast


def twins() -> Twins:
    return empty_twins(
        users=USERS,
        cells=CELLS,
        servers=SERVERS,
        slices=SLICES,
        history=HISTORY,
        class_length_s=jnp.array(LENGTH_S),
    )


def seen(value: np.ndarray, fresh: np.ndarray, slot: np.ndarray) -> Seen:
    nothing = jnp.zeros((), jnp.int32)
    return Seen(
        jnp.asarray(value, jnp.float32),
        jnp.asarray(fresh, bool),
        jnp.asarray(np.where(fresh, slot, -1), jnp.int32),
        jnp.zeros(()),
        nothing,
        nothing,
        nothing,
    )


def observations(now: int, reported: dict[tuple[int, int], tuple[float, int]]) -> Observations:
    """Observations of users: {(user, attribute): (value, measured slot)}; nothing of the rest."""
    value, slot = np.zeros((USERS, COLUMNS), np.float32), np.full((USERS, COLUMNS), -1)
    for place, (level, when) in reported.items():
        value[place], slot[place] = level, when
    cells, servers = np.zeros((CELLS, 5)), np.zeros((SERVERS, 4))
    return Observations(
        jnp.int32(now),
        seen(value, slot >= 0, slot),
        seen(cells, cells > 0, cells),
        seen(servers, servers > 0, servers),
    )


def forecast(users: np.ndarray | float = 0.0) -> Forecast:
    def kind(entities: int, attributes: int, level: np.ndarray | float) -> KindForecast:
        return KindForecast(jnp.zeros((entities, attributes)) + jnp.float32(level))

    return Forecast(kind(USERS, COLUMNS, users), kind(CELLS, 5, 0.0), kind(SERVERS, 4, 0.0))
