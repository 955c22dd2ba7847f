"""What silence says: whoever reports every change above an alarm and is silent has not changed by more."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from twinloop.emulation.forecast import Forecast, KindForecast, rounding_std
from twinloop.twins import Current, Kind, Twins


def within_alarms(
    forecast: Forecast,
    twins: Twins,
    users: Float[Array, "users user_attributes"],
    cells: Float[Array, "cells cell_attributes"],
    servers: Float[Array, "servers server_attributes"],
) -> Forecast:
    """`forecast` held to within each attribute's alarm (in its unit; infinite: none) around what was last reported.

    The standard deviation is at most the alarm, where there is one above 0. A first report has no bound before it.

    Left out: a report that was lost, after which silence means less until the next one.
    """
    return Forecast(
        _held("users", forecast.users, twins.users.current, users),
        _held("cells", forecast.cells, twins.cells.current, cells),
        _held("servers", forecast.servers, twins.servers.current, servers),
    )


def _held(
    kind: Kind, forecast: KindForecast, current: Current, alarm: Float[Array, "entities attributes"]
) -> KindForecast:
    bound = (alarm > 0) & jnp.isfinite(alarm) & (current.slot >= 0)
    reach = jnp.where(bound, alarm, 0.0)
    mean = jnp.clip(forecast.emulated, current.value - reach, current.value + reach)
    least = jnp.asarray(rounding_std(kind))[None, :]
    return KindForecast(
        jnp.where(bound, mean, forecast.emulated),
        jnp.where(bound, jnp.clip(forecast.std, least, jnp.maximum(alarm, least)), forecast.std),
    )
