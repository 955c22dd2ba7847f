"""Streams of changes: byte by byte the same for a tenant, whatever happens to everybody else meanwhile."""

import asyncio
import json
from contextlib import nullcontext

import pytest
from service.api.change_lines import Line, Socket
from tenant_worlds import GRANTED, LAST, SLICE, TENANT, World, free

from twinloop.service.api.twins import changes as sending

NEXT = LAST + 1
AWAY = (("sam-zv", 0), ("tim-zv", 1))
"""Who is there of others, in every world, once all those from before are gone."""


@pytest.fixture(autouse=True)
def beating(monkeypatch):
    """Silence is told at once, so that it can be waited for."""
    monkeypatch.setattr(sending, "HEARTBEAT_S", 0.0)


async def until(listener: Line, slot: int, told: list[str]) -> None:
    """Hears what comes until the listener stands after a slot."""
    while True:
        raw = await listener.raw()
        text = free(raw["body"].decode() if raw["type"] == "http.response.body" else raw.get("text", str(raw)))
        if text not in told:
            told.append(text)
        if f"id: {slot}\n" in text or f'"id":{slot},' in text:
            return


def heard(world: World, line: type[Line], first: int, **query) -> tuple[list[str], int]:
    """What acme hears of a few slots from `first` on; and how many events there were for who sees all."""
    told: list[str] = []
    all_told: list[str] = []

    async def slot(number: int, listeners, **changes) -> None:
        await asyncio.to_thread(world.show_slot, number, **changes)
        for listener, into in listeners:
            await until(listener, number, into)

    world.platform.grants.allow(SLICE, attributes=GRANTED)

    async def story() -> None:
        async with line(world, TENANT, **query) as listener, line(world, "admin") as everybody:
            listeners = [(listener, told), (everybody, all_told)]
            for one, into in listeners:
                await until(one, first - 1, into)
            await slot(first, listeners)
            await slot(first + 1, listeners, others_users=world.others.users[:1])
            world.platform.grants.allow(world.others.slices[0][0], attributes=["buffer_s"])
            await slot(first + 2, listeners, others_users=AWAY[: 1 + world.others.deeds % 2])
            world.own.pop()
            await slot(first + 3, listeners)
            world.own.append(("cy", world.row(SLICE)))
            await slot(first + 4, listeners)
            world.platform.grants.allow(SLICE, attributes=["buffer_s", "rate_bps"])
            await slot(first + 5, listeners)

    asyncio.run(asyncio.wait_for(story(), 60.0))
    return told, len(all_told)


@pytest.mark.parametrize("line", [Line, Socket])
@pytest.mark.parametrize(
    "query", [{}, {"kind": ["user", "slice"], "slice": SLICE}, {"id": ["ann", "bob-qx", "hal-jw", SLICE]}]
)
def test_a_tenant_hears_the_same_in_both_worlds(worlds, line, query):
    first = max(world.platform.picture.slot for world in worlds) + 1
    here, there = (heard(world, line, first, **query) for world in worlds)
    assert here[0] == there[0]
    text = "".join(here[0])
    assert not [canary for world in worlds for canary in (*world.others.canaries, "sam-zv") if canary in text]
    assert "what you may see has changed" in text, "acme's own grant did change"
    assert text.count("what you may see has changed") == 1
    assert min(here[1], there[1]) >= 6


@pytest.mark.parametrize("line", [Line, Socket])
@pytest.mark.parametrize("after", [0, LAST - 1, 10**6])
def test_who_comes_back_learns_nothing_of_others(worlds, line, after):
    told = []
    for world in worlds:
        into: list[str] = []

        async def back(world: World = world, into: list[str] = into) -> None:
            async with line(world, TENANT, after=after) as listener:
                await until(listener, world.platform.picture.slot, into)

        with nullcontext() if world.platform.picture.slot >= LAST else pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(back(), 30.0))
        told.append(into)
    assert told[0] == told[1] and "reset" in told[0][-1]


def test_what_may_not_be_followed_is_refused_alike(worlds):
    for query in ({"slice": "blue-qx"}, {"slice": "nobody"}, {"kind": "phone"}, {"attributes": "colour"}):
        answers = [world.get("/twins/changes", TENANT, **query) for world in worlds]
        assert free(answers[0].text) == free(answers[1].text) and answers[0].status_code in (404, 422)
        assert json.loads(answers[0].text)["hint"]
