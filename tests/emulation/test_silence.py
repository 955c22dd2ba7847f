"""Silence bounds what is emulated: who reports every change above an alarm has not changed by more."""

import jax.numpy as jnp
import numpy as np

from twinloop.emulation import Forecast, KindForecast, within_alarms
from twinloop.twins import empty_twins


def twins():
    empty = empty_twins(users=3, cells=1, servers=1, slices=1, history=2, class_length_s=jnp.ones(1))
    current = empty.users.current
    known = type(current)(
        current.active, jnp.full_like(current.value, 10.0), current.slot.at[:2].set(4), current.revision, current.error
    )
    return type(empty)(
        type(empty.users)(known, empty.users.history, empty.users.scale),
        empty.cells,
        empty.servers,
        empty.slices,
        empty.swipes,
    )


def test_a_forecast_is_held_to_within_the_alarm_around_what_was_reported():
    held = twins()
    attributes = held.users.current.value.shape[1]
    far = KindForecast(jnp.full((3, attributes), 25.0), jnp.full((3, attributes), 9.0))
    other = [KindForecast(jnp.zeros((1, n)), jnp.ones((1, n))) for n in (5, 4)]
    alarm = jnp.full((3, attributes), 2.0).at[1].set(jnp.inf).at[0, 3].set(0.0)
    never = [jnp.full((1, n), jnp.inf) for n in (5, 4)]
    got = within_alarms(Forecast(far, *other), held, alarm, *never).users
    np.testing.assert_allclose(got.emulated[0, :3], 12.0)
    np.testing.assert_allclose(got.std[0, 4], 2.0)
    assert float(got.emulated[0, 3]) == 25.0, "an alarm at every change bounds nothing ahead"
    np.testing.assert_allclose(got.emulated[1], 25.0)
    np.testing.assert_allclose(got.emulated[2], 25.0, err_msg="nothing was ever reported")
    near = KindForecast(jnp.full((3, attributes), 11.0), jnp.full((3, attributes), 1.0))
    np.testing.assert_allclose(within_alarms(Forecast(near, *other), held, alarm, *never).users.emulated, 11.0)
