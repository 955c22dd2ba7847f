"""Whether a server is ready is asked of all that it needs; receipts come from who may command, and from the site."""

from concurrent.futures import Future

from twinloop.service.security import Permission
from twinloop.storage import StorageUnavailable


def test_a_server_whose_database_does_not_answer_is_not_ready(new_stage, monkeypatch):
    stage = new_stage()
    assert stage.get("/readyz", None).json()["faults"] == ["no slot was lived in the last 10 s"]
    stage.live(3)
    assert stage.known("/readyz", None) == {"ready": True, "faults": []}
    away: Future = Future()
    away.set_exception(StorageUnavailable("gone"))
    with monkeypatch.context() as patched:
        patched.setattr(stage.platform.storage, "check", lambda: away)
        answer = stage.get("/readyz", None)
    assert (answer.status_code, answer.json()["faults"]) == (503, ["the database does not answer"])
    monkeypatch.setattr(stage.platform.runner, "broken", "the loop could not be compiled: x")
    assert stage.get("/readyz", None).json()["faults"] == ["the loop could not be compiled: x"]


def test_receipts_are_for_who_fetches_commands_and_count_from_the_site_itself(new_stage, monkeypatch):
    stage = new_stage()
    (site,) = stage.platform.dispatcher.sites
    stage.secrets["probe"] = stage.token("reporter", scopes=[Permission.REPORT])
    stage.secrets["agent"] = stage.token("reporter")
    heard = []
    monkeypatch.setattr(stage.platform.dispatcher, "take", lambda source, receipts: heard.append(source))

    def told(who: str, source: str) -> int:
        receipt = {"revision": 3, "result": "applied"}
        return stage.call(
            "POST", "/reports", who, json={"source": source, "sequence": 1, "receipts": [receipt]}
        ).status_code

    assert told("probe", site) == 403 and heard == []
    assert told("agent", site) == 200 and told("agent", f"{site}:2") == 200
    assert heard == [site, f"{site}:2"], "the name goes on whole, so that a part of a site is not the site"
