"""What may be done without asking anybody, and the kill switch that nothing holds up."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from twinloop.errors import StorageError, TwinloopError
from twinloop.service.acting import Authority, DecisionError, Limits
from twinloop.service.acting.record import Decision


def at(text: str) -> float:
    """Epoch seconds of a UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def decision(**changes) -> Decision:
    given = {
        "id": "d",
        "made_s": 0.0,
        "slot": 1,
        "state": "waiting",
        "mode": "act",
        "largest_change": 0.1,
        "proposal": {"west-macro": {"premium": 0.2, "standard": 0.8}, "west-edge": {"premium": 0.5, "standard": 0.5}},
        "slices": {name: {"active": True} for name in ("premium", "standard")},
    }
    return Decision(**(given | changes))


@pytest.mark.parametrize(
    ("moment", "held"),
    [
        ("2023-11-14T06:59", False),  # 07:59 in Berlin, a Tuesday
        ("2023-11-14T07:00", True),
        ("2023-11-14T08:59", True),
        ("2023-11-14T09:00", False),
        ("2023-11-18T07:30", False),  # a Saturday
        ("2023-07-11T06:00", True),  # 08:00 by summer time
        ("2023-07-11T08:00", False),
        ("2023-11-17T22:30", True),  # Friday 23:30, until 05:00 of Saturday
        ("2023-11-18T03:59", True),
        ("2023-11-18T04:00", False),
        ("2023-11-18T22:30", False),  # Saturday night is not listed
    ],
)
def test_blackout_is_in_hours_of_its_time_zone_and_of_the_day_on_which_it_begins(moment, held):
    working = {"from": "08:00", "to": "10:00", "days": ["mon", "tue", "wed", "thu", "fri"]}
    night = {"from": "23:00", "to": "05:00", "days": ["fri"]}
    limits = Limits.model_validate({"timezone": "Europe/Berlin", "blackout": [working, night]})
    assert ("Europe/Berlin" in limits.blackout_at(at(moment))) is held


def test_floors_hold_in_every_cell_and_server_for_slices_that_stand():
    limits = Limits(floors={"*": 0.1, "premium": 0.25})
    assert limits.why_not(decision(), 0, {}) == "it leaves premium 20.0% of west-macro, less than its floor of 25.0%"
    assert Limits(floors={"*": 0.2}).why_not(decision(), 0, {}) == ""
    gone = decision(slices={"premium": {"active": False}, "standard": {"active": True}})
    assert limits.why_not(gone, 0, {}) == "", "a slice that does not stand has no floor"
    with pytest.raises(TwinloopError, match="no slice gold; there are premium, standard"):
        Limits(floors={"gold": 0.1}).require_known(["premium", "standard"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"timezone": "Mars/Base"}, "no time zone 'Mars/Base'"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"largest_change": 1.5}, "less than or equal to 1"),
        ({"largest_change": float("nan")}, "finite"),
        ({"blackout": [{"from": "25:00", "to": "10:00"}]}, "pattern"),
        ({"most_per_hour": -1}, "greater than or equal to 0"),
        ({"largest": 0.1}, "Extra inputs"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Limits.model_validate(wrong)


class Switch:
    """Counts how often it was pressed; `failing` records cannot be written."""

    def __init__(self) -> None:
        self.pressed: list[str] = []

    def halt(self) -> None:
        self.pressed.append("halt")

    def release(self) -> None:
        self.pressed.append("release")


def test_orders_that_have_not_arrived_count_towards_the_largest_change():
    limits = Limits(largest_change=0.25)
    share = decision().proposal["west-macro"]["premium"]
    assert limits.why_not(decision(), 0, {"west-macro": {"premium": share + 0.2}}) == ""
    said = limits.why_not(decision(), 0, {"west-macro": {"premium": share + 0.3}, "north": {"premium": 0.9}})
    assert said.startswith("with orders that have not arrived it moves 30% of west-macro at once, more than the 25%")


def test_limits_outlive_a_restart_and_that_the_loop_acts_does_not(records, clock):
    first = Authority(records, clock, ("advise", Limits()), Switch())
    first.set_mode("act")
    first.set_limits(Limits(largest_change=0.1))
    again = Authority(records, clock, ("advise", Limits()), Switch())
    assert (again.mode, again.limits.largest_change) == ("advise", 0.1)


def test_a_blackout_holds_by_the_machine_s_clock_and_by_the_steady_one(records, clock):
    clock.now_s = at("2023-11-14T05:00")
    wall = [clock.now_s]
    limits = Limits.model_validate({"blackout": [{"from": "06:00", "to": "09:00"}]})
    authority = Authority(records, clock, ("act", limits), Switch(), lambda: wall[0])
    assert authority.acts
    wall[0] = at("2023-11-14T06:58")
    assert not authority.acts and "06:00 to 09:00" in authority.blackout
    clock.now_s, wall[0] = wall[0], clock.now_s
    assert not authority.acts


def test_releasing_what_is_not_halted_changes_nothing(records, clock):
    authority = Authority(records, clock, ("act", Limits()), Switch())
    authority.release()
    assert authority.mode == "act"
    assert Authority(records, clock, ("act", Limits()), Switch()).mode == "act"


def test_other_settings_at_the_start_count_more_than_what_was_changed_before(records, clock):
    Authority(records, clock, ("advise", Limits()), Switch()).set_mode("act")
    again = Authority(records, clock, ("act", Limits(largest_change=0.5)), Switch())
    assert (again.mode, again.limits.largest_change) == ("act", 0.5)
    again.set_mode("advise")
    last = Authority(records, clock, ("act", Limits(largest_change=0.5)), Switch())
    assert last.mode == "advise" and "until mode act is set" in last.said


def test_a_halted_server_starts_halted_whatever_it_is_started_with(records, clock):
    first = Authority(records, clock, ("act", Limits()), Switch())
    first.halt()
    assert first.mode == "halted" and first.keep_halt() == ""
    switch = Switch()
    again = Authority(records, clock, ("advise", Limits(most_per_hour=1)), switch)
    assert again.mode == "halted" and switch.pressed == ["halt"]
    with pytest.raises(DecisionError, match="release it"):
        again.set_mode("act")
    again.release()
    assert again.mode == "advise" and switch.pressed == ["halt", "release"]
    assert Authority(records, clock, ("act", Limits()), Switch()).mode == "act", "other settings, nothing halted"


class Full:
    """Records of a disk that is full; what is being written can be watched."""

    def __init__(self) -> None:
        self.meanwhile = lambda: None
        self.full = True

    def get(self, collection, key):
        return None

    def put(self, collection, key, body) -> int:
        self.meanwhile()
        if self.full:
            raise StorageError("the disk is full")
        return 1

    def list(self, collection):
        return []

    def delete(self, collection, key) -> None:
        self.put(collection, key, "")


def test_the_kill_switch_works_with_a_full_disk_and_nothing_else_changes(clock):
    switch = Switch()
    authority = Authority(Full(), clock, ("act", Limits()), switch)
    with pytest.raises(StorageError):
        authority.set_mode("advise")
    assert authority.mode == "act"
    authority.halt()
    assert authority.mode == "halted" and switch.pressed == ["halt"]
    assert authority.keep_halt() == "the disk is full"
    with pytest.raises(StorageError):
        authority.release()
    assert authority.mode == "halted"


def test_pressed_again_while_it_is_released_it_stays_on(clock):
    switch, records = Switch(), Full()
    authority = Authority(records, clock, ("act", Limits()), switch)
    authority.halt()
    records.full, records.meanwhile = False, authority.halt
    with pytest.raises(DecisionError, match="pressed again"):
        authority.release()
    assert authority.mode == "halted" and "release" not in switch.pressed


def test_pressed_while_the_mode_is_changed_it_is_on(clock):
    records = Full()
    authority = Authority(records, clock, ("advise", Limits()), Switch())
    records.full, records.meanwhile = False, authority.halt
    authority.set_mode("act")
    assert authority.mode == "halted"


def test_falling_back_is_said_and_does_not_wait_for_the_disk(clock):
    authority = Authority(Full(), clock, ("act", Limits()), Switch())
    authority.fall_back("site west is distrusted")
    assert (authority.mode, authority.said) == ("advise", "site west is distrusted")
