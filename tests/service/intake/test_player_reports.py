"""What players say becomes durable rows under numbers that are never given twice, and pages may send it."""

import asyncio

import pytest
from twin_stage import Stage

from twinloop.errors import FormatError
from twinloop.network.formats import unpack
from twinloop.service.intake import MOST_BYTES, BusyError, Players, reports_of

SAID = "CMCD=bl%3D21300%2Cbr%3D3000%2Cmtp%3D25400%2Cot%3Dv%2Csid%3D%22tab-7%22"
JSON = "application/json"


@pytest.fixture(scope="module")
def server(new_stage) -> Stage:
    made = new_stage()
    made.secret = made.token("reporter", sources=("cmcd",))
    return made


@pytest.fixture
def stage(server) -> Stage:
    """One server for all; what earlier tests sent is not looked at."""
    storage = server.platform.storage
    storage.check().result()
    server.events_before = storage.events.last_id()
    server.refusals_before = max((one.id for one in storage.refusals.newest()), default=0)
    return server


def player(stage: Stage, method: str = "GET", query: str = SAID, secret: str = "", **parts):
    secret = secret or stage.secret
    query += "" if "slice=" in query else "&slice=premium"
    return stage.call(method, f"/cmcd?access_token={secret}&{query}", None, **parts)


def rows(stage: Stage):
    """Ids, buffers and slices of what became durable, by batch."""
    told = [(event.sequence, unpack(event.payload)) for event in events(stage)]
    return [(number, part.ids, part.value[:, 10].tolist(), part.slices) for number, (part,) in told]


def events(stage: Stage):
    return stage.platform.storage.events.after(stage.events_before, 100)


def refusals(stage: Stage):
    return [one for one in stage.platform.storage.refusals.newest() if one.id > stage.refusals_before]


def test_a_beacon_is_answered_once_it_is_durable(stage):
    answer = player(stage)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    ((_, ids, buffer_s, slices),) = rows(stage)
    assert (ids, slices) == (["tab-7"], ["premium"])
    assert buffer_s == pytest.approx([21.3])
    (event,) = events(stage)
    assert event.source == stage.platform.players.source == f"cmcd:{stage.platform.server}"


def test_versions_are_steps_of_the_ladder_that_twins_know(stage):
    player(stage)
    (event,) = events(stage)
    (part,) = unpack(event.payload)
    assert part.value[0, 11] == 3.0


@pytest.mark.parametrize(
    ("parts", "buffers"),
    [
        ({"query": "", "headers": {"CMCD-Request": "bl=1000", "CMCD-Session": 'sid="a"'}}, [1.0]),
        ({"query": "", "method": "POST", "content": b'bl=1000,sid="a"\nbl=2000,sid="b"\n'}, [1.0, 2.0]),
        ({"query": "", "method": "POST", "json": {"bl": 1000, "sid": "a"}}, [1.0]),
        ({"query": "", "method": "POST", "json": [{"bl": 1000, "sid": "a"}, {"bl": 3000, "sid": "b"}]}, [1.0, 3.0]),
        ({"query": "", "method": "POST", "content": b'e=ps,bl=(900;a 4000;v),sid="a",v=2'}, [4.0]),
        ({"query": "CMCD=bl%3D%285000%3Bv%29%2Csid%3D%22a%22"}, [5.0]),
    ],
)
def test_players_say_it_in_many_ways(parts, buffers, stage):
    assert player(stage, **parts).status_code == 204
    ((_, _, buffer_s, _),) = rows(stage)
    assert buffer_s == pytest.approx(buffers)


def test_what_tells_nothing_of_a_user_is_no_row(stage):
    assert player(stage, query="CMCD=bl%3D1000%2Cot%3Da%2Csid%3D%22a%22").status_code == 204
    assert rows(stage) == []


def test_a_page_says_which_slice_its_viewers_are_in(stage):
    slices = [entry.name for entry in stage.platform.scenario.slices]
    assert player(stage, query=f"{SAID}&slice={slices[1]}").status_code == 204
    assert rows(stage)[0][3] == [slices[1]]
    refused = player(stage, query=SAID.replace("tab-7", "tab-8") + "&slice=gold")
    assert refused.status_code == 422
    assert "slice 'gold' is not in the scenario" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"query": ""}, "there is no CMCD"),
        ({"query": "CMCD=bl%3Dmuch"}, "CMCD: "),
        ({"query": "CMCD=%FF"}, "not UTF-8"),
        ({"query": "", "method": "POST", "content": b"\xff"}, "not UTF-8"),
        ({"query": "", "method": "POST", "content": b"[1"}, "CMCD as JSON"),
        ({"query": "", "method": "POST", "content": b'["x"]'}, "CMCD as JSON"),
        ({"query": "", "method": "POST", "content": b"bl=1\n" * 101}, "more than 100 reports"),
    ],
)
def test_what_cannot_be_read_is_said_and_kept_without_the_token(parts, said, stage):
    answer = player(stage, **parts)
    assert answer.status_code == 400
    assert said in answer.json()["detail"]
    assert answer.headers["access-control-allow-origin"] == "*"
    (refused,) = refusals(stage)
    assert said in refused.reason
    assert refused.source == stage.platform.players.source
    assert "tl_" not in refused.row


def test_a_body_that_is_too_large_is_not_read(stage):
    assert player(stage, "POST", "", content=b"x" * (MOST_BYTES + 1)).status_code == 413
    with pytest.raises(FormatError, match="at most 65,536 are read"):
        reports_of("", [], "", b"x" * (MOST_BYTES + 1))


def test_only_reporters_of_that_source_report(stage):
    assert stage.call("GET", f"/cmcd?{SAID}", None).status_code == 401
    assert player(stage, secret=stage.token("reporter", sources=("west",))).status_code == 403
    assert stage.call("GET", f"/cmcd?{SAID}", "viewer").status_code == 403
    assert stage.call("GET", f"/cmcd?access_token={stage.secrets['admin']}&{SAID}", None).status_code == 401


def test_browsers_may_ask_before_they_send(stage):
    answer = stage.call("OPTIONS", "/cmcd", None)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert "CMCD-Session" in answer.headers["access-control-allow-headers"]


def test_numbers_go_on_where_the_last_start_ended(stage):
    for _ in range(2):
        player(stage)
    last = max(one.highest_sequence for one in stage.platform.storage.events.sources())
    platform = stage.platform
    again = Players(platform.intake, platform.storage, stage.clock, platform.players.source, last + 1, ())
    asyncio.run(again.take("10.0.0.1", reports_of(SAID, [], "", b""), "premium", None))
    platform.players._sequence = again._sequence
    first = rows(stage)[0][0]
    assert [number for number, *_ in rows(stage)] == [first, first + 1, first + 2]


def test_players_that_report_at_once_share_a_batch(stage):
    said = [reports_of("", [], JSON, b'{"bl": 1000, "sid": "user-%d"}' % number) for number in range(4)]
    players = stage.platform.players

    async def all_at_once() -> None:
        await asyncio.gather(*(players.take("", one, "premium", None) for one in said))

    asyncio.run(all_at_once())
    told = rows(stage)
    assert [ids for _, ids, *_ in told] == [[f"user-{number}" for number in range(4)]]


def test_a_server_that_is_busy_says_so_and_a_failed_batch_leaves_its_number(stage, monkeypatch):
    def full(_: int) -> None:
        raise BusyError("reports come faster than they can be kept", 1.0)

    monkeypatch.setattr(stage.platform.intake, "admit", full)
    before = stage.platform.players._sequence
    answer = player(stage)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    monkeypatch.undo()

    async def failing(*_: object) -> None:
        raise BusyError("now it fails", 1.0)

    monkeypatch.setattr(stage.platform.intake, "submit", failing)
    assert player(stage).status_code == 503
    monkeypatch.undo()
    player(stage)
    assert [number for number, *_ in rows(stage)] == [before + 1]
