"""What can be asked of a network, and what cannot."""

import numpy as np
import pytest

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network import Override, default_request


def test_the_default_request_is_the_attribute_table():
    users = default_request().users
    np.testing.assert_array_equal(users.bits, [attribute.bits for attribute in USER_ATTRIBUTES])
    np.testing.assert_allclose(users.period_s, [attribute.period_s for attribute in USER_ATTRIBUTES])
    np.testing.assert_array_equal(users.on_change, [attribute.method == "on_change" for attribute in USER_ATTRIBUTES])
    assert np.asarray(users.enabled).all()


def test_an_override_changes_its_attribute_alone():
    changed = {"sinr_db": Override(5.0, 3, "on_change", enabled=False)}
    asked, plain = default_request({"users": changed}).users, default_request().users
    at = column(USER_ATTRIBUTES, "sinr_db")
    assert (float(asked.period_s[at]), int(asked.bits[at])) == (5.0, 3)
    assert bool(asked.on_change[at]) and not bool(asked.enabled[at])
    others = np.arange(len(USER_ATTRIBUTES)) != at
    for name in ("period_s", "bits", "on_change", "enabled"):
        np.testing.assert_array_equal(getattr(asked, name)[others], getattr(plain, name)[others])


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ({"drones": {}}, "drones"),
        ({"users": {"height_m": Override()}}, "height_m"),
        ({"users": {"sinr_db": Override(period_s=0.0)}}, "period"),
        ({"users": {"sinr_db": Override(period_s=float("nan"))}}, "period"),
        ({"users": {"sinr_db": Override(bits=0)}}, "1..24"),
        ({"users": {"sinr_db": Override(bits=25)}}, "1..24"),
    ],
)
def test_what_cannot_be_asked_is_named(wanted, word):
    with pytest.raises(ValueError, match=word):
        default_request(wanted)
