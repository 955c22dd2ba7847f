"""What a slot taught is handed on as it was seen, with who pays for it."""

import jax.numpy as jnp
import numpy as np

from twinloop.collection import Observations, Seen
from twinloop.emulation import Forecast, KindForecast
from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.twins import assimilate, empty_twins, evidence


def nothing_seen(entities: int, attributes: int) -> Seen:
    blank, none = jnp.zeros((entities, attributes)), jnp.int32(0)
    return Seen(blank, blank > 0, blank.astype(jnp.int32) - 1, jnp.float32(0), none, none, none)


def test_evidence_is_what_was_expected_and_what_is_known_after():
    twins = empty_twins(users=2, cells=3, servers=1, slices=1, history=2, class_length_s=jnp.ones(1))
    attributes = len(USER_ATTRIBUTES)
    users = nothing_seen(2, attributes)
    value = users.value.at[0].set(7.0).at[0, column(USER_ATTRIBUTES, "serving_cell")].set(2.0)
    fresh = users.fresh.at[0].set(True)
    seen_users = Seen(value, fresh, jnp.where(fresh, 4, -1), users.bits, users.reports, users.late, users.duplicates)
    seen = Observations(jnp.int32(4), seen_users, nothing_seen(3, 5), nothing_seen(1, 4))
    expected = [KindForecast(jnp.full((n, a), 1.5), jnp.ones((n, a))) for n, a in ((2, attributes), (3, 5), (1, 4))]
    forecast = Forecast(*expected)
    after = assimilate(twins, seen, forecast, seen.slot)
    taught = evidence(after, seen, forecast)
    assert taught.users.heard.all(axis=1).tolist() == [True, False]
    assert taught.users.active.tolist() == [True, False]
    assert taught.users.cell.tolist() == [2, 0] and taught.cells.cell.tolist() == [0, 1, 2]
    np.testing.assert_allclose(taught.users.known[0, 0], 7.0)
    np.testing.assert_allclose(taught.users.expected, 1.5)
