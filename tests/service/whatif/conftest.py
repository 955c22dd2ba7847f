"""A loop as it stands after some slots, without having lived them: twelve users of whom everything was reported."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from twin_stage import new_stage, stage

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.scenario import build_live
from twinloop.service.live import Members, Present
from twinloop.service.live.painting import paint

__all__ = ["new_stage", "present", "stage"]

NOW = 40
REPORTED = {
    "position_x_m": np.linspace(100, 800, 12),
    "position_y_m": np.linspace(100, 500, 12),
    "sinr_db": np.full(12, 12.0),
    "serving_cell": np.repeat([0.0, 1.0], 6),
    "rate_bps": np.full(12, 2e6),
    "buffer_s": np.full(12, 2.0),
    "version": np.full(12, 2.0),
}


@pytest.fixture(scope="module")
def present(small_site) -> Present:
    """The loop after slot 40."""
    loop, state = build_live(small_site)
    users = state.twin.users.current
    value = np.zeros(users.value.shape, np.float32)
    for name, given in REPORTED.items():
        value[:, column(USER_ATTRIBUTES, name)] = given
    known = eqx.tree_at(
        lambda c: (c.active, c.value, c.slot),
        users,
        (jnp.ones_like(users.active), jnp.asarray(value), jnp.full_like(users.slot, NOW)),
    )
    foretold = eqx.tree_at(
        lambda f: (f.emulated, f.std), state.forecast.users, (jnp.asarray(value), jnp.full_like(users.value, 0.1))
    )
    state = eqx.tree_at(lambda s: (s.twin.users.current, s.forecast.users), state, (known, foretold))
    members = Members(small_site)
    for number in range(12):
        members.users.claim(f"ue-{number}")
    members.user_slice[:] = np.asarray(loop.abstractor.params.user_slice)
    return Present(loop, state, paint(small_site, members, loop, state, NOW, 1.7e9))
