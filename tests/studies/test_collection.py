"""Ways to collect, compared: replays add up, schedules are what they say, curves are read at equal error."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from twinloop.entities import Attribute
from twinloop.errors import DataError
from twinloop.network import HEADER_BITS
from twinloop.studies import evaluate_collection
from twinloop.studies.evaluate.collection import evaluation
from twinloop.studies.evaluate.collection.curves import Points, bits_at, cost_at, frontier, resamples
from twinloop.studies.evaluate.collection.emulator import candidate
from twinloop.studies.evaluate.collection.records import Record, Split
from twinloop.studies.evaluate.collection.replay import replay
from twinloop.studies.evaluate.collection.schedules import stacked, status_of, trigger

TABLE = (
    Attribute("walk", "1", -128.0, 127.0, bits=8),
    Attribute("jumps", "1", -128.0, 127.0, bits=8),
    Attribute("class", "1", 0.0, 15.0, bits=4, kind="label"),
)
PEOPLE, SLOTS = 8, 240


def record(seed: int) -> Record:
    draw = np.random.default_rng(seed)
    busy = np.where(np.arange(PEOPLE) < 3, 1.0, 0.05)
    walk = np.clip((draw.normal(size=(SLOTS, PEOPLE)) * busy).cumsum(axis=0), -100, 100)
    jumps = 20 * np.repeat(draw.normal(size=(SLOTS // 40, PEOPLE)), 40, axis=0)
    label = np.repeat(draw.integers(0, 4, (SLOTS // 60, PEOPLE)), 60, axis=0)
    truth = np.stack([walk, jumps, label], axis=2).astype(np.float32)
    there, group = np.ones((SLOTS, PEOPLE), bool), np.zeros(PEOPLE, np.int32)
    return Record("made up", TABLE, truth, truth, there, group, np.zeros(3), 1.0)


@pytest.fixture(scope="module")
def split() -> Split:
    return Split(record(1), record(2))


def test_a_periodic_replay_costs_and_knows_what_it_should(split):
    test = split.test
    rule = candidate(test, 1.0, 0.0, trends=False)
    asked = [trigger(test, test.spread, period=period, step=1e-6) for period in (1, 4)]
    cost = replay(status_of(test, test.spread), rule, stacked(asked))
    one = 8 + 8 + 4 + HEADER_BITS
    np.testing.assert_allclose(cost.bits[0], SLOTS * one)
    np.testing.assert_allclose(cost.bits[1], SLOTS / 4 * one)
    step = 255.0 / 255.0
    assert np.asarray(cost.by_attribute)[0, 0] / (SLOTS * PEOPLE) < (step / test.spread[0]) ** 2 / 4
    assert float(cost.by_attribute[0, 2]) == 0.0
    held = test.truth[np.arange(SLOTS) // 4 * 4]
    wrong = (held[..., 2] != test.truth[..., 2]).sum()
    assert float(cost.by_attribute[1, 2]) == wrong


def test_send_on_delta_is_silent_until_something_moved(split):
    test = split.test
    rule = candidate(test, 1.0, 0.0, trends=False)
    asked = [trigger(test, test.spread, change=delta, step=0.01, remembers=True) for delta in (0.05, 0.5)]
    cost = replay(status_of(test, test.spread), rule, stacked(asked))
    fine, coarse = np.asarray(cost.bits)
    assert (fine >= coarse).all() and fine[:3].sum() > 2 * coarse[:3].sum()
    off = np.sqrt(np.asarray(cost.by_attribute)[1, :2] / (SLOTS * PEOPLE))
    assert (off < 0.5).all(), "no error is larger than delta"


def test_equal_error_is_read_between_knobs_and_not_beyond():
    error, bits = np.array([0.01, 0.1, 1.0]), np.array([100.0, 10.0, 1.0])
    got = bits_at(error, bits, np.array([0.001, 0.01, np.sqrt(0.001), 1.0, 2.0]))
    np.testing.assert_allclose(got, [np.nan, 100.0, np.sqrt(1000.0), 1.0, np.nan])


def test_the_frontier_keeps_what_nothing_beats():
    error = np.array([[0.5], [0.1], [0.4], [0.05]])
    bits = np.array([[1.0], [5.0], [6.0], [9.0]])
    assert frontier(Points(error, bits, np.ones(1))) == [0, 1, 3]


def test_the_cheapest_family_counts_and_resampling_moves_it():
    draw = np.random.default_rng(0)
    one = Points(
        draw.uniform(0.5, 1.5, (1, 6)) * np.array([[1.0], [0.1]]), np.array([[1.0] * 6, [10.0] * 6]), np.ones(6)
    )
    two = dataclasses.replace(one, bits=2 * one.bits)
    weight = resamples(6, 0)
    level = np.array([0.3])
    best = cost_at([two, one], weight, level)
    np.testing.assert_allclose(best, cost_at([one], weight, level))
    assert np.ptp(best[1:]) > 0
    np.testing.assert_allclose(cost_at([two], weight, level), 2 * best)


def test_all_ways_are_compared_and_ours_needs_fewer_bits_where_people_differ(split, monkeypatch, tmp_path):
    monkeypatch.setitem(evaluation.RECORDS, "campus", lambda data, seed, longest: split)
    judged = evaluate_collection(None, datasets=("campus",), coder_steps=0)
    names = {row.names[1] for row in judged.rows}
    assert {"adaptive", "best periodic", "send-on-delta", "shared Kalman filter", "age-optimal"} <= names
    ratio = judged.estimate(evaluation.RATIO, "campus", "adaptive")
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.value < 0.7, "three busy people of eight, jumps that last: fixed periods waste most of their bits"
    assert judged.estimate(evaluation.RATIO, "campus", "a period each, tuned").value == pytest.approx(1.0, abs=0.1)
    claim = judged.claims[0]
    assert claim.measured == ratio and claim.holds == (ratio.value <= evaluation.MOST_OF_PERIODIC)
    assert "campus" in judged.to_json()
    assert any("one delta in standard deviations for all attributes" in line for line in judged.method)
    assert {path.name for path in judged.save(tmp_path)} == {"collection_curves.png", "collection_ladder.png"}


@pytest.mark.parametrize(
    ("data", "names", "word"),
    [(None, ("irish5g",), "--data"), (None, ("oboe",), "one of"), ("here", ("norway_hsdpa",), "norway_hsdpa")],
)
def test_bad_input_is_named(data, names, word, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(DataError, match=word):
        evaluate_collection(None if data is None else Path(tmp_path / data), datasets=names)
