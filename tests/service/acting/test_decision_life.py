"""Decisions from verdict to what became of them; several people at once, the kill switch in between, and a restart."""

import json
import threading

import numpy as np
import pytest
from service.acting.conftest import CELL_HZ, Loop, Sleepers, even, make_picture, make_verdict, moved

from twinloop.service.acting import Authority, Decisions, Fate, Limits
from twinloop.service.acting.effect import Aftermath
from twinloop.service.acting.record import Decision, DecisionError, decision_of

CONFIRMED, WAITING = Fate("confirmed"), Fate("waiting")


class NoSwitch:
    """A switch with nothing behind it."""

    def halt(self) -> None:
        pass

    def release(self) -> None:
        pass


class Desk:
    """Decisions over real records and a loop that is only asked."""

    def __init__(self, records, clock, mode="advise", limits=None) -> None:
        self.records, self.clock = records, clock
        self.ground, self.effects = Loop(), Sleepers()
        self.authority = Authority(records, clock, (mode, limits or Limits()), NoSwitch())
        self.decisions = Decisions(records, clock, self.ground, self.authority, self.effects)
        self.slot = 100

    def decide(self, **changes) -> Decision:
        """A window's verdict, a minute after the last one."""
        self.clock.now_s += 60.0
        self.slot += 60
        return self.decisions.decided(make_picture(self.slot), make_verdict(**changes))


@pytest.fixture
def desk(records, clock) -> Desk:
    return Desk(records, clock)


def states(decision) -> list[tuple[str, str]]:
    return [(step["state"], step["by"]) for step in decision.history]


def test_a_proposal_waits_and_what_is_better_left_is_kept(desk):
    waits = desk.decide()
    assert (waits.state, waits.why) == ("waiting", "mode advise: a person decides")
    assert waits.largest_change == pytest.approx(0.1)
    assert waits.proposal["west-macro"]["standard"] == pytest.approx(1 / 3 + 0.1, abs=1e-3)
    assert waits.standing["west-macro"]["standard"] == pytest.approx(1 / 3, abs=1e-3)
    assert [one["candidate"] for one in waits.proposals] == ["standing", "proposal 1"]
    assert waits.proposals[1] | {"score": 0.0} == {
        "candidate": "proposal 1",
        "score": 0.0,
        "safety": "safe",
        "best": True,
    }
    better_left = desk.decide(code=1)
    assert (better_left.state, waits.state) == ("kept", "superseded"), "the newest judgement counts"
    same = desk.decide(bandwidth_hz=even())
    assert (same.state, same.why) == ("kept", "the proposal is what stands already")
    assert desk.ground.adopted == []


def test_consent_is_asked_of_the_network_and_confirmed_by_it(desk):
    decision = desk.decide()
    done = desk.decisions.approve(decision.id, "ann", " looks\tgood ")
    assert (done.state, done.by, done.comment, done.revision) == ("adopted", "ann", "looks good", 101)
    assert not desk.decisions.follow(lambda revision: WAITING)
    assert not desk.decisions.follow(lambda revision: CONFIRMED)
    assert (done.state, done.by, done.confirmed_s) == ("confirmed", "ann", desk.clock.now_s)
    assert states(done) == [("adopted", "ann"), ("confirmed", "network")]
    assert desk.effects.told == [("asked", decision.id), ("confirmed", decision.id)]


def test_what_is_no_longer_safe_is_refused(desk):
    desk.ground.code = 2
    done = desk.decisions.approve(desk.decide().id, "ann")
    assert (done.state, done.by) == ("refused", "ann") and "more than a cell or server has" in done.why
    with pytest.raises(DecisionError, match="it is refused"):
        desk.decisions.approve(done.id, "bob")


def test_two_people_who_approve_at_once_approve_once(desk):
    decision, said = desk.decide(), []

    def second() -> None:
        with pytest.raises(DecisionError) as refused:
            desk.decisions.approve(decision.id, "bob")
        said.append(str(refused.value))
        with pytest.raises(DecisionError, match="ann is approving it"):
            desk.decisions.reject(decision.id, "bob")

    desk.ground.between = second
    assert desk.decisions.approve(decision.id, "ann").by == "ann"
    assert said == [f"decision {decision.id} does not wait any more: ann is approving it"]
    assert len(desk.ground.adopted) == 1


def test_many_people_who_approve_and_reject_at_once_decide_once(desk):
    decision, outcomes = desk.decide(), []
    start = threading.Barrier(8)

    def person(number: int) -> None:
        start.wait()
        choose = desk.decisions.approve if number % 2 else desk.decisions.reject
        try:
            outcomes.append(choose(decision.id, f"p{number}").state)
        except DecisionError:
            outcomes.append("too late")

    people = [threading.Thread(target=person, args=(number,)) for number in range(8)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    assert outcomes.count("too late") == 7
    assert len([step for step in decision.history if step["state"] in ("adopted", "rejected")]) == 1


def test_what_is_superseded_cannot_be_approved_not_even_by_who_was_about_to(desk):
    old = desk.decide()
    newer: list[Decision] = []
    desk.ground.between = lambda: newer.append(desk.decide(bandwidth_hz=moved(0.2)))
    with pytest.raises(DecisionError, match=r"is superseded by now: decision .* is newer"):
        desk.decisions.approve(old.id, "ann")
    assert (old.state, newer[0].state) == ("superseded", "waiting")
    assert desk.ground.adopted == []
    with pytest.raises(DecisionError, match="it is superseded"):
        desk.decisions.approve(old.id, "ann")


def test_the_kill_switch_while_adopting_sends_nothing_and_the_decision_waits_again(desk):
    decision = desk.decide()
    desk.ground.between = desk.authority.halt
    with pytest.raises(DecisionError, match="kill switch"):
        desk.decisions.approve(decision.id, "ann")
    assert desk.ground.adopted == [] and decision.state == "waiting"
    with pytest.raises(DecisionError, match="kill switch"):
        desk.decisions.approve(decision.id, "ann")
    desk.authority.release()
    assert desk.decisions.approve(decision.id, "ann").state == "adopted"


def test_the_kill_switch_takes_back_what_is_not_confirmed(desk):
    first = desk.ground.stands
    decision = desk.decisions.approve(desk.decide().id, "ann")
    desk.authority.halt()
    assert desk.decisions.follow(lambda revision: WAITING)
    assert (decision.state, desk.ground.stands) == ("rolled_back", first)
    assert decision.why == "the kill switch was pressed before every site had confirmed it"


def test_a_loop_that_does_not_come_to_it_leaves_the_decision_waiting(desk):
    decision = desk.decide()

    def busy() -> None:
        raise DecisionError("the loop is busy and did not come to it; try again")

    desk.ground.between = busy
    with pytest.raises(DecisionError, match="busy"):
        desk.decisions.approve(decision.id, "ann")
    assert desk.decisions.approve(decision.id, "ann").state == "adopted"


def test_a_comment_is_one_line_and_not_a_novel(desk):
    decision = desk.decide()
    with pytest.raises(DecisionError, match="at most 2000 characters, not 2001"):
        desk.decisions.reject(decision.id, "ann", "x" * 2001)
    assert desk.decisions.reject(decision.id, "ann", "no\n\x1b[31mred\x00").comment == "no [31mred"
    assert decision.state == "rejected"
    with pytest.raises(DecisionError, match="there is no decision 'nothing'"):
        desk.decisions.reject("nothing", "ann")


def test_a_failure_rolls_back_to_what_was_last_confirmed(desk):
    first = desk.decisions.approve(desk.decide().id, "ann")
    desk.decisions.follow(lambda revision: CONFIRMED)
    stood = desk.ground.stands
    second = desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.2)).id, "ann")
    third = desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.05)).id, "ann")
    assert second.state == "superseded", "it was overtaken before it was confirmed"
    assert desk.decisions.follow(lambda revision: Fate("failed", "west: refused: no licence"))
    assert third.state == "rolled_back" and desk.ground.stands is stood
    assert third.why == "the last confirmed decision is asked for again; west: refused: no licence"
    assert first.state == "confirmed"
    assert not desk.decisions.follow(lambda revision: Fate("failed", "west: still")), "nothing is left to take back"


def test_what_cannot_be_rolled_back_fails_and_the_next_failure_still_goes_back_to_what_was_confirmed(desk):
    desk.decisions.approve(desk.decide().id, "ann")
    desk.decisions.follow(lambda revision: CONFIRMED)
    stood = desk.ground.stands
    second = desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.2)).id, "ann")
    desk.ground.code = 3
    desk.decisions.follow(lambda revision: Fate("failed", "west: refused"))
    assert second.state == "failed" and desk.ground.stands is not stood
    assert "could not be rolled back: refused: it takes from a slice what that slice was promised" in second.why
    desk.ground.code = 0
    third = desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.05)).id, "ann")
    desk.decisions.follow(lambda revision: Fate("failed", "west: refused"))
    assert third.state == "rolled_back" and desk.ground.stands is stood


def test_an_order_that_asked_for_something_else_does_not_confirm(desk):
    decision = desk.decisions.approve(desk.decide().id, "ann")
    desk.decisions.postpone(decision.revision)
    seen = []
    desk.decisions.follow(lambda revision: seen.append(revision) or WAITING)
    assert seen == [102]


def test_in_mode_act_what_is_inside_the_limits_is_taken_at_once(records, clock):
    desk = Desk(records, clock, "act", Limits(largest_change=0.15))
    taken, large = desk.decide(), desk.decide(bandwidth_hz=moved(0.2))
    assert (taken.state, taken.by) == ("adopted", "loop") and taken.automatic
    assert large.state == "waiting" and large.why.startswith("it moves 20% of a cell or server at once")
    desk.authority.halt()
    assert desk.decide().why == "the kill switch is on"


def test_so_many_decisions_an_hour_are_automatic_and_a_restart_does_not_forget(records, clock):
    desk = Desk(records, clock, "act", Limits(most_per_hour=2))
    assert [desk.decide().state for _ in range(3)] == ["adopted", "adopted", "waiting"]
    again = Desk(records, clock, "act", Limits(most_per_hour=2))
    again.decisions.remember()
    assert again.decide().why == "2 decisions were automatic in the last hour, and 2 may be"
    clock.now_s += 3600.0
    assert again.decide().state == "adopted"


def test_a_restart_ends_what_was_under_way_and_keeps_the_rest(desk, records, clock):
    kept = desk.decide(code=1)
    adopted = desk.decisions.approve(desk.decide().id, "ann")
    waits = desk.decide()
    records.log("server", "wait", "for", "writes", "{}")
    again = Desk(records, clock)
    again.decisions.remember()
    again.decisions.resume(make_picture(300), 300)
    told = {name: again.decisions.recent[name].state for name in (kept.id, adopted.id, waits.id)}
    assert told == {kept.id: "kept", adopted.id: "expired", waits.id: "expired"}
    assert again.decisions.recent[adopted.id].why == "the server was started anew, and something else stands"
    assert again.decisions.recent[adopted.id].by == "ann", "who consented stays"
    with pytest.raises(DecisionError, match="it is expired"):
        again.decisions.approve(waits.id, "ann")


@pytest.fixture
def started_anew(desk, records, clock) -> tuple[Desk, Decision]:
    """A desk after a restart on what the loop stood on, and the decision that was asked for."""
    desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.05)).id, "ann")
    desk.decisions.follow(lambda revision: CONFIRMED)
    adopted = desk.decisions.approve(desk.decide().id, "ann")
    records.log("server", "wait", "for", "writes", "{}")
    again = Desk(records, clock)
    again.ground.stands = desk.ground.stands
    again.decisions.remember()
    for slot in (300, 301):
        again.decisions.resume(make_picture(slot), slot)
    return again, again.decisions.recent[adopted.id]


def test_what_was_asked_for_when_the_server_ended_is_asked_for_on_and_confirmed(started_anew):
    again, decision = started_anew
    assert (decision.state, decision.by, decision.revision) == ("adopted", "ann", 300)
    assert again.effects.told == [("asked", decision.id)]
    assert decision.history[-1]["comment"] == "the server was started anew; it is asked for on"
    again.decisions.follow(lambda revision: CONFIRMED if revision == 300 else WAITING)
    assert decision.state == "confirmed"


def test_what_was_asked_for_when_the_server_ended_can_be_rolled_back_once_it_is_compiled(started_anew):
    again, decision = started_anew
    for busy in (True, False):
        again.ground.compiling = busy
        assert again.decisions.follow(lambda revision: Fate("failed", "west: refused")) is not busy
        assert decision.state == ("adopted" if busy else "rolled_back")
    stands = again.ground.stands.action.slice_bandwidth_hz
    assert np.asarray(stands)[0, 0] == pytest.approx((1 / 3 - 0.05) * CELL_HZ), "what was confirmed before it"


@pytest.mark.parametrize("undone", [False, True])
def test_what_was_asked_for_and_is_in_no_snapshot_stands_again_before_anything_is_asked(desk, records, clock, undone):
    old = desk.ground.stands
    adopted = desk.decisions.approve(desk.decide(bandwidth_hz=moved(0.05)).id, "ann")
    asked = desk.ground.stands
    desk.decisions.follow(lambda revision: Fate("failed", "west: refused") if undone else CONFIRMED)
    records.log("server", "wait", "for", "writes", "{}")
    again = Desk(records, clock)
    again.ground.stands, again.ground.compiling = asked if undone else old, True
    again.decisions.remember()
    again.decisions.recovered_slot = desk.ground.slot
    assert not again.decisions.resume(make_picture(300), 300), "it cannot stand on it yet"
    again.ground.compiling = False
    assert not again.decisions.resume(make_picture(301), 301), "it does from the next slot on"
    assert again.decisions.resume(make_picture(302), 302)
    wanted = old if undone else asked
    np.testing.assert_allclose(again.ground.stands.action.slice_bandwidth_hz, wanted.action.slice_bandwidth_hz)
    assert again.decisions.recent[adopted.id].state == ("rolled_back" if undone else "confirmed")


def test_a_page_whose_filter_finds_nothing_says_where_to_go_on(desk, monkeypatch):
    monkeypatch.setattr("twinloop.service.acting.decisions._MOST_LOOKED_AT", 3)
    made = [desk.decide(code=1) for _ in range(5)]
    assert desk.decisions.page(10, kind="slice") == ([], made[2].id)
    assert desk.decisions.page(10, kind="slice", after=made[2].id) == ([], None)


def test_pages_go_on_beyond_what_is_at_hand(desk, monkeypatch):
    monkeypatch.setattr("twinloop.service.acting.decisions.MOST_RECENT", 3)
    monkeypatch.setattr("twinloop.service.acting.decisions._PAGE", 2)
    made = [desk.decide(code=1) for _ in range(7)] + [desk.decide()]
    assert len(desk.decisions.recent) <= 4
    names, after = [], None
    while True:
        page, after = desk.decisions.page(3, after=after)
        names += [one.id for one in page]
        if after is None:
            break
    assert names == [one.id for one in reversed(made)]
    page, following = desk.decisions.page(3, state="kept")
    assert [one.id for one in page] == [one.id for one in reversed(made[4:7])] and following == page[-1].id
    assert desk.decisions.page(5, kind="slice") == ([], None)
    assert desk.decisions.get(made[0].id).state == "kept", "an old one is read from the storage"
    with pytest.raises(DecisionError, match="begin anew"):
        desk.decisions.page(3, after="nothing")


def test_what_became_of_it_is_kept(desk, records):
    decision = desk.decisions.approve(desk.decide().id, "ann")
    desk.decisions.follow(lambda revision: CONFIRMED)
    effect = {"west": {"says": "seen", "why": [], "slots": 30}}
    desk.decisions.became([Aftermath(decision.id, effect=effect), Aftermath("gone", effect=effect)])
    desk.decisions.became([Aftermath(decision.id, before=(0.5, 60), after=(0.75, 58))])
    records.log("server", "wait", "for", "writes", "{}")
    kept = decision_of(records.get("decisions", decision.id).body)
    assert kept.effect == effect
    assert (kept.satisfaction_before, kept.slots_before) == (0.5, 60)
    assert (kept.satisfaction_after, kept.slots_after) == (0.75, 58)


def test_a_record_of_another_version_is_read():
    text = json.dumps({"id": "a", "made_s": 1.0, "slot": 2, "state": "kept", "mode": "act", "colour": "red"})
    assert (decision_of(text).kind, decision_of(text).id) == ("reservation", "a")


def test_a_decision_that_no_window_overtakes_waits_no_longer_than_it_may(records, clock):
    desk = Desk(records, clock)
    desk.decisions._longest_s = 120.0
    waits = desk.decide()
    clock.now_s += 120.0
    desk.decisions.follow(lambda revision: WAITING)
    assert waits.state == "waiting"
    clock.now_s += 1.0
    desk.decisions.follow(lambda revision: WAITING)
    assert waits.state == "expired" and desk.decisions.waiting == []
    with pytest.raises(DecisionError, match="it is expired"):
        desk.decisions.approve(waits.id, "ann")


def test_a_decision_says_for_which_silent_sites_its_order_waits(desk, records):
    decision = desk.decisions.approve(desk.decide().id, "ann")
    silent = ["west"]
    for _ in range(2):
        desk.decisions.follow(lambda revision: WAITING, lambda revision: silent)
    assert (decision.state, decision.withheld, len(decision.history)) == ("adopted", ["west"], 2)
    said = "silent: the order of west waits until cells and servers there are reported again"
    assert [decision.history[-1][part] for part in ("state", "by", "comment")] == ["adopted", "server", said]
    assert not decision.automatic
    silent.clear()
    desk.decisions.follow(lambda revision: CONFIRMED, lambda revision: silent)
    assert [step["comment"] for step in decision.history[2:]] == ["no site is silent any more", ""]
    records.log("server", "wait", "for", "writes", "{}")
    assert decision_of(records.get("decisions", decision.id).body).withheld == []
