"""What can be asked of a network, and what cannot."""

import numpy as np
import pytest

from twinloop.entities import USER_ATTRIBUTES, column
from twinloop.network import Override, default_request

COUNTS = {"users": 3, "cells": 2, "servers": 1}


def test_the_default_request_is_the_attribute_table():
    users = default_request(COUNTS).users
    assert users.period_s.shape == users.bits.shape == (COUNTS["users"], len(USER_ATTRIBUTES))
    for row in range(COUNTS["users"]):
        np.testing.assert_array_equal(users.bits[row], [attribute.bits for attribute in USER_ATTRIBUTES])
        np.testing.assert_allclose(users.period_s[row], [attribute.period_s for attribute in USER_ATTRIBUTES])
        on_change = [attribute.method == "on_change" for attribute in USER_ATTRIBUTES]
        np.testing.assert_array_equal(users.delta[row], np.where(on_change, 0.0, -1.0))
    assert np.isinf(users.alarm).all() and np.isinf(users.max_age_s).all()
    assert np.asarray(users.enabled).all()


def test_an_override_changes_its_attribute_alone():
    changed = {"sinr_db": Override(5.0, 3, "send_on_delta", delta=2.5, max_age_s=9.0, enabled=False)}
    asked, plain = default_request(COUNTS, {"users": changed}).users, default_request(COUNTS).users
    at = column(USER_ATTRIBUTES, "sinr_db")
    assert (float(asked.period_s[1, at]), int(asked.bits[1, at])) == (5.0, 3)
    assert float(asked.delta[1, at]) == 2.5 and float(asked.max_age_s[at]) == 9.0 and not bool(asked.enabled[at])
    others = np.arange(len(USER_ATTRIBUTES)) != at
    for name in ("period_s", "bits", "delta", "alarm", "max_age_s", "enabled"):
        np.testing.assert_array_equal(getattr(asked, name)[..., others], getattr(plain, name)[..., others])


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ({"drones": {}}, "drones"),
        ({"users": {"height_m": Override()}}, "height_m"),
        ({"users": {"sinr_db": Override(period_s=0.0)}}, "period"),
        ({"users": {"sinr_db": Override(period_s=float("nan"))}}, "period"),
        ({"users": {"sinr_db": Override(bits=0)}}, "1..24"),
        ({"users": {"sinr_db": Override(bits=25)}}, "1..24"),
        ({"users": {"sinr_db": Override(method="send_on_delta")}}, "needs a delta"),
        ({"users": {"sinr_db": Override(max_age_s=0.0)}}, "greatest age"),
    ],
)
def test_what_cannot_be_asked_is_named(wanted, word):
    with pytest.raises(ValueError, match=word):
        default_request(COUNTS, wanted)
