"""What travels between a server and its agents: the mailbox, commands and plans keep what was put into them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import msgspec
import numpy as np
import pytest

from twinloop.entities import USER_ATTRIBUTES, Action, column
from twinloop.network import (
    Asked,
    Command,
    FlowShare,
    LiveNetwork,
    Names,
    Plan,
    SliceShare,
    action_of,
    default_request,
    empty_mailbox,
    plan_of,
    request_of,
)

NAMES = Names(cells=["a", "b"], servers=["edge"], slices=["premium", "standard"], users=["u0", "", "u2"], groups=["g0"])
COUNTS = {"users": 3, "cells": 2, "servers": 1}
IDS = {"users": ["u0", "", "u2"], "cells": ["a", "b"], "servers": ["edge"]}


def nothing() -> Action:
    flows = jnp.zeros(3 + 2)
    return Action(jnp.ones(2, bool), jnp.ones((2, 2)), jnp.ones((1, 2)), jnp.ones((1, 2)), flows, flows)


def share(**changes) -> SliceShare:
    given = {
        "slice": "standard",
        "sst": 1,
        "sd": "000002",
        "active": True,
        "bandwidth_hz": {"b": 5e6},
        "cycles_per_s": {"edge": 7e9},
        "cache_bytes": {},
    }
    return SliceShare(**(given | changes))


def test_the_mailbox_reports_what_lies_in_it_and_keeps_what_is_asked():
    box = empty_mailbox(3, 2, 1, 2, nothing())
    box = eqx.tree_at(lambda b: (b.slot, b.users.value), box, (jnp.int32(5), jnp.full_like(box.users.value, 2.0)))
    network, key = LiveNetwork(), jax.random.key(0)
    _, report = network.report(key, box, default_request(COUNTS))
    assert int(report.slot) == 5
    assert np.all(np.asarray(report.users.value) == 2.0)
    asked = eqx.tree_at(lambda a: a.slice_bandwidth_hz, nothing(), jnp.full((2, 2), 3.0))
    after = network.apply(key, box, asked, jnp.int32(9))
    assert int(after.revision) == 9
    assert np.all(np.asarray(after.order.slice_bandwidth_hz) == 3.0)


def test_a_command_changes_what_it_names_and_says_what_is_not_here():
    flows = [FlowShare(1e6, 2e9, user="u2"), FlowShare(3e6, 0.0, group="g0", cell="b"), FlowShare(1.0, 1.0, user="who")]
    wire = msgspec.json.encode(Command(4, "west", 1.0, [share(), share(slice="other", sd="000009")], flows))
    action, unknown = action_of(msgspec.json.decode(wire, type=Command), NAMES, nothing())
    assert np.asarray(action.slice_bandwidth_hz).tolist() == [[1.0, 1.0], [1.0, 5e6]]
    assert np.asarray(action.slice_cycles_per_s).tolist() == [[1.0, 7e9]] or np.isclose(
        action.slice_cycles_per_s[0, 1], 7e9
    )
    assert np.asarray(action.flow_bandwidth_hz).tolist() == [0.0, 0.0, 1e6, 0.0, 3e6]
    assert unknown == ["other", "who"]


def test_a_command_without_flows_leaves_them_to_the_site():
    before = eqx.tree_at(lambda a: a.flow_bandwidth_hz, nothing(), jnp.arange(5.0))
    action, unknown = action_of(Command(4, "west", 1.0, [share(active=False)]), NAMES, before)
    assert unknown == []
    assert np.asarray(action.flow_bandwidth_hz).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert np.asarray(action.slice_active).tolist() == [True, False]


def test_a_plan_brings_a_request_to_where_it_is_carried_out():
    request = default_request(COUNTS)
    buffer = column(USER_ATTRIBUTES, "buffer_s")
    request = eqx.tree_at(
        lambda r: (r.users.period_s, r.users.alarm, r.users.enabled),
        request,
        (
            request.users.period_s.at[2, buffer].set(16.0),
            request.users.alarm.at[2, buffer].set(1.5),
            request.users.enabled.at[0].set(False),
        ),
    )
    plan = plan_of(request, IDS, 3, "west")
    assert {name for part in plan.parts if part.kind == "user" for name in part.ids} == {"u0", "u2"}
    received = msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
    asked = request_of(received, IDS, default_request(COUNTS))
    assert float(asked.users.period_s[2, buffer]) == 16.0
    assert float(asked.users.alarm[2, buffer]) == 1.5
    assert not bool(asked.users.enabled[0])
    there = np.array([0, 2])
    for name in ("period_s", "bits", "delta", "alarm"):
        np.testing.assert_allclose(
            np.asarray(getattr(asked.users, name))[there], np.asarray(getattr(request.users, name))[there], rtol=1e-6
        )


@pytest.mark.parametrize("part", ["drone", "user"])
def test_a_plan_for_what_is_not_here_changes_nothing(part):
    plan = Plan(1, "west", [])
    odd = {"kind": part, "ids": ["nobody"], "attributes": {entry.name: Asked(99.0, 4) for entry in USER_ATTRIBUTES}}
    plan = msgspec.convert({"revision": 1, "site": "west", "parts": [msgspec.to_builtins(odd)]}, Plan)
    asked = request_of(plan, IDS, default_request(COUNTS))
    np.testing.assert_array_equal(asked.users.period_s, default_request(COUNTS).users.period_s)
