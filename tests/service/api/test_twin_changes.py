"""Changes as they happen: what listeners are told, in order, again after an absence, and never what is not theirs."""

import asyncio
from dataclasses import replace

import pytest
from change_lines import Line, Socket

from twinloop.service import changes as publishing
from twinloop.service.api.twins import changes as sending


def values(told) -> dict:
    return {twin["id"]: {name: one["value"] for name, one in twin["reported"].items()} for twin in told.data["twins"]}


def listening(story):
    """Runs a story of listeners in a loop of its own."""
    asyncio.run(asyncio.wait_for(story(), 60.0))


async def later(stage, *pictures) -> None:
    for picture in pictures:
        await asyncio.to_thread(stage.show, picture)


@pytest.mark.parametrize("line", [Line, Socket])
def test_listeners_are_told_what_changed_and_nothing_else(stage, line):
    first = stage.live(10)
    second = stage.changed(first, "user", 1, buffer_s=3.0)

    async def story():
        async with line(stage) as listener:
            began = await listener.next()
            assert (began.event, began.number) == ("begin", 10)
            await later(stage, second)
            told = await listener.next()
            assert (told.event, told.number, told.data["after"]) == ("change", 11, 10)
            assert values(told) == {"bob": {"buffer_s": 3.0}}
            assert told.data["twins"][0]["reported"]["buffer_s"]["measured_s"] == stage.epoch_s + 11
            assert stage.platform.changes.listening == 1
        assert stage.platform.changes.listening == 0

    listening(story)


def test_who_was_away_is_told_what_is_newest_by_now(stage):
    first = stage.live(10)
    second = stage.changed(first, "user", 1, buffer_s=3.0)
    third = stage.changed(second, "user", 1, buffer_s=4.0)
    fourth = stage.changed(third, "cell", 0, load=0.75)
    for picture in (second, third, fourth):
        stage.show(picture)

    async def story():
        async with Line(stage, **{"last-event-id": 11}) as listener:
            told = await listener.next()
            assert (told.number, told.data["after"]) == (13, 11)
            assert values(told) == {"bob": {"buffer_s": 4.0}, "north": {"load": 0.75}}
        async with Line(stage, after=10, kind="user") as listener:
            assert values(await listener.next()) == {"bob": {"buffer_s": 4.0}}

    listening(story)


@pytest.mark.parametrize("after", [5, 99])
def test_who_cannot_be_told_everything_begins_anew(stage, after):
    stage.live(10)

    async def story():
        async with Line(stage, after=after) as listener:
            told = await listener.next()
            assert (told.event, told.number) == ("reset", 10) and told.data["reason"]

    listening(story)


def test_twins_come_and_go(stage):
    first = stage.live(10)
    stage.users = [("ann", 0), ("bob", 1), ("cy", 0), ("eve", 2)]
    second = replace(first, slot=11, users=replace(first.users, ids=stage.picture(11).users.ids))

    async def story():
        async with Line(stage, kind="user", attributes="buffer_s") as listener:
            await listener.next()
            await later(stage, second)
            told = await listener.next()
            assert values(told) == {"eve": {"buffer_s": 3.1}} and told.data["gone"] == {"user": ["dee"]}
        async with Line(stage, after=10, kind="user") as listener:
            assert (await listener.next()).data["gone"] == {"user": ["dee"]}

    listening(story)


@pytest.mark.parametrize(
    ("wanted", "told_of"),
    [
        ({"id": "bob"}, {"bob"}),
        ({"slice": "premium", "kind": ["user", "slice"]}, {"ann", "premium"}),
        ({"kind": "slice"}, {"premium"}),
        ({"kind": ["user", "cell"], "attributes": "load"}, {"north"}),
    ],
)
def test_listeners_say_what_they_want_to_hear(stage, wanted, told_of):
    picture = stage.live(10)
    for kind, row, name in (
        ("user", 0, "buffer_s"),
        ("user", 1, "rate_bps"),
        ("slice", 0, "users"),
        ("cell", 0, "load"),
    ):
        picture = replace(stage.changed(picture, kind, row, **{name: 0.5}), slot=10)
    after = replace(picture, slot=11)

    async def story():
        async with Line(stage, **wanted) as listener:
            await listener.next()
            await later(stage, after)
            told = values(await listener.next())
            assert set(told) == told_of

    listening(story)


@pytest.mark.parametrize("line", [Line, Socket])
def test_a_stream_ends_with_its_token(stage, line):
    first = stage.live(10)
    token, stage.secrets["guest"] = stage.tokens.create("viewer", "a guest")

    async def story():
        async with line(stage, "guest") as listener:
            await listener.next()
            stage.tokens.revoke(token.id)
            await later(stage, stage.changed(first, "user", 1, buffer_s=3.0))
            assert "token ended" in (told := await listener.next()).data["reason"] and told.event == "end"
            if line is Socket:
                assert (await listener.next()).number == sending.POLICY

    listening(story)


@pytest.mark.parametrize("line", [Line, Socket])
def test_a_stream_ends_with_the_server(new_stage, line):
    stage = new_stage()
    stage.live(10)

    async def story():
        async with line(stage, "viewer") as listener:
            await listener.next()
            stage.platform.changes.close()
            assert (told := await listener.next()).event == "end" and "the server ends" in told.data["reason"]

    listening(story)


def test_a_tenant_hears_of_its_own_and_of_nobody_else(stage):
    acme = stage.tenant("acme", "premium")
    first = stage.live(10)
    stage.users = [("ann", 0), ("bob", 0), ("cy", 1), ("dee", 2)]
    elsewhere = stage.picture(11).user_slice

    names = {twin["id"] for twin in stage.known("/twins/user", acme)["twins"]}

    async def story():
        async with Line(stage, acme) as listener:
            await listener.next()
            other = stage.changed(first, "user", 1, buffer_s=3.0)
            hidden = stage.changed(other, "user", 0, position_x_m=3.0)
            own = stage.changed(hidden, "user", 0, buffer_s=4.0)
            await later(stage, other, hidden, own)
            told = await listener.next()
            assert list(values(told).values()) == [{"buffer_s": 4.0}] and set(values(told)) <= names
            assert "held" not in told.data and told.data["gone"] == {}
            await later(stage, replace(own, slot=14, user_slice=elsewhere))
            told = await listener.next()
            (new,) = values(told)
            assert new not in names and set(told.data["gone"]["user"]) < names
            stage.platform.grants.allow("premium", attributes=["rate_bps"])
            await later(stage, replace(own, slot=15, user_slice=elsewhere))
            assert (await listener.next()).event == "reset"
        async with Line(stage, acme, after=12) as listener:
            assert (await listener.next()).event == "reset"

    listening(story)


def test_who_takes_nothing_is_dropped(stage, monkeypatch):
    first = stage.live(10)
    monkeypatch.setattr(sending, "PATIENCE_S", 0.0)

    async def story():
        listener = Line(stage)
        async with listener:
            listener.takes.clear()
            await later(stage, stage.changed(first, "user", 1, buffer_s=3.0))
            await asyncio.wait_for(listener.task, 30.0)
        assert stage.platform.changes.dropped == 1 and stage.platform.changes.listening == 0

    listening(story)


def test_silence_is_kept_alive_and_moves_on(stage, monkeypatch):
    first = stage.live(10)
    monkeypatch.setattr(sending, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(sending, "CONFIRM_S", 0.01)

    async def story():
        async with Line(stage, id="nobody") as listener:
            await listener.next()
            assert (await listener.raw())["body"] == b": alive\nid: 10\n\n"
            await later(stage, replace(first, slot=11))
            while (await listener.raw())["body"] != b": alive\nid: 11\n\n":
                pass

    listening(story)


def test_there_is_room_for_so_many(stage, monkeypatch):
    stage.live(10)
    monkeypatch.setattr(publishing, "MOST_LISTENERS", 1)

    async def story():
        async with Line(stage), Line(stage) as other:
            assert other.began["status"] == 503
            assert b"1 clients listen already" in (await other.raw())["body"]

    listening(story)


def test_nobody_takes_the_room_of_all(stage, monkeypatch):
    stage.live(10)
    monkeypatch.setattr(publishing, "MOST_OF_ONE", 1)

    async def story():
        async with Line(stage), Line(stage) as mine, Line(stage, "viewer") as other:
            assert (mine.began["status"], other.began["status"]) == (503, 200)
            assert b"1 of your clients listen already" in (await mine.raw())["body"]

    listening(story)


def test_what_cannot_be_followed_is_refused(stage):
    stage.live(10)
    stage.refused("/twins/changes", 404, kind="phone")
    stage.refused("/twins/changes", 404, slice="gold")
    assert "buffer_s" in stage.refused("/twins/changes", 422, attributes="colour")["hint"]
    stage.refused("/twins/changes", 401, who=None)

    async def story():
        socket = Socket(stage)
        socket.scope["headers"] = []
        async with socket:
            assert socket.began == {"type": "websocket.http.response.start", "status": 401} | {
                "headers": socket.began["headers"]
            }

    listening(story)


def test_much_is_told_in_parts_of_which_the_last_is_numbered(stage, monkeypatch):
    first = stage.live(10)
    monkeypatch.setattr("twinloop.service.api.twins.following.AT_ONCE", 2)
    value = first.users.value + 1

    async def story():
        async with Line(stage, kind="user", attributes="buffer_s") as listener:
            await listener.next()
            await later(stage, replace(first, slot=11, users=replace(first.users, value=value)))
            parts = [await listener.next(), await listener.next()]
            assert [part.number for part in parts] == [None, 11]
            assert [list(values(part)) for part in parts] == [["ann", "bob"], ["cy", "dee"]]

    listening(story)
