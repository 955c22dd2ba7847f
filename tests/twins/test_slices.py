import functools

import jax
import jax.numpy as jnp
import numpy as np
from twin_cases import CELLS, SERVERS, SLICES, USERS, forecast, observations, twins

from twinloop.entities import SLICE_ATTRIBUTES, USER_ATTRIBUTES, Action, column
from twinloop.simulator import Radio, spectral_efficiency
from twinloop.slicing import SliceSpec, end_slice, table_from_specs
from twinloop.twins import aggregate_slices, assimilate

PROMISES = table_from_specs([SliceSpec("a", 1, "1", "short_video", 2e6)], SLICES)
STANDING = Action(
    slice_active=PROMISES.active,
    slice_bandwidth_hz=jnp.array([[1e6, 0.0], [2e6, 0.0]]),
    slice_cycles_per_s=jnp.array([[5e9, 0.0]]),
    slice_cache_bytes=jnp.array([[1e8, 0.0]]),
    flow_bandwidth_hz=jnp.zeros(USERS),
    flow_cycles_per_s=jnp.zeros(USERS),
)
RADIO = Radio(
    grid=(2, 2),
    **dict.fromkeys(
        ("noise_figure_db", "hysteresis_db", "time_to_trigger_s", "handover_s", "interference", "shadow_scale"),
        jnp.zeros(()),
    ),
    rician_k=jnp.float32(0.0),
    se_factor=jnp.float32(0.6),
    se_max=jnp.float32(7.4),
    shadow_grid_m=jnp.float32(10.0),
    user_height_m=jnp.float32(1.5),
)
aggregate = jax.jit(functools.partial(aggregate_slices, radio=RADIO, cycles_per_bit=400.0))


def of_user(name: str) -> int:
    return column(USER_ATTRIBUTES, name)


def state():
    assert STANDING.slice_bandwidth_hz.shape[:1] + STANDING.slice_cycles_per_s.shape[:1] == (CELLS, SERVERS)
    reported = {}
    for user, (rate, share) in enumerate([(1e6, 0.5), (4e6, 0.0)]):
        for name, level in (("rate_bps", rate), ("transcode_share", share), ("buffer_s", 4.0), ("sinr_db", 0.0)):
            reported[user, of_user(name)] = (level, 0)
    return assimilate(twins(), observations(0, reported), forecast(), jnp.int32(0))


def test_a_slice_is_the_sum_of_its_active_users_and_what_it_is_given():
    made = aggregate(state(), jnp.zeros(USERS, jnp.int32), PROMISES, STANDING, jnp.int32(0)).slices.current
    known = dict(zip([a.name for a in SLICE_ATTRIBUTES], np.asarray(made.value[0]).tolist(), strict=True))
    expected = {
        "users": 2.0,
        "demand_bps": 4e6,
        "demand_bandwidth_hz": 2 * 2e6 / float(spectral_efficiency(RADIO, jnp.zeros(1))[0]),
        "demand_cycles_per_s": 2e6 * 0.5 * 400,
        "reserved_bandwidth_hz": 3e6,
        "reserved_cycles_per_s": 5e9,
        "reserved_cache_bytes": 1e8,
        "rate_bps": 5e6,
        "satisfaction": 0.75,
        "buffer_s": 4.0,
    }
    for name, level in expected.items():
        np.testing.assert_allclose(known[name], level, rtol=1e-5, err_msg=name)
    assert made.active.tolist() == [True, False]
    assert made.slot[:, 0].tolist() == [0, -1]


def test_an_ended_slice_is_retired_and_its_successor_starts_without_history():
    users = jnp.zeros(USERS, jnp.int32)
    made = aggregate(state(), users, PROMISES, STANDING, jnp.int32(0))
    ended = aggregate(made, users, end_slice(PROMISES, 0), STANDING, jnp.int32(1))
    assert not bool(ended.slices.current.active[0])
    assert ended.slices.history.slot[0].tolist() == [0, -1, -1]
    again = aggregate(ended, users, PROMISES, STANDING, jnp.int32(2))
    assert again.slices.history.slot[0].tolist() == [2, -1, -1]
    revisions = [int(t.slices.current.revision[0]) for t in (made, ended, again)]
    assert revisions == sorted(set(revisions))
