"""Proposals lived through in a fork: what is worth what, and that nobody else notices."""

import asyncio
import threading

import jax
import jsonschema_rs
import numpy as np
import pytest

from twinloop.errors import TwinloopError
from twinloop.service.api.standards.questions import Questions
from twinloop.service.whatif import (
    BusyTrialsError,
    EndedTrialError,
    LateTrialError,
    ProposalError,
    WhatIfs,
    Wish,
    trials,
)

CLEAR = {"north": {"premium": 0.7, "standard": 0.15, "multicast": 0.15}}


class Clock:
    """Seconds that pass as often as they are asked for."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


@pytest.fixture(scope="module")
def whatifs(present):
    made = WhatIfs(lambda: present, Clock())
    yield made
    made.close()


def leaves(tree) -> list[np.ndarray]:
    return [
        np.array(leaf) for leaf in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    ]


def test_a_proposal_is_lived_beside_what_stands_and_nobody_notices(present, whatifs):
    before = leaves(present.state)
    trial = whatifs.ask(Wish(CLEAR, horizon_s=15.0, samples=6, seed=3)).result()
    for was, now in zip(before, leaves(present.state), strict=True):
        np.testing.assert_array_equal(was, now)
    assert trial.slot == present.picture.slot and trial.samples == 6
    assert trial.shares_proposed["north"]["premium"] == pytest.approx(0.7)
    assert trial.shares_proposed["south"] == trial.shares_standing["south"]
    whole = trial.proposal.series["satisfaction"]["all"]
    assert len(whole.mean) == 15 and all(
        0 <= low <= high <= 1 for low, high in zip(whole.low90, whole.high90, strict=True)
    )
    more, less = (outlook.slices["premium"].rate_bps.mean for outlook in (trial.proposal, trial.standing))
    assert more > less
    assert set(trial.proposal.load) == {"north", "south"}
    gained = trial.difference.slices["premium"]
    assert gained.low90 <= gained.mean <= gained.high90
    assert gained.mean == pytest.approx(
        trial.proposal.slices["premium"].satisfaction.mean - trial.standing.slices["premium"].satisfaction.mean,
        abs=1e-6,
    )
    assert trial.difference.score == pytest.approx(trial.proposal.score - trial.standing.score)


def test_what_stands_differs_from_itself_by_nothing(whatifs):
    trial = whatifs.ask(Wish({}, horizon_s=10.0, samples=2, seed=3)).result()
    assert trial.difference.satisfaction.mean == trial.difference.score == 0.0
    assert trial.standing == trial.proposal
    again = whatifs.ask(Wish({}, horizon_s=10.0, samples=2, seed=3)).result()
    assert again.standing == trial.standing


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"west": {"premium": 0.5}}, "north, south, edge"),
        ({"north": {"gold": 0.5}}, "premium, standard, multicast"),
        ({"north": {"premium": 0.9}}, "at most 1"),
        ({"north": {"premium": -0.1}}, "0 to 1"),
        ({"north": {"premium": float("nan")}}, "0 to 1"),
    ],
)
def test_what_cannot_be_proposed_is_refused_at_once(whatifs, shares, words):
    with pytest.raises(ProposalError, match=words):
        whatifs.ask(Wish(shares))


def test_a_floor_that_is_promised_and_needed_is_kept(whatifs):
    future = whatifs.ask(Wish({"north": {"premium": 0.0}}, horizon_s=10.0, samples=2))
    with pytest.raises(ProposalError, match=r"slices.north.premium: 0.000 is less than 0\.\d+, which"):
        future.result()


@pytest.fixture
def server(stage, present, whatifs):
    """A server that stands where the loop stands."""
    stage.platform.runner.present = present
    stage.platform.whatifs = whatifs
    stage.show(present.picture)
    return stage


def test_over_http_nothing_reaches_loop_or_network(server):
    platform = server.platform
    before = platform.dispatcher.told(), platform.decisions.recent, platform.runner.backlog
    answer = server.call("POST", "/twins/whatif", json={"slices": CLEAR, "horizon_s": 15, "samples": 6, "seed": 3})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    described = server.known("/openapi.json")
    schema = described["paths"]["/twins/whatif"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": described["components"]}, told)
    assert told["difference"]["slices"]["premium"]["mean"] > 0
    assert told["shares_proposed"]["north"] == pytest.approx(CLEAR["north"])
    assert len(told["standing"]["series"]["load"]["north"]["mean"]) == 15
    assert (platform.dispatcher.told(), platform.decisions.recent, platform.runner.backlog) == before
    assert platform.runner.present.state is not None and platform.runner.slot == platform.picture.slot


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"slices": {"north": {"premium": 0.9}}}, 422, "at most 1"),
        ({"slices": {"north": {"premium": 0.0}}, "samples": 2, "horizon_s": 10}, 422, "promised and needs"),
        ({"slices": {"north": {"premium": 1.5}}}, 422, "less than or equal to 1"),
        ({"decision": "nobody's"}, 404, "/decisions"),
        ({"decision": "x", "slices": {}}, 422, "give one"),
        ({"horizon_s": 1e6}, 422, "600"),
        ({"colour": 1}, 422, "colour"),
    ],
)
def test_over_http_what_cannot_be_tried_is_refused(server, asked, status, words):
    answer = server.call("POST", "/twins/whatif", json=asked)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"] + answer.json().get("hint", "")


def test_over_http_only_those_who_may_ask(server):
    assert server.call("POST", "/twins/whatif", "viewer", json={}).status_code == 403


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [
        (BusyTrialsError(12.3), 429, "13"),
        (LateTrialError("late"), 503, "10"),
        (EndedTrialError("ending"), 503, "10"),
        (asyncio.CancelledError(), 503, "10"),
    ],
)
def test_over_http_who_comes_too_often_or_too_late_is_told_when_to_come_back(server, monkeypatch, error, status, after):
    def refuse(wish):
        raise error

    refusing = {"ask": staticmethod(refuse), "close": print, "ended": True}
    monkeypatch.setattr(server.platform, "whatifs", type("Refusing", (), refusing))
    answer = server.call("POST", "/twins/whatif", json={})
    assert answer.status_code == status and answer.headers["retry-after"] == after


def test_a_decision_is_tried_as_it_was_proposed(server, monkeypatch):
    wishes = []
    monkeypatch.setattr(server.platform.whatifs, "ask", lambda wish: wishes.append(wish) or 1 / 0)
    monkeypatch.setattr(server.platform.decisions, "recent", {"d1": type("One", (), {"proposal": CLEAR})()})
    with pytest.raises(ZeroDivisionError):
        server.call("POST", "/twins/whatif", json={"decision": "d1"})
    assert wishes[0].shares == CLEAR


def test_a_job_of_the_standard_asks_the_same(server):
    questions = Questions(server.platform)
    found = asyncio.run(questions.run({"slices": CLEAR, "samples": 6, "seed": 3}, 15.0))
    assert found["networkConfiguration"]["shares"]["north"] == pytest.approx(CLEAR["north"])
    assert found["difference"]["slices"]["premium"]["mean"] > 0
    with pytest.raises(TwinloopError, match="colour"):
        asyncio.run(questions.run({"colour": 1}, 15.0))


def test_a_what_if_ends_at_its_deadline(present, whatifs):
    late = WhatIfs(lambda: present, Clock(step_s=10.0))
    late._programs, late._warm = whatifs._programs, True
    with pytest.raises(LateTrialError, match="not ready within 5 s"):
        late.ask(Wish({}, samples=2, patience_s=5.0)).result()
    late.close()


def test_what_waits_or_is_under_way_is_given_up_at_the_end(present, whatifs):
    ending = WhatIfs(lambda: present, Clock())
    ending._programs, ending._warm = whatifs._programs, True
    asked = [ending.ask(Wish({}, horizon_s=trials.LONGEST_S, samples=trials.MOST_SAMPLES)) for _ in range(2)]
    ending.close()
    assert [type(future.exception(60.0)) for future in asked] == [EndedTrialError] * 2
    with pytest.raises(EndedTrialError):
        ending.ask(Wish({}))


def test_so_many_wait_and_no_more(present, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(trials.WhatIfs, "_live", lambda self, wish, asked_s: go.wait(30.0))
    busy = WhatIfs(lambda: present, Clock())
    futures = [busy.ask(Wish({})) for _ in range(trials.MOST_WAITING + 1)]
    with pytest.raises(BusyTrialsError) as refused:
        busy.ask(Wish({}))
    assert refused.value.retry_after_s > 0
    go.set()
    assert all(future.result() for future in futures)
    busy.close()


def test_before_the_first_slot_there_is_nothing_to_fork(present):
    with pytest.raises(LookupError):
        WhatIfs(lambda: None, Clock()).ask(Wish({}))
