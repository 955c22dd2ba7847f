"""A clock that is off is corrected, a batch that was long on its way is not: it was measured when it says."""

import asyncio
import random

import pytest

from twinloop.network.formats import Batch, Row
from twinloop.network.formats.wire import MAX_SEQUENCE

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Source:
    """One source of a platform, whose clock is `off_s` behind ours."""

    def __init__(self, stage, name: str = "west", off_s: float = 0.0) -> None:
        self.stage, self.name, self.off_s = stage, name, off_s
        self.sequence = 0

    def report(self, late_s: float = 0.0, *, with_time: bool = True) -> float:
        """Sends a batch that was `late_s` on its way; how long ago its row counts as measured."""
        stage = self.stage
        sent_s = stage.clock.now_s - late_s - self.off_s
        self.sequence += 1
        row = Row(
            kind="user", id="ann", slice="premium", values={"buffer_s": 1.0}, time_s=sent_s if with_time else None
        )
        asyncio.run(stage.platform.intake.submit(Batch(self.name, self.sequence, [row], sent_s=sent_s), 100))
        _, _, (rows,) = stage.platform.runner._arrived.get_nowait()
        return round(stage.clock.now_s - float(rows.time_s[0]), 3)

    def live(self, seconds: int, late_s: float = 0.0) -> float:
        """Reports every second."""
        age_s = 0.0
        for _ in range(seconds):
            self.stage.clock.now_s += 1.0
            age_s = self.report(late_s)
        return age_s

    def told(self) -> dict:
        (found,) = [one for one in self.stage.platform.intake.ledger.told() if one["source"] == self.name]
        return found


@pytest.fixture(scope="module")
def stage(new_stage):
    return new_stage()


@pytest.mark.parametrize("batches_a_second", [1000, 40, 5, 2])
def test_a_backlog_to_a_server_just_started_keeps_its_times(stage, batches_a_second):
    """A broker or an agent that kept ten minutes of reports hands them over, however fast; then it goes on live."""
    source = Source(stage, f"kept-{batches_a_second}")
    late_s = 600.0
    while late_s > 0.0:
        assert source.report(late_s) == round(late_s, 3)
        stage.clock.now_s += 1.0 / batches_a_second
        late_s += 1.0 / batches_a_second - 1.0
    assert source.live(30) == 0.0
    assert source.told()["skewed"] == 0 and source.told()["skew_s"] == pytest.approx(0.0, abs=1e-3)


def test_an_outage_between_two_live_spells_is_no_skew(stage):
    source = Source(stage, "outage")
    source.live(30)
    stage.clock.now_s += 600.0
    assert [source.report(float(late_s)) for late_s in range(600, 0, -1)] == list(range(600, 0, -1))
    assert source.live(30) == 0.0 and source.told()["skewed"] == 0


def test_a_clock_that_is_behind_is_corrected_once_its_lag_stays(stage):
    source = Source(stage, "behind", HOUR_S)
    assert source.report() == HOUR_S and source.told()["lag_s"] == HOUR_S
    assert source.live(12) == 0.0
    assert source.told()["skew_s"] == HOUR_S and source.told()["skewed"] > 0
    assert source.report(100.0) == 100.0, "what is late by a wrong clock is late all the same"
    source.off_s = 0.0
    assert source.report() == 0.0, "a clock that was set right is believed at once"


def test_a_clock_that_is_set_back_is_corrected_too_and_so_is_one_that_reports_seldom(stage):
    source = Source(stage, "set-back")
    source.live(60)
    source.off_s = HOUR_S
    assert source.live(20) == 0.0
    seldom = Source(stage, "seldom", HOUR_S)
    ages_s = []
    for _ in range(3):
        stage.clock.now_s += 60.0
        ages_s.append(seldom.report())
    assert ages_s == [HOUR_S, HOUR_S, 0.0]


def test_a_clock_that_is_ahead_is_corrected_at_once(stage):
    source = Source(stage, "ahead", -HOUR_S)
    assert source.report() == 0.0 and source.told()["skew_s"] == -HOUR_S
    source.off_s = 0.0
    assert source.report() == 0.0, "one batch ahead says nothing about the next"
    source.off_s = -HOUR_S
    assert source.live(20) == 0.0
    assert source.report(100.0) == 100.0


def test_a_way_of_changing_length_does_not_hide_a_clock(stage):
    chance = random.Random(3)
    source = Source(stage, "jittery", HOUR_S)
    for _ in range(60):
        stage.clock.now_s += 0.2
        source.report(chance.choice((0.02, 0.5, 3.0)))
    assert source.report(3.0) == pytest.approx(3.0, abs=0.1)
    assert source.told()["skew_s"] == pytest.approx(HOUR_S, abs=0.1)


def test_a_row_without_a_time_counts_as_measured_when_it_came(stage):
    assert Source(stage, "timeless", -HOUR_S).report(with_time=False) == 0.0
    late = Source(stage, "timeless-behind", HOUR_S)
    late.live(20)
    assert late.report(with_time=False) == 0.0


@pytest.mark.parametrize("off_s", [-3 * DAY_S, 3 * DAY_S])
def test_times_are_not_shifted_by_more_than_a_day(stage, off_s):
    """`sent_s` of a clock that is days off, `time_s` of one that is right."""
    source = Source(stage, f"days-{off_s:.0f}")
    for sequence in range(20):
        stage.clock.now_s += 1.0
        now_s = stage.clock.now_s
        row = Row(kind="user", id="ann", slice="premium", values={"buffer_s": 1.0}, time_s=now_s - 2.0)
        batch = Batch(source.name, sequence, [row], sent_s=now_s - off_s)
        asyncio.run(stage.platform.intake.submit(batch, 100))
        _, _, (rows,) = stage.platform.runner._arrived.get_nowait()
        assert now_s - float(rows.time_s[0]) == 2.0
    told = source.told()
    assert (told["skewed"], told["skew_s"]) == (0, pytest.approx(off_s))


def test_a_numbering_that_begins_anew_leaves_nothing_missing(stage):
    source = Source(stage, "renumbered")

    def missing(sequence: int) -> int:
        asyncio.run(stage.platform.intake.submit(Batch(source.name, sequence), 10))
        stage.platform.runner._arrived.get_nowait()
        return source.told()["missing"]

    sequences = (5, 8, MAX_SEQUENCE, 9, 11, 6)
    assert [missing(sequence) for sequence in sequences] == [0, 2, 2, 2, 3, 2]
    told = source.told()
    assert (told["renumbered"], told["highest"], told["gaps"]) == (2, 11, [(7, 7), (10, 10)])
