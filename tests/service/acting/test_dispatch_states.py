"""The states of a site (docs/acting.md), with a clock that is moved: nobody is waited for without end, and nothing is
confirmed that nobody did.
"""

import numpy as np
import pytest
from service.acting.conftest import SITES, make_action, make_picture, moved, reported

from twinloop.network.formats import Receipt


def follow(network, slots: int = 2) -> int:
    """All sites follow the first action."""
    revision = network.slot(slots)
    assert network.dispatcher.receipt() == (revision, True)
    return revision


def decide(network, share: float = 0.1, cells: tuple[int, ...] = (0,)) -> int:
    """Another reservation is asked for in the next slot; its number."""
    network.action = make_action(moved(share, cells))
    return network.revision + 1


def test_an_order_is_confirmed_by_receipts_of_all_and_not_by_sending(network, dispatcher):
    follow(network)
    network.answers["west"] = None
    revision = decide(network)
    assert dispatcher.fate(revision).state == "waiting", "it was not even offered"
    network.slot()
    assert dispatcher.fate(revision) == ("waiting", "no receipt of west yet")
    assert dispatcher.receipt() == (revision - 1, True), "the loop waits, and counts nothing as in effect"
    dispatcher.take("west", [Receipt(revision=revision, result="applied")])
    assert dispatcher.fate(revision).state == "confirmed"
    assert dispatcher.receipt() == (revision, True)


def test_a_site_that_is_asked_nothing_new_need_not_answer_again(network, dispatcher):
    follow(network)
    revision = decide(network)
    network.answers |= {"centre": None, "east": None}
    network.slot()
    assert dispatcher.fate(revision).state == "confirmed", "only a cell of west has changed"


def test_without_a_receipt_it_is_asked_for_again_and_then_the_site_is_at_fault(network, dispatcher):
    follow(network)
    revision = decide(network)
    network.answers["west"] = None
    numbers = []
    for _ in range(11):
        network.slot()
        numbers.append(network.told("west")["fetched_revision"])
        fate = dispatcher.fate(revision)
        if fate.state == "failed":
            break
    assert sorted(set(numbers)) == [revision, revision + 5], "once at once, once after five seconds"
    assert fate.why == "west: it fetched it and said nothing for 10 s, though asked 2 time(s)"
    assert dispatcher.receipt()[1] is False, "the loop is told that something is missing"


def test_after_a_restart_a_silent_site_is_handed_nothing_before_it_is_reported(network, dispatcher):
    dispatcher.begins_anew = True
    for _ in range(2):
        reported(network, withhold=False, west=11.0)
        network.slot()
    assert (network.told("west")["state"], network.told("centre")["state"]) == ("silent", "following")
    assert network.told("west")["fetched_revision"] == -1
    reported(network, withhold=False)
    network.slot()
    assert network.told("west")["state"] == "following"


def test_what_a_site_holds_is_what_it_confirmed_last(network, dispatcher):
    assert dispatcher.held(make_picture()) == {}
    follow(network)
    before = dispatcher.held(make_picture())
    assert {pool: round(sum(shares.values()), 3) for pool, shares in before.items()} == dict.fromkeys(before, 1.0)
    network.answers["west"] = None
    decide(network, cells=(0, 2))
    network.slot()
    after = dispatcher.held(make_picture())
    changed = {pool for pool in before if before[pool] != after[pool]}
    assert changed == {make_picture().cells.ids[2]}, "west has not said so yet"


def test_a_late_receipt_still_counts(network, dispatcher):
    follow(network)
    revision = decide(network)
    network.answers["west"] = None
    network.slot(7)
    dispatcher.take("west", [Receipt(revision=revision, result="applied")])
    assert dispatcher.fate(revision).state == "confirmed", "of the first request, though a second one is under way"


@pytest.mark.parametrize(("result", "slots"), [("refused", 1), ("failed", 2)])
def test_a_refusal_counts_at_once_and_a_failure_after_the_retries(network, dispatcher, result, slots):
    follow(network)
    revision = decide(network)
    network.answers["west"] = result
    for _ in range(slots - 1):
        network.slot()
        assert dispatcher.fate(revision).state == "waiting"
    network.slot()
    assert dispatcher.fate(revision) == ("failed", f"west: {result}: {result} so")


def test_after_a_failure_that_passes_it_is_confirmed(network, dispatcher):
    follow(network)
    revision = decide(network)
    network.answers["west"] = "failed"
    network.slot()
    network.answers["west"] = "applied"
    network.slot()
    assert dispatcher.fate(revision).state == "confirmed"


def test_a_controller_that_never_answers_stalls_nobody(network, dispatcher):
    follow(network)
    revision = decide(network)
    network.answers["west"] = None
    network.slot(2)
    network.pass_s(9.0)
    assert dispatcher.fate(revision).state == "failed"
    network.action = make_action()
    back = network.slot()
    assert network.told("west")["state"] == "aside"
    assert dispatcher.receipt() == (back, True)
    revision = decide(network, cells=(0, 2))
    network.slot()
    assert dispatcher.fate(revision).state == "confirmed", "by the other one that was asked, and at once"


def test_whoever_was_set_aside_counts_again_once_it_does_what_is_wanted(network, dispatcher):
    follow(network)
    decide(network)
    network.answers["west"] = None
    network.slot(2)
    network.pass_s(9.0)
    dispatcher.set_aside()
    assert dispatcher.receipt()[1], "nobody waits for it any more"
    wanted = network.told("west")["wanted_revision"]
    dispatcher.take("west", [Receipt(revision=wanted, result="applied")])
    assert network.told("west")["state"] == "following"
    network.answers["west"] = None
    revision = decide(network, 0.2)
    network.slot()
    assert dispatcher.fate(revision).why == "no receipt of west yet"


def test_who_refused_one_thing_may_do_another(network, dispatcher):
    follow(network)
    decide(network)
    network.answers["west"] = "refused"
    network.slot()
    dispatcher.set_aside()
    network.answers["west"] = "applied"
    network.action = make_action()
    assert dispatcher.fate(network.slot()).state == "confirmed"
    assert network.told("west")["state"] == "following"


def test_a_silent_site_is_not_waited_for_and_has_its_whole_time_when_it_comes_back(network, dispatcher):
    follow(network)
    network.answers["west"] = "gone"
    network.pass_s(16.0)
    assert network.told("west")["state"] == "away"
    revision = decide(network, cells=(0, 2))
    network.pass_s(20.0)
    assert dispatcher.fate(revision).state == "confirmed"
    network.answers["west"] = None
    network.slot()
    assert network.told("west")["state"] == "asked"
    network.pass_s(8.0)
    assert network.told("west")["fault"] == "", "it has been back for nine seconds, of ten that it has"


def test_whoever_waits_in_a_long_poll_is_there(network, dispatcher, clock):
    follow(network)
    dispatcher.fetch("west", network.after["west"], lambda: None)
    clock.now_s += 29.0
    assert network.told("west")["state"] == "following"
    assert [network.told(site)["state"] for site in SITES[1:]] == ["away", "away"]


def test_nobody_there_confirms_nothing_and_fails_nothing(network, dispatcher):
    follow(network)
    network.answers = dict.fromkeys(SITES, "gone")
    network.pass_s(16.0)
    revision = decide(network)
    network.pass_s(30.0)
    assert dispatcher.fate(revision).state == "waiting"
    assert dispatcher.receipt()[1], "the loop does not roll back because nobody listens"


def test_a_receipt_for_what_was_never_handed_out_says_nothing(network, dispatcher):
    follow(network)
    network.answers["west"] = None
    revision = decide(network)
    dispatcher.take("west", [Receipt(revision=2**40, result="applied")])
    network.slot()
    assert dispatcher.fate(revision).state == "waiting"
    dispatcher.take("west", [Receipt(revision=revision, result="applied")])
    assert dispatcher.fate(revision).state == "confirmed", "and later receipts are not taken for late news"
    dispatcher.take("nowhere", [Receipt(revision=revision, result="refused")])
    dispatcher.take("west", [Receipt(revision=revision - 1, result="refused")])
    assert dispatcher.fate(revision).state == "confirmed", "what is about an older one is late news"


def test_in_mode_act_commands_that_change_every_slot_hide_no_silence(network, dispatcher):
    """Flows change each slot, so that each slot has a command of its own: a site that says nothing is found out."""
    network.mode = "act"
    users = [{"slice": 0, "cell": 0, "rate_bps": 1e6, "sinr_db": 10.0}]
    picture = make_picture(users=users)
    for slot in range(1, 15):
        dispatcher.offer(make_action(flow_hz=float(slot)), slot, picture, flows=True)
        network.ask("west")
        if slot == 2:
            network.answers["west"] = None
        network.clock.now_s += 1.0
    assert network.told("west")["fault"].startswith("it fetched it and said nothing for 10 s")


def test_in_mode_act_receipts_two_slots_late_are_in_time(network, dispatcher, clock):
    users = [{"slice": 0, "cell": 0, "rate_bps": 1e6, "sinr_db": 10.0}]
    picture = make_picture(users=users)
    for slot in range(1, 16):
        dispatcher.offer(make_action(flow_hz=float(slot)), slot, picture, flows=True)
        for site in SITES:
            dispatcher.fetch(site, -1)
            if slot > 2:
                dispatcher.take(site, [Receipt(revision=slot - 2, result="applied")])
        clock.now_s += 1.0
    assert [network.told(site)["state"] for site in SITES] == ["following"] * 3
    assert dispatcher.receipt() == (15, True)


def test_halted_nothing_new_is_handed_out_not_even_what_was_wanted_before(network, dispatcher):
    network.slot()
    network.answers["west"] = "gone"
    revision = decide(network)
    network.slot()
    dispatcher.halt()
    assert dispatcher.fetch("west", network.after["west"]) is None
    network.pass_s(30.0)
    assert dispatcher.fate(revision).state == "waiting"
    dispatcher.release()
    command = dispatcher.fetch("west", network.after["west"])
    assert command is not None and command.revision == revision
    assert network.told("west")["fault"] == "", "nobody is late for what could not be fetched"


def test_halting_wakes_nobody_and_releasing_wakes_who_waits(network, dispatcher):
    follow(network)
    woken = []
    dispatcher.fetch("west", network.after["west"], lambda: woken.append("west"))
    dispatcher.halt()
    decide(network)
    network.answers["west"] = "gone"
    network.slot()
    assert woken == []
    dispatcher.release()
    assert woken == ["west"]


def test_a_distrusted_site_does_not_confirm(network, dispatcher):
    follow(network)
    dispatcher.distrust("west", "it lied")
    revision = decide(network)
    network.slot()
    assert network.told("west")["state"] == "distrusted"
    assert dispatcher.fate(revision).state == "waiting", "nobody else was asked anything"
    assert dispatcher.receipt() == (network.revision, True), "the loop goes on with the others"
    dispatcher.distrust("west", "")
    assert dispatcher.fate(revision).state == "confirmed"


def test_a_decision_about_an_absent_site_is_not_confirmed_by_the_others(network, dispatcher):
    follow(network)
    network.answers["west"] = "gone"
    network.pass_s(16.0)
    revision = decide(network)
    network.slot()
    assert dispatcher.fate(revision).state == "waiting"


def test_commands_carry_what_the_action_says(network, dispatcher):
    network.slot()
    decide(network)
    network.slot()
    command = dispatcher.fetch("west", -1)
    shares = {share.slice: share.bandwidth_hz for share in command.slices}
    np.testing.assert_allclose(shares["premium"]["west-macro"], moved()[0, 0], atol=1e-2)
    assert set(shares["premium"]) == {"west-macro", "west-small"}


def test_the_order_of_a_silent_site_waits_until_it_is_reported_again(network, dispatcher):
    follow(network)
    reported(network, west=11.0)
    revision = decide(network, cells=(0, 2))
    network.slot()
    assert network.told("west")["state"] == "silent" and network.told("west")["silent"]
    assert network.told("west")["fetched_revision"] < revision, "its agent asks, and is handed nothing"
    assert dispatcher.fate(revision).state == "confirmed", "by the other one that was asked"
    assert dispatcher.withheld(revision) == ["west"] and dispatcher.withheld(revision + 1) == []
    network.pass_s(60.0)
    assert network.told("west")["fault"] == "", "nobody is late for what was kept from it"
    woken = []
    dispatcher.fetch("west", network.after["west"], lambda: woken.append("west"))
    reported(network)
    assert woken == ["west"]
    assert dispatcher.fate(revision).why == "no receipt of west yet"
    network.slot()
    assert network.told("west")["state"] == "following" and dispatcher.withheld(revision) == []


def test_what_was_withheld_is_not_handed_out_because_the_mode_changes(network, dispatcher):
    follow(network)
    reported(network, west=11.0)
    first = decide(network, cells=(0, 2))
    network.slot()
    reported(network, withhold=False, west=11.0)
    network.slot()
    assert dispatcher.withheld(first) == ["west"] and network.told("west")["fetched_revision"] < first
    second = decide(network, cells=(1, 2))
    network.slot()
    reported(network, withhold=False, west=11.0)
    network.slot()
    assert dispatcher.withheld(second) == [] and network.told("west")["fetched_revision"] >= second


def test_a_person_s_decision_reaches_a_silent_site_too(network, dispatcher):
    follow(network)
    reported(network, withhold=False, west=11.0)
    decide(network)
    network.slot()
    assert (network.told("west")["state"], network.told("west")["silent"]) == ("following", True)


def test_what_was_taken_back_while_halted_is_not_handed_out_after(network, dispatcher):
    follow(network)
    network.answers["west"] = "gone"
    decide(network)
    network.slot()
    dispatcher.halt()
    network.action = make_action()
    back = network.slot()
    dispatcher.release()
    command = dispatcher.fetch("west", network.after["west"])
    assert command is not None and command.revision == back
