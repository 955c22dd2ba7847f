import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twinloop.service.security import PERMISSIONS, Buckets, Identity, Limits, LimitSettings, Rate, TooManyRequests
from twinloop.service.security.access import network_of


class Now:
    def __init__(self):
        self.s = 0.0

    def __call__(self):
        return self.s


def test_a_burst_and_then_the_rate():
    now = Now()
    buckets = Buckets(Rate(per_s=2, burst=3), now, 10)
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now.s = 0.5
    assert [buckets.wait_s("a"), buckets.wait_s("a")] == [0, 0.5]
    assert buckets.wait_s("b") == 0


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.tuples(st.floats(-100, 100), st.sampled_from("ab"), st.floats(0.1, 5)), max_size=40),
    per_s=st.floats(0.1, 100),
    burst=st.floats(1, 50),
)
def test_never_more_than_burst_and_rate_whatever_the_clock_does(steps, per_s, burst):
    now, forward, taken = Now(), 0.0, {"a": [], "b": []}
    buckets = Buckets(Rate(per_s=per_s, burst=burst), now, 10)
    for move_s, key, cost in steps:
        now.s += move_s
        forward += max(move_s, 0)
        if buckets.wait_s(key, cost) == 0:
            taken[key].append(cost)
    for costs in taken.values():
        assert sum(costs) <= burst + per_s * forward + max(costs, default=0) + 1e-6


def test_waiting_as_told_is_enough():
    now = Now()
    buckets = Buckets(Rate(per_s=0.3, burst=2), now, 10)
    while (wait_s := buckets.wait_s("a", 1.7)) == 0:
        pass
    now.s += wait_s + 1e-9
    assert buckets.wait_s("a", 1.7) == 0


def test_a_cost_above_the_burst_is_paid_back():
    now = Now()
    buckets = Buckets(Rate(per_s=1, burst=2), now, 10)
    assert buckets.wait_s("a", 10.0) == 0
    assert buckets.wait_s("a") == pytest.approx(9)


def test_memory_is_bounded_and_the_busy_are_remembered():
    buckets = Buckets(Rate(per_s=1e-3, burst=1), Now(), 100)
    buckets.wait_s("busy")
    for number in range(1000):
        buckets.wait_s(f"{number}")
        assert buckets.wait_s("busy") > 0
    assert len(buckets) == 100


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("testclient", "testclient", True),
    ],
)
def test_what_counts_as_one_address(one, other, same):
    assert (network_of(one) == network_of(other)) is same


def test_each_role_has_its_rate_and_refusals_say_when():
    limits = Limits(LimitSettings(roles={"viewer": Rate(per_s=0.1, burst=1)}), Now())
    viewer = Identity("tl_1", "screen", "viewer", PERMISSIONS["viewer"])
    limits.admit(viewer)
    with pytest.raises(TooManyRequests) as refused:
        limits.admit(viewer)
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "10"
    limits.admit(Identity("tl_2", "other", "viewer", PERMISSIONS["viewer"]))
    root = Identity("tl_3", "root", "admin", PERMISSIONS["admin"])
    for _ in range(400):
        limits.admit(root)
    with pytest.raises(TooManyRequests):
        limits.admit(root)


def test_reporters_are_not_held_at_what_one_is_meant_to_send():
    now = Now()
    limits = Limits(LimitSettings(), now)
    reporter = Identity("tl_1", "agent", "reporter", PERMISSIONS["reporter"])
    for _ in range(20):
        now.s += 1
        limits.admit(reporter, 3200.0)
