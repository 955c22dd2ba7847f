"""Refusals, the log, settings and frames, for both database systems."""

from dataclasses import replace

from twinloop.storage import Frame, LogLine, RefusedRow


def refused(number, source="north"):
    return RefusedRow(100.0 + number, source, None if number % 2 else number, number, f"too high: {number}", '{"x": 1}')


def line(number, **changed):
    return replace(LogLine(10.0 + number, "anna", "approve", f"decision/{number}", "done", '{"n": 1}'), **changed)


def without_ids(found):
    return [replace(one, id=0) for one in found]


def test_refusals_are_answered_newest_first_page_by_page(storage):
    given = [refused(number) for number in range(5)]
    storage.refusals.add(given[:2]).result()
    storage.refusals.add(given[2:]).result()
    first = storage.refusals.newest(limit=3)
    rest = storage.refusals.newest(limit=3, before_id=first[-1].id)
    assert without_ids(first + rest) == given[::-1]
    assert storage.refusals.newest(before_id=rest[-1].id) == []


def test_refusals_are_asked_by_source_and_time(storage):
    storage.refusals.add([refused(0), refused(1, "south"), refused(2, "south"), refused(3)]).result()
    assert [one.index for one in storage.refusals.newest(source="south")] == [2, 1]
    assert [one.index for one in storage.refusals.newest(since_s=102.0)] == [3, 2]
    assert [one.index for one in storage.refusals.newest(source="south", since_s=102.0)] == [2]


def test_refusals_are_pruned_to_a_number(storage):
    storage.refusals.add([refused(number) for number in range(7)]).result()
    assert storage.refusals.prune(3) == 4
    assert [one.index for one in storage.refusals.newest()] == [6, 5, 4]
    assert storage.refusals.prune(3) == 0


def test_log_lines_are_read_newest_first_by_any_field(storage):
    given = [line(0), line(1, actor="bert"), line(2, action="reject"), line(3, outcome="failed"), line(4)]
    storage.log.add(given).result()
    assert without_ids(storage.log.newest()) == given[::-1]
    assert without_ids(storage.log.newest(actor="bert")) == [given[1]]
    assert without_ids(storage.log.newest(action="reject")) == [given[2]]
    assert without_ids(storage.log.newest(target="decision/3")) == [given[3]]
    assert without_ids(storage.log.newest(outcome="failed")) == [given[3]]
    assert without_ids(storage.log.newest(actor="anna", since_s=12.0, limit=2)) == [given[4], given[3]]
    newest = storage.log.newest(limit=1)[0]
    assert without_ids(storage.log.newest(before_id=newest.id, limit=1)) == [given[3]]


def test_the_log_is_pruned_by_age(storage):
    storage.log.add([line(number) for number in range(5)]).result()
    assert storage.log.prune(before_s=13.0) == 3
    assert [one.time_s for one in storage.log.newest()] == [14.0, 13.0]


def test_settings_are_set_or_kept(storage):
    assert storage.settings.get("epoch_s") is None
    assert storage.settings.keep("epoch_s", "12.5").result() == "12.5"
    assert storage.settings.keep("epoch_s", "99.0").result() == "12.5"
    storage.settings.put("epoch_s", "3").result()
    storage.settings.put("name", "campus").result()
    assert (storage.settings.get("epoch_s"), storage.settings.get("name")) == ("3", "campus")


def test_frames_are_read_by_span_and_replaced(storage):
    frames = [Frame("users", 0, slot, bytes([slot])) for slot in (0, 10, 20, 30)]
    storage.frames.save([*frames, Frame("cells", 0, 10, b"other"), Frame("users", 1, 10, b"coarse")]).result()
    assert storage.frames.between("users", 0, 10, 30) == frames[1:3]
    storage.frames.save([Frame("users", 0, 10, b"doubled"), Frame("users", 0, 10, b"new")]).result()
    assert storage.frames.between("users", 0, 10, 11) == [Frame("users", 0, 10, b"new")]
    assert storage.frames.total_bytes() == 3 + 5 + 6 + 3
    assert storage.frames.newest_slot() == 30


def test_a_slot_is_looked_up_in_the_finest_tier_that_reaches_back_to_it(storage):
    fine, coarse = [Frame("users", 0, slot, b"fine") for slot in (60, 70)], [Frame("users", 2, 0, b"coarse")]
    storage.frames.save([*fine, *coarse, Frame("cells", 1, 0, b"other")]).result()
    assert storage.frames.at("users", 200) == fine[1]
    assert storage.frames.at("users", 69) == fine[0]
    assert storage.frames.at("users", 59) == coarse[0]
    assert storage.frames.at("users", -1) is None
    assert storage.frames.at("servers", 10) is None


def test_frames_are_pruned_by_tier(storage):
    tiers = [Frame(kind, tier, slot, b"x") for kind in ("users", "cells") for tier in (0, 1) for slot in (0, 50, 100)]
    storage.frames.save(tiers).result()
    assert storage.frames.prune({0: 100, 1: 50}) == 6
    assert [frame.slot for frame in storage.frames.between("users", 0, 0, 1000)] == [100]
    assert [frame.slot for frame in storage.frames.between("cells", 1, 0, 1000)] == [50, 100]
