"""What sites were asked against what came: rates over a minute, in memory that does not grow."""

import numpy as np
import pytest
from service.conftest import Clock

from twinloop.network import HEADER_BITS, Asked, Plan
from twinloop.network.formats import Rows
from twinloop.network.plans import PlanPart
from twinloop.service.collecting import WINDOW_S, Observance
from twinloop.twins import ATTRIBUTES

USERS = [attribute.name for attribute in ATTRIBUTES["users"]]
ALL = {kind: np.ones(len(ATTRIBUTES[kind]), bool) for kind in ("users", "cells", "servers")}


@pytest.fixture
def clock() -> Clock:
    return Clock(1.7e9)


@pytest.fixture
def observance(clock) -> Observance:
    return Observance(("west", "east"), clock, 1.0)


def plan(users: int = 10, site: str = "west", **attributes: Asked) -> Plan:
    return Plan(7, site, [PlanPart("user", [f"u{n}" for n in range(users)], attributes)])


def everybody(users: int = 10) -> set[str]:
    return {f"u{number}" for number in range(users)}


def rows(users: int = 10, **values: float) -> tuple[Rows, ...]:
    value = np.full((users, len(USERS)), np.nan, np.float32)
    for name, number in values.items():
        value[:, USERS.index(name)] = number
    return (Rows("users", list(everybody(users)), np.full(users, 1.7e9), value, [None] * users, [None] * users),)


def live(observance: Observance, clock: Clock, seconds: int, every: int = 1, **values: float) -> None:
    for second in range(seconds):
        clock.now_s += 1.0
        if second % every == 0:
            observance.heard("west", rows(**values))


def attribute(observance: Observance, name: str) -> dict:
    (found,) = [one for one in observance.attributes("west") if one["attribute"] == name]
    return found


def test_a_site_that_keeps_its_plan_is_at_one(observance, clock):
    observance.planned(plan(buffer_s=Asked(2.0, 8)), ALL, everybody())
    live(observance, clock, 120, every=2, buffer_s=1.0)
    told = observance.told("west")
    assert told["ratio"] == pytest.approx(1.0, abs=0.05)
    assert told["asked_per_s"] == 5.0
    assert told["heard_per_s"] == pytest.approx(5.0, rel=0.05)
    assert told["asked_bps"] == 5.0 * 8 + 5.0 * HEADER_BITS
    assert told["heard_bps"] == pytest.approx(told["asked_bps"], rel=0.05)
    assert (told["plan_revision"], told["last_heard_s"], told["never_heard"]) == (7, clock() - 1.0, [])


def test_what_is_sent_half_as_often_is_at_a_half_and_what_is_silent_at_nothing(observance, clock):
    observance.planned(plan(buffer_s=Asked(1.0, 8), rate_bps=Asked(1.0, 8)), ALL, everybody())
    live(observance, clock, 120, every=2, buffer_s=1.0)
    assert attribute(observance, "buffer_s")["ratio"] == pytest.approx(0.5, abs=0.05)
    assert attribute(observance, "rate_bps")["ratio"] == 0.0
    assert observance.told("west")["ratio"] == pytest.approx(0.25, abs=0.03)


def test_what_may_be_silent_is_held_only_to_its_greatest_age(observance, clock):
    asked = {"buffer_s": Asked(1.0, 8, delta=0.1, max_age_s=32.0), "swipes": Asked(1.0, 8, delta=0.0)}
    observance.planned(plan(**asked), ALL, everybody())
    live(observance, clock, 60)
    found = attribute(observance, "buffer_s")
    assert (found["looks_per_s"], found["asked_per_s"]) == (10.0, 10.0 / 32.0)
    assert found["ratio"] == 0.0
    assert attribute(observance, "swipes")["ratio"] is None
    assert attribute(observance, "swipes")["period_s"] == 1.0


def test_a_plan_that_changes_is_counted_as_long_as_it_stood(observance, clock):
    observance.planned(plan(buffer_s=Asked(1.0, 8)), ALL, everybody())
    live(observance, clock, 30, buffer_s=1.0)
    observance.planned(plan(buffer_s=Asked(10.0, 8)), ALL, everybody())
    live(observance, clock, 30, every=10, buffer_s=1.0)
    assert observance.told("west")["ratio"] == pytest.approx(1.0, abs=0.05)
    assert observance.told("west")["asked_per_s"] == 1.0


def test_only_the_last_minute_counts(observance, clock):
    observance.planned(plan(buffer_s=Asked(1.0, 8)), ALL, everybody())
    live(observance, clock, 200, buffer_s=1.0)
    live(observance, clock, int(WINDOW_S) + 11)
    assert observance.told("west")["heard_per_s"] == 0.0
    clock.now_s += 86_400.0
    told = observance.told("west")
    assert (told["heard_per_s"], told["ratio"]) == (0.0, 0.0)


def test_people_who_left_are_not_waited_for(observance, clock):
    observance.planned(plan(buffer_s=Asked(1.0, 8)), ALL, everybody(4))
    assert observance.told("west")["asked_per_s"] == 4.0


def test_what_no_twin_ever_had_is_named(observance, clock):
    known = {**ALL, "users": np.array([name != "opinion" for name in USERS])}
    observance.planned(plan(buffer_s=Asked(1.0, 8), opinion=Asked(1.0, 8, delta=0.0)), known, everybody())
    assert observance.told("west")["never_heard"] == [{"kind": "user", "attribute": "opinion"}]
    live(observance, clock, 1, opinion=4.0)
    assert observance.told("west")["never_heard"] == []


def test_parts_of_a_site_count_for_it_and_others_elsewhere(observance, clock):
    observance.heard("west:cmcd", rows(2, buffer_s=1.0))
    observance.heard("file:abc", rows(3, buffer_s=1.0))
    observance.heard("nobody", rows(1, buffer_s=1.0))
    clock.now_s += 10.0
    assert observance.told("west")["heard_per_s"] == 0.2
    assert observance.elsewhere()["heard_per_s"] == 0.4
    assert attribute(observance, "buffer_s")["asked_per_s"] == 0.0
    assert observance.told("east")["last_heard_s"] is None


@pytest.mark.parametrize("site", ["north", ""])
def test_an_unknown_site_is_none(observance, site):
    with pytest.raises(KeyError):
        observance.told(site)


def test_names_that_nobody_knows_are_left_out(observance):
    observance.planned(plan(shoe_size=Asked(1.0, 8)), ALL, everybody())
    assert observance.attributes("west") == []
