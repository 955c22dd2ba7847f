"""From requests to rows of users; stalls worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.network.formats import Batch, Cmcd, CmcdFollower, check

LADDER_BPS = (750e3, 1_200e3, 1_850e3)


def cmcd(**fields):
    return Cmcd(**{"session": "s", "object_type": "v", **fields})


def stalls(*requests, **options):
    """Sum of stalls after each of (time, keys) of one session."""
    follower = CmcdFollower(**options)
    made = [follower.take(time_s, "client", cmcd(**fields)) for time_s, fields in requests]
    return [row.values["rebuffer_s"] for row in made]


def test_keys_become_attributes():
    row = CmcdFollower(LADDER_BPS, {"film": 7}).take(
        5.0, "10.0.0.1", cmcd(buffer_ms=21_300, throughput_kbps=25_400, encoded_kbps=1_100, content="film")
    )
    assert (row.kind, row.id, row.time_s) == ("user", "s", 5.0)
    assert row.values == {
        "rebuffer_s": 0.0,
        "buffer_s": 21.3,
        "rate_bps": 25.4e6,
        "version": 1.0,
        "video_class": 7.0,
    }


@pytest.mark.parametrize(("kbps", "version"), [(0, 0), (974, 0), (976, 1), (1_524, 1), (1_526, 2), (99_999, 2)])
def test_the_version_is_the_nearest_step(kbps, version):
    assert CmcdFollower(LADDER_BPS).take(0.0, "c", cmcd(encoded_kbps=kbps)).values["version"] == version


def test_what_is_not_said_is_absent():
    assert CmcdFollower().take(0.0, "c", cmcd(encoded_kbps=750)).values == {"rebuffer_s": 0.0}


def test_what_no_attribute_holds_is_cut_and_the_row_stands():
    row = CmcdFollower().take(0.0, "c", cmcd(buffer_ms=2**53, throughput_kbps=2**53))
    assert (row.values["buffer_s"], row.values["rate_bps"]) == (60.0, 1e9)
    assert not check(Batch("a", 0, [row]), 1.0).refused


def test_a_content_has_the_same_class_everywhere():
    # CRC-32 of "123456789" is 0xCBF43926, the check value of the algorithm
    assert CmcdFollower().take(0.0, "c", cmcd(content="123456789")).values["video_class"] == 0x3926


def test_ids_are_made_fit_and_the_client_stands_in():
    follower = CmcdFollower()
    assert follower.take(0.0, "c", cmcd(session="a b/c\n")).id == "a_b_c_"
    assert follower.take(0.0, "2001:db8::1", cmcd(session=None)).id == "2001:db8::1"
    assert follower.take(0.0, "", cmcd(session=None)) is None


@pytest.mark.parametrize("kind", ["a", "m", "i", "c", "tt", "k", "o"])
def test_requests_for_anything_but_video_are_passed_over(kind):
    assert CmcdFollower().take(0.0, "c", cmcd(object_type=kind, encoded_kbps=96)) is None


def test_a_stall_is_what_the_buffer_cannot_explain():
    # 10 s between requests; 2 s were buffered, the segment of 4 s came, 1 s is left: 5 s were played, 5 s stalled.
    assert stalls(
        (100.0, {"buffer_ms": 2_000, "duration_ms": 4_000}), (110.0, {"buffer_ms": 1_000, "starved": True})
    ) == [0.0, 5.0]
    # At double speed the 5 s of media took 2.5 s.
    fast = {"buffer_ms": 2_000, "duration_ms": 4_000, "playback_rate": 2.0}
    assert stalls((100.0, fast), (110.0, {"buffer_ms": 1_000, "starved": True}))[-1] == 7.5


def test_without_duration_and_new_level_the_old_buffer_alone_explains():
    assert stalls((100.0, {"buffer_ms": 2_000}), (110.0, {"starved": True}))[-1] == 8.0


def test_what_cannot_be_told_adds_nothing():
    assert stalls((0.0, {"buffer_ms": 0, "starved": True})) == [0.0]
    assert stalls((0.0, {}), (10.0, {"starved": True}))[-1] == 0.0
    assert stalls((0.0, {"buffer_ms": 1_000, "playback_rate": 0.0}), (10.0, {"starved": True}))[-1] == 0.0
    assert stalls((0.0, {"buffer_ms": 1_000}), (10.0, {}))[-1] == 0.0
    assert stalls((0.0, {"buffer_ms": 60_000}), (10.0, {"starved": True}))[-1] == 0.0
    assert stalls((10.0, {"buffer_ms": 0}), (5.0, {"starved": True}))[-1] == 0.0


def test_stalls_add_up_and_are_the_sessions_own():
    starved = {"buffer_ms": 0, "starved": True}
    assert stalls((0.0, starved), (1.0, starved), (3.0, starved), (4.0, {"buffer_ms": 0}), (9.0, starved)) == [
        0,
        1,
        3,
        3,
        8,
    ]
    follower = CmcdFollower()
    for name in ("a", "b"):
        follower.take(0.0, "c", cmcd(session=name, buffer_ms=0))
    assert follower.take(2.0, "c", cmcd(session="a", starved=True)).values["rebuffer_s"] == 2.0
    assert follower.take(3.0, "c", cmcd(session="b", starved=True)).values["rebuffer_s"] == 3.0


def test_silent_sessions_are_forgotten():
    starved = {"buffer_ms": 0, "starved": True}
    assert stalls((0.0, starved), (5.0, starved), (16.0, starved), forget_s=10.0) == [0.0, 5.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 30)), max_size=60))
def test_no_more_sessions_are_kept_than_allowed(requests):
    follower = CmcdFollower(most_sessions=3, forget_s=20.0)
    now_s = 0.0
    for name, passed_s in requests:
        now_s += passed_s
        row = follower.take(now_s, "c", cmcd(session=str(name), buffer_ms=500, starved=True))
        assert row.values["rebuffer_s"] >= 0.0
        assert len(follower._sessions) <= 3
