"""Agents without a simulator: a recording replayed at its pace, a log followed, files sent batch by batch."""

import json
import threading

import httpx
import pytest

from twinloop.errors import DataError
from twinloop.network import Asked, Plan
from twinloop.network.formats import decode
from twinloop.network.plans import PlanPart
from twinloop.service.agent import CmcdLogAgent, FileSender, LinkError, ReplayAgent, recorded_file, sending

NOW_S = 1.7e9
HttpClient = httpx.Client


class RecordingLink:
    """A line that keeps what was put on it; while `away`, nothing is acknowledged."""

    source = "west"
    accepted = refused = given_up = 0

    def __init__(self, plan: Plan | None = None) -> None:
        self.batches: list[list[dict]] = []
        self.acknowledged = 0
        self.away = self.closed = False
        self._plan = plan

    @property
    def waiting(self) -> int:
        return len(self.batches) - self.acknowledged

    def put(self, columns, receipts) -> None:
        self.batches.append(columns)

    def send(self) -> bool:
        self.acknowledged = self.acknowledged if self.away else len(self.batches)
        return not self.away

    def plan(self, site, after):
        return self._plan if self._plan is not None and self._plan.revision != after else None

    def command(self, site, after, wait_s=0.0):
        return None

    def close(self) -> None:
        self.closed = True

    def values(self, name: str) -> list[tuple[str, float, float]]:
        """Id, time after `NOW_S` and value of an attribute, in order of sending."""
        return [
            (who, round(time_s - NOW_S, 3), row[block["attributes"].index(name)])
            for columns in self.batches
            for block in columns
            for who, time_s, row in zip(block["ids"], block["time_s"], block["values"], strict=True)
            if name in block["attributes"]
        ]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "walk.csv"
    rows = [f"ue-{user},{100 + second},{-80 - second}" for second in range(6) for user in (1, 2)]
    path.write_text("\n".join(["id,time_s,RSRP", *rows, "ue-1,107,-500"]))
    return recorded_file(path)


def replayed(recording, link, slots: int = 20, **options) -> ReplayAgent:
    """An agent that lived at most so many seconds."""
    clock = [NOW_S]
    lived = iter(range(slots))

    def pause(seconds: float) -> bool:
        clock[0] += seconds
        return next(lived, None) is None

    agent = ReplayAgent(recording, link, wall=lambda: clock[0], pause=pause, **options)
    agent.run()
    assert link.closed
    return agent


def test_a_recording_keeps_its_pace_and_says_what_it_could_not_use(recording):
    assert recording.rows == 12 and recording.refused == 1 and "-500" in recording.why
    link = RecordingLink()
    agent = replayed(recording, link)
    assert agent.done and agent.sent == 12 and agent.share == 1.0
    sent = link.values("rsrp_dbm")
    assert sent[:4] == [("ue-1", 0.0, -80.0), ("ue-2", 0.0, -80.0), ("ue-1", 1.0, -81.0), ("ue-2", 1.0, -81.0)]
    assert len(link.batches) == 6


def test_a_faster_replay_sends_more_at_once_and_recorded_times_can_stay(recording):
    link = RecordingLink()
    replayed(recording, link, speed=5.0)
    assert len(link.batches) == 2 and link.values("rsrp_dbm")[-1] == ("ue-2", 1.0, -85.0)
    kept = RecordingLink()
    replayed(recording, kept, shift=False)
    assert kept.batches[0][0]["time_s"] == [100.0, 100.0]


def test_a_replay_stands_while_the_server_is_away(recording, monkeypatch):
    monkeypatch.setattr("twinloop.service.agent.replay.MOST_AHEAD", 2)
    link = RecordingLink()
    link.away = True
    agent = replayed(recording, link)
    assert len(link.batches) == 2 and not agent.done and agent.share < 1.0


def test_a_plan_thins_what_is_sent(recording):
    asked = {"rsrp_dbm": Asked(period_s=2.0, bits=8, delta=1.5)}
    plan = Plan(3, "west", [PlanPart("user", ["ue-1"], asked), PlanPart("user", ["ue-2"], {})])
    link = RecordingLink(plan)
    replayed(recording, link, site="west")
    assert link.values("rsrp_dbm") == [("ue-1", 0.0, -80.0), ("ue-1", 2.0, -82.0), ("ue-1", 4.0, -84.0)]


def test_entities_are_chosen_and_renamed(recording):
    chosen = recording.only("ue-1").renamed({"ue-1": "ann"}, "premium")
    assert chosen.rows == 6 and set(chosen.parts[0].ids) == {"ann"} and set(chosen.parts[0].slices) == {"premium"}
    with pytest.raises(DataError, match="no entity has such a name"):
        recording.only("zz*")
    with pytest.raises(DataError, match="no entity has this name"):
        recording.renamed({"zed": "ann"}, None)


def line(session: str, buffer_ms: int) -> str:
    query = f"CMCD=bl%3D{buffer_ms}%2Cbr%3D3000%2Csid%3D%22{session}%22"
    return f'10.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /seg.m4s?{query} HTTP/1.1" 200 10 "-" "x"\n'


def test_a_log_is_followed_from_now_on_and_what_is_no_line_is_told(tmp_path, caplog):
    path = tmp_path / "access.log"
    path.write_text(line("before", 1000))
    link, looks = RecordingLink(), []

    def pause(seconds: float) -> bool:
        looks.append(seconds)
        if len(looks) == 1:
            with path.open("a") as file:
                file.write("garbage\n" + line("ue-77", 12400))
        return len(looks) > 2

    agent = CmcdLogAgent(path, link, in_slice="premium", wall=lambda: NOW_S, pause=pause)
    thread = threading.Thread(target=agent.run)
    thread.start()
    thread.join(timeout=30)
    assert not thread.is_alive() and link.closed
    ((who, _, buffer_s),) = link.values("buffer_s")
    assert who == "ue-77" and buffer_s == pytest.approx(12.4)
    assert link.batches[0][0]["slices"] == ["premium"] and agent.sent == 1
    assert "1 lines of" in caplog.text and "garbage" in caplog.text


class Answering:
    """A server that answers what it is told to, in turn, and keeps what it was sent."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.batches = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.batches.append(decode(request.content, request.headers["content-type"]))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def taken(accepted: int, **more) -> httpx.Response:
    return httpx.Response(200, json={"accepted": accepted, "refused": 0, "duplicate": False} | more)


def sender(monkeypatch, answering: Answering) -> tuple[FileSender, list[float]]:
    waits: list[float] = []
    monkeypatch.setattr(httpx, "Client", lambda **given: HttpClient(transport=httpx.MockTransport(answering), **given))
    return FileSender("http://twins.example", "tl_x", "lab", waits.append), waits


def test_a_file_is_sent_under_a_mark_of_its_content_and_again_after_a_while(tmp_path, monkeypatch):
    path = tmp_path / "r.csv"
    path.write_text("id,RSRP\nue-1,-80\nue-2,-300\n")
    reasons = [{"index": 1, "id": "ue-2", "reason": "too weak"}]
    busy = httpx.Response(503, headers={"Retry-After": "7"}, json={"detail": "busy"})
    answering = Answering(busy, httpx.ConnectError("gone"), taken(1, refused=1, reasons=reasons))
    made, waits = sender(monkeypatch, answering)
    (outcome,) = made.send(path)
    assert (outcome.accepted, outcome.refused) == (1, 1) and waits == [7.0, 2.0]
    assert outcome.reasons == ("r.csv, line 3, ue-2: too weak",)
    sources = {batch.source for batch in answering.batches}
    assert len(sources) == 1 and next(iter(sources)).startswith("lab:")
    (_,) = made.send(path, in_slice="premium")
    last = answering.batches[-1]
    assert last.source not in sources, "read otherwise, it is another file"
    assert [row.slice for row in last.rows] or last.columns[0].slices == ["premium", "premium"]


def test_a_server_that_never_takes_it_ends_with_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "r.ndjson"
    path.write_text(json.dumps({"kind": "user", "id": "a", "values": {"RSRP": -80}}))
    made, waits = sender(monkeypatch, Answering(httpx.ConnectError("gone")))
    with pytest.raises(LinkError, match="the same command goes on"):
        list(made.send(path))
    assert len(waits) == sending.MOST_TRIES - 1
    made, _ = sender(monkeypatch, Answering(httpx.Response(401, json={"detail": "the token is not known"})))
    with pytest.raises(LinkError, match="the token is not known"):
        list(made.send(path))


@pytest.mark.parametrize("text", ["", "id,RSRP\n"])
def test_a_file_without_rows_is_told(tmp_path, monkeypatch, text):
    path = tmp_path / "r.csv"
    path.write_text(text)
    made, _ = sender(monkeypatch, Answering(taken(0)))
    with pytest.raises(DataError):
        list(made.send(path))
