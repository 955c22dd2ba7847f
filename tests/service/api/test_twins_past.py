"""Twins as they were and as they are expected to be, over HTTP."""

import csv
import io

import pytest

from twinloop.service.keeping import Tier

FIRST = 100


@pytest.fixture(scope="module")
def lived(new_stage):
    """Thirty slots in which ann's buffer is the number of the slot; bob leaves after twenty of them."""
    stage = new_stage()
    for slot in range(FIRST, FIRST + 30):
        if slot == FIRST + 20:
            stage.users = [("ann", 0), ("eve", 1), ("cy", 0)]
        stage.live(slot, buffer_s=[float(slot)])
    return stage


def test_history_is_means_over_steps(lived):
    begin = lived.epoch_s + FIRST
    told = lived.known("/twins/user/ann/history", attribute="buffer_s", **{"from": begin, "to": begin + 30}, step=10)
    assert told["time_s"] == [begin, begin + 10, begin + 20]
    assert told["value"] == [104.5, 114.5, 124.5]
    assert told["unit"] == "s"
    gone = lived.known("/twins/user/bob/history", attribute="buffer_s", **{"from": begin, "to": begin + 30}, step=10)
    assert gone["value"] == [1.1, 1.1, None]


@pytest.mark.parametrize(
    "begin", ["-30s", "-0.5min", "2023-11-14T22:15:00Z", "2023-11-14T23:15:00+01:00", "1700000100"]
)
def test_times_are_written_in_many_ways(lived, begin):
    told = lived.known("/twins/user/ann/history", attribute="buffer_s", **{"from": begin}, step=30)
    assert told["from_s"] == lived.epoch_s + FIRST and told["to_s"] == lived.clock()
    assert told["value"] == [114.5]


def test_history_as_a_table(lived):
    answer = lived.get("/twins/user/ann/history", accept="text/csv", attribute="buffer_s", **{"from": "-2s"}, step=1)
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["buffer_s"] for row in rows] == ["128.0", "129.0"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ({"attribute": "buffer_s", "from": "-240h", "step": 1}, 422, "give a step of at least 173 s"),
        ({"attribute": "buffer_s", "from": "yesterday"}, 422, "-15min"),
        ({"attribute": "buffer_s", "from": "now", "to": "-1s"}, 422, "earlier"),
        ({"attribute": "colour"}, 404, "buffer_s"),
    ],
)
def test_history_that_cannot_be_given(lived, query, status, words):
    problem = lived.refused("/twins/user/ann/history", status, **query)
    assert words in problem["detail"] + problem.get("hint", "")


@pytest.fixture(scope="module")
def long_lived(new_stage):
    """Two hundred slots; frames of every second are kept for one minute, of every tenth for ten."""
    stage = new_stage(tiers=(Tier(step_s=1, keep_s=60), Tier(step_s=10, keep_s=600)))
    for slot in range(200):
        stage.live(slot, buffer_s=[float(slot)])
    stage.platform.keeper._sweep(stage.clock())
    stage.clock.now_s += 0.7
    return stage


@pytest.mark.parametrize(
    ("query", "step_s"),
    [
        ({"from": "-60s"}, 1.0),
        ({"from": "-60s", "step": 2}, 2.0),
        ({"from": "-150s"}, 10.0),
        ({"from": "-150s", "step": 1}, 10.0),
        ({"from": "-150s", "step": 30}, 30.0),
    ],
)
def test_no_step_of_history_is_finer_than_the_frames_where_it_begins(long_lived, query, step_s):
    told = long_lived.known("/twins/user/ann/history", attribute="buffer_s", to="-1s", **query)
    assert told["step_s"] == step_s and None not in told["value"]
    assert told["value"] == sorted(told["value"])


def test_the_recent_part_of_a_long_history_is_of_the_finest_frames(long_lived):
    begin = long_lived.epoch_s + 40
    told = long_lived.known("/twins/user/ann/history", attribute="buffer_s", **{"from": begin, "to": begin + 160})
    assert told["value"][:9] == [40, 50, 60, 70, 80, 90, 100, 110, 120], "one frame each"
    assert told["value"][-5:] == [154.5, 164.5, 174.5, 184.5, 194.5], "ten frames each"


def test_a_twin_as_it_was_at_a_time(lived):
    begin = lived.epoch_s + FIRST
    twin = lived.known("/twins/user/ann", at=begin + 5.7, fields="reported")
    assert (twin["slot"], twin["time_s"], twin["reported"]["buffer_s"]["value"]) == (FIRST + 5, begin + 5, 105.0)
    assert lived.known("/twins/user/bob", at=begin + 5)["reported"]["buffer_s"]["value"] == 1.1
    assert "bob" in lived.refused("/twins/user/bob", 404)["detail"]
    early = lived.refused("/twins/user/ann", 404, at=begin - 5)
    assert f"history reaches back to {lived.epoch_s:.0f}" in early["hint"]
    lived.refused("/twins/user/eve", 404, at=begin + 5)
    lived.refused("/twins/user/ann", 422, at="now", revision=3)


def test_a_twin_as_it_was_under_a_revision(lived):
    found = lived.known("/twins/user/ann", revision=FIRST + 7)
    assert found["revision"] == FIRST + 7 and found["reported"]["buffer_s"]["value"] == FIRST + 7
    assert f"{FIRST + 29} (at" in lived.refused("/twins/user/ann", 404, revision=FIRST + 40)["hint"]
    assert f"{FIRST} (at" in lived.refused("/twins/user/ann", 404, revision=FIRST - 40)["hint"]


def test_a_forecast_has_an_interval_that_grows(lived):
    told = lived.known("/twins/user/cy/forecast", attribute="buffer_s", horizon_s=3)
    assert told["time_s"] == [lived.epoch_s + FIRST + 29 + step for step in (1, 2, 3)]
    assert told["mean"] == [2.0, 2.0, 2.0] and told["std"] == [1.0, 2.0, 3.0]
    assert told["low90"][0] == pytest.approx(2 - 1.6449) and told["high90"][2] == pytest.approx(2 + 3 * 1.6449)
    assert told["low90"][2] == 0.0
    label = lived.known("/twins/user/cy/forecast", attribute="serving_cell", horizon_s=2)
    assert label["mean"] == [2.0, 2.0] and label["low90"] == [None, None]
    table = lived.get("/twins/cell/south/forecast", accept="text/csv", attribute="load", horizon_s=1).text
    assert table.splitlines()[0] == "time_s,mean,std,low90,high90"
    lived.refused("/twins/user/bob/forecast", 404, attribute="buffer_s")
    lived.refused("/twins/user/cy/forecast", 422, attribute="buffer_s", horizon_s=1e4)


def test_history_ends_now_however_far_is_asked(stage):
    stage.live(10)
    span = {"from": stage.epoch_s, "to": stage.epoch_s + 1e10, "step": 5e8}
    told = stage.known("/twins/user/ann/history", attribute="buffer_s", **span)
    assert told["value"][0] is not None and set(told["value"][1:]) == {None}


def test_a_tenant_has_no_past_before_its_own(stage):
    stage.live(10, buffer_s=[10.0])
    stage.clock.now_s = stage.epoch_s + 11.5
    acme = stage.tenant("acme", "premium")
    for slot in (12, 13):
        stage.live(slot, buffer_s=[float(slot)])
    first = next(
        twin["id"] for twin in stage.known("/twins/user", acme)["twins"] if twin["reported"]["buffer_s"]["value"] == 13
    )
    told = stage.known(f"/twins/user/{first}/history", acme, attribute="buffer_s", **{"from": "-5s"}, step=1)
    assert [value for value in told["value"] if value is not None] == [12.0, 13.0]
    past = stage.known(f"/twins/user/{first}", acme, at=stage.epoch_s + 12)
    assert set(past["reported"]) == {"rate_bps", "delay_s", "buffer_s", "quality", "rebuffer_s"}
    assert past["id"] == first
    stage.refused(f"/twins/user/{first}", 404, acme, at=stage.epoch_s + 10)
    stage.refused("/twins/user/ann", 404, acme, at=stage.epoch_s + 12)
    stage.refused(f"/twins/user/{first}/history", 403, acme, attribute="position_x_m")
    stage.refused(f"/twins/user/{first}/forecast", 403, acme, attribute="position_x_m")
    assert stage.known(f"/twins/user/{first}/forecast", acme, attribute="buffer_s", horizon_s=1)["mean"] == [0.0]
